"""What of a pod can be honoured on one machine: its volumes and containers, field by field."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from kuttab.base import errors
from kuttab.node import environ, support_fields, volumes

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


def check(pod: Mapping[str, Any], path: str, *, restarts: Collection[str]) -> Iterator[errors.Problem]:
    """Problems of a pod spec; ``restarts`` are the restart policies that its kind allows."""
    yield from support_fields.check(pod, path, _POD, _POD_IGNORED, _POD_REFUSED)
    if pod.get("restartPolicy") not in (None, *restarts):
        yield errors.Problem(f"{path}.restartPolicy", f"must be {' or '.join(restarts)}", support_fields.NOT_OFFERED)
    names = set()
    if not support_fields.as_list(pod.get("containers")):
        yield errors.Problem(f"{path}.containers", "must list at least one container", "FieldValueRequired")
    for number, volume in enumerate(support_fields.as_list(pod.get("volumes"))):
        where = f"{path}.volumes[{number}]"
        sources = sorted(volume.keys() - {"name"})
        names.add(volume.get("name"))
        if not isinstance(volume.get("name"), str) or not volumes.inside(volume["name"]) or "/" in volume["name"]:
            yield errors.Problem(f"{where}.name", "must be a name", "FieldValueRequired")
        for source in sources:
            if source not in _VOLUMES:
                offered = ", ".join(_VOLUMES)
                yield errors.Problem(
                    f"{where}.{source}", f"is not offered on one machine; use {offered}", support_fields.NOT_OFFERED
                )
        claim = support_fields.as_map(volume.get("persistentVolumeClaim")).get("claimName", "claim")
        if not isinstance(claim, str) or "/" in claim or not volumes.inside(claim) or not claim:
            yield errors.Problem(f"{where}.persistentVolumeClaim.claimName", "must be a name")
    seen: set[str] = set()
    for where, container in containers(pod, path):
        yield from check_container(container, where, names)
        name = str(container.get("name", ""))
        if name in seen:
            yield errors.Problem(f"{where}.name", f"{name!r} is used twice", "FieldValueDuplicate")
        seen.add(name)


def check_container(container: Mapping[str, Any], path: str, names: set[Any]) -> Iterator[errors.Problem]:
    """Problems of a container; ``names`` are those of the pod's volumes."""
    yield from support_fields.check(container, path, _CONTAINER, _CONTAINER_IGNORED, _CONTAINER_REFUSED)
    name = container.get("name")
    if not isinstance(name, str) or not name or "/" in name or not volumes.inside(name):
        yield errors.Problem(f"{path}.name", "must be a name", "FieldValueRequired")
    for key in ("command", "args"):
        words = container.get(key)
        if words is not None and not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
            yield errors.Problem(f"{path}.{key}", "must be a list of text; quote numbers")
    yield from _check_env(container, path)
    memory = support_fields.as_map(support_fields.as_map(container.get("resources")).get("limits")).get("memory")
    if memory is not None and support_fields.quantity(memory) is None:
        yield errors.Problem(f"{path}.resources.limits.memory", f"{memory!r} is not a quantity such as 512Mi")
    for number, entry in enumerate(support_fields.as_list(container.get("volumeMounts"))):
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
    for number, source in enumerate(support_fields.as_list(container.get("envFrom"))):
        if "secretRef" in source:
            yield errors.Problem(
                f"{path}.envFrom[{number}].secretRef",
                "Secrets are not offered on one machine",
                support_fields.NOT_OFFERED,
            )
    for number, entry in enumerate(support_fields.as_list(container.get("env"))):
        where = f"{path}.env[{number}]"
        name = entry.get("name")
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            yield errors.Problem(f"{where}.name", "must be text without '='")
        value = entry.get("value", "")
        if not isinstance(value, str) or "\0" in value:
            yield errors.Problem(f"{where}.value", "must be text; quote numbers and booleans")
        source = support_fields.as_map(entry.get("valueFrom"))
        for key in source:
            if key not in ("fieldRef", "configMapKeyRef"):
                yield errors.Problem(
                    f"{where}.valueFrom.{key}", "use value, fieldRef or configMapKeyRef", support_fields.NOT_OFFERED
                )
        field = support_fields.as_map(source.get("fieldRef")).get("fieldPath")
        if "fieldRef" in source and not environ.offered(str(field)):
            offered = ", ".join(environ.FIELDS)
            yield errors.Problem(
                f"{where}.valueFrom.fieldRef.fieldPath", f"{field!r} is not offered; known are {offered}, labels and annotations",
                support_fields.NOT_OFFERED,
            )  # fmt: skip


def containers(pod: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each container of a pod spec with its path, init containers first."""
    for key in ("initContainers", "containers"):
        for number, container in enumerate(support_fields.as_list(pod.get(key))):
            yield f"{path}.{key}[{number}]", container


def ignored(pod: Mapping[str, Any], path: str) -> Iterator[errors.Problem]:
    """Fields of a pod spec that have no effect here."""
    for key in sorted(pod.keys() & _POD_IGNORED):
        yield errors.Problem(f"{path}.{key}", support_fields.NO_EFFECT)
    for where, container in containers(pod, path):
        for key in sorted(container.keys() & _CONTAINER_IGNORED - {"imagePullPolicy", "terminationMessagePath"}):
            yield errors.Problem(f"{where}.{key}", support_fields.NO_EFFECT)
        limits = support_fields.as_map(support_fields.as_map(container.get("resources")).get("limits"))
        for key in sorted(limits.keys() - {"memory"}):
            yield errors.Problem(f"{where}.resources.limits[{key}]", support_fields.NOT_ENFORCED)
