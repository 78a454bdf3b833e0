"""Opens the object store of a data folder: alone for short commands, and for :mod:`kuttab.wiring.machine`, which makes it work.

Admission and all that it asks are loaded with the first write, as most short commands only read.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from kuttab.api import kinds, meta
from kuttab.base import clock, errors
from kuttab.client import embedded
from kuttab.ports import outbox
from kuttab.store import lock, objects
from kuttab.wiring import settings as settings_

if TYPE_CHECKING:
    from kuttab.admission import limits
    from kuttab.observations import behind

USER = "local"


@contextlib.asynccontextmanager
async def opened(settings: settings_.Settings) -> AsyncIterator[embedded.EmbeddedClient]:
    """The objects of a data folder that nobody runs, for short commands. Raises LockedError when somebody does."""
    rows = _Rows()
    async with store(settings, rows) as found:
        if rows.gate is not None:
            from kuttab.wiring import observing

            await observing.bring(settings, rows.gate)
        yield client(settings, found)


class _Rows:
    """Metric rows that a killed run left, if it did: seldom, so what brings them to their log is loaded only then."""

    def __init__(self) -> None:
        self.gate: behind.Gate | None = None

    def found(self, letters: Sequence[outbox.Letter]) -> None:
        """See :class:`kuttab.ports.outbox.Reliance`."""
        if letters:
            from kuttab.observations import behind

            self.gate = behind.Gate()
            self.gate.found(letters)

    def owed(self, patience: float) -> Sequence[outbox.Letter]:
        """See :class:`kuttab.ports.outbox.Reliance`."""
        return () if self.gate is None else self.gate.owed(patience)


@contextlib.asynccontextmanager
async def store(settings: settings_.Settings, reliance: outbox.Reliance) -> AsyncIterator[objects.Store]:
    """The store of a data folder, made when there is none, for one owner. Raises LockedError, CorruptError."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    time = clock.SystemClock()
    options = objects.Options(reliance=reliance)
    with lock.Lock(settings.data, time):
        async with objects.Store(settings.objects_db, clock=time, options=options) as found:
            yield found


def client(settings: settings_.Settings, store: objects.Store) -> embedded.EmbeddedClient:
    """The store as people and programs see it: what they write is admitted first."""

    @functools.cache
    def offered() -> limits.Catalogue:
        from kuttab.wiring import catalogue

        return catalogue.Catalogue(settings, config_maps=_config_maps(store))

    def admit(obj: meta.Object, old: meta.Object | None, operation: str, who: str) -> meta.Object:
        from kuttab.admission import chain

        return chain.admit(obj, old=old, operation=operation, user=who, catalogue=offered()).object

    return embedded.EmbeddedClient(store, admit, USER)


def _config_maps(store: objects.Store) -> Callable[[str, str], Mapping[str, str] | None]:
    def read(namespace: str, name: str) -> Mapping[str, str] | None:
        try:
            found = store.get(kinds.CONFIG_MAP, namespace, name)
        except errors.NotFoundError:
            return None
        data = found.section("data")
        return {key: value for key, value in data.items() if isinstance(value, str)}

    return read
