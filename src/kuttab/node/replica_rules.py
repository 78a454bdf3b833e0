"""Kubeflow's replicated jobs as values: which replicas there are, whose end decides, what a failure means, what the status says.

Facts of TFJob, PyTorchJob, XGBoostJob and MPIJob (kubeflow.org/v1) as their operators have them. One documented difference: where an
operator restarts a failing replica for ever (OnFailure without ``runPolicy.backoffLimit``), here the limit is that of a Job, 6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kuttab.api import kinds, meta
from kuttab.node import job_rules

CREATED, RUNNING, RESTARTING, SUCCEEDED, FAILED, SUSPENDED = (
    "Created", "Running", "Restarting", "Succeeded", "Failed", "Suspended",
)  # fmt: skip
RESTART_POLICIES = ("Always", "OnFailure", "Never", "ExitCode")
RETRYABLE = 128
"""With ExitCode, a code from here on (a signal) restarts the replica; a lower one is permanent."""
LARGEST = 256
"""Replicas of one job: each is a process of this machine."""

LABEL_JOB = "training.kubeflow.org/job-name"
LABEL_OPERATOR = "training.kubeflow.org/operator-name"
LABEL_TYPE = "training.kubeflow.org/replica-type"
LABEL_INDEX = "training.kubeflow.org/replica-index"
LABEL_ROLE = "training.kubeflow.org/job-role"
LABEL_MPI_ROLE = "mpi-job-role"
"""What operators before 1.4 put on the pods of an MPIJob; published examples select by it."""

Task = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of job. ``roles`` are in the order of their start; ``single`` ones have one replica; one of ``needed`` must be there."""

    kind: kinds.Kind
    field: str
    container: str
    roles: tuple[str, ...]
    single: frozenset[str]
    needed: tuple[str, ...]
    restart: str
    operator: str

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.kind.kind


TF = Family(
    kinds.TF_JOB, "tfReplicaSpecs", "tensorflow", ("PS", "Chief", "Master", "Worker", "Evaluator"),
    frozenset({"Chief", "Master"}), ("Chief", "Master", "Worker"), "Never", "tfjob-controller",
)  # fmt: skip
PYTORCH = Family(
    kinds.PYTORCH_JOB, "pytorchReplicaSpecs", "pytorch", ("Master", "Worker"), frozenset({"Master"}), ("Master", "Worker"),
    "OnFailure", "pytorchjob-controller",
)  # fmt: skip
XGBOOST = Family(
    kinds.XGBOOST_JOB, "xgbReplicaSpecs", "xgboost", ("Master", "Worker"), frozenset({"Master"}), ("Master",), "Never",
    "xgboostjob-controller",
)  # fmt: skip
MPI = Family(
    kinds.MPI_JOB, "mpiReplicaSpecs", "", ("Worker", "Launcher"), frozenset({"Launcher"}), ("Launcher",), "Never",
    "mpijob-controller",
)  # fmt: skip
FAMILIES = {family.kind: family for family in (TF, PYTORCH, XGBOOST, MPI)}


@dataclass(frozen=True, slots=True)
class Group:
    """The replicas of one role."""

    role: str
    count: int
    restart: str
    template: Mapping[str, Any]


def role_of(family: Family, text: str) -> str:
    """The role that a key of the replica map means, whatever its case; empty when it means none."""
    return next((role for role in family.roles if role.lower() == text.lower()), "")


def groups(family: Family, spec: Mapping[str, Any]) -> list[Group]:
    """The replicas of a job that :mod:`kuttab.node.support` lets pass, in the order of their start."""
    found = []
    for key, replica in (spec.get(family.field) or {}).items():
        count = replica.get("replicas")
        restart = replica.get("restartPolicy") or family.restart
        found.append(Group(role_of(family, key), 1 if count is None else count, restart, replica.get("template") or {}))
    return sorted(found, key=lambda group: family.roles.index(group.role))


