"""What one trial has reported of the objective, kept so that every question of a stopping rule costs O(log n).

Values that are no finite number take up a place in the curve (they were reported) and are otherwise left out: they are never
best, never in an average.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable

from kuttab.api import history


class Curve:
    """The objective of one trial over its steps; only ever appended to.

    A report without a step gets the next whole number, from 1. A step that is not beyond the last one means that the trial went
    back (a restarted attempt, a restored checkpoint): the reports from that step on are replaced.
    """

    __slots__ = ("_averages", "_highest", "_lowest", "_steps", "_values", "state")

    def __init__(self, state: history.TrialState = history.TrialState.RUNNING) -> None:
        self.state = state
        self._steps: list[float] = []
        self._values: list[float] = []
        self._averages: list[tuple[float, int]] = []  # mean and number of the finite values up to here
        self._lowest: list[float] = []  # NaN while there is no finite value
        self._highest: list[float] = []

    @classmethod
    def of(
        cls, points: Iterable[tuple[float, float]], state: history.TrialState = history.TrialState.SUCCEEDED
    ) -> Curve:
        """A curve of (step, value) pairs in the order of their reports."""
        curve = cls(state)
        for step, value in points:
            curve.add(value, step)
        return curve

    def add(self, value: float, step: float | None = None) -> None:
        """Append one report. A step that is no finite number counts as none given."""
        if step is None or not math.isfinite(step):
            step = self._steps[-1] + 1 if self._steps else 1.0
        elif self._steps and step <= self._steps[-1]:
            self._cut(bisect.bisect_left(self._steps, step))
        mean, count = self._averages[-1] if self._averages else (0.0, 0)
        low = self._lowest[-1] if self._lowest else math.nan
        high = self._highest[-1] if self._highest else math.nan
        if math.isfinite(value):
            count += 1
            mean += value / count - mean / count  # never overflows, unlike a sum of large values
            low = value if math.isnan(low) else min(low, value)
            high = value if math.isnan(high) else max(high, value)
        self._steps.append(float(step))
        self._values.append(value)
        self._averages.append((mean, count))
        self._lowest.append(low)
        self._highest.append(high)

    def _cut(self, length: int) -> None:
        for column in (self._steps, self._values, self._averages, self._lowest, self._highest):
            del column[length:]

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def values(self) -> tuple[float, ...]:
        """The reported values, in order."""
        return tuple(self._values)

    @property
    def steps(self) -> tuple[float, ...]:
        """Their steps."""
        return tuple(self._steps)

    def reports_until(self, step: float) -> int:
        """How many reports have a step up to and including this one."""
        return bisect.bisect_right(self._steps, step)

    def reports_to(self, step: float) -> int:
        """How many reports it took to reach this step; 0 when it has not been reached."""
        at = bisect.bisect_left(self._steps, step)
        return at + 1 if at < len(self._steps) else 0

    def step(self, reports: int) -> float:
        """The step of report number ``reports``, counted from 1; 0 for report 0."""
        return self._steps[reports - 1] if reports else 0.0

    def average(self, reports: int) -> float:
        """Mean of the finite values among the first ``reports``; NaN when there are none."""
        at = min(reports, len(self)) - 1
        if at < 0 or not self._averages[at][1]:
            return math.nan
        return self._averages[at][0]

    def best(self, reports: int, *, maximize: bool) -> float:
        """The best finite value among the first ``reports``; NaN when there are none."""
        at = min(reports, len(self)) - 1
        if at < 0:
            return math.nan
        return self._highest[at] if maximize else self._lowest[at]
