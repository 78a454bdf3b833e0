"""The experiment's status after a pass: conditions, times, counters, as one pure step."""

from __future__ import annotations

from kuttab.api import conditions, experiment, keys, meta
from kuttab.api.conditions import FALSE, TRUE
from kuttab.rules import completion, counting
from kuttab.rules import ledger as ledgers


def created(status: experiment.ExperimentStatus, now: str) -> experiment.ExperimentStatus:
    """With Created set, the start time, and a completion time of JSON null, as Katib writes it."""
    if conditions.is_true(status.conditions, keys.CREATED):
        return status
    items = conditions.put(status.conditions, keys.CREATED, TRUE, keys.EXPERIMENT_CREATED, "Experiment is created", now)
    return meta.evolve(status, conditions=items, start_time=now, completion_time=meta.NULL)


def running(status: experiment.ExperimentStatus, ledger: ledgers.Ledger, now: str) -> experiment.ExperimentStatus:
    """With Running set once there is a trial."""
    if not ledger.total or conditions.is_true(status.conditions, keys.RUNNING):
        return status
    items = conditions.put(status.conditions, keys.RUNNING, TRUE, keys.EXPERIMENT_RUNNING, "Experiment is running", now)
    return meta.evolve(status, conditions=items)


def ended(status: experiment.ExperimentStatus, end: completion.End, now: str) -> experiment.ExperimentStatus:
    """With Running turned False (its reason and message kept) and the end appended."""
    items = status.conditions
    run = conditions.find(items, keys.RUNNING)
    if run is not None:
        items = _flipped(items, run, now)
    suspended = conditions.find(items, keys.SUSPENDED)
    if suspended is not None and suspended.status == TRUE:
        items = _flipped(items, suspended, now)
    items = conditions.put(items, end.type, TRUE, end.reason, end.message, now)
    return meta.evolve(status, conditions=items, completion_time=now)


def restarted(status: experiment.ExperimentStatus, now: str) -> experiment.ExperimentStatus:
    """With the end taken away and Restarting set; each restart is counted."""
    items = conditions.drop(status.conditions, keys.SUCCEEDED, keys.FAILED, keys.RESTARTING)
    items = conditions.put(
        items, keys.RESTARTING, TRUE, keys.EXPERIMENT_RESTARTING, "Experiment is restarted with a larger budget", now
    )
    return meta.evolve(status, conditions=items, restarts=status.restarts + 1)


def suspended(status: experiment.ExperimentStatus, wanted: bool, now: str) -> experiment.ExperimentStatus:
    """With Suspended following ``spec.suspend``; Running is appended again when it goes on."""
    now_so = conditions.is_true(status.conditions, keys.SUSPENDED)
    if now_so == wanted:
        return status
    reason, text = ("Paused", "No new trials while spec.suspend is true") if wanted else ("Resumed", "Goes on")
    items = conditions.put(status.conditions, keys.SUSPENDED, TRUE if wanted else FALSE, reason, text, now)
    if not wanted:
        run = conditions.find(items, keys.RUNNING)
        if run is not None:
            items = [*conditions.drop(items, keys.RUNNING), run]
    return meta.evolve(status, conditions=items)


def template_changed(status: experiment.ExperimentStatus, changed: bool, now: str) -> experiment.ExperimentStatus:
    """With TemplateChanged saying whether the ConfigMap still holds the template that the experiment runs with."""
    if conditions.is_true(status.conditions, keys.TEMPLATE_CHANGED) == changed:
        return status
    text = "The ConfigMap of the trial template changed; this experiment keeps the template it started with"
    found = conditions.put(status.conditions, keys.TEMPLATE_CHANGED, TRUE if changed else FALSE, "Snapshot", text, now)
    # People read the last condition as the state: this remark goes before it.
    last = [condition for condition in found if condition.type == keys.TEMPLATE_CHANGED]
    return meta.evolve(status, conditions=[*last, *conditions.drop(found, keys.TEMPLATE_CHANGED)])


def counted(status: experiment.ExperimentStatus, ledger: ledgers.Ledger, slots: int) -> experiment.ExperimentStatus:
    """With counters, lists and the best trial."""
    return counting.counted(status, ledger, slots)


def _flipped(
    items: list[conditions.Condition] | None, old: conditions.Condition, now: str
) -> list[conditions.Condition]:
    return conditions.put(items, old.type, FALSE, old.reason, old.message, now)
