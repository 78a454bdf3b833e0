"""Ask and tell, and search spaces in Python."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from kuttab.base import errors
from kuttab.sdk import optimizer, search

SPACE = {
    "rate": search.double(1e-4, 0.1, log=True),
    "layers": search.int(1, 8),
    "width": search.discrete([16, 32, 64.5]),
    "kind": search.categorical([None, 3, "3x", ("a", 1)]),
    "bias": search.boolean(),
    "drop": search.double(0, 0.5, step=0.1),
}


def test_further_objectives_are_named_by_direction() -> None:
    """The setting of manifests has no place beside the mapping of directions."""
    with pytest.raises(errors.BadInputError, match="here direction names them"):
        optimizer.Optimizer({"x": search.double(0, 1)}, algorithm="nsga2", additional_objectives="size:minimize")


def test_parameters_keep_their_python_types() -> None:
    """A float is a float, an int an int, a boolean a bool, and listed values are the very values listed."""
    seen: dict[str, set[Any]] = {name: set() for name in SPACE}
    for trial in optimizer.Optimizer(SPACE, algorithm="random").ask(60):
        for name, value in trial.parameters.items():
            seen[name].add(value)
    assert {type(v) for v in seen["rate"]} == {float}
    assert {type(v) for v in seen["layers"]} == {int}
    assert {type(v) for v in seen["bias"]} == {bool}
    assert seen["width"] == {16, 32, 64.5}
    assert {type(v) for v in seen["width"]} == {int, float}
    assert seen["kind"] == {None, 3, "3x", ("a", 1)}
    assert seen["drop"] <= {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}


def test_values_whose_text_is_the_same_stay_apart() -> None:
    """1 and "1" are two choices."""
    dimension = search.categorical([1, "1"])
    assert [dimension.read(text) for text in dimension.texts] == [1, "1"]
    assert [type(dimension.read(dimension.write(value))) for value in (1, "1")] == [int, str]
    assert search.boolean().write(True) == "true"


def test_a_search_finds_and_reports_the_best() -> None:
    """``best`` is the best by direction, the earliest of equals; ``trials`` holds everything by number."""
    opt = optimizer.Optimizer({"n": search.int(1, 20)}, direction="maximize", algorithm="random", seed=3)
    assert opt.best is None
    for trial in opt.ask(12):
        opt.tell(trial, float(trial.parameters["n"] // 2))
    top = max(trial.values["objective"] for trial in opt.trials)
    assert opt.best is not None
    assert opt.best.value == top
    assert opt.best.number == min(t.number for t in opt.trials if t.value == top)
    assert [t.number for t in opt.trials] == list(range(12))


def test_same_seed_same_trials() -> None:
    """Two optimizers with one seed give the same trials when told the same; another seed gives others."""

    def run(seed: int) -> list[dict[str, Any]]:
        opt = optimizer.Optimizer(SPACE, algorithm="multivariate-tpe", seed=seed)
        for _ in range(8):
            for trial in opt.ask(3):
                opt.tell(trial, trial.parameters["rate"] * trial.parameters["layers"])
        return [trial.parameters for trial in opt.trials]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_an_exhausted_space_says_so() -> None:
    """After the last point ``ask`` gives nothing and ``exhausted`` is true."""
    opt = optimizer.Optimizer({"n": search.int(1, 3)}, algorithm="tpe")
    assert [len(opt.ask(2)), len(opt.ask(2)), len(opt.ask(2))] == [2, 1, 0]
    assert opt.exhausted


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"value": 1.0}, "succeeded"),
        ({"value": math.nan}, "succeeded"),
        ({"state": "failed", "reason": "oom"}, "failed"),
        ({"state": "failed", "reason": "DeadlineExceeded"}, "failed"),
        ({"state": "failed"}, "failed"),
        ({"state": "killed"}, "killed"),
        ({"state": "early_stopped", "value": 2.0}, "early_stopped"),
    ],
)
def test_every_end_of_a_trial_can_be_told(told: dict[str, Any], state: str) -> None:
    """Values, NaN, failures with a reason in either spelling, kills and early stops are taken; the search goes on."""
    opt = optimizer.Optimizer(SPACE, algorithm="tpe")
    trial = opt.tell(opt.ask()[0], **told)
    assert trial.state == state
    assert opt.trials[0] == trial or math.isnan(trial.values["objective"])
    assert len(opt.ask(3)) == 3


def test_telling_again_corrects() -> None:
    """The last word counts."""
    opt = optimizer.Optimizer(SPACE, algorithm="random")
    (trial,) = opt.ask()
    opt.tell(trial, 1.0)
    opt.tell(trial.number, {"objective": 2.0})
    assert opt.trials[0].value == 2.0


def test_results_from_elsewhere_can_be_added() -> None:
    """``add`` takes a point as Python values and counts as a finished trial; foreign points are refused."""
    opt = optimizer.Optimizer(SPACE, algorithm="tpe")
    point = {"rate": 0.01, "layers": 2, "width": 64.5, "kind": None, "bias": True, "drop": 0.3}
    assert opt.add(point, 0.25).parameters == point
    assert opt.best is not None
    assert opt.best.parameters == point
    for wrong in (
        {"layers": 9},
        {"layers": 1.5},
        {"bias": 1},
        {"kind": "x"},
        {"rate": "big"},
        {"more": 1},
        {"drop": 0.33},
    ):
        with pytest.raises(errors.BadInputError):
            opt.add({**point, **wrong}, 0.1)


def test_intermediate_values_are_kept() -> None:
    """``report`` appends to the trial's curve and leaves it pending."""
    opt = optimizer.Optimizer(SPACE, algorithm="random")
    (trial,) = opt.ask()
    opt.report(trial, 1, 0.5)
    opt.report(trial, 2, 0.25)
    assert opt.trials[0].state == "pending"
    assert opt.tell(trial, 0.25).state == "succeeded"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: optimizer.Optimizer({"x": (0, 1)}, algorithm="random"), "search.double"),  # type: ignore[dict-item]
        (lambda: optimizer.Optimizer({}, algorithm="random"), "at least one parameter"),
        (lambda: optimizer.Optimizer(SPACE, direction="up", algorithm="random"), "minimize or maximize"),
        (lambda: optimizer.Optimizer(SPACE, direction={}, algorithm="random"), "at least one objective"),
        (
            lambda: optimizer.Optimizer(SPACE, direction={"a": "minimize", "b": "minimize"}, algorithm="tpe"),
            "takes 1 objective",
        ),
        (lambda: optimizer.Optimizer(SPACE, algorithm="radnom"), "did you mean random"),
        (lambda: optimizer.Optimizer(SPACE, algorithm="tpe", gamma=2), "must be > 0 and < 1"),
        (lambda: optimizer.Optimizer(SPACE, algorithm="grid"), "step"),
        (lambda: optimizer.Optimizer(SPACE, algorithm="random").ask(0), "at least one"),
        (lambda: optimizer.Optimizer(SPACE, algorithm="random").tell(5, 1.0), "no trial number 5"),
        (lambda: optimizer.Optimizer(SPACE, algorithm="random").report(5, 1, 1.0), "no trial number 5"),
        (lambda: search.double(1, 0), "greater than high"),
        (lambda: search.double(0, 1, log=True), "greater than 0"),
        (lambda: search.double(0, math.inf), "finite"),
        (lambda: search.double(0, 1, step=0), "step must be greater than 0"),
        (lambda: search.int(0, 1.5), "whole numbers"),  # type: ignore[arg-type]
        (lambda: search.int(0, True), "whole numbers"),
        (lambda: search.discrete([]), "at least one value"),
        (lambda: search.discrete(["a"]), "categorical"),  # type: ignore[list-item]
        (lambda: search.discrete([1, 1]), "listed twice"),
        (lambda: search.categorical(["a", "a"]), "listed twice"),
    ],
)
def test_mistakes_are_answered_with_what_to_change(make: Any, words: str) -> None:
    """Every mistake is a BadInputError that says what was expected."""
    with pytest.raises(errors.KuttabError, match=words):
        make()


