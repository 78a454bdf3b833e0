"""Plots of a result: which kinds there are, and the data of each. How they look is decided by the modules beside this one.

``plot_data`` is pure: the same result gives the same chart. ``draw`` writes it as SVG, PNG or a page, by the file's name.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kuttab.base import errors
from kuttab.sdk import plots_chart as chart
from kuttab.sdk import plots_space, plots_svg, plots_trials

if TYPE_CHECKING:
    from kuttab.sdk import results

Make = Callable[..., chart.Chart]

KINDS: dict[str, Make] = {
    "history": plots_trials.history,
    "parallel": plots_space.parallel,
    "slice": plots_space.slices,
    "contour": plots_space.contour,
    "importance": plots_space.importance,
    "curves": plots_trials.curves,
    "timeline": plots_trials.timeline,
    "edf": plots_trials.edf,
}
"""Name of a kind to the function that makes its data."""

SUFFIXES = (".svg", ".png", ".html")


def plot_data(kind: str, result: results.Result, **options: Any) -> chart.Chart:
    """The data of a plot: ``history`` (values in order and the best so far), ``parallel`` (parallel coordinates), ``slice`` (each
    parameter against the objective), ``contour`` (two parameters; ``parameters=(x, y)``), ``importance``, ``curves`` (what trials
    reported while they ran), ``timeline`` (what ran when), ``edf`` (share of trials at least as good).

    A chart without panels says in its note why there is nothing to show. Raises BadInputError for an unknown kind.
    """
    make = KINDS.get(kind)
    if make is None:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "there are " + ", ".join(KINDS)
        raise errors.BadInputError(f"unknown kind of plot {kind!r}; {hint}")
    return make(result, **options)


def figure(data: chart.Chart) -> Any:
    """The chart as a Plotly figure (needs ``kuttab[plots]``)."""
    from kuttab.sdk import plots_plotly  # noqa: PLC0415 - an extra

    return plots_plotly.figure(data)


def draw(data: chart.Chart, path: str | os.PathLike[str]) -> None:
    """Write a chart: ``.svg`` and ``.html`` by ourselves, ``.png`` by matplotlib (``kuttab[plots]``). Raises BadInputError."""
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix == ".svg":
        target.write_text(plots_svg.document(data), encoding="utf-8")
    elif suffix == ".html":
        target.write_text(plots_svg.page(data), encoding="utf-8")
    elif suffix == ".png":
        from kuttab.sdk import plots_png  # noqa: PLC0415 - an extra

        plots_png.write(data, target)
    else:
        raise errors.BadInputError(
            f"{target}: plots are written as {', '.join(SUFFIXES)}; give the file one of these endings"
        )
