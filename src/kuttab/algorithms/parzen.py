"""Parzen estimators over mixed spaces: the model under every TPE-like algorithm.

Each observation becomes a kernel; a uniform prior component keeps the whole space alive. Two ways to put parameters
together: *joint* (one kernel over all parameters, so that interactions are seen) and *apart* (each parameter on its own).
Kernels, in the unit cube: a Gaussian cut to [0, 1] for continuous parameters and wide grids, the same Gaussian's mass over
the cells for small grids and discrete lists, and for categories one weight for the observed value and one for the rest.

All kernels of a mixture share one bandwidth per parameter, so a joint density of m points under n kernels is one matrix
product. Sources: Bergstra et al. 2011 for the method, Watanabe 2023 (arXiv 2304.11127) for what matters in practice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from kuttab.algorithms import space as spaces
from kuttab.algorithms.parameters import Floats

WIDEST_TABLE = 64
"""Grids with more points than this are treated as continuous."""

BINS = 256
"""Above this number of kernels a parameter on its own is modelled by as many bins."""

LEAST_PRIOR = 1e-9
"""Smaller weights of the prior, in trials, count as this: some density must be left everywhere for logarithms to exist."""

Indices = NDArray[np.intp]


class Layout:
    """Which column of a space is modelled in which way; build once per space."""

    def __init__(self, space: spaces.Space) -> None:
        self.space = space
        counts = [parameter.count for parameter in space.parameters]
        self.smooth = np.array([j for j, c in enumerate(counts) if _smooth(space, j)], dtype=np.intp)
        self.tables = [j for j, c in enumerate(counts) if c != 1 and not _smooth(space, j)]
        self.live = len(self.smooth) + len(self.tables)
        self.edges: dict[int, Floats] = {}
        for j in self.tables:
            if not space.parameters[j].categorical:
                self.edges[j] = self._edges(j, counts[j] or 1)

    def _edges(self, j: int, count: int) -> Floats:
        """Borders of a grid's cells in unit values, from their middles."""
        rows = np.tile([p.low for p in self.space.parameters], (count, 1))
        rows[:, j] = [self.space.parameters[j].at(i) for i in range(count)]
        edges = np.zeros(count + 1)
        for i, middle in enumerate(self.space.encode(rows)[:, j]):
            edges[i + 1] = 2 * middle - edges[i]
        return edges

    def places(self, codes: Floats, j: int) -> Indices:
        """Grid indices of a column of codes."""
        parameter = self.space.parameters[j]
        last = (parameter.count or 1) - 1
        return np.clip(np.rint((codes[:, j] - parameter.low) / parameter.step), 0, last).astype(np.intp)


def _smooth(space: spaces.Space, j: int) -> bool:
    parameter = space.parameters[j]
    return parameter.count is None or (parameter.count > WIDEST_TABLE and not parameter.categorical)


@dataclass(frozen=True)
class Kernels:
    """The shape of kernels: ``factor`` times Scott's bandwidth, kept between ``least`` and ``most`` unit values.

    Apart, the least bandwidth of n observations is 1 / (n + 1) until that falls below ``least``: a few points say little.
    """

    prior_weight: float = 1.0
    factor: float = 0.75
    least: float = 0.02
    most: float = 0.3


