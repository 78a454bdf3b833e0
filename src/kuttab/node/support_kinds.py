"""What of the kinds of job can be honoured on one machine, above their pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kuttab.base import errors
from kuttab.node import replica_rules, support_fields, support_pods
from kuttab.node.replica_rules import Family

_JOB = {
    "template", "parallelism", "completions", "completionMode", "backoffLimit", "activeDeadlineSeconds", "suspend",
    "ttlSecondsAfterFinished", "podFailurePolicy", "podReplacementPolicy", "managedBy",
}  # fmt: skip
_JOB_REFUSED = {
    "selector": "pods are found by their owner; leave it out",
    "manualSelector": "pods are found by their owner; leave it out",
    "backoffLimitPerIndex": "retries are counted for the whole Job; use backoffLimit",
    "maxFailedIndexes": "needs backoffLimitPerIndex, which is not offered",
    "successPolicy": "a Job succeeds when all its completions do",
}
_RUN_POLICY = {
    "cleanPodPolicy", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit", "suspend", "managedBy", "schedulingPolicy",
}  # fmt: skip
_REPLICATED = {
    replica_rules.TF: {"successPolicy"},
    replica_rules.PYTORCH: {"elasticPolicy", "nprocPerNode"},
    replica_rules.XGBOOST: set[str](),
    replica_rules.MPI: {"slotsPerWorker", "mainContainer", "cleanPodPolicy"},
}
_REPLICATED_REFUSED = {
    replica_rules.TF: {"enableDynamicWorker": "every worker is told of all others; leave it out"},
}
_ELASTIC = {
    "minReplicas", "maxReplicas", "rdzvBackend", "rdzvId", "rdzvConf", "rdzvHost", "rdzvPort", "standalone", "nProcPerNode", "maxRestarts",
}  # fmt: skip
_ELASTIC_REFUSED = {"metrics": "there is no autoscaler; set the number of workers"}
_CLEAN = (None, "None", "Running", "All")
_TRAINER_REFUSED = {
    "initializer": "data and model initialisers are not run here",
    "podSpecOverrides": "there is no pod template to override here; set spec.trainer",
    "podTemplateOverrides": "there is no pod template to override here; set spec.trainer",
}
_TRAINER = {"image", "command", "args", "env", "numNodes", "numProcPerNode", "resourcesPerNode"}
RUNTIMES = ("torch-distributed",)


def check_job(spec: Mapping[str, Any]) -> Iterator[errors.Problem]:
    """Problems of a batch/v1 Job's spec."""
    yield from support_fields.check(spec, "spec", _JOB, set(), _JOB_REFUSED)
    for key in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        yield from support_fields.whole(spec.get(key), f"spec.{key}")
    if spec.get("completionMode") not in (None, "NonIndexed", "Indexed"):
        yield errors.Problem("spec.completionMode", "must be NonIndexed or Indexed", support_fields.NOT_OFFERED)
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        yield errors.Problem("spec.completions", "is required with completionMode Indexed", "FieldValueRequired")
    if spec.get("managedBy") not in (None, "kubernetes.io/job-controller"):
        yield errors.Problem("spec.managedBy", "there is no other job controller here", support_fields.NOT_OFFERED)
    if not isinstance(spec.get("template"), Mapping):
        yield errors.Problem("spec.template", "must be a map", "FieldValueRequired")
    for number, rule in enumerate(
        support_fields.as_list(support_fields.as_map(spec.get("podFailurePolicy")).get("rules"))
    ):
        if rule.get("action") not in ("FailJob", "Ignore", "Count"):
            yield errors.Problem(
                f"spec.podFailurePolicy.rules[{number}].action",
                "must be FailJob, Ignore or Count",
                support_fields.NOT_OFFERED,
            )


