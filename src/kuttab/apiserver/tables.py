"""Tables as ``kubectl get`` prints them: Katib's columns for our kinds, Kubernetes' for the built-in ones.

Cells are made here, ages too, because that is where an API server makes them; the client only aligns them.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kuttab.api import crd, kinds, meta
from kuttab.base import clock

Cell = Callable[[meta.Json, datetime.datetime], Any]

_STEP = re.compile(r"\.([A-Za-z0-9_]+)|\[(-?\d+)(:?)\]")
UNSET = "<unset>"
NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``priority`` 0 is always shown, 1 with ``-o wide``."""

    name: str
    cell: Cell
    type: str = "string"
    priority: int = 0

    def definition(self) -> meta.Json:
        """As Kubernetes describes it."""
        return {
            "name": self.name,
            "type": self.type,
            "format": "name" if self.name == "Name" else "",
            "description": "",
            "priority": self.priority,
        }


def table(
    kind: kinds.Kind, objs: Iterable[meta.Object], now: datetime.datetime, include: str = "Metadata", heads: bool = True
) -> meta.Json:
    """The Table of some objects. ``include``: what each row carries, None, Metadata or Object."""
    columns = columns_of(kind)
    made: meta.Json = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}}
    made["columnDefinitions"] = [column.definition() for column in columns] if heads else None
    made["rows"] = [_row(columns, obj, now, include) for obj in objs]
    return made


def partial(obj: meta.Object) -> meta.Json:
    """An object's PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta.dump(obj.metadata)}


def columns_of(kind: kinds.Kind) -> Sequence[Column]:
    """Columns of a kind; at least its name and age."""
    ours = crd.COLUMNS.get(kind.kind) if kind in crd.KINDS else None
    if ours is not None:
        return [_NAME, *(_printed(column) for column in ours)]
    return [_NAME, *_BUILT_IN.get(kind, ()), *([] if kind == kinds.EVENT else [_AGE])]


def age(text: Any, now: datetime.datetime) -> str:
    """The time since then as people read it, such as ``5m12s`` or ``3d``: Kubernetes' HumanDuration."""
    if not isinstance(text, str):
        return "<unknown>"
    try:
        then = clock.parse_rfc3339(text)
    except ValueError:
        return "<invalid>"
    return duration(int((now - then).total_seconds()))


def duration(seconds: int) -> str:
    """A number of seconds in at most two units."""
    if seconds < -1:
        return "<invalid>"
    seconds = max(0, seconds)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(high: int, unit: str, low: int, lower: str) -> str:
    return f"{high}{unit}{low}{lower}" if low else f"{high}{unit}"


def _row(columns: Sequence[Column], obj: meta.Object, now: datetime.datetime, include: str) -> meta.Json:
    document = meta.dump(obj)
    row: meta.Json = {"cells": [_safely(column, document, now) for column in columns]}
    if include == "Object":
        row["object"] = document
    elif include == "Metadata":
        row["object"] = partial(obj)
    return row


def _safely(column: Column, document: meta.Json, now: datetime.datetime) -> Any:
    """A cell. Built-in kinds are stored as they come, so a field may be anything: that must not cost others their table."""
    try:
        return column.cell(document, now)
    except (AttributeError, TypeError, ValueError):
        return "<invalid>"


def _printed(column: meta.Json) -> Column:
    """A column of a CustomResourceDefinition: a simple JSON path, a date as an age."""
    path, date = column["jsonPath"], column["type"] == "date"

    def cell(document: meta.Json, now: datetime.datetime) -> Any:
        found = _find(document, path)
        return age(found, now) if date else found

    return Column(column["name"], cell, column["type"])


def _find(document: Any, path: str) -> Any:
    node = document
    for field, index, _ in _STEP.findall(path):
        if field:
            node = node.get(field) if isinstance(node, dict) else None
        else:
            place = int(index)
            node = node[place] if isinstance(node, list) and -len(node) <= place < len(node) else None
    return node


def _at(*steps: str, default: Any = NONE) -> Cell:
    def cell(document: meta.Json, _: datetime.datetime) -> Any:
        node: Any = document
        for step in steps:
            node = node.get(step) if isinstance(node, dict) else None
        return default if node is None or node == "" else node

    return cell


def _count(field: str) -> Cell:
    return lambda document, _: len(document.get(field) or {})


def _containers(document: meta.Json) -> list[meta.Json]:
    found = (document.get("status") or {}).get("containerStatuses")
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _pod_ready(document: meta.Json, _: datetime.datetime) -> str:
    ready = sum(bool(item.get("ready")) for item in _containers(document))
    return f"{ready}/{len((document.get('spec') or {}).get('containers') or ())}"


def _pod_status(document: meta.Json, _: datetime.datetime) -> str:
    status = document.get("status") or {}
    shown = status.get("reason") or status.get("phase") or "Pending"
    for item in reversed(_containers(document)):
        state = item.get("state") or {}
        for name in ("waiting", "terminated"):
            reason = (state.get(name) or {}).get("reason")
            shown = reason or shown
    return "Terminating" if (document.get("metadata") or {}).get("deletionTimestamp") else shown


