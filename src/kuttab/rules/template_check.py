"""Everything that can be wrong with a trial template before any trial is made; ``template.check`` is the front door."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from kuttab.api import experiment, meta
from kuttab.base import errors
from kuttab.rules import spots


def check(
    template: experiment.TrialTemplate, tree: meta.Json, parameter_names: Collection[str]
) -> list[errors.Problem]:
    """Everything wrong with a template, before any trial is made.

    ``parameter_names`` are the names that assignments will carry; empty means that they are not known yet (architecture search),
    and then references and unused parameters are not checked.
    """
    size_problem = spots.size_problem(template, tree)
    if size_problem is not None:
        return [size_problem]
    problems = _check_parameters(template, parameter_names)
    problems += _check_head(template, tree)
    problems += _check_leaves(template, tree)
    problems += _check_use(template, tree, parameter_names)
    return problems


def _check_parameters(template: experiment.TrialTemplate, parameter_names: Collection[str]) -> list[errors.Problem]:
    problems: list[errors.Problem] = []
    names: set[str] = set()
    references: set[str] = set()
    for i, parameter in enumerate(template.trial_parameters or ()):
        path = f"{spots.ROOT}.trialParameters[{i}]"
        if not parameter.name:
            problems.append(errors.Problem(f"{path}.name", "must be given", "FieldValueRequired"))
        elif set(parameter.name) & set("{}\n"):
            problems.append(errors.Problem(f"{path}.name", "must not contain braces or line breaks"))
        elif parameter.name in names:
            problems.append(errors.Problem(f"{path}.name", f"{parameter.name!r} is used twice", "FieldValueDuplicate"))
        reference = parameter.reference
        if not reference:
            problems.append(errors.Problem(f"{path}.reference", "must be given", "FieldValueRequired"))
        elif reference in references:
            problems.append(errors.Problem(f"{path}.reference", f"{reference!r} is used twice", "FieldValueDuplicate"))
        elif parameter_names and "${" not in reference and reference not in parameter_names:
            known = ", ".join(sorted(parameter_names))
            problems.append(errors.Problem(f"{path}.reference", f"{reference!r} is not in spec.parameters ({known})"))
        names.add(parameter.name)
        references.add(reference)
    return problems


def _check_head(template: experiment.TrialTemplate, tree: meta.Json) -> list[errors.Problem]:
    prefix = spots.prefix_of(template)
    problems = [
        errors.Problem(spots.join(prefix, key), "must be given", "FieldValueRequired")
        for key in ("apiVersion", "kind")
        if not isinstance(tree.get(key), str) or not tree[key]
    ]
    metadata = tree.get("metadata") or {}
    if not isinstance(metadata, dict):
        return [*problems, errors.Problem(spots.join(prefix, "metadata"), "must be an object")]
    for key in ("name", "namespace"):
        if key in metadata:
            path = spots.join(spots.join(prefix, "metadata"), key)
            problems.append(errors.Problem(path, f"must be left out: the trial's {key} is used", "FieldValueForbidden"))
    for i, parameter in enumerate(template.trial_parameters or ()):
        if "${" not in parameter.reference:
            continue
        inner = spots.metadata_reference(parameter.reference)
        if inner is None or spots.metadata_value(inner, tree, "x", "x") is None:
            path = f"{spots.ROOT}.trialParameters[{i}].reference"
            problems.append(errors.Problem(path, _metadata_advice(parameter.reference, inner)))
    return problems


def _metadata_advice(reference: str, inner: str | None) -> str:
    indexed = spots.INDEXED.fullmatch(inner or "")
    if indexed is not None:
        return f"the template's metadata has no {indexed.group(1).lower()} entry {indexed.group(2)!r} with a text value"
    return (
        f"{reference!r} is unknown; use a parameter's name, ${{trialSpec.Name}}, ${{trialSpec.Namespace}}, "
        "${trialSpec.Kind}, ${trialSpec.APIVersion}, ${trialSpec.Annotations[key]}, ${trialSpec.Labels[key]}"
    )


def _check_leaves(template: experiment.TrialTemplate, tree: meta.Json) -> list[errors.Problem]:
    prefix = spots.prefix_of(template)
    declared = {parameter.name for parameter in template.trial_parameters or ()}
    problems: list[errors.Problem] = []
    for leaf in spots.leaves(tree, prefix):
        if leaf.place is spots.Place.FORBIDDEN:
            problems.append(errors.Problem(leaf.path, spots.advice(leaf), "FieldValueForbidden"))
        elif leaf.place in (spots.Place.COUNT, spots.Place.QUANTITY) and not spots.PLACEHOLDER.fullmatch(leaf.text):
            problems.append(errors.Problem(leaf.path, f"{leaf.place.value} must be one placeholder and nothing else"))
        for kind, name in spots.PLACEHOLDER.findall(leaf.text):
            if kind == "trialParameters" and name not in declared:
                message = f"${{trialParameters.{name}}} has no entry in {spots.ROOT}.trialParameters"
                problems.append(errors.Problem(leaf.path, message))
            elif kind == "trialSpec" and spots.metadata_value(name, tree, "x", "x") is None:
                problems.append(errors.Problem(leaf.path, _metadata_advice(f"${{trialSpec.{name}}}", name)))
    for _, _, path, text in spots.texts(tree, prefix):
        if "${trialParameters." in spots.PLACEHOLDER.sub("", text):
            problems.append(
                errors.Problem(path, "has a placeholder that is nested or not closed; write ${trialParameters.name}")
            )
    return problems


def _check_use(
    template: experiment.TrialTemplate, tree: meta.Json, parameter_names: Collection[str]
) -> list[errors.Problem]:
    found = spots.names(tree)
    parameters = template.trial_parameters or ()
    problems = [
        errors.Problem(f"{spots.ROOT}.trialParameters[{i}].name", _unused_advice(tree, parameter.name))
        for i, parameter in enumerate(parameters)
        if parameter.name and parameter.name not in found
    ]
    referenced = {parameter.reference for parameter in parameters}
    if not spots.self_serving(tree):
        problems += [
            errors.Problem(
                f"{spots.ROOT}.trialParameters",
                f"search parameter {name!r} would reach no trial; add an entry with reference: {name}",
                "FieldValueRequired",
            )
            for name in parameter_names
            if name not in referenced
        ]
    return problems


def _unused_advice(tree: meta.Json, name: str) -> str:
    wrong = re.search(r"\$\(trialParameters\.([^()\n]{1,100})\)", "\n".join(_all_texts(tree)))
    hint = f"; the template has {wrong.group(0)}, which must be written with braces" if wrong else ""
    return f"${{trialParameters.{name}}} does not occur in the template{hint}"


def _all_texts(node: Any) -> Iterator[str]:
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
