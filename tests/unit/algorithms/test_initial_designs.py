"""Every algorithm with every type and distribution: its first points follow the declared distribution, or it refuses.

The sample of an algorithm is the first points of many seeds, so that no setting and no design size matters.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kuttab.algorithms import algorithm as algorithms
from kuttab.algorithms import history as histories
from kuttab.algorithms import registry
from kuttab.algorithms import space as spaces
from kuttab.api import space as api
from kuttab.testing.algorithms import parameter

pytestmark = pytest.mark.slow

DISTRIBUTIONS = ["uniform", "logUniform", "normal", "logNormal"]
NAMES = sorted(set(registry.names()) - {"enas", "darts"})  # these take no parameters
SETTINGS = {
    "hyperband": {"resource_name": "epochs", "r_l": "9"},
    "asha": {"resource_name": "epochs"},
    "bohb": {"resource_name": "epochs"},
    "pbt": {"suggestion_trial_dir": "/checkpoints", "n_population": "5", "truncation_threshold": "0.3"},
}
CENTRED = {"cmaes"}
"""Algorithms whose first points gather around the distribution's median instead of following it."""

MIDDLE_FIRST = {"auto", "bayesianoptimization"}
"""Algorithms that try the middle of the space before their design begins."""

SEEDS, FIRST = 48, 5


def sample(name: str, spec: api.ParameterSpec) -> np.ndarray | None:
    """Codes of the parameter in the first points of many seeds; None when the algorithm refuses it, naming the parameter."""
    kind = registry.load(name)
    companion = parameter("companion", "int", min="1", max="1000000")  # keeps points distinct
    space = spaces.from_specs([spec, companion, parameter("epochs", "int", min="1", max="9")])
    values, problems = kind.Settings.parse(SETTINGS.get(name, {}))
    assert values is not None, problems
    out = []
    for seed in range(SEEDS):
        problem = algorithms.Problem(space, seed=seed, settings=values, max_trials=100, parallel=9, name="design")
        refused = kind.check(problem)
        if refused:
            assert all(p.path.startswith("spec.parameters[0]") for p in refused), refused
            return None
        skip = 1 if name in MIDDLE_FIRST else 0
        items = kind(problem).propose(histories.History(space), 0, FIRST + skip).items[skip:]
        assert len(items) == FIRST
        out += [space.codes(item.parameters)[0] for item in items]
    return np.array(out)


def logarithmic(distribution: str) -> bool:
    """Whether it lives on the logarithms."""
    return distribution.startswith("log")


def cumulative(distribution: str, low: float, high: float) -> stats.rv_continuous:
    """The distribution over (low, high), on the logarithms where it lives there; written down without our own code."""
    if logarithmic(distribution):
        low, high = math.log(low), math.log(high)
    if distribution.lower().endswith("normal"):
        return stats.norm((low + high) / 2, (high - low) / 6)
    return stats.uniform(low, high - low)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_doubles(name: str, distribution: str) -> None:
    """A double without step."""
    codes = sample(name, parameter("x", "double", min="0.001", max="10", distribution=distribution))
    if codes is None:
        assert name in ("grid", "pbt")
        return
    values = np.log(codes) if logarithmic(distribution) else codes
    reference = cumulative(distribution, 0.001, 10.0)
    if name in CENTRED:
        assert stats.binomtest(int((values < reference.median()).sum()), len(values)).pvalue > 0.001
    else:
        assert stats.kstest(values, reference.cdf).pvalue > 0.001


def masses(distribution: str, low: float, step: float, count: int) -> np.ndarray:
    """Probabilities of a grid's cells, cut at the midpoints."""
    grid = low + step * np.arange(count)
    edges = np.append(grid - step / 2, grid[-1] + step / 2)
    if logarithmic(distribution):
        edges[0] = max(edges[0], low / 2)
        edges = np.log(edges)
    cells = np.diff(cumulative(distribution, low, grid[-1]).cdf(edges))
    if not distribution.lower().endswith("normal"):
        cells = np.diff(edges)
    return cells / cells.sum()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("kind", "low", "step", "count"), [("int", 1, 1, 9), ("int", 1, 2, 5), ("double", 0.5, 0.25, 7)]
)
def test_grids(name: str, kind: str, low: float, step: float, count: int, distribution: str) -> None:
    """An int, an int with a step and a double with a step."""
    top = low + step * (count - 1)
    spec = parameter("x", kind, min=str(low), max=str(top), step=str(step), distribution=distribution)
    codes = sample(name, spec)
    if codes is None:
        assert distribution != "uniform"
        assert name in ("grid", "pbt")
        return
    observed = np.array([np.isclose(codes, low + step * i).sum() for i in range(count)])
    assert observed.sum() == len(codes)
    expected = masses(distribution, low, step, count) * len(codes)
    if name in CENTRED:
        below = (np.cumsum(expected) - expected / 2)[np.rint((codes - low) / step).astype(int)] / len(codes)
        assert abs(below.mean() - 0.5) < 0.08
        return
    keep = expected > 3
    statistic = ((observed - expected)[keep] ** 2 / expected[keep]).sum()
    assert stats.chi2(keep.sum() - 1).sf(statistic) > 0.001


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["discrete", "categorical"])
def test_lists(name: str, kind: str) -> None:
    """Every entry of a list is as likely."""
    codes = sample(name, parameter("x", kind, choices=["1", "2", "4", "8"]))
    assert codes is not None
    observed = np.bincount(codes.astype(int), minlength=4)
    if name in CENTRED and kind == "discrete":
        assert abs(codes.mean() - 1.5) < 0.2
    else:
        assert stats.chisquare(observed).pvalue > 0.001
