"""The shipped contract of algorithms, on those with a surrogate or a population.

A Gaussian process costs some 20 ms a trial, so its searches are short here: a design of four, then the model.
"""

from __future__ import annotations

from typing import ClassVar

from kuttab.algorithms import registry
from kuttab.testing.algorithms import AlgorithmContract, parameter


class TestBayesianOptimization(AlgorithmContract):
    """bayesianoptimization."""

    algorithm = registry.load("bayesianoptimization")
    settings: ClassVar = {"n_initial_points": "4"}
    trials = 12
    parallel = 3


class TestCmaEs(AlgorithmContract):
    """cmaes."""

    algorithm = registry.load("cmaes")
    small = (parameter("a", "int", min="1", max="4"), parameter("b", "int", min="1", max="2"))


class TestDe(AlgorithmContract):
    """de."""

    algorithm = registry.load("de")


class TestNsga2(AlgorithmContract):
    """nsga2."""

    algorithm = registry.load("nsga2")


class TestAuto(AlgorithmContract):
    """auto."""

    algorithm = registry.load("auto")
    settings: ClassVar = {"n_initial_points": "4"}
    trials = 12
    parallel = 3
