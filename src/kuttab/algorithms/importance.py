"""How much each parameter matters: functional analysis of variance over a forest of regression trees.

Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance" (ICML 2014). A forest is fitted to
(point, objective); as every tree is constant on boxes, the variance of its prediction over the whole space, and the part of it
that one parameter explains alone, are exact sums over the leaves. The space is weighted by the declared distributions, because
points are measured in unit values. Says nothing about which value is good, and proposes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kuttab.algorithms.parameters import Floats

TREES = 32
LARGEST_SAMPLE = 1000
"""Points a tree is fitted to, at most; more are drawn from at random."""
LEAST_LEAF = 2
"""Points in a leaf, at least."""
DEEPEST = 24
TINY = 1e-12
"""A tree whose variance is a smaller share of the data's explains nothing."""

Choices = NDArray[np.bool_]


@dataclass(frozen=True)
class Importance:
    """``shares`` sum to 1: the part of the variance that each parameter explains alone, over what they explain alone together.

    ``alone`` is that sum as a part of the whole variance; the rest are effects of parameters together.
    """

    shares: tuple[float, ...]
    alone: float


@dataclass(frozen=True)
class _Leaves:
    """A tree as its leaves: boxes ``low .. high`` (n, d), allowed choices of each listed parameter (n, k), values (n,)."""

    low: Floats
    high: Floats
    choices: dict[int, Choices]
    values: Floats


def of_forest(units: Floats, codes: Floats, y: Floats, choices: dict[int, int], seed: int = 0) -> Importance | None:
    """The importance of each column.

    ``units`` (n, d) are unit values, ``codes`` (n, d) the indices of choices for the columns in ``choices`` (column to number of
    choices); ``y`` (n,) is finite. None when nothing varies or there are fewer than four points. Deterministic by ``seed``.
    """
    count, width = units.shape
    size = float(np.abs(y).max()) if count else 0.0
    scaled = y / size if size > 0 else y  # first, so that the spread of huge numbers stays finite
    spread = float(np.ptp(scaled)) if count else 0.0
    if count < 2 * LEAST_LEAF or not width or spread <= 0:
        return None
    scaled = (scaled - scaled.min()) / spread
    columns = np.array(units, dtype=np.float64)
    for column in choices:
        columns[:, column] = codes[:, column]
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, count, width))))
    parts, wholes = np.zeros(width), 0.0
    trees = 0
    for _ in range(TREES):
        rows = generator.integers(count, size=min(count, LARGEST_SAMPLE))
        leaves = _grow(columns[rows], scaled[rows], choices, generator)
        whole, part = _decompose(leaves, choices)
        if whole > TINY:
            parts += part / whole
            wholes += float(part.sum() / whole)
            trees += 1
    if not trees or parts.sum() <= 0:
        return None
    return Importance(tuple((parts / parts.sum()).tolist()), min(1.0, wholes / trees))


def _grow(X: Floats, y: Floats, choices: dict[int, int], generator: np.random.Generator) -> _Leaves:
    """A regression tree by variance reduction; each split looks at a random five sixths of the columns, as in the paper's forest."""
    width = X.shape[1]
    looked = max(1, int(np.ceil(width * 5 / 6)))
    low, high, values = [], [], []
    masks: dict[int, list[Choices]] = {column: [] for column in choices}
    start = {column: np.ones(size, dtype=bool) for column, size in choices.items()}
    stack = [(np.arange(len(y)), np.zeros(width), np.ones(width), start, 0)]
    while stack:
        rows, lo, hi, allowed, depth = stack.pop()
        order = generator.permutation(width)
        split = None
        if depth < DEEPEST and len(rows) >= 2 * LEAST_LEAF and np.ptp(y[rows]) > 0:
            split = _split(X[rows], y[rows], order[:looked], choices) or _split(
                X[rows], y[rows], order[looked:], choices
            )
        if split is None:
            low.append(lo)
            high.append(hi)
            values.append(float(y[rows].mean()))
            for column in choices:
                masks[column].append(allowed[column])
            continue
        column, threshold, left_choices = split
        if left_choices is None:
            goes_left = X[rows, column] < threshold
            left_hi, right_lo = hi.copy(), lo.copy()
            left_hi[column] = right_lo[column] = threshold
            stack.append((rows[~goes_left], right_lo, hi, allowed, depth + 1))
            stack.append((rows[goes_left], lo, left_hi, allowed, depth + 1))
        else:
            goes_left = left_choices[X[rows, column].astype(np.intp)]
            left = {**allowed, column: allowed[column] & left_choices}
            right = {**allowed, column: allowed[column] & ~left_choices}
            stack.append((rows[~goes_left], lo, hi, right, depth + 1))
            stack.append((rows[goes_left], lo, hi, left, depth + 1))
    stacked = {column: np.array(found) for column, found in masks.items()}
    return _Leaves(np.array(low), np.array(high), stacked, np.array(values))


