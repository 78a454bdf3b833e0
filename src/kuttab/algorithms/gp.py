"""A Gaussian process over a mixed space: posterior, its gradient, and conditioning on what is still running.

Matern 5/2 with one length scale per parameter (a choice is at distance one from every other), constant mean, homoscedastic
noise. Pure numpy and scipy. The model does not know of trials, seeds or parameters: see :mod:`.gp_propose`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kuttab.algorithms import gp_fit
from kuttab.algorithms.gp_kernel import Array, Domain, matern, squared_distances

_MIN_VARIANCE = 1e-12


@dataclass(frozen=True)
class Posterior:
    """A process conditioned on data.

    ``alpha`` holds one column per fantasy: pending rows share the covariance and differ in their imagined values. ``fitted``
    are the posterior means at the data, ``(n, S)``.
    """

    domain: Domain
    hyper: gp_fit.Hyper
    rows: Array
    embedded: Array
    precision: Array
    alpha: Array
    mean: float
    weights: Array
    fitted: Array

    @property
    def fantasies(self) -> int:
        """How many imagined outcomes of the pending rows are carried."""
        return int(self.alpha.shape[1])

    def covariance(self, rows: Array) -> Array:
        """Prior covariance between rows and the data, ``(m, n)``."""
        k, _ = matern(squared_distances(self.domain.embed(rows), self.embedded, self.weights))
        return self.hyper.signal * k

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Posterior means ``(m, S)`` of the noise-free function for each of ``S`` fantasies, and variances ``(m,)``."""
        k = self.covariance(rows)
        variance = self.hyper.signal - np.einsum("ij,ij->i", k @ self.precision, k)
        return self.mean + k @ self.alpha, np.maximum(variance, _MIN_VARIANCE)

    def predict_with_gradient(self, row: Array) -> tuple[Array, float, Array, Array]:
        """At one row: means ``(S,)``, variance, and their derivatives by the numeric dimensions ``(d, S)`` and ``(d,)``."""
        x = self.domain.embed(row[None, :])
        k, dk = matern(squared_distances(x, self.embedded, self.weights)[0])
        columns = self.domain.numeric_columns
        slope = (2.0 * self.hyper.signal * dk)[:, None] * (x[0, columns] - self.embedded[:, columns])
        slope *= self.weights[columns]
        k *= self.hyper.signal
        solved = self.precision @ k
        variance = self.hyper.signal - float(k @ solved)
        dvariance = -2.0 * (slope.T @ solved) if variance > _MIN_VARIANCE else np.zeros(len(columns))
        return self.mean + k @ self.alpha, max(variance, _MIN_VARIANCE), slope.T @ self.alpha, dvariance


def _invert(hyper: gp_fit.Hyper, domain: Domain, embedded: Array, extra: Array) -> tuple[Array, Array]:
    k, _ = matern(squared_distances(embedded, embedded, hyper.column_weights(domain)))
    for jitter in (1e-8, 1e-6, 1e-4, 1e-2):
        K = hyper.signal * k
        K.flat[:: len(K) + 1] += hyper.noise + jitter * hyper.signal + extra
        factored = gp_fit.inverse(K)
        if factored is not None:
            return factored[0], factored[1]
    raise ArithmeticError("a covariance with noise is positive definite")  # pragma: no cover - excluded by the jitter


def condition(domain: Domain, hyper: gp_fit.Hyper, rows: Array, y: Array, extra: Array | None = None) -> Posterior:
    """The process given values ``y`` at ``rows``; ``extra`` is known noise variance per row."""
    embedded = domain.embed(rows)
    noise = np.zeros(len(y)) if extra is None else extra
    _, precision = _invert(hyper, domain, embedded, noise)
    mean = gp_fit.profile_mean(precision, y)
    alpha = (precision @ (y - mean))[:, None]
    fitted = y[:, None] - (hyper.noise + noise)[:, None] * alpha
    return Posterior(domain, hyper, rows, embedded, precision, alpha, mean, hyper.column_weights(domain), fitted)


def fantasise(posterior: Posterior, pending: Array, y: Array, normals: Array, extra: Array | None = None) -> Posterior:
    """The process given ``y`` and, in each of ``S`` worlds, imagined values at the pending rows.

    ``normals`` is ``(S, len(pending))`` of standard normal numbers; a world's values are drawn jointly from the posterior.
    The hyper-parameters and the mean are kept.
    """
    domain, hyper = posterior.domain, posterior.hyper
    embedded = domain.embed(pending)
    cross = posterior.covariance(pending)
    k, _ = matern(squared_distances(embedded, embedded, posterior.weights))
    joint = hyper.signal * k - cross @ posterior.precision @ cross.T
    values, vectors = np.linalg.eigh((joint + joint.T) / 2.0)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    means = posterior.mean + cross @ posterior.alpha[:, 0]
    worlds = means[:, None] + root @ normals.T
    data = np.concatenate([np.repeat(y[:, None], len(normals), axis=1), worlds])
    noise = np.concatenate([np.zeros(len(y)) if extra is None else extra, np.zeros(len(pending))])
    rows, every = np.concatenate([posterior.rows, pending]), np.concatenate([posterior.embedded, embedded])
    _, precision = _invert(hyper, domain, every, noise)
    alpha = precision @ (data - posterior.mean)
    fitted = data - (hyper.noise + noise)[:, None] * alpha
    return Posterior(domain, hyper, rows, every, precision, alpha, posterior.mean, posterior.weights, fitted)
