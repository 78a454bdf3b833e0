"""Charts as SVG, written by hand: no library, no script, no network, hostile text escaped.

Hover texts are ``<title>`` elements, which every browser shows by itself. Light and dark paper follow the reader's setting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kuttab.sdk import plots_chart as chart
from kuttab.sdk import plots_marks as marks
from kuttab.sdk import plots_style as style
from kuttab.sdk.plots_marks import Box, text_of

WIDTH = 760
HEIGHT = 380
HEAD = 44
"""Room for the title and the legend."""
GLYPH = 6.1
"""Width of a letter at 11 px, near enough."""


def document(data: chart.Chart) -> str:
    """A whole SVG file."""
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + fragment(data, sheet=True) + "\n"


def page(data: chart.Chart) -> str:
    """An HTML page that holds the chart alone."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{text_of(data.title)}</title>'
        "<style>:root{color-scheme:light dark}body{margin:16px}@media (prefers-color-scheme:dark)"
        f"{{body{{background:{style.DARK['paper']}}}}}svg{{max-width:100%;height:auto}}</style></head>"
        f"<body>{fragment(data, sheet=True)}</body></html>\n"
    )


def fragment(data: chart.Chart, *, sheet: bool = False, width: int = WIDTH) -> str:
    """The ``<svg>`` element; ``sheet`` puts the style sheet inside, which a page with several charts needs only once."""
    layout = _layout(data, width)
    parts = [
        f'<svg class="k" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {layout.width} {layout.height}" '
        f'width="{layout.width}" height="{layout.height}" role="img" aria-label="{text_of(data.title)}">'
    ]
    if sheet:
        parts.append(f"<style>{style.sheet()}</style>")
    parts.append(f'<rect class="k-paper" width="{layout.width}" height="{layout.height}"/>')
    parts.append(f'<text class="k-ink k-title" x="16" y="24">{text_of(data.title)}</text>')
    if data.scale is not None and data.panels:
        parts.append(_scale(data.scale, layout.width))
    elif data.panels:
        parts.append(_legend(data.panels[0], layout.width))
    for panel, place in zip(data.panels, layout.places, strict=True):
        parts.append(_panel(panel, place))
    if data.note:
        parts += [
            f'<text class="k-dim" x="16" y="{layout.height - 10 - 15 * back}">{text_of(line)}</text>'
            for back, line in enumerate(reversed(_wrapped(data.note, layout.width)))
        ]
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True)
class _Layout:
    width: int
    height: int
    places: tuple[Box, ...]


