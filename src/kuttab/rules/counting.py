"""An experiment's counters, lists and best trial, from the running account of its trials."""

from __future__ import annotations

from typing import Any

from kuttab.api import experiment, history, meta
from kuttab.api.history import TrialState
from kuttab.api.space import ParameterAssignment
from kuttab.rules import ledger as ledgers

LIST_CAP = 500
"""Names per list of the status: the newest ones. Counters count all, so no object grows with the number of trials."""

_FIELDS = (
    (TrialState.SUCCEEDED, "trials_succeeded", "succeeded_trial_list"),
    (TrialState.FAILED, "trials_failed", "failed_trial_list"),
    (TrialState.KILLED, "trials_killed", "killed_trial_list"),
    (TrialState.PENDING, "trials_pending", "pending_trial_list"),
    (TrialState.RUNNING, "trials_running", "running_trial_list"),
    (TrialState.EARLY_STOPPED, "trials_early_stopped", "early_stopped_trial_list"),
    (TrialState.METRICS_UNAVAILABLE, "trial_metrics_unavailable", "metrics_unavailable_trial_list"),
)


def counted(status: experiment.ExperimentStatus, ledger: ledgers.Ledger, slots: int) -> experiment.ExperimentStatus:
    """The status with counters, lists and the best trial as the account has them now; zero is left out."""
    changes: dict[str, Any] = {"trials": ledger.total or None, "slots": slots or None}
    for state, counter, names in _FIELDS:
        changes[counter] = ledger.count(state) or None
        changes[names] = ledger.newest(state, LIST_CAP)
    changes["current_optimal_trial"] = optimal(ledger.best)
    return meta.evolve(status, **changes)


def optimal(best: history.TrialRecord | None) -> experiment.OptimalTrial:
    """The best trial as the status shows it; an empty one is ``{"observation": {}}``."""
    if best is None:
        return experiment.OptimalTrial(observation=experiment.Observation())
    metrics = [
        experiment.Metric(name=metric.name, latest=metric.latest, max=metric.max, min=metric.min)
        for metric in best.metrics
    ]
    return experiment.OptimalTrial(
        best_trial_name=best.name,
        parameter_assignments=[
            ParameterAssignment(name=name, value=value) for name, value in zip(best.names, best.values, strict=True)
        ],
        observation=experiment.Observation(metrics=metrics),
    )
