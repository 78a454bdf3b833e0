"""Acquisition functions: values where they can be checked, order where they cannot, and derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kuttab.algorithms import gp_acquire

FUNCTIONS = [gp_acquire.log_ei, gp_acquire.log_pi, gp_acquire.ConfidenceBound(1.5)]


def test_log_ei_is_the_logarithm_of_expected_improvement() -> None:
    """Where the plain formula is accurate, both agree."""
    mean, deviation, best = np.array([-1.0, 0.0, 0.5, 2.0]), np.array([0.5, 1.0, 2.0, 0.7]), np.array(0.3)
    z = (best - mean) / deviation
    plain = deviation * (stats.norm.pdf(z) + z * stats.norm.cdf(z))
    np.testing.assert_allclose(gp_acquire.log_ei(mean, deviation, best)[0], np.log(plain), rtol=1e-10)


def test_log_h_stays_finite_smooth_and_rising() -> None:
    """No jump where the branches meet and no underflow at a hundred million deviations below."""
    z = np.concatenate([-np.logspace(8, 0, 400), np.linspace(-0.99, 30, 100)])
    h = gp_acquire.log_h(z)
    assert np.isfinite(h).all()
    assert (np.diff(h) > 0).all()
    for border in (-1.0, -1e6):
        low, high = gp_acquire.log_h(np.array([border * (1 + 1e-9), border * (1 - 1e-9)]))
        assert high == pytest.approx(low, rel=1e-6)


def test_log_h_deep_in_the_tail_follows_its_expansion() -> None:
    """phi(z) + z Phi(z) tends to phi(z) / z^2."""
    z = np.array([-60.0, -1e3, -1e5])
    expected = stats.norm.logpdf(z) - 2 * np.log(-z)
    np.testing.assert_allclose(gp_acquire.log_h(z), expected, rtol=1e-3)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_derivatives_match_finite_differences(function: gp_acquire.Acquisition) -> None:
    """Derivatives by mean and deviation are right near and far below the incumbent."""
    mean, deviation, best = np.array([0.3, 5.0, 1.0, -2.0]), np.array([0.2, 0.3, 2.0, 0.5]), np.array(0.0)
    _, by_mean, by_deviation = function(mean, deviation, best)
    e = 1e-6
    np.testing.assert_allclose(
        by_mean, (function(mean + e, deviation, best)[0] - function(mean - e, deviation, best)[0]) / 2e-6, rtol=1e-5
    )
    np.testing.assert_allclose(
        by_deviation,
        (function(mean, deviation + e, best)[0] - function(mean, deviation - e, best)[0]) / 2e-6,
        rtol=1e-5,
        atol=1e-8,
    )


def test_average_over_worlds() -> None:
    """On a log scale it is the log of the mean, and the shares are each world's part of the derivative."""
    values = np.array([[0.0, np.log(3.0)], [-1000.0, -1000.0]])
    mean, share = gp_acquire.average(values, log_scale=True)
    np.testing.assert_allclose(mean, [np.log(2.0), -1000.0])
    np.testing.assert_allclose(share, [[0.25, 0.75], [0.5, 0.5]])
    mean, share = gp_acquire.average(np.array([[1.0, 3.0]]), log_scale=False)
    assert mean[0] == 2.0
    assert share.tolist() == [[0.5, 0.5]]
