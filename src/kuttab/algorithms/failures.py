"""What failed trials teach: the probability that a point can be evaluated at all.

Failures are told apart by class (out of memory, out of time, not finite, the user's own error, no value), because each has its own
region. For each class a Gaussian process is fitted to +1 (finished) and -1 (failed so); its noise absorbs failures that do not follow
the parameters, so a flaky program does not close a region, while a region in which every trial crashes closes after a few.
Trials that were killed or lost their machine are no failures: the history leaves them out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from kuttab.algorithms import gp, gp_fit
from kuttab.algorithms import history as histories
from kuttab.algorithms.gp_kernel import Array, Domain

CLASSES = ("UserError", "OutOfMemory", "DeadlineExceeded", "NonFinite", "Other")
"""Failure classes; anything unnamed is ``Other``."""

_CALM, _ALARMED = 0.5, 0.95
"""Least probability of success that is asked for when no recent trial failed, and when ``_TOLERATED`` of them did."""

_TOLERATED = 0.1
_RECENT = 20
_FORCE = 100.0
_MARGIN = 0.03

_PRIORS = gp_fit.Priors(
    length=0.4, length_width=0.8, signal=1.0, signal_width=0.5, noise=0.03, noise_width=1.5, noise_floor=1e-3
)
_HALF_LOG_2PI = float(0.5 * np.log(2.0 * np.pi))
_LIMIT = 300


def classes(history: histories.History) -> list[str]:
    """The failure class of each infeasible row, in order."""
    out = []
    for number in history.numbers[history.infeasible].tolist():
        trial = history[number]
        reason = trial.reason
        if not reason and trial.values:
            reason = "NonFinite"
        out.append(reason if reason in CLASSES else "Other")
    return out


class Feasibility:
    """Log probability, with gradient, that no failure of any class happens at a point."""

    def __init__(
        self, domain: Domain, good: Array, bad: Array, kinds: Sequence[str], recent: float = _TOLERATED
    ) -> None:
        """``good`` are rows that finished, ``bad`` rows that failed and ``kinds`` their classes; at least one failed.

        ``recent`` is the share of failures among the latest trials, which sets how much risk is taken.
        """
        self._models = []
        self._floor = -np.inf
        labels = np.array(kinds)
        for kind in CLASSES:
            failed = bad[labels == kind]
            if not len(failed):
                continue
            good_part, failed_part = _thin(good, len(failed)), _thin(failed, len(good))
            rows = np.concatenate([good_part, failed_part])
            y = np.concatenate([np.ones(len(good_part)), -np.ones(len(failed_part))])
            hyper = gp_fit.fit(domain, rows, y, priors=_PRIORS)
            self._models.append(gp.condition(domain, hyper, rows, y))
        wanted = np.log(_CALM + (_ALARMED - _CALM) * min(1.0, recent / _TOLERATED))
        # Failures that do not follow the parameters show as noise: a share p of random -1 among labels has variance 4 p (1 - p).
        flaky = [0.5 * (1.0 - np.sqrt(1.0 - min(model.hyper.noise, 1.0))) for model in self._models]
        possible = float(np.log1p(-np.array(flaky)).sum())
        self._floor = min(float(wanted), possible - _MARGIN)

    def penalty(self, rows: Array) -> Array:
        """What to add to a log acquisition: the log probability, and a steep slope where it is below the wanted level."""
        likely = self.batch(rows)
        return likely + _FORCE * np.minimum(likely - self._floor, 0.0)

    def penalty_gradient(self, row: Array) -> tuple[float, Array]:
        """The same for one row, with its derivative."""
        likely, slope = self.gradient(row)
        if likely >= self._floor:
            return likely, slope
        return likely + _FORCE * (likely - self._floor), (1.0 + _FORCE) * slope

    def batch(self, rows: Array) -> Array:
        """Log probabilities of rows."""
        out = np.zeros(len(rows))
        for model in self._models:
            mean, variance = model.predict(rows)
            out += special.log_ndtr(mean[:, 0] / np.sqrt(variance + model.hyper.noise))
        return out

    def gradient(self, row: Array) -> tuple[float, Array]:
        """Log probability of one row and its derivative by the numeric dimensions."""
        total, slope = 0.0, np.zeros(int((~self._models[0].domain.categorical).sum()))
        for model in self._models:
            mean, variance, dmean, dvariance = model.predict_with_gradient(row)
            deviation = float(np.sqrt(variance + model.hyper.noise))
            z = float(mean[0]) / deviation
            value = float(special.log_ndtr(z))
            by_z = float(np.exp(-0.5 * z * z - _HALF_LOG_2PI - value))
            total += value
            slope += by_z * (dmean[:, 0] / deviation - z * dvariance / (2.0 * deviation**2))
        return total, slope


def _thin(rows: Array, others: int) -> Array:
    """At most what the other class leaves room for, the latest rows first to stay."""
    room = max(_LIMIT - others, _LIMIT // 2)
    return rows[-room:]


def of(history: histories.History, domain: Domain, rows: Array) -> Feasibility | None:
    """The model of a history whose points are ``rows``; None when nothing has failed."""
    if not len(history.infeasible):
        return None
    latest = np.union1d(history.finished, history.infeasible)[-_RECENT:]
    recent = float(np.isin(latest, history.infeasible).mean())
    return Feasibility(domain, rows[history.finished], rows[history.infeasible], classes(history), recent)
