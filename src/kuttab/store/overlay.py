"""What is applied but not yet on disk, and a small cache of decoded objects.

Belongs to the loop thread. Memory is bounded by what waits for the disk plus the cache; finished objects cost nothing here.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator

from kuttab.api import meta
from kuttab.store import log


class Overlay:
    """Entries that wait for the disk, in order and by key."""

    def __init__(self) -> None:
        self._order: deque[log.Entry] = deque()
        self._by_key: dict[log.Key, deque[log.Entry]] = {}
        self._by_kind: dict[str, dict[log.Key, None]] = {}
        self._by_owner: dict[str, dict[log.Key, None]] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self._order)

    def add(self, entry: log.Entry) -> None:
        """Remember an entry; revisions come in order."""
        self._order.append(entry)
        self.size += len(entry.body)
        self._by_key.setdefault(entry.key, deque()).append(entry)
        self._by_kind.setdefault(entry.key.kind, {})[entry.key] = None
        for owner in entry.object.metadata.owner_references or ():
            self._by_owner.setdefault(owner.uid, {})[entry.key] = None

    def trim(self, durable: int) -> None:
        """Forget entries up to a revision that is on disk."""
        while self._order and self._order[0].revision <= durable:
            entry = self._order.popleft()
            self.size -= len(entry.body)
            mine = self._by_key[entry.key]
            mine.popleft()
            if not mine:
                del self._by_key[entry.key]
                _drop(self._by_kind, entry.key.kind, entry.key)
            for owner in entry.object.metadata.owner_references or ():
                if not any(owner in (later.object.metadata.owner_references or ()) for later in mine):
                    _drop(self._by_owner, owner.uid, entry.key)

    @property
    def middle(self) -> int:
        """The revision in the middle of what waits; 0 when nothing does."""
        return self._order[len(self._order) // 2].revision if self._order else 0

    def latest(self, key: log.Key, revision: int | None = None) -> log.Entry | None:
        """The newest entry of a key (at or before a revision)."""
        entries = self._by_key.get(key)
        if entries is None:
            return None
        if revision is None:
            return entries[-1]
        return next((entry for entry in reversed(entries) if entry.revision <= revision), None)

    def kind(self, kind: str, revision: int) -> dict[log.Key, log.Entry]:
        """The newest entry at or before a revision of every key of a kind."""
        out = {}
        for key in self._by_kind.get(kind, ()):
            entry = self.latest(key, revision)
            if entry is not None:
                out[key] = entry
        return out

    def since(self, kind: str, revision: int) -> Iterator[log.Entry]:
        """Entries of a kind after a revision, in order."""
        return (entry for entry in self._order if entry.revision > revision and entry.key.kind == kind)

    @property
    def waiting(self) -> Iterable[log.Key]:
        """Every key with a waiting entry."""
        return self._by_key.keys()

    def dependents(self, uid: str) -> list[log.Key]:
        """Keys whose waiting entries name an owner."""
        return list(self._by_owner.get(uid, ()))


def _drop(index: dict[str, dict[log.Key, None]], name: str, key: log.Key) -> None:
    keys = index.get(name)
    if keys is not None:
        keys.pop(key, None)
        if not keys:
            del index[name]


class Cache:
    """The most recently used decoded objects, bounded by number and by the size of their JSON.

    A decoded trial takes about nine times its JSON, and decoding takes 20 us: the cache is small on purpose.
    """

    def __init__(self, count: int, size: int) -> None:
        self._count = count
        self._size = size
        self._used = 0
        self._entries: OrderedDict[log.Key, tuple[meta.Object, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: log.Key) -> meta.Object | None:
        """The object, marked as used."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def peek(self, key: log.Key) -> meta.Object | None:
        """The object, without marking it as used."""
        found = self._entries.get(key)
        return None if found is None else found[0]

    def put(self, key: log.Key, obj: meta.Object, size: int) -> None:
        """Remember an object; the least used ones make room."""
        self.drop(key)
        if size > self._size // 4:
            return
        self._entries[key] = (obj, size)
        self._used += size
        while len(self._entries) > self._count or self._used > self._size:
            _, (_, freed) = self._entries.popitem(last=False)
            self._used -= freed

    def drop(self, key: log.Key) -> None:
        """Forget an object."""
        found = self._entries.pop(key, None)
        if found is not None:
            self._used -= found[1]
