"""The trials of one experiment as a running account: counts, lists and the best one are kept, never recomputed.

One change costs O(1) (the best trial's disappearance costs one scan). Nothing here knows how the changes arrive: a cache tells
it, in any order, any number of times.
"""

from __future__ import annotations

import bisect
import collections
import itertools
import math
from collections.abc import Sequence

from kuttab.api import history
from kuttab.api.history import TrialRecord, TrialState

CHANGES_KEPT = 2048


class Ledger:
    """An index of the trials of one experiment (one uid). ``maximize`` is the objective's direction."""

    def __init__(self, uid: str, *, maximize: bool) -> None:
        self.uid = uid
        self.revision = 0
        self._maximize = maximize
        self._records: dict[str, TrialRecord] = {}
        self._states: dict[TrialState, dict[str, None]] = {state: {} for state in TrialState}
        self._unsorted: set[TrialState] = set()
        self._queued: set[str] = set()
        self._slots = _Slots()
        self._names: tuple[str, ...] = ()
        self._top_slot = -1
        self._best: TrialRecord | None = None
        self._changes: collections.deque[tuple[int, TrialRecord]] = collections.deque(maxlen=CHANGES_KEPT)

    def put(self, record: TrialRecord) -> bool:
        """A trial is now as recorded; whether that changed anything."""
        old = self._records.get(record.name)
        if old == record:
            return False
        if record.names == self._names:
            record = _with_names(record, self._names)
        else:
            self._names = record.names
        if old is None:
            self._slots.claim(record.slot, record.name)
            self._top_slot = max(self._top_slot, record.slot)
        else:
            self._states[old.state].pop(record.name, None)
        self._records[record.name] = record
        if record.queued:
            self._queued.add(record.name)
        elif old is not None and old.queued:
            self._queued.discard(record.name)
        names = self._states[record.state]
        last = next(reversed(names), None)
        if last is not None and self._records[last].slot > record.slot:
            self._unsorted.add(record.state)
        names[record.name] = None
        self._note(record)
        if (
            self._best is not None
            and self._best.name == record.name
            and old is not None
            and old.objective != record.objective
        ):
            self._best = self._find_best()
        elif self._beats(record, self._best) or (self._best is not None and self._best.name == record.name):
            self._best = record
        return True

    def remove(self, name: str) -> bool:
        """A trial is gone; its slot stays consumed."""
        old = self._records.pop(name, None)
        if old is None:
            return False
        self._states[old.state].pop(name, None)
        self._queued.discard(name)
        if self._slots.get(old.slot) == name:
            self._slots.free(old.slot)
        self.revision += 1
        self._changes.clear()  # readers must read all again: a removal has no record
        if self._best is not None and self._best.name == name:
            self._best = self._find_best()
        return True

    def get(self, name: str) -> TrialRecord | None:
        """The record of a trial."""
        return self._records.get(name)

    def at_slot(self, slot: int) -> TrialRecord | None:
        """The trial that fills a slot."""
        name = self._slots.get(slot)
        return None if name is None else self._records.get(name)

    @property
    def total(self) -> int:
        """All trials, whatever their state."""
        return len(self._records)

    @property
    def next_slot(self) -> int:
        """One more than the highest slot seen; trials without a slot count one each."""
        return max(self._top_slot + 1, 0)

    @property
    def best(self) -> TrialRecord | None:
        """The best trial: finite objective, earliest slot among equals."""
        return self._best

    def count(self, *states: TrialState) -> int:
        """How many trials are in one of the states."""
        return sum(len(self._states[state]) for state in states)

    @property
    def active(self) -> int:
        """Pending and running trials."""
        return self.count(TrialState.PENDING, TrialState.RUNNING)

    @property
    def queued(self) -> int:
        """Pending trials that wait for resources: active, but holding no parallel slot."""
        return len(self._queued)

    def newest(self, state: TrialState, limit: int) -> list[str]:
        """The names in a state with the highest slots, by slot, at most ``limit``: the same after any restart."""
        if state in self._unsorted:
            self._unsorted.discard(state)
            order = sorted(self._states[state], key=lambda name: (self._records[name].slot, name))
            self._states[state] = dict.fromkeys(order)
        names = list(itertools.islice(reversed(self._states[state]), limit))
        names.reverse()
        return names

    # The port for algorithms.

    def changed_since(self, revision: int) -> Sequence[TrialRecord] | None:
        """Records changed after that revision, oldest first; None when only a full read tells."""
        if revision == self.revision:
            return ()
        if not self._changes or self._changes[0][0] > revision + 1:
            return None
        start = bisect.bisect_right(self._changes, revision, key=lambda change: change[0])
        return [record for _, record in itertools.islice(self._changes, start, None)]

    def all(self) -> Sequence[TrialRecord]:
        """Every record, by slot, then name."""
        return sorted(self._records.values(), key=lambda record: (record.slot, record.name))

    def _note(self, record: TrialRecord) -> None:
        self.revision += 1
        self._changes.append((self.revision, record))

    def _beats(self, record: TrialRecord, best: TrialRecord | None) -> bool:
        value = record.objective
        if value is None or not math.isfinite(value):
            numberless = best is None or best.objective is None
            return numberless and record.objective is None and _has_text(record)
        if best is None or best.objective is None or not math.isfinite(best.objective):
            return True
        if value == best.objective:
            return (record.slot, record.name) < (best.slot, best.name)
        return value > best.objective if self._maximize else value < best.objective

    def _find_best(self) -> TrialRecord | None:
        best: TrialRecord | None = None
        for record in self._records.values():
            if self._beats(record, best):
                best = record
        return best


def _with_names(record: TrialRecord, names: tuple[str, ...]) -> TrialRecord:
    """The same record sharing the names tuple, which thousands of records have in common."""
    if record.names is names:
        return record
    return history.TrialRecord(
        record.name, record.uid, record.slot, record.state, names, record.values, record.objective, record.metrics,
        record.reason, record.start_time, record.completion_time, record.labels, record.queued,
    )  # fmt: skip


def _has_text(record: TrialRecord) -> bool:
    """Whether the trial reported something that is no number (an architecture): the last one counts while no number exists."""
    return any(metric.latest not in ("", "unavailable") for metric in record.metrics[:1])


class _Slots:
    """Names by slot: a list, since slots are dense from 0, and a dict for those that are not. An eighth of the memory of a dict."""

    def __init__(self) -> None:
        self._dense: list[str] = []
        self._sparse: dict[int, str] = {}

    def claim(self, slot: int, name: str) -> None:
        """The slot is this trial's, unless it is another's already."""
        if self.get(slot) is not None:
            return
        if slot == len(self._dense):
            self._dense.append(name)
            while self._sparse and len(self._dense) in self._sparse:
                self._dense.append(self._sparse.pop(len(self._dense)))
        elif 0 <= slot < len(self._dense):
            self._dense[slot] = name
        else:
            self._sparse[slot] = name

    def get(self, slot: int) -> str | None:
        """Whose it is."""
        if 0 <= slot < len(self._dense):
            return self._dense[slot] or None
        return self._sparse.get(slot)

    def free(self, slot: int) -> None:
        """Nobody's any more."""
        if 0 <= slot < len(self._dense):
            self._dense[slot] = ""
        else:
            self._sparse.pop(slot, None)