def _split(
    X: Floats, y: Floats, columns: NDArray[np.intp], choices: dict[int, int]
) -> tuple[int, float, Choices | None] | None:
    """The split of least squared error: column, threshold, and for a listed column the choices that go left.

    Choices are ordered by their mean objective, which makes the best two subsets neighbours (Fisher 1958).
    """
    if not len(columns):
        return None
    count = len(y)
    looked = X[:, columns].copy()
    ranks: dict[int, NDArray[np.intp]] = {}
    for place, column in enumerate(columns.tolist()):
        if column in choices:
            index = looked[:, place].astype(np.intp)
            sizes = np.bincount(index, minlength=choices[column])
            sums = np.bincount(index, weights=y, minlength=choices[column])
            means = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.inf)
            ranks[place] = np.argsort(np.argsort(means, kind="stable"), kind="stable")
            looked[:, place] = ranks[place][index]
    order = np.argsort(looked, axis=0, kind="stable")
    sorted_x = np.take_along_axis(looked, order, axis=0)
    sums = np.cumsum(y[order], axis=0)
    sizes = np.arange(1, count)[:, None]
    left, total = sums[:-1], sums[-1]
    gain = left**2 / sizes + (total - left) ** 2 / (count - sizes)
    possible = sorted_x[1:] > sorted_x[:-1]
    possible[: LEAST_LEAF - 1] = False
    possible[count - LEAST_LEAF :] = False
    gain = np.where(possible, gain, -np.inf)
    at, place = divmod(int(np.argmax(gain)), gain.shape[1])
    if not np.isfinite(gain[at, place]):
        return None
    column = int(columns[place])
    threshold = float((sorted_x[at, place] + sorted_x[at + 1, place]) / 2)
    if column in choices:
        return column, threshold, ranks[place] < threshold
    return column, threshold, None


def _decompose(leaves: _Leaves, choices: dict[int, int]) -> tuple[float, Floats]:
    """The variance of a tree's prediction over the unit space, and the part that each column explains alone."""
    extents = leaves.high - leaves.low
    for column, mask in leaves.choices.items():
        extents[:, column] = mask.mean(axis=1)
    weights = extents.prod(axis=1)
    mean = float(weights @ leaves.values)
    deviations = leaves.values - mean
    whole = float(weights @ deviations**2)
    parts = np.zeros(extents.shape[1])
    for column in range(extents.shape[1]):
        # The weight of a leaf along all other columns; an extent is never 0, since every leaf holds points.
        others = weights / np.maximum(extents[:, column], np.finfo(float).tiny)
        if column in choices:
            inside = leaves.choices[column].T.astype(np.float64)
            lengths = np.full(len(inside), 1.0 / len(inside))
        else:
            edges = np.unique(np.concatenate([leaves.low[:, column], leaves.high[:, column]]))
            middles, lengths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
            inside = (leaves.low[:, column] <= middles[:, None]) & (middles[:, None] < leaves.high[:, column])
        parts[column] = float(lengths @ (inside @ (others * deviations)) ** 2)
    return whole, parts
