"""The environment of a container: Kubernetes' sources, its order, and its ``$(VAR)`` expansion.

Only what a container declares takes part in expansion, as in Kubernetes; the environment inherited from this machine does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kuttab.api import meta
from kuttab.base import errors

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]\Z")

ConfigMaps = Mapping[str, Mapping[str, str]]
"""Name to data, of the pod's namespace."""


class MissingConfigError(errors.UnavailableError):
    """A ConfigMap or key that a container needs is not there (yet)."""

    reason = "CreateContainerConfigError"


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the variable's value; an unknown name stays as it is, and ``$$`` is one literal dollar sign.

    The rules of Kubernetes' container command, args and env.
    """
    if "$" not in text:
        return text
    out: list[str] = []
    position = 0
    while True:
        dollar = text.find("$", position)
        if dollar < 0 or dollar + 1 >= len(text):
            return "".join((*out, text[position:]))
        out.append(text[position:dollar])
        following = text[dollar + 1]
        if following == "$":
            out.append("$")
            position = dollar + 2
            continue
        close = text.find(")", dollar) if following == "(" else -1
        if close < 0:
            out.append("$")
            position = dollar + 1
            continue
        name = text[dollar + 2 : close]
        out.append(variables.get(name, text[dollar : close + 1]))
        position = close + 1


def variables(container: Mapping[str, Any], pod: meta.Resource, config_maps: ConfigMaps) -> dict[str, str]:
    """What a container declares: ``envFrom`` first, then ``env`` in order, each seeing those before it.

    MissingConfigError for a ConfigMap or key that is required and absent.
    """
    found: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        reference = source.get("configMapRef") or {}
        data = _config_map(reference, config_maps)
        found |= {source.get("prefix", "") + key: value for key, value in sorted(data.items())}
    for entry in container.get("env") or ():
        value = _value(entry, pod, config_maps, found)
        if value is not None:
            found[entry["name"]] = value
    return found


def config_map_names(spec: Mapping[str, Any]) -> list[str]:
    """Names of every ConfigMap that a pod's containers and volumes refer to, sorted."""
    names = {
        volume["configMap"].get("name", "")
        for volume in spec.get("volumes") or ()
        if volume.get("configMap") is not None
    }
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for source in container.get("envFrom") or ():
            names.add((source.get("configMapRef") or {}).get("name", ""))
        for entry in container.get("env") or ():
            names.add(((entry.get("valueFrom") or {}).get("configMapKeyRef") or {}).get("name", ""))
    return sorted(names - {""})


def _value(
    entry: Mapping[str, Any], pod: meta.Resource, config_maps: ConfigMaps, found: Mapping[str, str]
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value", ""), found)
    if "fieldRef" in source:
        return field(pod, source["fieldRef"].get("fieldPath", ""))
    reference = source.get("configMapKeyRef") or {}
    data = _config_map(reference, config_maps)
    key = reference.get("key", "")
    if key in data:
        return data[key]
    if reference.get("optional"):
        return None
    raise MissingConfigError(
        f"ConfigMap {reference.get('name')!r} has no key {key!r}, which env {entry['name']!r} needs"
    )


def _config_map(reference: Mapping[str, Any], config_maps: ConfigMaps) -> Mapping[str, str]:
    name = reference.get("name", "")
    if name in config_maps:
        return config_maps[name]
    if reference.get("optional"):
        return {}
    raise MissingConfigError(f"ConfigMap {name!r} does not exist")


FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.podIP", "status.hostIP",
)  # fmt: skip
"""Field paths that ``fieldRef`` may name, beside ``metadata.labels['...']`` and ``metadata.annotations['...']``."""


def field(pod: meta.Resource, path: str) -> str:
    """The value of a pod's field; BadInputError for one that is not offered."""
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        section = pod.metadata.labels if subscript[1] == "labels" else pod.metadata.annotations
        return (section or {}).get(subscript[2], "")
    known = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "spec.nodeName": "localhost",
        "spec.serviceAccountName": str(pod.section("spec").get("serviceAccountName", "default")),
        "status.podIP": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
    }
    if path not in known:
        raise errors.BadInputError(
            f"fieldRef {path!r} is not offered; known are {', '.join(FIELDS)} and labels, annotations"
        )
    return known[path]


def offered(path: str) -> bool:
    """Whether ``fieldRef`` may name this path."""
    return path in FIELDS or _SUBSCRIPT.match(path) is not None
