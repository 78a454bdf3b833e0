"""Following the metrics of running pods: one collector session a pod, all polled by one timer.

What a session reads and how is the collector's business; here it is opened for the right container, polled, and drained before
a pod's end is written down.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kuttab.api import experiment, meta, trial


class Meter(Protocol):
    """A collector's session over one pod."""

    async def poll(self) -> bool:
        """Read and store what is new; True when a rule says that the program shall stop."""
        ...

    async def finish(self, clean: bool) -> object:
        """Read the rest, store it with the final marker; ``clean`` when the program ended by itself and well."""
        ...


MapPath = Callable[[str], Path]
OpenMeter = Callable[[trial.Trial, str, Path, MapPath], Meter | None]
"""``(trial, pod uid, log file of the primary container, container path to host path)``; None when nothing is to be followed."""


def matches(subject: trial.Trial, labels: dict[str, str]) -> bool:
    """Whether a pod with those labels is one that measures."""
    return all(labels.get(key) == value for key, value in (subject.spec.primary_pod_labels or {}).items())


def files(subject: trial.Trial) -> tuple[str, bool]:
    """The container path that the collector reads, and whether it is a folder; empty when it reads none."""
    spec = subject.spec.metrics_collector
    kind = spec.collector.kind if spec is not None and spec.collector is not None else experiment.CollectorKind.STDOUT
    source = spec.source.file_system_path if spec is not None and spec.source is not None else None
    path = source.path if source is not None else ""
    if kind in (experiment.CollectorKind.PUSH, experiment.CollectorKind.PROMETHEUS):
        return "", False
    if kind == experiment.CollectorKind.TF_EVENT:
        return path or "/var/log/katib/tfevent", True
    if kind == experiment.CollectorKind.CUSTOM:
        return path, source is not None and source.kind == "Directory"
    return path or "/var/log/katib/metrics.log", False


def custom_container(subject: trial.Trial) -> meta.Json | None:
    """The container of a Custom collector."""
    spec = subject.spec.metrics_collector
    if spec is None or spec.collector is None or spec.collector.kind != experiment.CollectorKind.CUSTOM:
        return None
    return spec.collector.custom_collector
