"""One parameter of a search space: its values, their text, and its grid.

A *code* is a value as a float: the number itself for double and int, the index in the list for discrete and categorical.
"""

from __future__ import annotations

import contextlib
import decimal
import functools
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

    @functools.cached_property
    def count(self) -> int | None:
        """How many values there are; None when they are uncountably many."""
        if self.low == self.high:
            return 1
        if not self.step:
            return None
        return math.floor((self.high - self.low) / self.step + _GRID_SLACK) + 1

    @functools.cached_property
    def top(self) -> float:
        """The greatest code that can occur: the last grid point, which may lie below ``high``."""
        count = self.count
        return self.high if count is None else float(self.at(count - 1))

    def at(self, index: int) -> float:
        """The code of the grid point number ``index``, from 0."""
        code = self.low + index * self.step
        if self.scale:
            code = round(code * self.scale) / self.scale
        return min(code, self.high)

    @functools.cached_property
    def scale(self) -> float:
        """The power of ten on which every grid point is whole, so that 0.1 + 2 * 0.1 is 0.3; 0 when there is none."""
        if not self.step:
            return 0.0
        digits = max(_decimals(self.low), _decimals(self.step))
        scale = 10.0**digits
        return scale if digits <= 15 and max(abs(self.low), abs(self.high)) * scale < 2**53 else 0.0

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
            with contextlib.suppress(ValueError):  # no number, or none of the list: said below
                return self.numbers.index(float(text))
        shown = ", ".join(self.choices[:8]) + (", ..." if len(self.choices) > 8 else "")
        raise ValueError(f"{text!r} is not in the list [{shown}]")


def _decimals(number: float) -> int:
    """Digits after the point in the shortest decimal spelling."""
    exponent = decimal.Decimal(repr(number)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


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
