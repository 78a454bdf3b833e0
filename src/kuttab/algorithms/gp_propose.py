"""From rows and values to the next rows: choose data, warp, fit, fantasise what is pending, weigh feasibility, maximise."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kuttab.algorithms import failures, gp, gp_acquire, gp_fit, gp_search, gp_targets
from kuttab.algorithms.gp_kernel import Array, Domain, Index

FIT_LIMIT = 160
"""Hyper-parameters are fitted on at most so many rows."""

DATA_LIMIT = 400
"""The process is conditioned on at most so many rows."""


@dataclass(frozen=True)
class Options:
    """Choices of the surrogate and its use."""

    priors: gp_fit.Priors = gp_fit.DEFAULT
    warp: str = "power"
    worlds: int = 16
    acquisition: gp_acquire.Acquisition = gp_acquire.log_ei
    effort: gp_search.Effort = field(default_factory=gp_search.Effort)


class Merit:
    """An acquisition averaged over fantasies, lowered where failure is likely."""

    def __init__(
        self, posterior: gp.Posterior, options: Options, feasibility: failures.Feasibility | None = None
    ) -> None:
        self._posterior, self._acquisition, self._feasibility = posterior, options.acquisition, feasibility
        self._log = not isinstance(options.acquisition, gp_acquire.ConfidenceBound)
        self._best = posterior.fitted.min(0)

    def batch(self, rows: Array) -> Array:
        """Scores of rows."""
        means, variance = self._posterior.predict(rows)
        deviations = np.repeat(np.sqrt(variance)[:, None], means.shape[1], axis=1)
        out = gp_acquire.average(self._acquisition(means, deviations, self._best)[0], self._log)[0]
        return out if self._feasibility is None else out + self._feasibility.penalty(rows)

    def gradient(self, row: Array) -> tuple[float, Array]:
        """Score of one row and its derivative by the numeric dimensions."""
        means, variance, dmeans, dvariance = self._posterior.predict_with_gradient(row)
        deviation = np.sqrt(variance)
        values, by_mean, by_deviation = self._acquisition(means, np.full_like(means, deviation), self._best)
        value, share = gp_acquire.average(values, self._log)
        slope = dmeans @ (share * by_mean) + dvariance * float(share @ by_deviation) / (2.0 * deviation)
        if self._feasibility is not None:
            penalty, by_row = self._feasibility.penalty_gradient(row)
            value, slope = value + penalty, slope + by_row
        return float(value), slope


@dataclass(frozen=True)
class Data:
    """Evaluated rows with values (less is better), and rows still running."""

    rows: Array
    y: Array
    pending: Array


def keep(y: Array, limit: int, generator: np.random.Generator) -> Index:
    """Indices of at most ``limit`` values, in order: the best, the latest and some at random from the rest."""
    n = len(y)
    if n <= limit:
        return np.arange(n)
    best = np.argsort(y, kind="stable")[: limit // 2]
    late = np.arange(n - limit // 4, n)
    rest = np.setdiff1d(np.arange(n), np.concatenate([best, late]))
    priority = generator.random(n)[rest]
    chosen = np.union1d(best, late)
    return np.union1d(chosen, rest[np.argsort(priority, kind="stable")[: limit - len(chosen)]])


class Fitter:
    """Hyper-parameters for growing data: refitted less often as the data grow, on the first rows of them.

    The answer depends on the data alone; equal data are not fitted twice.
    """

    def __init__(self, domain: Domain, options: Options, seed: int) -> None:
        self._domain, self._options, self._seed = domain, options, seed
        self._last: tuple[bytes, gp_fit.Hyper] | None = None

    def fit(self, rows: Array, y: Array) -> gp_fit.Hyper:
        """The hyper-parameters to use for these data."""
        every = 1 if len(y) < 40 else 2 if len(y) < 80 else 5 if len(y) < 200 else 20
        used = len(y) - len(y) % every
        rows, y = rows[:used], y[:used]
        key = rows.tobytes() + y.tobytes()
        if self._last is None or self._last[0] != key:
            chosen = keep(y, FIT_LIMIT, np.random.default_rng(self._seed))
            targets = gp_targets.warp(y, self._options.warp)[chosen]
            self._last = key, gp_fit.fit(self._domain, rows[chosen], targets, priors=self._options.priors)
        return self._last[1]


def posterior(
    domain: Domain, data: Data, fitter: Fitter, options: Options, generator: np.random.Generator
) -> gp.Posterior:
    """The process given the data, with fantasies of what is pending."""
    hyper = fitter.fit(data.rows, data.y)
    chosen = keep(data.y, DATA_LIMIT, generator)
    rows, targets = data.rows[chosen], gp_targets.warp(data.y, options.warp)[chosen]
    found = gp.condition(domain, hyper, rows, targets)
    if not len(data.pending):
        return found
    pending = data.pending[-DATA_LIMIT // 2 :]
    normals = generator.standard_normal((options.worlds, len(pending)))
    return gp.fantasise(found, pending, targets, normals)


def candidates(
    domain: Domain,
    data: Data,
    fitter: Fitter,
    options: Options,
    generator: np.random.Generator,
    feasibility: failures.Feasibility | None = None,
) -> Array:
    """Candidate rows, the most promising first."""
    process = posterior(domain, data, fitter, options, generator)
    merit = Merit(process, options, feasibility)
    centres = data.rows[np.argsort(data.y, kind="stable")[:5]]
    return gp_search.maximise(domain, merit, centres, generator, options.effort)[0]
