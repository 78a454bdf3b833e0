"""What may change in an experiment that is there: the three counts, ``suspend`` and ``stop``, and its metadata.

A pass that changes nothing of the spec (removing a finalizer, adding a label) is never held up by rules of the spec, so that an
experiment can always be deleted, whatever has become of its namespace or its algorithm.
"""

from __future__ import annotations

from typing import Any

from kuttab.admission import budget, metadata, parameters, paths
from kuttab.admission import experiment as experiment_rules
from kuttab.admission.limits import Catalogue
from kuttab.admission.report import FORBIDDEN, Report
from kuttab.api import conditions, experiment, keys, meta

EDITABLE = ("parallelTrialCount", "maxTrialCount", "maxFailedTrialCount", "suspend", "stop")
_COUNTS = EDITABLE[:3]
_SHOWN_CHANGES = 10


def check(
    subject: experiment.Experiment, old: experiment.Experiment, report: Report, catalogue: Catalogue, *, user: str
) -> None:
    """Rules for a change from ``old``, both with defaults."""
    metadata.check(subject.metadata, report, old.metadata, system=user in catalogue.limits.system_users)
    before, after = meta.dump(old.spec), meta.dump(subject.spec)
    changed = [name for name in EDITABLE if before.get(name) != after.get(name)]
    others = {name for name in {*before, *after} if name not in EDITABLE and before.get(name) != after.get(name)}
    if subject.deleting and not others:
        return
    _refuse_changes(before, after, others, report)
    if others or not changed:
        return
    _check_restart(subject, old, changed, report)
    if any(name in _COUNTS for name in changed):
        budget.check(subject.spec, report, catalogue.limits)
        _check_counts(subject, report, catalogue)


def completed(subject: experiment.Experiment) -> bool:
    """Whether the experiment has ended."""
    return any(conditions.is_true(subject.status.conditions, type_) for type_ in (keys.SUCCEEDED, keys.FAILED))


def restartable(subject: experiment.Experiment) -> bool:
    """Whether a larger budget may start a completed experiment again."""
    ended = conditions.find(subject.status.conditions, keys.SUCCEEDED)
    return (
        ended is not None
        and ended.status == conditions.TRUE
        and ended.reason == keys.EXPERIMENT_MAX_TRIALS_REACHED
        and subject.spec.resume_policy in (experiment.ResumePolicy.LONG_RUNNING, experiment.ResumePolicy.FROM_VOLUME)
    )


def _check_restart(
    subject: experiment.Experiment, old: experiment.Experiment, changed: list[str], report: Report
) -> None:
    ended = completed(old)
    if ended and any(name in _COUNTS for name in changed) and not restartable(old):
        report.forbidden(
            "spec",
            "the experiment has ended and cannot be restarted: that needs the end ExperimentMaxTrialsReached and the resumePolicy "
            f"LongRunning or FromVolume (here {old.spec.resume_policy}); create a new experiment",
        )
        return
    if ended and "stop" in changed and not subject.spec.stop:
        report.forbidden("spec.stop", "the experiment has ended, so stopping it cannot be taken back")
    highest, made = subject.spec.max_trial_count, old.status.trials
    if (
        highest is not None
        and highest <= made
        and ("maxTrialCount" in changed or (ended and set(changed) & set(_COUNTS)))
    ):
        report.refuse("spec.maxTrialCount", f"{highest} must be more than the {made} trials there are already")


def _check_counts(subject: experiment.Experiment, report: Report, catalogue: Catalogue) -> None:
    """The algorithm may have a word on counts too; everything else about it was judged when the experiment was created."""
    algorithm = subject.spec.algorithm
    if report.problems or algorithm is None or algorithm.algorithm_name not in catalogue.algorithm_names():
        return
    judged = Report()
    parameters.check(subject.spec, judged, catalogue.limits)
    if not judged.problems:
        report.extend(catalogue.check_algorithm(subject))
        experiment_rules.check_size(subject.spec, report)


def _refuse_changes(before: meta.Json, after: meta.Json, names: set[str], report: Report) -> None:
    for name in sorted(names):
        for path in _differences(before.get(name), after.get(name), paths.join("spec", name))[:_SHOWN_CHANGES]:
            report.refuse(path, f"cannot be changed; only {', '.join(EDITABLE)} can", FORBIDDEN)


def _differences(before: Any, after: Any, path: str) -> list[str]:
    """Paths of the smallest parts that differ."""
    found: list[str] = []
    stack: list[tuple[str, Any, Any]] = [(path, before, after)]
    while stack and len(found) < _SHOWN_CHANGES:
        where, left, right = stack.pop()
        if left == right and type(left) is type(right):
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            stack.extend(
                (paths.join(where, key), left.get(key), right.get(key)) for key in sorted({*left, *right}, reverse=True)
            )
        elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            stack.extend((paths.join(where, i), left[i], right[i]) for i in range(len(left) - 1, -1, -1))
        else:
            found.append(where)
    return found
