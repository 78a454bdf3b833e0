"""Histories from elsewhere: mapped to the space exactly, or refused row by row with the reason."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from kuttab.algorithms import engine
from kuttab.api import keys, kinds
from kuttab.api.history import TrialState
from kuttab.base import errors
from kuttab.rules import prior as priors
from kuttab.sdk import exchange, objectives, search
from unit.sdk import studies

ROW = {"lr": 0.01, "layers": 3, "act": "relu", "width": 32}


def source(*rows: dict[str, Any], metric: str = "accuracy", **more: Any) -> exchange.Source:
    """Rows that differ from a good one; ``metrics``, ``state`` and ``reason`` are the row's own."""
    found = []
    for index, given in enumerate(rows):
        row = {**ROW, **given}
        metrics = row.pop("metrics", {metric: 0.5})
        state, reason, exact = row.pop("state", TrialState.SUCCEEDED), row.pop("reason", ""), row.pop("exact", True)
        parameters = {name: value for name, value in row.items() if value is not ...}
        found.append(exchange.Row(f"old#{index}", parameters, metrics, state, reason, exact))
    return exchange.Source("old", tuple(found), **more)


def refused(*rows: dict[str, Any], **more: Any) -> list[str]:
    """Why each row but the last, a good one, is refused."""
    found = exchange.prior(studies.experiment_of(9), source(*rows, {}, **more), studies.SPACE)
    assert len(found.records) == 1
    return [item.reason for item in found.refused]


def test_a_result_comes_back_as_it_was() -> None:
    """Every ended trial of a result is used, values text for text; failures stay failures."""
    result = studies.result(40)
    found = exchange.prior(result.experiment, exchange.source_of(result), studies.SPACE)
    assert [dict(zip(r.names, r.values, strict=True)) for r in found.records] == [item.texts for item in result.trials]
    assert [r.objective for r in found.records if r.usable] == [item.value for item in result.usable]
    assert sum(r.state is TrialState.FAILED for r in found.records) == 5
    assert not found.refused


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr": ...}, "lacks the parameter 'lr'"),
        ({"lr": 0.2}, "lr = 0.2 is not in 1e-05 .. 0.1"),
        ({"lr": "fast"}, "lr = 'fast' is no finite number"),
        ({"lr": float("nan")}, "is no finite number"),
        ({"lr": True}, "is no finite number"),
        ({"layers": 2.5}, "layers = 2.5 is no whole number"),
        ({"act": "sigmoid"}, "act = 'sigmoid' is none of relu"),
        ({"width": 48}, "width = 48 is none of 16, 32, 64"),
        ({"momentum": 0.9}, "has the parameter 'momentum', which this space lacks"),
        ({"state": TrialState.RUNNING}, "has not finished"),
        ({"state": TrialState.KILLED}, "says nothing about its parameters"),
        ({"state": TrialState.FAILED, "reason": "Infrastructure"}, "ended by Infrastructure"),
        ({"metrics": {"loss": 1.0}}, "has no value of accuracy"),
    ],
)
def test_each_mismatch_is_refused_with_its_reason(change: dict[str, Any], said: str) -> None:
    """A row that is no point of this space, or no result, is refused and the reason names what is wrong; others are used."""
    (reason,) = refused(change)
    assert said in reason


@pytest.mark.parametrize(
    ("change", "name", "text"),
    [
        ({"layers": 3.0}, "layers", "3"),
        ({"layers": "3"}, "layers", "3"),
        ({"width": "32.0"}, "width", "32"),
        ({"lr": "1e-2"}, "lr", "0.01"),
        ({"lr": 1e-5}, "lr", "1e-05"),
    ],
)
def test_the_same_value_in_another_spelling_is_mapped(change: dict[str, Any], name: str, text: str) -> None:
    """Values that mean the same are taken: whole floats, numbers as text, listed numbers."""
    found = exchange.prior(studies.experiment_of(9), source(change), studies.SPACE)
    assert dict(zip(found.records[0].names, found.records[0].values, strict=True))[name] == text


def test_booleans_and_typed_categories_are_mapped() -> None:
    """True finds ``true``; a category is found by its Python value; a parameter with one value needs none."""
    space = {"on": search.boolean(), "kind": search.categorical([1, "1", None]), "fixed": search.int(4, 4)}
    subject = studies.experiment_of(
        3, parameters=[item.model_dump(by_alias=True, exclude_unset=True) for item in search.specs(space)]
    )
    row = exchange.Row("a", {"on": True, "kind": None}, {"accuracy": 1.0})
    found = exchange.prior(subject, exchange.Source("s", (row,)), space)
    assert found.records[0].values == ("true", "None", "4")


