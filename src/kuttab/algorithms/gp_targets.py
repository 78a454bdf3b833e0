"""Make objective values fit for a Gaussian process: squash what is far worse than typical, remove skew, standardise.

Losses of real training runs have long bad tails (diverged runs) and cluster near the best value. The process should spend its
flexibility on the good end. Sources: Yeo and Johnson (2000) for the power transform, its parameter by maximum likelihood as in
HEBO (Cowen-Rivers et al., 2022).
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

from kuttab.algorithms.gp_kernel import Array

_HUGE = 1e100
_REACH = 8.0


def standardise(y: Array) -> Array:
    """Shift and scale to mean 0, deviation 1; constant values become 0."""
    spread = float(y.std())
    if not np.isfinite(spread) or spread <= 1e-12 * max(1.0, float(np.abs(y).max())):
        return np.zeros_like(y)
    return np.asarray((y - y.mean()) / spread)


def tame(y: Array) -> Array:
    """Clip values that are hopelessly bad, so that one diverged run does not hide all differences between the others.

    The limit lies eight times as far above the best value as the 30 % quantile does, which leaves normal and uniform samples alone.
    """
    largest = float(np.abs(y).max())
    if largest > _HUGE:
        y = y / largest
    best = float(y.min())
    for share in (0.3, 0.5, 0.75):
        reach = float(np.quantile(y, share, method="lower")) - best
        if reach > 1e-12 * max(abs(best), 1e-300):
            return np.asarray(np.minimum(y, best + _REACH * reach))
    return y


def yeo_johnson(y: Array, power: float) -> Array:
    """The Yeo-Johnson transform; rising for every power."""
    out = np.empty_like(y)
    up = y >= 0
    a, b = np.log1p(y[up]), np.log1p(-y[~up])
    out[up] = a if abs(power) < 1e-6 else np.expm1(power * a) / power
    out[~up] = -b if abs(power - 2.0) < 1e-6 else -np.expm1((2.0 - power) * b) / (2.0 - power)
    return out


def best_power(y: Array) -> float:
    """The Yeo-Johnson power under which standardised values look most like a normal sample (profile likelihood)."""
    jacobian = float((np.sign(y) * np.log1p(np.abs(y))).sum())

    def loss(power: float) -> float:
        variance = float(np.var(yeo_johnson(y, power)))
        return float(0.5 * len(y) * np.log(max(variance, 1e-300)) - (power - 1.0) * jacobian)

    return float(optimize.minimize_scalar(loss, bounds=(-3.0, 5.0), method="bounded", options={"xatol": 1e-2}).x)


def squash_bad_half(y: Array) -> Array:
    """Replace values above the median by normal quantiles of their rank, on the scale of the good half; order is kept.

    The idea is Vizier's half-rank warping (Song et al., 2024): how bad a bad point is says little about where good ones are.
    """
    median = float(np.median(y))
    bad = y > median
    good = y[~bad]
    spread = float(np.sqrt(np.mean((good - median) ** 2)))
    if not bad.any() or spread <= 0:
        return y
    _, rank = np.unique(y[bad], return_inverse=True)
    levels = int(rank.max()) + 1
    quantiles = special.ndtri(0.5 + 0.5 * (rank + 0.5) / levels)
    out = y.copy()
    out[bad] = median + spread * quantiles
    return out


def warp(y: Array, mode: str = "power") -> Array:
    """Targets for the process from finite objective values to be minimised."""
    z = standardise(tame(y))
    if not z.any() or len(y) < 4:
        return z
    if mode == "none":
        return z
    if mode == "half":
        return standardise(squash_bad_half(z))
    if mode == "halfpower":
        z = standardise(squash_bad_half(z))
    return standardise(yeo_johnson(z, best_power(z)))
