"""The observation log in memory: for tests, ask-and-tell, and runs that keep nothing. Same promises, no durability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kuttab.observations import rows as checks
from kuttab.ports.observations import Aggregate, Position, Row, Summary, TrialKey
from kuttab.rules import observation


@dataclass(slots=True)
class _Source:
    rows: dict[int, Row] = field(default_factory=dict)
    series: dict[str, observation.Series] = field(default_factory=dict)
    latest: dict[str, int] = field(default_factory=dict)
    next_seq: int = 0
    final: int | None = None

    def add(self, seq: int, row: Row) -> None:
        if seq in self.rows:
            return
        self.rows[seq] = row
        self.next_seq = max(self.next_seq, seq + 1)
        series = self.series.setdefault(row.metric, observation.Series())
        if seq > self.latest.get(row.metric, -1):
            self.latest[row.metric] = seq
            series.add(row.value)
        else:
            series.add_earlier(row.value)

    @property
    def complete(self) -> bool:
        return self.final is not None and len(self.rows) == self.next_seq >= self.final

    def ordered(self) -> list[Row]:
        return [self.rows[seq] for seq in sorted(self.rows)]


@dataclass(slots=True)
class _Trial:
    sources: dict[str, _Source] = field(default_factory=dict)
    fence: str = ""

    def live(self) -> list[_Source]:
        if not self.fence:
            return list(self.sources.values())
        return [self.sources[self.fence]] if self.fence in self.sources else []


class MemoryObservations:
    """Implements :class:`kuttab.ports.observations.Observations` for one process and its life."""

    def __init__(self) -> None:
        self._trials: dict[str, _Trial] = {}

    async def report(self, trial: TrialKey, source: str, first_seq: int, rows: Sequence[Row]) -> None:
        """Store rows; those already there are left alone."""
        checks.check_key(trial, source)
        self._add(trial, source, first_seq, checks.check_rows(first_seq, rows))

    async def position(self, trial: TrialKey, source: str, last: int = 0) -> Position:
        """Where a source stands, with its last rows."""
        checks.check_key(trial, source)
        found = self._trials.get(trial.uid, _Trial()).sources.get(source, _Source())
        return Position(found.next_seq, found.final is not None, tuple(found.ordered()[-last:]) if last > 0 else ())

    async def finish(self, trial: TrialKey, source: str, count: int) -> None:
        """Put the final marker; a later one can only raise the count."""
        checks.check_key(trial, source)
        checks.check_count(count)
        found = self._source(trial, source)
        found.final = max(count, found.final or 0)

    async def fence(self, trial: TrialKey, source: str) -> None:
        """Only this source counts from now on."""
        checks.check_key(trial, source)
        self._trials.setdefault(trial.uid, _Trial()).fence = source

    async def complete(self, trial: TrialKey, source: str, first_seq: int, rows: Sequence[Row]) -> Summary:
        """Fence, last rows, final marker and summary in one step."""
        checks.check_key(trial, source)
        checked = checks.check_rows(first_seq, rows)
        self._trials.setdefault(trial.uid, _Trial()).fence = source
        found = self._add(trial, source, first_seq, checked)
        found.final = max(first_seq + len(rows), found.final or 0)
        return await self.summarize(trial)

    async def summarize(self, trial: TrialKey) -> Summary:
        """The aggregates of what counts."""
        checks.check_key(trial)
        live = self._trials.get(trial.uid, _Trial()).live()
        total = observation.Accumulator()
        for source in live:
            total.extend({metric: series.aggregate() for metric, series in source.series.items()})
        metrics: dict[str, Aggregate] = total.aggregates()
        return Summary(metrics, any(source.complete for source in live))

    async def read(
        self, trial: TrialKey, *, metric: str = "", start: str = "", end: str = "", limit: int = 0
    ) -> list[Row]:
        """Rows of what counts, source by source, each in order."""
        checks.check_key(trial)
        low, high = checks.bound(start), checks.bound(end)
        found = [
            row
            for source in self._trials.get(trial.uid, _Trial()).live()
            for row in source.ordered()
            if metric in ("", row.metric)
            and (not low or checks.stamp(row.time) >= low)
            and (not high or checks.stamp(row.time) <= high)
        ]
        return found[:limit] if limit > 0 else found

    async def delete(self, trial: TrialKey) -> None:
        """Forget a trial."""
        checks.check_key(trial)
        self._trials.pop(trial.uid, None)

    async def close(self) -> None:
        """Nothing to give back."""

    def _source(self, trial: TrialKey, source: str) -> _Source:
        return self._trials.setdefault(trial.uid, _Trial()).sources.setdefault(source, _Source())

    def _add(self, trial: TrialKey, source: str, first_seq: int, rows: Sequence[Row]) -> _Source:
        found = self._source(trial, source)
        for seq, row in enumerate(rows, first_seq):
            found.add(seq, row)
        return found
