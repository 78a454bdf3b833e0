"""What of a workload can be honoured on one machine, field by field.

Every field of a workload is in one of three groups: honoured; *ignored* because it has no meaning with a single shared machine
(:func:`ignored` tells, for a warning); or refused (:func:`unsupported`), because running without it would be something else than
what was asked for. Nothing is dropped silently. Paths are relative to the workload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.node import environ, volumes

REPLICA_SPECS = {
    kinds.TF_JOB: "tfReplicaSpecs",
    kinds.PYTORCH_JOB: "pytorchReplicaSpecs",
    kinds.XGBOOST_JOB: "xgbReplicaSpecs",
    kinds.MPI_JOB: "mpiReplicaSpecs",
}
"""Where the Kubeflow job kinds keep their replicas."""

_ENGINES = {
    "argoproj.io": "Argo Workflows",
    "tekton.dev": "Tekton Pipelines",
    "batch.volcano.sh": "Volcano",
    "ray.io": "KubeRay",
    "jobset.x-k8s.io": "JobSet",
}

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
_POD = {
    "containers",
    "initContainers",
    "volumes",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "serviceAccountName",
}
_POD_IGNORED = {
    "affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostIPC", "hostNetwork", "hostPID",
    "hostname", "imagePullSecrets", "nodeName", "nodeSelector", "os", "overhead", "preemptionPolicy", "priority", "priorityClassName",
    "readinessGates", "runtimeClassName", "schedulerName", "securityContext", "serviceAccount", "setHostnameAsFQDN",
    "shareProcessNamespace", "subdomain", "tolerations", "topologySpreadConstraints",
}  # fmt: skip
_POD_REFUSED = {
    "activeDeadlineSeconds": "set activeDeadlineSeconds of the Job instead",
    "ephemeralContainers": "there is no way to attach to a container here",
    "hostAliases": "names are resolved by this machine",
    "hostUsers": "processes run as the user who runs kuttab",
    "resourceClaims": "there is no device allocation here",
    "resources": "set resources of the containers instead",
    "schedulingGates": "there is no scheduler here; use suspend of the Job",
}
_CONTAINER = {"name", "image", "command", "args", "workingDir", "env", "envFrom", "resources", "volumeMounts"}
_CONTAINER_IGNORED = {
    "imagePullPolicy", "ports", "readinessProbe", "resizePolicy", "securityContext", "stdin", "stdinOnce", "terminationMessagePath",
    "terminationMessagePolicy", "tty",
}  # fmt: skip
_CONTAINER_REFUSED = {
    "lifecycle": "start and stop hooks are not run here",
    "livenessProbe": "hung processes are ended by activeDeadlineSeconds here",
    "startupProbe": "hung processes are ended by activeDeadlineSeconds here",
    "restartPolicy": "sidecar containers are not offered; list it under containers",
    "volumeDevices": "there are no block devices here",
}
_VOLUMES = ("emptyDir", "configMap", "persistentVolumeClaim")
_NOT_OFFERED = "FieldValueNotSupported"


def unsupported(workload: meta.Json) -> list[errors.Problem]:
    """Everything in a workload that cannot be honoured here; an empty list means that it can run."""
    api_version, kind_name = str(workload.get("apiVersion", "")), str(workload.get("kind", ""))
    kind = kinds.known(api_version, kind_name)
    if kind == kinds.FUNCTION_JOB:
        return []
    if kind is None or kind not in {kinds.JOB, kinds.TRAIN_JOB, kinds.DEPLOYMENT, *REPLICA_SPECS}:
        return [_foreign(api_version, kind_name)]
    spec = workload.get("spec")
    if not isinstance(spec, Mapping):
        return [errors.Problem("spec", "must be a map", "FieldValueRequired")]
    found = list(_check_job(spec)) if kind == kinds.JOB else []
    if kind == kinds.TRAIN_JOB:
        found += _check_trainer(spec)
    for path, template in templates(workload):
        pod = template.get("spec")
        if not isinstance(pod, Mapping):
            found.append(errors.Problem(f"{path}.spec", "must be a map", "FieldValueRequired"))
        else:
            found += _check_pod(pod, f"{path}.spec", batch=kind != kinds.DEPLOYMENT)
    return found


def ignored(workload: meta.Json) -> list[errors.Problem]:
    """Fields that are accepted and have no effect here, for warnings; call it on a workload that :func:`unsupported` lets pass."""
    found = []
    for path, template in templates(workload):
        pod = template.get("spec") or {}
        found += [
            errors.Problem(f"{path}.spec.{key}", "has no effect on one machine")
            for key in sorted(pod.keys() & _POD_IGNORED)
        ]
        for where, container in _containers(pod, f"{path}.spec"):
            names = sorted(container.keys() & _CONTAINER_IGNORED - {"imagePullPolicy", "terminationMessagePath"})
            found += [errors.Problem(f"{where}.{key}", "has no effect on one machine") for key in names]
            limits = (container.get("resources") or {}).get("limits") or {}
            found += [
                errors.Problem(f"{where}.resources.limits[{key}]", "is not enforced on one machine")
                for key in sorted(limits.keys() - {"memory"})
            ]
    return found


def templates(workload: meta.Json) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each pod template of a workload with its path; nothing for kinds that have none."""
    kind = kinds.known(str(workload.get("apiVersion", "")), str(workload.get("kind", "")))
    spec = workload.get("spec")
    if not isinstance(spec, Mapping):
        return
    if kind in (kinds.JOB, kinds.DEPLOYMENT):
        yield "spec.template", _map(spec.get("template"))
    elif kind in REPLICA_SPECS:
        field = REPLICA_SPECS[kind]
        for name, replica in _map(spec.get(field)).items():
            yield f"spec.{field}.{name}.template", _map(_map(replica).get("template"))


