"""The node and the observation log of one machine, put together for the machine."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

from kuttab.api import meta
from kuttab.base import clock
from kuttab.node import images, meters, pods, recovery, services
from kuttab.node import settings as node_settings
from kuttab.ports import objects as object_port
from kuttab.ports import observations as observation_port
from kuttab.runtime import controller, manager
from kuttab.wiring import doors, reporting, workloads
from kuttab.wiring import plane as planes
from kuttab.wiring import settings as settings_

SWEEP_SECONDS = 1.0


async def _probe(address: str, seconds: float) -> None:
    """Whether a service answers; see :data:`kuttab.node.services.Probe`."""
    from kuttab.rpc import health

    await health.ready(address, seconds)


class Node:
    """The kubelet and the job controllers of this machine, as controllers and runnables for the manager."""

    def __init__(
        self,
        settings: settings_.Settings,
        objects: object_port.Objects,
        rows: observation_port.Observations,
        plane: planes.ControlPlane,
        time: clock.Clock,
        rules_of: meters.RulesOf = meters.bars,
    ) -> None:
        node = node_settings.NodeSettings(data_dir=settings.data, images=images.read(settings.images))
        self.door = doors.Door(objects, rows, plane.trials, self._stop_early)
        open_meter = meters.opener(rows, settings.data, rules_of)
        self.reporting = reporting.Endpoint(settings.data)
        self.kubelet = pods.Kubelet(objects, time, node, open_meter, self.door.environment, self.reporting.url)
        self.reporting.attach(self.kubelet)
        self.services = services.Services(self.kubelet.processes, node, _probe, time)
        self._workloads = workloads.Workloads(self.kubelet, rows, plane.events, time, plane.workloads)
        plane.trials.listen(self._trial_heard)
        self._trials_folder = settings.trials
        self._doomed: set[Path] = set()
        self._doom = asyncio.Event()
        self.controllers: Sequence[controller.Controller] = self._workloads.controllers
        self.runnables: Sequence[manager.Runnable] = [self.kubelet.run, self._sweep, self.reporting.run]

    async def recover(self) -> None:
        """End what an earlier run of this data folder left running, before anything is started."""
        self._workloads.remember(await recovery.recover(self.kubelet))

    async def close(self) -> None:
        """End every process; remove what deleted trials left."""
        await self.door.close()
        self.reporting.close()
        await self.kubelet.close()
        await asyncio.to_thread(self._remove)

    def _stop_early(self, trial_uid: str) -> bool:
        return self.kubelet.stop_early(trial_uid)

    def _trial_heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        """The files of a trial go with it."""
        if new is None and old is not None:
            self._doomed.add(self._trials_folder / old.namespace / old.name)
            self._doom.set()

    async def _sweep(self) -> None:
        while True:
            await self._doom.wait()
            self._doom.clear()
            await asyncio.to_thread(self._remove)
            if self._doomed:  # a process that is being ended still writes there
                await asyncio.sleep(SWEEP_SECONDS)
                self._doom.set()

    def _remove(self) -> None:
        for folder in list(self._doomed):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                self._doomed.discard(folder)
