"""``kuttab run`` with the searches that are more than points: architectures, populations, rungs. Real processes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from wire.shell import EXAMPLES, Shell, manifest, write

GENERATION = "pbt.suggestion.katib.kubeflow.org/generation"
PARENT = "pbt.suggestion.katib.kubeflow.org/parent"
LEARNER = "import sys; x, e = float(sys.argv[1]), int(sys.argv[2]); print(f'loss={(x - 0.3) ** 2 + 1 / e:.5f}')"


@pytest.fixture
def kuttab(tmp_path: Path) -> Shell:
    """Commands over a fresh data folder."""
    return Shell(tmp_path / "data")


def assignments(trial: Any) -> dict[str, str]:
    """Parameter name to value."""
    return {item["name"]: item["value"] for item in trial["spec"]["parameterAssignments"]}


@pytest.mark.slow
def test_the_enas_example_trains_the_architectures_it_is_given(kuttab: Shell) -> None:
    """Fourteen different networks of three layers are trained; the best one tells the spirals apart."""
    done = kuttab("run", EXAMPLES / "nas" / "enas.yaml", "--json")
    assert done.code == 0, done.err
    shapes = [json.loads(assignments(trial)["architecture"]) for trial in done.json["trials"]]
    assert len({str(shape) for shape in shapes}) == 14
    assert all([len(row) for row in shape] == [1, 2, 3] for shape in shapes)
    best = done.json["experiment"]["status"]["currentOptimalTrial"]["observation"]["metrics"][0]
    assert float(best["max"]) > 0.95


@pytest.mark.slow
def test_the_darts_example_reports_the_cell_it_found(kuttab: Shell) -> None:
    """The one trial learns, and its text objective is in the observation, whole."""
    done = kuttab("run", EXAMPLES / "nas" / "darts.yaml", "--json")
    assert done.code == 0, done.err
    (trial,) = done.json["trials"]
    (metric,) = trial["status"]["observation"]["metrics"]
    assert re.fullmatch(r"Genotype\(normal=\[\[.*\]\],normal_concat=range\(1,3\)\)", metric["latest"])
    log = kuttab("logs", trial["metadata"]["name"]).out
    first, last = (float(text) for text in re.findall(r"Loss ([0-9.]+)", log)[:: len(re.findall("Loss", log)) - 1])
    assert last < first


@pytest.mark.slow
def test_the_pbt_example_hands_checkpoints_on(kuttab: Shell) -> None:
    """Each later member goes on at the step where its parent ended, and generations improve."""
    done = kuttab("run", EXAMPLES / "pbt" / "pbt.yaml", "--json")
    assert done.code == 0, done.err
    trials = {trial["metadata"]["name"]: trial for trial in done.json["trials"]}
    best: dict[int, float] = {}
    for name, trial in trials.items():
        generation = int(trial["metadata"]["labels"][GENERATION])
        (log,) = (path for path in (kuttab.data / "trials").rglob("*.log") if name in path.parts)
        steps = [int(step) for step in re.findall(r"step=(\d+)", log.read_text())]
        assert steps == list(range(10 * generation + 1, 10 * generation + 11))
        if generation:
            parent = trials[trial["metadata"]["labels"][PARENT]]
            assert int(parent["metadata"]["labels"][GENERATION]) == generation - 1
        loss = float(trial["status"]["observation"]["metrics"][0]["latest"])
        best[generation] = min(best.get(generation, loss), loss)
    assert len(best) >= 3
    assert best[max(best)] < best[0] / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "given", "epochs", "trials"),
    [
        ("hyperband", {"r_l": "4", "eta": "2"}, [1] * 4 + [2] * 2 + [4] + [2] * 3 + [4] * 2 + [4] * 3, 15),
        ("asha", {"eta": "2", "max_resource": "4"}, None, 16),
        ("bohb", {"eta": "2", "max_resource": "4"}, None, 16),
    ],
)
def test_rungs_run_and_promote(
    kuttab: Shell, tmp_path: Path, name: str, given: dict[str, str], epochs: list[int] | None, trials: int
) -> None:
    """Good configurations are run again with more epochs; hyperband ends by itself after its last bracket."""
    document = manifest(
        LEARNER,
        arguments=["${trialParameters.x}", "${trialParameters.epochs}"],
        algorithm={
            "algorithmName": name,
            "algorithmSettings": [
                {"name": key, "value": value} for key, value in {"resource_name": "epochs", **given}.items()
            ],
        },
        parallelTrialCount=4,
        maxTrialCount=16,
        parameters=[
            {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}},
            {"name": "epochs", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "4"}},
        ],
    )
    document["spec"]["trialTemplate"]["trialParameters"].append({"name": "epochs", "reference": "epochs"})
    done = kuttab("run", write(tmp_path, document), "--json")
    assert done.code == 0, done.err
    given_ = [assignments(trial) for trial in done.json["trials"]]
    assert len(given_) == trials
    if epochs is not None:
        assert sorted(int(one["epochs"]) for one in given_) == sorted(epochs)
    xs = {amount: {one["x"] for one in given_ if one["epochs"] == amount} for amount in ("1", "2", "4")}
    assert xs["1"] & xs["2"]
    reason = done.json["experiment"]["status"]["conditions"][-1]["reason"]
    assert reason == ("ExperimentSuggestionEndReached" if name == "hyperband" else "ExperimentMaxTrialsReached")
