"""An experiment's progress as a stream of steps, driven by the caches of the running machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from kuttab.api import experiment, history, meta
from kuttab.base import errors
from kuttab.rules import completion
from kuttab.wiring import machine

PAUSE = 0.1
"""Seconds between two steps at least: people do not read faster."""


@dataclass(frozen=True, slots=True)
class Step:
    """The experiment now, trials that changed since the last step, and the counts of the running account."""

    experiment: experiment.Experiment
    changed: tuple[history.TrialRecord, ...]
    finished: int
    active: int
    best: history.TrialRecord | None
    queued: int = 0
    """How many of the active ones wait for resources."""


async def follow(world: machine.Machine, subject: experiment.Experiment) -> AsyncIterator[Step]:
    """Steps until the experiment is over and nothing of it runs any more; the last step shows the end.

    Raises NotFoundError when somebody deletes the experiment meanwhile.
    """
    plane = world.plane
    news, over = asyncio.Event(), asyncio.Event()

    def heard(old: meta.Object | None, new: meta.Object | None) -> None:
        obj = new if new is not None else old
        if obj is None or obj.namespace != subject.namespace:
            return
        news.set()
        if isinstance(obj, experiment.Experiment) and obj.name == subject.name and completion.completed(obj):
            over.set()

    plane.experiments.listen(heard)
    plane.trials.listen(heard)
    account, seen = plane.ledgers.of(subject), -1
    while True:
        news.clear()
        current = plane.experiments.get(subject.namespace, subject.name)
        if current is None and seen >= 0:
            raise errors.NotFoundError(f"experiment {subject.name} was deleted")
        latest = current if isinstance(current, experiment.Experiment) else subject
        changed = account.changed_since(seen) if seen >= 0 else None
        records = tuple(account.all() if changed is None else changed)
        seen = account.revision
        active = account.active
        yield Step(latest, records, account.total - active, active, account.best, account.queued)
        if completion.completed(latest) and active == 0 and latest.status.trials == account.total:
            return
        await news.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PAUSE):
                await over.wait()
