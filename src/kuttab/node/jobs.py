"""batch/v1 Jobs on one machine: the job controller over the node's kubelet.

Level-triggered: :meth:`Jobs.reconcile` is called for a Job that changed, or one of whose processes ended. It differs from
Kubernetes in three documented ways: retries wait 0.2 s, 0.4 s, ... instead of 10 s, 20 s, ...; a pod restarted by ``OnFailure`` is a
new Pod over the same volumes; a program that cannot be started, or floods its log, fails the Job at once. Early stopping is put
on the Job as an annotation before the process is asked to end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kuttab.api import keys, kinds, meta, trial
from kuttab.base import clock as clocks
from kuttab.base import errors, log
from kuttab.node import job_rules, meters, owners, pod_status, pods, prepare, settings
from kuttab.ports import events as event_port
from kuttab.ports import objects as port
from kuttab.ports import observations as observation_port
from kuttab.rules import trial_state

_log = log.get(__name__)

_SUSPENDED = "JobSuspended"
_AT_ONCE = (pod_status.CANNOT_RUN, pod_status.LOG_TOO_LARGE)
"""Failures that another attempt cannot mend."""
_NOT_COUNTED = (pod_status.NODE_LOST, _SUSPENDED)
_TRIAL_POLL = 1.0
_CONFIG_POLL = 2.0


@dataclass(slots=True)
class _Work:
    """What this process knows about a Job that is not finished."""

    uid: str
    since: float
    runs: dict[int, pods.Run] = field(default_factory=dict)
    created: dict[int, meta.Resource] = field(default_factory=dict)
    """Pods that exist and have not been started yet."""
    succeeded: set[int] = field(default_factory=set)
    failures: int = 0
    attempts: int = 0
    retry_at: float = 0.0
    failing: tuple[str, str] | None = None
    last_failure: str = ""
    start_time: str = ""
    suspended: bool = False


class Jobs:
    """The job controller. ``enqueue(namespace, name)`` asks for a pass over a Job."""

    def __init__(
        self,
        kubelet: pods.Kubelet,
        observations: observation_port.Observations,
        events: event_port.Events,
        clock: clocks.Clock,
        enqueue: Callable[[str, str], None],
    ) -> None:
        self._kubelet = kubelet
        self._objects: port.Objects = kubelet.objects
        self._settings: settings.NodeSettings = kubelet.settings
        self._observations = observations
        self._events = events
        self._clock = clock
        self._enqueue = enqueue
        self._works: dict[tuple[str, str], _Work] = {}
        self._left: dict[str, list[meta.Resource]] = {}
        self._expiring: dict[str, float] = {}

    def remember(self, found: Iterable[meta.Resource]) -> None:
        """Take over the Pods that recovery found, before the first pass."""
        for pod in found:
            owner = pod.metadata.controller
            if owner is not None and owner.kind == kinds.JOB.kind:
                self._left.setdefault(owner.uid, []).append(pod)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One pass over a Job: None when done, seconds until the next look, or an error to be retried."""
        job = await self._read(namespace, name)
        work = self._works.get((namespace, name))
        if work is not None and (job is None or job.uid != work.uid or job.deleting):
            if not await self._abandon(work):
                return None
            del self._works[(namespace, name)]
            work = None
        if job is None or job.deleting:
            return None
        if job_rules.finished(job):
            self._left.pop(job.uid, None)
            return await self._expire(job)
        shape = job_rules.Shape.read(job.section("spec"))
        if work is None:
            work = self._works[(namespace, name)] = await self._begin(job)
        job = await self._follow(job, work)
        again = await self._decide(job, work, shape)
        if job_rules.finished(await self._write(job, work, shape)):
            del self._works[(namespace, name)]
            return await self._expire(job)
        return again

    async def _read(self, namespace: str, name: str) -> meta.Resource | None:
        try:
            found = await self._objects.get(kinds.JOB, namespace, name)
        except errors.NotFoundError:
            return None
        assert isinstance(found, meta.Resource)
        return found

    async def _begin(self, job: meta.Resource) -> _Work:
        """What is known about a Job at first sight: its own counters and the Pods of an earlier life."""
        status = job.section("status")
        work = _Work(job.uid, self._clock.monotonic(), start_time=status.get("startTime", ""))
        work.suspended = job_rules.condition(status, job_rules.SUSPENDED)
        left = self._left.pop(job.uid, [])
        failed = 0
        for pod in left:
            work.attempts = max(work.attempts, pod_status.attempt(pod) + 1)
            if pod_status.phase(pod) == pod_status.SUCCEEDED:
                work.succeeded.add(pod_status.index(pod))
            elif pod_status.finished(pod):
                failed += pod.section("status").get("reason") not in _NOT_COUNTED
                work.last_failure = pod.section("status").get("message", "")
            else:
                await self._resume(job, work, pod)
        work.succeeded |= job_rules.parse_intervals(status.get("completedIndexes", ""))
        work.failures = max(failed, status.get("failed", 0))
        return work

    async def _resume(self, job: meta.Resource, work: _Work, pod: meta.Resource) -> None:
        """A Pod whose early stop was decided in an earlier life and not carried through: drain its metrics and end it so."""
        subject = await owners.trial_of(self._objects, job)
        plan = await self._plan(job, pod, subject, measured=True)
        message = f"stopped early by a rule on {job.metadata.annotation(keys.ANNOTATION_EARLY_STOPPED)}"
        work.runs[pod_status.index(pod)] = await self._kubelet.adopt(pod, plan, pod_status.EARLY_STOPPED, message)

    async def _follow(self, job: meta.Resource, work: _Work) -> meta.Resource:
        """Move every run on; returns the Job as it is then."""
        for index, run in sorted(work.runs.items()):
            if run.met and not run.reason and run.live:
                job = await self._announce(job, run)
                run.mark(
                    pod_status.EARLY_STOPPED,
                    f"stopped early by a rule on {job.metadata.annotation(keys.ANNOTATION_EARLY_STOPPED)}",
                )
                self._kubelet.stop(run)
            elif not run.reason and run.live and await self._deleted(run):
                run.mark(pod_status.DELETED, "the pod was deleted by somebody else while it ran")
                self._kubelet.stop(run)
            if await self._kubelet.advance(run):
                del work.runs[index]
                self._count(job, work, index, run)
        return job

    async def _announce(self, job: meta.Resource, run: pods.Run) -> meta.Resource:
        """Say on the Job that it is being stopped early, before anything is done about it."""
        subject = run.plan.trial
        rules = (subject.spec.early_stopping_rules if subject is not None else None) or ()
        metric = ",".join(sorted({rule.name for rule in rules})) or "rule"
        if job.metadata.annotation(keys.ANNOTATION_EARLY_STOPPED):
            return job
        annotations = {**(job.metadata.annotations or {}), keys.ANNOTATION_EARLY_STOPPED: metric}
        metadata = meta.evolve(job.metadata, annotations=annotations)
        written = await self._objects.update(meta.evolve(job, metadata=metadata))
        await self._objects.settle()
        assert isinstance(written, meta.Resource)
        return written

    async def _deleted(self, run: pods.Run) -> bool:
        try:
            found = await self._objects.get(kinds.POD, run.pod.namespace, run.pod.name)
        except errors.NotFoundError:
            return True
        return found.uid != run.pod.uid or found.deleting

    def _count(self, job: meta.Resource, work: _Work, index: int, run: pods.Run) -> None:
        """Enter the end of a run into the books."""
        if run.phase == pod_status.SUCCEEDED or run.reason == pod_status.EARLY_STOPPED:
            work.succeeded.add(index)
            return
        if run.reason in _NOT_COUNTED:
            return
        work.last_failure = run.message
        if run.reason in (pod_status.DEADLINE, pod_status.DELETED) and work.failing is not None:
            work.failures += 1
            return
        action, message = job_rules.policy(job.section("spec"), run.exits)
        work.failures += action != "Ignore"
        first, most = self._settings.backoff_seconds, self._settings.backoff_most_seconds
        work.retry_at = self._clock.monotonic() + job_rules.backoff(max(work.failures, 1), first, most)
        if run.reason in _AT_ONCE:
            work.failing = work.failing or (run.reason, run.message)
        elif action == "FailJob":
            work.failing = work.failing or (job_rules.POLICY, message)
        if run.reason:
            self._events.record(job, run.reason, run.message, warning=True)

    async def _decide(self, job: meta.Resource, work: _Work, shape: job_rules.Shape) -> float | None:
        """End what must end, start what is missing; returns when to look again."""
        now = self._clock.monotonic()
        if shape.suspend:
            self._halt(work, _SUSPENDED, "the Job is suspended")
            work.since, work.start_time = now, ""
            return None
        remaining = None if shape.deadline is None else shape.deadline - (now - work.since)
        if work.failing is None and work.failures > shape.backoff_limit:
            detail = f"; the last attempt: {work.last_failure}" if work.last_failure else ""
            work.failing = (job_rules.BACKOFF_EXCEEDED, f"Job has reached the specified backoff limit{detail}")
        if (
            work.failing is None
            and remaining is not None
            and remaining <= 0
            and not shape.done(work.succeeded, len(work.runs))
        ):
            work.failing = (job_rules.DEADLINE, f"Job was active longer than its deadline of {shape.deadline} s")
        if work.failing is not None:
            reason = pod_status.DEADLINE if work.failing[0] == job_rules.DEADLINE else pod_status.DELETED
            self._halt(work, reason, work.failing[1])
            await self._let_go(work)
            return None
        wanted = shape.wanted(work.succeeded, work.runs)
        if wanted and now < work.retry_at:
            delay = work.retry_at - now
            return delay if remaining is None else min(delay, remaining)
        work.start_time = work.start_time or self._kubelet.now()
        for index in wanted:
            again = await self._launch(job, work, shape, index)
            if again is not None:
                return again
        return remaining

    def _halt(self, work: _Work, reason: str, message: str) -> None:
        for run in work.runs.values():
            if not run.reason:
                run.mark(reason, message)
                self._kubelet.stop(run)

    async def _launch(self, job: meta.Resource, work: _Work, shape: job_rules.Shape, index: int) -> float | None:
        """Create the Pod of the next attempt and start it; a number when the world is not ready for it."""
        try:
            subject = await owners.trial_of(self._objects, job)
        except owners.TrialGoneError:
            return _TRIAL_POLL
        pod = work.created.get(index)
        if pod is None:
            pod = await self._create(job, work, shape, index, subject)
            if pod is None:
                return 0.0
            work.created[index] = pod
        measured = self._measured(pod, subject, index, shape)
        if measured and subject is not None and pod_status.attempt(pod) and meters.pulled(subject):
            await self._observations.fence(owners.trial_key(subject), pod.uid)
        plan = await self._plan(job, pod, subject, measured=measured)
        try:
            run = await self._kubelet.start(pod, plan, lambda: self._enqueue(job.namespace, job.name))
        except errors.UnavailableError as problem:
            self._events.record(job, "FailedStart", problem.message, warning=True)
            if problem.reason == "CreateContainerConfigError":
                return _CONFIG_POLL
            raise
        del work.created[index]
        if run.finished:
            self._count(job, work, index, run)
            return 0.0
        work.runs[index] = run
        return None

    async def _create(
        self, job: meta.Resource, work: _Work, shape: job_rules.Shape, index: int, subject: trial.Trial | None
    ) -> meta.Resource | None:
        attempt = work.attempts
        annotations = {pod_status.ANNOTATION_ATTEMPT: str(attempt), pod_status.ANNOTATION_INDEX: str(index)}
        labels = owners.job_labels(job)
        if shape.indexed:
            for section in (annotations, labels):
                section["batch.kubernetes.io/job-completion-index"] = str(index)
        fresh = owners.pod(
            job,
            job.section("spec").get("template") or {},
            subject,
            name=owners.pod_name(job, index, attempt),
            labels=labels,
            annotations=annotations,
        )
        made = await owners.create(self._objects, fresh, job)
        work.attempts += 1
        return made

    def _measured(self, pod: meta.Resource, subject: trial.Trial | None, index: int, shape: job_rules.Shape) -> bool:
        """Whether this pod is the one that measures: of those that match the primary labels, the one of the lowest index."""
        if subject is None:
            return False
        labels = dict(pod.metadata.labels or {})
        if not meters.matches(subject, labels):
            return False
        key = "batch.kubernetes.io/job-completion-index"
        earlier = range(index) if shape.completions is None or shape.completions > 1 else ()
        return not any(meters.matches(subject, {**labels, **({key: str(i)} if shape.indexed else {})}) for i in earlier)

    async def _plan(
        self, job: meta.Resource, pod: meta.Resource, subject: trial.Trial | None, *, measured: bool
    ) -> prepare.Plan:
        data_dir = self._kubelet.data_dir
        base = data_dir / "trials" / job.namespace / job.name
        index = pod_status.index(pod)
        keep = pod.section("spec").get("restartPolicy") == "OnFailure"
        indexed = pod.metadata.annotation("batch.kubernetes.io/job-completion-index")
        return prepare.Plan(
            folder=base / settings.attempt_folder(pod_status.attempt(pod), pod.name),
            trial=subject if measured else None,
            primary=subject.spec.primary_container_name if subject is not None and measured else "",
            env={"JOB_COMPLETION_INDEX": indexed} if indexed else {},
            checkpoint=await prepare.read_checkpoint(self._objects, data_dir, subject),
            volumes_folder=base / f"volumes-{job.uid[:8]}-{index}" if keep else None,
        )

    async def _write(self, job: meta.Resource, work: _Work, shape: job_rules.Shape) -> meta.Resource:
        """The one status write of a pass, only when something changed."""
        now = self._kubelet.now()
        old: Mapping[str, Any] = job.section("status")
        status = job_rules.counts(
            old,
            active=len(work.runs),
            succeeded=sorted(work.succeeded),
            failed=work.failures,
            start_time=work.start_time,
            indexed=shape.indexed,
        )
        if not work.runs and work.failing is not None:
            status = job_rules.with_condition(status, job_rules.FAILED, "True", *work.failing, now)
        elif (
            work.failing is None and not shape.suspend and shape.done(work.succeeded, len(work.runs)) and not work.runs
        ):
            message = "Reached expected number of succeeded pods"
            status = job_rules.with_condition(status, job_rules.COMPLETE, "True", "CompletionsReached", message, now)
            status["completionTime"] = now
        if shape.suspend and not work.runs and not work.suspended:
            status = job_rules.with_condition(status, job_rules.SUSPENDED, "True", _SUSPENDED, "Job suspended", now)
        elif not shape.suspend and work.suspended:
            status = job_rules.with_condition(status, job_rules.SUSPENDED, "False", "JobResumed", "Job resumed", now)
        if status == old:
            return job
        written = await self._objects.update_status(meta.evolve(job, status=status))
        work.suspended = job_rules.condition(status, job_rules.SUSPENDED)
        assert isinstance(written, meta.Resource)
        if job_rules.condition(status, job_rules.FAILED) and work.failing is not None:
            self._events.record(written, work.failing[0], work.failing[1], warning=True)
        return written

    async def _abandon(self, work: _Work) -> bool:
        """The Job is gone or going: end its processes and let its Pods go; True when nothing is left."""
        self._halt(work, pod_status.DELETED, "the Job was deleted")
        for index, run in sorted(work.runs.items()):
            if await self._kubelet.advance(run):
                del work.runs[index]
        await self._let_go(work)
        return not work.runs

    async def _let_go(self, work: _Work) -> None:
        """Take our finalizer off Pods that were created and never started."""
        for index, pod in list(work.created.items()):
            try:
                current = await self._objects.get(kinds.POD, pod.namespace, pod.name)
                assert isinstance(current, meta.Resource)
                await pods.release(self._objects, current)
            except errors.NotFoundError:
                _log.debug("pod_gone", pod=pod.name)
            del work.created[index]

    async def _expire(self, job: meta.Resource) -> float | None:
        """``ttlSecondsAfterFinished``: delete the Job in time, but not before its Trial has taken note of the end."""
        seconds = job.section("spec").get("ttlSecondsAfterFinished")
        if seconds is None:
            return None
        now = self._clock.monotonic()
        remaining = self._expiring.setdefault(job.uid, now) + seconds - now
        if remaining > 0:
            return float(remaining)
        try:
            subject = await owners.trial_of(self._objects, job)
        except owners.TrialGoneError:
            subject = None
        if subject is not None and not trial_state.finished(subject):
            return _TRIAL_POLL
        self._expiring.pop(job.uid, None)
        try:
            await self._objects.delete(kinds.JOB, job.namespace, job.name, uid=job.uid)
        except errors.NotFoundError:
            _log.debug("job_gone", job=job.name)
        return None
