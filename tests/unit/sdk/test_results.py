"""What came out of an experiment, as typed values and as files."""

from __future__ import annotations

import csv
import json
import math
from typing import Any

import pytest

from kuttab.api import experiment, keys, meta, trial
from kuttab.api.history import TrialState
from kuttab.api.metrics import Row
from kuttab.base import errors
from kuttab.sdk import results, search
from kuttab.testing import builders

SPACE = {
    "lr": search.double(1e-5, 0.1, log=True),
    "layers": search.int(1, 8),
    "act": search.categorical(["relu", None, 3]),
    "bias": search.boolean(),
}


def study(*, objective: dict[str, Any] | None = None, **spec: Any) -> experiment.Experiment:
    """An experiment over SPACE."""
    parameters = [meta.dump(item) for item in search.specs(SPACE)]
    wanted = objective or {"type": "minimize", "objectiveMetricName": "loss", "additionalMetricNames": ["size"]}
    return builders.experiment("study", parameters=parameters, objective=wanted, **spec)


def finished(
    slot: int,
    loss: str | None,
    *,
    of: experiment.Experiment,
    condition: str = keys.SUCCEEDED,
    reason: str = "",
    size: str = "",
    **texts: str,
) -> trial.Trial:
    """A trial as a controller leaves it."""
    given = {"lr": "0.01", "layers": "2", "act": "relu", "bias": "true", **texts}
    document = meta.dump(builders.trial(f"study-{slot}"))
    document["metadata"]["annotations"] = {keys.ANNOTATION_SLOT: str(slot)}
    document["spec"]["objective"] = meta.dump(of.spec.objective) if of.spec.objective else {}
    document["spec"]["parameterAssignments"] = [{"name": name, "value": value} for name, value in given.items()]
    measured = [("loss", loss), ("size", size)]
    document["status"] = {
        "startTime": "2026-01-01T00:00:00Z",
        "completionTime": "2026-01-01T00:00:10Z",
        "conditions": [{"type": condition, "status": "True", "reason": reason, "message": "as it was"}],
        "observation": {
            "metrics": [{"name": n, "latest": v, "min": v, "max": v} for n, v in measured if v is not None and v]
        },
    }
    return trial.Trial.load(document)


def test_values_have_the_types_the_user_listed() -> None:
    """Parameters come back as int, float, bool, None or whatever the space listed."""
    subject = study()
    found = results.Result.of(subject, [finished(0, "0.5", of=subject, act="None")], space=SPACE)
    assert found.best.parameters == {"lr": 0.01, "layers": 2, "act": None, "bias": True}
    assert isinstance(found.best.parameters["layers"], int)
    assert found.best.value == 0.5
    assert found.best.trial.duration == 10.0


def test_without_the_space_categories_are_text() -> None:
    """A manifest's categories are text; numbers are numbers; a value outside the space stays text."""
    subject = study()
    found = results.Result.of(subject, [finished(0, "0.5", of=subject, act="3", lr="a lot")])
    assert found.trials[0].parameters == {"lr": "a lot", "layers": 2, "act": "3", "bias": "true"}


def test_best_is_the_earliest_of_equals_and_never_a_failure() -> None:
    """The best trial has the best finite value; a failed trial's value and NaN do not count."""
    subject = study()
    trials = [
        finished(0, "nan", of=subject),
        finished(1, "0.1", of=subject, condition=keys.FAILED, reason="OOMKilled"),
        finished(3, "0.2", of=subject),
        finished(2, "0.2", of=subject),
        finished(4, None, of=subject, condition=keys.METRICS_UNAVAILABLE),
    ]
    found = results.Result.of(subject, trials)
    assert found.best.trial.name == "study-2"
    assert [item.number for item in found.trials] == [0, 1, 2, 3, 4]
    assert found.trials[1].reason == "OutOfMemory"
    assert found.trials[1].message == "as it was"
    assert math.isnan(found.trials[0].value or 0.0)
    assert found.counts()[TrialState.SUCCEEDED] == 3
    assert "3 Succeeded" in repr(found)


def test_maximize_turns_the_order() -> None:
    """With type maximize the greatest value wins."""
    subject = study(objective={"type": "maximize", "objectiveMetricName": "loss"})
    found = results.Result.of(subject, [finished(0, "0.1", of=subject), finished(1, "0.9", of=subject)])
    assert found.best.value == 0.9


def test_no_best_says_why() -> None:
    """Without any value, best raises an error that names the last failure."""
    subject = study()
    found = results.Result.of(subject, [finished(0, None, of=subject, condition=keys.FAILED, reason="JobFailed")])
    with pytest.raises(errors.NotFoundError, match="study-0: UserError as it was"):
        _ = found.best
    assert found.best_trials == ()


