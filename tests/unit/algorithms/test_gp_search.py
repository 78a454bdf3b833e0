"""Search for the best row of a mixed space, and the preparation of targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kuttab.algorithms import gp_kernel, gp_propose, gp_search, gp_targets

LEVELS = np.linspace(0.05, 0.95, 10)
MIXED = gp_kernel.Domain((None, LEVELS, None, None), (0, 0, 4, 0))
GOAL = np.array([0.123, LEVELS[7], 2.0, 0.9])


class Peak:
    """A smooth peak at GOAL, with a worse one for every other choice."""

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Scores."""
        numeric = [0, 1, 3]
        return -((rows[:, numeric] - GOAL[numeric]) ** 2).sum(1) - 0.3 * (rows[:, 2] != GOAL[2])

    def gradient(self, row: np.ndarray) -> tuple[float, np.ndarray]:
        """Score and derivative."""
        numeric = [0, 1, 3]
        return float(self.batch(row[None, :])[0]), -2 * (row[numeric] - GOAL[numeric])


def test_maximise_finds_the_peak_of_a_mixed_space() -> None:
    """Continuous dimensions to high accuracy, level and choice exactly."""
    rows, scores = gp_search.maximise(
        MIXED, Peak(), np.empty((0, 4)), np.random.default_rng(0), gp_search.Effort(spread=64)
    )
    np.testing.assert_allclose(rows[0], GOAL, atol=1e-4)
    assert (np.diff(scores) <= 0).all()
    np.testing.assert_allclose(Peak().batch(rows), scores, atol=1e-12)


def test_maximise_repeats_itself() -> None:
    """Equal generators give equal answers."""
    runs = [
        gp_search.maximise(MIXED, Peak(), GOAL[None, :], np.random.default_rng(3), gp_search.Effort(spread=32))
        for _ in "ab"
    ]
    assert np.array_equal(runs[0][0], runs[1][0])


@pytest.mark.parametrize("kind", ["scatter", "perturb"])
def test_candidates_stay_in_the_space(kind: str) -> None:
    """Levels are levels, choices are choices, continuous values lie in the unit interval."""
    generator = np.random.default_rng(1)
    rows = gp_search.scatter(MIXED, generator, 500)
    if kind == "perturb":
        rows = gp_search.perturb(MIXED, generator, rows[:7], 500)
    assert np.isin(rows[:, 1], LEVELS).all()
    assert set(rows[:, 2]) == {0.0, 1.0, 2.0, 3.0}
    assert rows.min() >= 0
    assert rows[:, [0, 3]].max() <= 1


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e308, 1e308)))
def test_warping_any_finite_values(y: np.ndarray) -> None:
    """Targets are finite and never reverse the order, whatever the values."""
    for mode in ("power", "none", "half"):
        z = gp_targets.warp(y, mode)
        assert np.isfinite(z).all()
        assert (np.diff(z[np.argsort(y, kind="stable")]) >= -1e-9).all()


def test_one_diverged_run_does_not_hide_the_others() -> None:
    """With a value of 1e12 among values near 1, the others keep their differences."""
    y = np.concatenate([np.linspace(1, 2, 20), [1e12]])
    z = gp_targets.warp(y)
    assert z[19] - z[0] > 0.5


def test_power_transform_removes_skew() -> None:
    """Log-normal values become nearly symmetric."""
    y = np.exp(np.random.default_rng(0).standard_normal(300))
    z = gp_targets.warp(y)
    assert abs(float((z**3).mean())) < 0.3


def test_keep_takes_the_best_and_the_latest() -> None:
    """Of many rows the best and the latest stay, without repeats and in order."""
    y = np.random.default_rng(2).random(1000)
    kept = gp_propose.keep(y, 100, np.random.default_rng(0))
    assert len(kept) == len(set(kept.tolist())) == 100
    assert (np.diff(kept) > 0).all()
    assert set(np.argsort(y)[:50].tolist()) <= set(kept.tolist())
    assert set(range(975, 1000)) <= set(kept.tolist())
    assert gp_propose.keep(y[:50], 100, np.random.default_rng(0)).tolist() == list(range(50))
