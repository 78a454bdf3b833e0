"""What the job controllers of this node know of a job that is not finished: its tasks, their runs, and how they ended.

A task is a role with an index; a task has one Pod per attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kuttab.api import meta
from kuttab.node import job_rules, pod_run

Task = tuple[str, int]
"""Role (empty where there is only one) and index."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What all kinds can say about a run as a whole."""

    backoff_limit: int = job_rules.DEFAULT_BACKOFF_LIMIT
    deadline: float | None = None
    suspend: bool = False
    ttl: float | None = None


@dataclass(slots=True)
class Work:
    """What this process knows about a job that is not finished."""

    uid: str
    since: float
    runs: dict[Task, pod_run.Run] = field(default_factory=dict)
    created: dict[Task, meta.Resource] = field(default_factory=dict)
    """Pods that exist and have not been started yet."""
    succeeded: set[Task] = field(default_factory=set)
    failed: dict[str, int] = field(default_factory=dict)
    """Role to number of failures."""
    attempts: int = 0
    retry_at: float = 0.0
    failing: tuple[str, str] | None = None
    last_failure: str = ""
    start_time: str = ""
    suspended: bool = False
    ports: dict[Task, int] = field(default_factory=dict)

    @property
    def failures(self) -> int:
        """Failures of all roles."""
        return sum(self.failed.values())


@dataclass(frozen=True, slots=True)
class Launch:
    """What a task needs at its start, beyond what its Pod says."""

    template: Mapping[str, Any]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    name: str
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Container path to text of files that the operator would mount."""
