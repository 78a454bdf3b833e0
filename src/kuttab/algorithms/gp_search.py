"""Maximise an acquisition function over a mixed space.

Candidates are scored in one batch, the best few are improved by turns: continuous dimensions by L-BFGS-B with the analytic
gradient, levels and choices by exhaustive change of one dimension at a time. Deterministic given the generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import optimize

from kuttab.algorithms.gp_kernel import Array, Domain, Index, nearest

_NEAR = (0.1, 0.03, 0.01, 0.001)


class Score(Protocol):
    """What is maximised."""

    def batch(self, rows: Array) -> Array:
        """Scores ``(m,)`` of rows."""
        ...

    def gradient(self, row: Array) -> tuple[float, Array]:
        """Score of one row and its derivative by the numeric dimensions."""
        ...


@dataclass(frozen=True)
class Effort:
    """How hard to search: candidates scored at random and near the best known rows, starts improved, rounds and steps of each."""

    spread: int = 768
    near: int = 256
    starts: int = 4
    rounds: int = 3
    steps: int = 40


def scatter(domain: Domain, generator: np.random.Generator, count: int) -> Array:
    """Rows spread uniformly over the space."""
    rows = generator.random((count, domain.size))
    for d, choices in enumerate(domain.choices):
        if choices:
            rows[:, d] = np.minimum(np.floor(rows[:, d] * choices), choices - 1)
    return domain.snap(rows)


def perturb(domain: Domain, generator: np.random.Generator, centres: Array, count: int) -> Array:
    """Rows near the given ones: in each, some dimensions move by a normal step of one of several sizes."""
    rows = centres[np.arange(count) % len(centres)].copy()
    moved = generator.random(rows.shape) < max(2.0 / domain.size, 0.3)
    moved[np.arange(count), generator.integers(domain.size, size=count)] = True
    step = np.asarray(_NEAR)[generator.integers(len(_NEAR), size=count)][:, None] * generator.standard_normal(
        rows.shape
    )
    fresh = scatter(domain, generator, count)
    for d, choices in enumerate(domain.choices):
        hit = moved[:, d]
        if choices:
            rows[hit, d] = fresh[hit, d]
            continue
        levels = domain.levels[d]
        if levels is None:
            rows[hit, d] = rows[hit, d] + step[hit, d]
        else:
            places = nearest(levels, rows[hit, d])
            shift = np.rint(step[hit, d] * len(levels))
            shift = np.where(shift == 0, np.sign(step[hit, d]), shift).astype(np.int64)
            rows[hit, d] = levels[np.clip(places + shift, 0, len(levels) - 1)]
    return domain.snap(rows)


def maximise(
    domain: Domain, score: Score, centres: Array, generator: np.random.Generator, effort: Effort
) -> tuple[Array, Array]:
    """Rows in falling order of score, and the scores; the first are improved ones, the rest plain candidates."""
    pool = [scatter(domain, generator, effort.spread)]
    if len(centres):
        pool.append(perturb(domain, generator, centres, effort.near))
    rows = np.concatenate(pool)
    values = score.batch(rows)
    order = np.argsort(-values, kind="stable")
    rows, values = rows[order], values[order]
    improved = [_climb(domain, score, row, effort) for row in _apart(rows, effort.starts)]
    every = np.concatenate([np.array([row for row, _ in improved]).reshape(-1, domain.size), rows[:64]])
    scores = np.concatenate([np.array([value for _, value in improved]), values[:64]])
    order = np.argsort(-scores, kind="stable")
    return every[order], scores[order]


def _apart(rows: Array, count: int) -> Array:
    """The first rows that are not next to an earlier one."""
    chosen: list[Array] = []
    for row in rows[:256]:
        if len(chosen) == count:
            break
        if all(np.abs(row - other).max() > 0.05 for other in chosen):
            chosen.append(row)
    return np.array(chosen).reshape(-1, rows.shape[1])


def _climb(domain: Domain, score: Score, row: Array, effort: Effort) -> tuple[Array, float]:
    value = float(score.batch(row[None, :])[0])
    numeric = np.flatnonzero(~domain.categorical)
    continuous = np.array([d for d in numeric if domain.levels[d] is None], dtype=np.intp)
    stepped = [d for d in range(domain.size) if domain.choices[d] > 1 or domain.levels[d] is not None]
    if stepped and len(numeric) > len(continuous):  # once with every numeric dimension free, then rounded
        relaxed, _ = _ascend(score, row, numeric, numeric, effort.steps)
        snapped = domain.snap(relaxed[None, :])
        better = float(score.batch(snapped)[0])
        if better > value:
            row, value = snapped[0], better
    for _ in range(effort.rounds if stepped else 1):
        before = value
        if len(continuous):
            moved, reached = _ascend(score, row, numeric, continuous, effort.steps)
            if reached > value:
                row, value = moved, reached
        if stepped:
            row, value = _sweep(domain, score, row, value, stepped)
        if value <= before + 1e-9:
            break
    return row, value


def _ascend(score: Score, row: Array, numeric: Index, free: Index, steps: int) -> tuple[Array, float]:
    """L-BFGS-B over the dimensions ``free``; gradients come by numeric dimension."""
    place = np.searchsorted(numeric, free)
    work = row.copy()

    def negative(x: Array) -> tuple[float, Array]:
        work[free] = x
        value, gradient = score.gradient(work)
        return -value, -gradient[place]

    result = optimize.minimize(
        negative,
        row[free],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * len(free),
        options={"maxiter": steps, "ftol": 1e-7},
    )
    out = row.copy()
    out[free] = np.clip(result.x, 0.0, 1.0)
    return out, -float(result.fun)


def _sweep(domain: Domain, score: Score, row: Array, value: float, stepped: list[int]) -> tuple[Array, float]:
    """Change one level or choice at a time, each time to the best of all single changes, until nothing improves."""
    for _ in range(2 * len(stepped) + 2):
        rows = []
        for d in stepped:
            levels = domain.levels[d]
            options = np.arange(domain.choices[d], dtype=np.float64) if levels is None else levels
            block = np.repeat(row[None, :], len(options), axis=0)
            block[:, d] = options
            rows.append(block[options != row[d]])
        neighbours = np.concatenate(rows)
        if not len(neighbours):
            break
        scores = score.batch(neighbours)
        top = int(np.argmax(scores))
        if scores[top] <= value + 1e-9:
            break
        row, value = neighbours[top], float(scores[top])
    return row, value
