"""The log of revisions: what one entry is, how groups of entries are written, how the past and the present are read.

The row id is the resourceVersion. A row stays until it was replaced (or is a tombstone) and compaction has passed it, so every state of the
newest revisions can be read again. This module knows SQL and bytes; it decides nothing about objects.
"""

from __future__ import annotations

import enum
import json
import sqlite3
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kuttab.ports import outbox
from kuttab.store import sqlite

if TYPE_CHECKING:
    from kuttab.api import kinds, meta

OWNER: Final = "@owner"
"""Key of the terms that say who owns an object; no label can be called so."""

GAP: Final = 100_000
"""Revisions left out after an unclean end; the most writes that may wait for the disk at once."""

RESTORED_GAP: Final = 1_000_000_000
"""Revisions left out after a backup was put in place."""

CLEAN, CHECKPOINTED = 1, 2
"""Values of the setting ``clean``; 0 while a store is open."""

GROUP: Final = 256
"""The most entries in one transaction."""

_GROUP_SIZES = (1, 4, 8, 12, 16, 24, 32, 64, GROUP, GROUP + outbox.MOST + 1)
_POSTED, _DELIVERED = 4, 5
"""What rows of the ``entry`` view do to the outbox, beside the numbers of :class:`Op`."""

_COLUMNS = 13
_PLACES = "(" + ",".join("?" * _COLUMNS) + ")"
_APPEND = {size: "INSERT INTO entry VALUES " + ",".join([_PLACES] * size) for size in _GROUP_SIZES}  # noqa: S608


class Op(enum.IntEnum):
    """What an entry did to its object."""

    ADDED = 1
    MODIFIED = 2
    DELETED = 3


class Key(NamedTuple):
    """Where an object lives: ``group/Kind``, namespace (empty for cluster-scoped kinds), name."""

    kind: str
    namespace: str
    name: str


def kind_key(kind: kinds.Kind) -> str:
    """The kind's part of a key; versions of a kind share their objects."""
    return f"{kind.group}/{kind.kind}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One applied write. ``object`` is the state after it (for a tombstone: the last one), ``old`` the state before."""

    revision: int
    op: Op
    key: Key
    object: meta.Object
    body: bytes
    old: meta.Object | None = None
    previous: int = 0
    pending: bool = False
    """Whether a collector has work with it: a restart must find it."""

    def row(self) -> tuple[Any, ...]:
        """The entry as parameters of the ``entry`` view."""
        added, removed = _term_changes(self)
        return (
            self.revision, self.previous, int(self.op), *self.key, self.object.api_version.rpartition("/")[2], self.object.uid,
            int(self.pending), zlib.crc32(self.body), self.body, added, removed,
        )  # fmt: skip


class Row(NamedTuple):
    """A stored entry as it is read back."""

    revision: int
    key: Key
    version: str
    op: Op
    body: bytes


_NONE = (None,) * _COLUMNS
_ROW = "log.id, log.kind, log.namespace, log.name, log.version, log.op, log.crc, log.body"


def terms(obj: meta.Object) -> set[tuple[str, str]]:
    """What the index knows an object by: its labels, and its owners' uids."""
    out = set((obj.metadata.labels or {}).items())
    out.update((OWNER, owner.uid) for owner in obj.metadata.owner_references or ())
    return out


def _term_changes(entry: Entry) -> tuple[str | None, str | None]:
    new = set() if entry.op is Op.DELETED else terms(entry.object)
    old = set() if entry.old is None else terms(entry.old)
    if new == old:
        return None, None
    return (json.dumps(sorted(new - old)) if new - old else None), (
        json.dumps(sorted(old - new)) if old - new else None
    )


def append(
    connection: sqlite3.Connection,
    entries: Sequence[Entry],
    letters: Sequence[outbox.Letter] = (),
    delivered: Collection[int] = (),
) -> None:
    """Write a group, new letters and the end of old ones: one statement that is its own transaction unless one is open.

    Raises sqlite3.Error.
    """
    rows = [_post(letter) for letter in letters]
    if delivered:
        rows.append((None, None, _DELIVERED, *_NONE[3:-1], json.dumps(sorted(delivered))))
    rows += [entry.row() for entry in entries]
    size = next(size for size in _GROUP_SIZES if size >= len(rows))
    parameters: list[Any] = []
    for row in rows:
        parameters += row
    parameters += _NONE * (size - len(rows))
    connection.execute(_APPEND[size], parameters)


def _post(letter: outbox.Letter) -> tuple[Any, ...]:
    return (None, letter.number, _POSTED, *_NONE[3:9], zlib.crc32(letter.body), letter.body, None, None)


