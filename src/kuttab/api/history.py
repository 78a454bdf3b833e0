"""Trials as history: what an algorithm, a counter and a page need of a trial, small enough to keep tens of thousands."""

from __future__ import annotations

import enum
import math
import operator
import types
from collections.abc import Mapping
from typing import Any, NamedTuple


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
_NOTHING: tuple[str, Mapping[str, str], bool] = ("", NO_LABELS, False)
_SAME = "same"
"""In place of an objective: it is what the metric's text says."""


class TrialRecord:
    """A trial in short; a value that cannot be changed.

    ``names`` and ``values`` run in parallel; ``names`` is shared by all records of an experiment. ``objective`` is the
    objective's value by its strategy: None when there is none, and it may be non-finite (then it never wins).
    ``reason`` classes a failure: ``UserError``, ``OutOfMemory``, ``DeadlineExceeded``, ``NonFinite``, ``Infrastructure``,
    ``Cancelled`` or empty. ``queued``: it waits for resources, pending and holding no parallel slot.

    Packed by hand, as every trial of every experiment is kept as one: a uid as the number it is, a metric that was reported once as
    its one text, which is the objective's value as well, and what most trials do not have in one place.
    """

    __slots__ = (
        "_metric", "_metrics", "_objective", "_rest", "_uid", "completion_time", "name", "names", "slot", "start_time", "state", "values",
    )  # fmt: skip

    name: str
    slot: int
    state: TrialState
    names: tuple[str, ...]
    values: tuple[str, ...]
    start_time: str
    completion_time: str
    _objective: float | str | None
    _rest: tuple[str, Mapping[str, str], bool]
    _uid: int | str
    _metric: str
    _metrics: str | tuple[MetricValues, ...]

    def __init__(  # noqa: PLR0913, PLR0917  # a record, not a procedure
        self,
        name: str,
        uid: str,
        slot: int,
        state: TrialState,
        names: tuple[str, ...] = (),
        values: tuple[str, ...] = (),
        objective: float | None = None,
        metrics: tuple[MetricValues, ...] = (),
        reason: str = "",
        start_time: str = "",
        completion_time: str = "",
        labels: Mapping[str, str] = NO_LABELS,
        queued: bool = False,
    ) -> None:
        put = object.__setattr__
        put(self, "name", name)
        put(self, "_uid", _packed(uid))
        put(self, "slot", slot)
        put(self, "state", state)
        put(self, "names", names)
        put(self, "values", values)
        single = len(metrics) == 1 and metrics[0].latest == metrics[0].max == metrics[0].min
        put(self, "_metric", metrics[0].name if single else "")
        put(self, "_metrics", metrics[0].latest if single else metrics)
        put(self, "_objective", _SAME if single and _says(metrics[0].latest, objective) else objective)
        put(self, "start_time", start_time)
        put(self, "completion_time", completion_time)
        put(self, "_rest", (reason, labels, queued) if reason or queued or labels is not NO_LABELS else _NOTHING)

    @property
    def uid(self) -> str:
        """The trial's uid."""
        return _unpacked(self._uid) if isinstance(self._uid, int) else self._uid

    @property
    def objective(self) -> float | None:
        """The objective's value."""
        if isinstance(self._objective, str):
            assert isinstance(self._metrics, str)
            return float(self._metrics)
        return self._objective

    @property
    def reason(self) -> str:
        """The class of a failure."""
        return self._rest[0]

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels that an algorithm put on the trial."""
        return self._rest[1]

    @property
    def queued(self) -> bool:
        """Whether it waits for resources."""
        return self._rest[2]

    @property
    def metrics(self) -> tuple[MetricValues, ...]:
        """What was reported, the objective first."""
        text = self._metrics
        return (MetricValues(self._metric, text, text, text),) if isinstance(text, str) else text

    def sharing(self, names: tuple[str, ...], slot: int) -> TrialRecord:
        """An equal record that holds these objects in place of equal ones of its own."""
        if self.names is names and self.slot is slot:
            return self
        return TrialRecord(
            self.name, self.uid, slot, self.state, names, self.values, self.objective, self.metrics, self.reason,
            self.start_time, self.completion_time, self.labels, self.queued,
        )  # fmt: skip

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a record of a trial cannot be changed: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a record of a trial cannot be changed: {name}")

    def __reduce__(self) -> tuple[type[TrialRecord], tuple[Any, ...]]:
        arguments = (
            self.name, self.uid, self.slot, self.state, self.names, self.values, self.objective, self.metrics, self.reason,
            self.start_time, self.completion_time, self.labels, self.queued,
        )  # fmt: skip
        return TrialRecord, arguments

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TrialRecord):
            return NotImplemented
        return self is other or _content(self) == _content(other)

    def __hash__(self) -> int:
        return hash((self.name, self._uid))

    def __repr__(self) -> str:
        return f"TrialRecord{self.__reduce__()[1]!r}"

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


_content = operator.attrgetter(*TrialRecord.__slots__)


def _says(text: str, value: float | None) -> bool:
    """Whether a text is exactly that number. NaN is kept as it is, as it equals only itself."""
    try:
        return value is not None and float(text) == value and math.copysign(1, float(text)) == math.copysign(1, value)
    except ValueError:
        return False


def _packed(uid: str) -> int | str:
    """A uid in the usual spelling as a number, any other as it is."""
    if len(uid) == 36:
        try:
            number = int(uid.replace("-", ""), 16)
        except ValueError:
            return uid
        if _unpacked(number) == uid:
            return number
    return uid


def _unpacked(number: int) -> str:
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
