"""The trials of one experiment as a running account: counts, lists and the best one are kept, never recomputed.

One change costs O(1) (the best trial's disappearance costs one scan). Nothing here knows how the changes arrive: a cache tells
it, in any order, any number of times.
"""

from __future__ import annotations

import bisect
import collections
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from kuttab.api.history import TrialRecord, TrialState

CHANGES_KEPT = 2048


class Ledger:
    """An index of the trials of one experiment (one uid). ``maximize`` is the objective's direction."""

    def __init__(self, uid: str, *, maximize: bool) -> None:
        self.uid = uid
        self.revision = 0
        self._maximize = maximize
        self._records: dict[str, TrialRecord] = {}
        self._states = {state: _Names() for state in TrialState}
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
        if record.names != self._names:
            self._names = record.names
        # Thousands of records have these objects in common, or with what they replace.
        record = record.sharing(self._names, old.slot if old is not None and old.slot == record.slot else record.slot)
        if old is None:
            self._slots.claim(record.slot, record.name)
            self._top_slot = max(self._top_slot, record.slot)
        else:
            self._leave(old)
        self._records[record.name] = record
        if record.queued:
            self._queued.add(record.name)
        elif old is not None and old.queued:
            self._queued.discard(record.name)
        self._states[record.state].add(record)
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
        self._leave(old)
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
        return sum(self._states[state].count for state in states)

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
        names = list(itertools.islice(self._states[state].newest(self._records, state), limit))
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

    def _leave(self, old: TrialRecord) -> None:
        self._states[old.state].leave(self._records, old.state)

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


def _has_text(record: TrialRecord) -> bool:
    """Whether the trial reported something that is no number (an architecture): the last one counts while no number exists."""
    return any(metric.latest not in ("", "unavailable") for metric in record.metrics[:1])


class _Names:
    """Names of the trials in one state, by slot: a fifth of the memory of a dict.

    One that leaves stays in the list, where it is passed over, until those are many.
    """

    def __init__(self) -> None:
        self.count = 0
        self._names: list[str] = []
        self._top = (-1, "")
        self._sorted = True

    def add(self, record: TrialRecord) -> None:
        """A trial comes into the state."""
        self.count += 1
        self._names.append(record.name)
        place = (record.slot, record.name)
        self._sorted = self._sorted and place > self._top
        self._top = max(self._top, place)

    def leave(self, records: Mapping[str, TrialRecord], state: TrialState) -> None:
        """One leaves it; called before its new record is among the others."""
        self.count -= 1
        if len(self._names) > 2 * self.count + 64:
            self._sort(records, state)

    def newest(self, records: Mapping[str, TrialRecord], state: TrialState) -> Iterator[str]:
        """Those that are in the state, the highest slot first."""
        if not self._sorted:
            self._sort(records, state)
        for name in reversed(self._names):
            found = records.get(name)
            if found is not None and found.state is state:
                yield name

    def _sort(self, records: Mapping[str, TrialRecord], state: TrialState) -> None:
        there = {name for name in self._names if (found := records.get(name)) is not None and found.state is state}
        self._names = sorted(there, key=lambda name: (records[name].slot, name))
        self._sorted = True


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