def tasks(found: Iterable[Group]) -> list[Task]:
    """Every replica, in the order of their start."""
    return [(group.role, index) for group in found for index in range(group.count)]


def masters(family: Family, found: Sequence[Group]) -> list[Task]:
    """The replicas with the role ``master``, whose label Katib looks for by default."""
    roles = {group.role for group in found if group.count}
    if family is TF:
        chiefs = [role for role in ("Chief", "Master") if role in roles]
        return [(role, 0) for role in chiefs] or [("Worker", 0)]
    if family is MPI:
        return [("Launcher", 0)]
    return [("Master", 0)] if "Master" in roles else []


def deciding(family: Family, spec: Mapping[str, Any], found: Sequence[Group]) -> list[Task]:
    """The replicas whose success is the job's success."""
    first = masters(family, found)
    workers = [task for task in tasks(found) if task[0] == "Worker"]
    if family is TF and first == [("Worker", 0)] and spec.get("successPolicy") == "AllWorkers":
        return workers
    return first or workers


def labels(family: Family, job: str, task: Task, found: Sequence[Group]) -> dict[str, str]:
    """The labels that the operator puts on a replica's pod."""
    role, index = task
    made = {
        LABEL_JOB: job,
        LABEL_OPERATOR: family.operator,
        LABEL_TYPE: role.lower(),
        LABEL_INDEX: str(index),
    }
    if task in masters(family, found):
        made[LABEL_ROLE] = "master"
    if family is MPI:
        made[LABEL_MPI_ROLE] = role.lower()
    return made


def judge(restart: str, exits: Mapping[str, int]) -> str:
    """What a replica's failure means by its restart policy: ``Count`` (restart it) or ``FailJob``."""
    if restart == "Never":
        return "FailJob"
    permanent = any(0 < code < RETRYABLE for code in exits.values())
    return "FailJob" if restart == "ExitCode" and permanent else "Count"


def pod_restart(restart: str) -> str:
    """The ``restartPolicy`` of a replica's pod: the operator itself restarts by exit codes."""
    return "Never" if restart == "ExitCode" else restart


def replica_statuses(
    found: Iterable[Group], running: Iterable[Task], succeeded: Collection[Task], failed: Mapping[str, int]
) -> meta.Json:
    """Counters by role; zero means absent."""
    active = list(running)
    made: meta.Json = {}
    for group in found:
        numbers = {
            "active": sum(role == group.role for role, _ in active),
            "succeeded": sum(role == group.role for role, _ in succeeded),
            "failed": failed.get(group.role, 0),
        }
        made[group.role] = {key: number for key, number in numbers.items() if number}
    return made


_ENDS_RUNNING = (SUCCEEDED, FAILED, SUSPENDED)


def with_condition(status: Mapping[str, Any], type_: str, value: str, reason: str, message: str, now: str) -> meta.Json:
    """A status with a condition set, by the operators' rules: Running and Restarting exclude each other, an end ends Running."""
    items: list[Any] = list(status.get("conditions") or ())
    old = next((item for item in items if item.get("type") == type_), None)
    if old is not None and (old["status"], old["reason"], old.get("message")) == (value, reason, message):
        return dict(status)
    since = old["lastTransitionTime"] if old is not None and old["status"] == value else now
    fresh = {
        "type": type_, "status": value, "reason": reason, "message": message, "lastUpdateTime": now, "lastTransitionTime": since,
    }  # fmt: skip
    kept = []
    for item in items:
        if item["type"] == type_ or {item["type"], type_} == {RUNNING, RESTARTING}:
            continue
        ended = type_ in _ENDS_RUNNING and value == "True" and item["type"] == RUNNING and item["status"] == "True"
        kept.append({**item, "status": "False", "lastUpdateTime": now, "lastTransitionTime": now} if ended else item)
    return {**status, "conditions": [*kept, fresh]}


def finished(job: meta.Object) -> bool:
    """Whether a job has come to its end."""
    return any(job_rules.condition(job.section("status"), type_) for type_ in (SUCCEEDED, FAILED))
