"""How many trials an experiment may start, as slots: the budget is a journal of slot numbers, never a count of a list.

Slot ``i`` (from 0) is consumed once a trial was created for it, and stays consumed when that trial is deleted. The Suggestion's
``spec.requests`` says up to which slot assignments are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

from kuttab.api import experiment, history, suggestion
from kuttab.rules import ledger as ledgers

DEFAULT_PARALLEL = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about slots now.

    ``requests`` is the new value of Suggestion.spec.requests (never lower than the old); ``create`` are assignments whose trial
    is to be made now, in slot order; ``slots`` is how many slots are consumed before that.
    """

    requests: int
    create: tuple[suggestion.TrialAssignment, ...]
    slots: int


def consumed(subject: experiment.Experiment, ledger: ledgers.Ledger) -> int:
    """Slots consumed so far: what the status remembers, or what trials show, whichever is more."""
    return max(subject.status.slots, ledger.next_slot)


def parallel(subject: experiment.Experiment) -> int:
    """How many trials may be active at once."""
    return subject.spec.parallel_trial_count or DEFAULT_PARALLEL


def room(subject: experiment.Experiment, ledger: ledgers.Ledger) -> int:
    """How many trials may be started now.

    A trial that waits for resources holds no parallel slot, so others may run meanwhile; but no more are made than can run and as many
    again can wait, or an algorithm would be asked for the whole budget at once.
    """
    if subject.spec.suspend:
        return 0
    most = parallel(subject)
    free = max(0, min(most - (ledger.active - ledger.queued), 2 * most - ledger.active))
    if subject.spec.max_trial_count is None:
        return free
    return min(free, max(0, subject.spec.max_trial_count - consumed(subject, ledger)))


def plan(subject: experiment.Experiment, current: suggestion.Suggestion | None, ledger: ledgers.Ledger) -> Plan:
    """What to ask for and which trials to make. The caller has made sure that the experiment is not over."""
    slots = consumed(subject, ledger)
    free = room(subject, ledger)
    requests = _requests(subject, slots + free, current.spec.requests if current is not None else 0)
    given = current.status.suggestions or () if current is not None else ()
    create = [
        assignment
        for assignment in given
        if slots <= assignment.slot < slots + free and ledger.at_slot(assignment.slot) is None
    ]
    create.sort(key=lambda assignment: assignment.slot)
    return Plan(requests, tuple(create), slots)


def _requests(subject: experiment.Experiment, wanted: int, asked: int) -> int:
    """How many assignments to ask for: those wanted now, and, when these are not there yet, some ahead of time."""
    ahead = subject.spec.ask_ahead or 0
    if wanted <= asked or ahead <= 0 or subject.spec.reproducible:
        return max(wanted, asked)
    limit = subject.spec.max_trial_count
    return wanted + ahead if limit is None else max(wanted, min(wanted + ahead, limit))


def exhausted(current: suggestion.Suggestion | None, slots: int) -> bool:
    """Whether the algorithm has ended and every assignment it gave has had its trial."""
    return current is not None and bool(current.status.exhausted) and slots >= current.status.suggestion_count


def spent(subject: experiment.Experiment, ledger: ledgers.Ledger) -> bool:
    """Whether every slot of the budget was used and nothing is active."""
    limit = subject.spec.max_trial_count
    return limit is not None and ledger.active == 0 and consumed(subject, ledger) >= limit


def failures(ledger: ledgers.Ledger) -> int:
    """Trials that count as failed: failed ones and those without metrics."""
    return ledger.count(history.TrialState.FAILED, history.TrialState.METRICS_UNAVAILABLE)
