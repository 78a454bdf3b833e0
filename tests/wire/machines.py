"""Running experiments on the whole machine inside the test's own process: real files, processes and ports, without the command."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from kuttab.admission import yaml
from kuttab.api import conditions, experiment, kinds, meta, suggestion, trial
from kuttab.wiring import following, machine, manifests, reading
from kuttab.wiring import settings as settings_

SECONDS = 90.0


def settings(data: Path, config: Path | None = None, **more: Any) -> settings_.Settings:
    """Settings over a data folder, with a configuration file."""
    return settings_.configured(settings_.Settings(data=data, **more), config)


async def submit(world: machine.Machine, document: Any) -> experiment.Experiment:
    """Admit and create an experiment, as ``kuttab run`` does."""
    manifest = manifests.Manifest("test", [yaml.Document(document, "test")])
    (subject,) = manifests.check(manifest, world.settings).experiments
    with contextlib.suppress(Exception):
        fresh = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": subject.namespace}}
        await world.objects.create(kinds.load(fresh))
    stored = await world.objects.create(subject)
    assert isinstance(stored, experiment.Experiment)
    return stored


async def finish(world: machine.Machine, subject: experiment.Experiment) -> experiment.Experiment:
    """Follow an experiment to its end."""
    async with asyncio.timeout(SECONDS):
        async for step in following.follow(world, subject):
            subject = step.experiment
    return subject


async def run(where: settings_.Settings, document: Any) -> tuple[experiment.Experiment, Sequence[trial.Trial]]:
    """Run one experiment to its end on a fresh machine; it and its trials by slot."""
    async with machine.running(where) as world:
        ended = await finish(world, await submit(world, document))
        return ended, await reading.trials_of(world.objects, ended)


async def suggestions(world: machine.Machine) -> AsyncIterator[suggestion.Suggestion]:
    """Every state of every suggestion from now on."""
    news: asyncio.Queue[suggestion.Suggestion] = asyncio.Queue()

    def heard(_: meta.Object | None, new: meta.Object | None) -> None:
        if isinstance(new, suggestion.Suggestion):
            news.put_nowait(new)

    world.plane.suggestions.listen(heard)
    while True:
        yield await news.get()


async def until(condition: Callable[[], Any]) -> Any:
    """Wait until something has happened that only the file system or another process shows; what the condition gave then."""
    async with asyncio.timeout(SECONDS):
        while not (found := condition()):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
    return found


@contextlib.asynccontextmanager
async def started(
    where: settings_.Settings, document: Any
) -> AsyncIterator[tuple[machine.Machine, experiment.Experiment]]:
    """A machine at work on one experiment."""
    async with machine.running(where) as world:
        yield world, await submit(world, document)


async def trials(world: machine.Machine, subject: experiment.Experiment) -> Sequence[trial.Trial]:
    """The trials of an experiment, by slot."""
    return await reading.trials_of(world.objects, subject)


def last(item: trial.Trial | experiment.Experiment) -> str:
    """Type of the newest condition."""
    return (item.status.conditions or [conditions.Condition(type="", status="")])[-1].type


def message(item: trial.Trial | experiment.Experiment) -> str:
    """Message of the newest condition."""
    return (item.status.conditions or [conditions.Condition(type="", status="")])[-1].message