def posted(connection: sqlite3.Connection) -> set[int]:
    """The numbers of the letters that are there. Raises sqlite3.Error."""
    return {row[0] for row in connection.execute("SELECT number FROM outbox")}


def compact(connection: sqlite3.Connection, revision: int, limit: int) -> bool:
    """Remove up to ``limit`` rows that nobody at or after ``revision`` can see; True when none is left.

    Within the caller's transaction.
    """
    connection.execute("INSERT OR REPLACE INTO setting VALUES ('compacted', ?)", (revision,))
    gone = connection.execute(
        "DELETE FROM log WHERE id IN (SELECT id FROM log WHERE next <> 0 AND next BETWEEN ? AND ? LIMIT ?)",
        (-revision, revision, limit),
    ).rowcount
    if gone >= limit:
        return False
    connection.execute("DELETE FROM term WHERE until <= ?", (revision,))
    connection.execute("DELETE FROM gap WHERE high < ?", (revision,))
    return True


# The + keep the planner from looking up a log row by the range of the whole page instead of by its name.
_MARKED = (
    "term AS mark CROSS JOIN log ON log.kind = +mark.kind AND log.namespace = +mark.namespace AND log.name = +mark.name"
)
_HAS_TERM = (
    "EXISTS (SELECT 1 FROM term WHERE (key, value, kind, namespace, name) = (?, ?, log.kind, log.namespace, log.name))"
)


class Start(NamedTuple):
    """What a store needs to know when it opens a database."""

    revision: int
    compacted: int
    gaps: list[tuple[int, int]]
    clean: bool


