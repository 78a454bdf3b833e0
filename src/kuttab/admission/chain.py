"""The one door of admission: what a client sent in, the object to store out, or every problem at once.

Pure and synchronous: the same request gives the same verdict, nothing is looked up, written or sent anywhere. What a verdict needs
to know comes in as arguments, gathered by the caller beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kuttab.admission import compat, defaults, fields, paths, trial_template, update
from kuttab.admission import experiment as experiment_rules
from kuttab.admission import trial as trial_rules
from kuttab.admission.limits import Catalogue, Limits, Namespace
from kuttab.admission.report import FORBIDDEN, REQUIRED, Report, plain, show
from kuttab.api import experiment, kinds, meta, suggestion, trial
from kuttab.base import errors

MAX_DEPTH = 64
CREATE = "CREATE"
UPDATE = "UPDATE"
DELETE = "DELETE"
_OURS = {kind.kind: kind for kind in (kinds.EXPERIMENT, kinds.SUGGESTION, kinds.TRIAL)}
_HOME = Namespace()
K = TypeVar("K", bound=meta.Object)


@dataclass(frozen=True, slots=True)
class Admitted:
    """An object as it is to be stored, and what its user should know about it."""

    object: meta.Object
    warnings: list[str] = field(default_factory=list)


def admit(
    subject: meta.Object | meta.Json,
    *,
    catalogue: Catalogue,
    old: meta.Object | None = None,
    operation: str = CREATE,
    user: str = "",
    namespace: Namespace = _HOME,
    strict: bool = True,
) -> Admitted:
    """The verdict on creating, changing or deleting an object.

    ``old`` is the stored object of an update. ``namespace`` is where the object goes. With ``strict`` off (kubectl's
    ``--validate=false``), an unknown field gives a warning instead of a refusal: ours are dropped, those of a workload are kept.

    Raises InvalidError with every problem and its field path, TooLargeError for an object beyond the size limit.
    """
    document = meta.dump(subject) if isinstance(subject, meta.Object) else subject
    limits = catalogue.limits
    _check_shape(document, limits)
    kind = _kind(document)
    if kind is None or operation == DELETE:
        return Admitted(subject if isinstance(subject, meta.Object) else _load(document))
    report = Report()
    document, repairs = compat.repair(document) if kind is kinds.EXPERIMENT else (document, [])
    report.warnings += repairs
    obj, found = fields.decode(document, kind)
    if not strict:
        report.warnings += [f"{problem} (dropped)" for problem in found if problem.reason == FORBIDDEN]
        found = [problem for problem in found if problem.reason != FORBIDDEN]
    judged = Report()
    if isinstance(obj, experiment.Experiment):
        obj = _judge_experiment(obj, old, operation, judged, catalogue, namespace, user)
    elif isinstance(obj, trial.Trial | suggestion.Suggestion):
        before = _before(obj, old, operation)
        trial_rules.check(obj, before, judged, user=user, system=user in limits.system_users)
        obj = meta.evolve(obj, status=before.status) if before is not None else obj
    report.extend(found)
    problems = report.problems
    for problem in _without_echoes(judged.problems, found):
        if not strict and problem.message.startswith(fields.UNKNOWN):
            report.warnings.append(str(problem))
        elif problem not in problems:
            problems.append(problem)
    if problems or obj is None:
        raise _refusal(problems, document)
    return Admitted(obj, [plain(warning) for warning in report.warnings + judged.warnings])


def _judge_experiment(
    subject: experiment.Experiment,
    old: meta.Object | None,
    operation: str,
    report: Report,
    catalogue: Catalogue,
    namespace: Namespace,
    user: str,
) -> experiment.Experiment:
    before = _before(subject, old, operation)
    if before is None:
        tree = trial_template.read(subject, catalogue, report)
        subject, warnings = defaults.apply(meta.evolve(subject, status=None), tree)
        report.warnings += warnings
        experiment_rules.check_new(subject, tree, report, catalogue, namespace=namespace, user=user)
        return subject
    before, _ = defaults.apply(before)
    subject, _ = defaults.apply(_inherit(subject, before))
    update.check(subject, before, report, catalogue, user=user)
    return meta.evolve(subject, status=before.status)


def _inherit(subject: experiment.Experiment, old: experiment.Experiment) -> experiment.Experiment:
    """Defaults that came from a ConfigMap template are taken over, so that applying the same manifest again changes nothing."""
    new, kept = subject.spec.trial_template, old.spec.trial_template
    if new is None or kept is None or new.config_map is None or new.config_map != kept.config_map:
        return subject
    names = ("success_condition", "failure_condition", "primary_pod_labels")
    changes = {name: getattr(kept, name) for name in names if not getattr(new, name) and getattr(kept, name)}
    if not changes:
        return subject
    return meta.evolve(subject, spec=meta.evolve(subject.spec, trial_template=meta.evolve(new, **changes)))


def _before(subject: K, old: meta.Object | None, operation: str) -> K | None:
    if operation == CREATE:
        return None
    if not isinstance(old, type(subject)):
        raise TypeError(f"an {operation} of {subject.kind} needs the stored object")
    return old


def _without_echoes(problems: Iterable[errors.Problem], found: list[errors.Problem]) -> list[errors.Problem]:
    """Problems that are no mere consequence of a field whose type was wrong and which therefore was not read."""
    taken = [problem.path for problem in found]
    return [
        problem
        for problem in problems
        if not any(
            paths.within(problem.path, path) or (problem.reason == REQUIRED and paths.within(path, problem.path))
            for path in taken
        )
    ]


def _kind(document: meta.Json) -> kinds.Kind | None:
    """Which of our kinds it is, None for a foreign one. Raises InvalidError for a version of ours that is not served."""
    version, name = document.get("apiVersion"), document.get("kind")
    problems = [
        errors.Problem(key, f"must be given as text{'' if value is None else f', not {show(value)}'}", REQUIRED)
        for key, value in (("apiVersion", version), ("kind", name))
        if not isinstance(value, str) or not value
    ]
    if problems:
        raise _refusal(problems, document)
    kind = _OURS.get(str(name))
    if kind is None or str(version).rpartition("/")[0] != kind.group:
        return None
    if version != kind.api_version:
        message = f"{show(version)} is not served; write {kind.api_version}"
        raise _refusal([errors.Problem("apiVersion", message, "FieldValueNotSupported")], document)
    return kind


def _load(document: meta.Json) -> meta.Object:
    kind = kinds.named(document["apiVersion"], document["kind"])
    obj, found = fields.decode(document, kind)
    wrong = [problem for problem in found if problem.reason != FORBIDDEN]
    if obj is None or wrong:
        raise _refusal(wrong, document)
    return obj


def _title(document: meta.Json) -> str:
    metadata = document.get("metadata")
    name = (metadata.get("name") or metadata.get("generateName")) if isinstance(metadata, dict) else ""
    kind = document.get("kind")
    return " ".join(plain(part, 60) for part in (kind, name) if isinstance(part, str) and part)


def _refusal(problems: list[errors.Problem], document: meta.Json) -> errors.InvalidError:
    """The refusal, in text that prints on one line whatever the document holds."""
    shown = [errors.Problem(plain(p.path), plain(p.message), p.reason) for p in problems]
    return errors.InvalidError(shown, _title(document))


def _check_shape(document: Any, limits: Limits) -> None:
    """Depth, size and plainness of a document, before anything walks it. Nothing here recurses."""
    if not isinstance(document, dict):
        raise _refusal([errors.Problem("", "must be a mapping with apiVersion and kind")], {})
    size = depth = 0
    level: list[Any] = [document]
    while level:
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise _refusal([errors.Problem("", f"is nested deeper than {MAX_DEPTH} levels")], document)
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                size += 2 + sum(_size(key, document) for key in node)
                below.extend(node.values())
            elif isinstance(node, list):
                size += 2 + len(node)
                below.extend(node)
            else:
                size += _size(node, document) if isinstance(node, str) else 4
        if size > limits.max_object_bytes:
            raise errors.TooLargeError(
                f"{_title(document) or 'the object'} is larger than {limits.max_object_bytes} bytes; put large data elsewhere"
            )
        level = below


def _size(text: Any, document: meta.Json) -> int:
    """Bytes of a text or key as JSON, at least. Refuses a key that is no text, and text that cannot be written."""
    if not isinstance(text, str):
        raise _refusal([errors.Problem("", f"holds a key that is no text: {show(text)}")], document)
    if text.isascii():
        return len(text) + 4
    try:
        return len(text.encode()) + 4
    except UnicodeEncodeError:
        message = f"{show(text)} holds half of a surrogate pair, which is no text"
        raise _refusal([errors.Problem(_path_of(text, document), message)], document) from None


def _path_of(text: str, document: meta.Json) -> str:
    stack: list[tuple[str, Any]] = [("", document)]
    while stack:
        path, node = stack.pop()
        if node is text or (isinstance(node, dict) and text in node):
            return path
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        stack.extend((paths.join(path, key), value) for key, value in items)
    return ""
