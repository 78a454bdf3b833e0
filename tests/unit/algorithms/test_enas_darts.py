"""enas and darts: Katib's text forms, and a controller that is a function of the history."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest
import yaml

from kuttab.algorithms import algorithm, enas, engine, nas
from kuttab.algorithms import history as histories
from kuttab.algorithms import space as spaces
from kuttab.api import experiment, history, space

EXAMPLES = pathlib.Path(__file__).parents[4] / "shared" / "katib-examples" / "nas"
TINY = {
    "graphConfig": {"numLayers": 3, "inputSizes": [4, 4], "outputSizes": [2]},
    "operations": [
        {
            "operationType": "dense",
            "parameters": [{"name": "width", "parameterType": "int", "feasibleSpace": {"min": "2", "max": "4"}}],
        },
        {
            "operationType": "pool",
            "parameters": [{"name": "kind", "parameterType": "categorical", "feasibleSpace": {"list": ["max", "avg"]}}],
        },
    ],
}


def subject(name: str, config: object, **settings: str) -> experiment.Experiment:
    """An experiment around a nasConfig."""
    return experiment.Experiment.load(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Experiment",
            "metadata": {"name": "search", "uid": "u-1"},
            "spec": {
                "objective": {"type": "maximize", "objectiveMetricName": "acc"},
                "algorithm": {
                    "algorithmName": name,
                    "algorithmSettings": [{"name": key, "value": value} for key, value in settings.items()],
                },
                "parallelTrialCount": 2,
                "nasConfig": config,
            },
        }
    )


def texts(answer: engine.Answer) -> list[dict[str, str]]:
    """Assignments by name, one map a trial."""
    return [{item.name: item.value for item in a.parameter_assignments or ()} for a in answer.assignments]


def record(
    slot: int,
    given: dict[str, str],
    value: float | None,
    state: history.TrialState = history.TrialState.SUCCEEDED,
    reason: str = "",
) -> history.TrialRecord:
    """A trial that ended."""
    return history.TrialRecord(
        f"t{slot}", f"uid{slot}", slot, state, tuple(given), tuple(given.values()), value, reason=reason
    )


def score(given: dict[str, str]) -> float:
    """An objective that likes operation 4."""
    rows = nas.unquoted(given["architecture"])
    return sum(row[0] == 4 for row in rows) / len(rows)


def run(trials: int, config: object = TINY, **settings: str) -> list[dict[str, str]]:
    """A sequential search by one living session."""
    session = engine.Session(subject("enas", config, **settings))
    given = []
    for slot in range(trials):
        given += texts(session.propose(slot, 1))
        session.update([record(slot, given[slot], score(given[slot]))])
    return given


def test_enas_writes_katibs_text_form() -> None:
    """Rows of growing length, ids within range, single quotes, and a description of exactly the operations used."""
    (given,) = texts(engine.Session(subject("enas", TINY)).propose(0, 1))
    assert list(given) == ["architecture", "nn_config"]
    rows = json.loads(given["architecture"])
    assert [len(row) for row in rows] == [1, 2, 3]
    assert all(0 <= row[0] < 5 and set(row[1:]) <= {0, 1} for row in rows)
    assert '"' not in given["nn_config"]
    described = json.loads(given["nn_config"].replace("'", '"'))
    assert list(described) == ["num_layers", "input_sizes", "output_sizes", "embedding"]
    assert (described["num_layers"], described["input_sizes"], described["output_sizes"]) == (3, [4, 4], [2])
    assert set(described["embedding"]) == {str(row[0]) for row in rows}
    for key, entry in described["embedding"].items():
        kinds = [("dense", {"width": n}) for n in (2, 3, 4)] + [("pool", {"kind": k}) for k in ("max", "avg")]
        kind, parameters = kinds[int(key)]
        assert entry == {"opt_id": int(key), "opt_type": kind, "opt_params": parameters}


def test_the_text_has_katibs_separators() -> None:
    """The description of one layer, character by character."""
    config = {**TINY, "graphConfig": {"numLayers": 1, "inputSizes": [32, 32, 3], "outputSizes": [10]}}
    (given,) = texts(engine.Session(subject("enas", config, random_state="1")).propose(0, 1))
    ((operation,),) = json.loads(given["architecture"])
    entry = [
        f"{{'opt_id': {operation}, 'opt_type': 'dense', 'opt_params': {{'width': {operation + 2}}}}}",
        f"{{'opt_id': {operation}, 'opt_type': 'pool', 'opt_params': {{'kind': '{'max' if operation == 3 else 'avg'}'}}}}",
    ][operation > 2]
    assert given["architecture"] == f"[[{operation}]]"
    assert given["nn_config"] == (
        f"{{'num_layers': 1, 'input_sizes': [32, 32, 3], 'output_sizes': [10], 'embedding': {{'{operation}': {entry}}}}}"
    )


def test_a_restart_after_every_ask_changes_nothing() -> None:
    """A fresh session with all records proposes what the living one does: nothing is remembered, all is recomputed."""
    fast = {"controller_train_steps": "5", "controller_hidden_size": "8", "controller_learning_rate": "0.05"}
    lived = run(9, **fast)
    for slot in range(9):
        fresh = engine.Session(subject("enas", TINY, **fast))
        fresh.update(reversed([record(n, lived[n], score(lived[n])) for n in range(slot)]))
        assert texts(fresh.propose(slot, 1)) == [lived[slot]]
        assert texts(fresh.propose(slot, 1)) == [lived[slot]]  # and again


def test_results_out_of_order_give_the_same_controller() -> None:
    """When an earlier trial ends late, what was learnt in between is learnt again in the order of numbers."""
    fast = {"controller_train_steps": "5", "controller_hidden_size": "8", "controller_learning_rate": "0.05"}
    lived = run(6, **fast)
    records = [record(n, lived[n], score(lived[n])) for n in range(6)]
    late = engine.Session(subject("enas", TINY, **fast))
    late.update(records[1:])
    late.propose(6, 1)
    late.update(records[:1])
    straight = engine.Session(subject("enas", TINY, **fast))
    straight.update(records)
    assert texts(late.propose(6, 2)) == texts(straight.propose(6, 2))


def test_a_batch_equals_single_asks() -> None:
    """Two at once are the same as one after the other with the first one pending."""
    session = engine.Session(subject("enas", TINY))
    both = session.propose(0, 2)
    alone = engine.Session(subject("enas", TINY))
    first = alone.propose(0, 1)
    assert texts(both) == texts(first) + texts(alone.propose(1, 1, pending=first.assignments))


@pytest.mark.slow
def test_the_controller_learns_what_pays() -> None:
    """With a learning rate to match, later architectures hold the rewarded operation far more often than the first."""
    deep = {**TINY, "graphConfig": {"numLayers": 5, "inputSizes": [4], "outputSizes": [2]}}
    fast = {"controller_learning_rate": "0.01", "controller_train_steps": "20", "controller_hidden_size": "32"}
    means = []
    for seed in ("1", "2", "3"):
        scores = [score(given) for given in run(40, deep, random_state=seed, **fast)]
        means.append((sum(scores[:10]) / 10, sum(scores[-10:]) / 10))
    assert sum(late - early for early, late in means) / 3 > 0.2


def test_no_architecture_twice_until_all_are_used_then_the_end() -> None:
    """A space of five architectures gives five trials and says that it is exhausted."""
    config = {**TINY, "graphConfig": {"numLayers": 1, "inputSizes": [1], "outputSizes": [1]}}
    session = engine.Session(subject("enas", config))
    answer = session.propose(0, 9)
    assert answer.exhausted
    assert sorted(t["architecture"] for t in texts(answer)) == ["[[0]]", "[[1]]", "[[2]]", "[[3]]", "[[4]]"]
    session.update([record(n, t, 0.5) for n, t in enumerate(texts(answer)[:4])])
    assert texts(session.propose(4, 3)) == texts(answer)[4:]


def test_no_result_at_the_second_call_is_no_crash() -> None:
    """Trials that failed, gave NaN, were killed or are foreign leave an untrained or a trained controller, never an error."""
    session = engine.Session(subject("enas", TINY, controller_train_steps="2"))
    given = texts(session.propose(0, 8))
    session.update(
        [
            record(0, given[0], None, history.TrialState.FAILED, "UserError"),
            record(1, given[1], float("nan")),
            record(2, given[2], None, history.TrialState.KILLED),
            record(3, {**given[3], "architecture": "[[99], [0, 0], [0, 0, 0]]"}, 0.1),
            record(4, {**given[4], "architecture": "[" * 5000}, 0.2),
            record(5, {"lr": "0.1"}, 0.3),
        ]
    )
    assert len(texts(session.propose(8, 2))) == 2
    session.update([record(6, given[6], 0.5)])
    assert len(texts(session.propose(8, 2))) == 2


def test_single_results_and_extreme_settings_stay_finite() -> None:
    """One result, equal results and the ends of every range give proposals."""
    extremes = {
        "controller_temperature": "None",
        "controller_tanh_const": "None",
        "controller_entropy_weight": "None",
        "controller_skip_weight": "None",
        "controller_baseline_decay": "1",
        "controller_learning_rate": "1",
        "controller_skip_target": "1",
        "controller_train_steps": "3",
        "controller_hidden_size": "1",
    }
    given = run(6, **extremes)
    assert len({g["architecture"] for g in given}) == 6


def test_a_huge_space_is_never_walked() -> None:
    """When the controller has settled on seen architectures of a space beyond counting, others are still found at once."""
    config = nas_config(layers=40)
    problem = algorithm.Problem(spaces.Space(), nas=config, settings=enas.Settings())
    searcher = enas.Enas(problem)
    everything = searcher._all(searcher.random(0))
    assert len({next(everything) for _ in range(5)}) == 5


def nas_config(layers: int) -> space.NasConfig:
    """The tiny config with another depth."""
    return space.NasConfig.model_validate(
        {**TINY, "graphConfig": {"numLayers": layers, "inputSizes": [1], "outputSizes": [1]}}
    )


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"controller_hidden_size": "0"}, "controller_hidden_size"),
        ({"controller_hidden_size": "None"}, "controller_hidden_size"),
        ({"controller_temperature": "0"}, "controller_temperature"),
        ({"controller_baseline_decay": "1.5"}, "controller_baseline_decay"),
        ({"controller_learning_rate": "x"}, "controller_learning_rate"),
        ({"controler_skip_weight": "1"}, "controler_skip_weight"),
    ],
)
def test_enas_refuses_bad_settings(settings: dict[str, str], path: str) -> None:
    """Wrong types, ranges and names are refused at their path."""
    assert [p.path for p in engine.validate(subject("enas", TINY, **settings))] == [
        f"spec.algorithm.algorithmSettings[{path}]"
    ]


def test_defaults_are_katibs() -> None:
    """The described defaults of both algorithms are the contract's."""
    shown = {d.name: d.default for d in enas.Settings.describe()}
    del shown["random_state"]
    assert shown == {
        "controller_hidden_size": "64",
        "controller_temperature": "5.0",
        "controller_tanh_const": "2.25",
        "controller_entropy_weight": "1e-05",
        "controller_baseline_decay": "0.999",
        "controller_learning_rate": "5e-05",
        "controller_skip_target": "0.4",
        "controller_skip_weight": "0.8",
        "controller_train_steps": "50",
        "controller_log_every_steps": "10",
    }


