"""What the commands that only look print."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from kuttab.admission import report as report_
from kuttab.api import experiment, kinds, meta, suggestion, trial
from kuttab.base import errors
from kuttab.cli import common, render, report
from kuttab.rules import explaining
from kuttab.wiring import reading
from kuttab.wiring import settings as settings_

FORMATS = ("table", "wide", "json", "yaml", "csv", "name")


def get(
    settings: settings_.Settings, kind: str, name: str | None, namespace: str | None, output: str, limit: int
) -> None:
    """List objects or show one."""
    if output not in FORMATS:
        raise errors.BadInputError(f"--output {output}: must be one of {', '.join(FORMATS)}")
    common.run_async(_get(settings, _kind(kind), name, namespace, output, limit))


def _kind(text: str) -> kinds.Kind:
    wanted = text.lower()
    for kind in kinds.ALL:
        if wanted in (kind.plural, kind.singular, *kind.short_names):
            return kind
    known = sorted(kind.plural for kind in kinds.ALL)
    raise errors.BadInputError(
        f"unknown kind {text!r}" + (report_.nearest(wanted, known) or f"; known: {', '.join(known)}")
    )


async def _get(
    settings: settings_.Settings, kind: kinds.Kind, name: str | None, namespace: str | None, output: str, limit: int
) -> None:
    async with reading.reach(settings) as found:
        items: list[meta.Object]
        one = False
        if kind is kinds.TRIAL and name is not None:
            page = await found.objects.list(kinds.EXPERIMENT, namespace, fields=f"metadata.name={name}")
            if page.items:
                items = list(await reading.trials_of(found.objects, page.items[0], limit))
            else:
                items, one = [await reading.find(found.objects, kind, name, namespace)], True
        elif name is not None:
            items, one = [await reading.find(found.objects, kind, name, namespace)], True
        else:
            items = list((await found.objects.list(kind, namespace, limit=limit)).items)
    _print(kind, items, output, one)


def _print(kind: kinds.Kind, items: list[meta.Object], output: str, one: bool) -> None:
    if output in ("json", "yaml"):
        document: Any = meta.dump(items[0]) if one else {
            "apiVersion": "v1", "kind": "List", "items": [meta.dump(item) for item in items],
        }  # fmt: skip
        typer.echo(render.as_json(document) if output == "json" else render.as_yaml(document))
        return
    if output == "name":
        typer.echo("\n".join(f"{kind.singular}/{item.name}" for item in items))
        return
    header, rows = _rows(kind, items, full=output in ("wide", "csv"))
    if not items and output != "csv":
        typer.echo(f"No {kind.plural}.")
        return
    typer.echo(render.as_csv(header, rows) if output == "csv" else render.table(header, rows))


def _rows(kind: kinds.Kind, items: Iterable[meta.Object], full: bool) -> tuple[list[str], list[list[object]]]:
    if kind is kinds.EXPERIMENT:
        return _experiment_rows([item for item in items if isinstance(item, experiment.Experiment)])
    if kind is kinds.TRIAL:
        return _trial_rows([item for item in items if isinstance(item, trial.Trial)], full)
    if kind is kinds.SUGGESTION:
        rows: list[list[object]] = [
            [item.name, render.state(item), item.spec.requests, item.status.suggestion_count, _age(item)]
            for item in items
            if isinstance(item, suggestion.Suggestion)
        ]
        return ["NAME", "STATUS", "REQUESTED", "ASSIGNED", "AGE"], rows
    return ["NAME", "NAMESPACE", "STATUS", "AGE"], [
        [item.name, item.namespace, render.state(item), _age(item)] for item in items
    ]


def _experiment_rows(items: list[experiment.Experiment]) -> tuple[list[str], list[list[object]]]:
    rows: list[list[object]] = []
    for item in items:
        status = item.status
        done = status.trials - status.trials_pending - status.trials_running
        limit = item.spec.max_trial_count
        best = best_value(item)
        rows.append(
            [item.name, render.state(item), f"{done}/{limit if limit is not None else '-'}", best or "-", _age(item)]
        )
    return ["NAME", "STATUS", "TRIALS", "BEST", "AGE"], rows


def best_value(item: experiment.Experiment) -> str:
    """``loss=0.1``: the best value so far, empty when there is none."""
    objective, optimal = item.spec.objective, item.status.current_optimal_trial
    if objective is None or optimal is None or not optimal.best_trial_name:
        return ""
    name = objective.objective_metric_name
    found = next((metric for metric in optimal.observation.metrics or () if metric.name == name), None)
    value = render.metric(found, objective.strategy(name))
    return f"{name}={render.number(value)}" if value else ""


def _trial_rows(items: list[trial.Trial], full: bool) -> tuple[list[str], list[list[object]]]:
    parameters: dict[str, None] = {}
    metrics: dict[str, None] = {}
    for item in items:
        parameters.update((assignment.name, None) for assignment in item.spec.parameter_assignments or ())
        if item.spec.objective is not None:
            names = item.spec.objective.metric_names if full else [item.spec.objective.objective_metric_name]
            metrics.update((name, None) for name in names)
    rows: list[list[object]] = []
    for item in items:
        given = {a.name: a.value for a in item.spec.parameter_assignments or ()}
        seen = {m.name: m for m in (item.status.observation.metrics or ())} if item.status.observation else {}
        objective = item.spec.objective or experiment.ObjectiveSpec()
        measured = [render.metric(seen.get(name), objective.strategy(name)) for name in metrics]
        row: list[object] = [item.name, render.state(item)]
        if full:
            row += [*measured, *(given.get(name, "") for name in parameters)]
        else:
            row += [*map(render.number, measured), *(render.number(given.get(name, "")) for name in parameters)]
        row.append(render.age(item.status.start_time, item.status.completion_time))
        rows.append(row)
    return ["NAME", "STATUS", *metrics, *parameters, "TIME"], rows


def _age(item: meta.Object) -> str:
    return render.age(item.metadata.creation_timestamp)


def describe(settings: settings_.Settings, name: str, namespace: str | None) -> None:
    """Everything about an experiment or trial."""
    common.run_async(_describe(settings, name, namespace))


async def _describe(settings: settings_.Settings, name: str, namespace: str | None) -> None:
    async with reading.reach(settings) as found:
        subject = await _either(found.objects, name, namespace)
        lines = explaining.facts(subject)
        events = await found.objects.list(kinds.EVENT, subject.namespace, fields=f"involvedObject.uid={subject.uid}")
    for label, text in lines:
        typer.echo(f"{label + ':':<18}{render.clean(text)}")
    typer.echo("Conditions:")
    typer.echo(_indented([[c.type, c.status, c.reason, c.message] for c in subject.status.conditions or ()]))
    if events.items:
        typer.echo("Events:")
        found_events = [item.model_extra or {} for item in sorted(events.items, key=_event_order)]
        typer.echo(
            _indented(
                [[render.age(e.get("lastTimestamp")), e.get("reason", ""), e.get("message", "")] for e in found_events]
            )
        )
    if isinstance(subject, trial.Trial):
        typer.echo(f"Log:              {settings.trials / subject.namespace / subject.name}")


def _event_order(item: meta.Object) -> tuple[str, int]:
    version = item.metadata.resource_version or ""
    return str((item.model_extra or {}).get("lastTimestamp")), int(version) if version.isdecimal() else 0


def _indented(rows: list[list[str]]) -> str:
    return "\n".join("  " + line for line in render.table(rows[0], rows[1:]).splitlines()) if rows else "  none"


async def _either(objects: Any, name: str, namespace: str | None) -> experiment.Experiment | trial.Trial:
    for kind in (kinds.EXPERIMENT, kinds.TRIAL):
        page = await objects.list(kind, namespace, fields=f"metadata.name={name}")
        for item in page.items:
            if isinstance(item, experiment.Experiment | trial.Trial):
                return item
    raise errors.NotFoundError(f"no experiment or trial named {name}; see: kuttab get experiments")


def best(settings: settings_.Settings, name: str, namespace: str | None, output: str) -> None:
    """The best trial."""
    common.run_async(_best(settings, name, namespace, output))


async def _best(settings: settings_.Settings, name: str, namespace: str | None, output: str) -> None:
    async with reading.reach(settings) as found:
        subject = await reading.experiment_of(found.objects, name, namespace)
    optimal = subject.status.current_optimal_trial
    if optimal is None or not optimal.best_trial_name:
        raise errors.BadInputError(f"experiment {name} has no best trial yet; see: kuttab explain {name}")
    given = {item.name: item.value for item in optimal.parameter_assignments or ()}
    if output == "args":
        typer.echo("\n".join(f"--{item}={value}" for item, value in given.items()))
        return
    parameters = report.typed(subject, given)
    metrics = {m.name: {"min": m.min, "max": m.max, "latest": m.latest} for m in optimal.observation.metrics or ()}
    document = {"trial": optimal.best_trial_name, "parameters": parameters, "metrics": metrics}
    if output not in ("yaml", "json"):
        raise errors.BadInputError(f"--output {output}: must be yaml, json or args")
    typer.echo(render.as_yaml(document) if output == "yaml" else render.as_json(document))


def explain(settings: settings_.Settings, name: str, namespace: str | None) -> None:
    """Why something waits or failed."""
    common.run_async(_explain(settings, name, namespace))


async def _explain(settings: settings_.Settings, name: str, namespace: str | None) -> None:
    async with reading.reach(settings) as found:
        subject = await _either(found.objects, name, namespace)
        if isinstance(subject, trial.Trial):
            lines = explaining.trial_story(subject)
        else:
            page = await found.objects.list(kinds.SUGGESTION, subject.namespace, fields=f"metadata.name={subject.name}")
            current = page.items[0] if page.items else None
            assert current is None or isinstance(current, suggestion.Suggestion)
            trials = await reading.trials_of(found.objects, subject)
            lines = explaining.experiment_story(subject, current, trials, acting=found.alive)
    for line in lines:
        typer.echo(render.clean(line))


def logs(settings: settings_.Settings, name: str, follow: bool, tail: int) -> None:
    """A trial's output."""
    from kuttab.cli import tailing

    common.run_async(tailing.show(settings, name, follow=follow, tail=tail))


def validate(files: list[Path], settings: settings_.Settings) -> int:
    """Check manifests; 2 when there is any problem."""
    from kuttab.wiring import manifests

    bad = False
    for file in files:
        origin = "standard input" if str(file) == "-" else str(file)
        try:
            found = manifests.read(file, sys.stdin.buffer if str(file) == "-" else None)
            checked = manifests.check(found, settings)
        except errors.InvalidError as problem:
            bad = True
            for item in problem.problems:
                where = f":{item.line}:{item.column}" if item.line else ""
                typer.echo(f"{origin}{where}: {item}", err=True)
            continue
        except errors.BadInputError as problem:
            bad = True
            typer.echo(f"{problem.message}", err=True)
            continue
        for warning in checked.warnings:
            typer.echo(f"{origin}: warning: {warning}", err=True)
        typer.echo(f"{origin}: {', '.join(checked.names)} valid")
    return 2 if bad else 0
