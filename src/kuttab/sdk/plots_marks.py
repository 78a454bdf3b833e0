"""The marks of a chart as SVG elements, inside the box of their panel."""

from __future__ import annotations

import html
from dataclasses import dataclass

from kuttab.sdk import plots_chart as chart
from kuttab.sdk import plots_style as style


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, y downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.y + self.height

    def across(self, axis: chart.Axis, value: float) -> float:
        """Pixel of a value along x, kept inside."""
        return self.x + self.width * min(1.0, max(0.0, axis.place(value)))

    def up(self, axis: chart.Axis, value: float) -> float:
        """Pixel of a value along y, kept inside."""
        return self.bottom - self.height * min(1.0, max(0.0, axis.place(value)))


def text_of(text: object) -> str:
    """Text that is safe in XML and HTML, attributes included; characters that XML cannot hold are shown as escapes."""
    shown = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in str(text))
    return html.escape(shown, quote=True)


def short(text: str, most: int) -> str:
    """Text cut to so many characters."""
    return text if len(text) <= most else text[: max(most - 1, 1)] + "…"


def draw(mark: chart.Mark, panel: chart.Panel, box: Box) -> str:
    """A mark's elements."""
    if isinstance(mark, chart.Points):
        return _points(mark, panel, box)
    if isinstance(mark, chart.Line):
        return _line(mark, panel, box)
    if isinstance(mark, chart.Bars):
        return _bars(mark, panel, box)
    if isinstance(mark, chart.Spans):
        return _spans(mark, panel, box)
    if isinstance(mark, chart.Heat):
        return _heat(mark, box)
    return _threads(mark, box)


def _points(mark: chart.Points, panel: chart.Panel, box: Box) -> str:
    parts = []
    for index, (x, y) in enumerate(zip(mark.x, mark.y, strict=True)):
        colour = f' style="fill:{style.shade(mark.shade[index])}"' if mark.shade else ""
        at = f'cx="{box.across(panel.x, x):.1f}" cy="{box.up(panel.y, y):.1f}"'
        parts.append(f'<circle class="k-{mark.tone} k-point"{colour} {at} r="4">{_title(mark.hover, index)}</circle>')
    return "".join(parts)


def _line(mark: chart.Line, panel: chart.Panel, box: Box) -> str:
    places = [(box.across(panel.x, x), box.up(panel.y, y)) for x, y in zip(mark.x, mark.y, strict=True)]
    if not places:
        return ""
    path = [f"M{places[0][0]:.1f} {places[0][1]:.1f}"]
    for x, y in places[1:]:
        path.append(f"H{x:.1f}V{y:.1f}" if mark.step else f"L{x:.1f} {y:.1f}")
    colour = f' style="stroke:{style.shade(mark.shade)}"' if mark.shade is not None else ""
    kind = "k-thread" if mark.shade is not None else f"k-line k-{mark.tone}-line"
    title = f"<title>{text_of(mark.hover)}</title>" if mark.hover else ""
    return f'<path class="{kind}"{colour} d="{"".join(path)}">{title}</path>'


def _bars(mark: chart.Bars, panel: chart.Panel, box: Box) -> str:
    parts = []
    height = box.height / max(len(mark.labels), 1)
    for index, (label, value) in enumerate(zip(mark.labels, mark.values, strict=True)):
        y = box.up(panel.y, len(mark.labels) - 1 - index) - height * 0.35
        width = box.across(panel.x, value) - box.x
        title = f"<title>{text_of(label)} {value:.3f}</title>"
        parts.append(
            f'<rect class="k-{mark.tone}" x="{box.x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height * 0.7:.1f}" rx="2">'
            f'{title}</rect><text class="k-dim" x="{box.x + width + 6:.1f}" y="{y + height * 0.35 + 4:.1f}">{value:.2f}</text>'
        )
    return "".join(parts)


def _spans(mark: chart.Spans, panel: chart.Panel, box: Box) -> str:
    parts = []
    height = box.height / max(len(panel.y.categories), 1)
    for span in mark.spans:
        x = box.across(panel.x, span.start)
        width = max(box.across(panel.x, span.end) - x - 0.6, 1.5)
        y = box.up(panel.y, span.row) - height * 0.38
        parts.append(
            f'<rect class="k-{span.tone} k-point" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height * 0.76:.1f}" '
            f'rx="1.5"><title>{text_of(span.hover)}</title></rect>'
        )
    return "".join(parts)


def _heat(mark: chart.Heat, box: Box) -> str:
    parts = []
    height = box.height / len(mark.shade)
    for row, line in enumerate(mark.shade):
        width = box.width / len(line)
        y = box.bottom - height * (row + 1)
        for column, place in enumerate(line):
            at = f'x="{box.x + width * column:.1f}" y="{y:.1f}" width="{width + 0.3:.1f}" height="{height + 0.3:.1f}"'
            parts.append(f'<rect style="fill:{style.shade(place)}" {at}/>')
    return f'<g opacity=".72" shape-rendering="crispEdges">{"".join(parts)}</g>'


def _threads(mark: chart.Threads, box: Box) -> str:
    """Parallel coordinates: lines first, rails on top."""
    gap = box.width / max(len(mark.rails) - 1, 1)
    parts = []
    for index, values in enumerate(mark.values):
        places = [
            f"{box.x + gap * i:.1f} {box.up(rail, v):.1f}"
            for i, (rail, v) in enumerate(zip(mark.rails, values, strict=True))
        ]
        colour = style.shade(mark.shade[index])
        title = _title(mark.hover, index)
        parts.append(f'<path class="k-thread" style="stroke:{colour}" d="M{"L".join(places)}">{title}</path>')
    room = int(gap / 6.1)
    for index, rail in enumerate(mark.rails):
        x = box.x + gap * index
        parts.append(f'<path class="k-axis" d="M{x:.1f} {box.y:.1f}V{box.bottom:.1f}"/>')
        label = text_of(short(rail.label, room))
        parts.append(f'<text class="k-ink" text-anchor="middle" x="{x:.1f}" y="{box.y - 12:.1f}">{label}</text>')
        for value, text in rail.ticks(4):
            y = box.up(rail, value)
            parts.append(f'<path class="k-axis" d="M{x - 3:.1f} {y:.1f}h6"/>')
            shown = text_of(short(text, max(room - 3, 4)))
            parts.append(f'<text class="k-dim k-halo" x="{x + 6:.1f}" y="{y + 4:.1f}">{shown}</text>')
    return "".join(parts)


def _title(texts: tuple[str, ...], index: int) -> str:
    return f"<title>{text_of(texts[index])}</title>" if texts else ""