def check_replicated(family: Family, spec: Mapping[str, Any]) -> Iterator[errors.Problem]:
    """Problems of a TFJob, PyTorchJob, XGBoostJob or MPIJob above its pods."""
    known = {"runPolicy", family.field} | _REPLICATED[family]
    yield from support_fields.check(spec, "spec", known, set(), _REPLICATED_REFUSED.get(family, {}))
    yield from _check_run_policy(support_fields.as_map(spec.get("runPolicy")))
    if spec.get("cleanPodPolicy") not in _CLEAN:
        yield errors.Problem("spec.cleanPodPolicy", "must be None, Running or All", support_fields.NOT_OFFERED)
    if spec.get("successPolicy") not in (None, "", "AllWorkers"):
        yield errors.Problem("spec.successPolicy", "must be AllWorkers or left out", support_fields.NOT_OFFERED)
    yield from support_fields.whole(spec.get("slotsPerWorker"), "spec.slotsPerWorker", least=1)
    if spec.get("elasticPolicy") is not None:
        elastic = support_fields.as_map(spec["elasticPolicy"])
        yield from support_fields.check(elastic, "spec.elasticPolicy", _ELASTIC, set(), _ELASTIC_REFUSED)
        for key in ("minReplicas", "maxReplicas", "nProcPerNode", "maxRestarts"):
            yield from support_fields.whole(elastic.get(key), f"spec.elasticPolicy.{key}")
    yield from _check_replicas(family, spec.get(family.field))


def _check_run_policy(policy: Mapping[str, Any]) -> Iterator[errors.Problem]:
    at = "spec.runPolicy"
    yield from support_fields.check(policy, at, _RUN_POLICY, set(), {})
    for key in ("ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit"):
        yield from support_fields.whole(policy.get(key), f"{at}.{key}")
    if policy.get("cleanPodPolicy") not in _CLEAN:
        yield errors.Problem(f"{at}.cleanPodPolicy", "must be None, Running or All", support_fields.NOT_OFFERED)
    if policy.get("managedBy") not in (None, "kubeflow.org/training-operator"):
        yield errors.Problem(f"{at}.managedBy", "there is no other controller here", support_fields.NOT_OFFERED)


def _check_replicas(family: Family, replicas: Any) -> Iterator[errors.Problem]:
    at = f"spec.{family.field}"
    if not isinstance(replicas, Mapping) or not replicas:
        roles = ", ".join(family.roles)
        yield errors.Problem(at, f"must map {roles} to their replicas", "FieldValueRequired")
        return
    seen: set[str] = set()
    total = 0
    for key, replica in replicas.items():
        role, where = replica_rules.role_of(family, str(key)), f"{at}.{key}"
        if not role or role in seen:
            what = "is given twice" if role else f"is no role of a {family.name}; known are {', '.join(family.roles)}"
            yield errors.Problem(where, what, support_fields.NOT_OFFERED)
            continue
        if not isinstance(replica, Mapping):
            yield errors.Problem(where, "must be a map", "FieldValueRequired")
            continue
        seen.add(role)
        count = replica.get("replicas")
        total += count if isinstance(count, int) else 1
        yield from _check_replica(family, role, replica, where)
    if not seen & set(family.needed):
        needed = " or ".join(family.needed)
        yield errors.Problem(at, f"needs {needed}, whose end is the end of the {family.name}", "FieldValueRequired")
    if total > replica_rules.LARGEST:
        most = replica_rules.LARGEST
        yield errors.Problem(
            at, f"asks for {total} processes on one machine; {most} are offered", support_fields.NOT_OFFERED
        )


def _check_replica(family: Family, role: str, replica: Mapping[str, Any], where: str) -> Iterator[errors.Problem]:
    yield from support_fields.check(replica, where, {"replicas", "template", "restartPolicy"}, set(), {})
    least = int(role in family.needed and (role in family.single or len(family.needed) == 1))
    most = 1 if role in family.single else replica_rules.LARGEST
    yield from support_fields.whole(replica.get("replicas"), f"{where}.replicas", least=least, most=most)
    if replica.get("restartPolicy") not in (None, *replica_rules.RESTART_POLICIES):
        offered = ", ".join(replica_rules.RESTART_POLICIES)
        yield errors.Problem(f"{where}.restartPolicy", f"must be one of {offered}", support_fields.NOT_OFFERED)
    pod = support_fields.as_map(support_fields.as_map(replica.get("template")).get("spec"))
    names = [container.get("name") for container in support_fields.as_list(pod.get("containers"))]
    if family.container and names and family.container not in names:
        text = f"one must be named {family.container!r}: a {family.name}'s operator looks for it"
        yield errors.Problem(f"{where}.template.spec.containers", text, "FieldValueRequired")


