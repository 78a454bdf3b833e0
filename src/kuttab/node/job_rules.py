"""Decisions about batch/v1 Jobs as functions of values: what is wanted, what a failure means, what the status says.

Rules as of Kubernetes' job controller (batch/v1, 1.30): completions, parallelism, backoffLimit, podFailurePolicy, conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kuttab.api import meta

COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
BACKOFF_EXCEEDED = "BackoffLimitExceeded"
POLICY = "PodFailurePolicy"
DEADLINE = "DeadlineExceeded"
DEFAULT_BACKOFF_LIMIT = 6


@dataclass(frozen=True, slots=True)
class Shape:
    """How many pods a Job wants. ``completions`` None: a work queue, done when one has succeeded and none is left."""

    parallelism: int
    completions: int | None
    indexed: bool
    backoff_limit: int
    deadline: float | None
    suspend: bool

    @classmethod
    def read(cls, spec: Mapping[str, Any]) -> Shape:
        """From a Job's spec, with Kubernetes' defaults."""
        parallelism, completions = spec.get("parallelism"), spec.get("completions")
        if parallelism is None and completions is None:
            parallelism, completions = 1, 1
        limit = spec.get("backoffLimit")
        return cls(
            parallelism=1 if parallelism is None else parallelism,
            completions=completions,
            indexed=spec.get("completionMode") == "Indexed",
            backoff_limit=DEFAULT_BACKOFF_LIMIT if limit is None else limit,
            deadline=spec.get("activeDeadlineSeconds"),
            suspend=bool(spec.get("suspend")),
        )

    def done(self, succeeded: Iterable[int], active: int) -> bool:
        """Whether the Job has succeeded."""
        count = len(set(succeeded))
        return count >= self.completions if self.completions is not None else count > 0 and active == 0

    def wanted(self, succeeded: Iterable[int], active: Iterable[int]) -> list[int]:
        """Indexes for which a pod shall be started now, lowest first."""
        have, running = set(succeeded), set(active)
        if self.completions is None:
            return [] if have else [i for i in range(self.parallelism) if i not in running]
        free = self.parallelism - len(running)
        open_ = [i for i in range(self.completions) if i not in have and i not in running]
        return open_[: max(free, 0)]


def policy(spec: Mapping[str, Any], exits: Mapping[str, int]) -> tuple[str, str]:
    """Action and message of the first ``podFailurePolicy`` rule that fits the exit codes; Count when none does."""
    for number, rule in enumerate((spec.get("podFailurePolicy") or {}).get("rules") or ()):
        on = rule.get("onExitCodes")
        if not on:
            continue  # Conditions of pods: here a pod that its node lost never counts, whatever the rules say.
        values = on.get("values") or ()
        for name, code in exits.items():
            if code == 0 or on.get("containerName") not in (None, "", name):
                continue
            if (code in values) is (on.get("operator") == "In"):
                return rule[
                    "action"
                ], f"container {name!r} exited with code {code}, matching rule {number} of podFailurePolicy"
    return "Count", ""


def backoff(failures: int, first: float, most: float) -> float:
    """Seconds before the attempt after that many failures."""
    return 0.0 if failures == 0 else float(min(first * 2 ** min(failures - 1, 40), most))


def finished(job: meta.Object) -> bool:
    """Whether a Job has come to its end."""
    return any(condition(job.section("status"), type_) for type_ in (COMPLETE, FAILED))


def condition(status: Mapping[str, Any], type_: str) -> bool:
    """Whether a condition is True."""
    return any(c.get("type") == type_ and c.get("status") == "True" for c in status.get("conditions") or ())


def with_condition(status: Mapping[str, Any], type_: str, value: str, reason: str, message: str, now: str) -> meta.Json:
    """A status with a condition set; its transition time is kept when the value is unchanged."""
    old = next((c for c in status.get("conditions") or () if c.get("type") == type_), None)
    since = old["lastTransitionTime"] if old is not None and old.get("status") == value else now
    fresh = {
        "type": type_, "status": value, "reason": reason, "message": message, "lastProbeTime": now, "lastTransitionTime": since,
    }  # fmt: skip
    others = [c for c in status.get("conditions") or () if c.get("type") != type_]
    return {**status, "conditions": [*others, fresh]}


def counts(
    status: Mapping[str, Any], *, active: int, succeeded: Sequence[int], failed: int, start_time: str, indexed: bool
) -> meta.Json:
    """A status with its counters; zero means absent, as Kubernetes writes it."""
    drop = {"active", "ready", "succeeded", "failed", "startTime", "completedIndexes"}
    fresh: meta.Json = {key: value for key, value in status.items() if key not in drop}
    if start_time:
        fresh["startTime"] = start_time
    for key, number in (("active", active), ("ready", active), ("succeeded", len(succeeded)), ("failed", failed)):
        if number:
            fresh[key] = number
    if indexed and succeeded:
        fresh["completedIndexes"] = intervals(succeeded)
    return fresh


def intervals(numbers: Iterable[int]) -> str:
    """``0,2-4``: sorted numbers with runs joined."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def parse_intervals(text: str) -> set[int]:
    """The numbers of :func:`intervals`."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
