"""Following the metrics of running pods: one collector session a pod, all polled by one timer.

What a session reads and how is the collector's business; here it is opened for the right container, polled, and drained before
a pod's end is written down.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kuttab.api import experiment, meta, trial
from kuttab.collector import session, sources
from kuttab.ports import observations as port
from kuttab.rules import earlystop


class Meter(Protocol):
    """A collector's session over one pod."""

    async def poll(self) -> bool:
        """Read and store what is new; True when a rule says that the program shall stop."""
        ...

    @property
    def judged(self) -> bool:
        """Whether any rule may stop the program."""
        ...

    async def look(self) -> bool:
        """Read and judge what is new, without waiting for it to be stored; true as for :meth:`poll`."""
        ...

    async def finish(self, clean: bool) -> object:
        """Read the rest, store it with the final marker; ``clean`` when the program ended by itself and well."""
        ...


MapPath = Callable[[str], Path]
OpenMeter = Callable[[trial.Trial, str, Path, MapPath], Meter | None]
"""``(trial, pod uid, log file of the primary container, container path to host path)``; None when nothing is to be followed."""


RulesOf = Callable[[trial.Trial], session.Rules | None]
"""What stops a trial early; None when nothing does."""


def bars(subject: trial.Trial) -> session.Rules | None:
    """The early-stopping rules that a trial was created with."""
    objective = subject.spec.objective or experiment.ObjectiveSpec()
    rules = subject.spec.early_stopping_rules
    return earlystop.RuleSet(rules, objective.objective_metric_name, objective.type) if rules else None


def opener(observations: port.Observations, root: Path, rules_of: RulesOf = bars) -> OpenMeter:
    """How pods are followed: a collector's session over what the trial's ``metricsCollector`` names; files outside ``root`` are not read.

    InvalidError for a collector that cannot be honoured.
    """

    def open_meter(subject: trial.Trial, pod_uid: str, stdout: Path, map_path: MapPath) -> Meter:
        key = port.TrialKey(subject.uid, subject.name, subject.namespace)
        objective = subject.spec.objective or experiment.ObjectiveSpec()
        spec = subject.spec.metrics_collector
        source = sources.open_source(spec, objective, stdout_path=stdout, map_path=map_path, root=root)
        made = rules_of(subject)
        if source is None:
            return session.PushedSession(observations, key, pod_uid, made)
        return session.Session(observations, key, pod_uid, source, made)

    return open_meter


def pulled(subject: trial.Trial) -> bool:
    """Whether the node itself reads the trial's metrics, so that its rows carry the pod's uid as their source."""
    return kind(subject) not in (experiment.CollectorKind.PUSH, experiment.CollectorKind.CUSTOM)


def kind(subject: trial.Trial) -> str:
    """The kind of collector."""
    spec = subject.spec.metrics_collector
    return (
        spec.collector.kind if spec is not None and spec.collector is not None else ""
    ) or experiment.CollectorKind.STDOUT


def matches(subject: trial.Trial, labels: dict[str, str]) -> bool:
    """Whether a pod with those labels is one that measures."""
    return all(labels.get(key) == value for key, value in (subject.spec.primary_pod_labels or {}).items())


def files(subject: trial.Trial) -> tuple[str, bool]:
    """The container path that the collector reads, and whether it is a folder; empty when it reads none."""
    spec = subject.spec.metrics_collector
    of = kind(subject)
    source = spec.source.file_system_path if spec is not None and spec.source is not None else None
    path = source.path if source is not None else ""
    if of in (experiment.CollectorKind.PUSH, experiment.CollectorKind.PROMETHEUS):
        return "", False
    if of == experiment.CollectorKind.TF_EVENT:
        return path or sources.DEFAULT_EVENTS, True
    if of == experiment.CollectorKind.CUSTOM:
        return path, source is not None and source.kind == "Directory"
    return path or sources.DEFAULT_FILE, False


def custom_container(subject: trial.Trial) -> meta.Json | None:
    """The container of a Custom collector."""
    spec = subject.spec.metrics_collector
    if spec is None or spec.collector is None or kind(subject) != experiment.CollectorKind.CUSTOM:
        return None
    return spec.collector.custom_collector