def _foreign(api_version: str, kind: str) -> errors.Problem:
    group = api_version.rpartition("/")[0]
    engine = _ENGINES.get(group)
    why = f"is run by {engine}, which is not on this machine" if engine else "has no controller on this machine"
    offered = "Job, TFJob, PyTorchJob, XGBoostJob, MPIJob, TrainJob"
    return errors.Problem(
        "kind",
        f"{kind or '(none)'} ({api_version or 'no apiVersion'}) {why}; use one of {offered}, or a cluster",
        _NOT_OFFERED,
    )


def _check_job(spec: Mapping[str, Any]) -> Iterator[errors.Problem]:
    yield from _fields(spec, "spec", _JOB, set(), _JOB_REFUSED)
    for key in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        value = spec.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            yield errors.Problem(f"spec.{key}", f"{value!r} must be a whole number, 0 or more")
    if spec.get("completionMode") not in (None, "NonIndexed", "Indexed"):
        yield errors.Problem("spec.completionMode", "must be NonIndexed or Indexed", _NOT_OFFERED)
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        yield errors.Problem("spec.completions", "is required with completionMode Indexed", "FieldValueRequired")
    if spec.get("managedBy") not in (None, "kubernetes.io/job-controller"):
        yield errors.Problem("spec.managedBy", "there is no other job controller here", _NOT_OFFERED)
    if not isinstance(spec.get("template"), Mapping):
        yield errors.Problem("spec.template", "must be a map", "FieldValueRequired")
    for number, rule in enumerate(_list(_map(spec.get("podFailurePolicy")).get("rules"))):
        if rule.get("action") not in ("FailJob", "Ignore", "Count"):
            yield errors.Problem(
                f"spec.podFailurePolicy.rules[{number}].action", "must be FailJob, Ignore or Count", _NOT_OFFERED
            )


def _check_trainer(spec: Mapping[str, Any]) -> Iterator[errors.Problem]:
    known = {"runtimeRef", "trainer", "suspend", "labels", "annotations", "managedBy"}
    refused = {
        "initializer": "data and model initialisers are not run here",
        "podSpecOverrides": "there is no pod template to override here; set spec.trainer",
        "podTemplateOverrides": "there is no pod template to override here; set spec.trainer",
    }
    yield from _fields(spec, "spec", known, set(), refused)
    trainer = spec.get("trainer")
    if not isinstance(trainer, Mapping):
        yield errors.Problem(
            "spec.trainer", "is required: there are no runtimes here to take it from", "FieldValueRequired"
        )
        return
    fields = {"image", "command", "args", "env", "numNodes", "numProcPerNode", "resourcesPerNode"}
    yield from _fields(trainer, "spec.trainer", fields, set(), {})
    container = {"name": "node", **{key: trainer[key] for key in ("image", "command", "args", "env") if key in trainer}}
    yield from _check_container(container, "spec.trainer", set())


def _check_pod(pod: Mapping[str, Any], path: str, *, batch: bool) -> Iterator[errors.Problem]:
    yield from _fields(pod, path, _POD, _POD_IGNORED, _POD_REFUSED)
    policies = ("Never", "OnFailure", "ExitCode") if batch else ("Always",)
    if pod.get("restartPolicy") not in (None, *policies) and batch:
        yield errors.Problem(f"{path}.restartPolicy", "must be Never or OnFailure", _NOT_OFFERED)
    names = set()
    if not _list(pod.get("containers")):
        yield errors.Problem(f"{path}.containers", "must list at least one container", "FieldValueRequired")
    for number, volume in enumerate(_list(pod.get("volumes"))):
        where = f"{path}.volumes[{number}]"
        sources = sorted(volume.keys() - {"name"})
        names.add(volume.get("name"))
        if not isinstance(volume.get("name"), str) or not volumes.inside(volume["name"]) or "/" in volume["name"]:
            yield errors.Problem(f"{where}.name", "must be a name", "FieldValueRequired")
        for source in sources:
            if source not in _VOLUMES:
                offered = ", ".join(_VOLUMES)
                yield errors.Problem(f"{where}.{source}", f"is not offered on one machine; use {offered}", _NOT_OFFERED)
        claim = _map(volume.get("persistentVolumeClaim")).get("claimName", "claim")
        if not isinstance(claim, str) or "/" in claim or not volumes.inside(claim) or not claim:
            yield errors.Problem(f"{where}.persistentVolumeClaim.claimName", "must be a name")
    seen: set[str] = set()
    for where, container in _containers(pod, path):
        yield from _check_container(container, where, names)
        name = str(container.get("name", ""))
        if name in seen:
            yield errors.Problem(f"{where}.name", f"{name!r} is used twice", "FieldValueDuplicate")
        seen.add(name)


