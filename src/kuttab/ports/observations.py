"""The observation log: metric rows of trials, stored exactly once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kuttab.api.metrics import Aggregate, Row

__all__ = ["Aggregate", "Observations", "Position", "Row", "Summary", "TrialKey"]


@dataclass(frozen=True, slots=True)
class TrialKey:
    """Whose rows: the uid is the identity; name and namespace are how people and old clients ask."""

    uid: str
    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """All aggregates of a trial; ``complete`` when a source has put its final marker and every row it counted is stored."""

    metrics: Mapping[str, Aggregate]
    complete: bool


@dataclass(frozen=True, slots=True)
class Position:
    """``next_seq`` is one past the highest row stored; ``finished`` when the final marker is there; ``rows`` end the series."""

    next_seq: int = 0
    finished: bool = False
    rows: Sequence[Row] = ()


class Observations(Protocol):
    """Reads and writes of metric rows; UnavailableError when the database is away."""

    async def report(self, trial: TrialKey, source: str, first_seq: int, rows: Sequence[Row]) -> None:
        """Store rows ``first_seq ..`` of a source; rows already there are left alone, so any retry is safe."""
        ...

    async def position(self, trial: TrialKey, source: str, last: int = 0) -> Position:
        """Where a source stands, with its last ``last`` rows: what a reader that starts again needs to go on."""
        ...

    async def finish(self, trial: TrialKey, source: str, count: int) -> None:
        """Put the final marker of a source: it has reported ``count`` rows and will report no more."""
        ...

    async def fence(self, trial: TrialKey, source: str) -> None:
        """From now on rows of other sources do not count: ``source`` is the attempt that is alive."""
        ...

    async def complete(self, trial: TrialKey, source: str, first_seq: int, rows: Sequence[Row]) -> Summary:
        """:meth:`fence`, :meth:`report` of the source's last rows, :meth:`finish` and :meth:`summarize` as one step."""
        ...

    async def summarize(self, trial: TrialKey) -> Summary:
        """The aggregates of the live source (all sources when none was fenced), without reading every row."""
        ...

    async def read(
        self, trial: TrialKey, *, metric: str = "", start: str = "", end: str = "", limit: int = 0
    ) -> list[Row]:
        """Rows in order of arrival; ``metric`` empty means all, ``start`` and ``end`` are inclusive RFC3339 times."""
        ...

    async def delete(self, trial: TrialKey) -> None:
        """Remove every row of a trial; idempotent."""
        ...
