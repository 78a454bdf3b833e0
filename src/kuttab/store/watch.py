"""One watcher: existing objects first, then the log from its revision, then the live stream, with bookmarks in between.

It creates no task: it works while somebody iterates over it. Leave it with ``aclose()``; a forgotten one leaves when it is collected.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Protocol

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.ports import objects as ports
from kuttab.store import broadcast, log

BUFFER: Final = 1_000
"""Events that may wait in one watcher before it is cut off from the live stream."""

_BATCH: Final = 500


class Source(Protocol):
    """What a watcher needs from its store."""

    broadcaster: broadcast.Broadcaster
    bookmark_seconds: float

    @property
    def revision(self) -> int:
        """The newest revision."""
        ...

    def page(self, scope: broadcast.Scope, limit: int, token: str) -> ports.ObjectList:
        """Objects of a scope."""
        ...

    def replay(self, scope: broadcast.Scope, revision: int, limit: int) -> tuple[list[ports.WatchEvent], int]:
        """The next events after a revision and the revision they reach; ExpiredError."""
        ...


class Watch(AsyncIterator[ports.WatchEvent]):
    """Events of one scope, in order, without gaps, for ever."""

    def __init__(self, source: Source, scope: broadcast.Scope, revision: int | None) -> None:
        """``revision=None`` starts with what exists."""
        self._source = source
        self._scope = scope
        self._kind_key = log.kind_key(scope.kind)
        self._listing = revision is None
        self._token = ""
        self._seen = revision or 0
        self._told = self._seen
        self._live = False
        self._ended = False
        self._buffer: deque[ports.WatchEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._quiet_since = 0.0

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> ports.WatchEvent:
        while not self._buffer:
            if self._ended:
                raise errors.UnavailableError("the object store is closed")
            if self._listing:
                self._list_on()
                await asyncio.sleep(0)
            elif not self._live:
                self._catch_up()
                await asyncio.sleep(0)
            else:
                await self._wait()
        event = self._buffer.popleft()
        self._told = event.object.revision
        return event

    async def aclose(self) -> None:
        """Leave: no more events, no more cost."""
        self.end()
        self._buffer.clear()

    def __del__(self) -> None:
        if self._live:
            self._source.broadcaster.leave(self, self._kind_key)

    def offer(self, entry: log.Entry) -> None:
        """Take a live entry; with a full buffer leave the live stream and come back through the log."""
        if len(self._buffer) >= BUFFER:
            self._leave()
            return
        self._seen = entry.revision
        event = self._scope.event(entry)
        if event is not None:
            self._buffer.append(event)
            self._wake()

    def end(self) -> None:
        """The store closes, or nobody listens any more."""
        self._ended = True
        self._listing = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._leave()
        self._wake()

    def _list_on(self) -> None:
        page = self._source.page(self._scope, _BATCH, self._token)
        self._buffer.extend(ports.WatchEvent(ports.EventType.ADDED, obj) for obj in page.items)
        self._token = page.continue_token
        if not self._token:
            self._listing = False
            self._seen = int(page.resource_version)
            self._buffer.append(self._bookmark(self._seen))

    def _catch_up(self) -> None:
        events, self._seen = self._source.replay(self._scope, self._seen, _BATCH)
        self._buffer.extend(events)
        if self._seen >= self._source.revision:
            self._live = True
            self._source.broadcaster.join(self, self._kind_key)

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self._quiet_since = loop.time()
        if self._timer is None:  # one timer for many waits: most are short
            self._timer = loop.call_later(self._source.bookmark_seconds, self._tick, loop)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Quiet for a while: say how far the watcher has come, if it has come anywhere."""
        self._timer = None
        if self._waiter is None:
            return
        left = self._quiet_since + self._source.bookmark_seconds - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._tick, loop)
            return
        if self._live and not self._buffer and self._source.revision > self._told:
            self._buffer.append(self._bookmark(self._source.revision))
        self._wake()

    def _bookmark(self, revision: int) -> ports.WatchEvent:
        return ports.WatchEvent(ports.EventType.BOOKMARK, bookmark(self._scope.kind, revision))

    def _leave(self) -> None:
        if self._live:
            self._live = False
            self._source.broadcaster.leave(self, self._kind_key)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def bookmark(kind: kinds.Kind, revision: int) -> meta.Object:
    """An object that carries nothing but a resourceVersion."""
    return kind.cls(
        api_version=kind.api_version, kind=kind.kind, metadata=meta.ObjectMeta(resource_version=str(revision))
    )
