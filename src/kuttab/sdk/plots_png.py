"""Charts as PNG through matplotlib; an extra (``kuttab[plots]``). Draws into a file, never into a window."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from kuttab.base import errors
from kuttab.sdk import plots_chart as chart
from kuttab.sdk import plots_style as style

try:
    from matplotlib.backends import backend_agg
    from matplotlib.figure import Figure
except ImportError as problem:
    raise errors.BadInputError(
        "PNG files need matplotlib; install it with: pip install 'kuttab[plots]', or write .svg"
    ) from problem

DPI = 150


def write(data: chart.Chart, path: Path) -> None:
    """Write the chart."""
    columns = min(3, max(len(data.panels), 1))
    rows = math.ceil(len(data.panels) / columns) or 1
    figure = Figure(figsize=(8.0 if columns < 3 else 10.0, 4.4 if rows == 1 else 2.8 * rows), layout="constrained")
    backend_agg.FigureCanvasAgg(figure)
    figure.suptitle(_plain(data.title), x=0.02, ha="left", fontsize=12, fontweight="bold")
    for index, panel in enumerate(data.panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        threads = next((mark for mark in panel.marks if isinstance(mark, chart.Threads)), None)
        if threads is not None:
            _threads(axes, threads)
            continue
        _axes(axes, panel)
        for mark in panel.marks:
            _mark(axes, mark, panel)
        if any(isinstance(mark, chart.Points | chart.Line | chart.Spans) and _named(mark) for mark in panel.marks):
            axes.legend(fontsize=8, frameon=False)
    notes = [data.note] if data.note else []
    if data.scale is not None and data.panels:
        name, low, high = data.scale
        notes.append(f"colour: {name} from {low:.4g} (violet) to {high:.4g} (amber)")
    if notes:
        figure.supxlabel(_plain("; ".join(notes)), fontsize=8, color="#667085", wrap=True)
    figure.savefig(path, dpi=DPI, format="png")


def _axes(axes: Any, panel: chart.Panel) -> None:
    if panel.x.log:
        axes.set_xscale("log")
    if panel.y.log:
        axes.set_yscale("log")
    axes.set_xlim(panel.x.low, panel.x.high)
    axes.set_ylim(panel.y.low, panel.y.high)
    axes.set_xlabel(_plain(panel.x.label), fontsize=9)
    axes.set_ylabel(_plain(panel.y.label), fontsize=9)
    axes.tick_params(labelsize=8)
    for axis, setter in ((panel.x, axes.set_xticks), (panel.y, axes.set_yticks)):
        if axis.categories:
            ticks = axis.ticks()
            slant = {"rotation": 35, "ha": "right"} if axis is panel.x and sum(len(t) for _, t in ticks) > 40 else {}
            setter([value for value, _ in ticks], [_plain(text[:28]) for _, text in ticks], **slant)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(visible=True, color="#e6e8ec", linewidth=0.6)
    axes.set_axisbelow(True)


def _mark(axes: Any, mark: chart.Mark, panel: chart.Panel) -> None:
    if isinstance(mark, chart.Points):
        colour: Any = [style.shade(place) for place in mark.shade] if mark.shade else style.TONES[mark.tone]
        label = _plain(mark.name) if _named(mark) else None
        axes.scatter(
            mark.x, mark.y, c=colour, s=22, edgecolors="white", linewidths=0.5, label=label, zorder=3, clip_on=False
        )
    elif isinstance(mark, chart.Line):
        colour = style.TONES[mark.tone] if mark.shade is None else style.shade(mark.shade)
        label = _plain(mark.name) if _named(mark) else None
        style_of = {"drawstyle": "steps-post"} if mark.step else {}
        axes.plot(mark.x, mark.y, color=colour, linewidth=1.6, label=label, **style_of)
    elif isinstance(mark, chart.Bars):
        places = [len(mark.labels) - 1 - index for index in range(len(mark.labels))]
        axes.barh(places, mark.values, height=0.7, color=style.TONES[mark.tone])
    elif isinstance(mark, chart.Spans):
        lefts, widths = [s.start for s in mark.spans], [s.end - s.start for s in mark.spans]
        rows, colour = [s.row for s in mark.spans], style.TONES[mark.spans[0].tone]
        axes.barh(
            rows, widths, left=lefts, height=0.76, color=colour, edgecolor="white", linewidth=0.4, label=mark.name
        )
    elif isinstance(mark, chart.Heat):
        _heat(axes, mark, panel)


def _heat(axes: Any, mark: chart.Heat, panel: chart.Panel) -> None:
    def edges(axis: chart.Axis, count: int) -> list[float]:
        places = [index / count for index in range(count + 1)]
        if axis.log:
            return [math.exp(math.log(axis.low) + p * (math.log(axis.high) - math.log(axis.low))) for p in places]
        return [axis.low + place * (axis.high - axis.low) for place in places]

    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 - an extra

    colours = LinearSegmentedColormap.from_list("kuttab", style.SCALE)
    x, y = edges(panel.x, len(mark.shade[0])), edges(panel.y, len(mark.shade))
    axes.pcolormesh(x, y, mark.shade, cmap=colours, vmin=0, vmax=1, alpha=0.75)


def _threads(axes: Any, mark: chart.Threads) -> None:
    positions = list(range(len(mark.rails)))
    for index, values in enumerate(mark.values):
        places = [rail.place(value) for rail, value in zip(mark.rails, values, strict=True)]
        axes.plot(positions, places, color=style.shade(mark.shade[index]), linewidth=0.9, alpha=0.6)
    for position, rail in enumerate(mark.rails):
        axes.axvline(position, color="#98a2b3", linewidth=0.8)
        for value, text in rail.ticks(4):
            axes.annotate(
                _plain(text[:18]), (position, rail.place(value)), xytext=(3, 0), textcoords="offset points", fontsize=7
            )
    axes.set_xticks(positions, [_plain(rail.label[:18]) for rail in mark.rails], fontsize=8)
    axes.set_yticks([])
    axes.set_ylim(-0.02, 1.02)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _named(mark: chart.Points | chart.Line | chart.Spans) -> bool:
    """Whether the mark belongs into the legend: what is coloured by the scale does not."""
    return (
        isinstance(mark, chart.Spans)
        or (isinstance(mark, chart.Points) and not mark.shade)
        or (isinstance(mark, chart.Line) and mark.shade is None)
    )


def _plain(text: str) -> str:
    """Text that is not read as a formula, nor as control characters."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown.replace("$", r"\$")
