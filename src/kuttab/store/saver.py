"""Committing entries on one connection that is given up when it cannot be trusted.

After anything but a full or locked disk the connection is closed; the next try opens the file anew, moves its write-ahead log into place,
checks it, and writes what is missing, whatever was committed since the last fsync included. (An fsync that failed once may "succeed" the
second time without having written anything.)

Letters (:mod:`kuttab.ports.outbox`) are written with the group that may rely on them, and removed with a later one.
"""

from __future__ import annotations

import collections
import contextlib
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from kuttab.base import disk, errors
from kuttab.ports import outbox
from kuttab.store import log, sqlite

_SAME_CONNECTION = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
_COMPACT_ROWS: Final = 512
_CHECKPOINT_ROWS: Final = 1024
"""Entries after which the write-ahead log is moved into the database: some 16 MB of pages."""

Connect = Callable[[], sqlite3.Connection]
Letters = Sequence[outbox.Letter] | None
"""What is owed; None leaves the outbox as it is."""


class Saver:
    """Saves groups on one connection, reopening it when it cannot be trusted. Used by one thread at a time."""

    def __init__(self, path: Path | None, connect: Connect, durable: int) -> None:
        self.path = path
        self._log = None if path is None else sqlite.log_of(path)
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._identity = _identity(path)
        self._loose: collections.deque[log.Entry] = collections.deque()
        """Entries that were committed and are not known to be on disk."""
        self._synced = durable
        self._rows = 0
        self._posted: set[int] | None = None
        """Numbers of the letters in the outbox, once they have been asked for on this connection."""
        self.last = durable
        """The last revision committed."""
        self.compacting = 0
        self._compacted = 0

    def open(self) -> sqlite3.Connection:
        """The connection, opened if need be."""
        if self._connection is None:
            self._connection = self._connect()
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
            self._connection.execute("PRAGMA busy_timeout = 0")
        return self._connection

    @property
    def distrusted(self) -> bool:
        """Whether the connection was given up: even without anything new, the file has to be looked at."""
        return self._connection is None

    def save(self, entries: Sequence[log.Entry], owed: Letters = None, *, hasty: bool = False) -> None:
        """Commit a group and what it may rely on, or raise: UnavailableError to try again, CorruptError to stop for good.

        ``hasty``: in the time of those who wait, so neither wait for locks nor clean up.
        """
        with self._telling():
            if _identity(self.path) != self._identity:
                raise errors.UnavailableError(f"{self.path} was removed or replaced while in use; put it back")
            if self._connection is None:
                self._reopen(owed)
            if entries and entries[0].revision <= self.last:
                entries = [entry for entry in entries if entry.revision > self.last]
            if hasty:
                self._append(self.open(), entries, owed)
            else:
                with sqlite.patient(self.open()) as connection:
                    self._append_and_compact(connection, entries, owed)
        self._committed(entries, owed)

    def _append_and_compact(self, connection: sqlite3.Connection, entries: Sequence[log.Entry], owed: Letters) -> None:
        if not self.compacting:
            self._append(connection, entries, owed)
            return
        with sqlite.transaction(connection):
            self._append(connection, entries, owed)
            done = log.compact(connection, self.compacting, _COMPACT_ROWS)
        self._compacted = self.compacting
        if done:
            self.compacting = 0

    def _append(self, connection: sqlite3.Connection, entries: Sequence[log.Entry], owed: Letters) -> None:
        fresh: Sequence[outbox.Letter] = ()
        delivered: Collection[int] = ()
        if owed is not None:
            posted = self._posted = log.posted(connection) if self._posted is None else self._posted
            if owed or posted:
                fresh = [letter for letter in owed if letter.number not in posted]
                delivered = posted.difference(letter.number for letter in owed)
        if entries or fresh or delivered:
            log.append(connection, entries, fresh, delivered)

    def _committed(self, entries: Sequence[log.Entry], owed: Letters) -> None:
        if owed is not None:
            self._posted = {letter.number for letter in owed}
        if entries:
            self.last = entries[-1].revision
            self._loose.extend(entries)
            self._rows += len(entries)

    def sync(self) -> None:
        """Bring what was committed up to now to the disk; the only call that may be made beside others. UnavailableError."""
        if self._log is None:
            return
        try:
            disk.sync(self._log)
        except FileNotFoundError as error:
            raise errors.UnavailableError(f"{self._log} was removed while in use; put it back") from error

    def synced(self, revision: int) -> None:
        """An fsync that began when everything up to this revision was committed has succeeded."""
        self._synced = max(self._synced, revision)
        while self._loose and self._loose[0].revision <= self._synced:
            self._loose.popleft()

    def distrust(self, error: OSError) -> errors.KuttabError:
        """An fsync has failed: what was committed since the last one has to be looked at; the error in our words."""
        self.close()
        return sqlite.translate(error, self.path)

    def tidy(self) -> None:
        """Move the write-ahead log into the database when it has become long; everything committed is synced then."""
        if self._rows < _CHECKPOINT_ROWS or self._connection is None:
            return
        with self._telling():
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._rows = 0

    def _check_whole(self, connection: sqlite3.Connection) -> None:
        """Only a tail can be lost and written again; CorruptError when something is missing before what is there."""
        there = {row[0] for row in connection.execute("SELECT id FROM log WHERE id > ?", (self._synced,))}
        for entry in self._loose:
            if self._compacted < entry.revision <= self.last and entry.revision not in there:
                raise sqlite.damaged(self.path, f"revision {entry.revision} is missing")

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):  # a broken connection may fail to close; it is gone either way
                self._connection.close()
            self._connection = self._posted = None

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise errors.CorruptError(
                f"{self.path} was changed by another process ({error}); end that process and start again"
            ) from error
        except (sqlite3.Error, OSError) as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if self.path is not None and code not in _SAME_CONNECTION:
                self.close()
            raise sqlite.translate(error, self.path) from error

    def _reopen(self, owed: Letters) -> None:
        try:
            with sqlite.patient(self.open()) as connection:
                self._recover(connection, owed)
        except BaseException:
            self.close()
            raise

    def _recover(self, connection: sqlite3.Connection, owed: Letters) -> None:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise errors.UnavailableError(f"{self.path} is being read; trying again")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite.damaged(self.path, verdict)
        self._append(connection, (), owed)  # lost letters, before what may rely on them
        found = connection.execute("SELECT coalesce(max(id), 0) FROM log").fetchone()[0]
        self.last = max(self._synced, found)
        self._check_whole(connection)
        self.synced(self.last)
        lost = list(self._loose)  # by the disk, though it was committed
        for start in range(0, len(lost), log.GROUP):
            log.append(connection, lost[start : start + log.GROUP])
        self._rows += len(lost)
        self.last = lost[-1].revision if lost else self.last


