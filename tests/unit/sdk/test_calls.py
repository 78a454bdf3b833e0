"""The user's function as trials call it, and the plan of a run."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
import types
from typing import Any

import pytest

from kuttab import search
from kuttab.api import meta
from kuttab.base import errors
from kuttab.sdk import calls, plans

SPACE = {
    "x": search.double(0, 1), "k": search.int(1, 9), "d": search.discrete([1, 0.5]), "c": search.categorical([None, (1, 2)]),
    "b": search.boolean(),
}  # fmt: skip
TEXTS = {"x": "1e-05", "k": "7", "d": "0.5", "c": "(1, 2)", "b": "true"}


def plan(**more: Any) -> plans.Plan:
    """A plan with defaults."""
    given: dict[str, Any] = {
        "space": SPACE, "objective_metric": "loss", "direction": "minimize", "goal": None, "algorithm": "tpe", "settings": {},
        "early_stopping": None, "max_trials": 5, "max_failed": None, "parallel": 2, "timeout": None, "trial_timeout": None, "seed": 3,
        "retry": plans.DEFAULT_RETRY, "executor": "process", "reproducible": False,
    }  # fmt: skip
    return plans.Plan(**{**given, **more})


def test_parameters_are_typed() -> None:
    """Text becomes the Python values that the space lists, by name and as attributes."""
    seen: list[calls.Parameters] = []

    def function(p: calls.Parameters) -> float:
        seen.append(p)
        return 1.5

    assert calls.Call(function, plan().readers(), "loss")(TEXTS) == {"loss": 1.5}
    assert seen[0] == {"x": 1e-5, "k": 7, "d": 0.5, "c": (1, 2), "b": True}
    assert (type(seen[0].k), seen[0].c) == (int, (1, 2))
    with pytest.raises(AttributeError, match="no parameter 'y'; there are x, k"):
        _ = seen[0].y


@pytest.mark.parametrize(
    ("returned", "metrics"),
    [(1, {"loss": 1}), (None, {}), ({"loss": 2, "n": 3}, {"loss": 2, "n": 3})],
)
def test_results(returned: Any, metrics: dict[str, Any]) -> None:
    """A number is the objective, a dict is all metrics, None is nothing."""
    assert calls.Call(lambda p: returned, {}, "loss")({}) == metrics


@pytest.mark.parametrize("returned", ["abc", [1], (1, 2), {1: 2}])
def test_bad_results(returned: Any) -> None:
    """Anything else is refused in one line."""
    with pytest.raises(errors.BadInputError, match="the function returned"):
        calls.Call(lambda p: returned, {}, "loss")({})


def test_signatures() -> None:
    """One argument is enough and needed; partials, builtins and objects with __call__ count."""
    for good in (lambda p: 1, lambda p, q=1: 1, lambda *p: 1, functools.partial(max, 1), abs, types.SimpleNamespace):
        calls.check(good)

    async def later(p: Any) -> float:
        return 1.0

    for bad, message in (
        (lambda: 1, "cannot be called"),
        (lambda *, p: 1, "cannot be called"),
        (later, "async"),
        (3, "function"),
    ):
        with pytest.raises(errors.BadInputError, match=message):
            calls.check(bad)


def test_functions_of_unknown_modules_travel_by_value() -> None:
    """A function of a module that another process could not import, such as this test's, goes along with its code."""
    module = types.ModuleType("nowhere")
    exec("def double(p):\n    return 2 * p['x']\n", module.__dict__)
    sys.modules["nowhere"] = module
    try:
        code = calls.pickled(calls.Call(module.double, {"x": "float"}, "loss"))
    finally:
        del sys.modules["nowhere"]
    words = "import pickle, sys; print(pickle.load(sys.stdin.buffer)({'x': '4'}))"
    done = subprocess.run([sys.executable, "-c", words], input=code, capture_output=True, check=True)
    assert done.stdout.strip() == b"{'loss': 8.0}"


def test_call_loads_nothing_heavy() -> None:
    """A worker that unpickles a call loads no types and no numbers."""
    code = pickle.dumps(calls.Call(abs, {}, "loss"))
    words = "import pickle, sys; pickle.load(sys.stdin.buffer); print([n for n in ('pydantic', 'numpy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", words], input=code, capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_experiment_of_a_plan() -> None:
    """Every argument lands in the field that means it."""
    made = plan(
        settings={"n_startup": 3, "flag": True}, early_stopping={"name": "median", "start_step": 2}, trial_timeout=2, max_failed=4,
        retry={"infrastructure": 2, "oom": 0}, reproducible=True, goal=0.5,
    ).experiment("mine", "mine")  # fmt: skip
    spec = meta.dump(made)["spec"]
    assert spec["algorithm"]["algorithmSettings"] == [
        {"name": "n_startup", "value": "3"}, {"name": "flag", "value": "true"}, {"name": "random_state", "value": "3"},
    ]  # fmt: skip
    assert spec["earlyStopping"] == {
        "algorithmName": "medianstop", "algorithmSettings": [{"name": "start_step", "value": "2"}],
    }  # fmt: skip
    assert spec["trialTemplate"]["trialSpec"]["spec"] == {
        "function": "mine", "executor": "process", "timeoutSeconds": 2.0, "retries": {"Infrastructure": 2},
    }  # fmt: skip
    assert (spec["reproducible"], spec["maxFailedTrialCount"], spec["objective"]["goal"]) == (True, 4, 0.5)
    assert "askAhead" not in spec
    assert plan(algorithm="random").experiment("a", "a").spec.ask_ahead == plans.AHEAD


def test_default_names() -> None:
    """A made-up name is the function's, as a name of an object."""
    assert plans.default_name(lambda p: 1, "x") == "lambda-x"

    def _My_Objective2(p: Any) -> float:
        return 1.0

    assert plans.default_name(_My_Objective2, "x") == "my-objective2-x"
