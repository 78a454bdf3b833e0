"""Time as an argument: the machine asks a Clock, so that tests own it.

Durations come from the monotonic reading, dates for people from the wall reading; decisions never use the wall.
"""

from __future__ import annotations

import functools
import math
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two readings of time."""

    def now(self) -> datetime:
        """Wall time, timezone-aware UTC, for people to read."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step back, for durations and deadlines."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Wall time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


def rfc3339(moment: datetime) -> str:
    """Whole seconds in the spelling of Kubernetes: ``2026-11-25T13:08:00Z``."""
    return _second(math.floor(moment.timestamp()))


@functools.lru_cache(maxsize=64)
def _second(since_epoch: int) -> str:
    """Many moments of a busy machine are in the same second."""
    return datetime.fromtimestamp(since_epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(moment: datetime) -> str:
    """Microseconds, as Kubernetes writes MicroTime."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> datetime:
    """Read either spelling; raises ValueError on anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone; write it like 2026-01-31T12:00:00Z")
    return moment.astimezone(UTC)