DARTS = {
    "graphConfig": {"numLayers": 3},
    "operations": [
        {
            "operationType": "separable_convolution",
            "parameters": [
                {"name": "filter_size", "parameterType": "categorical", "feasibleSpace": {"list": ["3", "5"]}}
            ],
        },
        {"operationType": "skip_connection"},
    ],
}
DEFAULTS = (
    "'num_epochs': {}, 'w_lr': 0.025, 'w_lr_min': 0.001, 'w_momentum': 0.9, 'w_weight_decay': 0.0003, "
    "'w_grad_clip': 5.0, 'alpha_lr': 0.0003, 'alpha_weight_decay': 0.001, 'batch_size': {}, 'num_workers': 4, "
    "'init_channels': 16, 'print_step': 50, 'num_nodes': 4, 'stem_multiplier': 3"
)


def test_darts_writes_katibs_text_form_every_time() -> None:
    """Defaults are numbers, given settings stay text, None is null, unknown ones follow; every call gives the same."""
    session = engine.Session(subject("darts", DARTS, num_epochs="03", batch_size="None", my_own="x y"))
    expected = {
        "algorithm-settings": "{" + DEFAULTS.format("'03'", "null") + ", 'my_own': 'x y'}",
        "search-space": "['separable_convolution_3x3', 'separable_convolution_5x5', 'skip_connection']",
        "num-layers": "3",
    }
    first = texts(session.propose(0, 2))
    assert first == [expected, expected]
    session.update([record(0, first[0], None), record(1, first[1], None)])
    assert texts(session.propose(2, 1)) == [expected]


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"num_epochs": "0"}, "num_epochs"),
        ({"w_lr": "-1"}, "w_lr"),
        ({"batch_size": "0"}, "batch_size"),
        ({"note": "it's"}, "note"),
    ],
)
def test_darts_refuses_bad_settings(settings: dict[str, str], path: str) -> None:
    """Known settings are checked, and text that would break the quoting is refused."""
    assert [p.path for p in engine.validate(subject("darts", DARTS, **settings))] == [
        f"spec.algorithm.algorithmSettings[{path}]"
    ]