def _pod_restarts(document: meta.Json, _: datetime.datetime) -> str:
    return str(sum(int(item.get("restartCount") or 0) for item in _containers(document)))


def _job_status(document: meta.Json, _: datetime.datetime) -> str:
    for wanted, shown in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if _condition(document, wanted):
            return shown
    return "Terminating" if (document.get("metadata") or {}).get("deletionTimestamp") else "Running"


def _job_completions(document: meta.Json, _: datetime.datetime) -> str:
    spec, status = document.get("spec") or {}, document.get("status") or {}
    wanted = spec.get("completions")
    return f"{status.get('succeeded') or 0}/{1 if wanted is None else wanted}"


def _job_duration(document: meta.Json, now: datetime.datetime) -> str:
    status = document.get("status") or {}
    start, end = status.get("startTime"), status.get("completionTime")
    if not start:
        return ""
    return age(start, clock.parse_rfc3339(end) if isinstance(end, str) else now)


def _condition(document: meta.Json, kind: str) -> bool:
    conditions = (document.get("status") or {}).get("conditions")
    return any(
        isinstance(item, dict) and item.get("type") == kind and item.get("status") == "True"
        for item in (conditions if isinstance(conditions, list) else ())
    )


def _last_condition(document: meta.Json, _: datetime.datetime) -> str:
    conditions = (document.get("status") or {}).get("conditions")
    true = [
        str(item.get("type", ""))
        for item in (conditions if isinstance(conditions, list) else ())
        if isinstance(item, dict) and item.get("status") == "True"
    ]
    return true[-1] if true else ""


def _deployment_ready(document: meta.Json, _: datetime.datetime) -> str:
    wanted = (document.get("spec") or {}).get("replicas")
    return f"{(document.get('status') or {}).get('readyReplicas') or 0}/{1 if wanted is None else wanted}"


def _ports(document: meta.Json, _: datetime.datetime) -> str:
    ports = (document.get("spec") or {}).get("ports")
    shown = [
        f"{item.get('port')}/{item.get('protocol') or 'TCP'}"
        for item in (ports if isinstance(ports, list) else ())
        if isinstance(item, dict)
    ]
    return ",".join(shown) or NONE


def _event_seen(document: meta.Json, now: datetime.datetime) -> str:
    found = document.get("lastTimestamp") or document.get("eventTime") or document.get("firstTimestamp")
    return age(found or (document.get("metadata") or {}).get("creationTimestamp"), now)


def _event_subject(document: meta.Json, _: datetime.datetime) -> str:
    subject = document.get("involvedObject") or {}
    return f"{str(subject.get('kind', '')).lower()}/{subject.get('name', '')}"


def _first_image(document: meta.Json, _: datetime.datetime) -> str:
    spec = document.get("spec") or {}
    template = (spec.get("template") or {}).get("spec") or spec
    containers = template.get("containers")
    found = [str(item.get("image", "")) for item in (containers or ()) if isinstance(item, dict)]
    return ",".join(found)


_NAME = Column("Name", _at("metadata", "name"))
_AGE = Column("Age", lambda document, now: age((document.get("metadata") or {}).get("creationTimestamp"), now))
_STATE = (Column("State", _last_condition),)
_BUILT_IN: dict[kinds.Kind, Sequence[Column]] = {
    kinds.POD: (
        Column("Ready", _pod_ready),
        Column("Status", _pod_status),
        Column("Restarts", _pod_restarts),
        Column("IP", _at("status", "podIP"), priority=1),
        Column("Images", _first_image, priority=1),
    ),
    kinds.JOB: (
        Column("Status", _job_status),
        Column("Completions", _job_completions),
        Column("Duration", _job_duration),
        Column("Images", _first_image, priority=1),
    ),
    kinds.NAMESPACE: (Column("Status", _at("status", "phase")),),
    kinds.CONFIG_MAP: (Column("Data", _count("data"), "integer"),),
    kinds.SECRET: (Column("Type", _at("type", default="Opaque")), Column("Data", _count("data"), "integer")),
    kinds.SERVICE: (
        Column("Type", _at("spec", "type", default="ClusterIP")),
        Column("Cluster-IP", _at("spec", "clusterIP")),
        Column("Port(s)", _ports),
    ),
    kinds.EVENT: (
        Column("Last Seen", _event_seen),
        Column("Type", _at("type", default="")),
        Column("Reason", _at("reason", default="")),
        Column("Object", _event_subject),
        Column("Message", _at("message", default="")),
    ),
    kinds.DEPLOYMENT: (
        Column("Ready", _deployment_ready),
        Column("Up-to-date", _at("status", "updatedReplicas", default=0), "integer"),
        Column("Available", _at("status", "availableReplicas", default=0), "integer"),
        Column("Images", _first_image, priority=1),
    ),
    kinds.CLAIM: (Column("Status", _at("status", "phase", default="")),),
    kinds.TF_JOB: _STATE,
    kinds.PYTORCH_JOB: _STATE,
    kinds.XGBOOST_JOB: _STATE,
    kinds.MPI_JOB: _STATE,
    kinds.TRAIN_JOB: _STATE,
    kinds.FUNCTION_JOB: _STATE,
}
