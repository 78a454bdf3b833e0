"""The shipped contract of algorithms, on every algorithm that is registered here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

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


def test_every_algorithm_of_ours_is_under_contract() -> None:
    """No registered algorithm is left out of the files test_algorithms*.py."""
    covered = set()
    for path in sorted(Path(__file__).parent.glob("test_algorithms*.py")):
        spec = importlib.util.spec_from_file_location(f"contracts_of_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        cases = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, AlgorithmContract)]
        covered |= {case.algorithm.name for case in cases if "algorithm" in vars(case)}
    ours = {name for name in registry.names() if registry.load(name).__module__.startswith("kuttab.")}
    assert covered == ours
