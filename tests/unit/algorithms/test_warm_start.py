"""Results from before the search: algorithms learn from them, and they take no number."""

from __future__ import annotations

from typing import Any

import pytest

from kuttab.algorithms import engine, registry
from kuttab.api import experiment, meta
from kuttab.api.history import MetricValues, TrialRecord, TrialState
from kuttab.testing import builders

WARM = [name for name in registry.names() if registry.load(name).warm_start]
COLD = [name for name in registry.names() if not registry.load(name).warm_start]


def subject(algorithm: str, **spec: Any) -> experiment.Experiment:
    """An experiment over two numbers with its optimum at (0.8, 0.2)."""
    settings = [{"name": "random_state", "value": "7"}]
    if algorithm in ("asha", "bohb"):
        settings.append({"name": "resource_name", "value": "epochs"})
    epochs = {"name": "epochs", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}}
    area = {"min": "0", "max": "1", **({"step": "0.05"} if algorithm == "grid" else {})}
    parameters = [{"name": name, "parameterType": "double", "feasibleSpace": area} for name in "ab"]
    return builders.experiment(
        algorithm={"algorithmName": algorithm, "algorithmSettings": settings},
        parameters=[*parameters, *([epochs] if algorithm in ("asha", "bohb") else [])],
        maxTrialCount=100,
        warmStart={"configMapName": "old"},
        **spec,
    )


def priors(algorithm: str, count: int = 40) -> list[TrialRecord]:
    """Earlier results of the function on a fixed lattice, one of them failed."""
    found = []
    for index in range(count):
        a, b = (index * 7 % 20) / 20 + 0.05, (index * 3 % 20) / 20 + 0.05
        value = (a - 0.8) ** 2 + (b - 0.2) ** 2
        names: tuple[str, ...] = ("a", "b")
        values: tuple[str, ...] = (f"{a:.2f}", f"{b:.2f}")
        if algorithm in ("asha", "bohb"):
            names, values = (*names, "epochs"), (*values, "9")
        state = TrialState.FAILED if index == 5 else TrialState.SUCCEEDED
        objective = None if index == 5 else value
        metrics = () if index == 5 else (MetricValues("loss", repr(value), repr(value), repr(value)),)
        found.append(TrialRecord(f"old-{index}", "", -1, state, names, values, objective, metrics))
    return found


SLOW = ("auto", "bayesianoptimization")


@pytest.mark.parametrize("algorithm", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in WARM])
def test_earlier_results_take_no_slot_and_are_never_proposed_again(algorithm: str) -> None:
    """Every algorithm that takes them proposes for slot 0 on, no known point, and the same again in a new session."""
    answers = []
    for _ in range(2):
        session = engine.Session(subject(algorithm))
        assert session.remember(priors(algorithm)) == []
        assert session.history.before == 40
        assert session.history.next_number == 0
        answers.append(session.propose(0, 3).assignments)
    assert [item.slot for item in answers[0]] == [0, 1, 2]
    assert answers[0] == answers[1]
    old = {record.values[:2] for record in priors(algorithm)}
    new = {tuple(a.value for a in (item.parameter_assignments or ())[:2]) for item in answers[0]}
    assert not old & new


@pytest.mark.parametrize("algorithm", ["tpe", pytest.param("auto", marks=pytest.mark.slow)])
def test_a_warm_start_begins_where_the_earlier_search_ended(algorithm: str) -> None:
    """With forty earlier results the first proposals are near the known optimum; without them they are a design."""
    session = engine.Session(subject(algorithm))
    session.remember(priors(algorithm))
    points = [[float(a.value) for a in item.parameter_assignments or ()] for item in session.propose(0, 4).assignments]
    near = [abs(a - 0.8) < 0.25 and abs(b - 0.2) < 0.25 for a, b in points]
    assert sum(near) >= 2


def test_new_results_go_on_after_earlier_ones() -> None:
    """Trials of the experiment are history beside the earlier results, and forgetting them keeps those."""
    session = engine.Session(subject("tpe"))
    session.remember(priors("tpe"))
    given = session.propose(0, 2).assignments
    records = [
        TrialRecord(
            f"t{a.slot}",
            "",
            a.slot,
            TrialState.SUCCEEDED,
            ("a", "b"),
            tuple(p.value for p in a.parameter_assignments or ()),
            0.1,
        )
        for a in given
    ]
    assert session.update(records, complete=True) == []
    assert (len(session.history), session.history.before) == (42, 40)
    session.update([], complete=True)
    assert (len(session.history), session.history.before) == (40, 40)


def test_foreign_points_are_left_out_with_the_reason() -> None:
    """A record of another space is no history; the findings say why."""
    session = engine.Session(subject("random"))
    wrong = [
        TrialRecord("x", "", -1, TrialState.SUCCEEDED, ("a",), ("1",), 0.1),
        TrialRecord("y", "", -1, TrialState.SUCCEEDED, ("a", "b"), ("7", "0"), 0.1),
    ]
    outcomes = [finding.outcome for finding in session.remember(wrong)]
    assert outcomes == [engine.Outcome.FOREIGN_PARAMETERS, engine.Outcome.OUT_OF_RANGE]
    assert session.history.before == 0


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("hyperband", {"r_l": "9", "resource_name": "a"}),
        ("pbt", {"suggestion_trial_dir": "/d", "n_population": "5", "truncation_threshold": "0.2"}),
    ],
)
def test_algorithms_with_a_plan_of_their_own_refuse(algorithm: str, settings: dict[str, str]) -> None:
    """They say so before the experiment starts, at the field."""
    assert algorithm in COLD
    chosen = {
        "algorithmName": algorithm,
        "algorithmSettings": [{"name": name, "value": value} for name, value in settings.items()],
    }
    given = experiment.Experiment.load(
        {**meta.dump(subject("random")), "spec": {**meta.dump(subject("random"))["spec"], "algorithm": chosen}}
    )
    assert [problem.path for problem in engine.validate(given)] == ["spec.warmStart"]
