"""Trials as history: what an algorithm, a counter and a page need of a trial, small enough to keep tens of thousands."""

from __future__ import annotations

import enum
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class TrialState(enum.StrEnum):
    """Where a trial stands; the names are Katib's condition types."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    KILLED = "Killed"
    EARLY_STOPPED = "EarlyStopped"
    METRICS_UNAVAILABLE = "MetricsUnavailable"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to the trial."""
        return self not in (TrialState.PENDING, TrialState.RUNNING)


class MetricValues(NamedTuple):
    """A metric of an observation, as text in the program's own spelling; ``unavailable`` when there is none."""

    name: str
    latest: str = ""
    max: str = ""
    min: str = ""


NO_LABELS: Mapping[str, str] = types.MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial in short.

    ``names`` and ``values`` run in parallel; ``names`` is shared by all records of an experiment. ``objective`` is the
    objective's value by its strategy: None when there is none, and it may be non-finite (then it never wins).
    ``reason`` classes a failure: ``UserError``, ``OutOfMemory``, ``DeadlineExceeded``, ``NonFinite``, ``Infrastructure``,
    ``Cancelled`` or empty.
    """

    name: str
    uid: str
    slot: int
    state: TrialState
    names: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    objective: float | None = None
    metrics: tuple[MetricValues, ...] = ()
    reason: str = ""
    start_time: str = ""
    completion_time: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    queued: bool = False
    """Whether it waits for resources: pending, and holding no parallel slot."""

    @property
    def assignments(self) -> dict[str, str]:
        """Parameter name to value, as text."""
        return dict(zip(self.names, self.values, strict=True))

    @property
    def usable(self) -> bool:
        """Whether the trial finished with a finite objective (succeeded or stopped early)."""
        return (
            self.objective is not None
            and math.isfinite(self.objective)
            and self.state in (TrialState.SUCCEEDED, TrialState.EARLY_STOPPED)
        )
