"""CustomResourceDefinitions of our kinds, made from their types.

pydantic describes a class as JSON schema; a structural schema is stricter: no references, no titles, no null arms, no defaults (these
are admission's), a type at each node. Fields that hold anything keep unknown fields; all others are closed. Lists carry no map
keys, because published manifests hold equal entries in some (``inputSizes: [32, 32, 3]``). Will not validate: rules are admission's.
"""

from __future__ import annotations

import json
import pathlib
import re
import typing
from typing import Any

from kuttab.api import descriptions, kinds, meta

_TYPE = {"name": "Type", "type": "string", "jsonPath": ".status.conditions[-1:].type"}
_STATUS = {"name": "Status", "type": "string", "jsonPath": ".status.conditions[-1:].status"}
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_REQUESTED = {"name": "Requested", "type": "string", "jsonPath": ".spec.requests"}
_ASSIGNED = {"name": "Assigned", "type": "string", "jsonPath": ".status.suggestionCount"}

COLUMNS: dict[str, tuple[meta.Json, ...]] = {
    "Experiment": (_TYPE, _STATUS, _AGE),
    "Suggestion": (_TYPE, _STATUS, _REQUESTED, _ASSIGNED, _AGE),
    "Trial": (_TYPE, _STATUS, _AGE),
}
"""What ``kubectl get`` prints, as additionalPrinterColumns."""

KINDS = (kinds.EXPERIMENT, kinds.SUGGESTION, kinds.TRIAL)
_NULLABLE = ("goal", "completionTime")
"""Fields in which null is a value that Katib writes; elsewhere null is left out, as nullable nodes lose their type for kubectl."""
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def schema(kind: kinds.Kind) -> meta.Json:
    """The structural OpenAPI v3 schema of one of our kinds."""
    models = _models(kind.cls)
    made = _class(kind.cls, models)
    properties = made["properties"]
    properties["apiVersion"] = {"type": "string", "description": f"Always {kind.api_version}."}
    properties["kind"] = {"type": "string", "description": f"Always {kind.kind}."}
    properties["metadata"] = {"type": "object"}
    made["required"] = ["spec"] if kind is kinds.EXPERIMENT else []
    return {key: value for key, value in made.items() if value != []}


def definition(kind: kinds.Kind) -> meta.Json:
    """The CustomResourceDefinition of one of our kinds, ready for ``kubectl apply``."""
    version = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [dict(column) for column in COLUMNS[kind.kind]],
        "schema": {"openAPIV3Schema": schema(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}", "labels": {"app.kubernetes.io/part-of": "kuttab"}},
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.kind,
                "listKind": kind.list_kind,
                "plural": kind.plural,
                "singular": kind.singular,
                "categories": list(kind.categories),
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def files() -> dict[str, str]:
    """File name to YAML text of every definition; equal on every run."""
    note = "# Made from the types in kuttab.api by kuttab.api.crd.write; not to be edited.\n"
    return {f"{kind.group}_{kind.plural}.yaml": note + _yaml(definition(kind)) for kind in KINDS}


def write(folder: pathlib.Path) -> None:
    """Write every definition into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text)


def _models(root: type[meta.Model]) -> dict[str, type[meta.Model]]:
    """Every API class that one is made of, by its name."""
    found: dict[str, type[meta.Model]] = {}
    stack: list[Any] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, type) and issubclass(item, meta.Model):
            if item.__name__ not in found:
                found[item.__name__] = item
                stack.extend(field.annotation for field in item.model_fields.values())
        else:
            stack.extend(typing.get_args(item))
    return found


def _class(cls: type[meta.Model], models: dict[str, type[meta.Model]]) -> meta.Json:
    raw = cls.model_json_schema(by_alias=True, mode="validation")
    own = raw if "properties" in raw else raw["$defs"][cls.__name__]
    properties: meta.Json = {}
    for name, field in cls.model_fields.items():
        wire = field.alias or name
        if wire == "metadata":
            continue
        made = _node(own["properties"][wire], models)
        text = field.description or descriptions.FIELDS.get(f"{cls.__name__}.{name}")
        if text:
            made["description"] = text
        if wire in _NULLABLE:
            made["nullable"] = True
        if wire.endswith("Time") and made.get("type") == "string":
            made["format"] = "date-time"
        properties[wire] = made
    made = {"type": "object", "description": _first_line(cls), "properties": properties}
    if own.get("required"):
        made["required"] = own["required"]
    return made


def _node(raw: meta.Json, models: dict[str, type[meta.Model]]) -> meta.Json:
    """The structural form of one node of pydantic's schema."""
    if "$ref" in raw:
        return _class(models[raw["$ref"].rpartition("/")[2]], models)
    if "allOf" in raw:
        return _node(raw["allOf"][0], models)
    if "anyOf" in raw:
        arms = [arm for arm in raw["anyOf"] if arm.get("type") != "null"]
        if {arm.get("type") for arm in arms} == {"integer", "string"}:
            return {"x-kubernetes-int-or-string": True}
        if len(arms) != 1:
            raise TypeError(f"a structural schema has no union of {[arm.get('type') for arm in arms]}")
        return _node(arms[0], models)
    match raw.get("type"):
        case "array":
            return {"type": "array", "items": _node(raw["items"], models)}
        case "object":
            inner = raw.get("additionalProperties")
            if isinstance(inner, dict) and inner:
                return {"type": "object", "additionalProperties": _node(inner, models)}
            return dict(_ANYTHING)
        case "string" | "integer" | "number" | "boolean":
            return {"type": raw["type"]}
        case other:
            raise TypeError(f"no structural form of {other!r}: {raw}")


def _first_line(cls: type[meta.Model]) -> str:
    return " ".join((cls.__doc__ or "").strip().partition("\n\n")[0].split()).replace("``", "")


_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.$/-]*(?: [A-Za-z0-9_.;,()/-]+)*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def _yaml(value: Any, indent: str = "") -> str:
    """Block YAML of JSON data; texts are quoted as JSON unless they are plainly words."""
    lines = []
    for key, item in value.items() if isinstance(value, dict) else ((None, item) for item in value):
        head = f"{indent}- " if key is None else f"{indent}{_scalar(key)}:"
        if isinstance(item, dict | list) and item:
            deeper = indent + "  "
            block = _yaml(item, deeper)
            lines.append(head + block[len(deeper) :] if key is None else f"{head}\n{block}")
        else:
            lines.append(f"{head}{'' if key is None else ' '}{_scalar(item)}\n")
    return "".join(lines)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
