"""Colours of plots, one set for light and dark paper, and the style sheet of our own drawings.

Every colour is of middle lightness, so that it stands out on white and on near-black; the scale runs from violet over rose to amber
and keeps its order for people who do not see all colours.
"""

from __future__ import annotations

TONES = {
    "trial": "#4f7fd9",
    "stopped": "#c98a1b",
    "bad": "#d6455d",
    "idle": "#8a93a3",
    "running": "#2f9e8f",
    "best": "#e0731d",
    "dot": "#4f7fd9",
}

SCALE = ("#6a55d8", "#a653c4", "#d9558f", "#ee7d54", "#f2b13c")
"""The colour scale, from its lower to its upper end."""

LIGHT = {"paper": "#ffffff", "ink": "#1d2430", "dim": "#667085", "grid": "#e6e8ec", "edge": "#ffffff"}
DARK = {"paper": "#14171c", "ink": "#e8eaee", "dim": "#98a2b3", "grid": "#2a2f38", "edge": "#14171c"}


def shade(place: float) -> str:
    """The colour at a place (0..1) of the scale."""
    position = min(1.0, max(0.0, place)) * (len(SCALE) - 1)
    index = min(int(position), len(SCALE) - 2)
    share = position - index
    first, second = _rgb(SCALE[index]), _rgb(SCALE[index + 1])
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(first, second, strict=True))


def sheet() -> str:
    """The style sheet that our SVG needs, with a dark half."""
    tones = "".join(
        f".k-{name}{{fill:{colour};stroke:{colour}}}.k-{name}-line{{stroke:{colour}}}" for name, colour in TONES.items()
    )
    return (
        "svg.k text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;stroke:none}"
        "svg.k text.k-title{font-size:14px;font-weight:600}"
        "svg.k .k-line{fill:none;stroke-width:2;stroke-linejoin:round}"
        "svg.k .k-thread{fill:none;stroke-width:1.2;opacity:.55}svg.k .k-thread:hover{stroke-width:3;opacity:1}"
        "svg.k .k-point{stroke-width:1}svg.k .k-point:hover{stroke-width:3}"
        f"{tones}{_paper(LIGHT)}@media (prefers-color-scheme:dark){{{_paper(DARK)}}}"
    )


def _paper(colours: dict[str, str]) -> str:
    return (
        f".k-paper{{fill:{colours['paper']}}}.k-ink{{fill:{colours['ink']}}}.k-dim{{fill:{colours['dim']}}}"
        f".k-grid{{stroke:{colours['grid']};fill:none}}.k-axis{{stroke:{colours['dim']};fill:none}}"
        f"svg.k .k-point{{stroke:{colours['edge']}}}"
        f"svg.k text.k-halo{{paint-order:stroke;stroke:{colours['paper']};stroke-width:3px;stroke-opacity:.8}}"
    )


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
