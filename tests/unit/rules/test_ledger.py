"""The running account of an experiment's trials."""

from __future__ import annotations

import math
import random

import pytest

from kuttab.api.history import MetricValues, TrialRecord, TrialState
from kuttab.rules.ledger import CHANGES_KEPT, Ledger


def record(
    slot: int, state: TrialState = TrialState.SUCCEEDED, objective: float | None = None, **more: object
) -> TrialRecord:
    """A record named for its slot."""
    return TrialRecord(name=f"t{slot}", uid=f"u{slot}", slot=slot, state=state, objective=objective, **more)  # type: ignore[arg-type]


def brute_best(records: list[TrialRecord], *, maximize: bool) -> str | None:
    """The best trial by looking at all of them."""
    finite = [r for r in records if r.objective is not None and math.isfinite(r.objective)]
    if not finite:
        return None
    return min(finite, key=lambda r: (-r.objective if maximize else r.objective, r.slot)).name  # type: ignore[operator]


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_best_and_counts_equal_a_recount_after_any_changes(seed: int, maximize: bool) -> None:
    """Whatever is put, changed and removed, counters and the best trial equal a recount."""
    draw = random.Random(seed)
    account, truth = Ledger("u", maximize=maximize), {}
    values = [None, 0.0, 1.0, 1.0, -2.5, 7.0, math.nan, math.inf, -math.inf]
    for _ in range(300):
        slot = draw.randrange(25)
        if draw.random() < 0.15:
            account.remove(f"t{slot}")
            truth.pop(f"t{slot}", None)
        else:
            item = record(slot, draw.choice(list(TrialState)), draw.choice(values))
            account.put(item)
            truth[item.name] = item
        assert account.total == len(truth)
        for state in TrialState:
            names = {name for name, item in truth.items() if item.state is state}
            assert account.count(state) == len(names)
            order = sorted(names, key=lambda name: truth[name].slot)
            assert account.newest(state, 100) == order
            assert account.newest(state, 3) == order[-3:]
        best = account.best.name if account.best is not None else None
        assert best == brute_best(list(truth.values()), maximize=maximize)


def test_a_tie_keeps_the_earlier_slot() -> None:
    """Of two equal trials the one with the lower slot is the best, in whatever order they arrive."""
    for order in ((3, 1), (1, 3)):
        account = Ledger("u", maximize=False)
        for slot in order:
            account.put(record(slot, objective=0.5))
        assert account.best is not None
        assert account.best.slot == 1


def test_text_is_best_only_while_no_number_exists() -> None:
    """An architecture is the best trial while nothing numeric was measured, the last one of them; a number then wins."""
    account = Ledger("u", maximize=True)
    account.put(record(0, metrics=(MetricValues("g", "Genotype(a)", "unavailable", "unavailable"),)))
    account.put(record(1, metrics=(MetricValues("g", "Genotype(b)", "unavailable", "unavailable"),)))
    assert account.best is not None
    assert account.best.slot == 1
    account.put(record(2, objective=-1.0))
    account.put(record(3, metrics=(MetricValues("g", "Genotype(c)", "unavailable", "unavailable"),)))
    assert account.best.slot == 2


def test_a_removed_trial_keeps_its_slot_consumed() -> None:
    """A slot is never given out twice, even when its trial was deleted."""
    account = Ledger("u", maximize=True)
    account.put(record(4))
    account.remove("t4")
    assert account.next_slot == 5
    assert account.at_slot(4) is None


def test_changes_since_a_revision_are_exactly_the_later_ones() -> None:
    """A reader that remembers a revision gets what came after it, and everything after a removal."""
    account = Ledger("u", maximize=True)
    account.put(record(0, TrialState.RUNNING))
    seen = account.revision
    account.put(record(0, TrialState.SUCCEEDED, 1.0))
    account.put(record(1, TrialState.RUNNING))
    changes = account.changed_since(seen)
    assert changes is not None
    assert [(c.name, c.state) for c in changes] == [("t0", TrialState.SUCCEEDED), ("t1", TrialState.RUNNING)]
    assert account.changed_since(account.revision) == ()
    account.remove("t1")
    assert account.changed_since(seen) is None


def test_a_reader_that_is_too_far_behind_is_told_to_read_all() -> None:
    """The log of changes is bounded; past it the reader gets None, never a gap."""
    account = Ledger("u", maximize=True)
    for slot in range(CHANGES_KEPT + 10):
        account.put(record(slot))
    assert account.changed_since(5) is None
    assert account.changed_since(11) is not None
    assert len(account.all()) == CHANGES_KEPT + 10


def test_putting_the_same_record_again_changes_nothing() -> None:
    """Duplicate delivery of an event moves neither the revision nor a counter."""
    account = Ledger("u", maximize=True)
    account.put(record(0, objective=1.0))
    revision = account.revision
    assert account.put(record(0, objective=1.0)) is False
    assert account.revision == revision
