"""TFJob, PyTorchJob, XGBoostJob and MPIJob on one machine: every replica is a process group of its own, on loopback.

A replica that ends well stays ended while the job runs. After a suspension, or after this program was killed, the whole group starts
anew: half a group cannot find together again. All replicas end with their job, whatever ``cleanPodPolicy`` says, since a process
outside a job has no owner here; records and logs stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kuttab.api import meta, trial
from kuttab.base import clock as clocks
from kuttab.base import ids
from kuttab.node import job_rules, loopback, meters, owners, pod_run, pod_status, pods, replica_env, tasks, workloads
from kuttab.node import replica_rules as rules
from kuttab.ports import events as event_port
from kuttab.ports import observations as observation_port

SLEEP = {"command": ["sleep"], "args": ["31536000"]}
"""What a worker of an MPIJob does when it is not told: wait for the launcher."""


class Replicated(workloads.Controller):
    """The controller of one such kind."""

    def __init__(
        self,
        family: rules.Family,
        kubelet: pods.Kubelet,
        observations: observation_port.Observations,
        events: event_port.Events,
        clock: clocks.Clock,
        enqueue: Callable[[str, str], None],
        ports: loopback.Ports,
    ) -> None:
        super().__init__(kubelet, observations, events, clock, enqueue)
        self.kind = family.kind
        self._family = family
        self._ports = ports
        self.failed_reason = f"{family.name}Failed"

    def finished(self, job: meta.Resource) -> bool:
        """Succeeded or Failed."""
        return rules.finished(job)

    def policy(self, job: meta.Resource) -> tasks.Policy:
        """From ``runPolicy``."""
        run = job.section("spec").get("runPolicy") or {}
        limit = run.get("backoffLimit")
        return tasks.Policy(
            backoff_limit=job_rules.DEFAULT_BACKOFF_LIMIT if limit is None else limit,
            deadline=run.get("activeDeadlineSeconds"),
            suspend=bool(run.get("suspend")),
            ttl=run.get("ttlSecondsAfterFinished"),
        )

    def done(self, job: meta.Resource, work: tasks.Work) -> bool:
        """The deciding replicas have succeeded."""
        return set(self._deciding(job)) <= work.succeeded

    def wanted(self, job: meta.Resource, work: tasks.Work) -> list[tasks.Task]:
        """Every replica that neither runs nor has succeeded."""
        return [task for task in rules.tasks(self._groups(job)) if task not in work.runs and task not in work.succeeded]

    def first(self, job: meta.Resource, task: tasks.Task) -> bool:
        """Whether the end of this one is to be entered before that of others."""
        return task in self._deciding(job)

    def launch(self, job: meta.Resource, work: tasks.Work, task: tasks.Task) -> tasks.Launch:
        """The replica's template, with what the operator adds."""
        spec, found = job.section("spec"), self._groups(job)
        group = next(group for group in found if group.role == task[0])

        def port(of: tasks.Task) -> int:
            if of not in work.ports:
                work.ports[of] = self._ports.take()
            return work.ports[of]

        files = replica_env.mpi_files(spec, found, task) if self._family is rules.MPI else {}
        return tasks.Launch(
            template=self._template(group),
            labels=rules.labels(self._family, job.name, task, found),
            annotations={},
            name=_pod_name(job, task, work.attempts),
            env=replica_env.of(self._family, spec, found, task, port),
            files=files,
        )

    def _template(self, group: rules.Group) -> Mapping[str, Any]:
        pod = {**(group.template.get("spec") or {}), "restartPolicy": rules.pod_restart(group.restart)}
        containers = list(pod.get("containers") or ())
        if self._family is rules.MPI and group.role == "Worker" and containers and not containers[0].get("command"):
            pod["containers"] = [{**containers[0], **SLEEP}, *containers[1:]]
        return {**group.template, "spec": pod}

    def judge(self, job: meta.Resource, work: tasks.Work, task: tasks.Task, run: pod_run.Run) -> tuple[str, str]:
        """By the replica's restart policy; nothing that fails after the job's success counts."""
        if self.done(job, work):
            return "Ignore", ""
        if run.reason == pod_status.DELETED:
            return "Count", ""
        restart = next(group.restart for group in self._groups(job) if group.role == task[0])
        message = f"{self._family.name} {job.namespace}/{job.name} has failed because its {task[0]} {task[1]} failed"
        return rules.judge(restart, run.exits), f"{message}: {run.cause}" if run.cause else message

    def measures(self, job: meta.Resource, subject: trial.Trial) -> tasks.Task | None:
        """The first replica in order whose pod has the primary labels; masters come first."""
        found = self._groups(job)
        masters = rules.masters(self._family, found)
        order = [*masters, *(task for task in rules.tasks(found) if task not in masters)]
        for task in order:
            group = next((group for group in found if group.role == task[0]), None)
            if group is None or not group.count:
                continue
            own = (group.template.get("metadata") or {}).get("labels") or {}
            made = {**own, **owners.job_labels(job), **rules.labels(self._family, job.name, task, found)}
            if meters.matches(subject, {**made, **owners.trial_labels(subject)}):
                return task
        return None

    def restore(self, work: tasks.Work, old: Mapping[str, Any]) -> None:
        """Counters of failures outlive the Pods they counted."""
        for role, counts in (old.get("replicaStatuses") or {}).items():
            work.failed[role] = max(work.failed.get(role, 0), counts.get("failed", 0))

    def regroup(self, job: meta.Resource, work: tasks.Work) -> None:
        """The whole group starts anew, on other ports, unless it is done."""
        if not self.done(job, work):
            work.succeeded.clear()
            work.ports.clear()

    def status(self, job: meta.Resource, work: tasks.Work, old: Mapping[str, Any]) -> meta.Json:
        """Counters and conditions as the operator writes them."""
        found, now = self._groups(job), self._kubelet.now()
        subject = f"{self._family.name} {job.namespace}/{job.name}"
        status = {
            **old,
            "replicaStatuses": rules.replica_statuses(found, work.runs, work.succeeded, work.failed),
        }
        status.pop("startTime", None)
        if work.start_time:
            status["startTime"] = work.start_time

        def put(type_: str, message: str, value: str = "True", reason: str = "") -> meta.Json:
            named = reason or f"{self._family.name}{type_}"
            return rules.with_condition(status, type_, value, named, message, now)

        status = put(rules.CREATED, f"{subject} is created.")
        if self.policy(job).suspend:
            return put(rules.SUSPENDED, f"{subject} is suspended.") if not work.runs else status
        if work.suspended:
            reason = f"{self._family.name}Resumed"
            status = put(rules.SUSPENDED, f"{subject} is resumed.", "False", reason)
        if work.failing is not None or self.done(job, work):
            return status if work.runs else self._end(put, work, subject, now)
        if work.failures and self.wanted(job, work):
            return put(rules.RESTARTING, f"{subject} is restarting because a replica failed: {work.last_failure}")
        return put(rules.RUNNING, f"{subject} is running.") if work.runs else status

    def _end(self, put: Callable[..., meta.Json], work: tasks.Work, subject: str, now: str) -> meta.Json:
        if work.failing is not None:
            return {**put(rules.FAILED, work.failing[1], reason=work.failing[0]), "completionTime": now}
        return {**put(rules.SUCCEEDED, f"{subject} successfully completed."), "completionTime": now}

    def _groups(self, job: meta.Resource) -> list[rules.Group]:
        return rules.groups(self._family, job.section("spec"))

    def _deciding(self, job: meta.Resource) -> Sequence[tasks.Task]:
        return rules.deciding(self._family, job.section("spec"), self._groups(job))


def _pod_name(job: meta.Object, task: tasks.Task, attempt: int) -> str:
    """``JOB-role-index-xxxxx``: what the pod is, and a digest that makes each attempt's name its own."""
    return f"{job.name[:40]}-{task[0].lower()}-{task[1]}-{ids.digest_name(job.uid, *task, attempt, length=5)}"
