"""The quota setting, from text or a configuration file to the quota of a running machine.

``none``; ``slots``, also ``slots:cpus=4,gpus=1,memory=16Gi`` (what is not named is what this machine has); or the URL of a service.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kuttab.api import kinds, meta, trial
from kuttab.base import clock, errors
from kuttab.client import quota_http, quota_wire
from kuttab.node import slots
from kuttab.ports import objects as object_port
from kuttab.ports import quota as quota_port
from kuttab.rules import resources, trial_state
from kuttab.runtime import manager
from kuttab.wiring import plane
from kuttab.wiring import settings as settings_

ENV_TOKEN: Final = "KUTTAB_QUOTA_TOKEN"  # noqa: S105 - the name of a variable
JOURNAL: Final = "quota.journal"
_AMOUNTS: Final = ("cpus", "gpus", "memory")


@dataclass(frozen=True, slots=True)
class Setting:
    """Which quota: nothing, a URL, or local slots (None for what the machine has)."""

    url: str = ""
    local: bool = False
    cpus: float | None = None
    memory: float | None = None
    gpus: float | None = None

    def capacity(self) -> resources.Amount:
        """What the local slots are."""
        given = {name: getattr(self, name) for name in _AMOUNTS if getattr(self, name) is not None}
        return dataclasses.replace(slots.seen(), **given)


def read(value: object) -> Setting:
    """From ``--quota`` or the ``quota`` section of a configuration file. InvalidError or BadInputError say what is wrong."""
    if isinstance(value, Mapping):
        return _section(value)
    text = str(value or "none").strip()
    if text == "none":
        return Setting()
    head, _, rest = text.partition(":")
    if head == "slots":
        pairs = [part.partition("=") for part in rest.split(",") if part.strip()]
        return _section({key.strip(): amount.strip() for key, _, amount in pairs} or {"slots": True})
    if "://" not in text:
        raise errors.BadInputError(
            f"quota: {text!r} must be none, slots, slots:cpus=4,gpus=1,memory=16Gi, or the URL of a quota service"
        )
    quota_wire.Endpoint.parse(text)
    return Setting(url=text)


def _section(section: Mapping[Any, Any]) -> Setting:
    problems = []
    unknown = [str(key) for key in section if key not in (*_AMOUNTS, "url", "slots")]
    problems += [errors.Problem(f"quota.{key}", "unknown; known are url, slots, cpus, gpus, memory") for key in unknown]
    amounts: dict[str, float] = {}
    for key in _AMOUNTS:
        if section.get(key) is not None:
            amount = resources.quantity(section[key])
            if amount is None:
                problems.append(
                    errors.Problem(f"quota.{key}", f"{section[key]!r} must be a quantity such as 4 or 16Gi")
                )
            else:
                amounts[key] = amount
    url = section.get("url")
    if url is not None and (not isinstance(url, str) or amounts or section.get("slots")):
        problems.append(
            errors.Problem("quota.url", "must be text, and stand alone: a service or local slots, not both")
        )
    if problems:
        raise errors.InvalidError(problems, "quota")
    if isinstance(url, str):
        return read(url)
    local = bool(amounts or section.get("slots"))
    return Setting(local=local, cpus=amounts.get("cpus"), memory=amounts.get("memory"), gpus=amounts.get("gpus"))


@dataclass(frozen=True, slots=True)
class Opened:
    """A quota at work; ``runnables`` belong to the manager."""

    quota: quota_port.Quota
    runnables: Sequence[manager.Runnable] = ()

    def attach(self, planes: plane.ControlPlane) -> None:
        """Tell the control plane of late answers."""
        if isinstance(self.quota, quota_http.HttpQuota):
            self.quota.on_answer = planes.ask_quota


@contextlib.asynccontextmanager
async def opened(
    settings: settings_.Settings, objects: object_port.Objects, time: clock.Clock
) -> AsyncIterator[Opened]:
    """The quota of the settings, told of what an earlier run left: workloads that exist hold, trials that ended do not."""
    setting = read(settings.quota)
    if setting.local:
        local = slots.Slots(setting.capacity())
        await _hold(local, objects)
        yield Opened(local)
    elif setting.url:
        where = quota_wire.Endpoint.parse(setting.url, os.environ.get(ENV_TOKEN, ""))
        service = quota_http.HttpQuota(where, settings.data / JOURNAL, time)
        service.open({item.uid for item in await _unfinished(objects)})
        try:
            yield Opened(service, [service.run])
        finally:
            await asyncio.shield(service.close())
    else:
        yield Opened(plane.NoQuota())


async def _unfinished(objects: object_port.Objects) -> list[trial.Trial]:
    items = (await objects.list(kinds.TRIAL)).items
    return [item for item in items if isinstance(item, trial.Trial) and not trial_state.finished(item)]


async def _hold(local: slots.Slots, objects: object_port.Objects) -> None:
    for item in await _unfinished(objects):
        spec = item.spec.run_spec or {}
        kind = kinds.known(str(spec.get("apiVersion", "")), str(spec.get("kind", "")))
        if kind is None:
            continue
        try:
            found = await objects.get(kind, item.namespace, item.name)
        except errors.NotFoundError:
            continue
        owner = found.metadata.controller
        if isinstance(found, meta.Resource) and owner is not None and owner.uid == item.uid:
            local.hold(item.uid, found)
