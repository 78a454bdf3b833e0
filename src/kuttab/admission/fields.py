"""From a JSON document to a typed object, with every wrong type and every unknown field named.

The API types keep what they do not know, so that reading never loses anything; here a field that no type knows is refused, with
the nearest known name, because a misspelt ``maxTrailCount`` would otherwise mean "no limit". Types are not coerced: ``"10"`` is no number.
Free-form parts (trial specs, containers) are looked at elsewhere.
"""

from __future__ import annotations

import functools
import math
import typing
from dataclasses import dataclass
from typing import Any

import pydantic

from kuttab.admission import paths
from kuttab.admission.report import FORBIDDEN, REQUIRED, nearest, show
from kuttab.api import kinds, meta
from kuttab.base import errors

UNKNOWN = "unknown field"
"""How the message about a field that no type knows begins."""


@dataclass(frozen=True, slots=True)
class _Field:
    """What a type says about one field: the model below it, whether that comes as a list, and whether null is a value."""

    model: type[meta.Model] | None
    listed: bool
    nullable: bool


def decode(document: meta.Json, kind: kinds.Kind) -> tuple[meta.Object | None, list[errors.Problem]]:
    """What can be read of the object, and every problem of types and names: with none, the object is whole.

    A null where the type has no null means "not given", as Kubernetes reads it. Problems with reason FieldValueForbidden are unknown
    fields. The object lacks them and every field of a wrong type, so that the rest can be judged too; it is None when nothing is left.
    """
    unknown: list[errors.Problem] = []
    cleaned = _clean(document, kind.cls, "", unknown)
    problems: dict[tuple[str, str], errors.Problem] = {}
    while True:
        try:
            return kind.cls.model_validate(cleaned), unknown + list(problems.values())
        except pydantic.ValidationError as error:
            findings = error.errors(include_url=False)
        left = True
        for details in findings:
            problem = _translate(cleaned, details)
            problems.setdefault((problem.path, problem.message), problem)
        for details in findings:
            left = _drop(cleaned, details["loc"]) and left
        if not left:
            return None, unknown + list(problems.values())


@functools.cache
def _fields(model: type[meta.Model]) -> dict[str, _Field]:
    """Wire name to what the type says."""
    return {info.alias or name: _read_annotation(info.annotation) for name, info in model.model_fields.items()}


def _read_annotation(annotation: Any) -> _Field:
    arguments = typing.get_args(annotation)
    nullable = type(None) in arguments
    parts = [part for part in arguments if part is not type(None)] if nullable else [annotation]
    inner = parts[0] if len(parts) == 1 else None
    listed = typing.get_origin(inner) is list
    if listed:
        inner = typing.get_args(inner)[0]
    model = inner if isinstance(inner, type) and issubclass(inner, meta.Model) else None
    return _Field(model, listed, nullable)


def _clean(document: meta.Json, model: type[meta.Model], path: str, unknown: list[errors.Problem]) -> meta.Json:
    """A copy without unknown fields and without meaningless nulls."""
    known = _fields(model)
    foreign = issubclass(model, meta.Resource)
    cleaned: meta.Json = {}
    for key, value in document.items():
        entry = known.get(key)
        if entry is None:
            if foreign:
                cleaned[key] = value
            else:
                message = f"{UNKNOWN}{nearest(str(key), known)}"
                unknown.append(errors.Problem(paths.join(path, str(key)), message, FORBIDDEN))
        elif value is None:
            if entry.nullable:
                cleaned[key] = None
        elif entry.model is not None and entry.listed and isinstance(value, list):
            below = paths.join(path, key)
            cleaned[key] = [
                _clean(item, entry.model, f"{below}[{index}]", unknown) if isinstance(item, dict) else item
                for index, item in enumerate(value)
            ]
        elif entry.model is not None and not entry.listed and isinstance(value, dict):
            cleaned[key] = _clean(value, entry.model, paths.join(path, key), unknown)
        else:
            cleaned[key] = dict(value) if isinstance(value, dict) else value
    return cleaned


def _drop(document: meta.Json, location: tuple[str | int, ...]) -> bool:
    """Take out the field at that place, or the smallest named field round it; False when that is the whole document."""
    node: Any = document
    holder: meta.Json | None = None
    name: str | int = ""
    for step in location:
        if isinstance(node, dict):
            if step not in node:
                break
            holder, name, node = node, step, node[step]
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
        else:
            break
    if holder is None:
        return False
    holder.pop(str(name), None)
    return True


def _translate(document: meta.Json, details: Any) -> errors.Problem:
    """One of pydantic's findings in our words. Steps that are no place in the document (union arms) end the path."""
    path = ""
    node: Any = document
    kind = details["type"]
    for step in details["loc"]:
        if isinstance(node, dict) and (step in node or kind == "missing"):
            path, node = paths.join(path, step), node.get(step)
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            path, node = paths.join(path, step), node[step]
        else:
            break
    if kind == "missing":
        return errors.Problem(path, "must be given", REQUIRED)
    return errors.Problem(path, _expected(kind, details["loc"], details["input"]))


_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "finite": "a finite number",
}


def _expected(kind: str, location: tuple[str | int, ...], value: Any) -> str:
    wanted = _WANTED.get(kind.partition("_")[0], "")
    if location[-1] in ("int", "str") and not isinstance(value, int | str):
        wanted = "a number or text"
    if not wanted:
        return f"cannot be {_have(value)}"
    return f"must be {wanted}, not {_have(value)}{_fix(wanted, value)}"


def _have(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return f"the text {show(value)}" if isinstance(value, str) else f"the number {show(value)}"


def _fix(wanted: str, value: Any) -> str:
    if isinstance(value, str) and "number" in wanted and _is_number(value):
        return "; remove the quotes"
    if wanted == "text" and isinstance(value, bool | int | float):
        return "; put quotes round it"
    return ""


def _is_number(text: str) -> bool:
    try:
        return len(text) < 30 and math.isfinite(float(text))
    except ValueError:
        return False
