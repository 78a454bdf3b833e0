"""Fit a Gaussian process by its most probable hyper-parameters.

The objective is the log marginal likelihood plus log priors, with analytic gradients; the constant mean is profiled out. Priors
are normal on the logarithms: length scales grow with the square root of the number of dimensions, so that a plain process stays
useful in high dimension, and with the spread of a dimension; signal variance is near 1 because targets are standardised;
noise is small but not zero.
Sources: Rasmussen and Williams (2006), chapter 5; Hvarfner et al. (2024) for dimension-scaled priors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.linalg import lapack

from kuttab.algorithms.gp_kernel import Array, Domain, contract, matern, squared_distances

_LOG_2PI = float(np.log(2.0 * np.pi))
_JITTER = 1e-8
_MEAN_VARIANCE = 1.0


@dataclass(frozen=True)
class Priors:
    """Centres and widths of the normal priors on the logarithms of the hyper-parameters."""

    length: float = 0.5
    length_width: float = 1.0
    signal: float = 1.0
    signal_width: float = 0.7
    noise: float = 1e-3
    noise_width: float = 2.0
    noise_floor: float = 1e-7


DEFAULT = Priors()


@dataclass(frozen=True)
class Hyper:
    """Fitted hyper-parameters: length scales per dimension, signal and noise variance."""

    lengths: Array
    signal: float
    noise: float

    def column_weights(self, domain: Domain) -> Array:
        """Inverse squared length scales per embedded column."""
        weights: Array = (self.lengths**-2.0)[domain.group]
        return weights


def inverse(K: Array) -> tuple[Array, Array, float] | None:
    """Lower Cholesky factor, inverse and log determinant of a covariance; None when it is not positive definite."""
    L, info = lapack.dpotrf(K, lower=1, clean=1)
    if info != 0:
        return None
    P, info = lapack.dpotri(L, lower=1)
    if info != 0:
        return None
    P = np.tril(P) + np.tril(P, -1).T
    return L, P, 2.0 * float(np.log(np.diag(L)).sum())


def profile_mean(P: Array, y: Array) -> float:
    """The most probable constant mean under a unit normal prior, given the inverse covariance."""
    ones = P.sum(1)
    return float(ones @ y / (ones.sum() + 1.0 / _MEAN_VARIANCE))


class Objective:
    """Negative log posterior of the hyper-parameters ``[log lengths, log signal, log noise]`` with its gradient."""

    def __init__(self, domain: Domain, embedded: Array, y: Array, extra: Array, priors: Priors) -> None:
        self._domain, self._x, self._y, self._extra = domain, embedded, y, extra
        size = domain.size
        centre = np.log(priors.length * np.sqrt(size) * domain.spread)
        self.centre = np.concatenate([centre, [np.log(priors.signal), np.log(priors.noise)]])
        self._width = np.concatenate([np.full(size, priors.length_width), [priors.signal_width, priors.noise_width]])
        low = np.concatenate([np.full(size, np.log(0.005)), [np.log(0.05), np.log(priors.noise_floor)]])
        high = np.concatenate([np.full(size, np.log(200.0)), [np.log(20.0), np.log(2.0)]])
        self.bounds = list(zip(low, high, strict=True))

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient; a large value where the covariance cannot be factored."""
        size, n = self._domain.size, len(self._y)
        signal, noise = np.exp(theta[size]), np.exp(theta[size + 1])
        column = np.exp(-2.0 * theta[:size])[self._domain.group]
        k, dk = matern(squared_distances(self._x, self._x, column))
        K = signal * k
        K.flat[:: n + 1] += noise + _JITTER + self._extra
        factored = inverse(K)
        if factored is None:
            return 1e25, np.zeros_like(theta)
        _, P, logdet = factored
        mean = profile_mean(P, self._y)
        residual = self._y - mean
        alpha = P @ residual
        value = 0.5 * (residual @ alpha + logdet + n * _LOG_2PI + mean**2 / _MEAN_VARIANCE)
        G = np.outer(alpha, alpha) - P
        by_column = contract(G * dk, self._x) * column * signal
        gradient = np.empty_like(theta)
        gradient[:size] = np.bincount(self._domain.group, by_column, minlength=size)  # -1/2 * -2 w dL/dw
        gradient[size] = -0.5 * signal * float((G * k).sum())
        gradient[size + 1] = -0.5 * noise * float(np.trace(G))
        shift = (theta - self.centre) / self._width
        return float(value + 0.5 * shift @ shift), gradient + shift / self._width


def fit(domain: Domain, rows: Array, y: Array, *, extra: Array | None = None, priors: Priors = DEFAULT) -> Hyper:
    """The most probable hyper-parameters for standardised targets ``y`` at ``rows``.

    ``extra`` is known noise variance per row. Two starts: the centre of the priors, and short length scales with more noise
    (the other common mode). Deterministic; ``O(n^3)`` per step.
    """
    objective = Objective(domain, domain.embed(rows), y, np.zeros(len(y)) if extra is None else extra, priors)
    size = domain.size
    rough = objective.centre.copy()
    rough[:size] -= 1.0
    rough[size + 1] = np.log(0.1)
    best: tuple[float, Array] | None = None
    for start in (objective.centre, rough):
        result = optimize.minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=objective.bounds,
            options={"maxiter": 60, "ftol": 1e-6},
        )
        if np.isfinite(result.fun) and (best is None or result.fun < best[0]):
            best = (float(result.fun), np.asarray(result.x))
    theta = objective.centre if best is None else best[1]
    return Hyper(np.exp(theta[:size]), float(np.exp(theta[size])), float(np.exp(theta[size + 1])))
