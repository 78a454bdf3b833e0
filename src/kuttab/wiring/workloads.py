"""The job controllers of one machine, each behind a queue of its own, by kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kuttab.api import kinds, meta
from kuttab.base import clock
from kuttab.node import jobs, loopback, pods, replica_rules, replicas, train_jobs
from kuttab.node import workloads as node_workloads
from kuttab.ports import events as event_port
from kuttab.ports import observations as observation_port
from kuttab.runtime import controller, informer

WORKERS = 16
"""Passes at once, by kind: a pass waits for the disk."""


class Workloads:
    """Makes the controllers and connects them to the informers of their kinds."""

    def __init__(
        self,
        kubelet: pods.Kubelet,
        rows: observation_port.Observations,
        events: event_port.Events,
        time: clock.Clock,
        informers: Mapping[kinds.Kind, informer.Informer],
    ) -> None:
        ports = loopback.Ports()
        self._logic: list[node_workloads.Controller] = []
        queues = []
        for kind in (kinds.JOB, kinds.TRAIN_JOB, *replica_rules.FAMILIES):
            queue = _Queue(kind)
            parts = (kubelet, rows, events, time, queue.controller.enqueue)
            if kind == kinds.JOB:
                queue.logic = jobs.Jobs(*parts)
            elif kind == kinds.TRAIN_JOB:
                queue.logic = train_jobs.TrainJobs(*parts, ports)
            else:
                queue.logic = replicas.Replicated(replica_rules.FAMILIES[kind], *parts, ports)
            informers[kind].listen(queue.heard)
            queues.append(queue)
            self._logic.append(queue.logic)
        self.controllers: Sequence[controller.Controller] = [queue.controller for queue in queues]

    def remember(self, found: Iterable[meta.Resource]) -> None:
        """Hand over the Pods that recovery found, before the first pass."""
        left = list(found)
        for logic in self._logic:
            logic.remember(left)


class _Queue:
    """A kind's queue and what works on it."""

    logic: node_workloads.Controller

    def __init__(self, kind: kinds.Kind) -> None:
        self.controller = controller.Controller(kind.kind.lower(), self._reconcile, workers=WORKERS)

    async def _reconcile(self, namespace: str, name: str) -> float | None:
        return await self.logic.reconcile(namespace, name)

    def heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        obj = new if new is not None else old
        assert obj is not None
        # A pass that has begun may have read what is over by now.
        if self.controller.working(obj.namespace, obj.name) or not self.logic.over(old, new):
            self.controller.enqueue(obj.namespace, obj.name)
