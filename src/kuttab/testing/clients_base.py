"""What the parts of the client contract share: fixtures, and ways to wait for an event instead of a time."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterable

import pytest

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.ports import objects as ports
from kuttab.testing import builders

PATIENCE = 20.0
"""Seconds after which a promised event counts as missing."""


class ClientSuite:
    """Fixtures of a suite that runs on any :class:`kuttab.ports.objects.Objects`."""

    strict = True
    """False for a server that is not ours: promises that only our store makes are skipped."""

    foreign = True
    """False for a server that serves only kinds that it knows."""

    @pytest.fixture
    async def client(self) -> ports.Objects:
        """The implementation under test; whoever uses the suite provides it, as an async generator if it must be closed."""
        raise NotImplementedError("provide an async fixture named client")

    @pytest.fixture
    async def namespace(self, client: ports.Objects) -> str:
        """A namespace of its own for each test."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        await client.create(builders.namespace(name))
        return name

    def only_ours(self) -> None:
        """Skip on a foreign server."""
        if not self.strict:
            pytest.skip("a promise of kuttab's own store")


@contextlib.asynccontextmanager
async def watching(
    client: ports.Objects,
    kind: kinds.Kind,
    namespace: str | None,
    *,
    labels: str = "",
    fields: str = "",
    resource_version: str = "",
) -> AsyncIterator[AsyncIterator[ports.WatchEvent]]:
    """A watch that is left when the block ends."""
    stream = client.watch(kind, namespace, labels=labels, fields=fields, resource_version=resource_version)
    try:
        yield stream
    finally:
        leave = getattr(stream, "aclose", None)
        if leave is not None:
            await leave()


@contextlib.asynccontextmanager
async def following(
    client: ports.Objects, kind: kinds.Kind, namespace: str | None, *, labels: str = "", fields: str = ""
) -> AsyncIterator[AsyncIterator[ports.WatchEvent]]:
    """A watch of everything after this moment: a watch begins when it is first read, a list at once."""
    start = await client.list(kind, namespace, limit=1)
    revision = start.resource_version
    async with watching(client, kind, namespace, labels=labels, fields=fields, resource_version=revision) as stream:
        yield stream


async def take(stream: AsyncIterator[ports.WatchEvent], count: int) -> list[tuple[str, str]]:
    """The next events as (type, name), bookmarks left out."""
    return [(str(event.type), event.object.name) for event in await take_events(stream, count)]


async def take_events(stream: AsyncIterator[ports.WatchEvent], count: int) -> list[ports.WatchEvent]:
    """The next events, bookmarks left out."""
    found: list[ports.WatchEvent] = []

    async def read() -> None:
        async for event in stream:
            if event.type is not ports.EventType.BOOKMARK:
                found.append(event)
            if len(found) == count:
                return

    try:
        await asyncio.wait_for(read(), PATIENCE)
    except TimeoutError:
        raise AssertionError(f"{count} events were promised, these came: {found}") from None
    return found


async def until_gone(client: ports.Objects, *objs: meta.Object) -> None:
    """Return when none of the objects exists any more."""
    for obj in objs:
        kind = kinds.of(obj)
        async with following(client, kind, obj.namespace or None, fields=f"metadata.name={obj.name}") as stream:
            await asyncio.wait_for(_gone(client, kind, obj, stream), PATIENCE)


async def _gone(
    client: ports.Objects, kind: kinds.Kind, obj: meta.Object, stream: AsyncIterator[ports.WatchEvent]
) -> None:
    while True:
        try:
            if (await client.get(kind, obj.namespace, obj.name)).uid != obj.uid:
                return
        except errors.NotFoundError:
            return
        await anext(stream)


def relabelled(obj: meta.Object, **labels: str) -> meta.Object:
    """The object with other labels."""
    return meta.evolve(obj, metadata=meta.evolve(obj.metadata, labels=labels))


def finalized(obj: meta.Object, *names: str) -> meta.Object:
    """The object with other finalizers."""
    return meta.evolve(obj, metadata=meta.evolve(obj.metadata, finalizers=list(names)))


def owned(obj: meta.Object, *owners: meta.OwnerReference) -> meta.Object:
    """The object with other owners."""
    return meta.evolve(obj, metadata=meta.evolve(obj.metadata, owner_references=list(owners)))


def names(items: Iterable[meta.Object]) -> list[str]:
    """Names in order."""
    return [obj.name for obj in items]
