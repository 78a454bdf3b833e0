"""Histories as no orderly search makes them: every algorithm answers with points of the space."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from kuttab.algorithms import algorithm as algorithms
from kuttab.algorithms import history as histories
from kuttab.algorithms import registry
from kuttab.algorithms import space as spaces
from kuttab.api.history import TrialState
from kuttab.testing.algorithms import MIXED, parameter

EPOCHS = parameter("epochs", "int", min="1", max="9")
SETTINGS = {
    "asha": {"resource_name": "epochs"},
    "bohb": {"resource_name": "epochs", "n_startup_trials": "2"},
    "hyperband": {"resource_name": "epochs", "r_l": "9"},
    "pbt": {"suggestion_trial_dir": "/checkpoints", "n_population": "5", "truncation_threshold": "0.3"},
    "tpe": {"n_startup_trials": "2"},
    "multivariate-tpe": {"n_startup_trials": "2"},
    "bayesianoptimization": {"n_initial_points": "2"},
    "auto": {"n_initial_points": "2"},
}
NAMES = sorted({*SETTINGS, "cmaes", "de", "grid", "nsga2", "random", "sobol"})


def specs(name: str) -> list[object]:
    """A space that the algorithm takes."""
    if name == "grid":
        return [parameter("n", "int", min="1", max="40"), parameter("c", "categorical", choices=["a", "b"])]
    return [EPOCHS, *MIXED] if "resource_name" in SETTINGS.get(name, {}) else [*MIXED]


@pytest.mark.parametrize("name", NAMES)
def test_gaps_copies_and_nan_are_no_crash(name: str) -> None:
    """Missing numbers, the same point several times, NaN, huge and pending trials, a question in the middle: points all the same."""
    space = spaces.from_specs(specs(name))  # type: ignore[arg-type]
    kind = registry.load(name)
    given, problems = kind.Settings.parse(SETTINGS.get(name, {}))
    assert given is not None, problems
    problem = algorithms.Problem(space, seed=2, settings=given, max_trials=40, parallel=9)
    assert kind.check(problem) == []
    a, b, c = (space.point(codes) for codes in space.sample(np.random.default_rng(3), 3))
    log = histories.History(space)
    for number, point, state, values in (
        (0, a, TrialState.SUCCEEDED, (1.0,)),
        (2, b, TrialState.SUCCEEDED, (0.5,)),
        (3, b, TrialState.SUCCEEDED, (0.7,)),
        (7, b, TrialState.FAILED, ()),
        (9, c, TrialState.SUCCEEDED, (math.nan,)),
        (11, c, TrialState.SUCCEEDED, (1e308,)),
        (12, a, TrialState.RUNNING, ()),
    ):
        log.put(histories.Trial(number, point, state, values))
    free = kind.free(problem)
    for first, count in ((4, 2), (13, 3), (30, 2)):
        reply = kind(problem).propose(log, first, count)
        assert len(reply.items) == count or reply.wait or reply.exhausted
        for item in reply.items:
            assert space.contains(space.codes(item.parameters), free)


@pytest.mark.parametrize(
    "more",
    [
        [],
        [parameter("c", "categorical", choices=["a", "b"])],
        [parameter("n", "int", min="0", max="60")],
        [parameter("n", "int", min="0", max="6"), parameter("m", "int", min="0", max="6")],
    ],
)
@pytest.mark.parametrize("sigma", ["1e-214", "1e-12", "10"])
@pytest.mark.parametrize("width", ["0", "1e-9"])
def test_the_step_of_an_evolution_strategy_may_be_any(width: str, sigma: str, more: list[Any]) -> None:
    """Steps that vanish in rounding are no warnings and no NaN, whatever is told in them."""
    space = spaces.from_specs([parameter("x", "double", min="0", max=width), *more])
    kind = registry.load("cmaes")
    given, problems = kind.Settings.parse({"sigma": sigma})
    assert given is not None, problems
    log = histories.History(space)
    problem = algorithms.Problem(space, seed=0, settings=given, max_trials=60)
    for number in range(0, 60, 3):
        for offset, item in enumerate(kind(problem).propose(log, number, 3).items):
            assert space.contains(space.codes(item.parameters))
            log.put(histories.Trial(number + offset, item.parameters, TrialState.SUCCEEDED, (0.5,)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "name",
    sorted({"cmaes", "de", "grid", "nsga2", "random", "sobol", *SETTINGS} - {"asha", "bohb", "hyperband", "pbt"}),
)
def test_constants_do_not_hide_what_was_seen(name: str, seed: int) -> None:
    """A choice of one and a number of one value beside a real parameter: every point once, then the end."""
    space = spaces.from_specs(
        [
            parameter("only", "categorical", choices=["x"]),
            parameter("one", "int", min="7", max="7"),
            parameter("n", "int", min="0", max="3"),
        ]
    )
    kind = registry.load(name)
    given, problems = kind.Settings.parse(SETTINGS.get(name, {}))
    assert given is not None, problems
    problem = algorithms.Problem(space, seed=seed, settings=given, max_trials=9)
    assert kind.check(problem) == []
    log = histories.History(space)
    points = []
    for number in (0, 3):
        reply = kind(problem).propose(log, number, 3)
        for offset, item in enumerate(reply.items):
            points.append(item.parameters)
            log.put(histories.Trial(number + offset, item.parameters, TrialState.SUCCEEDED, (0.5,)))
    assert sorted(points) == [("x", 7, n) for n in range(4)]
    assert reply.exhausted
