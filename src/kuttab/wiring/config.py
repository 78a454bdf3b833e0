"""The configuration file: which program stands behind the name of an algorithm on this machine.

Takes a KatibConfig, the ConfigMap ``katib-config`` that holds one, and that ConfigMap's form of 2020 with JSON texts. What an entry can
mean for a process is checked here, whole, with field paths; whether its program exists is seen when it is started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kuttab.admission import fields, yaml
from kuttab.admission.report import nearest
from kuttab.api import config, keys, kinds, meta
from kuttab.base import errors
from kuttab.node import images as node_images
from kuttab.node import services
from kuttab.wiring import quotas

KIND = kinds.Kind(
    "config.kubeflow.org", "v1beta1", "KatibConfig", "katibconfigs", namespaced=False, home="config.KatibConfig"
)
KEY = "katib-config.yaml"
"""Key of the ConfigMap under which the whole configuration stands as text."""

DEFAULT_VOLUME = "/opt/katib/data"
_OLD_KEYS = {
    "suggestion": ("suggestions", "algorithmName"),
    "early-stopping": ("earlyStoppings", "algorithmName"),
    "metrics-collector-sidecar": ("metricsCollectors", "kind"),
}
_FLAT = ("cpuLimit", "cpuRequest", "memLimit", "memRequest", "diskLimit", "diskRequest")
"""Spellings of resources before v0.10; one machine has no use for them."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a configuration file says. ``images`` are names of algorithms whose image nothing stands for here."""

    algorithms: Mapping[str, services.Program] = field(default_factory=dict)
    early_stoppings: Mapping[str, services.Program] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    quota: Mapping[str, Any] = field(default_factory=dict)
    """The section as written; :mod:`kuttab.wiring.quotas` reads it."""


def read(file: Path, images: Mapping[str, Any]) -> Config:
    """Read a configuration file. BadInputError with the file's name, InvalidError with every problem."""
    try:
        text = file.read_bytes()
    except OSError as problem:
        raise errors.BadInputError(f"{file}: cannot be read: {problem.strerror}") from problem
    documents = yaml.load(text, str(file))
    if len(documents) != 1:
        raise errors.BadInputError(f"{file}: must hold exactly one KatibConfig or ConfigMap")
    document = documents[0]
    problems: list[errors.Problem] = []
    loaded = _load(document.value, str(file), problems)
    found = _programs(loaded, node_images.read(images), file.resolve().parent, problems) if not problems else Config()
    if problems:
        raise errors.InvalidError([document.locate(item) for item in problems], str(file))
    return found


def _load(value: meta.Json, origin: str, problems: list[errors.Problem]) -> config.KatibConfig:
    if value.get("kind") == "ConfigMap":
        value = _of_config_map(value, origin, problems)
    if (value.get("apiVersion"), value.get("kind")) != (KIND.api_version, KIND.kind) and not problems:
        raise errors.BadInputError(
            f"{origin}: must be a KatibConfig ({KIND.api_version}) or the ConfigMap katib-config,"
            f" not {str(value.get('kind'))[:60]!r} ({str(value.get('apiVersion'))[:60]!r})"
        )
    loaded, wrong = fields.decode(value, KIND)
    problems += wrong
    return loaded if isinstance(loaded, config.KatibConfig) else config.KatibConfig()


def _of_config_map(value: meta.Json, origin: str, problems: list[errors.Problem]) -> meta.Json:
    data = value.get("data")
    data = data if isinstance(data, dict) else {}
    if KEY in data:
        return _text(data[KEY], f"{origin} (data[{KEY!r}])")
    if not data.keys() & _OLD_KEYS.keys():
        raise errors.BadInputError(
            f"{origin}: the ConfigMap has neither data[{KEY!r}] nor one of {', '.join(_OLD_KEYS)}"
        )
    runtime: dict[str, list[meta.Json]] = {}
    for key, text in data.items():
        if key not in _OLD_KEYS:
            problems.append(
                errors.Problem(f"data[{key!r}]", f"unknown{nearest(key, _OLD_KEYS)}", "FieldValueForbidden")
            )
            continue
        section, name = _OLD_KEYS[key]
        for entry_name, entry in _text(text, f"{origin} (data[{key!r}])").items():
            if not isinstance(entry, dict):
                problems.append(errors.Problem(f"data[{key!r}].{entry_name}", "must be a mapping"))
                continue
            kept = {field_: item for field_, item in entry.items() if field_ not in _FLAT}
            runtime.setdefault(section, []).append({name: entry_name, **kept})
    return {"apiVersion": KIND.api_version, "kind": KIND.kind, "runtime": runtime}


