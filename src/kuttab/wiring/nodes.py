"""The node and the observation log of one machine, put together for the machine."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from kuttab.api import experiment, kinds, meta, trial
from kuttab.base import clock
from kuttab.collector import session, sources
from kuttab.node import images, jobs, meters, pods, recovery
from kuttab.node import settings as node_settings
from kuttab.ports import objects as object_port
from kuttab.ports import observations as observation_port
from kuttab.rules import earlystop
from kuttab.runtime import controller, manager
from kuttab.wiring import plane as planes
from kuttab.wiring import settings as settings_

SWEEP_SECONDS = 1.0


@contextlib.asynccontextmanager
async def observations(settings: settings_.Settings) -> AsyncIterator[observation_port.Observations]:
    """The observation log of the settings, open."""
    from kuttab.observations import sql

    url = settings.database or sql.file_url(settings.data / "observations.db")
    log = sql.SqlObservations(url)
    await log.open()
    try:
        yield log
    finally:
        await log.close()


def meter_of(rows: observation_port.Observations) -> meters.OpenMeter:
    """How the node follows a trial's metrics: a collector session over what the trial writes."""

    def open_meter(subject: trial.Trial, pod: str, log: Path, map_path: meters.MapPath) -> meters.Meter | None:
        objective = subject.spec.objective or experiment.ObjectiveSpec()
        spec = subject.spec.metrics_collector or experiment.MetricsCollectorSpec()
        source = sources.open_source(spec, objective, stdout_path=log, map_path=map_path)
        if source is None:
            return None
        rules = None
        if subject.spec.early_stopping_rules:
            rules = earlystop.RuleSet(
                subject.spec.early_stopping_rules, objective.objective_metric_name, objective.type
            )
        key = observation_port.TrialKey(subject.uid, subject.name, subject.namespace)
        return session.Session(rows, key, pod, source, rules)

    return open_meter


class Node:
    """The kubelet and the job controllers of this machine, as controllers and runnables for the manager."""

    def __init__(
        self,
        settings: settings_.Settings,
        objects: object_port.Objects,
        rows: observation_port.Observations,
        plane: planes.ControlPlane,
        time: clock.Clock,
    ) -> None:
        node = node_settings.NodeSettings(data_dir=settings.data, images=images.read(settings.images))
        self.kubelet = pods.Kubelet(objects, time, node, meter_of(rows))
        self._job = controller.Controller("job", self._reconcile_job, workers=16)
        self._jobs = jobs.Jobs(self.kubelet, rows, plane.events, time, self._job.enqueue)
        plane.workloads[kinds.JOB].listen(self._heard)
        plane.trials.listen(self._trial_heard)
        self._trials_folder = settings.trials
        self._doomed: set[Path] = set()
        self._doom = asyncio.Event()
        self.controllers: Sequence[controller.Controller] = [self._job]
        self.runnables: Sequence[manager.Runnable] = [self.kubelet.run, self._sweep]

    async def recover(self) -> None:
        """End what an earlier run of this data folder left running, before anything is started."""
        self._jobs.remember(await recovery.recover(self.kubelet))

    async def close(self) -> None:
        """End every process; remove what deleted trials left."""
        await self.kubelet.close()
        await asyncio.to_thread(self._remove)

    async def _reconcile_job(self, namespace: str, name: str) -> float | None:
        return await self._jobs.reconcile(namespace, name)

    def _heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        obj = new if new is not None else old
        assert obj is not None
        self._job.enqueue(obj.namespace, obj.name)

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
