"""Acquisition functions for minimisation, on a log scale where that keeps them apart, with derivatives.

``log_ei`` follows Ament et al. (2023), appendix: three branches keep the logarithm exact to many standard deviations below the
incumbent, where the plain expected improvement is zero in floating point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from kuttab.algorithms.gp_kernel import Array

_HALF_LOG_2PI = float(0.5 * np.log(2.0 * np.pi))
_HALF_LOG_PI_2 = float(0.5 * np.log(np.pi / 2.0))
_FAR = -1e6

# value, derivative by the mean, derivative by the standard deviation; arguments: mean, deviation, incumbent
Acquisition = Callable[[Array, Array, Array], tuple[Array, Array, Array]]


def log_h(z: Array) -> Array:
    """``log(phi(z) + z Phi(z))`` without cancellation for any z."""
    out = np.empty_like(z)
    near, far = z > -1.0, z <= _FAR
    middle = ~(near | far)
    a = z[near]
    out[near] = np.log(np.exp(-0.5 * a * a - _HALF_LOG_2PI) + a * special.ndtr(a))
    b = z[middle]
    ratio = np.log(special.erfcx(-b / np.sqrt(2.0)) * -b) + _HALF_LOG_PI_2
    out[middle] = -0.5 * b * b - _HALF_LOG_2PI + np.log(-np.expm1(np.minimum(ratio, -1e-300)))
    c = z[far]
    out[far] = -0.5 * c * c - _HALF_LOG_2PI - 2.0 * np.log(-c)
    return out


def log_ei(mean: Array, deviation: Array, best: Array) -> tuple[Array, Array, Array]:
    """Log expected improvement below ``best``."""
    z = (best - mean) / deviation
    h = log_h(z)
    by_z = np.exp(special.log_ndtr(z) - h)
    return np.log(deviation) + h, -by_z / deviation, (1.0 - z * by_z) / deviation


def log_pi(mean: Array, deviation: Array, best: Array) -> tuple[Array, Array, Array]:
    """Log probability of improvement below ``best``."""
    z = (best - mean) / deviation
    value = special.log_ndtr(z)
    by_z = np.exp(-0.5 * z * z - _HALF_LOG_2PI - value)
    return value, -by_z / deviation, -z * by_z / deviation


@dataclass(frozen=True)
class ConfidenceBound:
    """Negative lower confidence bound, ``kappa`` deviations below the mean."""

    kappa: float = 1.96

    def __call__(self, mean: Array, deviation: Array, best: Array) -> tuple[Array, Array, Array]:
        """Value and derivatives; ``best`` plays no part."""
        del best
        return self.kappa * deviation - mean, np.full_like(mean, -1.0), np.full_like(mean, self.kappa)


def average(values: Array, log_scale: bool) -> tuple[Array, Array]:
    """Average over worlds (last axis) and each world's share in the derivative; on a log scale the mean of the exponentials."""
    if values.shape[-1] == 1:
        return values[..., 0], np.ones_like(values)
    if not log_scale:
        return values.mean(-1), np.full_like(values, 1.0 / values.shape[-1])
    top = special.logsumexp(values, axis=-1)
    share = np.exp(values - top[..., None])
    return top - np.log(values.shape[-1]), share
