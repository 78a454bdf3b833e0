"""The trial controller: makes a trial's workload, follows it, and reads what it measured.

Observes: Trials and the workloads they own. Sets: Trial.status and the workload. One workload per trial: one that was seen and is
gone is lost, never silently run again.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kuttab.api import conditions, experiment, keys, kinds, meta, trial
from kuttab.base import clock, errors, log
from kuttab.ports import events as event_port
from kuttab.ports import objects as port
from kuttab.ports import observations as observation_port
from kuttab.ports import quota as quota_port
from kuttab.rules import naming, observation, trial_state, trial_status, workload
from kuttab.runtime import informer

logger = log.get(__name__)

METRICS_GRACE = 30.0
"""Seconds a finished workload's metrics may lag before the trial is MetricsUnavailable."""

METRICS_POLL = 1.0
FOREIGN_POLL = 5.0
"""Seconds between looks at a workload of a kind that is not watched."""

HOLD = 0.05
"""Seconds that a trial which has just been started may take before it is written down as running."""

TIDY = 0.02
"""Seconds after a trial's end in which others are served before its workload is deleted."""

LAST_SEEN = 1000

Dress = Callable[[trial.Trial, meta.Json], meta.Json]
"""What a world adds to the workload of a trial before it is created."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that the metrics of a finished workload may lag, and between looks at them when nobody tells that they are there."""

    grace: float = METRICS_GRACE
    poll: float = METRICS_POLL


@dataclass(frozen=True, slots=True)
class World:
    """What the controller reads and acts through."""

    objects: port.Objects
    trials: informer.Informer
    workloads: Mapping[kinds.Kind, informer.Informer]
    observations: observation_port.Observations
    quota: quota_port.Quota
    events: event_port.Events
    clock: clock.Clock
    patience: Patience = Patience()
    dress: Dress | None = None


