"""A quota of this machine's own CPUs, memory and GPUs, counted by what workloads ask for. It measures no use and pins nothing.

A smaller workload may pass a larger one that waits. What is held is not written down: it follows from the workloads that exist, so
:meth:`Slots.hold` is called for each of them at a start.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from kuttab.api import meta, trial
from kuttab.ports import quota as port
from kuttab.rules import resources

RETRY = 60.0
"""Seconds until a waiting trial asks again by itself; it is woken when something is released."""


def seen() -> resources.Amount:
    """What this machine has: the cores that this program may use, all memory, NVIDIA devices."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = sum(path.name.removeprefix("nvidia").isdecimal() for path in Path("/dev").glob("nvidia*"))
    return resources.Amount(float(cores), float(psutil.virtual_memory().total), float(devices))


class Slots:
    """Implements the quota port."""

    def __init__(self, capacity: resources.Amount) -> None:
        self.capacity = capacity
        self._held: dict[str, resources.Amount] = {}
        self._free = capacity

    def hold(self, uid: str, workload: meta.Resource) -> None:
        """A workload that exists already holds what it asks for, even beyond the capacity."""
        if uid not in self._held:
            self._take(uid, resources.of(meta.dump(workload)))

    async def check(self, subject: trial.Trial, workload: meta.Resource) -> port.Decision:
        """Admit what fits, reject what never will."""
        if subject.uid in self._held:
            return port.Decision(port.Verdict.ADMIT)
        need = resources.of(meta.dump(workload))
        never = need.lacking(self.capacity)
        if never:
            reason = f"it asks for more than the quota has in all: {', '.join(never)}"
            return port.Decision(port.Verdict.REJECT, reason)
        lacking = need.lacking(self._free)
        if lacking:
            reason = f"it waits for {', '.join(lacking)} that are free"
            return port.Decision(port.Verdict.WAIT, reason, RETRY)
        self._take(subject.uid, need)
        return port.Decision(port.Verdict.ADMIT)

    async def release(self, uid: str) -> None:
        """See the port."""
        held = self._held.pop(uid, None)
        if held is not None:
            self._free += held

    def _take(self, uid: str, need: resources.Amount) -> None:
        self._held[uid] = need
        self._free -= need
