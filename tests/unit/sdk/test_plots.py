"""Plots: the data behind each kind, and that every way of drawing shows the same data."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from kuttab.base import errors
from kuttab.sdk import plots, plots_svg, results
from kuttab.sdk import plots_chart as chart
from unit.sdk import studies

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def study() -> results.Result:
    """Forty trials."""
    return studies.result()


def marks(data: chart.Chart, kind: type[Any]) -> list[Any]:
    """All marks of a kind."""
    return [mark for panel in data.panels for mark in panel.marks if isinstance(mark, kind)]


def test_history_shows_every_value_the_best_so_far_and_failures(study: results.Result) -> None:
    """Dots are exactly the values; the line never gets worse and ends at the best; failures lie on the lower edge."""
    data = plots.plot_data("history", study)
    dots = {name: list(zip(m.x, m.y, strict=True)) for m in marks(data, chart.Points) for name in [m.name]}
    shown = sorted([*dots["finished"], *dots["stopped early"]])
    assert shown == [(item.number, item.value) for item in study.usable]
    (line,) = marks(data, chart.Line)
    assert list(line.y) == sorted(line.y)
    assert line.y[-1] == study.best.value
    assert {y for _, y in dots["failed"]} == {data.panels[0].y.low}


def test_edf_is_a_distribution(study: results.Result) -> None:
    """The share rises to 1 over all values, from the best one on."""
    (line,) = marks(plots.plot_data("edf", study), chart.Line)
    assert line.y[-1] == 1.0
    assert line.x[0] == study.best.value
    assert line.y[0] == pytest.approx(1 / len(study.usable))


def test_parallel_has_an_axis_per_parameter_and_the_objective(study: results.Result) -> None:
    """Every trial's line goes through its own values; the best is drawn last, on top."""
    (threads,) = marks(plots.plot_data("parallel", study), chart.Threads)
    assert [rail.label for rail in threads.rails] == ["lr", "layers", "act", "width", "accuracy"]
    assert threads.rails[0].log
    best = study.best
    assert threads.values[-1][0] == best.parameters["lr"]
    assert threads.values[-1][-1] == best.value
    assert len(threads.values) == len(study.usable)


def test_slices_have_a_panel_per_parameter(study: results.Result) -> None:
    """The most important parameter comes first, and a category's dots stand at its place."""
    data = plots.plot_data("slice", study)
    assert data.panels[0].x.label == "lr"
    assert {panel.x.label for panel in data.panels} == set(studies.SPACE)
    panel = next(panel for panel in data.panels if panel.x.label == "act")
    (dots,) = [mark for mark in panel.marks if isinstance(mark, chart.Points)]
    assert [panel.x.categories[int(x)] for x in dots.x] == [item.texts["act"] for item in study.usable]


def test_contour_takes_two_parameters(study: results.Result) -> None:
    """It shows the two parameters asked for, and refuses one that does not exist."""
    data = plots.plot_data("contour", study, parameters=("act", "lr"))
    (heat,) = marks(data, chart.Heat)
    assert len(heat.shade[0]) == 3
    assert all(0 <= place <= 1 for row in heat.shade for place in row)
    with pytest.raises(errors.BadInputError, match="no parameter 'nope'"):
        plots.plot_data("contour", study, parameters=("nope", "lr"))


def test_importance_shows_the_shares(study: results.Result) -> None:
    """Bars are the importances, the greatest first."""
    (bars,) = marks(plots.plot_data("importance", study), chart.Bars)
    assert dict(zip(bars.labels, bars.values, strict=True)) == study.importance()
    assert sum(bars.values) == pytest.approx(1)


def test_curves_are_what_trials_reported(study: results.Result) -> None:
    """A line per trial with reports; another metric or no reports at all give a note."""
    lines = marks(plots.plot_data("curves", study), chart.Line)
    assert len(lines) == len(study.usable)
    assert lines[-1].y[-1] == pytest.approx(study.best.value * (1 - 0.5**7))
    assert "No trial has reported nope" in plots.plot_data("curves", study, metric="nope").note
    assert not plots.plot_data("curves", studies.result(8, curves=False)).panels


