"""What the commands that only look print, but for ``get``, which is :mod:`kuttab.cli.getting`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from kuttab.api import experiment, kinds, meta, suggestion, trial
from kuttab.base import errors
from kuttab.cli import common, render, report
from kuttab.rules import explaining
from kuttab.wiring import reading
from kuttab.wiring import settings as settings_


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
