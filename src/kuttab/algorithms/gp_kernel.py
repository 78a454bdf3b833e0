"""The covariance of the Gaussian process over a mixed space, and what its gradient needs.

A point is a row of ``D`` numbers: numeric parameters as their position in [0, 1], categorical ones as the index of the choice.
Rows are embedded once (numbers as they are, a choice as a one-hot block), so that every weighted distance is a matrix product
and no ``n x n x D`` tensor is ever built. Hyper-parameters live in :mod:`.gp_fit`; nothing here is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_SQRT5 = float(np.sqrt(5.0))


@dataclass(frozen=True)
class Domain:
    """What the rows of a mixed space may be.

    ``levels[d]`` are the admissible positions of a numeric dimension in rising order, or None when it is continuous;
    ``choices[d]`` is the number of choices of a categorical dimension and 0 for a numeric one.
    """

    levels: tuple[Array | None, ...]
    choices: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of dimensions."""
        return len(self.choices)

    @cached_property
    def categorical(self) -> NDArray[np.bool_]:
        """Which dimensions are categorical."""
        return np.array([count > 0 for count in self.choices], dtype=bool)

    @cached_property
    def group(self) -> NDArray[np.int64]:
        """For each embedded column the dimension that it belongs to."""
        return np.repeat(np.arange(self.size), [max(count, 1) for count in self.choices])

    @cached_property
    def numeric_columns(self) -> Index:
        """For each numeric dimension its embedded column."""
        return np.flatnonzero(~self.categorical[self.group])

    @cached_property
    def spread(self) -> Array:
        """Root mean squared distance of two random points in each dimension, in units of that of a continuous one."""
        return np.array([np.sqrt(6.0 * (1.0 - 1.0 / max(count, 2))) if count else 1.0 for count in self.choices])

    def embed(self, rows: Array) -> Array:
        """Embed rows ``(n, D)``; two different choices are at squared distance 1."""
        out = np.zeros((len(rows), len(self.group)))
        column = 0
        for d, count in enumerate(self.choices):
            if count:
                out[np.arange(len(rows)), column + rows[:, d].astype(np.int64)] = np.sqrt(0.5)
                column += count
            else:
                out[:, column] = rows[:, d]
                column += 1
        return out

    def snap(self, rows: Array) -> Array:
        """Move numeric positions to the nearest admissible level; continuous ones are clipped to [0, 1]."""
        out = np.array(rows, dtype=np.float64)
        for d, levels in enumerate(self.levels):
            if self.choices[d]:
                continue
            if levels is None:
                np.clip(out[:, d], 0.0, 1.0, out=out[:, d])
            else:
                out[:, d] = levels[nearest(levels, out[:, d])]
        return out


def nearest(levels: Array, values: Array) -> Index:
    """Indices of the levels nearest to the values; ties go to the lower level."""
    right = np.clip(np.searchsorted(levels, values), 1, max(len(levels) - 1, 1))
    if len(levels) == 1:
        return np.zeros(len(values), dtype=np.intp)
    left = right - 1
    return np.where(values - levels[left] <= levels[right] - values, left, right).astype(np.intp)


def squared_distances(a: Array, b: Array, weights: Array) -> Array:
    """Weighted squared distances between embedded rows, never negative; ``weights`` is per embedded column."""
    wa, wb = a * weights, b
    out = (wa * a).sum(1)[:, None] + (wb * wb * weights).sum(1)[None, :] - 2.0 * (wa @ wb.T)
    return np.asarray(np.maximum(out, 0.0, out=out))


def matern(r2: Array) -> tuple[Array, Array]:
    """Matern 5/2 correlation as a function of the squared distance, and its derivative by it."""
    r = np.sqrt(5.0 * r2)
    decay = np.exp(-r)
    return (1.0 + r + (5.0 / 3.0) * r2) * decay, (-5.0 / 6.0) * (1.0 + r) * decay


def contract(weights: Array, rows: Array) -> Array:
    """Per embedded column, ``sum_ab W_ab (x_a - x_b)^2`` for a symmetric ``W``, by two matrix products."""
    return np.asarray(2.0 * ((rows * rows * weights.sum(1)[:, None]).sum(0) - (rows * (weights @ rows)).sum(0)))
