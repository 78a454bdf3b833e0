"""What a proposal sees in a reproducible run."""

from __future__ import annotations

import random

from kuttab.api.history import TrialRecord, TrialState
from kuttab.rules import lag, ledger


def record(slot: int, state: TrialState = TrialState.SUCCEEDED) -> TrialRecord:
    """A trial of a slot."""
    return TrialRecord(name=f"t{slot}", uid=f"u{slot}", slot=slot, state=state, objective=float(slot))


def test_first_proposals_see_nothing() -> None:
    """As many proposals as run at once are made from nothing."""
    account = ledger.Ledger("uid", maximize=False)
    for slot in range(4):
        assert lag.ready(account, slot, 4)
        assert not lag.Lagged(account, slot, 4).all()


def test_sees_exactly_those_below() -> None:
    """Proposal i waits for trial i - parallel and sees 0 .. i - parallel, whatever else has ended."""
    account = ledger.Ledger("uid", maximize=False)
    for slot in (0, 1, 3, 4):
        account.put(record(slot))
    account.put(record(2, TrialState.RUNNING))
    assert not lag.ready(account, 5, 3)
    account.put(record(2))
    assert lag.ready(account, 5, 3)
    seen = lag.Lagged(account, 5, 3)
    assert [item.slot for item in seen.all()] == [0, 1, 2]
    assert [item.slot for item in seen.changed_since(2) or ()] == [2]
    assert seen.changed_since(seen.revision) == []


def test_order_of_ends_does_not_matter() -> None:
    """Any order in which trials end shows every proposal the same history."""
    histories = set()
    for seed in range(20):
        source, account, shown = random.Random(seed), ledger.Ledger("uid", maximize=False), []
        running: list[int] = []
        slot = 0
        while slot < 12:
            if len(running) < 3 and lag.ready(account, slot, 3):
                shown.append(tuple(item.slot for item in lag.Lagged(account, slot, 3).all()))
                account.put(record(slot, TrialState.RUNNING))
                running.append(slot)
                slot += 1
            else:
                account.put(record(running.pop(source.randrange(len(running)))))
        histories.add(tuple(shown))
    assert len(histories) == 1


def test_deleted_trial_is_not_waited_for() -> None:
    """A trial that somebody deleted neither holds proposals up nor is shown."""
    account = ledger.Ledger("uid", maximize=False)
    account.put(record(0))
    account.put(record(1))
    account.remove("t0")
    assert lag.ready(account, 2, 2)
    assert [item.slot for item in lag.Lagged(account, 3, 2).all()] == [1]
