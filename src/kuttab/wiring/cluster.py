"""The Kubernetes world, put together: the controllers of this process over an API server, trials as its Jobs, metrics from pods' logs.

The node room has no part in it: Kubernetes runs what is created. As long as no webhook stands before the API server, the controllers
admit an experiment when they first see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kuttab.admission import chain, limits
from kuttab.api import experiment, keys, kinds, meta
from kuttab.base import clock, errors, log
from kuttab.controllers import dressing, measuring, trial
from kuttab.ports import objects as object_port
from kuttab.ports import observations as observation_port
from kuttab.ports import pod_logs as log_port
from kuttab.rules import prior
from kuttab.runtime import controller, informer, manager
from kuttab.store import lock
from kuttab.wiring import catalogue, observing, plane, suggesting, warming
from kuttab.wiring import settings as settings_

if TYPE_CHECKING:
    from kuttab.client import kube

logger = log.get(__name__)

COLLECTORS = frozenset({experiment.CollectorKind.STDOUT.value, experiment.CollectorKind.PUSH.value})
"""Collectors that work from outside the pod."""
WORKLOADS = tuple(kind for kind in plane.WORKLOADS if kind is not kinds.FUNCTION_JOB)
LOOK_AGAIN = 30.0
"""Seconds between looks at metrics of which nobody told; the measuring controller tells."""
RETRY = 2.0
WORKERS = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """``kubeconfig`` and ``context`` say which cluster (None: as kubectl finds it); ``machine`` where our own data lie.

    With ``namespace``, only experiments of that one are run.
    """

    machine: settings_.Settings
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The world, ready to run: ``manager.run()`` does."""

    objects: kube.KubeClient
    observations: observation_port.Observations
    plane: plane.ControlPlane
    manager: manager.Manager
    server: str
    """What the server says it is, e.g. ``v1.20.2``."""
    workloads: Sequence[kinds.Kind]


