"""batch/v1 Jobs on one machine.

It differs from Kubernetes in three documented ways: retries wait 0.2 s, 0.4 s, ... instead of 10 s, 20 s, ...; a pod restarted by
``OnFailure`` is a new Pod over the same volumes; a program that cannot be started, or floods its log, fails the Job at once.
Early stopping is put on the Job as an annotation before the process is asked to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kuttab.api import kinds, meta, trial
from kuttab.node import job_rules, meters, owners, pod_run, tasks, workloads

LABEL_INDEX = "batch.kubernetes.io/job-completion-index"


class Jobs(workloads.Controller):
    """The job controller."""

    kind = kinds.JOB
    quiet_start = True

    def finished(self, job: meta.Resource) -> bool:
        """Complete or Failed."""
        return job_rules.finished(job)

    def policy(self, job: meta.Resource) -> tasks.Policy:
        """From the Job's spec."""
        spec = job.section("spec")
        shape = job_rules.Shape.read(spec)
        return tasks.Policy(shape.backoff_limit, shape.deadline, shape.suspend, spec.get("ttlSecondsAfterFinished"))

    def done(self, job: meta.Resource, work: tasks.Work) -> bool:
        """Enough completions."""
        indexes = {index for _, index in work.succeeded}
        return job_rules.Shape.read(job.section("spec")).done(indexes, len(work.runs))

    def wanted(self, job: meta.Resource, work: tasks.Work) -> list[tasks.Task]:
        """Indexes without a success, up to the parallelism."""
        shape = job_rules.Shape.read(job.section("spec"))
        indexes = shape.wanted({index for _, index in work.succeeded}, [index for _, index in work.runs])
        return [("", index) for index in indexes]

    def alone(self, job: meta.Resource) -> bool:
        """One completion, one at a time."""
        shape = job_rules.Shape.read(job.section("spec"))
        return shape.parallelism == 1 and shape.completions in (None, 1)

    def launch(self, job: meta.Resource, work: tasks.Work, task: tasks.Task) -> tasks.Launch:
        """The Job's template, with the index for Indexed Jobs."""
        spec = job.section("spec")
        index = {LABEL_INDEX: str(task[1])} if spec.get("completionMode") == "Indexed" else {}
        return tasks.Launch(
            template=spec.get("template") or {},
            labels=index,
            annotations=index,
            name=owners.pod_name(job, task[1], work.attempts),
            env={"JOB_COMPLETION_INDEX": str(task[1])} if index else {},
        )

    def judge(
        self,
        job: meta.Resource,
        work: tasks.Work,  # noqa: ARG002
        task: tasks.Task,  # noqa: ARG002
        run: pod_run.Run,
    ) -> tuple[str, str]:
        """By podFailurePolicy."""
        return job_rules.policy(job.section("spec"), run.exits)

    def measures(self, job: meta.Resource, subject: trial.Trial) -> tasks.Task | None:
        """The lowest index whose pod has the primary labels."""
        spec = job.section("spec")
        shape = job_rules.Shape.read(spec)
        template = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        labels = {**template, **owners.job_labels(job), **owners.trial_labels(subject)}
        for index in range(shape.completions if shape.completions is not None else shape.parallelism):
            if meters.matches(subject, {**labels, **({LABEL_INDEX: str(index)} if shape.indexed else {})}):
                return ("", index)
        return None

    def restore(self, work: tasks.Work, old: Mapping[str, Any]) -> None:
        """Counters of the status outlive the Pods they counted."""
        work.succeeded |= {("", index) for index in job_rules.parse_intervals(old.get("completedIndexes", ""))}
        work.failed[""] = max(work.failed.get("", 0), old.get("failed", 0))

    def status(self, job: meta.Resource, work: tasks.Work, old: Mapping[str, Any]) -> meta.Json:
        """Counters and conditions as Kubernetes writes them."""
        shape = job_rules.Shape.read(job.section("spec"))
        now = self._kubelet.now()
        indexes = sorted(index for _, index in work.succeeded)
        status = job_rules.counts(
            old,
            active=len(work.runs),
            succeeded=indexes,
            failed=work.failures,
            start_time=work.start_time,
            indexed=shape.indexed,
        )
        if not work.runs and work.failing is not None:
            status = job_rules.with_condition(status, job_rules.FAILED, "True", *work.failing, now)
        elif not work.runs and not shape.suspend and shape.done(indexes, 0):
            message = "Reached expected number of succeeded pods"
            status = job_rules.with_condition(status, job_rules.COMPLETE, "True", "CompletionsReached", message, now)
            status["completionTime"] = now
        if shape.suspend and not work.runs and not work.suspended:
            return job_rules.with_condition(
                status, job_rules.SUSPENDED, "True", workloads.SUSPENDED, "Job suspended", now
            )
        if not shape.suspend and work.suspended:
            return job_rules.with_condition(status, job_rules.SUSPENDED, "False", "JobResumed", "Job resumed", now)
        return status
