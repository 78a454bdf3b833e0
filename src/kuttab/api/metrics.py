"""Measured values: one row of a trial's log, and a metric's whole series in short.

They live here, below ports and rules, because both speak of them.
"""

from __future__ import annotations

from dataclasses import dataclass


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
