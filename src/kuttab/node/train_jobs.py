"""TrainJobs (trainer.kubeflow.org/v1alpha1) on one machine: ``numNodes`` processes with the environment of the torch policy.

Runtimes are cluster objects and are not read here: ``torch-distributed`` is built in, with the trainer's command and image from the
TrainJob itself. Retries are those of an Indexed Job, which the trainer makes of it on a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kuttab.api import kinds, meta, trial
from kuttab.base import clock as clocks
from kuttab.base import ids
from kuttab.node import job_rules, loopback, meters, owners, pod_run, pods, replica_env, tasks, workloads
from kuttab.node import jobs as jobs_
from kuttab.ports import events as event_port
from kuttab.ports import observations as observation_port

CONTAINER = "node"
LABEL_REPLICATED_JOB = "jobset.sigs.k8s.io/replicatedjob-name"
LABEL_JOBSET = "jobset.sigs.k8s.io/jobset-name"
FAILED_REASON = "JobsFailed"
_RENDEZVOUS = ("", 0)


class TrainJobs(workloads.Controller):
    """The controller of TrainJobs."""

    kind = kinds.TRAIN_JOB

    def __init__(
        self,
        kubelet: pods.Kubelet,
        observations: observation_port.Observations,
        events: event_port.Events,
        clock: clocks.Clock,
        enqueue: Callable[[str, str], None],
        ports: loopback.Ports,
    ) -> None:
        super().__init__(kubelet, observations, events, clock, enqueue)
        self._ports = ports

    def finished(self, job: meta.Resource) -> bool:
        """Complete or Failed."""
        return job_rules.finished(job)

    def policy(self, job: meta.Resource) -> tasks.Policy:
        """Only ``suspend`` can be said."""
        return tasks.Policy(suspend=bool(job.section("spec").get("suspend")))

    def done(self, job: meta.Resource, work: tasks.Work) -> bool:
        """Every node has succeeded."""
        return len(work.succeeded) >= _nodes(job)

    def wanted(self, job: meta.Resource, work: tasks.Work) -> list[tasks.Task]:
        """Every node that neither runs nor has succeeded."""
        tasks = [("", index) for index in range(_nodes(job))]
        return [task for task in tasks if task not in work.runs and task not in work.succeeded]

    def launch(self, job: meta.Resource, work: tasks.Work, task: tasks.Task) -> tasks.Launch:
        """The trainer's container on one node."""
        spec = job.section("spec")
        trainer = spec.get("trainer") or {}
        container = {key: trainer[key] for key in ("image", "command", "args", "env") if trainer.get(key) is not None}
        if trainer.get("resourcesPerNode"):
            container["resources"] = trainer["resourcesPerNode"]
        if _RENDEZVOUS not in work.ports:
            work.ports[_RENDEZVOUS] = self._ports.take()
        each = trainer.get("numProcPerNode")
        env = replica_env.torch_policy(_nodes(job), str(1 if each is None else each), task[1], work.ports[_RENDEZVOUS])
        digest = ids.digest_name(job.uid, *task, work.attempts, length=5)
        return tasks.Launch(
            template={"spec": {"containers": [{"name": CONTAINER, **container}], "restartPolicy": "OnFailure"}},
            labels={**(spec.get("labels") or {}), **_labels(job, task)},
            annotations={**(spec.get("annotations") or {}), jobs_.LABEL_INDEX: str(task[1])},
            name=f"{job.name[:40]}-{CONTAINER}-0-{task[1]}-{digest}",
            env={**env, "JOB_COMPLETION_INDEX": str(task[1])},
        )

    def judge(
        self,
        job: meta.Resource,  # noqa: ARG002
        work: tasks.Work,  # noqa: ARG002
        task: tasks.Task,  # noqa: ARG002
        run: pod_run.Run,  # noqa: ARG002
    ) -> tuple[str, str]:
        """Every failure counts."""
        return "Count", ""

    def measures(self, job: meta.Resource, subject: trial.Trial) -> tasks.Task | None:
        """The lowest node whose pod has the primary labels."""
        own = job.section("spec").get("labels") or {}
        for index in range(_nodes(job)):
            labels = {**own, **owners.job_labels(job), **_labels(job, ("", index)), **owners.trial_labels(subject)}
            if meters.matches(subject, labels):
                return ("", index)
        return None

    def regroup(self, job: meta.Resource, work: tasks.Work) -> None:
        """All nodes start anew, at another rendezvous, unless they are done."""
        if not self.done(job, work):
            work.succeeded.clear()
            work.ports.clear()

    def restore(self, work: tasks.Work, old: Mapping[str, Any]) -> None:
        """Counted failures outlive the Pods they counted."""
        for entry in old.get("jobsStatus") or ():
            work.failed[""] = max(work.failed.get("", 0), entry.get("failed", 0))

    def status(self, job: meta.Resource, work: tasks.Work, old: Mapping[str, Any]) -> meta.Json:
        """Conditions and counters as the trainer writes them; ``failed`` counts attempts."""
        suspend, now = self.policy(job).suspend, self._kubelet.now()
        counts = {
            "active": len(work.runs), "failed": work.failures, "name": CONTAINER, "ready": len(work.runs),
            "succeeded": len(work.succeeded), "suspended": int(suspend and not work.runs),
        }  # fmt: skip
        status: meta.Json = {**old, "jobsStatus": [counts]}

        def put(type_: str, value: str, reason: str, message: str) -> meta.Json:
            return _with_condition(status, type_, value, reason, message, now)

        if suspend:
            text = "TrainJob is suspended"
            return put(job_rules.SUSPENDED, "True", "Suspended", text) if not work.runs else status
        if work.suspended:
            status = put(job_rules.SUSPENDED, "False", "Resumed", "TrainJob is resumed")
        if work.runs:
            return status
        if work.failing is not None:
            return put(job_rules.FAILED, "True", *work.failing)
        if self.done(job, work):
            return put(job_rules.COMPLETE, "True", "JobsCompleted", "jobset completed successfully")
        return status


def _nodes(job: meta.Object) -> int:
    trainer = job.section("spec").get("trainer") or {}
    count = trainer.get("numNodes")
    return 1 if count is None else int(count)


def _labels(job: meta.Object, task: tasks.Task) -> dict[str, str]:
    return {LABEL_JOBSET: job.name, LABEL_REPLICATED_JOB: CONTAINER, jobs_.LABEL_INDEX: str(task[1])}


def _with_condition(
    status: Mapping[str, Any], type_: str, value: str, reason: str, message: str, now: str
) -> meta.Json:
    """metav1 conditions: one per type, the transition time kept while the value is."""
    items: list[Any] = list(status.get("conditions") or ())
    old = next((item for item in items if item.get("type") == type_), None)
    since = old["lastTransitionTime"] if old is not None and old["status"] == value else now
    fresh = {"type": type_, "status": value, "reason": reason, "message": message, "lastTransitionTime": since}
    return {**status, "conditions": [*(item for item in items if item["type"] != type_), fresh]}
