"""Charts as Plotly figures, for notebooks; an extra (``kuttab[plots]``)."""

from __future__ import annotations

import html
import math
from typing import Any

from kuttab.base import errors
from kuttab.sdk import plots_chart as chart
from kuttab.sdk import plots_style as style

try:
    import plotly.graph_objects as go
    from plotly import subplots
except ImportError as problem:
    raise errors.BadInputError("figures need plotly; install it with: pip install 'kuttab[plots]'") from problem

COLOURS = [[index / (len(style.SCALE) - 1), colour] for index, colour in enumerate(style.SCALE)]


def figure(data: chart.Chart) -> Any:
    """The figure; a chart without panels becomes an empty one with its note."""
    columns = min(3, max(len(data.panels), 1))
    rows = math.ceil(len(data.panels) / columns) or 1
    threads = next((mark for panel in data.panels for mark in panel.marks if isinstance(mark, chart.Threads)), None)
    if threads is not None:
        made = go.Figure([_parcoords(threads, data.scale)])
    else:
        made = subplots.make_subplots(rows=rows, cols=columns)
        for index, panel in enumerate(data.panels):
            row, column = index // columns + 1, index % columns + 1
            for mark in panel.marks:
                for trace in _traces(mark, panel, data.scale, alone=len(data.panels) == 1):
                    made.add_trace(trace, row=row, col=column)
            _axis(made, "x", panel.x, row, column)
            _axis(made, "y", panel.y, row, column)
    made.update_layout(
        title=html.escape(data.title), barmode="overlay", height=max(420, 280 * rows), hovermode="closest"
    )
    if data.note:
        made.add_annotation(text=html.escape(data.note), xref="paper", yref="paper", x=0, y=-0.2, showarrow=False)
    return made


def _traces(mark: chart.Mark, panel: chart.Panel, scale: tuple[str, float, float] | None, *, alone: bool) -> list[Any]:
    if isinstance(mark, chart.Points):
        marker: dict[str, Any] = {"color": style.TONES[mark.tone], "size": 7}
        if mark.shade and scale is not None:
            marker |= {"color": list(mark.shade), "colorscale": COLOURS, "cmin": 0, "cmax": 1}
            if alone:
                marker |= {"showscale": True, "colorbar": _bar(scale)}
        texts = _hover(mark.hover)
        named = {"name": html.escape(mark.name), "showlegend": alone and not mark.shade}
        return [go.Scatter(x=mark.x, y=mark.y, mode="markers", marker=marker, text=texts, hoverinfo="text", **named)]
    if isinstance(mark, chart.Line):
        colour = style.TONES[mark.tone] if mark.shade is None else style.shade(mark.shade)
        line = {"color": colour, "shape": "hv" if mark.step else "linear"}
        named = {"name": html.escape(mark.name), "showlegend": mark.shade is None}
        return [go.Scatter(x=mark.x, y=mark.y, mode="lines", line=line, **named)]
    if isinstance(mark, chart.Bars):
        places = [len(mark.labels) - 1 - index for index in range(len(mark.labels))]
        solid = {"color": style.TONES[mark.tone]}
        return [go.Bar(x=mark.values, y=places, orientation="h", marker=solid, showlegend=False)]
    if isinstance(mark, chart.Spans):
        return [_spans(mark)]
    if isinstance(mark, chart.Heat):
        return [_heat(mark, panel)]
    return []


def _spans(mark: chart.Spans) -> Any:
    return go.Bar(
        x=[span.end - span.start for span in mark.spans],
        base=[span.start for span in mark.spans],
        y=[span.row for span in mark.spans],
        orientation="h",
        marker={"color": style.TONES[mark.spans[0].tone]},
        text=_hover(tuple(span.hover for span in mark.spans)),
        textposition="none",
        hoverinfo="text",
        name=html.escape(mark.name),
    )


def _heat(mark: chart.Heat, panel: chart.Panel) -> Any:
    def middles(axis: chart.Axis, count: int) -> list[float]:
        places = [(index + 0.5) / count for index in range(count)]
        if axis.log:
            return [math.exp(math.log(axis.low) + p * (math.log(axis.high) - math.log(axis.low))) for p in places]
        return [axis.low + place * (axis.high - axis.low) for place in places]

    x, y = middles(panel.x, len(mark.shade[0])), middles(panel.y, len(mark.shade))
    return go.Heatmap(
        x=x, y=y, z=mark.shade, zmin=0, zmax=1, colorscale=COLOURS, showscale=False, hoverinfo="skip", opacity=0.75
    )


def _parcoords(mark: chart.Threads, scale: tuple[str, float, float] | None) -> Any:
    """Plotly's own parallel coordinates; a logarithmic rail shows the places with the real numbers beside them."""
    dimensions = []
    for index, rail in enumerate(mark.rails):
        ticks = rail.ticks()
        dimensions.append(
            {
                "label": html.escape(rail.label),
                "range": [0, 1],
                "values": [rail.place(values[index]) for values in mark.values],
                "tickvals": [rail.place(value) for value, _ in ticks],
                "ticktext": [html.escape(text) for _, text in ticks],
            }
        )
    line: dict[str, Any] = {"color": list(mark.shade), "colorscale": COLOURS, "cmin": 0, "cmax": 1}
    if scale is not None:
        line |= {"showscale": True, "colorbar": _bar(scale)}
    return go.Parcoords(dimensions=dimensions, line=line)


def _axis(made: Any, which: str, axis: chart.Axis, row: int, column: int) -> None:
    found: dict[str, Any] = {"title": html.escape(axis.label), "range": [axis.low, axis.high]}
    if axis.categories:
        found |= {"tickvals": list(range(len(axis.categories))), "ticktext": [html.escape(c) for c in axis.categories]}
    elif axis.log:
        found |= {"type": "log", "range": [math.log10(axis.low), math.log10(axis.high)]}
    (made.update_xaxes if which == "x" else made.update_yaxes)(row=row, col=column, **found)


def _bar(scale: tuple[str, float, float]) -> dict[str, Any]:
    name, low, high = scale
    return {"title": html.escape(name), "tickvals": [0, 1], "ticktext": [f"{low:.4g}", f"{high:.4g}"]}


def _hover(texts: tuple[str, ...]) -> list[str]:
    return [html.escape(text).replace("\n", "<br>") for text in texts]
