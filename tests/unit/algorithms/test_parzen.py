"""The Parzen estimators against arithmetic that is written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kuttab.algorithms import parzen
from kuttab.algorithms import space as spaces
from kuttab.testing.algorithms import parameter

CONTINUOUS = spaces.from_specs([parameter(n, "double", min="0", max="1") for n in ("x", "y")])
LISTS = spaces.from_specs(
    [
        parameter("c", "categorical", choices=["a", "b", "d"]),
        parameter("n", "int", min="1", max="5"),
        parameter("k", "int", min="3", max="3"),
    ]
)


def mixture(
    space: spaces.Space, codes: np.ndarray, *, joint: bool, weights: np.ndarray | None = None
) -> parzen.Mixture:
    """A mixture with the default kernels."""
    weights = np.ones(len(codes)) if weights is None else weights
    return parzen.Mixture(parzen.Layout(space), codes, weights, parzen.Kernels(), joint=joint)


def test_joint_density_integrates_to_one() -> None:
    """Over the unit square the density has mass 1, kernels at the border included."""
    density = mixture(CONTINUOUS, np.array([[0.0, 1.0], [0.2, 0.5], [0.9, 0.05]]), joint=True)
    ticks = (np.arange(200) + 0.5) / 200
    grid = np.array([(x, y) for x in ticks for y in ticks])
    assert np.exp(density.log_density(grid)).mean() == pytest.approx(1.0, abs=2e-3)


def test_densities_apart_integrate_to_one() -> None:
    """Each parameter's own density has mass 1."""
    density = mixture(CONTINUOUS, np.array([[0.0, 1.0], [0.2, 0.5], [0.9, 0.05]]), joint=False)
    ticks = (np.arange(2000) + 0.5) / 2000
    mass = np.exp(density.log_density(np.stack([ticks, ticks], axis=1))).mean(axis=0)
    assert mass == pytest.approx([1.0, 1.0], abs=2e-3)


def test_densities_of_lists_and_grids_sum_to_one() -> None:
    """Relative to the prior's probability of each point, the sum over all points is 1, jointly and apart."""
    codes = np.array([[0.0, 1.0, 3.0], [2.0, 5.0, 3.0], [2.0, 4.0, 3.0]])
    points = np.array([(c, n, 3.0) for c in range(3) for n in range(1, 6)])
    joint = mixture(LISTS, codes, joint=True)
    assert np.exp(joint.log_density(points)).sum() / 15 == pytest.approx(1.0, abs=1e-6)
    apart = np.exp(mixture(LISTS, codes, joint=False).log_density(points))
    assert apart[::5, 0].sum() / 3 == pytest.approx(1.0, abs=1e-6)
    assert apart[:5, 1].sum() / 5 == pytest.approx(1.0, abs=1e-6)
    assert apart[:, 2].tolist() == [1.0] * 15


def test_one_product_is_the_sum_over_kernels() -> None:
    """The joint density equals a loop over truncated normals with the same bandwidths."""
    codes = np.array([[0.1, 0.9], [0.4, 0.5], [0.45, 0.1]])
    density = mixture(CONTINUOUS, codes, joint=True)
    sigma = density._sigma
    for point in np.array([[0.3, 0.3], [0.0, 1.0], [0.99, 0.01]]):
        total = density._weights[-1]
        for kernel, weight in zip(codes, density._weights, strict=False):
            factors = [
                stats.truncnorm(-mu / s, (1 - mu) / s, loc=mu, scale=s).pdf(x)
                for mu, s, x in zip(kernel, sigma, point, strict=True)
            ]
            total += weight * math.prod(factors)
        assert density.log_density(point[None, :])[0] == pytest.approx(math.log(total))