@pytest.mark.parametrize("name", ["enas", "darts"])
def test_parameters_and_a_missing_config_are_refused(name: str) -> None:
    """An architecture search has no parameters of its own and needs a nasConfig."""
    wrong = subject(name, None)
    wrong = experiment.Experiment.load(
        {
            **wrong.model_dump(by_alias=True, exclude_unset=True, mode="json"),
            "spec": {
                "algorithm": {"algorithmName": name},
                "objective": {"type": "maximize", "objectiveMetricName": "acc"},
                "parameters": [{"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "2"}}],
            },
        }
    )
    assert [p.path for p in engine.validate(wrong)] == ["spec.parameters", "spec.nasConfig"]


@pytest.mark.skipif(not EXAMPLES.exists(), reason="Katib's example manifests are not beside the checkout")
@pytest.mark.parametrize("name", ["enas-cpu.yaml", "darts-gpu.yaml"])
def test_katibs_examples_are_accepted(name: str) -> None:
    """Both published manifests validate and get proposals; darts' skip_connection needs no parameters."""
    loaded = experiment.Experiment.load(yaml.safe_load((EXAMPLES / name).read_text()))
    assert engine.validate(loaded) == []
    given = texts(engine.Session(loaded).propose(0, 2))
    if name.startswith("enas"):
        ((operation,),) = json.loads(given[0]["architecture"])
        assert 0 <= operation < 30 + 60 + 12 + 4  # 3*5*2, 3*5*2*2, 3*2*2 and 2*2 combinations
    else:
        assert given[0]["search-space"] == (
            "['separable_convolution_3x3', 'dilated_convolution_3x3', 'dilated_convolution_5x5', 'avg_pooling_3x3', "
            "'max_pooling_3x3', 'skip_connection']"
        )
        assert given[0]["algorithm-settings"].startswith("{'num_epochs': '3', 'w_lr': 0.025")


def test_history_of_text_is_what_enas_reads() -> None:
    """The algorithm alone, without the engine: trials carry the architecture as text."""
    problem = algorithm.Problem(
        spaces.Space(), (-1,), nas=nas_config(1), settings=enas.Settings(controller_train_steps=1)
    )
    past = histories.History(problem.space, problem.directions)
    for number in range(4):
        past.put(histories.Trial(number, (), text={"architecture": f"[[{number}]]"}))
    (proposal,) = enas.Enas(problem).propose(past, 4, 1).items
    assert proposal.text["architecture"] == "[[4]]"
    assert dataclasses.asdict(proposal)["parameters"] == ()
