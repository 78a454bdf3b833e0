"""A Pod that runs on this machine: its containers, how far it has come, and why it ends. State for the kubelet, which moves it on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kuttab.api import meta
from kuttab.node import meters, pod_status, prepare, processes


class Container:
    """A container of a run: what was prepared, its process, its state for the status."""

    def __init__(self, name: str, image: str) -> None:
        self.prepared: prepare.Prepared | None = None
        self.child: processes.Child | None = None
        self.state = pod_status.ContainerState(name, image)

    @property
    def live(self) -> bool:
        """Whether its process runs."""
        return self.child is not None and self.child.exit is None


class Run:
    """A Pod that runs here, or has just ended and is being put to rest."""

    def __init__(self, pod: meta.Resource, plan: prepare.Plan, on_change: Callable[[], None], started: str) -> None:
        self.pod = pod
        self.plan = plan
        self.on_change = on_change
        self.started = started
        spec = pod.section("spec")
        self.inits = [Container(c["name"], c.get("image", "")) for c in spec.get("initContainers") or ()]
        self.mains = [Container(c["name"], c.get("image", "")) for c in spec.get("containers") or ()]
        self.extras = [Container(c["name"], c.get("image", "")) for c in prepare.extras(plan)]
        self.extras_until: float | None = None
        """When a collector that runs beside the others is ended, once those have."""
        self.stage = 0
        """Index of the init container to run next; beyond the last, the containers proper run."""
        self.meter: meters.Meter | None = None
        self.drained = False
        self.reason = ""
        self.message = ""
        self.met = False
        """Whether an early-stopping rule has been met."""
        self.finished = False
        self.told = False
        """Whether it was written down that it runs."""
        self.due = False
        """Whether it is time to do so."""
        self.hold: asyncio.TimerHandle | None = None
        self.lock = asyncio.Lock()

    @property
    def containers(self) -> list[Container]:
        """All containers, init containers first, a Custom collector's last."""
        return [*self.inits, *self.mains, *self.extras]

    @property
    def live(self) -> bool:
        """Whether any process runs."""
        return any(container.live for container in self.containers)

    @property
    def phase(self) -> str:
        """Phase of the Pod as last written."""
        return pod_status.phase(self.pod)

    @property
    def exits(self) -> dict[str, int]:
        """Exit codes of the pod's own containers that have ended."""
        return {c.state.name: c.state.exit.code for c in (*self.inits, *self.mains) if c.state.exit is not None}

    @property
    def failed(self) -> bool:
        """Whether a process of the pod's own has ended badly by itself."""
        return any(c.child is not None and c.child.exit is not None and c.child.exit.code for c in self.mains)

    @property
    def cause(self) -> str:
        """How the run failed, in words; with the reason when an algorithm or a person should tell it from other failures."""
        return f"{self.reason}: {self.message}" if self.reason == pod_status.OOM_KILLED else self.message

    def mark(self, reason: str, message: str = "") -> None:
        """Say why the run is being ended; the first reason stays."""
        if not self.reason:
            self.reason, self.message = reason, message
