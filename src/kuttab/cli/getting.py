"""What ``kuttab get`` prints: objects as they are stored, as documents or as one line each.

It works on JSON documents and builds no objects, so that the first page of a large experiment is there at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from kuttab.admission import report
from kuttab.api import keys, kinds
from kuttab.base import errors
from kuttab.cli import render
from kuttab.client import lookup
from kuttab.wiring import glancing
from kuttab.wiring import settings as settings_

FORMATS = ("table", "wide", "json", "yaml", "csv", "name")

Json = dict[str, Any]
Table = tuple[list[str], list[list[object]]]


def get(
    settings: settings_.Settings, kind: str, name: str | None, namespace: str | None, output: str, limit: int
) -> None:
    """List objects or show one."""
    if output not in FORMATS:
        raise errors.BadInputError(f"--output {output}: must be one of {', '.join(FORMATS)}")
    wanted = _kind(kind)
    with glancing.reach(settings) as found:
        items = None
        if name is None:
            items = found.documents(wanted, namespace, limit=limit)
        elif wanted is kinds.TRIAL:
            items = _trials_of(found, name, namespace, limit)
        one = items is None
        if items is None:
            assert name is not None
            items = [_one(found, wanted, name, namespace)]
    typer.echo(_text(wanted, items, output, one))


def _kind(text: str) -> kinds.Kind:
    wanted = text.lower()
    for kind in kinds.ALL:
        if wanted in (kind.plural, kind.singular, *kind.short_names):
            return kind
    known = sorted(kind.plural for kind in kinds.ALL)
    raise errors.BadInputError(
        f"unknown kind {text!r}" + (report.nearest(wanted, known) or f"; known: {', '.join(known)}")
    )


def _one(found: glancing.Documents, kind: kinds.Kind, name: str, namespace: str | None) -> Json:
    items = found.documents(kind, namespace, name=name)
    where = "" if namespace is None else f" in the namespace {namespace}"
    places = [str(_metadata(item).get("namespace", "")) for item in items]
    lookup.check(kind, name, places, missing=f"{where}; see: kuttab get {kind.plural}", several="give --namespace")
    return items[0]


def _trials_of(found: glancing.Documents, name: str, namespace: str | None, limit: int) -> list[Json] | None:
    """The trials of an experiment by slot, None when no experiment has that name."""
    owners = found.documents(kinds.EXPERIMENT, namespace, name=name, limit=1)
    if not owners:
        return None
    home = _metadata(owners[0])["namespace"]
    return sorted(found.documents(kinds.TRIAL, home, labels={keys.LABEL_EXPERIMENT: name}, limit=limit), key=_slot)


def _slot(item: Json) -> tuple[int, str]:
    metadata = _metadata(item)
    text = (metadata.get("annotations") or {}).get(keys.ANNOTATION_SLOT, "")
    return (int(text) if text.isdecimal() else 1 << 30, metadata["name"])


def _text(kind: kinds.Kind, items: list[Json], output: str, one: bool) -> str:
    if output in ("json", "yaml"):
        document = items[0] if one else {"apiVersion": "v1", "kind": "List", "items": items}
        return render.as_json(document) if output == "json" else render.as_yaml(document)
    if output == "name":
        return "\n".join(f"{kind.singular}/{_metadata(item)['name']}" for item in items)
    header, rows = _table(kind, items, full=output in ("wide", "csv"))
    if output == "csv":
        return render.as_csv(header, rows)
    return render.table(header, rows) if items else f"No {kind.plural}."


def _table(kind: kinds.Kind, items: list[Json], full: bool) -> Table:
    if kind is kinds.EXPERIMENT:
        return ["NAME", "STATUS", "TRIALS", "BEST", "AGE"], [_experiment_row(item) for item in items]
    if kind is kinds.TRIAL:
        return _trials(items, full)
    if kind is kinds.SUGGESTION:
        return ["NAME", "STATUS", "REQUESTED", "ASSIGNED", "AGE"], [
            [_metadata(item)["name"], _state(item), _spec(item).get("requests", 0), _status(item).get("suggestionCount", 0), _age(item)]
            for item in items
        ]  # fmt: skip
    return ["NAME", "NAMESPACE", "STATUS", "AGE"], [
        [_metadata(item)["name"], _metadata(item).get("namespace", ""), _phase(_status(item)), _age(item)]
        for item in items
    ]


def _experiment_row(item: Json) -> list[object]:
    status = _status(item)
    done = status.get("trials", 0) - status.get("trialsPending", 0) - status.get("trialsRunning", 0)
    limit = _spec(item).get("maxTrialCount")
    return [
        _metadata(item)["name"], _state(item), f"{done}/{'-' if limit is None else limit}", _best(item) or "-", _age(item)
    ]  # fmt: skip


def _best(item: Json) -> str:
    """``loss=0.1``: the best value so far, empty when there is none."""
    objective = _spec(item).get("objective") or {}
    optimal = _status(item).get("currentOptimalTrial") or {}
    if not objective or not optimal.get("bestTrialName"):
        return ""
    name = objective.get("objectiveMetricName", "")
    value = _value(_metrics(optimal).get(name), _strategy(objective, name))
    return f"{name}={render.number(value)}" if value else ""


def _trials(items: list[Json], full: bool) -> Table:
    """Trials with all metrics and whole numbers, or with the objective alone and short ones."""
    parameters: dict[str, None] = {}
    metrics: dict[str, None] = {}
    for item in items:
        parameters.update((one["name"], None) for one in _spec(item).get("parameterAssignments") or ())
        objective = _spec(item).get("objective") or {}
        if objective:
            more = objective.get("additionalMetricNames") or () if full else ()
            metrics.update((name, None) for name in (objective.get("objectiveMetricName", ""), *more))
    rows: list[list[object]] = []
    for item in items:
        given = {one["name"]: one["value"] for one in _spec(item).get("parameterAssignments") or ()}
        objective, seen = _spec(item).get("objective") or {}, _metrics(_status(item))
        values = [_value(seen.get(name), _strategy(objective, name)) for name in metrics]
        values += [given.get(name, "") for name in parameters]
        status = _status(item)
        rows.append(
            [_metadata(item)["name"], _state(item), *(values if full else map(render.number, values)),
             render.age(status.get("startTime"), status.get("completionTime"))]
        )  # fmt: skip
    return ["NAME", "STATUS", *metrics, *parameters, "TIME"], rows


def _metrics(holder: Mapping[str, Any]) -> dict[str, Json]:
    """The metrics of an observation, by name."""
    return {one["name"]: one for one in (holder.get("observation") or {}).get("metrics") or ()}


def _strategy(objective: Json, metric: str) -> str:
    """As :meth:`kuttab.api.experiment.ObjectiveSpec.strategy` says it."""
    given = next((one.get("value") for one in objective.get("metricStrategies") or () if one.get("name") == metric), "")
    return given or {"minimize": "min", "maximize": "max"}.get(objective.get("type", ""), "latest")


def _value(metric: Json | None, strategy: str) -> str:
    """The value of a metric by its strategy, falling back to the latest."""
    if metric is None:
        return ""
    latest = str(metric.get("latest", ""))
    value = str(metric.get(strategy) or latest)
    return latest if value == "unavailable" else value


def _state(item: Json) -> str:
    """What the last condition says, as kubectl's columns show it; False reads as ``Not...``."""
    conditions = _status(item).get("conditions") or ()
    if not conditions:
        return "New"
    last = conditions[-1]
    return str(last["type"]) if last["status"] == "True" else f"Not{last['type']}"


def _phase(status: Json) -> str:
    """The state of an object of Kubernetes' own kinds, empty when it has none."""
    if status.get("phase"):
        return str(status["phase"])
    true = [one for one in status.get("conditions") or () if one.get("status") == "True"]
    return str(true[-1].get("type", "")) if true else "Active" if status.get("active") else ""


def _age(item: Json) -> str:
    return render.age(_metadata(item).get("creationTimestamp"))


def _metadata(item: Json) -> Json:
    found: Json = item.get("metadata") or {}
    return found


def _spec(item: Json) -> Json:
    return _section(item, "spec")


def _status(item: Json) -> Json:
    return _section(item, "status")


def _section(item: Json, name: str) -> Json:
    """Part of an object; empty for what is no map, as anything may be stored under Kubernetes' own kinds."""
    found = item.get(name)
    return found if isinstance(found, dict) else {}
