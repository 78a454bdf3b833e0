"""The measuring controller: reads what the pods of trials print into the observation log, and says when a reading is final.

For the world in which pods run elsewhere (on Kubernetes), where nobody is beside the program. Observes: Trials, their workloads,
their pods. Sets: metric rows with their final marker, and on a workload that a rule ends early the annotation and a deadline. A
trial is judged when the marker is there, so the marker comes only once its workload is over and the log of the pod that counts was
read to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kuttab.api import experiment, keys, kinds, meta, trial
from kuttab.base import errors, log
from kuttab.collector import podlog
from kuttab.controllers import pod_reader
from kuttab.ports import events as event_port
from kuttab.ports import objects as port
from kuttab.ports import observations as observation_port
from kuttab.ports import pod_logs as log_port
from kuttab.rules import naming, workload
from kuttab.runtime import informer

logger = log.get(__name__)

LOOK_AGAIN = 1.0
"""Seconds until pods that the cache has not seen yet are looked for again."""
INDEX = "batch.kubernetes.io/job-completion-index"
NOTHING = "none"
"""Source of the final marker of a trial whose pods are gone unread."""


@dataclass(frozen=True, slots=True)
class World:
    """What the controller reads and acts through. ``wake`` asks for a pass of ours, ``judge`` for one of the trial controller."""

    objects: port.Objects
    logs: log_port.PodLogs
    trials: informer.Informer
    workloads: Mapping[kinds.Kind, informer.Informer]
    pods: informer.Informer
    observations: observation_port.Observations
    events: event_port.Events
    wake: Callable[[str, str], None]
    judge: Callable[[str, str], None]


class MeasuringController:
    """Passes over trials, and the readers that run beside them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pods: dict[tuple[str, str], dict[str, meta.Object]] = {}
        self._readers: dict[tuple[str, str], dict[str, pod_reader.PodReader]] = {}
        self._done: dict[tuple[str, str], str] = {}
        self._wanted: asyncio.Queue[pod_reader.PodReader] = asyncio.Queue()

    def pod_heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        """A pod changed: keep the index of a trial's pods, tell its reader, ask for a pass."""
        pod = new if new is not None else old
        assert pod is not None
        key = (pod.namespace, pod_reader.trial_of(pod))
        if not key[1]:
            return
        if new is not None:
            self._pods.setdefault(key, {})[pod.uid] = new
        elif pod.uid in self._pods.get(key, {}):
            del self._pods[key][pod.uid]
            if not self._pods[key]:
                del self._pods[key]
            for reader in self._readers.get(key, {}).values():
                if reader.container.pod.uid == pod.uid:
                    reader.update(None)
        self._world.wake(*key)

    async def run(self) -> None:
        """Run the readers until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                reader = await self._wanted.get()
                reader.task = group.create_task(self._read(reader))

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One pass; see :mod:`kuttab.runtime.controller` for its outcomes."""
        subject = self._world.trials.get(namespace, name)
        if subject is None or subject.deleting:
            self._forget((namespace, name))
            return None
        assert isinstance(subject, trial.Trial)
        if self._done.get((namespace, name)) == subject.uid:
            return None
        try:
            readers = self._follow(subject)
            if readers is None:
                return None
            self._check(subject)
        except errors.InvalidError as problem:
            await self._refuse(subject, problem)
            return None
        job = self._workload(subject)
        if job is None:
            return None
        outcome = workload.read(subject, meta.dump(job)).outcome
        stopped = bool(job.metadata.annotation(keys.ANNOTATION_EARLY_STOPPED))
        if outcome is workload.Outcome.ACTIVE:
            if not stopped and any(reader.stopped for reader in readers):
                await self._stop(subject, job)
            return None
        if outcome is workload.Outcome.FAILED and not stopped:
            return None  # a failed trial needs no metrics
        return await self._finish(subject, readers, stopped=stopped)

    def _follow(self, subject: trial.Trial) -> list[pod_reader.PodReader] | None:
        """The trial's readers, the one that counts last, with new ones for what has started; None when nothing of it is to be read."""
        key = (subject.namespace, subject.name)
        if podlog.open_log(subject.spec.metrics_collector, _objective(subject)) is None:
            return None
        readers = self._readers.setdefault(key, {})
        for pod in self._pods.get(key, {}).values():
            if not pod_reader.measures(pod, subject):
                continue
            now = pod_reader.container(pod, subject)
            for reader in readers.values():
                if reader.container.pod.uid == pod.uid:
                    reader.update(now)
            if now.started and now.id not in readers:
                readers[now.id] = self._reader(subject, now)
        return sorted(readers.values(), key=_rank)

    def _reader(self, subject: trial.Trial, now: pod_reader.Container) -> pod_reader.PodReader:
        source = podlog.open_log(subject.spec.metrics_collector, _objective(subject))
        assert source is not None
        made = pod_reader.PodReader(self._world.logs, self._world.observations, subject, source, now)
        made.on_stop = lambda: self._world.wake(subject.namespace, subject.name)  # type: ignore[method-assign]
        self._wanted.put_nowait(made)
        return made

    async def _read(self, reader: pod_reader.PodReader) -> None:
        await reader.run()
        self._world.wake(reader.container.pod.namespace, pod_reader.trial_of(reader.container.pod))

    async def _finish(
        self, subject: trial.Trial, readers: list[pod_reader.PodReader], *, stopped: bool
    ) -> float | None:
        """The workload is over: put the marker of the reading that counts, as soon as it is whole."""
        chosen = _counting(readers, stopped=stopped)
        if chosen is None and await self._others(subject, readers):
            return LOOK_AGAIN
        chosen = chosen or (readers[-1] if readers else None)
        if chosen is None:
            await self._world.observations.finish(_key(subject), NOTHING, 0)
            text = "Every pod of the workload was gone before its output could be read"
            self._world.events.record(subject, "OutputLost", text, warning=True)
        elif not chosen.whole and not stopped:
            if chosen.trouble:
                self._world.events.record(subject, "OutputUnreadable", chosen.trouble, warning=True)
            return None
        else:
            await chosen.finish()
            for remark in chosen.remarks():
                self._world.events.record(subject, "MetricsIncomplete", remark, warning=True)
        self._close(subject)
        return None

    def _close(self, subject: trial.Trial) -> None:
        """Everything is known of what the trial measured."""
        self._done[(subject.namespace, subject.name)] = subject.uid
        self._world.judge(subject.namespace, subject.name)

    async def _others(self, subject: trial.Trial, readers: list[pod_reader.PodReader]) -> bool:
        """Whether the server knows pods of the trial, started ones, that the cache has not told of."""
        label = f"{keys.LABEL_TRIAL}={subject.name}"
        page = await self._world.objects.list(kinds.POD, subject.namespace, labels=label)
        known = {reader.container.id for reader in readers}
        found = [pod_reader.container(pod, subject) for pod in page.items if pod_reader.measures(pod, subject)]
        return any(item.started and item.id not in known for item in found)

    async def _stop(self, subject: trial.Trial, job: meta.Object) -> None:
        """End a workload as a rule says: mark it first, and let its own controller end the pods by a deadline that has passed."""
        fresh = await self._world.objects.get(kinds.of(job), job.namespace, job.name)
        if fresh.uid != job.uid or fresh.deleting:
            return
        metric = _objective(subject).objective_metric_name or "rule"
        annotations = {**(fresh.metadata.annotations or {}), keys.ANNOTATION_EARLY_STOPPED: metric}
        spec = dict(fresh.section("spec"))
        if kinds.of(job) == kinds.JOB:
            spec["activeDeadlineSeconds"] = 1
        else:
            spec["runPolicy"] = {**(spec.get("runPolicy") or {}), "activeDeadlineSeconds": 1}
        metadata = meta.evolve(fresh.metadata, annotations=annotations)
        await self._world.objects.update(meta.evolve(fresh, metadata=metadata, spec=spec))

    def _check(self, subject: trial.Trial) -> None:
        """InvalidError for a workload that nobody watches, of which nobody would tell when it is over."""
        kind = _kind(subject)
        if kind not in self._world.workloads:
            message = f"{kind.kind} of {kind.api_version} is not watched here, so its output cannot be read"
            raise errors.InvalidError([errors.Problem("spec.runSpec.kind", message, "FieldValueNotSupported")])

    async def _refuse(self, subject: trial.Trial, problem: errors.InvalidError) -> None:
        """A trial that cannot be measured here: say so, and let it end without metrics when its workload does."""
        self._world.events.record(subject, "OutputRefused", problem.message, warning=True)
        await self._world.observations.finish(_key(subject), NOTHING, 0)
        self._close(subject)

    def _workload(self, subject: trial.Trial) -> meta.Object | None:
        found = self._world.workloads[_kind(subject)].get(subject.namespace, subject.name)
        return found if found is not None and naming.owned_by(found, subject) else None

    def _forget(self, key: tuple[str, str]) -> None:
        self._done.pop(key, None)
        for reader in self._readers.pop(key, {}).values():
            if reader.task is not None:
                reader.task.cancel()


def _counting(readers: list[pod_reader.PodReader], *, stopped: bool) -> pod_reader.PodReader | None:
    """The last reading of a container that ended well; of a trial that was stopped early, the last."""
    if stopped:
        return readers[-1] if readers else None
    return next((reader for reader in reversed(readers) if reader.succeeded), None)


def _rank(reader: pod_reader.PodReader) -> tuple[int, str, str, int]:
    """The one that counts comes last: of an indexed Job the lowest index, then the newest."""
    metadata = reader.container.pod.metadata
    text = metadata.label(INDEX) or metadata.annotation(INDEX)
    index = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    return (-index, metadata.creation_timestamp or "", metadata.name, reader.container.run)


def _kind(subject: trial.Trial) -> kinds.Kind:
    spec = subject.spec.run_spec or {}
    return kinds.named(str(spec.get("apiVersion", "")), str(spec.get("kind", "")))


def _objective(subject: trial.Trial) -> experiment.ObjectiveSpec:
    return subject.spec.objective or experiment.ObjectiveSpec()


def _key(subject: trial.Trial) -> observation_port.TrialKey:
    return observation_port.TrialKey(subject.uid, subject.name, subject.namespace)