def _check_container(container: Mapping[str, Any], path: str, names: set[Any]) -> Iterator[errors.Problem]:
    yield from _fields(container, path, _CONTAINER, _CONTAINER_IGNORED, _CONTAINER_REFUSED)
    name = container.get("name")
    if not isinstance(name, str) or not name or "/" in name or not volumes.inside(name):
        yield errors.Problem(f"{path}.name", "must be a name", "FieldValueRequired")
    for key in ("command", "args"):
        words = container.get(key)
        if words is not None and not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
            yield errors.Problem(f"{path}.{key}", "must be a list of text; quote numbers")
    yield from _check_env(container, path)
    memory = _map(_map(container.get("resources")).get("limits")).get("memory")
    if memory is not None and quantity(memory) is None:
        yield errors.Problem(f"{path}.resources.limits.memory", f"{memory!r} is not a quantity such as 512Mi")
    for number, entry in enumerate(_list(container.get("volumeMounts"))):
        where = f"{path}.volumeMounts[{number}]"
        mount = entry.get("mountPath")
        if not isinstance(mount, str) or volumes.normal(mount) == "/":
            yield errors.Problem(f"{where}.mountPath", "must be a path below /")
        if entry.get("name") not in names:
            yield errors.Problem(f"{where}.name", f"{entry.get('name')!r} is none of the pod's volumes")
        for key in ("subPath", "subPathExpr"):
            if not isinstance(entry.get(key, ""), str) or not volumes.inside(entry.get(key, "")):
                yield errors.Problem(f"{where}.{key}", "must be relative and may not hold '..'")


def _check_env(container: Mapping[str, Any], path: str) -> Iterator[errors.Problem]:
    for number, source in enumerate(_list(container.get("envFrom"))):
        if "secretRef" in source:
            yield errors.Problem(
                f"{path}.envFrom[{number}].secretRef", "Secrets are not offered on one machine", _NOT_OFFERED
            )
    for number, entry in enumerate(_list(container.get("env"))):
        where = f"{path}.env[{number}]"
        name = entry.get("name")
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            yield errors.Problem(f"{where}.name", "must be text without '='")
        value = entry.get("value", "")
        if not isinstance(value, str) or "\0" in value:
            yield errors.Problem(f"{where}.value", "must be text; quote numbers and booleans")
        source = _map(entry.get("valueFrom"))
        for key in source:
            if key not in ("fieldRef", "configMapKeyRef"):
                yield errors.Problem(f"{where}.valueFrom.{key}", "use value, fieldRef or configMapKeyRef", _NOT_OFFERED)
        field = _map(source.get("fieldRef")).get("fieldPath")
        if "fieldRef" in source and not environ.offered(str(field)):
            offered = ", ".join(environ.FIELDS)
            yield errors.Problem(
                f"{where}.valueFrom.fieldRef.fieldPath", f"{field!r} is not offered; known are {offered}, labels and annotations",
                _NOT_OFFERED,
            )  # fmt: skip


def _fields(
    section: Mapping[str, Any], path: str, known: set[str], harmless: set[str], refused: Mapping[str, str]
) -> Iterator[errors.Problem]:
    for key in section:
        if key in refused and section[key] is not None:
            yield errors.Problem(f"{path}.{key}", f"is not offered on one machine: {refused[key]}", _NOT_OFFERED)
        elif key not in known and key not in harmless and key not in refused:
            yield errors.Problem(f"{path}.{key}", "is not a known field", _NOT_OFFERED)
    for key in ("containers", "initContainers", "volumes", "env", "envFrom", "volumeMounts"):
        value = section.get(key)
        if value is not None and not (isinstance(value, list) and all(isinstance(entry, Mapping) for entry in value)):
            yield errors.Problem(f"{path}.{key}", "must be a list of maps")


def _containers(pod: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key in ("initContainers", "containers"):
        for number, container in enumerate(_list(pod.get(key))):
            yield f"{path}.{key}[{number}]", container


_UNITS = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip


def quantity(text: object) -> int | None:
    """A Kubernetes quantity of memory in bytes (``1Gi``, ``500M``, ``128974848``, ``129e6``); None when it is none."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text if text >= 0 else None
    if not isinstance(text, str) or not text.isascii() or "_" in text or text != text.strip():
        return None
    digits = text.rstrip("kKMGTPi")
    unit = text[len(digits) :]
    if not digits[-1:].isdigit():
        return None
    try:
        number = float(digits)
    except ValueError:
        return None
    if unit not in _UNITS or not 0 <= number < 2**63:
        return None
    return int(number * _UNITS[unit])


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
