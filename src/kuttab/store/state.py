"""What the store holds, as seen from the loop thread: committed rows under the entries that still wait for the disk.

Reads only; ``objects.py`` decides and writes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.ports import objects as ports
from kuttab.store import broadcast, families, lifecycle, log, names, overlay, sqlite

CHUNK: Final = 500


T = TypeVar("T")
Placed = tuple[tuple[str, str], T]
"""Something with its namespace and name."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a collection, in order. ``token`` is empty on the last one."""

    items: list[Placed[T]]
    revision: str
    token: str = ""
    remaining: int | None = None


class State:
    """The present and the recent past of every object."""

    def __init__(self, reader: log.Reader, start: log.Start, cache: overlay.Cache, path: Path | None) -> None:
        self.revision = start.revision
        self.compacted = start.compacted
        self.overlay = overlay.Overlay()
        self._families = families.Families()
        self.reader = reader
        self._gaps = start.gaps
        self._cache = cache
        self._path = path
        self._names: names.Names | None = None

    def add(self, entry: log.Entry) -> None:
        """Show an entry to readers from now on."""
        self.revision = entry.revision
        if entry.op is log.Op.ADDED and self._names is not None:
            self._names.add(entry.key)
        self.overlay.add(entry)
        self._families.add(entry)
        if entry.op is log.Op.DELETED:
            self._cache.drop(entry.key)
        else:
            self._cache.put(entry.key, entry.object, len(entry.body))

    def current(self, kind: kinds.Kind, key: log.Key) -> meta.Object | None:
        """The object now, or None."""
        entry = self.overlay.latest(key)
        if entry is not None:
            return None if entry.op is log.Op.DELETED else entry.object
        found = self._cache.get(key)
        if found is not None:
            return found
        row = self._row(key)
        if row is None:
            return None
        obj = self._decode(kind, row)
        self._cache.put(key, obj, len(row.body))
        return obj

    def anything(self, key: log.Key) -> tuple[kinds.Kind, meta.Object] | None:
        """The object of a key whose kind's version is not known, with its kind."""
        entry = self.overlay.latest(key)
        if entry is not None:
            return None if entry.op is log.Op.DELETED else (kinds.of(entry.object), entry.object)
        found = self._cache.peek(key)
        if found is not None:
            return kinds.of(found), found
        row = self._row(key)
        if row is None:
            return None
        kind = kind_of(row)
        return kind, self._decode(kind, row)

    def _row(self, key: log.Key) -> log.Row | None:
        """The committed state of a key; most questions about a name are asked before it is given, and cost no read."""
        if self._names is None:
            self._names = names.Names(self.reader.keys())
        return self.reader.current(key) if self._names.may_have(key) else None

    def check_revision(self, revision: int) -> None:
        """ExpiredError unless everything after that revision is still known."""
        if revision < self.compacted:
            raise errors.ExpiredError(f"revision {revision} is too old, history begins at {self.compacted}; list again")
        self.check_known(revision)

    def check_known(self, revision: int) -> None:
        """ExpiredError for a revision that this store never gave out, or lost."""
        if revision > self.revision or any(low < revision < high for low, high in self._gaps):
            raise errors.ExpiredError(
                f"revision {revision} is not known to this store (a crash or a restore took it back); list again"
            )

    def page(self, scope: broadcast.Scope, limit: int, token: str) -> ports.ObjectList:
        """One page, at the revision of the first; ``limit=0`` for everything. ExpiredError, BadInputError for a token."""
        found = self._cut(scope, limit, token, _Merge.objects)
        return ports.ObjectList([obj for _, obj in found.items], found.revision, found.token, found.remaining)

    def bodies(self, scope: broadcast.Scope, limit: int, token: str) -> Page[bytes]:
        """The same as JSON text, as it is stored, for a scope that selects nothing: a tenth of the cost."""
        assert not scope.selector
        return self._cut(scope, limit, token, _Merge.bodies)

    def _cut(
        self, scope: broadcast.Scope, limit: int, token: str, read: Callable[[_Merge], Iterator[Placed[T]]]
    ) -> Page[T]:
        revision, after = _read_token(token) if token else (self.revision, ("", ""))
        self.check_revision(revision)
        items: list[Placed[T]] = []
        more = False
        for item in read(_Merge(self, scope, revision, after, limit)):
            if limit and len(items) == limit:
                more = True
                break
            items.append(item)
        if not more:
            return Page(items, str(revision))
        last = items[-1][0]
        remaining = None
        if not scope.selector and not self.overlay.kind(log.kind_key(scope.kind), revision):
            remaining = self.reader.count(log.Query(log.kind_key(scope.kind), revision, scope.namespace, after=last))
        return Page(items, str(revision), _write_token(revision, last), remaining)

    def replay(self, scope: broadcast.Scope, revision: int, limit: int) -> tuple[list[ports.WatchEvent], int]:
        """Events after a revision, and the revision up to which they are complete; ExpiredError."""
        self.check_revision(revision)
        key = log.kind_key(scope.kind)
        rows = self.reader.since(key, revision, limit)
        entries = [self._entry(scope, row) for row in rows]
        reached = rows[-1].revision if rows else revision
        if len(rows) < limit:
            entries += self.overlay.since(key, reached)
            reached = self.revision
        events = (scope.event(entry) for entry in entries)
        return [event for event in events if event is not None], reached

    def dependents(self, uid: str, after: log.Key | None, limit: int) -> list[log.Key]:
        """Keys that may name an owner, in order."""
        known = self._families.of(uid)
        if known is not None:
            return [key for key in known if after is None or key > after][:limit]
        found = set(self.reader.dependents(uid, after, limit))
        horizon = max(found) if len(found) == limit else None
        for key in self.overlay.dependents(uid):
            if (after is None or key > after) and (horizon is None or key <= horizon):
                found.add(key)
        return sorted(found)

    def keys_in_namespace(self, namespace: str) -> Iterator[log.Key]:
        """Keys of everything in a namespace, kind by kind; some may be gone by now. Writing in between is fine."""
        for kind in sorted({*self.reader.kinds(), *(key.kind for key in self.overlay.waiting)}):
            yield from [key for key in self.overlay.kind(kind, self.revision) if key.namespace == namespace]
            after = ("", "")
            while True:
                rows = self.reader.page(log.Query(kind, self.revision, namespace, after=after, limit=CHUNK))
                yield from (row.key for row in rows)
                if len(rows) < CHUNK:
                    break
                after = (namespace, rows[-1].key.name)

    def _entry(self, scope: broadcast.Scope, row: log.Row) -> log.Entry:
        old = None
        if scope.selector and row.op is not log.Op.ADDED:
            before = self.reader.before(row.revision)
            old = None if before is None else self._decode(scope.kind, before)
        return log.Entry(row.revision, row.op, row.key, self._decode(scope.kind, row), row.body, old)

    def fresh(self, kind: kinds.Kind, row: log.Row) -> meta.Object:
        """The object of a row, from the cache if it holds just that; scans do not fill the cache."""
        found = self._cache.peek(row.key)
        return found if found is not None and found.revision == row.revision else self._decode(kind, row)

    def _decode(self, kind: kinds.Kind, row: log.Row) -> meta.Object:
        try:
            return lifecycle.decode(kind, row.body)
        except errors.InvalidError as error:
            raise sqlite.damaged(
                self._path, f"{row.key.kind} {row.key.namespace}/{row.key.name}: {error.message}"
            ) from error


