"""From a trial's metricsCollectorSpec to the source that a session reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from kuttab.api import experiment
from kuttab.base import errors
from kuttab.collector import lines, prometheus, source, tail, tfevent
from kuttab.rules import metric_lines

DEFAULT_FILE: Final = "/var/log/katib/metrics.log"
DEFAULT_EVENTS: Final = "/var/log/katib/tfevent/"


def open_source(
    spec: experiment.MetricsCollectorSpec | None,
    objective: experiment.ObjectiveSpec,
    *,
    stdout_path: Path,
    map_path: Callable[[str], Path],
    host: str = "127.0.0.1",
    root: Path | None = None,
) -> source.Source | None:
    """The source of a trial's metrics; None for ``Push`` and ``Custom``, whose rows come through the observation log's own door.

    ``stdout_path`` is the trial's output log, which only we write; ``map_path`` turns a path of the manifest into one of this
    machine; ``host`` is the trial's own address; files outside ``root`` are not read. Nothing is opened before the first poll.
    Raises InvalidError, with field paths below metricsCollectorSpec, for what cannot be honoured.
    """
    kind = (spec.collector.kind if spec and spec.collector else "") or experiment.CollectorKind.STDOUT
    given = (spec.source if spec else None) or experiment.SourceSpec()
    place = given.file_system_path or experiment.FileSystemPath()
    filters = (given.filter.metrics_format if given.filter else None) or []
    metrics = objective.metric_names
    if kind == experiment.CollectorKind.STDOUT:
        follow = tail.Tail(stdout_path, rewritable=False)
        return lines.LineSource(follow, _readers(metrics, filters, "TEXT"), append_only=True)
    if kind == experiment.CollectorKind.FILE:
        follow = tail.Tail(map_path(place.path or DEFAULT_FILE), root=root)
        return lines.LineSource(follow, _readers(metrics, filters, place.format or "TEXT"), append_only=False)
    if kind == experiment.CollectorKind.TF_EVENT:
        return tfevent.TensorFlowEvents(map_path(place.path or DEFAULT_EVENTS), metrics, inside=root)
    if kind == experiment.CollectorKind.PROMETHEUS:
        return prometheus.Prometheus(prometheus.endpoint(given.http_get, host), metrics)
    if kind in (experiment.CollectorKind.PUSH, experiment.CollectorKind.CUSTOM):
        return None
    known = ", ".join(experiment.CollectorKind)
    raise errors.InvalidError(
        [errors.Problem("collector.kind", f"{kind!r} is not known; use one of {known}", "FieldValueNotSupported")],
        "metrics collector",
    )


def _readers(metrics: list[str], filters: list[str], format: str) -> lines.NewReader:
    """A maker of readers that has been tried once, so that bad filters are told now."""

    def new() -> metric_lines.LineReader:
        return metric_lines.LineReader(metrics, filters, format)

    new()
    return new