def test_samples_follow_the_density() -> None:
    """Draws fall into four quarters of the square as often as the density says."""
    density = mixture(CONTINUOUS, np.array([[0.1, 0.2], [0.8, 0.7]]), joint=True)
    ticks = (np.arange(100) + 0.5) / 100
    grid = np.array([(x, y) for x in ticks for y in ticks])
    mass = np.exp(density.log_density(grid)) / len(grid)
    drawn = density.sample(np.random.default_rng(2), 4000)
    for left in (True, False):
        for low in (True, False):
            expected = mass[((grid[:, 0] < 0.5) == left) & ((grid[:, 1] < 0.5) == low)].sum()
            seen = (((drawn[:, 0] < 0.5) == left) & ((drawn[:, 1] < 0.5) == low)).mean()
            assert seen == pytest.approx(expected, abs=0.03)


def test_samples_of_lists_follow_the_density() -> None:
    """Draws of a category and a grid match their probabilities by a chi-square test."""
    density = mixture(LISTS, np.array([[0.0, 1.0, 3.0], [2.0, 5.0, 3.0], [2.0, 4.0, 3.0]]), joint=False)
    points = np.array([(min(i, 2), i + 1, 3.0) for i in range(5)])
    mass = np.exp(density.log_density(points))
    drawn = density.sample(np.random.default_rng(3), 6000)
    for column, count, first in ((0, 3, 0), (1, 5, 1)):
        observed = np.array([(drawn[:, column] == first + i).sum() for i in range(count)])
        assert stats.chisquare(observed, mass[:count, column] / count * 6000).pvalue > 0.001
    assert set(drawn[:, 2]) == {3.0}


def test_bins_change_next_to_nothing() -> None:
    """A long history in bins has the density of the same history kernel by kernel."""
    codes = np.random.default_rng(4).random((600, 2)) ** 2
    density = mixture(CONTINUOUS, codes, joint=False)
    points = np.random.default_rng(5).random((50, 2))
    mu, sigma = codes, density._sigma
    for j in range(2):
        kernels = stats.truncnorm(-mu[:, j] / sigma[j], (1 - mu[:, j]) / sigma[j], loc=mu[:, j], scale=sigma[j])
        exact = [(density._weights[:-1] * kernels.pdf(x)).sum() + density._weights[-1] for x in points[:, j]]
        assert np.exp(density.log_density(points)[:, j]) == pytest.approx(np.array(exact), rel=0.02)


def test_without_observations_it_is_the_prior() -> None:
    """No kernels: the density is flat and draws cover the space."""
    density = mixture(CONTINUOUS, np.empty((0, 2)), joint=True)
    assert density.log_density(np.array([[0.1, 0.9]])).tolist() == [0.0]
    assert stats.kstest(density.sample(np.random.default_rng(0), 500)[:, 0], "uniform").pvalue > 0.001


def test_candidates_come_best_first() -> None:
    """Ranking is by the ratio of the densities, jointly and apart."""
    good = np.array([[0.2, 0.2], [0.25, 0.2]])
    bad = np.array([[0.8, 0.8], [0.7, 0.9]])
    for joint in (True, False):
        over, under = mixture(CONTINUOUS, good, joint=joint), mixture(CONTINUOUS, bad, joint=joint)
        rows, scores = parzen.scored(over, under, np.random.default_rng(1), 32)
        assert (np.diff(scores) <= 0).all()
        ratio = over.log_density(rows) - under.log_density(rows)
        assert (ratio if joint else ratio.sum(axis=1)) == pytest.approx(scores)
        assert np.abs(rows[0] - 0.2).max() < 0.25


@pytest.mark.parametrize("joint", [True, False])
def test_densities_are_finite_however_small_the_prior(joint: bool) -> None:
    """The least prior weight that a double can hold leaves some density everywhere."""
    codes = np.array([[0.0, 1.0, 3.0], [0.0, 5.0, 3.0]])
    kernels = parzen.Kernels(prior_weight=5e-324)
    density = parzen.Mixture(parzen.Layout(LISTS), codes, np.ones(2), kernels, joint=joint)
    points = np.array([(c, n, 3.0) for c in range(3) for n in range(1, 6)])
    assert np.isfinite(density.log_density(points)).all()
