"""Line charts as SVG text: a small home-made writer, so that the results page needs no plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 40, 48
COLOURS = (
    *("#d1495b", "#1f6f8b", "#66a182", "#edae49", "#5c4d7d", "#8d96a3"),
    *("#2e4057", "#b5651d", "#c17fb6", "#4f7cac", "#7a9e29", "#333333"),
)


def lines(
    title: str,
    x_label: str,
    y_label: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    bold: Sequence[str] = (),
    log_x: bool = False,
) -> str:
    """A chart with a logarithmic y axis; ``series`` is name -> (x, y), and those in ``bold`` are drawn thicker."""
    points = [(x, y) for xs, ys in series.values() for x, y in zip(xs, ys, strict=True) if y > 0 and math.isfinite(y)]
    if not points:
        return ""
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low = math.log10(min(y for _, y in points)) - 0.03
    high = math.log10(max(y for _, y in points)) + 0.03
    scale = math.log10 if log_x else float

    def at_x(x: float) -> float:
        span = max(scale(high_x) - scale(low_x), 1e-12)
        return LEFT + (scale(x) - scale(low_x)) / span * (WIDTH - LEFT - RIGHT)

    def at_y(y: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(y) - low) / max(high - low, 1e-12) * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" fill="#222222">{escape(title)}</text>',
    ]
    for y in _ticks(low, high):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}" stroke="#e4e4e4"/>')
        out.append(f'<text x="{LEFT - 8}" y="{at_y(y) + 4:.1f}" text-anchor="end" fill="#555555">{y:g}</text>')
    out += [
        f'<text x="{at_x(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#555555">{x:g}</text>'
        for x in _places(low_x, high_x, log_x)
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle" fill="#222222">{escape(x_label)}</text>')
    out.append(
        f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" fill="#222222" transform="rotate(-90 16 {HEIGHT / 2})">'
        f"{escape(y_label)}</text>"
    )
    for index, (name, (xs, ys)) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in zip(xs, ys, strict=True) if y > 0)
        width = 2.6 if name in bold else 1.3
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" points="{path}"/>')
        y = TOP + 16 * index + 8
        out.append(
            f'<line x1="{WIDTH - RIGHT + 12}" x2="{WIDTH - RIGHT + 36}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="{width}"/>'
        )
        out.append(f'<text x="{WIDTH - RIGHT + 42}" y="{y + 4}" fill="#222222">{escape(name)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two logarithms; powers alone when there are many."""
    factors = (1, 2, 5) if high - low < 2.5 else (1,)
    found = [f * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for f in factors]
    return [y for y in found if low <= math.log10(y) <= high]


def _places(low: float, high: float, log: bool) -> list[float]:
    if log:
        return [10.0**e for e in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9)))
    step = step / 5 if (high - low) / step < 2 else step / 2 if (high - low) / step < 5 else step
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
