"""What every job controller of this node does, whatever its kind: follow runs, stop early, suspend, end, expire.

A pass reads the job, moves its runs on, lets the kind decide what to start or end, and writes the status once. What a kind adds: which
tasks it wants, what a failure means, what its status looks like. A task is a role with an index; a task has one Pod per attempt.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from kuttab.api import keys, kinds, meta, trial
from kuttab.base import clock as clocks
from kuttab.base import errors, log
from kuttab.node import job_rules, meters, owners, pod_run, pod_status, pods, prepare, settings, tasks
from kuttab.ports import events as event_port
from kuttab.ports import objects as port
from kuttab.ports import observations as observation_port
from kuttab.rules import trial_state

_log = log.get(__name__)

SUSPENDED = "JobSuspended"
NOT_COUNTED = (pod_status.NODE_LOST, pod_status.NAME_TAKEN, SUSPENDED)
AT_ONCE = (pod_status.CANNOT_RUN, pod_status.LOG_TOO_LARGE)
"""Failures that another attempt cannot mend."""
NO_PRIMARY = "NoPrimaryPod"
_TRIAL_POLL = 1.0
_CONFIG_POLL = 2.0


class Controller(abc.ABC):
    """Passes over jobs of one kind. ``enqueue(namespace, name)`` asks for one."""

    kind: kinds.Kind
    failed_reason = job_rules.POLICY
    """Reason of a job that :meth:`judge` fails."""
    quiet_start = False
    """Whether a job's start, which its status at the end tells as well, is written down only when it does not end in a moment.

    So is the Pod of a trial that has but one."""

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
        self._works: dict[tuple[str, str], tasks.Work] = {}
        self._left: dict[str, list[meta.Resource]] = {}
        self._expiring: dict[str, float] = {}

    # What a kind adds.

    @abc.abstractmethod
    def finished(self, job: meta.Resource) -> bool:
        """Whether the job has come to its end."""

    @abc.abstractmethod
    def policy(self, job: meta.Resource) -> tasks.Policy:
        """Limits of the job as a whole."""

    @abc.abstractmethod
    def done(self, job: meta.Resource, work: tasks.Work) -> bool:
        """Whether the job has succeeded."""

    @abc.abstractmethod
    def wanted(self, job: meta.Resource, work: tasks.Work) -> list[tasks.Task]:
        """Tasks to be started now."""

    @abc.abstractmethod
    def launch(self, job: meta.Resource, work: tasks.Work, task: tasks.Task) -> tasks.Launch:
        """What a task's next Pod is made of."""

    @abc.abstractmethod
    def judge(self, job: meta.Resource, work: tasks.Work, task: tasks.Task, run: pod_run.Run) -> tuple[str, str]:
        """What a failure means: ``Count`` it against the limit, ``Ignore`` it, or ``FailJob``; with a message for the last."""

    @abc.abstractmethod
    def measures(self, job: meta.Resource, subject: trial.Trial) -> tasks.Task | None:
        """The one task whose Pod is measured; None when none matches the trial's primary labels."""

    @abc.abstractmethod
    def status(self, job: meta.Resource, work: tasks.Work, old: Mapping[str, Any]) -> meta.Json:
        """The job's status as it should be now; equal to ``old`` when nothing changed."""

    def restore(self, work: tasks.Work, old: Mapping[str, Any]) -> None:  # noqa: B027
        """Take over what only the job's own status tells, at first sight of it."""

    def alone(self, job: meta.Resource) -> bool:  # noqa: ARG002
        """Whether the job never has but one pod at a time."""
        return False

    def first(self, job: meta.Resource, task: tasks.Task) -> bool:  # noqa: ARG002
        """Whether the end of this task is entered before those of others, because it decides what they mean."""
        return False

    def regroup(self, job: meta.Resource, work: tasks.Work) -> None:  # noqa: B027
        """All runs were ended from outside (suspended, or lost with this program): forget what cannot go on without the others."""

    # What is common.

    def remember(self, found: Iterable[meta.Resource]) -> None:
        """Take over the Pods that recovery found, before the first pass."""
        for pod in found:
            owner = pod.metadata.controller
            if owner is not None and (owner.api_version, owner.kind) == (self.kind.api_version, self.kind.kind):
                self._left.setdefault(owner.uid, []).append(pod)

    def over(self, old: meta.Object | None, new: meta.Object | None) -> bool:
        """Whether a change needs no pass: one ended the job and let go of all it had, and nothing is to be done later."""
        if old is None or (old.namespace, old.name) in self._works:
            return False
        if new is None:
            return True
        assert isinstance(new, meta.Resource)
        return not new.deleting and new.uid == old.uid and self.finished(new) and self.policy(new).ttl is None

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One pass over a job: None when done, seconds until the next look, or an error to be retried."""
        job = await self._read(namespace, name)
        work = self._works.get((namespace, name))
        if work is not None and (job is None or job.uid != work.uid or job.deleting):
            if not await self._abandon(work):
                return None
            del self._works[(namespace, name)]
            work = None
        if job is None or job.deleting:
            return None
        if self.finished(job):
            self._left.pop(job.uid, None)
            return await self._expire(job)
        if work is None:
            work = self._works[(namespace, name)] = await self._begin(job)
        job = await self._follow(job, work)
        again = await self._decide(job, work)
        job = await self._write(job, work)
        if not self.finished(job):
            return again
        self._works.pop((namespace, name), None)
        return await self._expire(job)

    async def _read(self, namespace: str, name: str) -> meta.Resource | None:
        try:
            found = await self._objects.get(self.kind, namespace, name)
        except errors.NotFoundError:
            return None
        assert isinstance(found, meta.Resource)
        return found

    async def _begin(self, job: meta.Resource) -> tasks.Work:
        """What is known about a job at first sight: its own status and the Pods of an earlier life."""
        status = job.section("status")
        work = tasks.Work(job.uid, self._clock.monotonic(), start_time=status.get("startTime", ""))
        work.suspended = job_rules.condition(status, job_rules.SUSPENDED)
        for pod in self._left.pop(job.uid, []):
            task = pod_status.task(pod)
            work.attempts = max(work.attempts, pod_status.attempt(pod) + 1)
            if pod_status.phase(pod) == pod_status.SUCCEEDED:
                work.succeeded.add(task)
            elif not pod_status.finished(pod):
                await self._resume(job, work, pod)
            elif pod.section("status").get("reason") not in NOT_COUNTED:
                work.failed[task[0]] = work.failed.get(task[0], 0) + 1
                work.last_failure = pod.section("status").get("message", "")
        self.restore(work, status)
        self.regroup(job, work)
        return work

    async def _resume(self, job: meta.Resource, work: tasks.Work, pod: meta.Resource) -> None:
        """A Pod whose early stop was decided in an earlier life and not carried through: drain its metrics and end it so."""
        subject = await owners.trial_of(self._objects, job)
        task = pod_status.task(pod)
        measured = subject is not None and self.measures(job, subject) == task
        plan = await self._plan(job, pod, subject if measured else None, tasks.Launch({}, {}, {}, pod.name))
        work.runs[task] = await self._kubelet.adopt(pod, plan, pod_status.EARLY_STOPPED, _early(job))

    async def _follow(self, job: meta.Resource, work: tasks.Work) -> meta.Resource:
        """Move every run on; returns the job as it is then."""
        if any(run.met and not run.reason and not run.failed for run in work.runs.values()):
            for run in work.runs.values():
                await self._kubelet.enter(run)  # the next start of this program must find what is being stopped
            job = await self._announce(job, work)
            self._halt(work, pod_status.EARLY_STOPPED, _early(job))
        order = sorted(work.runs.items(), key=lambda item: (not self.first(job, item[0]), item[0]))
        for task, run in order:
            if not run.reason and run.live and await self._deleted(run):
                run.mark(pod_status.DELETED, "the pod was deleted by somebody else while it ran")
                self._kubelet.stop(run)
            if await self._kubelet.advance(run):
                del work.runs[task]
                self._count(job, work, task, run)
        return job

    async def _announce(self, job: meta.Resource, work: tasks.Work) -> meta.Resource:
        """Say on the job that it is being stopped early, before anything is done about it."""
        if job.metadata.annotation(keys.ANNOTATION_EARLY_STOPPED):
            return job
        subjects = [run.plan.trial for run in work.runs.values() if run.met and run.plan.trial is not None]
        names = {rule.name for subject in subjects for rule in subject.spec.early_stopping_rules or ()} or {
            subject.spec.objective.objective_metric_name for subject in subjects if subject.spec.objective is not None
        }
        annotations = {
            **(job.metadata.annotations or {}),
            keys.ANNOTATION_EARLY_STOPPED: ",".join(sorted(names)) or "rule",
        }
        metadata = meta.evolve(job.metadata, annotations=annotations)
        written = await self._objects.update(meta.evolve(job, metadata=metadata))
        await self._objects.settle()
        assert isinstance(written, meta.Resource)
        return written

    async def _deleted(self, run: pod_run.Run) -> bool:
        if not pod_status.written(run.pod):
            return False
        try:
            found = await self._objects.get(kinds.POD, run.pod.namespace, run.pod.name)
        except errors.NotFoundError:
            return True
        return found.uid != run.pod.uid or found.deleting

    def _count(self, job: meta.Resource, work: tasks.Work, task: tasks.Task, run: pod_run.Run) -> None:
        """Enter the end of a run into the books."""
        if run.phase == pod_status.SUCCEEDED or run.reason == pod_status.EARLY_STOPPED:
            work.succeeded.add(task)
            return
        if run.reason in NOT_COUNTED or (run.reason == pod_status.DELETED and self.done(job, work)):
            return
        work.last_failure = run.cause
        action, message = ("Count", "") if work.failing is not None else self.judge(job, work, task, run)
        work.failed[task[0]] = work.failed.get(task[0], 0) + (action != "Ignore")
        first, most = self._settings.backoff_seconds, self._settings.backoff_most_seconds
        work.retry_at = self._clock.monotonic() + job_rules.backoff(max(work.failures, 1), first, most)
        if run.reason in AT_ONCE:
            work.failing = work.failing or (run.reason, run.message)
        elif action == "FailJob":
            work.failing = work.failing or (self.failed_reason, message)
        if run.reason and run.reason not in (pod_status.DELETED, pod_status.DEADLINE):
            self._events.record(job, run.reason, run.message, warning=True)

    async def _decide(self, job: meta.Resource, work: tasks.Work) -> float | None:
        """End what must end, start what is missing; returns when to look again."""
        now, policy = self._clock.monotonic(), self.policy(job)
        if policy.suspend:
            self._halt(work, SUSPENDED, "the job is suspended")
            if not work.runs:
                self.regroup(job, work)
            work.since, work.start_time = now, ""
            return None
        remaining = None if policy.deadline is None else policy.deadline - (now - work.since)
        done = self.done(job, work)
        if work.failing is None and not done:
            work.failing = self._failing(work, policy, remaining)
        if work.failing is not None or done:
            late = work.failing is not None and work.failing[0] == job_rules.DEADLINE
            message = work.failing[1] if work.failing is not None else "the job is done"
            self._halt(work, pod_status.DEADLINE if late else pod_status.DELETED, message)
            await self._let_go(work)
            return None
        wanted = self.wanted(job, work)
        if wanted and now < work.retry_at:
            delay = work.retry_at - now
            return delay if remaining is None else min(delay, remaining)
        work.start_time = work.start_time or self._kubelet.now()
        for task in wanted:
            again = await self._launch(job, work, task)
            if again is not None:
                return again
        return remaining

    def _failing(self, work: tasks.Work, policy: tasks.Policy, remaining: float | None) -> tuple[str, str] | None:
        if work.failures > policy.backoff_limit:
            detail = f"; the last attempt: {work.last_failure}" if work.last_failure else ""
            return job_rules.BACKOFF_EXCEEDED, f"Job has reached the specified backoff limit{detail}"
        if remaining is not None and remaining <= 0:
            return job_rules.DEADLINE, f"Job was active longer than its deadline of {policy.deadline} s"
        return None

    def _halt(self, work: tasks.Work, reason: str, message: str) -> None:
        for run in work.runs.values():
            if not run.reason:
                run.mark(reason, message)
                self._kubelet.stop(run)

    async def _launch(self, job: meta.Resource, work: tasks.Work, task: tasks.Task) -> float | None:
        """Create the Pod of a task's next attempt and start it; a number when the world is not ready for it."""
        try:
            subject = await owners.trial_of(self._objects, job)
        except owners.TrialGoneError:
            return _TRIAL_POLL
        measured = None
        if subject is not None:
            measured = self.measures(job, subject)
            if measured is None:
                wanted = ", ".join(f"{k}={v}" for k, v in (subject.spec.primary_pod_labels or {}).items())
                work.failing = (NO_PRIMARY, f"no pod of the job has the trial's primaryPodLabels {wanted}")
                return 0.0
        launch = self.launch(job, work, task)
        pod = work.created.get(task) or await self._create(job, work, task, launch, subject)
        if pod is None:
            return 0.0
        work.created[task] = pod
        followed = subject if measured == task else None
        plan = replace(await self._plan(job, pod, followed, launch), owner=subject)
        again = bool(pod_status.attempt(pod))
        if not pod_status.written(pod):
            plan = replace(plan, fleeting=True)
            again = await self._kubelet.clear(plan)
        if followed is not None and again and meters.pulled(followed):
            await self._observations.fence(owners.trial_key(followed), pod.uid)
        try:
            run = await self._kubelet.start(pod, plan, lambda: self._enqueue(job.namespace, job.name))
        except errors.UnavailableError as problem:
            self._events.record(job, "FailedStart", problem.message, warning=True)
            if not pod_status.written(pod):
                await self._show(work, task, pod)
            if problem.reason == "CreateContainerConfigError":
                return _CONFIG_POLL
            raise
        del work.created[task]
        if run.finished:
            self._count(job, work, task, run)
            return 0.0
        work.runs[task] = run
        return None

    async def _create(
        self, job: meta.Resource, work: tasks.Work, task: tasks.Task, launch: tasks.Launch, subject: trial.Trial | None
    ) -> meta.Resource | None:
        annotations = {
            pod_status.ANNOTATION_ATTEMPT: str(work.attempts),
            pod_status.ANNOTATION_INDEX: str(task[1]),
            **({pod_status.ANNOTATION_ROLE: task[0]} if task[0] else {}),
            **launch.annotations,
        }
        labels = {**owners.job_labels(job), **launch.labels}
        fresh = owners.pod(job, launch.template, subject, name=launch.name, labels=labels, annotations=annotations)
        if work.attempts == 0 and self._fleeting(job, subject):
            made: meta.Resource | None = owners.named(fresh, self._kubelet.new_uid())
        else:
            made = await owners.create(self._objects, fresh, job)
        work.attempts += 1
        return made

    async def _show(self, work: tasks.Work, task: tasks.Task, pod: meta.Resource) -> None:
        """Write a Pod that waits for its start: it may wait long."""
        made = await owners.enter(self._objects, pod)
        if made is None:
            del work.created[task]
        else:
            work.created[task] = made

    def _fleeting(self, job: meta.Resource, subject: trial.Trial | None) -> bool:
        """Whether the only Pod of a job need not be written when it succeeds in a moment: the trial lets go of the job right after."""
        alone = self.quiet_start and self.alone(job)
        kept = subject is None or subject.spec.retain_run
        return alone and not kept and isinstance(self._objects, port.GivenUids)

    async def _plan(
        self, job: meta.Resource, pod: meta.Resource, followed: trial.Trial | None, launch: tasks.Launch
    ) -> prepare.Plan:
        data_dir = self._kubelet.data_dir
        base = data_dir / "trials" / job.namespace / job.name
        role, index = pod_status.task(pod)
        keep = pod.section("spec").get("restartPolicy") not in (None, "Never")
        return prepare.Plan(
            folder=base / settings.attempt_folder(pod_status.attempt(pod), pod.name),
            trial=followed,
            primary=followed.spec.primary_container_name if followed is not None else "",
            alone=self.alone(job),
            env=launch.env,
            files=launch.files,
            checkpoint=await prepare.read_checkpoint(self._objects, data_dir, followed),
            volumes_folder=base / f"volumes-{job.uid[:8]}-{role}{index}" if keep else None,
        )

    async def _write(self, job: meta.Resource, work: tasks.Work) -> meta.Resource:
        """The one status write of a pass, only when something changed."""
        old: Mapping[str, Any] = job.section("status")
        if not old and self.quiet_start and _just_started(work):
            return job
        status = self.status(job, work, old)
        if status == old:
            return job
        written = await self._objects.update_status(meta.evolve(job, status=status))
        work.suspended = job_rules.condition(status, job_rules.SUSPENDED)
        assert isinstance(written, meta.Resource)
        if work.failing is not None and self.finished(written):
            self._events.record(written, work.failing[0], work.failing[1], warning=True)
        return written

    async def _abandon(self, work: tasks.Work) -> bool:
        """The job is gone or going: end its processes and let its Pods go; True when nothing is left."""
        self._halt(work, pod_status.DELETED, "the job was deleted")
        for task, run in sorted(work.runs.items()):
            if await self._kubelet.advance(run):
                del work.runs[task]
        await self._let_go(work)
        return not work.runs

    async def _let_go(self, work: tasks.Work) -> None:
        """Take our finalizer off Pods that were created and never started."""
        for task, pod in list(work.created.items()):
            if not pod_status.written(pod):
                del work.created[task]
                continue
            try:
                current = await self._objects.get(kinds.POD, pod.namespace, pod.name)
                assert isinstance(current, meta.Resource)
                await pods.release(self._objects, current)
            except errors.NotFoundError:
                _log.debug("pod_gone", pod=pod.name)
            del work.created[task]

    async def _expire(self, job: meta.Resource) -> float | None:
        """``ttlSecondsAfterFinished``: delete the job in time, but not before its Trial has taken note of the end."""
        ttl = self.policy(job).ttl
        if ttl is None:
            return None
        now = self._clock.monotonic()
        remaining = self._expiring.setdefault(job.uid, now) + ttl - now
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
            await self._objects.delete(self.kind, job.namespace, job.name, uid=job.uid)
        except errors.NotFoundError:
            _log.debug("job_gone", job=job.name)
        return None


def _just_started(work: tasks.Work) -> bool:
    """Whether there is nothing to tell but first runs, which may end in a moment."""
    quiet = not (work.succeeded or work.failures or work.failing)
    return quiet and bool(work.runs) and not any(run.told for run in work.runs.values())


def _early(job: meta.Object) -> str:
    return f"stopped early by a rule on {job.metadata.annotation(keys.ANNOTATION_EARLY_STOPPED)}"