def _layout(data: chart.Chart, width: int) -> _Layout:
    """Where each panel goes: one fills the figure, several stand side by side, as many as fit."""
    foot = 4 + 15 * len(_wrapped(data.note, width)) if data.note else 0
    if not data.panels:
        return _Layout(width, HEAD + foot + 24, ())
    top = HEAD - 8
    if len(data.panels) == 1:
        tall = _height(data.panels[0])
        return _Layout(width, tall + foot, (Box(0, top, width, tall - top),))
    columns = min(width // 250, len(data.panels))
    wide, high = width // columns, 250
    rows = math.ceil(len(data.panels) / columns)
    places = [Box(wide * (i % columns), top + high * (i // columns), wide, high) for i in range(len(data.panels))]
    return _Layout(width, top + high * rows + foot, tuple(places))


def _height(panel: chart.Panel) -> int:
    """Pixels that a panel alone takes, with the head: rows of bars and stretches keep their thickness."""
    for mark in panel.marks:
        if isinstance(mark, chart.Bars):
            return HEAD + 64 + 26 * len(mark.labels)
        if isinstance(mark, chart.Spans):
            rows = len(panel.y.categories)
            return int(max(170, HEAD + 70 + min(24, 400 / rows) * rows))
    return HEIGHT


def _panel(panel: chart.Panel, place: Box) -> str:
    if any(isinstance(mark, chart.Threads) for mark in panel.marks):
        inner = Box(place.x + 60, place.y + 34, place.width - 130, place.height - 60)
        return "".join(marks.draw(mark, panel, inner) for mark in panel.marks)
    names = [text for _, text in panel.y.ticks()]
    left = 40 + min(170, GLYPH * max((len(name) for name in names), default=0))
    slanted = _slanted(panel.x, place.width - left)
    bottom = 44 + (44 if slanted else 0)
    inner = Box(place.x + left, place.y + 14, place.width - left - 18, place.height - 14 - bottom)
    return _axes(panel, inner, slanted) + "".join(marks.draw(mark, panel, inner) for mark in panel.marks)


def _slanted(axis: chart.Axis, width: float) -> bool:
    """Whether the names along an axis are too long to stand side by side."""
    ticks = axis.ticks()
    return bool(axis.categories) and max(len(text) for _, text in ticks) * GLYPH > width / len(ticks) - 6


def _axes(panel: chart.Panel, box: Box, slanted: bool) -> str:
    parts = []
    wanted = max(2, min(6, int(box.width / 75)))
    for value, text in panel.x.ticks(wanted):
        x = box.across(panel.x, value)
        if not panel.x.categories:
            parts.append(f'<path class="k-grid" d="M{x:.1f} {box.y:.1f}v{box.height:.1f}"/>')
        if slanted:
            shown = text_of(marks.short(text, 14))
            at = f'transform="translate({x + 3:.1f} {box.bottom + 14:.1f}) rotate(-35)"'
            parts.append(f'<text class="k-dim" text-anchor="end" {at}>{shown}</text>')
        else:
            parts.append(
                f'<text class="k-dim" text-anchor="middle" x="{x:.1f}" y="{box.bottom + 16:.1f}">{text_of(text)}</text>'
            )
    for value, text in panel.y.ticks(max(2, min(6, int(box.height / 45))), int(box.height / 12)):
        y = box.up(panel.y, value)
        if not panel.y.categories:
            parts.append(f'<path class="k-grid" d="M{box.x:.1f} {y:.1f}h{box.width:.1f}"/>')
        shown = text_of(marks.short(text, 28))
        parts.append(f'<text class="k-dim" text-anchor="end" x="{box.x - 7:.1f}" y="{y + 4:.1f}">{shown}</text>')
    parts.append(f'<path class="k-axis" d="M{box.x:.1f} {box.y:.1f}V{box.bottom:.1f}H{box.right:.1f}"/>')
    middle = box.x + box.width / 2
    below = box.bottom + (76 if slanted else 34)
    label = text_of(marks.short(panel.x.label, int(box.width / GLYPH)))
    parts.append(f'<text class="k-ink" text-anchor="middle" x="{middle:.1f}" y="{below:.1f}">{label}</text>')
    if panel.y.label:
        label = text_of(marks.short(panel.y.label, int(box.height / GLYPH)))
        widest = max((len(text) for _, text in panel.y.ticks()), default=0)
        x = box.x - 18 - min(170, GLYPH * widest)
        at = f'transform="translate({x:.1f} {box.y + box.height / 2:.1f}) rotate(-90)"'
        parts.append(f'<text class="k-ink" text-anchor="middle" {at}>{label}</text>')
    return "".join(parts)


def _legend(panel: chart.Panel, width: float) -> str:
    """Names of the marks, from the right."""
    parts, x = [], width - 16.0
    for mark in reversed(panel.marks):
        if not isinstance(mark, chart.Points | chart.Line | chart.Spans) or not mark.name:
            continue
        tone = mark.spans[0].tone if isinstance(mark, chart.Spans) else mark.tone
        x -= GLYPH * len(mark.name)
        parts.append(f'<text class="k-dim" x="{x:.1f}" y="23">{text_of(mark.name)}</text>')
        parts.append(f'<circle class="k-{tone}" cx="{x - 9:.1f}" cy="19" r="4"/>')
        x -= 30
    return "".join(parts)


def _scale(scale: tuple[str, float, float], width: float) -> str:
    """The colour scale with what its ends mean."""
    name, low, high = scale
    right = f"{high:.4g}"
    x = width - 16 - GLYPH * len(right)
    parts = [f'<text class="k-dim" x="{x:.1f}" y="23">{right}</text>']
    x -= 106
    parts += [
        f'<rect fill="{style.shade(index / 19)}" x="{x + index * 5:.1f}" y="14" width="5" height="10" shape-rendering="crispEdges"/>'
        for index in range(20)
    ]
    label = text_of(f"{marks.short(name, 30)}  {low:.4g}")
    parts.append(f'<text class="k-dim" text-anchor="end" x="{x - 6:.1f}" y="23">{label}</text>')
    return "".join(parts)


def _wrapped(note: str, width: float) -> list[str]:
    """Lines of a note that fit the figure."""
    most = int((width - 32) / GLYPH)
    lines = [""]
    for word in note.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {marks.short(word, most)}".strip()
    return lines[:4]
