"""Charts of trials over time: history, learning curves, timeline, and the distribution of what they reached."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from kuttab.api.history import TrialState
from kuttab.sdk import plots_chart as chart

if TYPE_CHECKING:
    from kuttab.sdk import results

MOST_POINTS = 2000
"""Dots in a chart, at most; more are thinned evenly, and the note says so."""

MOST_CURVES = 40

TONES = {
    TrialState.SUCCEEDED: "trial",
    TrialState.EARLY_STOPPED: "stopped",
    TrialState.FAILED: "bad",
    TrialState.METRICS_UNAVAILABLE: "bad",
    TrialState.KILLED: "idle",
    TrialState.RUNNING: "running",
    TrialState.PENDING: "idle",
}

T = TypeVar("T")


def thin(items: Sequence[T], most: int = MOST_POINTS) -> tuple[list[T], str]:
    """At most so many items, evenly chosen with the first and the last, and a note when some are left out."""
    if len(items) <= most:
        return list(items), ""
    step = (len(items) - 1) / (most - 1)
    return [items[round(index * step)] for index in range(most)], f"{most} of {len(items)} trials are shown"


def hover(item: results.TrialResult, metric: str) -> str:
    """A trial in a few lines."""
    value = f"{metric} = {item.value:.6g}" if item.value is not None else item.reason or str(item.state)
    given = [f"{name} = {_short(value)}" for name, value in list(item.parameters.items())[:12]]
    more = [f"... and {len(item.parameters) - 12} more"] if len(item.parameters) > 12 else []
    return "\n".join([f"#{item.number} {item.name}", value, *given, *more])


def nothing(kind: str, title: str, result: results.Result) -> chart.Chart:
    """A chart that says that no trial has a value."""
    return chart.Chart(kind, title, note=f"No trial has measured {result.metric} yet.")


def history(result: results.Result) -> chart.Chart:
    """Objective by trial number, the best so far as a line, failed trials along the bottom."""
    title = f"History of {result.metric}"
    usable = result.usable
    if not usable:
        return nothing("history", title, result)
    shown, note = thin(usable)
    values = [item.value or 0.0 for item in usable]
    x = chart.numeric("trial", [float(item.number) for item in result.trials])
    y = chart.numeric(result.metric, values)
    marks: list[chart.Mark] = []
    for state, name in ((TrialState.SUCCEEDED, "finished"), (TrialState.EARLY_STOPPED, "stopped early")):
        some = [item for item in shown if item.state is state]
        if some:
            marks.append(
                chart.Points(
                    name,
                    tuple(float(item.number) for item in some),
                    tuple(item.value or 0.0 for item in some),
                    tuple(hover(item, result.metric) for item in some),
                    TONES[state],
                )
            )
    failed, _ = thin([item for item in result.trials if TONES[item.state] == "bad"], MOST_POINTS // 4)
    if failed:
        numbers = tuple(float(item.number) for item in failed)
        texts = tuple(hover(item, result.metric) for item in failed)
        marks.append(chart.Points("failed", numbers, tuple(y.low for _ in failed), texts, "bad"))
    marks.append(_best_line(usable, result.maximize, x.high))
    return chart.Chart("history", title, (chart.Panel(x, y, tuple(marks)),), note)


def _best_line(usable: Sequence[results.TrialResult], maximize: bool, end: float) -> chart.Line:
    xs: list[float] = []
    ys: list[float] = []
    for item in usable:
        value = item.value or 0.0
        if not ys or (value > ys[-1] if maximize else value < ys[-1]):
            xs.append(float(item.number))
            ys.append(value)
    return chart.Line("best so far", (*xs, end), (*ys, ys[-1]), "best", step=True)


def edf(result: results.Result) -> chart.Chart:
    """The share of trials whose objective is at least as good as a value."""
    title = f"Distribution of {result.metric}"
    values = sorted((item.value or 0.0 for item in result.usable), reverse=result.maximize)
    if not values:
        return nothing("edf", title, result)
    points, note = thin([(value, (index + 1) / len(values)) for index, value in enumerate(values)])
    x = chart.numeric(result.metric, values)
    better = "at least" if result.maximize else "at most"
    y = chart.Axis(f"share of trials with {better} that", 0.0, 1.05)
    line = chart.Line("trials", tuple(p[0] for p in points), tuple(p[1] for p in points), "trial", step=True)
    return chart.Chart("edf", title, (chart.Panel(x, y, (line,)),), note)


def curves(result: results.Result, metric: str = "") -> chart.Chart:
    """What trials reported of a metric (default: the objective) while they ran: the best trials, and others evenly chosen."""
    wanted = metric or result.metric
    title = f"Learning curves of {wanted}"
    sign = -1.0 if result.maximize else 1.0
    ranked = sorted(result.usable, key=lambda item: (sign * (item.value or 0.0), item.number))
    chosen = ranked[: MOST_CURVES // 2]
    rest, _ = thin(ranked[MOST_CURVES // 2 :], MOST_CURVES // 2)
    found = [(item, item.curves().get(wanted, ())) for item in (*chosen, *rest)]
    found = [(item, points) for item, points in found if points]
    if not found:
        return chart.Chart("curves", title, note=f"No trial has reported {wanted} while it ran.")
    shade, low, high = chart.shades([item.value or 0.0 for item, _ in found])
    x = chart.numeric("report", [float(step) for _, points in found for step, _ in points])
    y = chart.numeric(wanted, [value for _, points in found for _, value in points])
    lines = [
        chart.Line(
            item.name,
            tuple(float(step) for step, _ in points),
            tuple(value for _, value in points),
            "trial",
            shade=place,
            hover=hover(item, result.metric),
        )
        for (item, points), place in zip(found, shade, strict=True)
    ]
    note = f"{len(found)} of {len(ranked)} trials are shown" if len(found) < len(ranked) else ""
    return chart.Chart("curves", title, (chart.Panel(x, y, tuple(reversed(lines))),), note, (result.metric, low, high))


def timeline(result: results.Result) -> chart.Chart:
    """What ran when: a stretch per trial, in as few rows as the trials that ran at once (as far as whole seconds tell)."""
    title = "Timeline"
    started = sorted(
        (item for item in result.trials if item.start is not None), key=lambda item: (item.start, item.number)
    )
    if not started:
        return chart.Chart("timeline", title, note="No trial has started yet.")
    shown, note = thin(started)
    zero = min(item.start for item in started if item.start is not None)
    last = max((item.end or item.start or zero) for item in started)
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    rows = 0
    spans: dict[str, list[chart.Span]] = {}
    for item in shown:
        begin = ((item.start or zero) - zero).total_seconds()
        end = max(begin, ((item.end or last) - zero).total_seconds())
        while busy and busy[0][0] <= begin:
            heapq.heappush(free, heapq.heappop(busy)[1])
        row = heapq.heappop(free) if free else rows
        rows = max(rows, row + 1)
        heapq.heappush(busy, (end, row))
        tone = TONES[item.state]
        text = f"{hover(item, result.metric)}\n{begin:.6g} s to {end:.6g} s, {item.state}"
        spans.setdefault(tone, []).append(chart.Span(row, begin, end, tone, text))
    x = chart.numeric("seconds since the first trial started", [0.0, (last - zero).total_seconds()])
    y = chart.Axis("running at once", -0.5, rows - 0.5, categories=tuple(str(row + 1) for row in range(rows)))
    names = {"trial": "finished", "stopped": "stopped early", "bad": "failed", "idle": "killed", "running": "running"}
    marks = tuple(chart.Spans(names[tone], tuple(found)) for tone, found in spans.items())
    return chart.Chart("timeline", title, (chart.Panel(x, y, marks),), note)


def _short(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