def test_the_other_direction_is_refused_as_a_whole() -> None:
    """A history that was minimised does not start a search that maximises the same metric."""
    given = source({}, objectives=(objectives.Objective("accuracy", maximize=False),))
    with pytest.raises(errors.BadInputError, match="old minimizes accuracy, this experiment maximizes it"):
        exchange.prior(studies.experiment_of(9), given)


def test_nothing_usable_is_an_error_with_the_first_reason() -> None:
    """When every row is refused the error tells the first reason."""
    with pytest.raises(errors.BadInputError, match="no row of old can be used; old#0: lacks the parameter 'lr'"):
        exchange.prior(studies.experiment_of(9), source({"lr": ...}))
    with pytest.raises(errors.BadInputError, match="has no rows"):
        exchange.prior(studies.experiment_of(9), exchange.Source("old", ()))


def test_a_csv_of_ours_comes_back(tmp_path: Path) -> None:
    """What to_csv wrote is read again, text that had looked like a formula included."""
    result = studies.result(16)
    result.to_csv(tmp_path / "old.csv")
    found = exchange.prior(result.experiment, exchange.source_of(str(tmp_path / "old.csv")), studies.SPACE)
    again = exchange.prior(result.experiment, exchange.source_of(result), studies.SPACE)
    assert [(r.values, r.objective, r.state) for r in found.records] == [
        (r.values, r.objective, r.state) for r in again.records
    ]


def test_a_csv_of_others_is_read_by_its_names(tmp_path: Path) -> None:
    """Optuna's column names, further columns, blank cells and lines of the wrong length: each row is judged by itself."""
    path = tmp_path / "trials.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["number", "value", "params_lr", "params_layers", "params_act", "params_width", "state", "notes"]
        )
        writer.writerow([0, 0.7, 0.01, 2, "relu", 16, "COMPLETE", "good"])
        writer.writerow([1, "", 0.01, 3, "relu", 16, "FAIL", ""])
        writer.writerow([2, 0.7, "", 2, "relu", 16, "COMPLETE", ""])
        writer.writerow([3, 0.7])
        writer.writerow([4, 0.7, 0.01, 2, "relu", 16, "WHAT", ""])
        writer.writerow([5, 0.7, 0.01, 2, "relu", 16, "RUNNING", ""])
    found = exchange.prior(studies.experiment_of(9), exchange.source_of(path), studies.SPACE)
    assert [(r.name, r.state, r.objective) for r in found.records] == [
        ("trials.csv:2", TrialState.SUCCEEDED, 0.7), ("trials.csv:3", TrialState.FAILED, None),
    ]  # fmt: skip
    assert [item.where for item in found.refused] == ["trials.csv:4", "trials.csv:5", "trials.csv:6", "trials.csv:7"]
    assert "unknown state 'WHAT'" in found.refused[2].reason
    assert "2 earlier results are used; 4 are refused" in found.told()
    assert len(list(exchange.refusals(found, 3))) == 4


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'lr,loss\n"open'])
def test_a_file_that_is_no_table_is_refused(content: bytes, tmp_path: Path) -> None:
    """An empty file, another encoding, an open quote: one line that names the file."""
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(errors.BadInputError, match=r"bad\.csv"):
        exchange.of_csv(tmp_path / "bad.csv")
    with pytest.raises(errors.BadInputError, match="cannot be read"):
        exchange.of_csv(tmp_path / "none.csv")


def test_names_are_loaded_and_other_things_refused() -> None:
    """A name asks the loader; what is no source is refused with what would be."""
    result = studies.result(4)
    assert exchange.source_of("old", lambda name: result).name == result.name
    with pytest.raises(errors.BadInputError, match="a CSV file or an Optuna study, got int"):
        exchange.source_of(7)


def test_attached_results_are_a_config_map_with_a_name_of_its_content() -> None:
    """The experiment refers to the ConfigMap; the same results give the same name, others another; the text reads back."""
    result = studies.result(20)
    found = exchange.prior(result.experiment, exchange.of_result(result), studies.SPACE)
    subject, config_map = exchange.attach(result.experiment, found)
    again, _ = exchange.attach(result.experiment, found)
    assert subject.spec.warm_start == again.spec.warm_start
    assert subject.spec.warm_start is not None
    assert subject.spec.warm_start.config_map_name == config_map.name
    assert kinds.of(config_map) == kinds.CONFIG_MAP
    records = priors.read(config_map.section("data")[priors.KEY], "accuracy")
    assert [r.objective for r in records] == [r.objective for r in found.records]
    fewer = exchange.Prior(found.records[:3])
    assert exchange.attach(result.experiment, fewer)[1].name != config_map.name