class TrialController:
    """Passes over trials."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: dict[str, float] = {}
        self._ask_quota_at: dict[str, float] = {}
        self._held: dict[str, tuple[trial.TrialStatus, float]] = {}
        self._asking: dict[str, tuple[str, str]] = {}
        self._let_gone: set[str] = set()
        """Trials that have ended, whose workloads have still to be deleted."""
        self.enqueue: Callable[[str, str], None] | None = None
        """Asks for a pass over a trial; set by whoever runs the passes."""
        self._gone: collections.OrderedDict[str, meta.Object] = collections.OrderedDict()

    def workload_gone(self, last: meta.Object) -> None:
        """A workload was deleted; its last state may be all that tells how it ended (a short time to live, an impatient user)."""
        owner = last.metadata.controller
        if owner is None or owner.kind != trial.Trial.KIND:
            return
        self._let_gone.discard(owner.uid)
        if self._world.trials.get(last.namespace, owner.name) is not None:  # one that has ended tells all by itself
            self._gone[owner.uid] = last
            if len(self._gone) > LAST_SEEN:
                self._gone.popitem(last=False)

    def ended(self, uid: str) -> None:
        """The caches know that a trial is over: its workload's last state tells nothing any more."""
        self._gone.pop(uid, None)

    def ask_again(self, only: tuple[str, str] | None = None) -> None:
        """Resources may have become free: every trial that waits (or only one) asks its quota at once, the longest waiting first."""
        waiting = {u: key for u, key in self._asking.items() if u in self._ask_quota_at and only in (None, key)}
        for uid, (namespace, name) in waiting.items():
            del self._ask_quota_at[uid]
            if self.enqueue is not None:
                self.enqueue(namespace, name)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One pass; see :mod:`kuttab.runtime.controller` for its outcomes."""
        subject = await self._read(namespace, name)
        if subject is None:
            return None
        if subject.deleting:
            await self._finalize(subject)
            return None
        if keys.FINALIZER_TRIAL not in (subject.metadata.finalizers or ()):
            metadata = meta.evolve(
                subject.metadata, finalizers=[*(subject.metadata.finalizers or ()), keys.FINALIZER_TRIAL]
            )
            await self._world.objects.update(meta.evolve(subject, metadata=metadata))
            return None
        if trial_state.finished(subject):
            await self._tidy(subject)
            return None
        return await self._step(subject)

    async def _read(self, namespace: str, name: str) -> trial.Trial | None:
        """The trial from the cache; a finished one is not held there and is read only when its workload may be left over."""
        found = self._world.trials.get(namespace, name)
        if found is None and self._left_over(namespace, name):
            try:
                found = await self._world.objects.get(kinds.TRIAL, namespace, name)
            except errors.NotFoundError:
                return None
        assert found is None or isinstance(found, trial.Trial)
        return found

    def _left_over(self, namespace: str, name: str) -> bool:
        """Whether there is a workload of that name that is not on its way out."""
        found = [cache.get(namespace, name) for cache in self._world.workloads.values()]
        return any(item is not None and not item.deleting for item in found)

    async def _step(self, subject: trial.Trial) -> float | None:
        job = await self._workload(subject)
        held = self._held.get(subject.uid)
        status = trial_status.created(subject.status if held is None else held[0], self._now())
        if subject.spec.stop:
            return await self._stop(subject, status, job)
        if job is None and conditions.is_true(status.conditions, keys.RUNNING):
            return await self._lost(subject, status)
        if job is None:
            status, job, again = await self._start(subject, status)
            if job is None and trial_state.state(status.conditions).finished:
                return await self._end(subject, status, None)
            if job is None:
                await self._write(subject, status)
                return again
        self._ask_quota_at.pop(subject.uid, None)
        status = trial_status.running(status, self._now())
        if not subject.status.conditions and not job.section("status") and self._watched(job):
            # A workload that ends in a moment needs one write, not two; its end comes as an event.
            now = self._world.clock.monotonic()
            until = self._held.setdefault(subject.uid, (status, now + HOLD))[1]
            if until > now:
                return until - now
        return await self._judge(subject, status, job)

    async def _judge(self, subject: trial.Trial, status: trial.TrialStatus, job: meta.Object) -> float | None:
        """Follow the workload: still running, failed, stopped early, or succeeded with its metrics."""
        document = meta.dump(job)
        reading = workload.read(subject, document)
        stopped_early = job.metadata.annotation(keys.ANNOTATION_EARLY_STOPPED)
        if reading.outcome is workload.Outcome.ACTIVE:
            await self._write(subject, trial_status.suspended(status, workload.suspended(document), self._now()))
            return None if self._watched(job) else FOREIGN_POLL
        if reading.outcome is workload.Outcome.FAILED and not stopped_early:
            return await self._end(subject, trial_status.failed(status, reading, self._now()), job)
        summary = await self._world.observations.summarize(_key(subject))
        if not summary.complete and self._still_in_grace(subject):
            await self._write(subject, status)
            return self._world.patience.poll
        objective = subject.spec.objective or experiment.ObjectiveSpec()
        seen = observation.observation(objective, summary.metrics)
        if stopped_early:
            return await self._end(subject, trial_status.early_stopped(status, seen, self._now()), job)
        if observation.available(objective, seen):
            return await self._end(subject, trial_status.succeeded(status, seen, reading, self._now()), job)
        missing = None if _pushes(subject) and not summary.metrics else seen
        return await self._end(subject, trial_status.metrics_unavailable(status, missing, reading, self._now()), job)

    async def _start(
        self, subject: trial.Trial, status: trial.TrialStatus
    ) -> tuple[trial.TrialStatus, meta.Object | None, float | None]:
        """Ask the quota, then create the workload; returns it, or why there is none and when to look again."""
        run = subject.spec.run_spec or {}
        if not (isinstance(run.get("apiVersion"), str) and isinstance(run.get("kind"), str)):
            reading = workload.Reading(
                workload.Outcome.FAILED, "WorkloadRefused", "spec.runSpec must be an object with apiVersion and kind"
            )
            return trial_status.failed(status, reading, self._now()), None, None
        fresh = _with_owner(subject, self._world.dress)
        left = self._ask_quota_at.get(subject.uid, 0.0) - self._world.clock.monotonic()
        if left > 0:
            return status, None, left
        try:
            decision = await self._world.quota.check(subject, fresh)
        except errors.UnavailableError as problem:
            decision = quota_port.Decision(quota_port.Verdict.WAIT, f"quota cannot be asked: {problem.message}")
        if decision.verdict is quota_port.Verdict.WAIT:
            self._asking.setdefault(subject.uid, (subject.namespace, subject.name))
            self._ask_quota_at[subject.uid] = self._world.clock.monotonic() + decision.retry_after
            return (
                trial_status.queued(status, keys.QUOTA_WAIT, decision.reason, self._now()),
                None,
                decision.retry_after,
            )
        if decision.verdict is quota_port.Verdict.REJECT:
            reading = workload.Reading(workload.Outcome.FAILED, "QuotaRejected", decision.reason)
            return trial_status.failed(status, reading, self._now()), None, None
        try:
            job = await self._world.objects.create(fresh)
        except errors.AlreadyExistsError:
            job = await self._world.objects.get(kinds.of(fresh), fresh.namespace, fresh.name)
            if not naming.owned_by(job, subject):
                reading = workload.Reading(
                    workload.Outcome.FAILED,
                    "NameTaken",
                    f"a {fresh.kind} of that name exists and belongs to something else",
                )
                return trial_status.failed(status, reading, self._now()), None, None
        except (errors.BadInputError, errors.TooLargeError) as problem:
            reading = workload.Reading(workload.Outcome.FAILED, "WorkloadRefused", problem.message[:1000])
            return trial_status.failed(status, reading, self._now()), None, None
        self._world.events.record(subject, "JobCreated", f"{fresh.kind} {fresh.name} has been created")
        return status, job, None

    async def _lost(self, subject: trial.Trial, status: trial.TrialStatus) -> float | None:
        """The workload was there and is gone: judge its last state if that was an end, else the trial is lost."""
        last = self._gone.get(subject.uid)
        if last is not None and workload.read(subject, meta.dump(last)).outcome is not workload.Outcome.ACTIVE:
            return await self._judge(subject, status, last)
        reading = workload.Reading(
            workload.Outcome.FAILED, "JobLost", "the workload was deleted by somebody else before it ended"
        )
        return await self._end(subject, trial_status.failed(status, reading, self._now()), None)

    async def _stop(self, subject: trial.Trial, status: trial.TrialStatus, job: meta.Object | None) -> float | None:
        """End the workload first; once it is gone, so is the trial."""
        if job is not None:
            if not job.deleting:
                await self._delete(job)
            return None if self._watched(job) else METRICS_POLL
        return await self._end(subject, trial_status.killed(status, subject.spec.stop, self._now()), None)

    async def _end(self, subject: trial.Trial, status: trial.TrialStatus, job: meta.Object | None) -> float | None:
        """Write the end; the workload is let go a moment later, so that the next trial need not wait for that."""
        await self._write(subject, status)
        await self._let_go(subject.uid)
        if job is None or subject.spec.retain_run or job.deleting:
            return None
        if self._watched(job):
            self._let_gone.add(subject.uid)
            return TIDY
        await self._delete(job)  # nothing would remind of one that is not watched
        return None

    async def _tidy(self, subject: trial.Trial) -> None:
        """A finished trial whose workload is left over; if another life of this program ended it, what it held may be, too."""
        job = await self._workload(subject)
        if job is None or job.deleting:
            return
        if subject.uid not in self._let_gone:
            await self._let_go(subject.uid)
        if not subject.spec.retain_run:
            await self._delete(job)
        self._let_gone.discard(subject.uid)

    async def _delete(self, job: meta.Object) -> None:
        kind = kinds.of(job)
        # A Job that has ended has no pod that runs; one that has not, and other kinds, stay until their pods are gone.
        over = kind == kinds.JOB and bool(job.section("status").get("completionTime"))
        how = port.Propagation.BACKGROUND if kind.childless or over else port.Propagation.FOREGROUND
        try:
            await self._world.objects.delete(kind, job.namespace, job.name, uid=job.uid, propagation=how)
        except errors.NotFoundError:
            logger.debug("workload_gone", name=job.name)

    async def _workload(self, subject: trial.Trial) -> meta.Object | None:
        """The trial's workload as it is now; one of that name that belongs to something else is not ours."""
        spec = subject.spec.run_spec or {}
        kind = kinds.named(str(spec.get("apiVersion", "")), str(spec.get("kind", "")))
        cache = self._world.workloads.get(kind)
        found = cache.get(subject.namespace, subject.name) if cache is not None else None
        if found is None and (cache is None or conditions.is_true(subject.status.conditions, keys.RUNNING)):
            try:
                found = await self._world.objects.get(kind, subject.namespace, subject.name)
            except errors.NotFoundError:
                return None
        return found if found is not None and naming.owned_by(found, subject) else None

    async def _finalize(self, subject: trial.Trial) -> None:
        """Clean a deleted trial's rows, then let it go."""
        if keys.FINALIZER_TRIAL not in (subject.metadata.finalizers or ()):
            return
        await self._world.observations.delete(_key(subject))
        await self._let_go(subject.uid)
        left = [item for item in subject.metadata.finalizers or () if item != keys.FINALIZER_TRIAL]
        metadata = meta.evolve(subject.metadata, finalizers=left)
        await self._world.objects.update(meta.evolve(subject, metadata=metadata))

    async def _write(self, subject: trial.Trial, status: trial.TrialStatus) -> None:
        """The one status write of a pass, with its events after it."""
        if status == subject.status:
            return
        stored = await self._world.objects.update_status(meta.evolve(subject, status=status))
        before = {(item.type, item.status) for item in subject.status.conditions or ()}
        for item in status.conditions or ():
            if item.status == conditions.TRUE and (item.type, item.status) not in before:
                self._tell(stored, item)

    def _tell(self, stored: meta.Object, item: conditions.Condition) -> None:
        reasons = {keys.RUNNING: "JobRunning", keys.SUCCEEDED: "JobSucceeded", keys.FAILED: "JobFailed"}
        warning = item.type in (keys.FAILED, keys.METRICS_UNAVAILABLE)
        if item.type != keys.CREATED:
            self._world.events.record(stored, reasons.get(item.type, item.type), item.message, warning=warning)

    async def _let_go(self, uid: str) -> None:
        """The trial holds and awaits nothing any more; what it held may be what others wait for."""
        for memory in (self._waiting, self._ask_quota_at, self._asking, self._gone, self._held):
            memory.pop(uid, None)
        await self._world.quota.release(uid)
        self.ask_again()

    def _still_in_grace(self, subject: trial.Trial) -> bool:
        if _pushes(subject):
            return False
        now = self._world.clock.monotonic()
        return now - self._waiting.setdefault(subject.uid, now) < self._world.patience.grace

    def _watched(self, job: meta.Object) -> bool:
        return kinds.of(job) in self._world.workloads

    def _now(self) -> str:
        return clock.rfc3339(self._world.clock.now())


def _key(subject: trial.Trial) -> observation_port.TrialKey:
    return observation_port.TrialKey(subject.uid, subject.name, subject.namespace)


def _pushes(subject: trial.Trial) -> bool:
    collector = subject.spec.metrics_collector.collector if subject.spec.metrics_collector is not None else None
    return collector is not None and collector.kind == experiment.CollectorKind.PUSH


def _with_owner(subject: trial.Trial, dress: Dress | None) -> meta.Resource:
    """The workload as the trial's template made it, owned by the trial."""
    document = subject.spec.run_spec or {}
    if dress is not None:
        document = dress(subject, document)
    owner = meta.dump(naming.owner(subject))
    metadata = {
        **document.get("metadata", {}),
        "name": subject.name,
        "namespace": subject.namespace,
        "ownerReferences": [owner],
    }
    made = kinds.load({**document, "metadata": metadata})
    assert isinstance(made, meta.Resource)
    return made
