"""Bringing entries to the disk: in order, in groups, and never reporting what is not there.

A group is one transaction with one fsync; what nobody waits for is gathered for a moment first. When the disk fails the same
group is tried again with growing pauses: after anything but a full or locked disk the connection is given up, the file is opened
anew, its log is moved into place and checked, and only entries that are missing are written. (An fsync that failed once may
"succeed" the second time without having written anything.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from kuttab.base import errors
from kuttab.base import log as logs
from kuttab.store import log, sqlite

_LOG = logs.get(__name__)
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_SAME_CONNECTION = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
_COMPACT_ROWS: Final = 512
_GATHER: Final = 0.025
"""Seconds for which changes are gathered that nobody waits for: fewer flushes, and one that is waited for finds the disk free."""

Connect = Callable[[], sqlite3.Connection]


class Writer(Protocol):
    """How a store hands its entries over."""

    durable: int
    """Everything up to this revision is on disk."""
    failure: str
    """Why the disk refuses at the moment; empty when it does not."""
    fatal: errors.KuttabError | None
    """Why nothing will ever be written again."""

    def submit(self, entry: log.Entry) -> None:
        """Queue an entry."""
        ...

    def compact(self, revision: int) -> None:
        """Remove what only revisions before this one can see, bit by bit along with later groups."""
        ...

    async def flush(self) -> None:
        """Somebody waits for what is queued: write it now, or see that it is written at once."""
        ...

    def relieve(self) -> None:
        """Make room now, if that is the caller's business."""
        ...

    def stop(self) -> None:
        """End; what is queued and not written is dropped. Blocks for the running transaction."""
        ...


class _Saver:
    """Saves groups on one connection, reopening it when it cannot be trusted. Used from one thread."""

    def __init__(self, path: Path | None, connect: Connect, durable: int) -> None:
        self._path = path
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._identity = _identity(path)
        self._last = durable
        self.compacting = 0

    def open(self) -> sqlite3.Connection:
        """The connection, opened if need be."""
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def save(self, entries: Sequence[log.Entry]) -> None:
        """Write a group durably, or raise: UnavailableError to try again, CorruptError to stop for good."""
        try:
            if _identity(self._path) != self._identity:
                raise errors.UnavailableError(f"{self._path} was removed or replaced while in use; put it back")
            if self._connection is None:
                self._reopen()
            missing = [entry for entry in entries if entry.revision > self._last]
            connection = self.open()
            if self.compacting:
                with sqlite.transaction(connection):
                    log.append(connection, missing)
                    done = log.compact(connection, self.compacting, _COMPACT_ROWS)
                if done:
                    self.compacting = 0
            elif missing:
                log.append(connection, missing)
        except sqlite3.IntegrityError as error:
            raise errors.CorruptError(
                f"{self._path} was changed by another process ({error}); end that process and start again"
            ) from error
        except (sqlite3.Error, OSError) as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if self._path is not None and code not in _SAME_CONNECTION:
                self.close()
            raise sqlite.translate(error, self._path) from error
        self._last = entries[-1].revision

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):  # a broken connection may fail to close; it is gone either way
                self._connection.close()
            self._connection = None

    def _reopen(self) -> None:
        connection = self.open()
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise errors.UnavailableError(f"{self._path} is being read; trying again")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite.damaged(self._path, verdict)
        self._last = max(self._last, connection.execute("SELECT coalesce(max(id), 0) FROM log").fetchone()[0])


def _identity(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


class ThreadWriter:
    """Writes in a thread of its own and calls ``notify`` (from that thread) after each group and each change of health."""

    def __init__(
        self,
        path: Path,
        connect: Connect,
        durable: int,
        notify: Callable[[], None],
        before: Callable[[], None] | None = None,
    ) -> None:
        self.durable = durable
        self.failure = ""
        self.fatal: errors.KuttabError | None = None
        self._before = before
        self._saver = _Saver(path, connect, durable)
        self._notify = notify
        self._queue: queue.SimpleQueue[log.Entry | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kuttab-store", daemon=True)
        self._thread.start()

    def submit(self, entry: log.Entry) -> None:
        """Queue an entry."""
        self._queue.put(entry)

    def compact(self, revision: int) -> None:
        """Remove rows along with the next groups."""
        self._saver.compacting = revision

    async def flush(self) -> None:
        """The thread gathers no longer."""
        self._hurry.set()

    def relieve(self) -> None:
        """The thread does it."""

    def stop(self) -> None:
        """End the thread; blocks until its running transaction has ended."""
        self._stopping.set()
        self._hurry.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._saver.open()
            while not self._stopping.is_set():
                group = self._next_group()
                if group and not self._save(group):
                    return
        except Exception as error:
            self.fatal = errors.UnavailableError(f"the store's writer failed: {type(error).__name__}: {error}")
            _LOG.exception("store.writer.failed")
            self._notify()
        finally:
            self._saver.close()

    def _next_group(self) -> list[log.Entry]:
        entry = self._queue.get()
        self._hurry.wait(_GATHER)
        self._hurry.clear()
        group: list[log.Entry] = []
        while entry is not None:
            group.append(entry)
            if len(group) == log.GROUP:
                break
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                break
        return group

    def _save(self, group: list[log.Entry]) -> bool:
        pause = _FIRST_PAUSE
        while True:
            try:
                if self._before is not None:
                    self._before()
                self._saver.save(group)
            except errors.DeadlineError:
                if self._stopping.is_set():
                    return False
            except errors.CorruptError as error:
                self.fatal = error
                _LOG.error("store.corrupt", error=error)
                self._notify()
                return False
            except errors.UnavailableError as error:
                if not self.failure:
                    _LOG.warning("store.disk.failing", error=error)
                self.failure = error.message
                self._notify()
                if self._stopping.wait(pause):
                    return False
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                if self.failure:
                    _LOG.warning("store.disk.recovered", revision=group[-1].revision)
                self.failure = ""
                self.durable = group[-1].revision
                self._notify()
                return True


class InlineWriter:
    """Writes when told to, in the caller's thread: the same states at the same points on every run."""

    def __init__(self, path: Path | None, connect: Connect, durable: int) -> None:
        self.durable = durable
        self.failure = ""
        self.fatal: errors.KuttabError | None = None
        self._saver = _Saver(path, connect, durable)
        self._entries: list[log.Entry] = []

    def submit(self, entry: log.Entry) -> None:
        """Queue an entry."""
        self._entries.append(entry)

    def compact(self, revision: int) -> None:
        """Remove rows along with the next groups."""
        self._saver.compacting = revision

    async def flush(self) -> None:
        """Write everything queued; tries again with growing pauses until it is done."""
        pause = _FIRST_PAUSE
        while not self._save_all():
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def relieve(self) -> None:
        """Write everything queued, if the disk takes it."""
        self._save_all()

    def _save_all(self) -> bool:
        while self._entries and self.fatal is None:
            group = self._entries[: log.GROUP]
            try:
                self._saver.save(group)
            except errors.CorruptError as error:
                self.fatal = error
            except errors.UnavailableError as error:
                self.failure = error.message
                return False
            else:
                del self._entries[: len(group)]
                self.failure = ""
                self.durable = group[-1].revision
        return True

    def stop(self) -> None:
        """Drop what is queued."""
        self._entries.clear()
        self._saver.close()
