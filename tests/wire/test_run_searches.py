"""``kuttab run`` with every search by name: points, architectures, populations, rungs. Real processes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kuttab.algorithms import registry
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


POINTS = ("auto", "bayesianoptimization", "cmaes", "de", "grid", "multivariate-tpe", "nsga2", "random", "sobol", "tpe")
"""Searches that need nothing but a space."""

RICHER = ("asha", "bohb", "darts", "enas", "hyperband", "pbt")
"""Searches with tests of their own below."""


def test_every_search_is_run_here() -> None:
    """No registered algorithm of ours is left out of this file."""
    ours = {name for name in registry.names() if registry.load(name).__module__.startswith("kuttab.")}
    assert ours == {*POINTS, *RICHER}


def test_a_name_of_two_things_shows_both(kuttab: Shell) -> None:
    """``asha`` is a search algorithm and an early-stopping rule; its settings are printed as both."""
    printed = kuttab("algorithms", "asha")
    assert printed.code == 0
    assert "resource_name" in printed.out
    assert printed.out.index("spec.algorithm.") < printed.out.index("spec.earlyStopping.")
    document = kuttab("algorithms", "asha", "--json").json
    assert document["name"] == document["earlyStopping"]["name"] == "asha"
    assert document["settings"] != document["earlyStopping"]["settings"]


@pytest.mark.slow
@pytest.mark.parametrize("name", POINTS)
def test_every_search_for_points_runs(kuttab: Shell, tmp_path: Path, name: str) -> None:
    """By its name in a manifest, with defaults: all trials succeed at different points, and the best one is the optimum so far."""
    document = manifest(
        "import sys; print(f'loss={(float(sys.argv[1]) - 0.3) ** 2 + (int(sys.argv[2]) - 3) ** 2:.6f}')",
        arguments=["${trialParameters.x}", "${trialParameters.k}"],
        algorithm={"algorithmName": name},
        parallelTrialCount=2,
        maxTrialCount=4,
        parameters=[
            {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1", "step": "0.05"}},
            {"name": "k", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "5"}},
        ],
    )
    document["spec"]["trialTemplate"]["trialParameters"].append({"name": "k", "reference": "k"})
    done = kuttab("run", write(tmp_path, document), "--json")
    assert done.code == 0, done.err
    trials = done.json["trials"]
    points = {tuple(sorted(assignments(trial).items())) for trial in trials}
    assert len(points) == len(trials) == 4
    losses = [float(trial["status"]["observation"]["metrics"][0]["min"]) for trial in trials]
    best = done.json["experiment"]["status"]["currentOptimalTrial"]["observation"]["metrics"][0]
    assert float(best["min"]) == min(losses)


@pytest.mark.slow
def test_the_articles_search_runs(kuttab: Shell) -> None:
    """Bayesian optimisation of the article: at most 12 trials, 3 at a time, towards an accuracy of 0.99."""
    images = f"*={EXAMPLES / 'article' / 'image'}"
    done = kuttab("run", EXAMPLES / "article" / "experiment.yaml", "--image", images, "--json")
    assert done.code == 0, done.err
    status = done.json["experiment"]["status"]
    best = max(float(trial["status"]["observation"]["metrics"][0]["max"]) for trial in done.json["trials"])
    ended = status["conditions"][-1]
    assert ended["type"] == "Succeeded"
    assert ended["reason"] == ("ExperimentGoalReached" if best >= 0.99 else "ExperimentMaxTrialsReached")
    assert len(done.json["trials"]) == 12 or best >= 0.99
    spaces = [assignments(trial) for trial in done.json["trials"]]
    assert all(0.01 <= float(one["lr"]) <= 0.03 and one["num-layers"] in set("2345") for one in spaces)
    assert len({str(one) for one in spaces}) == len(spaces)


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
