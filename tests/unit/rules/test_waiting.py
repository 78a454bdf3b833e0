"""Trials that wait: what they hold, what is told, and how a suspended workload is seen."""

from __future__ import annotations

from typing import Any

import pytest

from kuttab.api import conditions, experiment, keys, meta, trial
from kuttab.api.history import TrialRecord, TrialState
from kuttab.api.trial import TrialStatus
from kuttab.rules import budget, explaining, ledger, trial_state, trial_status, workload
from kuttab.testing import builders

NOW = "2026-11-26T08:00:00Z"


def account(*marks: str) -> ledger.Ledger:
    """An account: R runs, P is pending, Q is queued, S has succeeded."""
    found = ledger.Ledger("u", maximize=False)
    states = {"R": TrialState.RUNNING, "P": TrialState.PENDING, "Q": TrialState.PENDING, "S": TrialState.SUCCEEDED}
    for slot, mark in enumerate(marks):
        found.put(TrialRecord(f"t{slot}", f"u{slot}", slot, states[mark], queued=mark == "Q"))
    return found


@pytest.mark.parametrize(
    ("marks", "parallel", "room"),
    [
        ("", 2, 2), ("R", 2, 1), ("RR", 2, 0), ("P", 1, 0), ("Q", 1, 1), ("QR", 1, 0), ("QQ", 1, 0), ("QQ", 2, 2), ("QQR", 2, 1),
        ("QQRR", 2, 0), ("QQQ", 2, 1), ("QQQQ", 2, 0), ("QQQQQQ", 2, 0), ("SSSQ", 2, 2), ("RRR", 2, 0),
    ],
)  # fmt: skip
def test_a_waiting_trial_holds_no_slot_and_not_all_wait_at_once(marks: str, parallel: int, room: int) -> None:
    """Room is parallelism less what runs or starts, and at most twice the parallelism is unfinished."""
    subject = builders.experiment(parallelTrialCount=parallel, maxTrialCount=100)
    assert budget.room(subject, account(*marks)) == room


def test_the_account_follows_trials_into_the_queue_and_out_of_it() -> None:
    """Queued trials are counted once, whatever is put again, and not when they run or are gone."""
    found = account("Q", "Q", "R")
    found.put(TrialRecord("t0", "u0", 0, TrialState.PENDING, queued=True))
    assert (found.queued, found.active) == (2, 3)
    found.put(TrialRecord("t0", "u0", 0, TrialState.RUNNING))
    found.put(TrialRecord("t2", "u2", 2, TrialState.SUCCEEDED))
    assert (found.queued, found.active) == (1, 2)
    found.remove("t1")
    assert (found.queued, found.active) == (0, 1)


def subject(status: TrialStatus) -> trial.Trial:
    """A trial of that status."""
    return meta.evolve(builders.trial("t"), status=status)


def test_queued_is_read_from_conditions_and_told() -> None:
    """A trial without a workload that waits is queued, and its story says for what."""
    status = trial_status.queued(trial_status.created(TrialStatus(), NOW), keys.QUOTA_WAIT, "0 of 4 GPUs free", NOW)
    waiting = subject(status)
    assert trial_state.queued(waiting)
    assert trial_state.record(waiting).queued
    assert explaining.trial_story(waiting)[0].endswith("waits for resources (QuotaWait): 0 of 4 GPUs free")
    assert ("State", "Pending, Queued (QuotaWait): 0 of 4 GPUs free") in explaining.facts(waiting)


def test_a_suspended_workload_is_a_state_of_its_own_and_holds_its_slot() -> None:
    """The trial says that its workload is suspended while it is, keeps Running, and drops the word when it goes on."""
    running = trial_status.running(trial_status.created(TrialStatus(), NOW), NOW)
    text = workload.suspended(job("Suspended", "True"))
    assert text == "MPIJob t is suspended; it goes on when suspend is set to false in its spec"
    status = trial_status.suspended(running, text, NOW)
    assert conditions.is_true(status.conditions, keys.RUNNING)
    assert not trial_state.queued(subject(status))
    assert explaining.trial_story(subject(status))[0].endswith(f"is suspended (WorkloadSuspended): {text}")
    again = trial_status.suspended(status, "", NOW)
    assert conditions.find(again.conditions, keys.QUEUED) is None
    assert trial_status.suspended(again, "", NOW) is again


def job(type_: str, status: str) -> dict[str, Any]:
    """A workload with one condition."""
    return {"kind": "MPIJob", "metadata": {"name": "t"}, "status": {"conditions": [{"type": type_, "status": status}]}}


@pytest.mark.parametrize(
    "document",
    [
        job("Suspended", "False"),
        job("Running", "True"),
        {},
        {"status": None},
        {"status": {"conditions": None}},
        {"status": {"conditions": ["x"]}},
    ],
)
def test_other_workloads_are_not_suspended(document: dict[str, Any]) -> None:
    """Only a condition Suspended that is True says so, whatever else a status holds."""
    assert workload.suspended(document) == ""


def test_parallelism_has_katibs_default() -> None:
    """Three, when the manifest says nothing."""
    assert budget.parallel(experiment.Experiment()) == 3
