"""Where a trial stands, read from its conditions; and a trial in short, for counting and for algorithms."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from kuttab.api import conditions, experiment, history, keys, trial
from kuttab.api.conditions import Condition
from kuttab.api.history import TrialState
from kuttab.rules import observation

# The first that fits decides, in Katib's order; a trial that was stopped early still says Running.
_ORDER = (
    (keys.KILLED, TrialState.KILLED),
    (keys.FAILED, TrialState.FAILED),
    (keys.SUCCEEDED, TrialState.SUCCEEDED),
    (keys.EARLY_STOPPED, TrialState.EARLY_STOPPED),
    (keys.RUNNING, TrialState.RUNNING),
    (keys.METRICS_UNAVAILABLE, TrialState.METRICS_UNAVAILABLE),
)

# Words in a workload's own reason that class a failure.
_CLASSES = (
    ("OOMKilled", "OutOfMemory"),
    ("OutOfMemory", "OutOfMemory"),
    ("DeadlineExceeded", "DeadlineExceeded"),
    ("NodeLost", "Infrastructure"),
    ("WorkerLost", "Infrastructure"),
    ("Evicted", "Infrastructure"),
    ("Preempt", "Infrastructure"),
    ("JobLost", "Infrastructure"),
    ("Cancelled", "Cancelled"),
    ("NonFinite", "NonFinite"),
)


_OUT_OF_MEMORY = ": OOMKilled: "
"""In a job's message: how its last attempt ended, where the reason only says that there were too many."""


def state(items: Iterable[Condition] | None) -> TrialState:
    """The state that a trial's conditions say."""
    true = {condition.type for condition in items or () if condition.status == conditions.TRUE}
    return next((found for type_, found in _ORDER if type_ in true), TrialState.PENDING)


def finished(subject: trial.Trial) -> bool:
    """Whether nothing more will happen to the trial."""
    return state(subject.status.conditions).finished


def queued(subject: trial.Trial) -> bool:
    """Whether a trial waits for resources and has no workload yet."""
    items = subject.status.conditions
    return conditions.is_true(items, keys.QUEUED) and state(items) is TrialState.PENDING


def slot(subject: trial.Trial) -> int:
    """The slot a trial fills; -1 when it carries none (made by hand, or by another system)."""
    text = subject.metadata.annotation(keys.ANNOTATION_SLOT)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


def failure_class(items: Iterable[Condition] | None) -> str:
    """Why a trial failed, as one word that algorithms and retries act on; empty when it neither failed nor was killed."""
    if conditions.is_true(items, keys.KILLED):
        return "Cancelled"
    failed = conditions.find(items, keys.FAILED)
    if failed is None or failed.status != conditions.TRUE:
        return ""
    return "OutOfMemory" if _OUT_OF_MEMORY in failed.message else class_of(failed.reason)


def class_of(reason: str) -> str:
    """The class of a workload's own reason; what nobody else is to blame for is ``UserError``."""
    return next((word for mark, word in _CLASSES if mark in reason), "UserError")


def record(subject: trial.Trial) -> history.TrialRecord:
    """The trial in short. Text of the manifest is kept as it is; only the objective becomes a number."""
    assignments = subject.spec.parameter_assignments or ()
    seen = subject.status.observation
    objective = None
    if seen is not None and subject.spec.objective is not None:
        objective = observation.objective_value(subject.spec.objective, seen)
    return history.TrialRecord(
        name=subject.name,
        uid=subject.uid,
        slot=slot(subject),
        state=state(subject.status.conditions),
        names=tuple(assignment.name for assignment in assignments),
        values=tuple(assignment.value for assignment in assignments),
        objective=objective,
        metrics=_metrics(seen.metrics or ()) if seen is not None else (),
        reason=failure_class(subject.status.conditions),
        start_time=sys.intern(subject.status.start_time or ""),  # many trials share a second
        completion_time=sys.intern(subject.status.completion_time or ""),
        labels=own_labels(subject),
        queued=queued(subject),
    )


def own_labels(subject: trial.Trial) -> Mapping[str, str]:
    """Labels that an algorithm may have put on the trial: those of the population-based ones."""
    labels = subject.metadata.labels or {}
    if keys.LABEL_PBT_GENERATION not in labels:
        return history.NO_LABELS
    return {key: labels[key] for key in (keys.LABEL_PBT_GENERATION, keys.LABEL_PBT_PARENT) if key in labels}


def _metrics(metrics: Iterable[experiment.Metric]) -> tuple[history.MetricValues, ...]:
    """Metrics without the weight of models; equal texts become one object, as most trials report a value once."""
    found = []
    for metric in metrics:
        lowest = metric.latest if metric.min == metric.latest else metric.min
        highest = metric.latest if metric.max == metric.latest else metric.max
        found.append(history.MetricValues(sys.intern(metric.name), metric.latest, highest, lowest))
    return tuple(found)
