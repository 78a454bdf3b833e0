"""Python functions as trials, put together for the machine: the pool of workers and the controller of FunctionJobs."""

from __future__ import annotations

from collections.abc import Sequence

from kuttab.api import kinds, meta
from kuttab.base import clock
from kuttab.node import function_pool, functions, meters, pods
from kuttab.ports import objects as object_port
from kuttab.ports import observations as observation_port
from kuttab.runtime import controller
from kuttab.wiring import plane as planes
from kuttab.wiring import settings as settings_


class Functions:
    """The controller of FunctionJobs and what it needs."""

    def __init__(
        self,
        settings: settings_.Settings,
        objects: object_port.Objects,
        rows: observation_port.Observations,
        plane: planes.ControlPlane,
        time: clock.Clock,
        kubelet: pods.Kubelet,
        live: meters.RulesOf | None = None,
    ) -> None:
        self.pool = function_pool.Pool(kubelet.processes.node, settings.data / "functions", kubelet.settings.inherited)
        self._worker = controller.Controller("function", self._reconcile, workers=16)
        self.logic = functions.Functions(
            objects, rows, plane.events, time, settings.data, self.pool, self._worker.enqueue, live
        )
        plane.workloads[kinds.FUNCTION_JOB].listen(self._heard)
        self.controllers: Sequence[controller.Controller] = [self._worker]

    async def close(self) -> None:
        """End every worker."""
        await self.logic.close()

    async def _reconcile(self, namespace: str, name: str) -> float | None:
        return await self.logic.reconcile(namespace, name)

    def _heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        obj = new if new is not None else old
        assert obj is not None
        if self.logic.concerned(obj, gone=new is None):
            self._worker.enqueue(obj.namespace, obj.name)
