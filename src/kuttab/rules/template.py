"""From a trial template and a set of parameter values to the workload of one trial.

Values are put into *leaves of the parsed tree*, once, at positions where a value can only be data: elements of ``command``
and ``args``, values of ``env``, parameters of workflow engines, replica counts and resource quantities. Text is never glued
together and parsed again, so a value with quotes, braces or something that looks like a placeholder stays the value it is. What
this module will not do: fill names, images, volumes, security settings or map keys, and put anything but plain words into
program text (``sh -c ...``), because no escaping is safe there.

Two rules that other rooms rely on:

* **Kubernetes expands** ``$(VAR)`` in ``command``, ``args`` and ``env`` values and turns ``$$`` into ``$``. A value is
  literal, so each ``$`` of it is written as ``$$``. Whoever starts the process (a kubelet, or the node room by :func:`expand`) undoes that.
* **Quotes round a placeholder**: Katib joins the argument list into a shell line, so ``--architecture="${trialParameters.x}"``
  reaches its programs without the quotes. Here no shell reads the list; when an argument ends in a quoted placeholder, that one
  pair of quotes is dropped, so the program sees the same bytes. Other quotes are the user's and stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kuttab.api import experiment, meta
from kuttab.base import errors
from kuttab.rules import spots, template_check

MAX_VALUE_BYTES = 100_000
"""Below the 128 KiB that Linux allows for one argument."""

_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=-]*")
_INTEGER = re.compile(r"[0-9]{1,9}(?:\.0)?")
_QUANTITY = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][0-9]{1,2}|[munkMGTPE]|[KMGTPE]i)?")
_QUOTED_TAIL = re.compile(r"""([^"'\s]*)(["'])(\$\{[^{}\n]+\})\2""")
_ENGINES = {"argoproj.io": "{{", "tekton.dev": "$("}
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def source_tree(
    template: experiment.TrialTemplate, config_map: Mapping[str, str] | None, parse: Callable[[str], meta.Json]
) -> meta.Json:
    """The template as a tree: ``trialSpec`` itself, or the parsed text of the ConfigMap's key.

    ``config_map`` is the ConfigMap's ``data``, None when there is no such ConfigMap; ``parse`` reads YAML and raises
    BadInputError. Raises InvalidError; its message never shows what the ConfigMap holds.
    """
    if template.trial_spec is not None:
        return template.trial_spec
    source = template.config_map
    if source is None:
        raise _invalid(spots.ROOT, "give trialSpec or configMap", "FieldValueRequired")
    where = f"ConfigMap {source.config_map_namespace}/{source.config_map_name}"
    if config_map is None:
        raise _invalid(f"{spots.ROOT}.configMap.configMapName", f"{where} does not exist")
    if source.template_path not in config_map:
        raise _invalid(f"{spots.ROOT}.configMap.templatePath", f"{where} has no key {source.template_path!r}")
    return _parse_text(config_map[source.template_path], f"{where}, key {source.template_path!r}", parse)


def placeholders(tree: Any) -> set[str]:
    """Names of all ``${trialParameters.<name>}`` in the tree, wherever they are."""
    return spots.names(tree)


def check(
    template: experiment.TrialTemplate, tree: meta.Json, parameter_names: Collection[str]
) -> list[errors.Problem]:
    """Everything wrong with a template, before any trial is made.

    ``parameter_names`` are the names that assignments will carry; empty means that they are not known yet (architecture
    search), and then references and unused parameters are not checked.
    """
    return template_check.check(template, tree, parameter_names)


def render(
    template: experiment.TrialTemplate, tree: meta.Json, assignments: Mapping[str, str], *, name: str, namespace: str
) -> meta.Json:
    """The workload of one trial, see :meth:`Form.fill`."""
    return Form(template, tree).fill(assignments, name=name, namespace=namespace)


class Form:
    """A template that was looked at once, for many trials. InvalidError for one that is too large."""

    def __init__(self, template: experiment.TrialTemplate, tree: meta.Json) -> None:
        problem = spots.size_problem(template, tree)
        if problem is not None:
            raise errors.InvalidError([problem])
        self.template = template
        self._tree: meta.Json = meta.map_texts(tree, str)  # plain texts, and nothing in two places
        self._leaves = spots.leaves(self._tree, spots.prefix_of(template))
        self._engine = str(tree.get("apiVersion", "")).partition("/")[0]

    def fill(self, assignments: Mapping[str, str], *, name: str, namespace: str) -> meta.Json:
        """The workload of one trial: a new tree with every placeholder filled and metadata.name and .namespace set.

        ``assignments`` is parameter name -> value. Raises InvalidError when an assignment is missing or left over, or when a value
        cannot stand where the template puts it.
        """
        values = _values(self.template, self._tree, assignments, name, namespace)
        filled: dict[tuple[int, str | int], str | int] = {}
        problems: list[errors.Problem] = []
        for leaf in self._leaves:
            try:
                filled[id(leaf.parent), leaf.key] = _fill(leaf, values, self._engine)
            except ValueError as error:
                problems.append(errors.Problem(leaf.path, str(error)))
        if problems:
            raise errors.InvalidError(problems, f"trial {name}")
        made = _copied(self._tree, filled)
        metadata = {**(made.get("metadata") or {}), "name": name, "namespace": namespace}
        return {**made, "metadata": metadata}


def _copied(node: Any, filled: Mapping[tuple[int, str | int], str | int]) -> Any:
    """A new tree with some leaves replaced, by the identity of their holder and their key."""
    holder = id(node)
    if isinstance(node, dict):
        return {
            key: filled[holder, key] if (holder, key) in filled else _copied(value, filled)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [filled[holder, i] if (holder, i) in filled else _copied(value, filled) for i, value in enumerate(node)]
    return node


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Kubernetes' expansion of ``$(VAR)`` in command, args and env values: ``$$`` is ``$``, unknown variables stay."""
    return _REFERENCE.sub(lambda found: _expanded(found, variables), text)


def _expanded(found: re.Match[str], variables: Mapping[str, str]) -> str:
    name = found.group(1)
    if name is None:
        return "$"
    return variables.get(name, found.group(0))


def _parse_text(text: str, where: str, parse: Callable[[str], meta.Json]) -> meta.Json:
    """Parse with placeholders as plain words, so that they may also stand unquoted in flow style; then put them back."""
    word = "kuttab-placeholder"
    while word in text:
        word += "-x"
    names: list[str] = []

    def hide(found: re.Match[str]) -> str:
        names.append(found.group(0))
        return f"{word}-{len(names) - 1}-end"

    hidden = spots.PLACEHOLDER.sub(hide, text)
    path = f"{spots.ROOT}.configMap.templatePath"
    try:
        tree = parse(hidden)
    except errors.BadInputError as error:
        line = (
            next((p.line for p in error.problems if p.line), None) if isinstance(error, errors.InvalidError) else None
        )
        at = f" (line {line})" if line else ""
        raise _invalid(path, f"{where} does not hold a template that can be read as YAML{at}") from error
    if not isinstance(tree, dict):
        raise _invalid(path, f"{where} must hold one Kubernetes object")
    if spots.too_deep(tree):
        raise _invalid(path, f"{where} is nested deeper than {spots.MAX_DEPTH} levels")
    pattern = re.compile(re.escape(word) + r"-(\d+)-end")
    shown: meta.Json = meta.map_texts(tree, lambda leaf: pattern.sub(lambda found: names[int(found.group(1))], leaf))
    return shown


def _values(
    template: experiment.TrialTemplate, tree: meta.Json, assignments: Mapping[str, str], name: str, namespace: str
) -> Callable[[str, str], str]:
    """A function of (kind, name) of a placeholder to its value; raises InvalidError now, ValueError when called."""
    by_name: dict[str, str] = {}
    used: set[str] = set()
    problems = []
    for i, parameter in enumerate(template.trial_parameters or ()):
        path = f"{spots.ROOT}.trialParameters[{i}].reference"
        inner = spots.metadata_reference(parameter.reference)
        value = (
            assignments.get(parameter.reference)
            if inner is None
            else spots.metadata_value(inner, tree, name, namespace)
        )
        used.add(parameter.reference)
        if value is None:
            problems.append(errors.Problem(path, f"{parameter.reference!r} has no value for this trial"))
            continue
        by_name[parameter.name] = value
    if not spots.self_serving(tree):
        problems += [
            errors.Problem(
                f"{spots.ROOT}.trialParameters", f"the trial has a value for {key!r}, but no entry references it"
            )
            for key in assignments
            if key not in used
        ]
    if problems:
        raise errors.InvalidError(problems, f"trial {name}")

    def value_of(kind: str, key: str) -> str:
        found = by_name.get(key) if kind == "trialParameters" else spots.metadata_value(key, tree, name, namespace)
        if found is None:
            raise ValueError(f"${{{kind}.{key}}} has no value")
        return found

    return value_of


def _fill(leaf: spots.Leaf, value_of: Callable[[str, str], str], engine: str) -> str | int:
    """The leaf's new content; ValueError says why a value cannot stand there."""
    if leaf.place is spots.Place.FORBIDDEN:
        raise ValueError(spots.advice(leaf))
    if leaf.place is spots.Place.COUNT:
        return _count(_whole(leaf, value_of))
    if leaf.place is spots.Place.QUANTITY:
        text = _whole(leaf, value_of)
        if not _QUANTITY.fullmatch(text):
            raise ValueError(f"{text!r} is no resource quantity")
        return text
    text = leaf.text
    if leaf.place is spots.Place.ARGUMENT:
        text = _QUOTED_TAIL.sub(r"\1\3", text) if _QUOTED_TAIL.fullmatch(text) else text
    parts: list[str] = []
    last = 0
    for found in spots.PLACEHOLDER.finditer(text):
        literal = text[last : found.start()]
        value = _clean(found.group(0), value_of(found.group(1), found.group(2)))
        parts += [
            _closed(literal) if leaf.place is not spots.Place.PARAMETER else literal,
            _literal(value, leaf.place, engine),
        ]
        last = found.end()
    return "".join([*parts, text[last:]])


def _whole(leaf: spots.Leaf, value_of: Callable[[str, str], str]) -> str:
    found = spots.PLACEHOLDER.fullmatch(leaf.text)
    if found is None:
        raise ValueError(f"{leaf.place.value} must be one placeholder and nothing else")
    return value_of(found.group(1), found.group(2))


def _count(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{text!r} is no count: use an int parameter with min 0 or more")
    return int(text.partition(".")[0])


def _clean(placeholder: str, value: str) -> str:
    if "\0" in value:
        raise ValueError(f"the value of {placeholder} has a NUL character, which no program argument can carry")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"the value of {placeholder} has half a surrogate pair and is no text") from None
    if size > MAX_VALUE_BYTES:
        raise ValueError(f"the value of {placeholder} has {size} bytes; at most {MAX_VALUE_BYTES} fit")
    return value


def _literal(value: str, place: spots.Place, engine: str) -> str:
    """The spelling under which a value is read back as itself."""
    if place is spots.Place.PROGRAM:
        if not _PLAIN.fullmatch(value):
            raise ValueError(
                f"{value!r} cannot be put into program text safely; pass it in an environment variable or as an argument"
            )
        return value
    mark = _ENGINES.get(engine)
    if mark is not None and mark in value:
        raise ValueError(f"{value!r} has {mark!r}, which {engine} would read as an expression")
    return value if place is spots.Place.PARAMETER else value.replace("$", "$$")


def _closed(literal: str) -> str:
    """Text before a value, with a lone ``$`` at its end doubled: it must not become ``$(`` together with the value."""
    run = len(literal) - len(literal.rstrip("$"))
    return literal + "$" if run % 2 else literal


def _invalid(path: str, message: str, reason: str = "FieldValueInvalid") -> errors.InvalidError:
    return errors.InvalidError([errors.Problem(path, message, reason)])
