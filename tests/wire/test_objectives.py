"""Several objectives from end to end: the setting, the front, the report, and back again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import kuttab
from kuttab import search
from kuttab.algorithms import engine
from kuttab.testing import builders

SPACE = {"x": search.double(-3, 3), "k": search.int(0, 3)}
SETTINGS = {"additional_objectives": "size:minimize"}


def trade_off(p: Any) -> dict[str, float]:
    """The nearer x is to 1, the larger."""
    return {"loss": (p["x"] - 1) ** 2, "size": p["x"] ** 2 + p["k"]}


def tune(data: Path, **more: Any) -> kuttab.Result:
    """A quick run over both objectives."""
    given = {"algorithm": "nsga2", "executor": "thread", "progress": False, "data": data, **more}
    return kuttab.tune(trade_off, SPACE, objective_metric="loss", metrics=["size"], settings=SETTINGS, **given)


@pytest.mark.parametrize("algorithm", ["nsga2", "auto"])
def test_algorithms_for_several_take_the_setting(algorithm: str) -> None:
    """Both read further objectives from the manifest, and refuse a metric that the experiment does not collect."""
    for extra, problems in (("size", []), ("speed", ["spec.algorithm.algorithmSettings[additional_objectives]"])):
        settings = [{"name": "additional_objectives", "value": f"{extra}:minimize"}]
        objective = {"type": "minimize", "objectiveMetricName": "loss", "additionalMetricNames": ["size"]}
        subject = builders.experiment(
            algorithm={"algorithmName": algorithm, "algorithmSettings": settings}, objective=objective
        )
        assert [problem.path for problem in engine.validate(subject)] == problems


@pytest.mark.slow
def test_the_front_is_found_told_and_handed_on(tmp_path: Path) -> None:
    """The front holds trade-offs that nothing betters; the report shows it; a new run starts from both objectives."""
    result = tune(tmp_path, max_trials=60, name="first")
    front = result.best_trials
    assert [objective.metric for objective in result.objectives] == ["loss", "size"]
    assert len(front) >= 4
    points = [(trial.value, trial.metrics["size"]) for trial in front]
    for trial in result.trials:
        assert not any(trial.value < loss and trial.metrics["size"] < size for loss, size in points)  # type: ignore[operator]
    result.save_report(tmp_path / "r.html")
    assert "Pareto front" in (tmp_path / "r.html").read_text()
    cold = [trial.parameters for trial in tune(tmp_path, max_trials=8).trials]
    warm = [trial.parameters for trial in tune(tmp_path, max_trials=8, warm_start=result).trials]
    assert warm != cold
    assert not {str(one) for one in warm} & {str(trial.parameters) for trial in result.trials}