class Mixture:
    """A density over the space from weighted observations. Needs no observation: then it is the prior."""

    def __init__(self, layout: Layout, codes: Floats, weights: Floats, kernels: Kernels, *, joint: bool) -> None:
        self._layout, self._codes, self._kernels, self._joint = layout, codes, kernels, joint
        self._units = layout.space.encode(codes)
        n = len(codes)
        self._prior_weight = max(kernels.prior_weight, LEAST_PRIOR)
        raw = np.append(weights, self._prior_weight)
        self._weights = raw / raw.sum()
        dimensions = max(layout.live, 1) if joint else 1
        self._rate = max(n, 1) ** (-1.0 / (dimensions + 4))
        self._least = kernels.least if joint else max(kernels.least, 1.0 / min(100, 1 + n))
        smooth = self._units[:, layout.smooth]
        self._sigma = self._bandwidths(smooth)
        self._places = {j: layout.places(codes, j) for j in layout.tables}
        self._tables = {j: self._table(j) for j in layout.tables}

    def _bandwidths(self, units: Floats) -> Floats:
        if len(units) < 2:
            return np.full(units.shape[1], self._kernels.most)
        weights = self._weights[:-1] / self._weights[:-1].sum()
        # The prior, whose standard deviation is that of a uniform, counts as one more observation.
        mean = weights @ units
        variance = weights @ (units - mean) ** 2
        share = 1.0 / (len(units) + 1)
        deviation = np.sqrt((1 - share) * variance + share / 12)
        return np.asarray(np.clip(self._kernels.factor * deviation * self._rate, self._least, self._kernels.most))

    def _table(self, j: int) -> Floats:
        """Row = kernel's place, column = value's place: probabilities."""
        parameter = self._layout.space.parameters[j]
        count = parameter.count or 1
        if parameter.categorical:
            other = self._prior_weight / max(len(self._codes), 1)
            table = np.full((count, count), other)
            np.fill_diagonal(table, 1 + other)
            return np.asarray(table / table.sum(axis=1, keepdims=True))
        edges = self._layout.edges[j]
        middles = (edges[1:] + edges[:-1]) / 2
        sigma = float(self._bandwidths(middles[self._places[j]][:, None])[0])
        sigma = max(sigma, 0.5 / count)
        mass = np.diff(special.ndtr((edges[None, :] - middles[:, None]) / sigma), axis=1) + 1e-12
        return np.asarray(mass / mass.sum(axis=1, keepdims=True))

    def _condensed(self) -> tuple[Floats, Floats]:
        """Kernel centres (k, smooth) and their weights; many kernels are gathered into bins narrower than any bandwidth."""
        mu = self._units[:, self._layout.smooth]
        if len(mu) <= BINS:
            return mu, np.broadcast_to(self._weights[:-1, None], mu.shape)
        at = np.minimum((mu * BINS).astype(np.intp), BINS - 1)
        columns = [np.bincount(at[:, j], weights=self._weights[:-1], minlength=BINS) for j in range(mu.shape[1])]
        centres = (np.arange(BINS) + 0.5) / BINS
        return np.tile(centres[:, None], (1, mu.shape[1])), np.stack(columns, axis=1)

    @cached_property
    def _norm(self) -> Floats:
        """:meth:`_norm_at` of every kernel (n, smooth)."""
        return self._norm_at(self._units[:, self._layout.smooth])

    def _norm_at(self, mu: Floats) -> Floats:
        """Mass inside the cube of kernels with these centres, times sigma * sqrt(2 pi)."""
        inside = special.ndtr((1 - mu) / self._sigma) - special.ndtr(-mu / self._sigma)
        return np.asarray(inside * self._sigma * np.sqrt(2 * np.pi))

    def sample(self, generator: np.random.Generator, count: int) -> Floats:
        """Codes (count, d)."""
        layout = self._layout
        units = generator.random((count, len(layout.space)))
        codes = layout.space.decode(units)
        n = len(self._codes)
        shape = (count, 1 if self._joint else len(layout.space))
        chosen = np.minimum(np.searchsorted(np.cumsum(self._weights), generator.random(shape)), n)
        chosen = np.broadcast_to(chosen, units.shape)
        if n and len(layout.smooth):
            pick = chosen[:, layout.smooth]
            kernel = np.minimum(pick, n - 1)
            mu = np.take_along_axis(self._units[:, layout.smooth], kernel, axis=0)
            low, high = special.ndtr(-mu / self._sigma), special.ndtr((1 - mu) / self._sigma)
            u = generator.random(mu.shape)
            drawn = np.clip(mu + self._sigma * special.ndtri(low + u * (high - low)), 0, 1)
            units[:, layout.smooth] = np.where(pick < n, drawn, units[:, layout.smooth])
            codes[:, layout.smooth] = layout.space.decode(units)[:, layout.smooth]
        if n:
            u = generator.random((count, len(layout.tables)))
            for i, j in enumerate(layout.tables):
                pick = chosen[:, j]
                rows = self._tables[j][self._places[j][np.minimum(pick, n - 1)]]
                place = np.minimum((np.cumsum(rows, axis=1) < u[:, i : i + 1]).sum(axis=1), rows.shape[1] - 1)
                parameter = layout.space.parameters[j]
                values = np.array([parameter.at(k) for k in range(rows.shape[1])])[place]
                codes[:, j] = np.where(pick < n, values, codes[:, j])
        return codes

    def log_density(self, codes: Floats) -> Floats:
        """Joint: (m,) log densities. Apart: (m, d) per parameter, 0 for constant ones. Relative to the uniform prior."""
        return self._log_joint(codes) if self._joint else self._log_apart(codes)

    def _log_joint(self, codes: Floats) -> Floats:
        layout, n = self._layout, len(self._codes)
        total = np.zeros((len(codes), n + 1))
        if n and len(layout.smooth):
            a = layout.space.encode(codes)[:, layout.smooth] / self._sigma
            b = self._units[:, layout.smooth] / self._sigma
            square = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * a @ b.T
            total[:, :n] = -0.5 * np.maximum(square, 0) - np.log(self._norm).sum(axis=1)
        for j in layout.tables if n else ():
            relative = np.log(self._tables[j]) - np.log(self._prior(j))
            total[:, :n] += relative.T[layout.places(codes, j)][:, self._places[j]]
        total += np.log(self._weights)
        peak = total.max(axis=1)  # finite: the prior's column always is
        return np.asarray(np.log(np.exp(total - peak[:, None]).sum(axis=1)) + peak)

    def _log_apart(self, codes: Floats) -> Floats:
        layout, n = self._layout, len(self._codes)
        out = np.zeros(codes.shape)
        if not n:
            return out
        prior = self._weights[-1]
        if len(layout.smooth):
            at = layout.space.encode(codes)[:, layout.smooth]
            mu, weights = self._condensed()
            z = (at[:, None, :] - mu) / self._sigma
            density = np.einsum("mns,ns->ms", np.exp(-0.5 * z * z), weights / self._norm_at(mu))
            out[:, layout.smooth] = np.log(density + prior)
        for j in layout.tables:
            table = self._tables[j]
            share = np.bincount(self._places[j], weights=self._weights[:-1], minlength=len(table))
            out[:, j] = np.log((share @ table) / self._prior(j) + prior)[layout.places(codes, j)]
        return out

    def _prior(self, j: int) -> Floats:
        edges = self._layout.edges.get(j)
        count = self._layout.space.parameters[j].count or 1
        return np.full(count, 1 / count) if edges is None else np.diff(edges)


def ranked(good: Mixture, bad: Mixture, generator: np.random.Generator, candidates: int) -> Floats:
    """Codes (candidates, d) drawn from ``good``, the greatest ratio of the densities first."""
    return scored(good, bad, generator, candidates)[0]


def scored(good: Mixture, bad: Mixture, generator: np.random.Generator, candidates: int) -> tuple[Floats, Floats]:
    """Codes (candidates, d) drawn from ``good`` and their scores: log ratios of the densities, the greatest first.

    Apart, the parameters' candidates are ranked and put together one by one.
    """
    codes = good.sample(generator, max(candidates, 1))
    score = good.log_density(codes) - bad.log_density(codes)
    order = np.argsort(-score, axis=0, kind="stable")
    if score.ndim == 1:
        return np.asarray(codes[order]), np.asarray(score[order])
    best = np.take_along_axis(score, order, axis=0).sum(axis=1)
    return np.asarray(np.take_along_axis(codes, order, axis=0)), np.asarray(best)
