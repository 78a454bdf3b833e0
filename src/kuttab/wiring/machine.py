"""The one-machine world, put together: store, admission, controllers, node, observation log, in one process and one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

from kuttab.admission import limits
from kuttab.api import experiment, kinds
from kuttab.base import clock, log
from kuttab.client import embedded
from kuttab.node import identity
from kuttab.observations import behind
from kuttab.ports import observations as observation_port
from kuttab.runtime import manager
from kuttab.store import objects
from kuttab.wiring import (
    control,
    doors,
    functions,
    garbage,
    judging,
    meeting,
    nodes,
    observing,
    opening,
    plane,
    quotas,
    routing,
    warming,
)
from kuttab.wiring import settings as settings_

logger = log.get(__name__)

opened = opening.opened


@dataclass(frozen=True, slots=True)
class Machine:
    """The running world: what front doors need of it."""

    settings: settings_.Settings
    objects: embedded.EmbeddedClient
    observations: observation_port.Observations
    plane: plane.ControlPlane
    manager: manager.Manager
    functions: functions.Functions
    door: doors.Door


@contextlib.asynccontextmanager
async def running(settings: settings_.Settings) -> AsyncIterator[Machine]:
    """The whole world at work. Leaving ends every process it started; what was not finished goes on at the next start."""
    gate = behind.Gate()
    with garbage.less_often():
        async with (
            opening.store(settings, gate) as store,
            _world(settings, store, gate) as machine,
        ):
            yield machine


@contextlib.asynccontextmanager
async def _world(settings: settings_.Settings, store: objects.Store, gate: behind.Gate) -> AsyncIterator[Machine]:
    """Everything that works over the store."""
    # What controllers write is valid by construction; admission is for people and programs.
    system = embedded.EmbeddedClient(store, None, limits.SYSTEM_USER, trusted=True)
    user = opening.client(settings, store)
    time = clock.SystemClock()
    async with observing.owned(settings, gate) as rows, quotas.opened(settings, system, time) as quota:
        router = routing.Router(settings, rows, priors=warming.from_objects(system))
        parts = plane.Parts(system, rows, router, quota.quota, time)
        planes = plane.ControlPlane(parts)
        quota.attach(planes)
        judges = judging.Judges(planes.experiments, router.stopping.curves)
        node = nodes.Node(settings, system, rows, planes, time, judges.rules)
        called = functions.Functions(settings, system, rows, planes, time, node.kubelet, judges.live)
        router.attach(node.services, node.door.address)
        planes.experiments.listen(router.heard)
        machine = manager.Manager(
            list(planes.informers.values()),
            [*planes.controllers, *node.controllers, *called.controllers],
            [planes.events.run, *node.runnables, *quota.runnables],
        )
        await node.recover()
        server = control.ControlServer(user, meeting.address(settings.data), rows.settle)
        try:
            async with server.serving(), _at_work(machine):
                yield Machine(settings, user, rows, planes, machine, called, node.door)
        finally:
            try:
                await called.close()
                await router.close()
            finally:
                await node.close()


@contextlib.asynccontextmanager
async def _at_work(machine: manager.Manager) -> AsyncIterator[None]:
    """The manager beside the body; if it breaks, the body is cancelled and its error raised."""
    body = asyncio.current_task()
    assert body is not None
    broke: list[BaseException] = []

    async def work() -> None:
        try:
            await machine.run()
        except asyncio.CancelledError:
            raise
        except BaseException as problem:
            broke.append(problem)
            body.cancel()

    task = asyncio.create_task(work())
    try:
        started = asyncio.ensure_future(machine.started.wait())
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        yield
    except asyncio.CancelledError:
        if not broke:
            raise
        body.uncancel()
        raise broke[0] from None
    finally:
        started.cancel()
        task.cancel()
        await asyncio.gather(task, started, return_exceptions=True)


def abandon() -> None:
    """End every process below this one by force, at once; for a user who will not wait for an orderly end."""
    for pid in identity.descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


async def drain(settings: settings_.Settings, subject: experiment.Experiment) -> None:
    """Run the world until a deleted experiment and all that belongs to it are gone."""
    async with running(settings) as machine:
        while True:
            page = await machine.objects.list(
                kinds.EXPERIMENT, subject.namespace, fields=f"metadata.name={subject.name}"
            )
            left = await machine.objects.list(
                kinds.TRIAL, subject.namespace, labels=f"katib.kubeflow.org/experiment={subject.name}", limit=1
            )
            if not any(item.uid == subject.uid for item in page.items) and not left.items:
                return
            await asyncio.sleep(0.05)
