"""Budget, completion, restart and status of an experiment."""

from __future__ import annotations

from typing import Any

import pytest

from kuttab.api import conditions, keys, meta
from kuttab.api.experiment import Experiment
from kuttab.api.history import TrialRecord, TrialState
from kuttab.api.suggestion import Suggestion
from kuttab.rules import budget, completion, counting, experiment_state
from kuttab.rules.ledger import Ledger

NOW = "2026-01-01T00:00:00Z"


def experiment(status: dict[str, Any] | None = None, **spec: Any) -> Experiment:
    """An experiment that minimises loss."""
    body = {"objective": {"type": "minimize", "objectiveMetricName": "loss"}, **spec}
    return Experiment.load(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Experiment",
            "metadata": {"name": "e", "uid": "u", "namespace": "d"},
            "spec": body,
            "status": status or {},
        }
    )


def suggestion(count: int, requests: int, *, exhausted: bool = False, failed: str = "") -> Suggestion:
    """A suggestion that has answered ``count`` of ``requests``."""
    entries = [{"name": f"e-{slot}", "slot": slot, "parameterAssignments": []} for slot in range(count)]
    status: dict[str, Any] = {"suggestionCount": count, "suggestions": entries, "exhausted": exhausted}
    if failed:
        status["conditions"] = [{"type": "Failed", "status": "True", "message": failed}]
    return Suggestion.load(
        {"apiVersion": "kubeflow.org/v1beta1", "kind": "Suggestion", "spec": {"requests": requests}, "status": status}
    )


def ledger(*states: TrialState, objective: float | None = None) -> Ledger:
    """An account with a trial per state, in slot order."""
    account = Ledger("u", maximize=False)
    for slot, state in enumerate(states):
        value = objective if state is TrialState.SUCCEEDED else None
        account.put(TrialRecord(f"e-{slot}", f"u{slot}", slot, state, objective=value))
    return account


S, F, R, P = TrialState.SUCCEEDED, TrialState.FAILED, TrialState.RUNNING, TrialState.PENDING
M, K, E = TrialState.METRICS_UNAVAILABLE, TrialState.KILLED, TrialState.EARLY_STOPPED


@pytest.mark.parametrize(
    ("states", "spec", "requests"),
    [
        ((), {"parallelTrialCount": 3, "maxTrialCount": 12}, 3),
        ((), {}, 3),
        ((R, R), {"parallelTrialCount": 3, "maxTrialCount": 12}, 3),
        ((S, S, R), {"parallelTrialCount": 2, "maxTrialCount": 12}, 4),
        ((S, S, R), {"parallelTrialCount": 2, "maxTrialCount": 3}, 3),
        ((M, M, M), {"parallelTrialCount": 3, "maxTrialCount": 4}, 4),
        ((K, F, E, M), {"parallelTrialCount": 3, "maxTrialCount": 5}, 5),
        ((R, R, R, R), {"parallelTrialCount": 2, "maxTrialCount": 12}, 4),
        ((S,), {"parallelTrialCount": 2, "suspend": True}, 1),
    ],
    ids=[
        "first batch", "default of three", "one more", "replace what finished", "budget is used up",
        "without metrics counts against the budget (K1)", "every end counts", "lowered parallelism drains", "suspended",
    ],
)  # fmt: skip
def test_requests_never_pass_the_budget(states: tuple[TrialState, ...], spec: dict[str, Any], requests: int) -> None:
    """As many assignments are asked for as slots may be filled now, whatever the trials came to."""
    assert budget.plan(experiment(**spec), None, ledger(*states)).requests == requests


def test_requests_are_never_lowered() -> None:
    """What was asked for stays asked for (A04)."""
    plan = budget.plan(experiment(parallelTrialCount=1), suggestion(0, 7), ledger())
    assert plan.requests == 7


def test_trials_are_made_for_free_slots_only_in_order() -> None:
    """Assignments become trials in slot order, as far as parallelism and budget allow."""
    plan = budget.plan(experiment(parallelTrialCount=3, maxTrialCount=5), suggestion(5, 5), ledger(S, R))
    assert [item.slot for item in plan.create] == [2, 3]


def test_a_slot_whose_trial_was_deleted_is_not_filled_again() -> None:
    """A user's deletion is not undone from an old assignment (K30)."""
    account = ledger(S, S)
    account.remove("e-1")
    plan = budget.plan(experiment(parallelTrialCount=2, maxTrialCount=4), suggestion(2, 2), account)
    assert plan.create == ()
    assert plan.requests == 4
    remembered = budget.plan(experiment({"slots": 2}, parallelTrialCount=2), suggestion(2, 2), ledger())
    assert remembered.create == ()


@pytest.mark.parametrize(
    ("goal", "value", "reached"),
    [(0.5, 0.5, True), (0.5, 0.6, False), (0.0, 0.0, True), (None, -1e300, False), (0.0, 0.1, False)],
)
def test_goal_is_reached_at_it_or_beyond(goal: float | None, value: float, reached: bool) -> None:
    """Minimising stops at <= goal; an absent goal is not zero."""
    objective = {"type": "minimize", "objectiveMetricName": "loss"} | ({} if goal is None else {"goal": goal})
    assert completion.goal_reached(experiment(objective=objective), ledger(S, objective=value)) is reached


