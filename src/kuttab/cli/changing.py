"""What the commands that change an experiment do: edit its spec, and say what will act on it."""

from __future__ import annotations

from typing import Any

import typer

from kuttab.api import experiment, kinds, meta
from kuttab.base import errors
from kuttab.cli import common
from kuttab.rules import completion
from kuttab.wiring import reading
from kuttab.wiring import settings as settings_

TRIES = 5


def stop(settings: settings_.Settings, name: str, namespace: str | None) -> None:
    """End an experiment now."""
    common.run_async(_edit(settings, name, namespace, {"stop": True}, "will end now; its running trials are ended"))


def pause(settings: settings_.Settings, name: str, namespace: str | None) -> None:
    """Start no new trials."""
    common.run_async(
        _edit(
            settings, name, namespace, {"suspend": True}, "is paused; its running trials go on. kuttab resume goes on"
        )
    )


def extend(
    settings: settings_.Settings, name: str, namespace: str | None, counts: tuple[int | None, int | None, int | None]
) -> None:
    """Change the budget."""
    fields = ("max_trial_count", "parallel_trial_count", "max_failed_trial_count")
    changes = {field: count for field, count in zip(fields, counts, strict=True) if count is not None}
    if not changes:
        raise errors.BadInputError("nothing to change: give --max-trials, --parallel or --max-failed")
    common.run_async(_edit(settings, name, namespace, changes, "has its new budget"))


def delete(settings: settings_.Settings, name: str, namespace: str | None, yes: bool) -> None:
    """Delete an experiment and what belongs to it."""
    if not yes and not typer.confirm(f"Delete experiment {name} with its trials, metrics and logs?"):
        raise typer.Abort
    common.run_async(_delete(settings, name, namespace))


async def _edit(
    settings: settings_.Settings, name: str, namespace: str | None, changes: dict[str, Any], said: str
) -> None:
    async with reading.reach(settings) as found:
        for attempt in range(TRIES):
            subject = await reading.experiment_of(found.objects, name, namespace)
            _check_open(subject, changes)
            edited = meta.evolve(subject, spec=meta.evolve(subject.spec, **changes))
            try:
                await found.objects.update(edited)
                break
            except errors.ConflictError:
                if attempt == TRIES - 1:
                    raise
        typer.echo(f"experiment {name} {said}")
        if not found.alive:
            typer.echo(f"Nothing runs on {settings.data} now; to act on it: kuttab resume {name}")


def _check_open(subject: experiment.Experiment, changes: dict[str, Any]) -> None:
    if completion.completed(subject) and ("stop" in changes or "suspend" in changes):
        raise errors.BadInputError(f"experiment {subject.name} has ended already; see: kuttab describe {subject.name}")


async def _delete(settings: settings_.Settings, name: str, namespace: str | None) -> None:
    async with reading.reach(settings) as found:
        subject = await reading.experiment_of(found.objects, name, namespace)
        await found.objects.delete(kinds.EXPERIMENT, subject.namespace, subject.name, uid=subject.uid)
        alive = found.alive
    if not alive:
        from kuttab.wiring import machine

        await machine.drain(settings, subject)
    typer.echo(f"experiment {name} deleted")
