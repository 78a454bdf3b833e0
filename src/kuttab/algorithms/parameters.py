"""One parameter of a search space and its map to the unit interval.

Every algorithm samples and searches in the unit interval; this file alone knows what a value's distribution, step or list
means there, so that all algorithms agree. ``u`` is the value's cumulative probability: a uniform ``u`` gives the declared
distribution. Values on a grid (int, or double with a step) own the cell around them: its mass is the probability of the
continuous distribution between the midpoints to its neighbours, and the end cells reach half a step beyond the bounds, as
rounding would have it. ``normal`` has mean (min+max)/2 and standard deviation (max-min)/6, ``logNormal`` the same on the
logarithms. Bounds are hard: the tails beyond them (0.27 %) are cut off.

A *code* is a value as a float: the number itself for double and int, the index in the list for discrete and categorical.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from kuttab.api import space as api

Value = float | int | str
"""A typed value: float for double, int for int, the list's text for discrete and categorical."""

Floats = NDArray[np.float64]

WIDEST_INT = 2**53
"""Integers beyond this are no longer exact as floating point numbers and are refused."""

_GRID_SLACK = 1e-9
_INT = re.compile(r"[+-]?\d+\Z")


@dataclass(frozen=True)
class Parameter:
    """A parameter that has been checked; build it with :func:`kuttab.algorithms.space.from_specs`.

    ``low`` and ``high`` are the bounds (for lists 0 and the last index); ``step`` is 0 for a continuous parameter;
    ``choices`` are the list's texts (for discrete in numeric order) and ``numbers`` the numbers of a discrete list.
    """

    name: str
    type: api.ParameterType
    low: float
    high: float
    step: float = 0.0
    distribution: api.Distribution = api.Distribution.UNIFORM
    choices: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()

    @property
    def categorical(self) -> bool:
        """Whether the values have no order."""
        return self.type is api.ParameterType.CATEGORICAL

    @property
    def listed(self) -> bool:
        """Whether the values come from a list."""
        return bool(self.choices)

    @property
    def log(self) -> bool:
        """Whether the distribution lives on the logarithms."""
        return self.distribution in (api.Distribution.LOG_UNIFORM, api.Distribution.LOG_NORMAL)

    @property
    def bell(self) -> bool:
        """Whether the distribution is a normal one."""
        return self.distribution in (api.Distribution.NORMAL, api.Distribution.LOG_NORMAL)

    @property
    def count(self) -> int | None:
        """How many values there are; None when they are uncountably many."""
        if self.low == self.high:
            return 1
        if not self.step:
            return None
        return math.floor((self.high - self.low) / self.step + _GRID_SLACK) + 1

    @property
    def top(self) -> float:
        """The greatest code that can occur: the last grid point, which may lie below ``high``."""
        count = self.count
        return self.high if count is None else float(self.at(count - 1))

    def at(self, index: int) -> float:
        """The code of the grid point number ``index``, from 0."""
        return min(self.low + index * self.step, self.high)

    # The map between codes and the unit interval, for arrays.

    def encode(self, codes: Floats) -> Floats:
        """Codes to unit values; a grid value maps to the middle of its cell's mass. What lies outside is clipped."""
        if self.low == self.high:
            return np.full(codes.shape, 0.5)
        inside = np.clip(codes, self.low, self.top)
        if not self.step:
            return np.asarray(self._mass(inside))
        half = self.step / 2
        lower = self._mass(np.maximum(inside - half, self._edges[0]))
        return np.asarray((lower + self._mass(inside + half)) / 2)

    def decode(self, units: Floats) -> Floats:
        """Unit values to codes, on the grid and inside the bounds."""
        if self.low == self.high:
            return np.full(units.shape, self.low)
        raw = self._quantile(np.clip(units, 0.0, 1.0))
        if not self.step:
            return np.clip(raw, self.low, self.high)
        count = self.count or 1
        index = np.clip(np.floor((raw - self.low) / self.step + 0.5), 0, count - 1)
        return np.minimum(self.low + index * self.step, self.high)

    @property
    def _edges(self) -> tuple[float, float]:
        """Where the continuous distribution under the grid begins and ends."""
        if not self.step:
            return self.low, self.high
        half = self.step / 2
        lowest = max(self.low - half, self.low / 2) if self.log else self.low - half
        return lowest, self.top + half

    def _centre(self) -> tuple[float, float]:
        """Mean and standard deviation of the bell, on the logarithms where the distribution lives there."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        return (low + high) / 2, (high - low) / 6

    def _mass(self, x: Floats) -> Floats:
        low, high = self._edges
        if self.log:
            x, low, high = np.log(x), math.log(low), math.log(high)
        if self.bell:
            mean, deviation = self._centre()
            x = special.ndtr((x - mean) / deviation)
            low, high = special.ndtr((low - mean) / deviation), special.ndtr((high - mean) / deviation)
        return np.asarray((x - low) / (high - low))

    def _quantile(self, u: Floats) -> Floats:
        low, high = self._edges
        if self.log:
            low, high = math.log(low), math.log(high)
        if self.bell:
            mean, deviation = self._centre()
            low, high = special.ndtr((low - mean) / deviation), special.ndtr((high - mean) / deviation)
            x = mean + deviation * special.ndtri(low + u * (high - low))
        else:
            x = low + u * (high - low)
        return np.asarray(np.exp(x) if self.log else x)

    # Typed values and text.

    def typed(self, code: float) -> Value:
        """The value of a code."""
        if self.choices:
            return self.choices[int(code)]
        return int(code) if self.type is api.ParameterType.INT else float(code)

    def code(self, value: Any) -> float:
        """The code of a typed value or of its text; raises ValueError when it is none of this parameter's kind.

        A number may lie outside the bounds: :meth:`contains` tells.
        """
        if self.choices:
            return float(self._index(value))
        if self.type is api.ParameterType.INT:
            return float(_integer(value))
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{value!r} is not a finite number")
        return number

    def contains(self, code: float) -> bool:
        """Whether a code lies inside the bounds and on the grid."""
        if not self.low <= code <= self.high:
            return False
        if not self.step:
            return True
        offset = (code - self.low) / self.step
        return abs(offset - round(offset)) < 1e-6 or code == self.top

    def format(self, value: Value) -> str:
        """The text of a value: decimal integers, the shortest text of a float, list entries verbatim."""
        if self.choices:
            return self.choices[self._index(value)]
        return str(int(value)) if self.type is api.ParameterType.INT else repr(float(value))

    def neighbours(self, code: float) -> list[float]:
        """Codes next to a code: one grid step or list place away; all others for categorical; none for continuous."""
        if self.categorical:
            return [float(i) for i in range(len(self.choices)) if i != int(code)]
        if not self.step or self.low == self.high:
            return []
        index = round((code - self.low) / self.step)
        last = (self.count or 1) - 1
        return [self.at(i) for i in (index - 1, index + 1) if 0 <= i <= last]

    def _index(self, value: Any) -> int:
        text = value if isinstance(value, str) else str(value)
        if text in self.choices:
            return self.choices.index(text)
        if self.numbers:
            try:
                return self.numbers.index(float(text))
            except ValueError:
                pass
        shown = ", ".join(self.choices[:8]) + (", ..." if len(self.choices) > 8 else "")
        raise ValueError(f"{text!r} is not in the list [{shown}]")


def _integer(value: Any) -> int:
    if isinstance(value, str):
        if _INT.match(value.strip()):
            return int(value)
        number = float(value)
    else:
        number = value
    if int(number) != number:
        raise ValueError(f"{value!r} is not an integer")
    return int(number)
