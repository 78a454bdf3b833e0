"""API types to messages and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuttab.api import experiment, history, meta
from kuttab.api.history import TrialRecord, TrialState
from kuttab.base import errors
from kuttab.rpc import channels, convert, encoded, messages

FULL = {
    "metadata": {"name": "e"},
    "spec": {
        "parameters": [
            {"name": "a", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1", "step": "0.1", "distribution": "uniform"}},
            {"name": "b", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "8", "distribution": "logUniform"}},
            {"name": "c", "parameterType": "categorical", "feasibleSpace": {"list": ["x", "y"]}},
            {"name": "d", "parameterType": "discrete", "feasibleSpace": {"list": ["1", "2"], "distribution": "normal"}},
            {"name": "f", "parameterType": "double", "feasibleSpace": {"min": "1", "max": "2", "distribution": "logNormal"}},
        ],
        "objective": {"type": "minimize", "goal": 0.1, "objectiveMetricName": "loss", "additionalMetricNames": ["acc"]},
        "algorithm": {"algorithmName": "tpe", "algorithmSettings": [{"name": "random_state", "value": "1"}]},
        "earlyStopping": {"algorithmName": "medianstop", "algorithmSettings": [{"name": "start_step", "value": "2"}]},
        "parallelTrialCount": 2,
        "maxTrialCount": 9,
        "nasConfig": {
            "graphConfig": {"numLayers": 2, "inputSizes": [32, 32, 3], "outputSizes": [10]},
            "operations": [
                {"operationType": "conv", "parameters": [{"name": "k", "parameterType": "categorical", "feasibleSpace": {"list": ["3"]}}]}
            ],
        },
    },
}  # fmt: skip


def test_experiments_survive_the_wire() -> None:
    """Everything that the contract can carry comes back as it was."""
    subject = experiment.Experiment.load(FULL)
    raw = convert.experiment_message(subject).SerializeToString()
    back = convert.experiment_of(messages.Experiment.FromString(raw))
    assert convert.experiment_message(back).SerializeToString() == raw
    assert back.spec.objective == subject.spec.objective
    assert back.spec.algorithm == subject.spec.algorithm
    assert back.spec.early_stopping == subject.spec.early_stopping
    assert back.spec.parameters is not None
    assert subject.spec.parameters is not None
    for one, two in zip(back.spec.parameters, subject.spec.parameters, strict=True):
        assert one.feasible_space.model_dump() == two.feasible_space.model_dump()
    assert back.spec.nas_config is not None
    assert back.spec.nas_config.graph_config == subject.spec.nas_config.graph_config  # type: ignore[union-attr]
    assert (back.spec.parallel_trial_count, back.spec.max_trial_count) == (2, 9)


def test_an_empty_experiment() -> None:
    """An experiment without anything is read as one without anything."""
    back = convert.experiment_of(messages.Experiment(name="e"))
    assert meta.dump(back)["spec"] == {}


@pytest.mark.parametrize("state", list(TrialState))
def test_states_survive_the_wire(state: TrialState) -> None:
    """Each state has its own number."""
    objective = experiment.ObjectiveSpec(type="minimize", objective_metric_name="loss")
    metrics = (history.MetricValues("loss", latest="0.5", max="0.7", min="0.4"),)
    record = TrialRecord(
        "t", "u", 3, state, ("a",), ("1",), 0.4, metrics, start_time="2026-01-01T00:00:00Z", labels={"k": "v"}
    )
    message = convert.trial_message(record, objective, convert.objective_message(objective))
    back = convert.record_of(message, 3, objective)
    assert (back.name, back.state, back.assignments, back.objective) == ("t", state, {"a": "1"}, 0.4)
    assert (back.labels, back.start_time) == ({"k": "v"}, "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("metric", "strategy", "value"),
    [
        (history.MetricValues("m", "1", "3", "0"), "min", "0"),
        (history.MetricValues("m", "1", "3", "0"), "max", "3"),
        (history.MetricValues("m", "1", "3", "0"), "latest", "1"),
        (history.MetricValues("m", "Genotype(x)", "unavailable", "unavailable"), "max", "Genotype(x)"),
        (history.MetricValues("m", "unavailable", "unavailable", "unavailable"), "max", ""),
    ],
)
def test_metric_values(metric: history.MetricValues, strategy: str, value: str) -> None:
    """One value by strategy, the latest where min or max is not to be had, none where nothing is."""
    assert convert.metric_value(metric, strategy) == value


@pytest.mark.parametrize("text", ["1_000", "\u0661", "0x10", "1e", "", "--1", "1 2", "1" * 400, "infinit"])
def test_what_is_no_number(text: str) -> None:
    """Spellings that Python alone would take for numbers are none."""
    assert convert.number(text) is None


def test_numbers() -> None:
    """Plain spellings are numbers, infinities and NaN included."""
    assert [convert.number(t) for t in ("1", "-.5", "1.", "1e-3", "+2", "-inf", "1e400")] == [
        1,
        -0.5,
        1,
        0.001,
        2,
        -math.inf,
        math.inf,
    ]
    assert math.isnan(convert.number("NaN") or 0.0)


@given(st.lists(st.binary(max_size=300), max_size=20), st.text(max_size=300), st.integers(0, 2**31 - 1))
def test_split_finds_what_was_joined(trials: list[bytes], name: str, total: int) -> None:
    """Splitting a request gives its trials' bytes and the rest, whatever their lengths."""
    head = messages.GetSuggestionsRequest(total_request_number=total)
    head.experiment.name = name
    raw = head.SerializeToString()
    mixed = encoded.field(2, b"") + b"".join(encoded.field(2, item) for item in trials) + raw
    rest, found = encoded.split(mixed)
    assert rest == raw
    assert found == [b"", *trials]


@given(st.binary(max_size=60))
def test_split_never_fails_otherwise(raw: bytes) -> None:
    """Any bytes are split or refused; nothing else happens."""
    try:
        rest, found = encoded.split(raw)
    except errors.BadInputError:
        return
    assert len(rest) + sum(map(len, found)) <= len(raw)


def test_varints() -> None:
    """Numbers are encoded as protobuf does."""
    for value in (0, 1, 127, 128, 300, 2**31 - 1):
        expected = messages.GetSuggestionsRequest(total_request_number=value)
        assert messages.GetSuggestionsRequest.FromString(encoded.varint_field(5, value)) == expected


def test_clean() -> None:
    """A stranger's sentence is one short line without control characters."""
    assert channels.clean("a\n\tb\x1b[31m\x00") == "a b [31m"
    assert len(channels.clean("x" * 10_000)) == 503
