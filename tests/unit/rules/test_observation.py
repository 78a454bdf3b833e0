"""Rows to observations."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuttab.api import experiment
from kuttab.api.metrics import Aggregate, Row
from kuttab.rules import metric_lines, metric_values, observation

OBJECTIVE = experiment.ObjectiveSpec(type="maximize", objective_metric_name="acc", additional_metric_names=["loss"])


def summarize(values: list[str], metric: str = "acc") -> dict[str, Aggregate]:
    """Aggregates of one metric's values."""
    total = observation.Accumulator()
    total.add(Row(metric, value) for value in values)
    return total.aggregates()


def test_the_articles_numbers() -> None:
    """P13: a log of the article's trial gives min 0.927249, max 0.948447, latest 0.939988 for Validation-accuracy."""
    log = (
        "INFO:root:Epoch[0] Train-accuracy=0.910914\nINFO:root:Epoch[0] Validation-accuracy=0.927249\n"
        "INFO:root:Epoch[1] Train-accuracy=0.938733\nINFO:root:Epoch[1] Validation-accuracy=0.948447\n"
        "INFO:root:Epoch[2] Train-accuracy=0.947745\nINFO:root:Epoch[2] Validation-accuracy=0.939988\n"
    )
    spec = experiment.ObjectiveSpec(
        type="maximize", objective_metric_name="Validation-accuracy", additional_metric_names=["Train-accuracy"]
    )
    reader = metric_lines.LineReader(spec.metric_names)
    total = observation.Accumulator()
    total.add(reader.feed(log.encode()))
    seen = observation.observation(spec, total.aggregates())
    assert seen.metrics == [
        experiment.Metric(name="Validation-accuracy", latest="0.939988", max="0.948447", min="0.927249"),
        experiment.Metric(name="Train-accuracy", latest="0.947745", max="0.947745", min="0.910914"),
    ]
    assert observation.objective_value(spec, seen) == 0.948447


@pytest.mark.parametrize(
    ("values", "low", "high", "latest"),
    [
        (["nan", "0.5", "0.4"], "0.4", "0.5", "0.4"),
        (["0.5", "nan"], "0.5", "0.5", "nan"),
        (["inf", "1", "-inf"], "1", "1", "-inf"),
        (["1e400", "x", "2"], "2", "2", "2"),
        (["1.0", "1.00", "1"], "1.0", "1.0", "1"),
        (["nan"], "", "", "nan"),
        ([], "", "", ""),
    ],
)
def test_f06_non_finite_values_never_win(values: list[str], low: str, high: str, latest: str) -> None:
    """F06, K15: min and max are over finite values in their first spelling; the latest may be any text."""
    found = summarize(values).get("acc", Aggregate())
    assert found == Aggregate(low, high, latest, len(values))


VALUES = st.one_of(
    st.sampled_from(["nan", "inf", "-inf", "1e400", "abc", "1_0", "-0", "0", "unavailable"]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-5, 5).map(str),
)


def brute_force(values: list[str]) -> Aggregate:
    """The definition, read aloud."""
    numbers = [
        (number, text)
        for text in values
        if (number := metric_values.number(text)) is not None and math.isfinite(number)
    ]
    return Aggregate(
        min=min(numbers, key=lambda pair: pair[0])[1] if numbers else "",
        max=max(numbers, key=lambda pair: pair[0])[1] if numbers else "",
        latest=values[-1] if values else "",
        count=len(values),
    )


@given(st.lists(VALUES, max_size=30), st.integers(0, 30))
def test_f24_aggregates_equal_the_definition(values: list[str], cut: int) -> None:
    """F24: incremental aggregates equal a brute-force reading, also when they are merged from two parts."""
    expected = brute_force(values)
    assert summarize(values).get("acc", Aggregate()) == expected
    merged = observation.Accumulator(summarize(values[:cut]))
    merged.extend(summarize(values[cut:]))
    assert merged.aggregates().get("acc", Aggregate()) == expected


def test_a_late_report_never_changes_the_latest() -> None:
    """F13: a row that comes late belongs where its number says."""
    series = observation.Series()
    series.add("2")
    series.add_earlier("1")
    assert series.aggregate() == Aggregate("1", "2", "2", 2)


def test_a_metric_that_was_never_reported_is_unavailable() -> None:
    """Declared metrics without rows say ``unavailable``; metrics without a strategy are left out."""
    seen = observation.observation(OBJECTIVE, summarize(["1"], "other"))
    gone = {"latest": "unavailable", "max": "unavailable", "min": "unavailable"}
    assert [metric.model_dump() for metric in seen.metrics or ()] == [{"name": "acc", **gone}, {"name": "loss", **gone}]
    assert observation.objective_value(OBJECTIVE, seen) is None
    assert not observation.available(OBJECTIVE, seen)


@pytest.mark.parametrize(
    ("strategy", "values", "text"),
    [
        ("max", ["1", "3", "2"], "3"),
        ("min", ["2", "1", "3"], "1"),
        ("latest", ["2", "1", "3"], "3"),
        ("max", ["nan", "inf"], "inf"),
        ("max", ["Genotype(a)", "Genotype(b)"], "Genotype(b)"),
        ("max", ["0.5", "Genotype(b)"], "0.5"),
        ("latest", ["unavailable"], ""),
    ],
)
def test_objective_text_by_strategy(strategy: str, values: list[str], text: str) -> None:
    """The objective is min, max or latest; without a finite number the latest text stands in."""
    spec = experiment.ObjectiveSpec(
        type="maximize",
        objective_metric_name="acc",
        metric_strategies=[experiment.MetricStrategy(name="acc", value=strategy)],
    )
    seen = observation.observation(spec, summarize(values))
    assert observation.objective_text(spec, seen) == text
    assert observation.available(spec, seen) is bool(text)


def test_a_genotype_is_no_number() -> None:
    """Text is available, yet no number, so it can never be compared with one."""
    seen = observation.observation(OBJECTIVE, summarize(["Genotype(a)"]))
    assert observation.objective_value(OBJECTIVE, seen) is None
    assert observation.available(OBJECTIVE, seen)
    assert observation.objective_value(OBJECTIVE, None) is None


def test_strategies_may_name_more_metrics() -> None:
    """A metric with a strategy is part of the observation, after the declared ones."""
    spec = experiment.ObjectiveSpec(
        type="minimize",
        objective_metric_name="acc",
        metric_strategies=[experiment.MetricStrategy(name="extra", value="latest")],
    )
    seen = observation.observation(spec, summarize(["1"], "extra"))
    assert [metric.name for metric in seen.metrics or ()] == ["acc", "extra"]