async def run(settings: Settings, announce: Callable[[Cluster], None], complain: Callable[[str], None]) -> None:
    """Run the controllers until SIGTERM or SIGINT. Nothing is lost by ending: the next start goes on.

    ``complain`` is told once when the server is away at the start, and again when it is away for another reason.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    told: list[int] = []

    def stop(number: int) -> None:
        told.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        async with opened(settings, complain) as world, asyncio.TaskGroup() as group:
            group.create_task(world.manager.run())
            await world.manager.started.wait()
            announce(world)
    except asyncio.CancelledError:
        if not told:
            raise
        task.uncancel()


@contextlib.asynccontextmanager
async def opened(settings: Settings, complain: Callable[[str], object] = str) -> AsyncIterator[Cluster]:
    """The world over a reachable server. Raises BadInputError when the extra, the kubeconfig or our definitions are missing.

    LockedError when another process owns the data folder.
    """
    try:
        from kuttab.client import kube
    except ModuleNotFoundError as problem:
        text = f"Kubernetes needs the extra of that name: pip install 'kuttab[kubernetes]' ({problem})"
        raise errors.BadInputError(text) from problem

    settings.machine.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock.Lock(settings.machine.data, clock.SystemClock()):
        async with kube.KubeClient.connect(settings.kubeconfig, settings.context, only=settings.namespace) as client:
            server, workloads = await _greet(client, complain)
            async with observing.observations(settings.machine) as rows:
                yield _composed(settings, client, rows, server, workloads)


def _composed(
    settings: Settings,
    client: kube.KubeClient,
    rows: observation_port.Observations,
    server: str,
    workloads: Sequence[kinds.Kind],
) -> Cluster:
    time = clock.SystemClock()
    parts = plane.Parts(
        client, rows, suggesting.InProcess(rows, priors=warming.from_objects(client)),
        plane.NoQuota(), time, workloads, admission(settings.machine, workloads),
        dressing.dress, trial.Patience(grace=math.inf, poll=LOOK_AGAIN),
    )  # fmt: skip
    planes = plane.ControlPlane(parts)
    pods = informer.Informer(client, kinds.POD, labels=keys.LABEL_TRIAL)
    measure = Measure(client, client, rows, planes, pods)
    machine = manager.Manager(
        [*planes.informers.values(), pods],
        [*planes.controllers, measure.controller],
        [planes.events.run, measure.logic.run],
    )
    return Cluster(client, rows, planes, machine, server, workloads)


class Measure:
    """The measuring controller, tied to what it hears and whom it tells."""

    def __init__(
        self,
        client: object_port.Objects,
        logs: log_port.PodLogs,
        rows: observation_port.Observations,
        planes: plane.ControlPlane,
        pods: informer.Informer,
    ) -> None:
        judge = next(found for found in planes.controllers if found.name == "trial")
        self.controller = controller.Controller("measuring", self._reconcile, workers=WORKERS)
        world = measuring.World(
            objects=client, logs=logs, trials=planes.trials, workloads=planes.workloads, pods=pods, observations=rows,
            events=planes.events, wake=self.controller.enqueue, judge=judge.enqueue,
        )  # fmt: skip
        self.logic = measuring.MeasuringController(world)
        pods.listen(self.logic.pod_heard)
        for cache in (planes.trials, *planes.workloads.values()):
            cache.listen(self._heard)

    async def _reconcile(self, namespace: str, name: str) -> float | None:
        return await self.logic.reconcile(namespace, name)

    def _heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        obj = new if new is not None else old
        assert obj is not None
        self.controller.enqueue(obj.namespace, obj.name)


class _Catalogue(catalogue.Catalogue):
    """What this installation allows."""

    def __init__(
        self,
        settings: settings_.Settings,
        workloads: Sequence[kinds.Kind],
        config_maps: Mapping[tuple[str, str], Mapping[str, str]],
    ) -> None:
        super().__init__(settings, config_maps=config_maps)
        self._workloads = frozenset((kind.api_version, kind.kind) for kind in workloads)

    @property
    def limits(self) -> limits.Limits:
        """Kinds of workload that the server knows, and collectors that work here."""
        return limits.Limits(workload_kinds=self._workloads, stoppable_collectors=frozenset({"StdOut"}))

    def collector_kinds(self) -> Collection[str]:
        """See the protocol."""
        return COLLECTORS

    def workload_warnings(self, tree: meta.Json, path: str) -> list[errors.Problem]:  # noqa: ARG002
        """A cluster takes every field for what it is."""
        return []

    def workload_problems(self, tree: meta.Json, path: str) -> list[errors.Problem]:  # noqa: ARG002
        """The API server judges workloads itself."""
        return []


def admission(
    settings: settings_.Settings, workloads: Sequence[kinds.Kind]
) -> Callable[[experiment.Experiment, str], experiment.Experiment]:
    """How the controllers admit an experiment, given the text of its ConfigMap template if it has one."""

    def admit(subject: experiment.Experiment, text: str) -> experiment.Experiment:
        template = subject.spec.trial_template
        source = template.config_map if template is not None else None
        maps = {}
        if source is not None:
            where = (source.config_map_namespace or subject.namespace, source.config_map_name)
            maps[where] = {source.template_path: text}
        warm = subject.spec.warm_start
        if warm is not None and warm.config_map_name:  # read, and judged, where the algorithm is asked
            maps[subject.namespace, warm.config_map_name] = {prior.KEY: prior.write(())}
        offered = _Catalogue(settings, workloads, maps)
        admitted = chain.admit(subject, catalogue=offered, user=limits.SYSTEM_USER).object
        assert isinstance(admitted, experiment.Experiment)
        return admitted

    return admit


async def _greet(client: kube.KubeClient, complain: Callable[[str], object]) -> tuple[str, list[kinds.Kind]]:
    """The server's version and the kinds of workload that it serves; waits while it is away."""
    said = ""
    while True:
        try:
            version = str((await client.version()).get("gitVersion", ""))
            for kind in (kinds.EXPERIMENT, kinds.SUGGESTION, kinds.TRIAL):
                if not await client.serves(kind):
                    raise errors.BadInputError(
                        f"this cluster does not know {kind.kind} of {kind.api_version}; run: kubectl apply -f deploy/crds"
                    )
            return version, [kind for kind in WORKLOADS if await client.serves(kind)]
        except errors.UnavailableError as problem:
            if problem.message != said:
                said = problem.message
                complain(f"waiting for the cluster: {said}")
            await asyncio.sleep(RETRY)