def ignored_replicated(spec: Mapping[str, Any]) -> Iterator[errors.Problem]:
    """Fields of a replicated job that have no effect here."""
    policy = support_fields.as_map(spec.get("runPolicy"))
    if policy.get("schedulingPolicy"):
        yield errors.Problem("spec.runPolicy.schedulingPolicy", support_fields.NO_EFFECT)
    for path, value in (("spec.runPolicy", policy), ("spec", spec)):
        if value.get("cleanPodPolicy") == "None":
            yield errors.Problem(f"{path}.cleanPodPolicy", "processes end with their job on one machine")
    elastic = support_fields.as_map(spec.get("elasticPolicy"))
    for key in sorted(elastic.keys() & {"rdzvHost", "rdzvPort"}):
        yield errors.Problem(f"spec.elasticPolicy.{key}", "a free port on loopback is taken on one machine")


def check_trainer(spec: Mapping[str, Any]) -> Iterator[errors.Problem]:
    """Problems of a TrainJob's spec."""
    known = {"runtimeRef", "trainer", "suspend", "labels", "annotations", "managedBy"}
    yield from support_fields.check(spec, "spec", known, set(), _TRAINER_REFUSED)
    runtime = support_fields.as_map(spec.get("runtimeRef")).get("name")
    if runtime not in RUNTIMES:
        text = f"{runtime!r} is not on this machine; built in is {', '.join(RUNTIMES)}"
        yield errors.Problem("spec.runtimeRef.name", text, support_fields.NOT_OFFERED)
    if spec.get("managedBy") not in (None, "trainer.kubeflow.org/trainjob-controller"):
        yield errors.Problem("spec.managedBy", "there is no other controller here", support_fields.NOT_OFFERED)
    trainer = spec.get("trainer")
    if not isinstance(trainer, Mapping):
        text = "is required: there are no runtimes here to take it from"
        yield errors.Problem("spec.trainer", text, "FieldValueRequired")
        return
    yield from support_fields.check(trainer, "spec.trainer", _TRAINER, set(), {})
    yield from support_fields.whole(
        trainer.get("numNodes"), "spec.trainer.numNodes", least=1, most=replica_rules.LARGEST
    )
    each = trainer.get("numProcPerNode")
    if isinstance(each, bool) or not (each is None or isinstance(each, int | str)):
        yield errors.Problem("spec.trainer.numProcPerNode", "must be a number or auto, cpu, gpu")
    memory = _limits(trainer).get("memory")
    if memory is not None and support_fields.quantity(memory) is None:
        text = f"{memory!r} is not a quantity such as 512Mi"
        yield errors.Problem("spec.trainer.resourcesPerNode.limits.memory", text)
    container = {"name": "node", **{key: trainer[key] for key in ("image", "command", "args", "env") if key in trainer}}
    yield from support_pods.check_container(container, "spec.trainer", set())


def ignored_trainer(spec: Mapping[str, Any]) -> Iterator[errors.Problem]:
    """Fields of a TrainJob that have no effect here."""
    for key in sorted(_limits(support_fields.as_map(spec.get("trainer"))).keys() - {"memory"}):
        yield errors.Problem(f"spec.trainer.resourcesPerNode.limits[{key}]", support_fields.NOT_ENFORCED)


def _limits(trainer: Mapping[str, Any]) -> Mapping[str, Any]:
    return support_fields.as_map(support_fields.as_map(trainer.get("resourcesPerNode")).get("limits"))
