"""The ENAS controller: probabilities that add up, gradients that equal differences, learning that learns."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from kuttab.algorithms import enas_controller as controller

SHAPES = [
    controller.Shape(3, 4, 5, temperature=5.0, tanh_const=2.25, skip_target=0.4),
    controller.Shape(4, 3, 4),
    controller.Shape(3, 2, 3, temperature=0.5),
    controller.Shape(2, 3, 4, tanh_const=1.5, skip_target=1.0),
    controller.Shape(1, 5, 3, temperature=2.0, tanh_const=1.0),
]


def everything(shape: controller.Shape) -> tuple[controller.Ints, controller.Floats]:
    """Every architecture of a small shape."""
    pairs = [(i, k) for i in range(shape.layers) for k in range(i)]
    rows = list(
        itertools.product(
            itertools.product(range(shape.operations), repeat=shape.layers),
            itertools.product((0, 1), repeat=len(pairs)),
        )
    )
    operations = np.array([row[0] for row in rows], dtype=np.int64)
    bits = np.zeros((len(rows), shape.layers, shape.layers))
    for row, (_, chosen) in enumerate(rows):
        for (i, k), bit in zip(pairs, chosen, strict=True):
            bits[row, i, k] = bit
    return operations, bits


@pytest.mark.parametrize("shape", SHAPES)
def test_the_probabilities_of_all_architectures_add_up_to_one(shape: controller.Shape) -> None:
    """The log probabilities are those of a distribution over architectures."""
    weights = controller.initial(shape, np.random.default_rng(1))
    weights = {name: weight * 10 for name, weight in weights.items()}  # far from uniform
    trace = controller.score(shape, weights, *everything(shape))
    assert np.exp(trace.log_probability).sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_equal_central_differences(shape: controller.Shape) -> None:
    """Every weight's derivative agrees with a difference quotient, for all parts of the loss together."""
    generator = np.random.default_rng(2)
    weights = {name: weight * 8 for name, weight in controller.initial(shape, generator).items()}
    drawn = controller.sample(shape, weights, generator, 3)
    costs = controller.Costs(np.array([1.3, -0.7, 0.4]), entropy_weight=0.3, skip_weight=0.8)
    trace = controller.score(shape, weights, drawn.operations, drawn.bits)
    slopes = controller.gradient(shape, weights, trace, costs)

    def at(name: str, index: tuple[int, ...], delta: float) -> float:
        moved = {key: value.copy() for key, value in weights.items()}
        moved[name][index] += delta
        return controller.loss(controller.score(shape, moved, drawn.operations, drawn.bits), costs)

    for name, slope in slopes.items():
        for flat in generator.permutation(slope.size)[:12]:
            index = np.unravel_index(flat, slope.shape)
            quotient = (at(name, index, 1e-5) - at(name, index, -1e-5)) / 2e-5
            assert slope[index] == pytest.approx(quotient, rel=1e-5, abs=1e-9), (name, index)


def test_samples_follow_the_probabilities() -> None:
    """Architectures are drawn as often as the controller says (chi-square at 1e-4)."""
    shape = controller.Shape(2, 3, 4)
    weights = {name: weight * 10 for name, weight in controller.initial(shape, np.random.default_rng(3)).items()}
    operations, bits = everything(shape)
    expected = np.exp(controller.score(shape, weights, operations, bits).log_probability)
    drawn = controller.sample(shape, weights, np.random.default_rng(4), 20_000)
    keys = {(*o.tolist(), int(b[1, 0])): n for n, (o, b) in enumerate(zip(operations, bits, strict=True))}
    counts = np.zeros(len(keys))
    for o, b in zip(drawn.operations, drawn.bits, strict=True):
        counts[keys[(*o.tolist(), int(b[1, 0]))]] += 1
    statistic = ((counts - 20_000 * expected) ** 2 / (20_000 * expected)).sum()
    assert len(keys) - 1 == 17
    assert statistic < 46.0  # 1 - 1e-4 quantile of chi-square with 17 degrees


def test_sampling_and_scoring_agree() -> None:
    """A drawn architecture has the same probability, entropy and divergence when it is given."""
    shape = SHAPES[0]
    weights = controller.initial(shape, np.random.default_rng(5))
    drawn = controller.sample(shape, weights, np.random.default_rng(6), 4)
    given = controller.score(shape, weights, drawn.operations, drawn.bits)
    for name in ("log_probability", "entropy", "divergence"):
        np.testing.assert_allclose(getattr(drawn, name), getattr(given, name), rtol=1e-12)
    assert (drawn.bits == np.tril(drawn.bits.reshape(-1, 3, 3), -1)).all()


def test_policy_gradient_finds_the_rewarded_operation() -> None:
    """Rewarding one operation in every layer makes the controller choose it."""
    shape = controller.Shape(3, 4, 16)
    generator = np.random.default_rng(7)
    weights = controller.initial(shape, generator)
    adam = controller.Adam(0.01)
    for _ in range(120):
        drawn = controller.sample(shape, weights, generator, 16)
        reward = (drawn.operations == 2).mean(axis=1)
        slopes = controller.gradient(shape, weights, drawn, controller.Costs(reward - reward.mean()))
        weights = adam.step(weights, slopes)
    share = (controller.sample(shape, weights, generator, 500).operations == 2).mean()
    assert share > 0.8


def test_the_skip_penalty_pulls_to_its_target() -> None:
    """With nothing but the divergence to lose, skip connections become as frequent as the target."""
    shape = controller.Shape(5, 2, 8, skip_target=0.15)
    generator = np.random.default_rng(8)
    weights = controller.initial(shape, generator)
    adam = controller.Adam(0.02)
    for _ in range(200):
        drawn = controller.sample(shape, weights, generator, 4)
        weights = adam.step(
            weights, controller.gradient(shape, weights, drawn, controller.Costs(np.zeros(4), skip_weight=1.0))
        )
    drawn = controller.sample(shape, weights, generator, 500)
    assert drawn.bits.sum() / (500 * 10) == pytest.approx(0.15, abs=0.02)


def test_extreme_weights_stay_finite() -> None:
    """Saturated probabilities give finite logarithms and gradients."""
    shape = controller.Shape(3, 3, 4)
    weights = {name: weight * 1e4 for name, weight in controller.initial(shape, np.random.default_rng(9)).items()}
    operations, bits = everything(shape)
    trace = controller.score(shape, weights, operations, bits)
    costs = controller.Costs(np.ones(len(operations)), 0.1, 0.8)
    assert math.isfinite(controller.loss(trace, costs))
    assert all(np.isfinite(slope).all() for slope in controller.gradient(shape, weights, trace, costs).values())