def test_pareto_front_of_several_objectives() -> None:
    """best_trials holds exactly the trials that no other betters in every objective."""
    settings = [{"name": "additional_objectives", "value": "size:maximize"}]
    subject = study(algorithm={"algorithmName": "nsga2", "algorithmSettings": settings})
    values = [("0.5", "1"), ("0.4", "1"), ("0.6", "9"), ("0.4", "1"), ("0.9", "2"), ("0.3", "nan")]
    trials = [finished(slot, loss, of=subject, size=size) for slot, (loss, size) in enumerate(values)]
    found = results.Result.of(subject, trials)
    assert [item.number for item in found.best_trials] == [1, 2, 3]
    assert found.best.trial.number == 5


def test_trials_made_by_hand_are_numbered_after_the_others() -> None:
    """A trial without a slot gets a number of its own."""
    subject = study()
    loose = builders.trial("by-hand")
    found = results.Result.of(subject, [loose, finished(3, "1", of=subject)])
    assert [(item.name, item.number) for item in found.trials] == [("study-3", 3), ("by-hand", 4)]


def test_curves_hold_the_finite_reports_in_order() -> None:
    """A curve is what the trial reported of a metric, by index of the report; what is no number is left out."""
    subject = study()
    rows = [Row("loss", "3"), Row("size", "1"), Row("loss", "nan"), Row("loss", "2")]
    found = results.Result.of(subject, [finished(0, "2", of=subject)], read=lambda key: rows)
    assert found.trials[0].curve == ((0, 3.0), (2, 2.0))
    assert found.trials[0].curves()["size"] == ((0, 1.0),)
    assert results.Result.of(subject, [finished(0, "2", of=subject)]).trials[0].curve == ()


def test_csv_is_exact_and_holds_no_formula(tmp_path: Any) -> None:
    """Numbers are written exactly; text that a spreadsheet would run gets a quote; colliding names are told apart."""
    subject = study()
    trials = [finished(0, "0.1", of=subject, act="=1+1", lr="1e-05", name="x"), finished(1, None, of=subject)]
    results.Result.of(subject, trials).to_csv(tmp_path / "t.csv")
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert rows[0]["act"] == "'=1+1"
    assert rows[0]["lr"] == "1e-05"
    assert rows[0]["parameter.name"] == "x"
    assert rows[0]["name"] == "study-0"
    assert rows[1]["loss"] == ""
    assert rows[0]["start"] == "2026-01-01T00:00:00Z"


def test_json_is_strict(tmp_path: Any) -> None:
    """The document is JSON that any reader takes: NaN and infinity are text."""
    subject = study()
    trials = [finished(0, "nan", of=subject), finished(1, "0.5", of=subject)]
    results.Result.of(subject, trials).to_json(tmp_path / "t.json")

    def refuse(text: str) -> None:
        raise AssertionError(text)

    found = json.loads((tmp_path / "t.json").read_text(), parse_constant=refuse)
    assert found["trials"][0]["value"] == "nan"
    assert found["best"]["number"] == 1
    assert found["objectives"] == [{"metric": "loss", "direction": "minimize"}]


def test_pandas_table() -> None:
    """to_pandas gives a row per trial with typed columns."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    subject = study()
    found = results.Result.of(subject, [finished(0, "0.1", of=subject), finished(1, "0.2", of=subject)], space=SPACE)
    frame = found.to_pandas()
    assert list(frame["loss"]) == [0.1, 0.2]
    assert frame["layers"].dtype == "int64"
    assert list(frame["bias"]) == [True, True]


def test_importance_ranks_parameters_and_leaves_failures_out() -> None:
    """The parameter that decides comes first, shares sum to 1, failed trials and points outside the space change nothing."""
    subject = study()
    trials = []
    for slot in range(40):
        layers, act = 1 + slot % 8, ["relu", "None", "3"][slot % 3]
        loss = str(layers + (0.5 if act == "None" else 0.0))
        trials.append(finished(slot, loss, of=subject, layers=str(layers), act=act, lr=str(0.001 + 0.002 * (slot % 5))))
    found = results.Result.of(subject, trials, space=SPACE).importance()
    assert list(found)[:2] == ["layers", "act"]
    assert sum(found.values()) == pytest.approx(1)
    failed = [finished(90, "1e9", of=subject, condition=keys.FAILED), finished(91, "5", of=subject, act="unheard")]
    assert results.Result.of(subject, [*trials, *failed]).importance() == found


def test_importance_of_too_little_says_what_is_missing() -> None:
    """With too few values importance raises an error that counts them."""
    subject = study()
    with pytest.raises(errors.BadInputError, match="there are 1 trials with a value"):
        results.Result.of(subject, [finished(0, "1", of=subject)]).importance()
