"""The trial's status after a pass, as pure steps. A terminal condition and its observation are one step, so one write."""

from __future__ import annotations

from kuttab.api import conditions, experiment, keys, meta
from kuttab.api.conditions import FALSE, TRUE
from kuttab.api.trial import TrialStatus
from kuttab.rules import workload


def created(status: TrialStatus, now: str) -> TrialStatus:
    """With Created, the start time, and a completion time of JSON null."""
    if conditions.is_true(status.conditions, keys.CREATED):
        return status
    items = conditions.put(status.conditions, keys.CREATED, TRUE, keys.TRIAL_CREATED, "Trial is created", now)
    return meta.evolve(status, conditions=items, start_time=now, completion_time=meta.NULL)


def queued(status: TrialStatus, reason: str, message: str, now: str) -> TrialStatus:
    """The workload waits for resources; why is in the message."""
    old = conditions.find(status.conditions, keys.QUEUED)
    if old is not None and old.status == TRUE and old.message == message:
        return status
    items = conditions.drop(status.conditions, keys.QUEUED)
    return meta.evolve(status, conditions=conditions.put(items, keys.QUEUED, TRUE, reason, message, now))


def suspended(status: TrialStatus, message: str, now: str) -> TrialStatus:
    """The workload exists and is suspended (why is in the message), or not any more (the message is empty)."""
    if message:
        return queued(status, keys.WORKLOAD_SUSPENDED, message, now)
    old = conditions.find(status.conditions, keys.QUEUED)
    return status if old is None else meta.evolve(status, conditions=conditions.drop(status.conditions, keys.QUEUED))


def running(status: TrialStatus, now: str) -> TrialStatus:
    """The workload exists."""
    if conditions.is_true(status.conditions, keys.RUNNING):
        return status
    items = conditions.drop(status.conditions, keys.QUEUED)
    items = conditions.put(items, keys.RUNNING, TRUE, keys.TRIAL_RUNNING, "Trial is running", now)
    return meta.evolve(status, conditions=items)


def succeeded(
    status: TrialStatus, observation: experiment.Observation, reading: workload.Reading, now: str
) -> TrialStatus:
    """The workload succeeded and the objective has a value."""
    return _ended(status, keys.SUCCEEDED, keys.TRIAL_SUCCEEDED, "Trial has succeeded", reading, observation, now)


def metrics_unavailable(
    status: TrialStatus, observation: experiment.Observation | None, reading: workload.Reading, now: str
) -> TrialStatus:
    """The workload succeeded, but the objective was never reported."""
    text = "The workload succeeded but the objective metric was not found in what it reported"
    return _ended(status, keys.METRICS_UNAVAILABLE, keys.TRIAL_METRICS_UNAVAILABLE, text, reading, observation, now)


def failed(status: TrialStatus, reading: workload.Reading, now: str) -> TrialStatus:
    """The workload failed."""
    return _ended(status, keys.FAILED, keys.TRIAL_FAILED, "Trial has failed", reading, None, now)


def killed(status: TrialStatus, why: str, now: str) -> TrialStatus:
    """The trial was ended from outside, because its experiment ended or its user said so."""
    text = f"Trial was ended: {why}"
    return _ended(status, keys.KILLED, keys.TRIAL_KILLED, text, workload.Reading(workload.Outcome.ACTIVE), None, now)


def early_stopped(status: TrialStatus, observation: experiment.Observation, now: str) -> TrialStatus:
    """A rule ended the trial. As in Katib, Running stays True; unlike Katib's, the completion time is set."""
    items = conditions.put(
        status.conditions, keys.EARLY_STOPPED, TRUE, keys.TRIAL_EARLY_STOPPED, "Trial is early stopped", now
    )
    return meta.evolve(status, conditions=items, observation=observation, completion_time=now)


def observed(status: TrialStatus, observation: experiment.Observation) -> TrialStatus:
    """An early-stopped trial's observation, when somebody else set the condition."""
    return meta.evolve(status, observation=observation)


def _ended(
    status: TrialStatus,
    type_: str,
    reason: str,
    message: str,
    reading: workload.Reading,
    observation: experiment.Observation | None,
    now: str,
) -> TrialStatus:
    items = conditions.drop(status.conditions, keys.QUEUED)
    run = conditions.find(items, keys.RUNNING)
    if run is not None:
        items = conditions.put(items, keys.RUNNING, FALSE, run.reason, run.message, now)
    if reading.reason:
        reason = f"{reason}. Job reason: {reading.reason}"
    if reading.message:
        message = f"{message}. Job message: {reading.message}"
    items = conditions.put(items, type_, TRUE, reason, message, now)
    changed = meta.evolve(status, conditions=items, completion_time=now)
    return changed if observation is None else meta.evolve(changed, observation=observation)
