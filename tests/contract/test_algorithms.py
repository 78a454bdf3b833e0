"""The shipped contract of algorithms, on every algorithm that is registered here."""

from __future__ import annotations

from kuttab.algorithms import registry
from kuttab.testing.algorithms import AlgorithmContract, parameter

COUNTABLE = [
    parameter("layers", "int", min="1", max="12"),
    parameter("width", "discrete", choices=["16", "32", "64", "128"]),
    parameter("kind", "categorical", choices=["relu", "tanh", "gelu"]),
    parameter("drop", "double", min="0", max="0.5", step="0.05"),
]


class TestRandom(AlgorithmContract):
    """random."""

    algorithm = registry.load("random")
    trials = 100


class TestGrid(AlgorithmContract):
    """grid."""

    algorithm = registry.load("grid")
    specs = COUNTABLE
    trials = 100


class TestSobol(AlgorithmContract):
    """sobol."""

    algorithm = registry.load("sobol")
    trials = 100


class TestTpe(AlgorithmContract):
    """tpe."""

    algorithm = registry.load("tpe")
    trials = 100


class TestMultivariateTpe(AlgorithmContract):
    """multivariate-tpe."""

    algorithm = registry.load("multivariate-tpe")
    trials = 100
