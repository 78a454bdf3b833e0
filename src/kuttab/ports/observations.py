"""The observation log: metric rows of trials, stored exactly once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TrialKey:
    """Whose rows: the uid is the identity; name and namespace are how people and old clients ask."""

    uid: str
    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value. ``time`` is RFC3339 with up to nanoseconds or empty; order is by ``(source, seq)``, never by time."""

    metric: str
    value: str
    time: str = ""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A metric's series in short: ``min`` and ``max`` over finite values in their own spelling, ``latest`` any text.

    Empty text means that there is no such value.
    """

    min: str = ""
    max: str = ""
    latest: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """All aggregates of a trial; ``complete`` when a source has put its final marker and every row it counted is stored."""

    metrics: Mapping[str, Aggregate]
    complete: bool


class Observations(Protocol):
    """Reads and writes of metric rows; UnavailableError when the database is away."""

    async def report(self, trial: TrialKey, source: str, first_seq: int, rows: Sequence[Row]) -> None:
        """Store rows ``first_seq ..`` of a source; rows already there are left alone, so any retry is safe."""
        ...

    async def finish(self, trial: TrialKey, source: str, count: int) -> None:
        """Put the final marker of a source: it has reported ``count`` rows and will report no more."""
        ...

    async def fence(self, trial: TrialKey, source: str) -> None:
        """From now on rows of other sources do not count: ``source`` is the attempt that is alive."""
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