def test_a_told_state_reason_or_metric_must_exist() -> None:
    """Unknown words are refused and change nothing."""
    opt = optimizer.Optimizer(SPACE, algorithm="random")
    (trial,) = opt.ask()
    for told in ({"state": "done"}, {"state": "failed", "reason": "bad luck"}, {}, {"value": None}):
        with pytest.raises(errors.BadInputError):
            opt.tell(trial, **told)  # type: ignore[arg-type]
    assert opt.trials[0].state == "pending"


def test_dimensions_become_parameters_of_a_manifest() -> None:
    """Bounds, step, distribution and list arrive in the manifest's words; what was not said is not written."""
    spec = search.int(1, 64, log=True).spec("n").model_dump(by_alias=True, exclude_unset=True)
    assert spec == {
        "name": "n",
        "parameterType": "int",
        "feasibleSpace": {"min": "1", "max": "64", "distribution": "logUniform"},
    }
    spec = search.boolean().spec("b").model_dump(by_alias=True, exclude_unset=True)
    assert spec == {"name": "b", "parameterType": "categorical", "feasibleSpace": {"list": ["false", "true"]}}
    assert search.double(1, 2, log=True, normal=True).spec("x").feasible_space.distribution == "logNormal"


def test_search_loads_no_numeric_library() -> None:
    """Writing a space down costs no import of numpy."""
    code = "import sys; from kuttab.sdk import search; search.double(0, 1); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
