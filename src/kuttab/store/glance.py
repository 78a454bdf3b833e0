"""Objects as JSON documents, straight from the file of a store that nobody runs: for commands that print them and end.

No class is built, nothing is written, and nothing of the store's machinery is loaded: the first page of a large experiment costs
milliseconds. Whoever looks owns the folder (``lock.py``) while doing so. Selectors, watches and writes are the store's own.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kuttab.store import log, sqlite

if TYPE_CHECKING:
    from kuttab.api import kinds

_CHUNK: Final = 500
_NEWEST: Final = (1 << 63) - 1

Json = dict[str, Any]


class Glance:
    """Reads of one open file."""

    def __init__(self, reader: log.Reader) -> None:
        self._reader = reader

    def documents(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int = 0,
    ) -> list[Json]:
        """Objects of a kind in (namespace, name) order, all of them without a limit. CorruptError, UnavailableError."""
        found: list[Json] = []
        for document in self._each(kind, namespace if kind.namespaced else "", name, labels or {}, limit):
            found.append(document)
            if len(found) == limit:
                break
        return found

    def _each(
        self, kind: kinds.Kind, namespace: str | None, name: str | None, labels: Mapping[str, str], limit: int
    ) -> Iterator[Json]:
        size = min(limit or _CHUNK, _CHUNK)
        after = ("", "")
        while True:
            query = log.Query(log.kind_key(kind), _NEWEST, namespace, name, after, tuple(labels.items()), size)
            rows = self._reader.page(query)
            for row in rows:
                document = _document(kind, row)
                # The index of labels may outlive what it says.
                if labels.items() <= (document.get("metadata", {}).get("labels") or {}).items():
                    yield document
            if len(rows) < size:
                return
            after = (rows[-1].key.namespace, rows[-1].key.name)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Glance]:
    """The file, for as long as the body lasts. CorruptError, UnavailableError."""
    with contextlib.closing(sqlite.look(path)) as connection:
        yield Glance(log.Reader(connection, path))


def _document(kind: kinds.Kind, row: log.Row) -> Json:
    if row.version != kind.version:
        from kuttab.api import meta  # noqa: PLC0415  # seldom: an object that was stored in another version of its kind
        from kuttab.store import lifecycle  # noqa: PLC0415

        return meta.dump(lifecycle.decode(kind, row.body))
    found: Json = json.loads(row.body)
    return found
