"""Rules of spec.warmStart: a ConfigMap that is there, can be read, and speaks of the same parameters."""

from __future__ import annotations

from typing import Any

import pytest

from kuttab.admission import report, warm_start
from kuttab.api.history import MetricValues, TrialRecord, TrialState
from kuttab.rules import prior
from kuttab.testing import builders


class Held:
    """A catalogue that knows ConfigMaps alone."""

    def __init__(self, **data: str) -> None:
        self._data = data

    def config_map(self, namespace: str, name: str) -> dict[str, str] | None:
        """What is held under ``old``."""
        return self._data if (namespace, name) == ("default", "old") else None


def record(lr: str, loss: str = "0.5") -> TrialRecord:
    """An earlier result."""
    metrics = (MetricValues("loss", loss, loss, loss),) if loss else ()
    return TrialRecord(f"t{lr}", "", -1, TrialState.SUCCEEDED, ("lr",), (lr,), prior.number(loss), metrics)


def judged(text: str | None, name: str = "old", **spec: Any) -> report.Report:
    """The report on an experiment that names a ConfigMap."""
    found = report.Report()
    subject = builders.experiment(warmStart={"configMapName": name}, **spec)
    held = Held(**({} if text is None else {"trials.json": text}))
    warm_start.check(subject, "default", found, held)  # type: ignore[arg-type]
    return found


def test_results_of_the_same_space_are_accepted() -> None:
    """Nothing is said about results that fit, nor about an experiment without a warm start."""
    found = judged(prior.write([record("0.05"), record("0.1")]))
    assert (found.problems, found.warnings) == ([], [])
    empty = report.Report()
    warm_start.check(builders.experiment(), "default", empty, Held())  # type: ignore[arg-type]
    assert empty.problems == []


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (None, "old", "it has no key trials.json"),
        ("", "none", "there is none of that name"),
        ("", "", "must name a ConfigMap"),
        ("{}", "old", "must be JSON with parameters"),
        (
            '{"parameters":["x"],"metrics":[],"trials":[["a","Failed","",["1"],[]]]}',
            "old",
            'parameters "x", this space has "lr"',
        ),
    ],
)
def test_each_mistake_is_told_at_the_field(text: str | None, name: str, said: str) -> None:
    """One problem, at spec.warmStart.configMapName."""
    (problem,) = judged(text, name).problems
    assert problem.path == "spec.warmStart.configMapName"
    assert said in problem.message


def test_results_that_cannot_be_used_give_warnings() -> None:
    """Results outside the space and results without the objective are counted."""
    found = judged(prior.write([record("0.05"), record("7"), record("0.06", ""), record("fast")]))
    assert found.problems == []
    assert any("2 of 4 earlier results lie outside this space" in warning for warning in found.warnings)
    assert any('1 of 4 earlier results have no value of "loss"' in warning for warning in found.warnings)


def test_lists_are_compared_as_the_engine_does() -> None:
    """A listed number in another spelling is inside; a foreign word is not."""
    area = {"list": ["16", "32"]}
    space = [{"name": "lr", "parameterType": "discrete", "feasibleSpace": area}]
    found = judged(prior.write([record("16.0"), record("32"), record("48")]), parameters=space)
    assert ["1 of 3" in warning for warning in found.warnings] == [True]
