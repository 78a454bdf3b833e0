"""Run or resume an experiment in the foreground: start the machine, follow, report."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from kuttab.api import conditions, experiment, keys, kinds, meta
from kuttab.base import errors
from kuttab.cli import common, progress, report
from kuttab.rules import completion
from kuttab.wiring import following, machine, manifests, reading
from kuttab.wiring import settings as settings_

OK, FAILED, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True, slots=True)
class Look:
    """How much is printed."""

    json: bool = False
    quiet: bool = False


class _Interrupted(Exception):
    """Ctrl-C, once."""


def run_file(file: Path, settings: settings_.Settings, overrides: Sequence[str], *, look: Look) -> int:
    """Run the experiment of a manifest; returns the exit code."""
    stream = sys.stdin.buffer if str(file) == "-" else None
    manifest = manifests.read(file, stream)
    folder = Path.cwd() if stream is not None else file.absolute().parent
    checked = manifests.check(manifest, settings, overrides, folder)
    if len(checked.experiments) != 1:
        raise errors.BadInputError(
            f"{manifest.origin}: holds {len(checked.experiments)} Experiments; kuttab run takes one"
        )
    for warning in checked.warnings:
        typer.echo(f"{manifest.origin}: warning: {warning}", err=True)
    return int(common.run_async(_run(checked.experiments[0], checked.others, settings, look)))


def resume(name: str, namespace: str | None, settings: settings_.Settings, *, look: Look) -> int:
    """Go on with an experiment; returns the exit code."""
    return int(common.run_async(_resume(name, namespace, settings, look)))


async def _run(
    subject: experiment.Experiment, others: Sequence[meta.Object], settings: settings_.Settings, look: Look
) -> int:
    async with machine.running(settings) as world:
        try:
            async with _interruptible():  # trials may run before the write of the experiment is on disk
                for other in others:
                    await _ensure(world, other)
                stored = await _submit(world, subject)
        except _Interrupted:
            return await _left_early(world, subject)
        return await _follow(world, stored, look)


async def _resume(name: str, namespace: str | None, settings: settings_.Settings, look: Look) -> int:
    async with reading.reach(settings) as found:
        subject = await reading.experiment_of(found.objects, name, namespace)
        if completion.completed(subject) and not completion.restartable(subject):
            raise errors.BadInputError(f"experiment {name} has ended; see: kuttab describe {name}")
        if subject.spec.suspend:
            edited = meta.evolve(subject, spec=meta.evolve(subject.spec, suspend=None))
            subject = await found.objects.update(edited)
        if found.alive:
            typer.echo(f"experiment {name} goes on in the process that runs {settings.data}")
            return OK
    async with machine.running(settings) as world:
        return await _follow(world, subject, look)


async def _ensure(world: machine.Machine, other: meta.Object) -> None:
    """Create what an experiment comes with; what is there already stays as it is."""
    try:
        await world.objects.create(other)
    except errors.AlreadyExistsError:
        typer.echo(f"{other.kind} {other.name} is there already and stays as it is", err=True)


async def _submit(world: machine.Machine, subject: experiment.Experiment) -> experiment.Experiment:
    """Create the experiment, or find the same one from an earlier run."""
    await _ensure_namespace(world, subject.namespace)
    try:
        stored = await world.objects.create(subject)
        await world.objects.settle()
    except errors.AlreadyExistsError:
        found = await world.objects.get(kinds.EXPERIMENT, subject.namespace, subject.name)
        assert isinstance(found, experiment.Experiment)
        _check_same(found, subject)
        stored = found
        if found.spec.suspend:
            stored = await world.objects.update(meta.evolve(found, spec=meta.evolve(found.spec, suspend=None)))
    assert isinstance(stored, experiment.Experiment)
    return stored


def _check_same(found: experiment.Experiment, wanted: experiment.Experiment) -> None:
    budgets = {
        "parallel_trial_count": None,
        "max_trial_count": None,
        "max_failed_trial_count": None,
        "suspend": None,
        "stop": None,
    }
    if meta.dump(meta.evolve(found.spec, **budgets)) != meta.dump(meta.evolve(wanted.spec, **budgets)):
        raise errors.BadInputError(
            f"an experiment named {wanted.name} is there already and is another one; "
            f"choose a name with --name, or remove the old one: kuttab delete {wanted.name}"
        )
    counts = ("max_trial_count", "parallel_trial_count", "max_failed_trial_count")
    changed = [name for name in counts if getattr(found.spec, name) != getattr(wanted.spec, name)]
    if changed:
        raise errors.BadInputError(
            f"experiment {wanted.name} is there already with another budget; change it with: kuttab extend {wanted.name}"
        )


async def _ensure_namespace(world: machine.Machine, namespace: str) -> None:
    try:
        await world.objects.get(kinds.NAMESPACE, "", namespace)
    except errors.NotFoundError:
        labels = {keys.LABEL_INJECTION: "enabled"}
        fresh = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
        await world.objects.create(kinds.load(fresh))


async def _follow(world: machine.Machine, subject: experiment.Experiment, look: Look) -> int:
    """Show progress until the end; then the result."""
    show = progress.make(subject, world.settings, quiet=look.quiet or look.json)
    try:
        with show:
            async with _interruptible():
                async for step in following.follow(world, subject):
                    show.update(step)
                    subject = step.experiment
    except _Interrupted:
        return _left(world, subject, "\nInterrupted")
    except BrokenPipeError:  # `| head`: whoever read this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _left(world, subject, "The reader of the output went away")
    trials = await reading.trials_of(world.objects, subject)
    if look.json:
        typer.echo(report.as_json(subject, trials))
    else:
        typer.echo(report.as_text(subject, trials, world.settings, brief=look.quiet))
    return FAILED if conditions.is_true(subject.status.conditions, keys.FAILED) else OK


async def _left_early(world: machine.Machine, subject: experiment.Experiment) -> int:
    """Say what is kept of a run that was left while it was being stored."""
    try:
        await world.objects.get(kinds.EXPERIMENT, subject.namespace, subject.name)
    except errors.NotFoundError:
        typer.echo("\nInterrupted before the experiment was stored: nothing has been started", err=True)
        return INTERRUPTED
    return _left(world, subject, "\nInterrupted")


def _left(world: machine.Machine, subject: experiment.Experiment, why: str) -> int:
    """Say that a run was left before its end, and how it goes on."""
    again = f"kuttab resume {subject.name}" + _data_option(world.settings)
    with contextlib.suppress(OSError):  # a closed terminal reads nothing any more
        typer.echo(f"{why}; everything so far is kept. Go on with: {again}", err=True)
    return INTERRUPTED


@contextlib.asynccontextmanager
async def _interruptible() -> AsyncIterator[None]:
    """The first Ctrl-C, SIGTERM or closing of the terminal leaves the body in order; the second one ends the process at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    hits: list[int] = []

    def hit(number: int) -> None:
        if hits:
            machine.abandon()
            os._exit(INTERRUPTED)
        hits.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, hit, number)
    try:
        yield
    except asyncio.CancelledError:
        if not hits:
            raise
        task.uncancel()
        raise _Interrupted from None


def _data_option(settings: settings_.Settings) -> str:
    return "" if settings.data == settings_.data_folder() else f" --data {settings.data}"
