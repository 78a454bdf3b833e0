"""List and watch one kind into a local index, and tell listeners of every change.

The index never steps back: an older revision of an object is dropped. After Expired or a lost connection it lists again and
tells listeners what changed meanwhile. What ``keep`` refuses is told to listeners but not held, so that finished objects cost
nothing.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Collection, Iterable

from kuttab.api import kinds, meta
from kuttab.base import errors, log
from kuttab.ports import objects as port

logger = log.get(__name__)

Listener = Callable[[meta.Object | None, meta.Object | None], None]
"""Called with (old, new); old is None for an addition (or when it was not held), new is None for a deletion."""

PAGE = 500
RETRY_FIRST = 0.1
RETRY_MOST = 10.0


class Informer:
    """A cache of one kind, fed by :meth:`run`."""

    def __init__(
        self,
        objects: port.Objects,
        kind: kinds.Kind,
        *,
        namespace: str | None = None,
        labels: str = "",
        keep: Callable[[meta.Object], bool] | None = None,
    ) -> None:
        self.kind = kind
        self._objects = objects
        self._namespace = namespace
        self._labels = labels
        self._keep = keep
        self._index: dict[tuple[str, str], meta.Object] = {}
        self._by_namespace: dict[str, set[str]] = collections.defaultdict(set)
        self._listeners: list[Listener] = []
        self._listed: list[Callable[[Collection[tuple[str, str]]], None]] = []
        self._progress: list[tuple[int, Callable[[], None]]] = []
        self.revision = 0
        self.synced = asyncio.Event()

    def listen(self, listener: Listener, listed: Callable[[Collection[tuple[str, str]]], None] | None = None) -> None:
        """Add a listener; call before :meth:`run`.

        ``listed`` is called after each whole list with the (namespace, name) of all there is: for one who remembers objects that this
        cache does not keep, whose deletion may have happened while no watch was there to tell.
        """
        self._listeners.append(listener)
        if listed is not None:
            self._listed.append(listed)

    def get(self, namespace: str, name: str) -> meta.Object | None:
        """The object as last seen, if it is held."""
        return self._index.get((namespace, name))

    def all(self) -> Iterable[meta.Object]:
        """Every held object."""
        return list(self._index.values())

    def when(self, revision: int, wake: Callable[[], None]) -> bool:
        """Whether the cache has seen that revision; if not, ``wake`` is called once it has."""
        if self.revision >= revision:
            return True
        self._progress.append((revision, wake))
        return False

    async def run(self) -> None:
        """Follow the kind until cancelled."""
        delay = RETRY_FIRST
        while True:
            try:
                revision = await self._relist()
                self.synced.set()
                delay = RETRY_FIRST
                await self._follow(revision)
            except errors.ExpiredError:
                logger.info("watch_expired", kind=self.kind.kind, revision=self.revision)
                await asyncio.sleep(
                    RETRY_FIRST
                )  # a source that expires at once, again and again, must not be listed without a pause
            except (errors.UnavailableError, errors.ObjectError) as problem:
                logger.warning("watch_lost", kind=self.kind.kind, problem=problem, again_in=delay)
                await asyncio.sleep(delay)
                delay = min(RETRY_MOST, delay * 2)

    async def _relist(self) -> str:
        seen: set[tuple[str, str]] = set()
        token = ""
        while True:
            page = await self._objects.list(
                self.kind, self._namespace, labels=self._labels, limit=PAGE, continue_token=token
            )
            for obj in page.items:
                seen.add((obj.namespace, obj.name))
                self._put(obj)
            token = page.continue_token
            if not token:
                break
        for key in [key for key in self._index if key not in seen]:
            self._remove(self._index[key])
        for listed in self._listed:
            listed(seen)
        self._advance(int(page.resource_version or 0))
        return page.resource_version

    async def _follow(self, revision: str) -> None:
        events = self._objects.watch(self.kind, self._namespace, labels=self._labels, resource_version=revision)
        try:
            async for event in events:
                if event.type is port.EventType.DELETED:
                    self._remove(event.object)
                elif event.type is not port.EventType.BOOKMARK:
                    self._put(event.object)
                self._advance(event.object.revision)
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()
        raise errors.UnavailableError(f"the watch of {self.kind.plural} ended")

    def _put(self, obj: meta.Object) -> None:
        key = (obj.namespace, obj.name)
        old = self._index.get(key)
        if old is not None and old.uid == obj.uid and old.revision >= obj.revision:
            return
        if old is not None and old.uid != obj.uid:
            self._remove(old)
            old = None
        if self._keep is None or self._keep(obj):
            self._index[key] = obj
        else:
            self._index.pop(key, None)
        self._tell(old, obj)

    def _remove(self, obj: meta.Object) -> None:
        old = self._index.get((obj.namespace, obj.name))
        if old is not None and old.uid == obj.uid:
            del self._index[(obj.namespace, obj.name)]
        self._tell(obj if old is None or obj.revision >= old.revision else old, None)

    def _tell(self, old: meta.Object | None, new: meta.Object | None) -> None:
        for listener in self._listeners:
            listener(old, new)

    def _advance(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        if self._progress:
            ready = [wake for wanted, wake in self._progress if wanted <= self.revision]
            self._progress = [entry for entry in self._progress if entry[0] > self.revision]
            for wake in ready:
                wake()
