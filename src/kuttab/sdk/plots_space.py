"""Charts of the search space: parallel coordinates, slices, contours, importance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kuttab.api import space
from kuttab.base import errors
from kuttab.sdk import plots_chart as chart
from kuttab.sdk import plots_trials

if TYPE_CHECKING:
    from kuttab.sdk import results

MOST_RAILS = 10
MOST_SLICES = 9
MOST_CATEGORIES = 24
CELLS = 28
"""Cells of a contour along a numeric axis."""

_LOG = (space.Distribution.LOG_UNIFORM, space.Distribution.LOG_NORMAL)


def axis_of(result: results.Result, name: str) -> chart.Axis:
    """The axis of a parameter: its range and scale by the space, widened to what trials really had; lists and text as categories."""
    spec = next((spec for spec in result.experiment.spec.parameters or () if spec.name == name), None)
    feasible = spec.feasible_space if spec is not None else space.FeasibleSpace()
    texts = [item.texts[name] for item in result.usable if name in item.texts]
    numbers = [number for text in texts if (number := _number(text)) is not None]
    listed = list(feasible.choices or ())
    ordered = spec is not None and spec.parameter_type == space.ParameterType.DISCRETE
    if (not listed or (ordered and len(listed) > MOST_CATEGORIES)) and len(numbers) == len(texts):
        bounds = [number for text in (feasible.min, feasible.max) if (number := _number(text)) is not None]
        values = [*numbers, *bounds]
        log = feasible.distribution in _LOG and bool(values) and min(values) > 0
        return chart.numeric(name, values, log=log)
    if ordered and all(_number(text) is not None for text in listed):
        listed.sort(key=lambda text: _number(text) or 0.0)
    names = list(dict.fromkeys([*listed, *texts]))
    if len(names) > MOST_CATEGORIES:
        names = [*names[: MOST_CATEGORIES - 1], "others"]
    return chart.category(name, names)


def place_on(axis: chart.Axis, text: str) -> float | None:
    """The value of an assignment on an axis; None when it has none."""
    if not axis.categories:
        return _number(text)
    if text in axis.categories:
        return float(axis.categories.index(text))
    return float(len(axis.categories) - 1) if axis.categories[-1] == "others" else None


def ranked_parameters(result: results.Result) -> list[str]:
    """Parameters that trials had, the most important first when that can be told."""
    given = [name for name in result.parameters if any(name in item.texts for item in result.usable)]
    try:
        order = list(result.importance())
    except errors.KuttabError:
        return given
    known = [name for name in order if name in given]
    return [*known, *(name for name in given if name not in known)]


def parallel(result: results.Result) -> chart.Chart:
    """A line per trial through its value on each parameter's axis to its objective; the best are drawn last."""
    title = "Parallel coordinates"
    if not result.usable:
        return plots_trials.nothing("parallel", title, result)
    names = ranked_parameters(result)
    chosen = sorted(names[:MOST_RAILS], key=result.parameters.index)
    rails = [axis_of(result, name) for name in chosen]
    goal = chart.numeric(result.metric, [item.value or 0.0 for item in result.usable])
    sign = 1.0 if result.maximize else -1.0
    shown, note = plots_trials.thin(result.usable, plots_trials.MOST_POINTS // 2)
    rows: list[tuple[results.TrialResult, tuple[float, ...]]] = []
    for item in sorted(shown, key=lambda item: sign * (item.value or 0.0)):
        places = [place_on(rail, item.texts[rail.label]) if rail.label in item.texts else None for rail in rails]
        if all(place is not None for place in places):
            rows.append((item, (*(place for place in places if place is not None), item.value or 0.0)))
    shade, low, high = chart.shades([item.value or 0.0 for item, _ in rows])
    texts = tuple(plots_trials.hover(item, result.metric) for item, _ in rows)
    threads = chart.Threads((*rails, goal), tuple(values for _, values in rows), shade, texts)
    if len(names) > MOST_RAILS:
        note = "; ".join(filter(None, (note, f"the {MOST_RAILS} most important of {len(names)} parameters are shown")))
    panel = chart.Panel(chart.Axis("", 0.0, max(len(rails), 1)), chart.Axis(""), (threads,))
    return chart.Chart("parallel", title, (panel,), note, (result.metric, low, high))


def slices(result: results.Result) -> chart.Chart:
    """Each parameter against the objective, in the order of importance; later trials are lighter."""
    title = f"Parameters against {result.metric}"
    if not result.usable:
        return plots_trials.nothing("slice", title, result)
    names = ranked_parameters(result)
    y = chart.numeric(result.metric, [item.value or 0.0 for item in result.usable])
    shown, note = plots_trials.thin(result.usable, plots_trials.MOST_POINTS // 2)
    panels = []
    for name in names[:MOST_SLICES]:
        x = axis_of(result, name)
        some = [(item, value) for item in shown if (value := place_on(x, item.texts.get(name, ""))) is not None]
        shade, _, _ = chart.shades([float(item.number) for item, _ in some])
        dots = chart.Points(
            result.metric,
            tuple(value for _, value in some),
            tuple(item.value or 0.0 for item, _ in some),
            tuple(plots_trials.hover(item, result.metric) for item, _ in some),
            "trial",
            shade,
        )
        panels.append(chart.Panel(x, y, (dots,)))
    if len(names) > MOST_SLICES:
        note = "; ".join(filter(None, (note, f"the {MOST_SLICES} most important of {len(names)} parameters are shown")))
    numbers = [float(item.number) for item in shown]
    return chart.Chart("slice", title, tuple(panels), note, ("trial", min(numbers), max(numbers)))


def contour(result: results.Result, parameters: Sequence[str] = ()) -> chart.Chart:
    """Two parameters (default: the two most important) and the objective between the trials, by inverse distance weighting.

    (Shepard 1968, power 3.) Raises BadInputError for a parameter that no trial had.
    """
    title = f"Contour of {result.metric}"
    if not result.usable:
        return plots_trials.nothing("contour", title, result)
    names = list(parameters) or ranked_parameters(result)[:2]
    unknown = [name for name in names if name not in result.parameters]
    if unknown:
        raise errors.BadInputError(f"contour: no parameter {unknown[0]!r}; there are {', '.join(result.parameters)}")
    if len(names) != 2 or names[0] == names[1]:
        return chart.Chart("contour", title, note="A contour needs two parameters.")
    x, y = (axis_of(result, name) for name in names)
    shown, note = plots_trials.thin(result.usable, plots_trials.MOST_POINTS // 4)
    some = []
    for item in shown:
        across, up = place_on(x, item.texts.get(names[0], "")), place_on(y, item.texts.get(names[1], ""))
        if across is not None and up is not None:
            some.append((item, across, up))
    if not some:
        return chart.Chart("contour", title, note=f"No trial has both {names[0]} and {names[1]}.")
    shade, low, high = chart.shades([item.value or 0.0 for item, _, _ in some])
    heat = _heat(x, y, [(x.place(across), y.place(up)) for _, across, up in some], shade)
    texts = tuple(plots_trials.hover(item, result.metric) for item, _, _ in some)
    dots = chart.Points("trials", tuple(p[1] for p in some), tuple(p[2] for p in some), texts, "dot", shade)
    return chart.Chart("contour", title, (chart.Panel(x, y, (heat, dots)),), note, (result.metric, low, high))


def importance(result: results.Result) -> chart.Chart:
    """How much of the objective's variance each parameter explains."""
    title = f"Importance for {result.metric}"
    try:
        shares = result.importance()
    except errors.KuttabError as problem:
        return chart.Chart("importance", title, note=problem.message)
    top = list(shares.items())[:20]
    note = f"the 20 most important of {len(shares)} parameters are shown" if len(shares) > len(top) else ""
    x = chart.Axis("share of the variance that parameters explain alone", 0.0, max(share for _, share in top) * 1.08)
    y = chart.category("", [name for name, _ in reversed(top)])
    bars = chart.Bars(tuple(name for name, _ in top), tuple(share for _, share in top))
    return chart.Chart("importance", title, (chart.Panel(x, y, (bars,)),), note)


def _heat(x: chart.Axis, y: chart.Axis, places: Sequence[tuple[float, float]], shade: Sequence[float]) -> chart.Heat:
    columns, rows = len(x.categories) or CELLS, len(y.categories) or CELLS
    grid = [
        tuple(_between((column + 0.5) / columns, (row + 0.5) / rows, places, shade) for column in range(columns))
        for row in range(rows)
    ]
    return chart.Heat(tuple(grid))


def _between(across: float, up: float, places: Sequence[tuple[float, float]], values: Sequence[float]) -> float:
    total = weight = 0.0
    for (px, py), value in zip(places, values, strict=True):
        w = 1.0 / (((px - across) ** 2 + (py - up) ** 2) ** 1.5 + 1e-6)
        total, weight = total + w * value, weight + w
    return total / weight


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
