"""What a chart is before anybody draws it: axes, marks, panels, as frozen plain data.

The pictures (SVG, Plotly, matplotlib) are drawn from these values alone, so that all of them show the same. Nothing here knows
trials, colours or pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LOG_FROM = 300.0
"""Positive values whose greatest is so many times their middle one are shown on a logarithmic axis."""

LARGEST = 1.7e308

PAD = 0.04
"""Room between the outermost values and the frame, as a share of the axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis from ``low`` to ``high``. With ``categories`` a value is the index of one."""

    label: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    categories: tuple[str, ...] = ()

    def place(self, value: float) -> float:
        """Where a value lies: 0 at ``low``, 1 at ``high``; may lie outside."""
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return (math.log(max(value, 1e-300)) - low) / (high - low)
        return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)  # halves: the width itself may overflow

    def ticks(self, wanted: int = 5, names: int = 24) -> list[tuple[float, str]]:
        """(value, text) of the marks along the axis: about ``wanted`` numbers, or at most ``names`` of the categories."""
        if self.categories:
            step = max(1, math.ceil(len(self.categories) / max(names, 1)))
            return [(float(i), self.categories[i]) for i in range(0, len(self.categories), step)]
        values = _decades(self.low, self.high, wanted) if self.log else _round_numbers(self.low, self.high, wanted)
        return [(value, f"{value:.6g}") for value in values]


@dataclass(frozen=True, slots=True)
class Points:
    """Dots. ``tone`` names a colour; ``shade`` (0..1 a dot) replaces it by a place on the colour scale."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    hover: tuple[str, ...] = ()
    tone: str = "trial"
    shade: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points; ``step`` holds each value until the next one."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    tone: str = "best"
    step: bool = False
    shade: float | None = None
    hover: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars from 0, the first at the top."""

    labels: tuple[str, ...]
    values: tuple[float, ...]
    tone: str = "trial"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the x axis in a row of the y axis."""

    row: int
    start: float
    end: float
    tone: str
    hover: str = ""


@dataclass(frozen=True, slots=True)
class Spans:
    """All stretches of one tone."""

    name: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Heat:
    """A grid of places on the colour scale: ``shade[row][column]``, rows from the bottom, cells of equal size over the panel."""

    shade: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Threads:
    """Parallel coordinates: one axis per rail, and per trial its value on each, with a place on the colour scale."""

    rails: tuple[Axis, ...]
    values: tuple[tuple[float, ...], ...]
    shade: tuple[float, ...]
    hover: tuple[str, ...]


Mark = Points | Line | Bars | Spans | Heat | Threads


@dataclass(frozen=True, slots=True)
class Panel:
    """One coordinate system with its marks, drawn in order."""

    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure. ``note`` says what is not shown, or why nothing is; ``scale`` names what the colour scale means, with its ends."""

    kind: str
    title: str
    panels: tuple[Panel, ...] = ()
    note: str = ""
    scale: tuple[str, float, float] | None = None


def numeric(label: str, values: Iterable[float], *, log: bool | None = None, exact: bool = False) -> Axis:
    """An axis over finite values with a little room at its ends (none when ``exact``); ``log=None`` chooses by the values."""
    found = sorted(value for value in values if math.isfinite(value))
    if not found:
        return Axis(label)
    low, high = found[0], found[-1]
    if log is None:
        log = low > 0 and high / low > LOG_FROM and high / found[len(found) // 2] > LOG_FROM
    if log and low > 0:
        if low == high:
            return Axis(label, low / 2, high * 2, log=True)
        room = 1.0 if exact else math.exp((math.log(high) - math.log(low)) * PAD)
        return Axis(label, low / room, high * room, log=True)
    width = (high / 2 - low / 2) * (2 * PAD)
    room = 0.0 if exact else width
    if low == high:
        room = abs(low) * 0.1 or 1.0
    return Axis(label, max(low - room, -LARGEST), min(high + room, LARGEST))


def category(label: str, names: Sequence[str]) -> Axis:
    """An axis of names, half a place of room at both ends."""
    return Axis(label, -0.5, max(len(names), 1) - 0.5, categories=tuple(names))


def shades(values: Sequence[float]) -> tuple[tuple[float, ...], float, float]:
    """Places of values on the colour scale, and the values at its ends: the 2nd and 98th percentile, so that outliers hide nothing."""
    found = sorted(values)
    if not found:
        return (), 0.0, 1.0
    low, high = found[int(0.02 * (len(found) - 1))], found[math.ceil(0.98 * (len(found) - 1))]
    if not high > low:
        return tuple(0.5 for _ in values), low, high
    axis = Axis("", low, high)
    return tuple(min(1.0, max(0.0, axis.place(value))) for value in values), low, high


def _round_numbers(low: float, high: float, wanted: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    width = high - low
    if not (math.isfinite(width) and width > 0):
        return [low]
    rough = width / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    for step in (10 * power, 5 * power, 2 * power, power):
        first = math.ceil(low / step - 1e-9)
        found = [index * step for index in range(first, first + 12 * wanted) if index * step <= high + step * 1e-9]
        if len(found) >= max(wanted - 1, 2):
            break
    return [0.0 if abs(value) < step * 1e-9 else value for value in found]


def _decades(low: float, high: float, wanted: int) -> list[float]:
    """Powers of ten; with 2 and 5 times them, or plain round numbers, when the axis spans few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(1, math.ceil((last - first) / (2 * wanted)))
    found = [10.0**exponent for exponent in range(first, last + 1, step)]
    if last - first <= 2:
        found = sorted(factor * value for value in found for factor in (1, 2, 5))
    inside = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    return inside if len(inside) > 1 else _round_numbers(low, high, wanted)
