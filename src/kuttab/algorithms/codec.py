"""The map between a space's codes and the unit cube, for whole matrices at once.

Every algorithm samples and searches in the unit cube; this file alone knows what a distribution, a step or a list means
there, so that all algorithms agree. A unit value is the value's cumulative probability: uniform unit values give the
declared distribution. Values on a grid (int, list, or double with a step) own the cell around them: its mass is the
probability of the continuous distribution between the midpoints to its neighbours, and the end cells reach half a step
beyond the bounds, as rounding would have it (on logarithms the lowest cell begins at no less than half its value).

``normal`` has mean (min+max)/2 and standard deviation (max-min)/6, ``logNormal`` the same on the logarithms. Bounds are
hard: the tails beyond them (0.27 % of the mass) are cut off, here and for every algorithm.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kuttab.algorithms.parameters import Floats, Parameter


@functools.cache
def _special() -> Any:
    """scipy.special, loaded by the first normal parameter: it takes longer than all the rest of a random search's start."""
    return importlib.import_module("scipy.special")


class Codec:
    """Encodes and decodes the columns of some parameters."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        def column(values: list[float]) -> Floats:
            return np.array(values, dtype=np.float64)

        self._low = column([p.low for p in parameters])
        self._high = column([p.high for p in parameters])
        self._top = column([p.top for p in parameters])
        self._last = column([(p.count or 1) - 1.0 for p in parameters])
        self._constant = np.array([p.low == p.high for p in parameters], dtype=bool)
        self._grid = np.array([bool(p.step) for p in parameters], dtype=bool) & ~self._constant
        self._step = np.where(self._grid, column([p.step for p in parameters]), 1.0)
        self._half = np.where(self._grid, self._step / 2, 0.0)
        scale = column([p.scale for p in parameters])
        self._exact = self._grid & (scale > 0)
        self._scale = np.where(self._exact, scale, 1.0)
        self._log = np.flatnonzero(np.array([p.log for p in parameters], dtype=bool) & ~self._constant)
        self._bell = np.flatnonzero(np.array([p.bell for p in parameters], dtype=bool) & ~self._constant)
        edges = np.array([_edges(p) for p in parameters]).reshape(-1, 2)
        self._floor = edges[:, 0].copy()
        if len(self._log):
            edges[self._log] = np.log(edges[self._log])
        bell = [_centre(parameters[int(j)]) for j in self._bell]
        self._mean, self._deviation = column([m for m, _ in bell]), column([s for _, s in bell])
        if bell:
            edges[self._bell] = _special().ndtr((edges[self._bell].T - self._mean) / self._deviation).T
        self._start = edges[:, 0]
        self._width = np.where(self._constant, 1.0, edges[:, 1] - edges[:, 0])

    def encode(self, codes: Floats) -> Floats:
        """Codes (n, d) to unit values (n, d)."""
        inside = np.minimum(np.maximum(codes, self._low), self._top)
        units = self._mass(inside + self._half)
        if self._grid.any():
            units = (units + self._mass(np.maximum(inside - self._half, self._floor))) / 2
        if self._constant.any():
            units[:, self._constant] = 0.5
        return units

    def decode(self, units: Floats) -> Floats:
        """Unit values (n, d) to codes (n, d), on grids and inside bounds; never -0.0, so equal points have equal bytes."""
        x = self._start + np.minimum(np.maximum(units, 0.0), 1.0) * self._width
        if len(self._bell):
            x[:, self._bell] = self._mean + self._deviation * _special().ndtri(x[:, self._bell])
        if len(self._log):
            x[:, self._log] = np.exp(x[:, self._log])
        if self._grid.any():
            index = np.minimum(np.maximum(np.floor((x - self._low) / self._step + 0.5), 0.0), self._last)
            placed = self._low + index * self._step
            x = np.where(self._grid, np.where(self._exact, np.rint(placed * self._scale) / self._scale, placed), x)
        return np.asarray(np.minimum(np.maximum(x, self._low), self._high) + 0.0)

    def _mass(self, x: Floats) -> Floats:
        if len(self._log):
            x = x.copy()
            x[:, self._log] = np.log(x[:, self._log])
        if len(self._bell):
            x = x.copy()
            x[:, self._bell] = _special().ndtr((x[:, self._bell] - self._mean) / self._deviation)
        return np.asarray((x - self._start) / self._width)


def _edges(parameter: Parameter) -> tuple[float, float]:
    """Where the continuous distribution under a parameter begins and ends."""
    if not parameter.step or parameter.low == parameter.high:
        return parameter.low, parameter.high
    half = parameter.step / 2
    low = parameter.low
    return (max(low - half, low / 2) if parameter.log else low - half), parameter.top + half


def _centre(parameter: Parameter) -> tuple[float, float]:
    """Mean and standard deviation of a bell, on the logarithms where the distribution lives there."""
    low, high = parameter.low, parameter.high
    if parameter.log:
        low, high = math.log(low), math.log(high)
    return (low + high) / 2, (high - low) / 6
