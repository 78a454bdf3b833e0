"""A result as runs of MLflow: one parent run for the experiment, one nested run per trial. An extra (``kuttab[mlflow]``)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from kuttab.api.history import TrialState
from kuttab.base import errors
from kuttab.sdk import results

try:
    from mlflow import entities
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
except ImportError as problem:
    raise errors.BadInputError("MLflow is not installed; install it with: pip install 'kuttab[mlflow]'") from problem

BATCH = 1000
"""Metrics that one request carries, at most."""

LONGEST = 6000
"""Characters of a parameter's value that MLflow keeps."""

_STATUS = {
    TrialState.SUCCEEDED: "FINISHED",
    TrialState.EARLY_STOPPED: "FINISHED",
    TrialState.FAILED: "FAILED",
    TrialState.METRICS_UNAVAILABLE: "FAILED",
    TrialState.KILLED: "KILLED",
}


def export(result: results.Result, tracking_uri: str, experiment: str | None = None) -> str:
    """Write a result to a tracking store and return the id of the parent run.

    ``tracking_uri`` is MLflow's (``sqlite:///mlflow.db``, ``http://...``); ``experiment`` is the name of an experiment there, made
    when it is missing (default: ours). Trials that have not ended are left out. Raises BadInputError, or UnavailableError with MLflow's
    own message.
    """
    try:
        client = MlflowClient(tracking_uri=tracking_uri)
        name = experiment or result.name
        known = client.get_experiment_by_name(name)
        place = known.experiment_id if known is not None else client.create_experiment(name)
        return _write(client, place, result)
    except MlflowException as problem:
        raise errors.UnavailableError(f"MLflow at {tracking_uri}: {problem}") from problem


def _write(client: Any, place: str, result: results.Result) -> str:
    started = [item.start for item in result.trials if item.start is not None]
    ended = [item.end for item in result.trials if item.end is not None]
    tags = {"kuttab.experiment": result.name, "kuttab.objective": result.metric}
    parent = client.create_run(
        place, start_time=_milliseconds(min(started, default=None)), run_name=result.name, tags=tags
    )
    identity = str(parent.info.run_id)
    for item in result.trials:
        if item.state in _STATUS:
            _trial(client, place, identity, item)
    if result.usable:
        best = result.best
        client.log_batch(
            identity,
            metrics=[entities.Metric(_key(result.metric), best.value, _milliseconds(best.trial.end) or 0, 0)],
            params=_params(best.trial),
            tags=[entities.RunTag("kuttab.best", best.trial.name)],
        )
    client.set_terminated(identity, "FINISHED", end_time=_milliseconds(max(ended, default=None)))
    return identity


def _trial(client: Any, place: str, parent: str, item: results.TrialResult) -> None:
    tags = {
        "mlflow.parentRunId": parent,
        "kuttab.trial": item.name,
        "kuttab.state": str(item.state),
        "kuttab.reason": item.reason,
    }
    run = client.create_run(place, start_time=_milliseconds(item.start), run_name=item.name, tags=tags)
    identity, now = run.info.run_id, _milliseconds(item.end) or 0
    client.log_batch(identity, params=_params(item))
    points = list(_points(item, now))
    for first in range(0, len(points), BATCH):
        client.log_batch(identity, metrics=points[first : first + BATCH])
    client.set_terminated(identity, _STATUS[item.state], end_time=_milliseconds(item.end))


def _points(item: results.TrialResult, now: int) -> Iterator[Any]:
    """The curve of every metric, then its final value, so that MLflow's latest value is ours."""
    curves = item.curves()
    for metric, points in curves.items():
        for step, value in points:
            yield entities.Metric(_key(metric), value, now, step)
    for metric, final in item.metrics.items():
        if isinstance(final, float) and math.isfinite(final):
            after = curves.get(metric, ())
            yield entities.Metric(_key(metric), final, now, after[-1][0] + 1 if after else 0)


def _params(item: results.TrialResult) -> list[Any]:
    return [entities.Param(_key(name), text[:LONGEST]) for name, text in item.texts.items()]


def _key(name: str) -> str:
    """A name as MLflow allows it: other characters than letters, digits and ``_-. /`` become ``_``."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)[:250]


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