def _identity(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


class Entries:
    """Entries on their way to a saver: what is queued, and the group that is being saved until that has succeeded."""

    def __init__(self, saver: Saver, reliance: outbox.Reliance | None = None) -> None:
        self._saver = saver
        self._reliance = reliance
        self._queued: collections.deque[log.Entry] = collections.deque()
        self._group: list[log.Entry] = []

    def __len__(self) -> int:
        return len(self._queued) + len(self._group)

    def put(self, entry: log.Entry) -> None:
        """Queue an entry; the only call that may be made beside others."""
        self._queued.append(entry)

    def save(self, *, patience: float, hasty: bool = False) -> bool:
        """Commit the next group; whether there is another one."""
        while self._queued and len(self._group) < log.GROUP:
            self._group.append(self._queued.popleft())
        if self._group or self._saver.distrusted or (self._saver.compacting and not hasty):
            if hasty and self._saver.distrusted:
                raise errors.UnavailableError("the database has to be looked at first")
            owed = None if self._reliance is None else self._reliance.owed(patience)
            self._saver.save(self._group, owed, hasty=hasty)
        self._group.clear()
        return bool(self._queued)

    def sweep(self) -> None:
        """Remove letters that have come to their place since the last group; errors as for a group."""
        if self._reliance is not None and not self._saver.distrusted:
            self._saver.save((), self._reliance.owed(0.0), hasty=True)

    def clear(self) -> None:
        """Drop what is queued."""
        self._queued.clear()
        self._group.clear()
