"""Objects for short commands: from the process that owns the data folder when there is one, else from the files themselves."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from kuttab.api import experiment, keys, kinds, meta, trial
from kuttab.base import errors
from kuttab.client import lookup
from kuttab.wiring import control, meeting, opening
from kuttab.wiring import settings as settings_


@dataclass(frozen=True, slots=True)
class Reach:
    """Objects, and whether somebody acts on what is written to them."""

    objects: Any
    alive: bool


@contextlib.asynccontextmanager
async def reach(settings: settings_.Settings) -> AsyncIterator[Reach]:
    """Objects of the data folder. Raises NotFoundError when the folder holds none yet."""
    async with control.reach(settings.data) as remote:
        if remote is not None:
            yield Reach(remote, alive=True)
            return
    if not settings.objects_db.exists():
        raise errors.NotFoundError(meeting.nothing_in(settings.data))
    async with opening.opened(settings) as objects:
        yield Reach(objects, alive=False)


async def find(objects: Any, kind: kinds.Kind, name: str, namespace: str | None) -> meta.Object:
    """The object of that name; without a namespace the only one of that name anywhere. Raises NotFoundError, BadInputError."""
    hint = f"; see: kuttab get {kind.plural}"
    return await lookup.find(objects, kind, name, namespace, missing=hint, several="give --namespace")


async def experiment_of(objects: Any, name: str, namespace: str | None) -> experiment.Experiment:
    """The experiment of that name."""
    found = await find(objects, kinds.EXPERIMENT, name, namespace)
    assert isinstance(found, experiment.Experiment)
    return found


async def trials_of(objects: Any, subject: experiment.Experiment, limit: int = 0) -> list[trial.Trial]:
    """The trials of an experiment, by slot."""
    selector = f"{keys.LABEL_EXPERIMENT}={subject.name}"
    page = await objects.list(kinds.TRIAL, subject.namespace, labels=selector, limit=limit)
    items = [item for item in page.items if isinstance(item, trial.Trial)]
    return sorted(items, key=_slot)


def _slot(item: trial.Trial) -> tuple[int, str]:
    text = item.metadata.annotation(keys.ANNOTATION_SLOT)
    return (int(text) if text.isdecimal() else 1 << 30, item.name)