def test_several_objectives_are_all_needed() -> None:
    """With several objectives a row needs a value of each."""
    settings = [{"name": "additional_objectives", "value": "size:minimize"}]
    subject = studies.experiment_of(9, algorithm={"algorithmName": "nsga2", "algorithmSettings": settings})
    given = source({"metrics": {"accuracy": 0.5, "size": 2.0}}, {"metrics": {"accuracy": 0.5}})
    found = exchange.prior(subject, given, studies.SPACE)
    assert [m.name for m in found.records[0].metrics] == ["accuracy", "size"]
    assert found.refused[0].reason == "has no value of size"


@pytest.mark.slow
def test_optuna_studies_go_both_ways(tmp_path: Path) -> None:
    """A result becomes a study in a real SQLite storage, and comes back as the same results."""
    optuna = pytest.importorskip("optuna", reason="optuna is not installed")
    from kuttab.sdk import exchange_optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    result, storage = studies.result(24), f"sqlite:///{tmp_path}/study.db"
    study = exchange_optuna.export(result, storage)
    assert study.best_value == max(item.value or 0 for item in result.usable if item.state is TrialState.SUCCEEDED)
    assert [t.user_attrs["kuttab_trial"] for t in study.trials] == [item.name for item in result.trials]
    found = exchange.prior(result.experiment, exchange_optuna.load(storage, result.name), studies.SPACE)
    again = exchange.prior(result.experiment, exchange.of_result(result), studies.SPACE)
    assert [(r.values, r.state) for r in found.records] == [(r.values, r.state) for r in again.records]
    whole = [
        (r.objective, old.objective)
        for r, old in zip(found.records, again.records, strict=True)
        if r.state is TrialState.SUCCEEDED
    ]
    assert all(one == other for one, other in whole)
    with pytest.raises(errors.BadInputError, match="has a study named"):
        exchange_optuna.export(result, storage)
    with pytest.raises(errors.BadInputError, match="no study named nope"):
        exchange_optuna.load(storage, "nope")


@pytest.mark.slow
def test_a_study_made_by_optuna_is_a_source() -> None:
    """A study that Optuna itself ran starts a search over the same parameters."""
    optuna = pytest.importorskip("optuna", reason="optuna is not installed")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))

    def objective(trial: Any) -> float:
        lr = trial.suggest_float("lr", 1e-5, 0.1, log=True)
        trial.suggest_int("layers", 1, 8)
        trial.suggest_categorical("act", ["relu"])
        trial.suggest_categorical("width", [16, 32, 64])
        return float(-lr)

    study.optimize(objective, n_trials=10)
    found = exchange.prior(studies.experiment_of(9), exchange.source_of(study), studies.SPACE)
    assert [record.objective for record in found.records] == [trial.value for trial in study.trials]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own use of SQLAlchemy
@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_results_become_runs_of_mlflow(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real local store holds a parent run with the best values and a nested run per trial with its curve."""
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow.tracking import MlflowClient

    from kuttab.sdk import exchange_mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file://{tmp_path}/runs" if kind == "files" else f"sqlite:///{tmp_path}/runs.db"
    result = studies.result(6)
    parent = exchange_mlflow.export(result, uri)
    client = MlflowClient(tracking_uri=uri)
    best = client.get_run(parent).data
    assert best.metrics["accuracy"] == result.best.value
    assert best.params["layers"] == str(result.best.parameters["layers"])
    found = client.search_runs(
        [client.get_run(parent).info.experiment_id], filter_string=f"tags.mlflow.parentRunId = '{parent}'"
    )
    assert {run.data.tags["kuttab.trial"] for run in found} == {item.name for item in result.trials}
    failed = next(run for run in found if run.data.tags["kuttab.state"] == keys.FAILED)
    assert failed.info.status == "FAILED"
    run = next(run for run in found if run.data.tags["kuttab.trial"] == result.best.trial.name)
    curve = client.get_metric_history(run.info.run_id, "accuracy")
    assert [point.value for point in sorted(curve, key=lambda p: p.step)] == [
        *(v for _, v in result.best.trial.curve),
        result.best.value,
    ]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["0.01", "1e-3", "16", "32.0", "relu", "8", 8, 0.05, 64.0]),
)  # fmt: skip


@hypothesis.given(st.lists(st.fixed_dictionaries(dict.fromkeys(ROW, VALUES)), max_size=5))
def test_whatever_comes_in_only_points_of_the_space_come_out(rows: list[dict[str, Any]]) -> None:
    """Arbitrary values never raise anything but a refusal, and every record is taken by the engine as a point."""
    subject = studies.experiment_of(9, algorithm={"algorithmName": "random"}, warmStart={"configMapName": "old"})
    found = exchange.prior(subject, source(*rows, {}), studies.SPACE)
    assert len(found.records) + len(found.refused) == len(rows) + 1
    assert engine.Session(subject).remember(found.records) == []
    assert len(priors.read(priors.write(found.records), "accuracy")) == len(found.records)
