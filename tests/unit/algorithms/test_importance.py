"""Which parameter matters: analysis of variance over a forest, on functions whose answer is known."""

from __future__ import annotations

import numpy as np

from kuttab.algorithms import importance


def additive(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """4a + 2b + c + f(category) + 0d over the unit cube; the variances are 16/12, 4/12, 1/12, var f and 0."""
    generator = np.random.default_rng(seed)
    units = generator.random((count, 5))
    codes = units.copy()
    codes[:, 3] = np.floor(units[:, 3] * 3)
    effect = np.array([0.0, 1.5, 0.2])[codes[:, 3].astype(int)]
    return units, codes, 4 * units[:, 0] + 2 * units[:, 1] + units[:, 2] + effect


def test_an_additive_function_is_taken_apart_rightly() -> None:
    """Shares sum to 1, rank as the known variances and come near them, categories included."""
    units, codes, y = additive(300)
    found = importance.of_forest(units, codes, y, {3: 3}, seed=1)
    assert found is not None
    variances = np.array([16 / 12, 4 / 12, 1 / 12, np.var([0.0, 1.5, 0.2]), 0.0])
    assert sum(found.shares) == 1.0 or abs(sum(found.shares) - 1) < 1e-12
    assert np.argsort(found.shares).tolist() == np.argsort(variances).tolist()
    assert np.abs(np.array(found.shares) - variances / variances.sum()).max() < 0.1
    assert found.alone > 0.85


def test_the_same_seed_gives_the_same_shares() -> None:
    """The answer depends on data and seed alone."""
    units, codes, y = additive(60)
    first, again, other = (importance.of_forest(units, codes, y, {3: 3}, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_the_scale_of_the_objective_does_not_matter() -> None:
    """Multiplying the objective changes nothing, up to the greatest numbers there are."""
    units, codes, y = additive(60)
    plain, huge = (importance.of_forest(units, codes, values, {3: 3}) for values in (y - 4, (y - 4) * 2.0**1020))
    assert plain is not None
    assert plain == huge


def test_effects_of_two_together_belong_to_neither_alone() -> None:
    """For an exclusive or, the parameters explain next to nothing alone."""
    generator = np.random.default_rng(3)
    units = generator.random((400, 2))
    y = ((units[:, 0] < 0.5) ^ (units[:, 1] < 0.5)).astype(float)
    found = importance.of_forest(units, units, y, {})
    assert found is not None
    assert found.alone < 0.2


def test_nothing_to_explain_gives_none() -> None:
    """No points, too few, no columns or a constant objective: there is no importance."""
    units = np.random.default_rng(0).random((10, 2))
    assert importance.of_forest(units, units, np.ones(10), {}) is None
    assert importance.of_forest(units[:3], units[:3], np.arange(3.0), {}) is None
    assert importance.of_forest(units[:0], units[:0], np.empty(0), {}) is None
    assert importance.of_forest(np.empty((10, 0)), np.empty((10, 0)), np.arange(10.0), {}) is None
