"""The cache of one kind: it follows lists and watches through every accident, never steps back, and tells its listeners once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kuttab.api import kinds, meta
from kuttab.base import clock, errors
from kuttab.client import embedded
from kuttab.controllers import ledgers
from kuttab.ports import objects as port
from kuttab.rules import trial_state
from kuttab.runtime import informer
from kuttab.store import objects
from kuttab.testing import builders
from kuttab.testing.virtual import virtual


class Line(embedded.EmbeddedClient):
    """A client whose watches can be cut, lose events, or repeat and swap them."""

    def __init__(self, store: objects.Store) -> None:
        super().__init__(store)
        self.cut: asyncio.Event = asyncio.Event()
        self.problem: errors.KuttabError | None = None
        self.refuse_lists: list[errors.KuttabError] = []
        self.lists = 0
        self.twist: Callable[[port.WatchEvent], list[port.WatchEvent]] = lambda event: [event]

    async def list(self, *arguments: Any, **options: Any) -> port.ObjectList:
        """Count, and refuse as told."""
        self.lists += 1
        if self.refuse_lists:
            raise self.refuse_lists.pop(0)
        return await super().list(*arguments, **options)

    async def watch(self, *arguments: Any, **options: Any) -> AsyncIterator[port.WatchEvent]:
        """Until it is cut."""
        stream = super().watch(*arguments, **options)
        while True:
            following = asyncio.ensure_future(anext(stream))
            cut = asyncio.ensure_future(self.cut.wait())
            await asyncio.wait({following, cut}, return_when=asyncio.FIRST_COMPLETED)
            cut.cancel()
            if not following.done():
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await following
                if self.problem is not None:
                    raise self.problem
                return
            for event in self.twist(following.result()):
                yield event


@contextlib.asynccontextmanager
async def following(**options: Any) -> AsyncIterator[tuple[Line, informer.Informer, list[tuple[str, str]]]]:
    """A store, the line to it, and a cache of ConfigMaps with what its listener heard."""
    store = objects.Store(None, clock=clock.SystemClock(), options=objects.Options(commits="settle"))
    async with store:
        line = Line(store)
        cache = informer.Informer(line, kinds.CONFIG_MAP, **options)
        heard: list[tuple[str, str]] = []
        cache.listen(lambda old, new: heard.append((old.name if old else "", new.name if new else "")))
        task = asyncio.ensure_future(cache.run())
        try:
            await cache.synced.wait()
            yield line, cache, heard
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def seen(cache: informer.Informer, revision: int) -> None:
    """Wait until the cache has come so far."""
    there = asyncio.Event()
    if not cache.when(revision, there.set):
        await asyncio.wait_for(there.wait(), 600)


async def gap(line: Line, problem: errors.KuttabError | None = None) -> None:
    """Cut the line and let it come back."""
    line.problem = problem
    line.cut.set()
    await asyncio.sleep(0.01)


@virtual
@pytest.mark.parametrize("problem", [None, errors.ExpiredError("compacted"), errors.UnavailableError("reset")])
async def test_what_happens_while_the_watch_is_away_is_made_up_for(problem: errors.KuttabError | None) -> None:
    """Created, changed, deleted and re-created in the gap: afterwards the cache is the store, and listeners know of it (B04, B09, B12)."""
    async with following() as (line, cache, heard):
        for name in ("kept", "changed", "gone", "again"):
            await line.create(builders.config_map(name))
        await seen(cache, line._store.revision)
        heard.clear()
        await gap(line, problem)
        changed = await line.get(kinds.CONFIG_MAP, "default", "changed")
        await line.update(meta.evolve(changed, data={"x": "y"}))
        for name in ("gone", "again"):
            await line.delete(kinds.CONFIG_MAP, "default", name)
        for name in ("again", "new"):
            await line.create(builders.config_map(name))
        line.cut.clear()
        await seen(cache, line._store.revision)
        held = {obj.name: obj for obj in cache.all()}
        assert held == {obj.name: obj for obj in line._store.list(kinds.CONFIG_MAP).items}
        assert sorted(heard) == [
            ("", "again"), ("", "new"), ("again", ""), ("changed", "changed"), ("gone", ""),
        ]  # fmt: skip


@virtual
async def test_repeated_and_old_events_change_nothing() -> None:
    """Each event three times, and the one before it again: the cache never steps back and tells each change once (B06, B07)."""
    async with following() as (line, cache, heard):
        before: list[port.WatchEvent] = []

        def twist(event: port.WatchEvent) -> list[port.WatchEvent]:
            out = [event, event, *before[-1:], event, *before[-2:]]
            before.append(event)
            return out

        line.twist = twist
        made = await line.create(builders.config_map("a"))
        for number in range(5):
            made = await line.update(meta.evolve(made, data={"n": str(number)}))
        await seen(cache, line._store.revision)
        assert cache.get("default", "a") == made
        assert heard == [("", "a"), *[("a", "a")] * 5]


@virtual
async def test_a_source_that_is_away_is_asked_less_and_less() -> None:
    """Pauses between attempts grow up to ten seconds; the first success starts small again (L2)."""
    async with following() as (line, cache, _):
        loop = asyncio.get_running_loop()
        begin, lists = loop.time(), line.lists
        line.refuse_lists = [errors.UnavailableError("away")] * 12
        await gap(line, errors.UnavailableError("reset"))
        line.cut.clear()
        await line.create(builders.config_map("a"))
        await seen(cache, line._store.revision)
        assert line.lists - lists == 13
        assert loop.time() - begin > 60


@virtual
async def test_a_waiter_is_woken_at_its_revision_and_not_before() -> None:
    """``when`` is true at once for what was seen, else the wake-up comes exactly when it is (R3)."""
    async with following() as (line, cache, _):
        made = await line.create(builders.config_map("a"))
        woken: list[int] = []
        assert not cache.when(made.revision, lambda: woken.append(cache.revision))
        assert not cache.when(made.revision + 1, lambda: woken.append(-1))
        await seen(cache, made.revision)
        assert woken == [made.revision]
        assert cache.when(made.revision, lambda: woken.append(0))


@virtual
async def test_a_finished_trial_deleted_unseen_leaves_its_account() -> None:
    """Finished trials live in the account only: one that was deleted while the watch was away is counted no longer after it (B04, S12)."""
    store = objects.Store(None, clock=clock.SystemClock(), options=objects.Options(commits="settle"))
    async with store:
        line = Line(store)
        subject = store.create(builders.experiment("e"))
        made = []
        for name in ("e-1", "e-2"):
            item = store.create(builders.trial(name, of=subject))
            done = {"type": "Succeeded", "status": "True", "reason": "R", "message": ""}
            stamps = {"lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            document = {**meta.dump(item), "status": {"conditions": [{**done, **stamps}]}}
            made.append(store.update_status(kinds.load(document)))
        assert all(trial_state.finished(item) for item in made)
        accounts = ledgers.Ledgers()
        cache = informer.Informer(line, kinds.TRIAL, keep=ledgers.keep)
        cache.listen(accounts.heard, accounts.listed)
        task = asyncio.ensure_future(cache.run())
        await cache.synced.wait()
        assert accounts.of(subject).total == 2
        assert list(cache.all()) == []
        await gap(line)
        store.delete(kinds.TRIAL, "default", "e-1")
        line.cut.clear()
        await seen(cache, store.revision)
        assert [record.name for record in accounts.of(subject).all()] == ["e-2"]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