class _Merge:
    """Selected objects in order: committed rows of a revision, overruled by waiting entries."""

    def __init__(self, state: State, scope: broadcast.Scope, revision: int, after: tuple[str, str], limit: int) -> None:
        self._state = state
        self._scope = scope
        self._revision = revision
        self._after = after
        self._chunk = min(limit + 1, CHUNK) if limit else CHUNK

    def objects(self) -> Iterator[Placed[meta.Object]]:
        """The objects."""
        for place, one in self._stored():
            obj = one.object if isinstance(one, log.Entry) else self._state.fresh(self._scope.kind, one)
            if self._scope.selector.matches(obj):
                yield place, obj

    def bodies(self) -> Iterator[Placed[bytes]]:
        """Their JSON text; one that is stored in another version of its kind is read and written anew."""
        for place, one in self._stored():
            if isinstance(one, log.Row) and one.version != self._scope.kind.version:
                yield place, meta.dump_bytes(self._state.fresh(self._scope.kind, one))
            else:
                yield place, one.body

    def _stored(self) -> Iterator[Placed[log.Row | log.Entry]]:
        selector = self._scope.selector
        namespace = self._scope.namespace
        wanted = selector.exact("metadata.namespace")
        if wanted is not None and namespace not in (None, wanted):
            return
        namespace = wanted if wanted is not None and self._scope.kind.namespaced else namespace
        waiting = {
            (key.namespace, key.name): entry
            for key, entry in self._state.overlay.kind(log.kind_key(self._scope.kind), self._revision).items()
            if (namespace is None or key.namespace == namespace) and (key.namespace, key.name) > self._after
        }
        after, done = self._after, False
        while not done:
            query = log.Query(
                log.kind_key(self._scope.kind),
                self._revision,
                namespace,
                selector.exact("metadata.name"),
                after,
                selector.equalities,
                self._chunk,
            )
            rows = self._state.reader.page(query)
            done = len(rows) < self._chunk
            found: dict[tuple[str, str], log.Row | log.Entry] = {(row.key.namespace, row.key.name): row for row in rows}
            if rows:
                after = (rows[-1].key.namespace, rows[-1].key.name)
            for place in [place for place in waiting if done or place <= after]:
                found[place] = waiting.pop(place)
            for place in sorted(found):
                one = found[place]
                if not (isinstance(one, log.Entry) and one.op is log.Op.DELETED):
                    yield place, one


def kind_of(row: log.Row) -> kinds.Kind:
    """The kind of a stored row."""
    group, _, name = row.key.kind.rpartition("/")
    return kinds.named(f"{group}/{row.version}" if group else row.version, name)


def _write_token(revision: int, after: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([revision, *after]).encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        revision, namespace, name = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, binascii.Error) as error:
        raise errors.BadInputError(
            f"continue token {token[:80]!r} is not one of ours; list from the beginning"
        ) from error
    if not (isinstance(revision, int) and isinstance(namespace, str) and isinstance(name, str)):
        raise errors.BadInputError(f"continue token {token[:80]!r} is not one of ours; list from the beginning")
    return revision, (namespace, name)