@pytest.mark.parametrize(
    ("states", "spec", "current", "reason"),
    [
        ((S, R), {"maxTrialCount": 2}, None, None),
        ((S, S), {"maxTrialCount": 2}, None, keys.EXPERIMENT_MAX_TRIALS_REACHED),
        ((F, R), {"maxFailedTrialCount": 1}, None, keys.EXPERIMENT_FAILED),
        ((S, R), {"maxFailedTrialCount": 0}, None, None),
        ((F, R), {"maxFailedTrialCount": 0}, None, keys.EXPERIMENT_FAILED),
        ((M, F, R), {"maxFailedTrialCount": 2}, None, keys.EXPERIMENT_FAILED),
        ((F, F), {"maxTrialCount": 2, "maxFailedTrialCount": 2}, None, keys.EXPERIMENT_FAILED),
        ((S, R), {"stop": True}, None, keys.EXPERIMENT_STOPPED),
        ((S, S), {}, suggestion(2, 5, exhausted=True), keys.EXPERIMENT_SUGGESTION_END_REACHED),
        ((S, R), {}, suggestion(2, 5, exhausted=True), None),
        ((S,), {}, suggestion(2, 5, exhausted=True), None),
        ((S,), {}, suggestion(1, 5, failed="Validation failed: no"), keys.EXPERIMENT_FAILED),
    ],
)
def test_end_rules(
    states: tuple[TrialState, ...], spec: dict[str, Any], current: Suggestion | None, reason: str | None
) -> None:
    """Each end rule ends the experiment when it holds and not before."""
    end = completion.judge(experiment(**spec), current, ledger(*states))
    assert (end.reason if end is not None else None) == reason


def test_goal_comes_before_failures_and_budget() -> None:
    """The order of the end rules is goal, failures, budget."""
    subject = experiment(
        objective={"type": "minimize", "objectiveMetricName": "loss", "goal": 1.0},
        maxTrialCount=2,
        maxFailedTrialCount=1,
    )
    end = completion.judge(subject, None, ledger(S, F, objective=0.5))
    assert end is not None
    assert end.reason == keys.EXPERIMENT_GOAL_REACHED


def test_the_end_turns_running_false_and_comes_last() -> None:
    """A finished experiment reads ..., Running=False, Succeeded=True, as kubectl shows the last condition."""
    status = experiment_state.created(experiment().status, NOW)
    assert meta.dump(status)["completionTime"] is None
    status = experiment_state.running(status, ledger(R), NOW)
    status = experiment_state.ended(status, completion.End(keys.SUCCEEDED, "r", "m"), NOW)
    assert [(c.type, c.status) for c in status.conditions or ()] == [
        ("Created", "True"), ("Running", "False"), ("Succeeded", "True"),
    ]  # fmt: skip
    assert status.completion_time == NOW


@pytest.mark.parametrize("policy", ["Never", "LongRunning", "FromVolume"])
def test_a_raised_budget_restarts_once(policy: str) -> None:
    """A larger budget opens a finished experiment again under the two policies that allow it, and is counted."""
    ended = experiment_state.ended(
        experiment().status, completion.End(keys.SUCCEEDED, keys.EXPERIMENT_MAX_TRIALS_REACHED, ""), NOW
    )
    subject = meta.evolve(experiment(resumePolicy=policy, maxTrialCount=4), status=ended)
    assert completion.restarts(subject, ledger(S, S)) is (policy != "Never")
    assert completion.restarts(subject, ledger(S, S, S, S)) is False
    again = experiment_state.restarted(subject.status, NOW)
    assert again.restarts == 1
    assert not conditions.is_true(again.conditions, keys.SUCCEEDED)
    assert conditions.is_true(again.conditions, keys.RESTARTING)


def test_an_unlimited_experiment_at_its_goal_stays_ended() -> None:
    """Katib flips such an experiment between Restarting and Succeeded for ever; ours stays."""
    ended = experiment_state.ended(
        experiment().status, completion.End(keys.SUCCEEDED, keys.EXPERIMENT_GOAL_REACHED, ""), NOW
    )
    subject = meta.evolve(experiment(resumePolicy="LongRunning"), status=ended)
    assert completion.restarts(subject, ledger(S, S)) is False


def test_status_lists_are_capped_and_counters_are_not() -> None:
    """No status grows with the number of trials beyond a constant (S22)."""
    account = ledger(*[S] * (counting.LIST_CAP + 50))
    status = counting.counted(experiment().status, account, counting.LIST_CAP + 50)
    assert status.trials_succeeded == status.trials == counting.LIST_CAP + 50
    assert len(status.succeeded_trial_list or ()) == counting.LIST_CAP
    assert (status.succeeded_trial_list or ())[-1] == f"e-{counting.LIST_CAP + 49}"
    assert "trialsFailed" not in meta.dump(status)


def test_suspension_shows_and_running_comes_back_last() -> None:
    """Pausing and going on are visible as the last condition."""
    status = experiment_state.running(experiment_state.created(experiment().status, NOW), ledger(R), NOW)
    paused = experiment_state.suspended(status, True, NOW)
    assert (paused.conditions or ())[-1].type == keys.SUSPENDED
    resumed = experiment_state.suspended(paused, False, NOW)
    assert (resumed.conditions or ())[-1].type == keys.RUNNING