def test_timeline_uses_as_few_rows_as_trials_ran_at_once(study: results.Result) -> None:
    """Two ran at once, so there are two rows, and no two stretches of a row overlap."""
    data = plots.plot_data("timeline", study)
    spans = sorted((s.row, s.start, s.end) for m in marks(data, chart.Spans) for s in m.spans)
    assert {row for row, _, _ in spans} == {0, 1}
    assert len(spans) == len(study.trials)
    for (row, _, end), (other, start, _) in itertools.pairwise(spans):
        assert row != other or end <= start


@pytest.mark.slow
def test_many_trials_are_thinned_and_said_to_be() -> None:
    """Three thousand trials make a bounded chart whose note says what is missing; the best line stays exact."""
    study = studies.result(3000)
    data = plots.plot_data("history", study)
    assert sum(len(mark.x) for mark in marks(data, chart.Points)) <= 2500
    assert "of 2625 trials are shown" in data.note
    (line,) = marks(data, chart.Line)
    assert line.y[-1] == study.best.value


@pytest.mark.parametrize("kind", plots.KINDS)
def test_svg_is_sound_xml_with_no_script(kind: str, study: results.Result, tmp_path: Path) -> None:
    """Each kind is drawn as XML that parses, without a script, a handler or a number that is none; hostile text is only text."""
    study.save_plot(kind, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    root = ElementTree.fromstring(text)
    assert not [
        node for node in root.iter() if node.tag == f"{SVG}script" or any(key.startswith("on") for key in node.attrib)
    ]
    assert "nan" not in text
    assert "<script" not in text
    if kind == "history":
        assert len(root.findall(f".//{SVG}circle")) >= len(study.trials)


@pytest.mark.parametrize("kind", plots.KINDS)
def test_one_trial_or_none_still_makes_a_chart(kind: str) -> None:
    """With no trial, a failed one, and a single value every kind draws something or says why not."""
    for count in (0, 1, 2):
        text = plots_svg.document(plots.plot_data(kind, studies.result(count)))
        assert "nan" not in text
        ElementTree.fromstring(text)


def test_extreme_values_stay_inside_the_frame() -> None:
    """Objectives at the ends of the floating point numbers are drawn without overflow."""
    axis = chart.numeric("y", [-1.7e308, 0.0, 1.7e308])
    assert 0 <= axis.place(0.0) <= 1
    assert all(math.isfinite(value) for value, _ in axis.ticks())
    assert chart.numeric("y", [5e-324, 1.0, 1e300]).log


def test_equal_values_get_an_axis_with_room() -> None:
    """When all values are the same, the axis still has a width."""
    for value in (0.0, -3.0, 1e-300):
        axis = chart.numeric("y", [value, value])
        assert axis.low < value < axis.high


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1.0, 8.0), (-3e-7, 2e-7), (0.999, 1.001), (1e5, 9e5)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    """An axis has at least two marks, all inside and short to read."""
    ticks = chart.Axis("x", low, high).ticks()
    assert len(ticks) >= 2
    assert all(low - 1e-9 <= value <= high * (1 + 1e-9) and len(text) <= 8 for value, text in ticks)


def test_unknown_kinds_and_endings_name_the_known_ones(study: results.Result, tmp_path: Path) -> None:
    """A misspelt kind gets the nearest name, a wrong ending the possible ones."""
    with pytest.raises(errors.BadInputError, match="did you mean history"):
        study.save_plot("histroy", tmp_path / "a.svg")
    with pytest.raises(errors.BadInputError, match=r"\.svg, \.png, \.html"):
        study.save_plot("history", tmp_path / "a.gif")


@pytest.mark.slow
def test_plotly_figures_hold_the_same_data(study: results.Result) -> None:
    """plot() gives a Plotly figure of every kind, with the same numbers and escaped names."""
    pytest.importorskip("plotly", reason="plotly is not installed")
    for kind in plots.KINDS:
        figure = study.plot(kind)
        assert figure.data
        assert "<script>" not in str([getattr(trace, "text", "") for trace in figure.data])
    dots = next(trace for trace in study.plot("history").data if trace.name == "finished")
    mark = next(m for m in marks(plots.plot_data("history", study), chart.Points) if m.name == "finished")
    assert tuple(dots.y) == mark.y


@pytest.mark.slow
def test_png_files_are_pictures(study: results.Result, tmp_path: Path) -> None:
    """Every kind is written as a PNG by matplotlib."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    for kind in plots.KINDS:
        study.save_plot(kind, tmp_path / f"{kind}.png")
        assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