def _text(text: Any, origin: str) -> meta.Json:
    documents = yaml.load(text, origin) if isinstance(text, str) else []
    if len(documents) != 1:
        raise errors.BadInputError(f"{origin}: must be the text of one JSON or YAML object")
    return documents[0].value


def _programs(
    loaded: config.KatibConfig, images: node_images.Images, base: Path, problems: list[errors.Problem]
) -> Config:
    runtime = loaded.runtime or config.RuntimeConfig()
    without: dict[str, str] = {}
    parts: list[dict[str, services.Program]] = []
    for section, role, port, given in (
        ("suggestions", "suggestion", keys.ENV_SUGGESTION_PORT, runtime.suggestions),
        ("earlyStoppings", "early-stopping", keys.ENV_EARLY_STOPPING_PORT, runtime.early_stoppings),
    ):
        programs: dict[str, services.Program] = {}
        for index, entry in enumerate(given or ()):
            path = f"runtime.{section}[{index}]"
            wrong = list(_wrong(entry, path))
            problems += wrong
            command = [*(entry.command or node_images.find(images, entry.image).command), *(entry.args or ())]
            if wrong or not (entry.command or node_images.find(images, entry.image).command):
                without[entry.algorithm_name] = entry.image
                programs.pop(entry.algorithm_name, None)
                continue
            without.pop(entry.algorithm_name, None)
            programs[entry.algorithm_name] = _program(entry, role, port, command, base)
        parts.append(programs)
    for index, collector in enumerate(runtime.metrics_collectors or ()):
        if not collector.kind:
            problems.append(
                errors.Problem(f"runtime.metricsCollectors[{index}].kind", "must be given", "FieldValueRequired")
            )
    return Config(parts[0], parts[1], without, _quota(runtime.quota or {}, problems))


def _quota(section: meta.Json, problems: list[errors.Problem]) -> meta.Json:
    try:
        quotas.read(section)
    except errors.InvalidError as problem:
        problems += [errors.Problem(f"runtime.{item.path}", item.message, item.reason) for item in problem.problems]
    except errors.BadInputError as problem:
        problems.append(errors.Problem("runtime.quota.url", problem.message.removeprefix("quota: ")))
    return section


def _wrong(entry: config.ServiceConfig, path: str) -> list[errors.Problem]:
    problems = []
    if not entry.algorithm_name:
        problems.append(errors.Problem(f"{path}.algorithmName", "must be given", "FieldValueRequired"))
    if not entry.image.strip() and not entry.command:
        problems.append(
            errors.Problem(f"{path}.image", "must be given where there is no command", "FieldValueRequired")
        )
    given = meta.dump(entry)
    problems += [
        errors.Problem(f"{path}.{name}", "cannot be honoured for a process of this machine", "FieldValueForbidden")
        for name in config.REFUSED_HERE
        if given.get(name)
    ]
    for number, item in enumerate(entry.env or ()):
        if (
            not isinstance(item.get("name"), str)
            or not isinstance(item.get("value", ""), str)
            or item.keys() - {"name", "value"}
        ):
            problems.append(
                errors.Problem(f"{path}.env[{number}]", "must have a name and a value, both text, and nothing else")
            )
    for number, item in enumerate(entry.ports or ()):
        if item.get("name") == "suggestion-api" or item.get("containerPort") == 6789:
            problems.append(
                errors.Problem(f"{path}.ports[{number}]", "is the service's own port, which is set by itself")
            )
    if entry.timeout_seconds is not None and not 0 < entry.timeout_seconds <= 86_400:
        problems.append(errors.Problem(f"{path}.timeoutSeconds", "must lie above 0 and be at most 86400"))
    return problems


def _program(entry: config.ServiceConfig, role: str, port: str, command: list[str], base: Path) -> services.Program:
    return services.Program(
        role=role,
        name=entry.algorithm_name,
        port_variable=port,
        command=tuple(command),
        image=entry.image,
        env={item["name"]: item.get("value", "") for item in entry.env or ()},
        workdir=entry.working_dir,
        base=base,
        volume=entry.volume_mount_path or DEFAULT_VOLUME,
        timeout=entry.timeout_seconds or 60.0,
    )