def start(connection: sqlite3.Connection) -> Start:
    """Open the book: find the last revision, leave a gap after an unclean end, and note that the book is open."""
    with sqlite.transaction(connection):
        settings = dict(connection.execute("SELECT name, value FROM setting"))
        last = connection.execute("SELECT coalesce(max(id), 0) FROM log").fetchone()[0]
        high = connection.execute("SELECT coalesce(max(high), 0) FROM gap").fetchone()[0]
        compacted = settings.get("compacted", 0)
        last = max(last, high, compacted)
        clean = settings.get("clean") == CLEAN
        skip = RESTORED_GAP if settings.get("restored") else 0 if clean else GAP
        if skip and last:
            connection.execute("INSERT INTO gap VALUES (?, ?)", (last, last + skip))
            last += skip
        connection.execute("DELETE FROM setting WHERE name = 'restored'")
        connection.execute("INSERT OR REPLACE INTO setting VALUES ('clean', 0)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    gaps = connection.execute("SELECT low, high FROM gap ORDER BY low").fetchall()
    return Start(last, compacted, gaps, clean)


def finish(connection: sqlite3.Connection, *, clean: bool) -> None:
    """Close the book. ``clean``: nothing is owed and no revision was lost; otherwise only the write-ahead log is in place."""
    connection.execute("INSERT OR REPLACE INTO setting VALUES ('clean', ?)", (CLEAN if clean else CHECKPOINTED,))


class Reader:
    """Reads of committed entries. Every method raises UnavailableError or CorruptError, and checks each body's checksum."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self._connection = connection
        self._path = path

    def current(self, key: Key) -> Row | None:
        """The present state of an object."""
        rows = self._rows("kind = ? AND namespace = ? AND name = ? AND next = 0", key)
        return rows[0] if rows else None

    def before(self, revision: int) -> Row | None:
        """The state that the entry of that revision replaced."""
        rows = self._rows("next <> 0 AND next = ?", (revision,))  # as the partial index says it
        return rows[0] if rows else None

    def since(self, kind: str, revision: int, limit: int) -> list[Row]:
        """The next entries of a kind after a revision, tombstones included, in order."""
        return self._rows("id > ? AND +kind = ? ORDER BY id LIMIT ?", (revision, kind, limit))  # +: walk by id

    def compactable(self, keep: int) -> int:
        """The revision up to which the log can be compacted so that at least ``keep`` newer entries stay; 0 for none."""
        rows = self._fetch(
            "SELECT next FROM log WHERE next <> 0 AND next > 0 ORDER BY next DESC LIMIT 1 OFFSET ?", (keep,)
        )
        return int(rows[0][0]) if rows else 0

    def page(self, query: Query) -> list[Row]:
        """Objects as they were at a revision, in (namespace, name) order."""
        source, where, parameters = query.sql()
        return self._rows(where, parameters, source)

    def count(self, query: Query) -> int:
        """How many objects a query has."""
        source, where, parameters = query.sql()
        return int(self._fetch(f"SELECT count(*) FROM (SELECT 1 FROM {source} WHERE {where})", parameters)[0][0])  # noqa: S608

    def dependents(self, uid: str, after: Key | None, limit: int) -> list[Key]:
        """Keys of objects that name an owner, in order; some may be gone by now."""
        start = after or Key("", "", "")
        rows = self._fetch(
            "SELECT kind, namespace, name FROM term WHERE key = ? AND value = ? AND until IS NULL "
            "AND (kind, namespace, name) > (?, ?, ?) ORDER BY kind, namespace, name LIMIT ?",
            (OWNER, uid, *start, limit),
        )
        return [Key(*row) for row in rows]

    def orphans(self) -> list[tuple[str, Key]]:
        """(owner's uid, key) of every object that names an owner who is not there."""
        rows = self._fetch(
            "SELECT term.value, term.kind, term.namespace, term.name FROM term "
            "LEFT JOIN (SELECT uid FROM log WHERE next = 0) AS alive ON alive.uid = term.value "
            "WHERE term.key = ? AND term.until IS NULL AND alive.uid IS NULL",
            (OWNER,),
        )
        return [(row[0], Key(*row[1:])) for row in rows]

    def pending(self) -> list[Key]:
        """Keys of objects that a collector has work with."""
        return [
            Key(*row)
            for row in self._fetch("SELECT kind, namespace, name FROM log WHERE pending > 0 AND next = 0 ORDER BY id")
        ]

    def keys(self) -> Iterator[Key]:
        """The key of every object that is there."""
        return (Key(*row) for row in self._fetch("SELECT kind, namespace, name FROM log WHERE next = 0"))

    def kinds(self) -> list[str]:
        """Every kind of the log; a loose index scan, a handful of steps."""
        out: list[str] = []
        while True:
            rows = self._fetch("SELECT min(kind) FROM log WHERE kind > ?", (out[-1] if out else "",))
            if rows[0][0] is None:
                return out
            out.append(rows[0][0])

    def letters(self) -> list[outbox.Letter]:
        """What other databases are owed, in order."""
        found = []
        for number, crc, body in self._fetch("SELECT number, crc, body FROM outbox ORDER BY number"):
            if zlib.crc32(body) != crc:
                raise sqlite.damaged(self._path, f"checksum of letter {number}")
            found.append(outbox.Letter(number, body))
        return found

    def _rows(self, where: str, parameters: Sequence[Any], source: str = "log") -> list[Row]:
        return list(self._checked(self._fetch(f"SELECT {_ROW} FROM {source} WHERE {where}", parameters)))  # noqa: S608

    def _checked(self, rows: list[Any]) -> Iterator[Row]:
        for revision, kind, namespace, name, version, op, crc, body in rows:
            if zlib.crc32(body) != crc:
                raise sqlite.damaged(self._path, f"checksum of {kind} {namespace}/{name} at revision {revision}")
            yield Row(revision, Key(kind, namespace, name), version, Op(op), body)

    def _fetch(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise sqlite.translate(error, self._path) from error


@dataclass(frozen=True, slots=True)
class Query:
    """A range of objects of one kind at one revision."""

    kind: str
    revision: int
    namespace: str | None = None
    name: str | None = None
    after: tuple[str, str] = ("", "")
    equalities: Sequence[tuple[str, str]] = ()
    limit: int = -1

    def sql(self) -> tuple[str, str, list[Any]]:
        """FROM, WHERE and parameters. With label equalities the first one's index drives, the others are looked up."""
        source, first = "log", "log"
        where: list[str] = []
        parameters: list[Any] = []
        if self.equalities:
            first = "mark"
            source = _MARKED
            where.append("mark.key = ? AND mark.value = ?")
            parameters += self.equalities[0]
        for pair in self.equalities[1:4]:
            where.append(_HAS_TERM)
            parameters += pair
        where.append(f"{first}.kind = ?")
        parameters.append(self.kind)
        if self.namespace is not None:
            where.append(f"{first}.namespace = ? AND {first}.name > ?")
            parameters += [self.namespace, self.after[1] if self.after[0] == self.namespace else ""]
        else:
            where.append(f"({first}.namespace, {first}.name) > (?, ?)")
            parameters += self.after
        if self.name is not None:
            where.append(f"{first}.name = ?")
            parameters.append(self.name)
        where.append("log.id <= ? AND (log.next = 0 OR log.next > ?)")
        parameters += [self.revision, self.revision]
        tail = f" ORDER BY {first}.namespace, {first}.name LIMIT ?"
        parameters.append(self.limit)
        return source, " AND ".join(where) + tail, parameters
