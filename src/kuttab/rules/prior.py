"""Results from before an experiment, as the text of a ConfigMap: small, bounded, and the same bytes for the same results.

The form is JSON: names of parameters and metrics once, then a row per trial. Whoever writes it has mapped the values to the space
already; who reads it checks the form alone, since the algorithm's engine checks every point.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from kuttab.api import history
from kuttab.base import errors

KEY = "trials.json"
"""The key of the ConfigMap."""

MOST = 2000
"""Results that are kept, at most."""

LARGEST = 900_000
"""Bytes of the text, at most: a ConfigMap holds a megabyte."""

STATES = (history.TrialState.SUCCEEDED, history.TrialState.EARLY_STOPPED, history.TrialState.FAILED)


def bounded(records: Sequence[history.TrialRecord], *, maximize: bool) -> list[history.TrialRecord]:
    """At most :data:`MOST` results, in their order: the best half, and the rest evenly chosen from the others."""
    if len(records) <= MOST:
        return list(records)
    sign = -1.0 if maximize else 1.0

    def rank(index: int) -> tuple[bool, float, int]:
        record = records[index]
        value = record.objective if record.usable and record.objective is not None else math.inf
        return not record.usable, sign * value if record.usable else 0.0, index

    order = sorted(range(len(records)), key=rank)
    best, others = order[: MOST // 2], order[MOST // 2 :]
    step = len(others) / (MOST - len(best))
    chosen = sorted([*best, *(others[int(index * step)] for index in range(MOST - len(best)))])
    return [records[index] for index in chosen]


def write(records: Sequence[history.TrialRecord]) -> str:
    """The text of results that all have the same parameters. Raises BadInputError when it grows beyond :data:`LARGEST` bytes."""
    names = records[0].names if records else ()
    metrics = list(dict.fromkeys(metric.name for record in records for metric in record.metrics))
    rows = []
    for record in records:
        if record.names != names:
            raise errors.BadInputError(f"{record.name}: has the parameters {record.names}, others have {names}")
        latest = {metric.name: metric.latest for metric in record.metrics}
        rows.append(
            [record.name, str(record.state), record.reason, [*record.values], [latest.get(m, "") for m in metrics]]
        )
    document = {"parameters": list(names), "metrics": metrics, "trials": rows}
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    if len(text.encode()) > LARGEST:
        raise errors.BadInputError(
            f"{len(records)} earlier results are {len(text.encode())} bytes of text; at most {LARGEST} fit: give fewer of them"
        )
    return text


def read(text: str, objective: str) -> list[history.TrialRecord]:
    """The results of a text, with the value of a metric as objective. Raises BadInputError naming the first row that is wrong."""
    try:
        document = json.loads(text)
        names = tuple(_texts(document["parameters"]))
        metrics = _texts(document["metrics"])
        rows = document["trials"]
    except (ValueError, KeyError, TypeError) as problem:
        raise errors.BadInputError(
            f"{KEY}: must be JSON with parameters, metrics and trials, as kuttab writes it ({problem})"
        ) from problem
    if not isinstance(rows, list) or len(rows) > MOST:
        raise errors.BadInputError(f"{KEY}: trials must be a list of at most {MOST} rows")
    return [_record(index, row, names, metrics, objective) for index, row in enumerate(rows)]


def _record(index: int, row: Any, names: tuple[str, ...], metrics: list[str], objective: str) -> history.TrialRecord:
    try:
        name, state, reason, values, measured = row
        found = history.TrialRecord(
            name=str(name), uid="", slot=-1, state=history.TrialState(state), names=names, values=tuple(_texts(values)),
            objective=None, reason=str(reason),
            metrics=tuple(
                history.MetricValues(metric, value, value, value)
                for metric, value in zip(metrics, _texts(measured), strict=True) if value
            ),
        )  # fmt: skip
        if found.state not in STATES or len(found.values) != len(names):
            raise ValueError(f"{state} with {len(found.values)} values")
    except (ValueError, TypeError) as problem:
        raise errors.BadInputError(
            f"{KEY}: trials[{index}] must be [name, state, reason, values, metrics] of an ended trial ({problem})"
        ) from problem
    text = next((metric.latest for metric in found.metrics if metric.name == objective), "")
    return with_objective(found, number(text))


def with_objective(record: history.TrialRecord, objective: float | None) -> history.TrialRecord:
    """The record with another objective."""
    return history.TrialRecord(
        record.name, record.uid, record.slot, record.state, record.names, record.values, objective, record.metrics,
        record.reason, record.start_time, record.completion_time, record.labels,
    )  # fmt: skip


def number(text: str) -> float | None:
    """The number of a text, None when it is none."""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _texts(items: Any) -> list[str]:
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise TypeError("expected a list of texts")
    return items
