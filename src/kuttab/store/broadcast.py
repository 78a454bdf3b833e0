"""Telling watchers what happened: the live stream, and how one entry looks through a selector.

A watcher that does not keep up costs a bounded buffer: it is cut off from the live stream and reads the log from where it stopped, and gets
ExpiredError if compaction was faster. It never slows writers or other watchers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kuttab.api import kinds, meta
from kuttab.ports import objects as ports
from kuttab.store import lifecycle, log, select


class Listener(Protocol):
    """A live watcher."""

    def offer(self, entry: log.Entry) -> None:
        """Take an entry of the kind, or leave."""
        ...

    def end(self) -> None:
        """No more will come: the store closes."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """What a watcher wants to see."""

    kind: kinds.Kind
    namespace: str | None
    selector: select.Selector

    def event(self, entry: log.Entry) -> ports.WatchEvent | None:
        """The entry as this watcher sees it: an object that leaves the selection is DELETED, one that comes in is ADDED."""
        if self.namespace is not None and entry.key.namespace != self.namespace:
            return None
        if not self.selector:
            return ports.WatchEvent(_PLAIN[entry.op], entry.object)
        now = entry.op is not log.Op.DELETED and self.selector.matches(entry.object)
        before = entry.old is not None and self.selector.matches(entry.old)
        if now:
            return ports.WatchEvent(ports.EventType.MODIFIED if before else ports.EventType.ADDED, entry.object)
        if not before or entry.old is None:
            return None
        last: meta.Object = (
            entry.object if entry.op is log.Op.DELETED else lifecycle.at_revision(entry.old, entry.revision)
        )
        return ports.WatchEvent(ports.EventType.DELETED, last)


_PLAIN = {
    log.Op.ADDED: ports.EventType.ADDED,
    log.Op.MODIFIED: ports.EventType.MODIFIED,
    log.Op.DELETED: ports.EventType.DELETED,
}


class Broadcaster:
    """The live watchers of each kind."""

    def __init__(self) -> None:
        self._by_kind: dict[str, dict[Listener, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_kind.values()))

    def join(self, watch: Listener, kind: str) -> None:
        """Send it the entries from now on."""
        self._by_kind.setdefault(kind, {})[watch] = None

    def leave(self, watch: Listener, kind: str) -> None:
        """Send it nothing more."""
        watchers = self._by_kind.get(kind)
        if watchers is not None:
            watchers.pop(watch, None)
            if not watchers:
                del self._by_kind[kind]

    def publish(self, entry: log.Entry) -> None:
        """Hand an entry to every watcher of its kind."""
        for watch in tuple(self._by_kind.get(entry.key.kind, ())):
            watch.offer(entry)

    def close(self) -> None:
        """End every watcher."""
        for watchers in tuple(self._by_kind.values()):
            for watch in tuple(watchers):
                watch.end()
