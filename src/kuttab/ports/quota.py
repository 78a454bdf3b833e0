"""The check before a workload gets resources."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from kuttab.api import meta, trial


class Verdict(enum.StrEnum):
    """What the quota says."""

    ADMIT = "admit"
    WAIT = "wait"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with its reason; ``retry_after`` in seconds says when to ask again, at the latest."""

    verdict: Verdict
    reason: str = ""
    retry_after: float = 5.0


class Quota(Protocol):
    """Asked before each trial workload is created, until it admits or rejects; UnavailableError means wait."""

    async def check(self, subject: trial.Trial, workload: meta.Resource) -> Decision:
        """May this workload start now? Asking twice must not take resources twice (the trial's uid is the key)."""
        ...

    async def release(self, uid: str) -> None:
        """The trial with that uid holds nothing any more; idempotent."""
        ...
