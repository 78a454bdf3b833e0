"""Results as rows: CSV, JSON, pandas, and the small table that a notebook shows. Decides nothing about what is best."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kuttab.base import clock, errors
from kuttab.rules import spreadsheet

if TYPE_CHECKING:
    from kuttab.sdk import results

FIXED = ("number", "name", "state", "reason", "value", "start", "end", "duration")
"""Columns that every table has; a metric or parameter of the same name gets ``metric.`` or ``parameter.`` in front."""


def columns(result: results.Result) -> tuple[dict[str, str], dict[str, str]]:
    """Column names of metrics and of parameters, by their own names."""
    named = dict.fromkeys(objective.metric for objective in result.objectives)
    for item in result.trials:
        named.update(dict.fromkeys(item.metrics))
    metrics = {name: f"metric.{name}" if name in FIXED else name for name in named}
    taken = {*FIXED, *metrics.values()}
    return metrics, {name: f"parameter.{name}" if name in taken else name for name in result.parameters}


def rows(result: results.Result) -> tuple[list[str], list[dict[str, Any]]]:
    """Column names and a mapping per trial; values are Python's, absent ones are left out."""
    metrics, parameters = columns(result)
    header = ["number", "name", "state", "reason", "value", *metrics.values(), *parameters.values(), *FIXED[5:]]
    return header, [_row(item, metrics, parameters) for item in result.trials]


def _row(item: results.TrialResult, metrics: Mapping[str, str], parameters: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "number": item.number, "name": item.name, "state": str(item.state), "reason": item.reason, "value": item.value,
        "start": item.start, "end": item.end, "duration": item.duration,
    }  # fmt: skip
    row.update((metrics[name], value) for name, value in item.metrics.items())
    row.update((parameters[name], value) for name, value in item.parameters.items())
    return {name: value for name, value in row.items() if value is not None}


def frame(result: results.Result) -> Any:
    """A pandas DataFrame with a row per trial. Raises BadInputError when pandas is not installed."""
    try:
        import pandas  # noqa: PLC0415 - an extra
    except ImportError as problem:
        raise errors.BadInputError("tables need pandas; install it with: pip install 'kuttab[pandas]'") from problem
    header, found = rows(result)
    return pandas.DataFrame(found, columns=header)


def csv_text(result: results.Result) -> str:
    """Comma separated values; times are RFC3339, numbers are exact."""
    header, found = rows(result)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([cell(name) for name in header])
    writer.writerows([cell(row.get(name, "")) for name in header] for row in found)
    return out.getvalue()


def write_csv(result: results.Result, path: str | os.PathLike[str]) -> None:
    """Write :func:`csv_text`."""
    Path(path).write_text(csv_text(result), encoding="utf-8", newline="")


def write_parquet(result: results.Result, path: str | os.PathLike[str]) -> None:
    """Write a Parquet file; columns of mixed types become text. Raises BadInputError when pyarrow is not installed."""
    try:
        import pyarrow  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as problem:
        raise errors.BadInputError("Parquet needs pyarrow; install it with: pip install 'kuttab[parquet]'") from problem
    header, found = rows(result)
    table = {}
    for name in header:
        values = [row.get(name) for row in found]
        types = {type(value) for value in values if value is not None}
        mixed = len(types) > 1 and not types <= {int, float}
        odd = not types <= {int, float, str, bool, datetime}
        table[name] = [None if v is None else str(v) for v in values] if mixed or odd else values
    parquet.write_table(pyarrow.table(table), path)


def cell(value: Any) -> str:
    """A value's text for a spreadsheet: text that looks like a formula and is no number gets a quote in front."""
    shown = plain(value) if isinstance(value, datetime | float | bool) else value
    return spreadsheet.cell(repr(shown) if isinstance(shown, float) else str(shown))


def plain(value: Any) -> Any:
    """A value that JSON takes: times as RFC3339, what is not finite as text, other things as their text."""
    if isinstance(value, datetime):
        return clock.rfc3339_micro(value) if value.microsecond else clock.rfc3339(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, int | str) or value is None else str(value)


def document(result: results.Result) -> dict[str, Any]:
    """The result as one JSON document."""
    found: dict[str, Any] = {
        "experiment": result.name,
        "namespace": result.experiment.namespace,
        "objectives": [
            {"metric": item.metric, "direction": "maximize" if item.maximize else "minimize"}
            for item in result.objectives
        ],
        "best": None,
        "trials": [entry(item) for item in result.trials],
    }
    if result.usable:
        found["best"] = entry(result.best.trial)
    return found


def entry(item: results.TrialResult) -> dict[str, Any]:
    """A trial as JSON."""
    return {
        "number": item.number,
        "name": item.name,
        "state": str(item.state),
        "reason": item.reason,
        "message": item.message,
        "value": plain(item.value),
        "parameters": _plain(item.parameters.items()),
        "metrics": _plain(item.metrics.items()),
        "start": plain(item.start),
        "end": plain(item.end),
        "duration": item.duration,
    }


def write_json(result: results.Result, path: str | os.PathLike[str]) -> None:
    """Write :func:`document`."""
    text = json.dumps(document(result), indent=2, ensure_ascii=False, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def _plain(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: plain(value) for name, value in items}
