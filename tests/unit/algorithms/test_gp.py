"""The Gaussian process: exact mathematics, honest gradients, sensible hyper-parameters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kuttab.algorithms import gp, gp_fit, gp_kernel

MIXED = gp_kernel.Domain((None, None, np.linspace(0.1, 0.9, 5), None), (0, 3, 0, 0))


def rows_of(domain: gp_kernel.Domain, count: int, seed: int) -> np.ndarray:
    """Random rows of a domain."""
    generator = np.random.default_rng(seed)
    rows = generator.random((count, domain.size))
    for d, choices in enumerate(domain.choices):
        if choices:
            rows[:, d] = generator.integers(choices, size=count)
    return domain.snap(rows)


def target(rows: np.ndarray) -> np.ndarray:
    """A function of two of the four dimensions, standardised."""
    y = np.sin(5 * rows[:, 0]) + 0.5 * (rows[:, 1] == 2)
    return (y - y.mean()) / y.std()


def slow_correlation(a: np.ndarray, b: np.ndarray, lengths: np.ndarray, domain: gp_kernel.Domain) -> float:
    """Matern 5/2 written out for one pair."""
    total = 0.0
    for d in range(domain.size):
        gap = float(a[d] != b[d]) if domain.choices[d] else a[d] - b[d]
        total += (gap / lengths[d]) ** 2
    r = np.sqrt(5.0 * total)
    return float((1 + r + r * r / 3) * np.exp(-r))


def test_covariance_is_matern_with_choices_at_distance_one() -> None:
    """The matrix products give what the formula gives pair by pair."""
    rows = rows_of(MIXED, 12, 0)
    lengths = np.array([0.3, 0.8, 0.5, 2.0])
    hyper = gp_fit.Hyper(lengths, 1.0, 1e-3)
    embedded = MIXED.embed(rows)
    k, _ = gp_kernel.matern(gp_kernel.squared_distances(embedded, embedded, hyper.column_weights(MIXED)))
    slow = [[slow_correlation(a, b, lengths, MIXED) for b in rows] for a in rows]
    np.testing.assert_allclose(k, slow, atol=1e-7)


def test_objective_gradient_matches_finite_differences() -> None:
    """The analytic gradient of the log posterior of the hyper-parameters is its derivative."""
    rows = rows_of(MIXED, 25, 1)
    objective = gp_fit.Objective(MIXED, MIXED.embed(rows), target(rows), np.zeros(25), gp_fit.DEFAULT)
    generator = np.random.default_rng(2)
    for _ in range(4):
        theta = objective.centre + 0.5 * generator.standard_normal(len(objective.centre))
        _, gradient = objective(theta)
        for i in range(len(theta)):
            step = np.zeros_like(theta)
            step[i] = 1e-5
            numeric = (objective(theta + step)[0] - objective(theta - step)[0]) / 2e-5
            assert gradient[i] == pytest.approx(numeric, rel=1e-4, abs=1e-4)


def test_likelihood_is_that_of_the_normal_distribution() -> None:
    """Without priors' pull, differences of the objective are differences of the exact log density with the mean integrated as given."""
    rows = rows_of(MIXED, 10, 3)
    y = target(rows)
    wide = gp_fit.Priors(length_width=1e6, signal_width=1e6, noise_width=1e6)
    objective = gp_fit.Objective(MIXED, MIXED.embed(rows), y, np.zeros(10), wide)
    for shift in (-0.5, 0.5):
        theta = objective.centre + shift
        hyper = gp_fit.Hyper(np.exp(theta[:4]), float(np.exp(theta[4])), float(np.exp(theta[5])))
        k, _ = gp_kernel.matern(
            gp_kernel.squared_distances(MIXED.embed(rows), MIXED.embed(rows), hyper.column_weights(MIXED))
        )
        cov = hyper.signal * k + (hyper.noise + 1e-8) * np.eye(10)
        mean = gp_fit.profile_mean(np.linalg.inv(cov), y)
        exact = -stats.multivariate_normal(np.full(10, mean), cov).logpdf(y) + 0.5 * mean**2
        assert objective(theta)[0] == pytest.approx(exact, rel=1e-6)


def test_fit_finds_which_dimensions_matter() -> None:
    """Length scales of dimensions without influence grow beyond those with influence."""
    rows = rows_of(MIXED, 60, 4)
    lengths = gp_fit.fit(MIXED, rows, target(rows)).lengths / MIXED.spread
    assert max(lengths[0], lengths[1]) < min(lengths[2], lengths[3])


