"""What this installation allows: caps and lists that an operator may change, and the facts a verdict needs from outside.

Admission looks nothing up. Whoever asks for a verdict gathers first and hands in a :class:`Catalogue`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kuttab.admission import workloads
from kuttab.api import experiment, keys, meta
from kuttab.base import errors

SYSTEM_USER = "system:kuttab"
"""The identity of our own controllers."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps and switches of an installation."""

    max_trials: int = 100_000
    max_parallel: int = 1_000
    max_parameters: int = 1_000
    max_choices: int = 10_000
    max_object_bytes: int = 1_000_000
    workload_kinds: Collection[tuple[str, str]] = frozenset(workloads.KNOWN)
    """apiVersion and kind of what a trial may be."""
    pod_security: str = "baseline"
    """``baseline`` checks templates against that Pod Security Standard, ``privileged`` allows everything."""
    needs_command: bool = False
    """Whether a container must name its command, because nothing here knows an image's entry point."""
    stoppable_collectors: Collection[str] = frozenset({"StdOut", "File"})
    """Collector kinds that can end a trial early."""
    system_users: Collection[str] = frozenset({SYSTEM_USER})


@dataclass(frozen=True, slots=True)
class Namespace:
    """The namespace an object goes into; one of this machine carries the label that takes experiments in."""

    labels: Mapping[str, str] = field(default_factory=lambda: {keys.LABEL_INJECTION: "enabled"})
    terminating: bool = False


class Catalogue(Protocol):
    """What this installation can run. Answers come from memory: nothing here may wait."""

    @property
    def limits(self) -> Limits:
        """Caps and switches."""
        ...

    def algorithm_names(self) -> Collection[str]:
        """Names that ``spec.algorithm.algorithmName`` may have."""
        ...

    def early_stopping_names(self) -> Collection[str]:
        """Names that ``spec.earlyStopping.algorithmName`` may have."""
        ...

    def collector_kinds(self) -> Collection[str]:
        """Kinds that ``spec.metricsCollectorSpec.collector.kind`` may have."""
        ...

    def check_algorithm(self, subject: experiment.Experiment) -> list[errors.Problem]:
        """What the chosen algorithm and early stopping cannot do with this space, these settings and counts.

        Asked only when the rules of admission found nothing wrong with the parameters and the names are known.
        """
        ...

    def workload_warnings(self, tree: meta.Json, path: str) -> list[errors.Problem]:
        """Fields of a trial's workload that are accepted and have no effect where it runs."""
        ...

    def workload_problems(self, tree: meta.Json, path: str) -> list[errors.Problem]:
        """What of a workload cannot be run or honoured here; ``path`` is where the tree stands in the experiment."""
        ...

    def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """The ``data`` of a ConfigMap, None when there is none."""
        ...

    def may_create(self, user: str, namespace: str, api_version: str, kind: str) -> bool:
        """Whether the user could create such a workload without us."""
        ...