def test_fit_is_deterministic_and_tells_noise() -> None:
    """Equal data give equal hyper-parameters; noise is estimated near its true size."""
    domain = gp_kernel.Domain((None,), (0,))
    rows = np.random.default_rng(5).random((120, 1))
    y = np.sin(6 * rows[:, 0]) + 0.3 * np.random.default_rng(6).standard_normal(120)
    y = (y - y.mean()) / y.std()
    first, again = gp_fit.fit(domain, rows, y), gp_fit.fit(domain, rows, y)
    assert first.noise == again.noise
    assert np.array_equal(first.lengths, again.lengths)
    assert first.noise == pytest.approx(0.09 / 0.6, rel=0.5)


def test_posterior_interpolates_and_is_unsure_elsewhere() -> None:
    """At the data the mean is the value and the deviation small; far away the variance returns to the prior's."""
    domain = gp_kernel.Domain((None,), (0,))
    rows = np.array([[0.1], [0.2], [0.3]])
    y = np.array([1.0, -0.5, 0.2])
    posterior = gp.condition(domain, gp_fit.Hyper(np.array([0.1]), 1.0, 1e-7), rows, y)
    mean, variance = posterior.predict(np.vstack([rows, [[1.0]]]))
    np.testing.assert_allclose(mean[:3, 0], y, atol=1e-4)
    np.testing.assert_allclose(posterior.fitted[:, 0], y, atol=1e-4)
    assert variance[:3].max() < 1e-5
    assert variance[3] > 0.99


@pytest.mark.parametrize("worlds", [1, 5])
def test_predictive_gradients_match_finite_differences(worlds: int) -> None:
    """Derivatives of mean and variance by the numeric dimensions are right, with and without fantasies."""
    rows = rows_of(MIXED, 20, 7)
    posterior = gp.condition(MIXED, gp_fit.Hyper(np.array([0.4, 0.9, 0.5, 0.7]), 1.2, 1e-3), rows, target(rows))
    if worlds > 1:
        normals = np.random.default_rng(8).standard_normal((worlds, 3))
        posterior = gp.fantasise(posterior, rows_of(MIXED, 3, 9), target(rows), normals)
    row = np.array([0.37, 1.0, 0.52, 0.81])
    means, variance, by_mean, by_variance = posterior.predict_with_gradient(row)
    all_means, all_variance = posterior.predict(row[None, :])
    np.testing.assert_allclose(means, all_means[0], rtol=1e-9)
    assert variance == pytest.approx(all_variance[0], rel=1e-6)
    for place, d in enumerate((0, 2, 3)):
        step = np.zeros(4)
        step[d] = 1e-5
        (up, down), (upper, lower) = posterior.predict(np.stack([row + step, row - step]))
        np.testing.assert_allclose(by_mean[place], (up - down) / 2e-5, rtol=1e-4, atol=1e-5)
        assert by_variance[place] == pytest.approx((upper - lower) / 2e-5, rel=1e-3, abs=1e-5)


def test_fantasies_shrink_variance_and_keep_the_mean_on_average() -> None:
    """At a pending row the variance falls to nearly nothing, and imagined values average to the former mean."""
    rows = rows_of(MIXED, 15, 10)
    y = target(rows)
    posterior = gp.condition(MIXED, gp_fit.Hyper(np.array([0.4, 0.9, 0.5, 0.7]), 1.0, 1e-6), rows, y)
    pending = rows_of(MIXED, 2, 11)
    before, variance = posterior.predict(pending)
    normals = np.random.default_rng(12).standard_normal((4000, 2))
    means, after = gp.fantasise(posterior, pending, y, normals).predict(pending)
    assert after.max() < 1e-3 * variance.max()
    np.testing.assert_allclose(means.mean(1), before[:, 0], atol=0.05)
    np.testing.assert_allclose(means.var(1), variance, rtol=0.1)


def test_duplicate_rows_do_not_break_the_factorisation() -> None:
    """The same row many times, with differing values, is averaged."""
    domain = gp_kernel.Domain((None, None), (0, 0))
    rows = np.full((30, 2), 0.4)
    y = np.linspace(-1, 1, 30)
    posterior = gp.condition(domain, gp_fit.fit(domain, rows, y), rows, y)
    mean, _ = posterior.predict(rows[:1])
    assert abs(mean[0, 0]) < 0.05


def test_nearest_level_and_snap() -> None:
    """Positions move to the nearest level, ties to the lower; continuous ones are clipped."""
    levels = np.array([0.1, 0.5, 0.9])
    assert gp_kernel.nearest(levels, np.array([-1.0, 0.3, 0.31, 0.9, 2.0])).tolist() == [0, 0, 1, 2, 2]
    assert gp_kernel.nearest(np.array([0.5]), np.array([0.0, 1.0])).tolist() == [0, 0]
    domain = gp_kernel.Domain((levels, None, None), (0, 0, 4))
    assert domain.snap(np.array([[0.72, 1.4, 3.0]])).tolist() == [[0.9, 1.0, 3.0]]
