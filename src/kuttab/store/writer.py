"""Bringing entries to the disk: in order, in groups, and never reporting what is not there.

A group is one transaction. Committed, it is with the operating system and outlives this program (``kept``); one fsync of the
write-ahead log later it outlives a power loss as well (``durable``). A thread does both for what nobody waits for, a moment's changes
at a time. Who waits only for the first does it himself when the thread is idle: no switch of threads, no disk. When the disk fails, the
same entries are tried again with growing pauses.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from kuttab.base import errors
from kuttab.base import log as logs
from kuttab.ports import outbox
from kuttab.store import log, saver

_LOG = logs.get(__name__)
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_PATIENCE: Final = 1.0
"""Seconds to wait for what a group relies on, before looking whether to stop."""
_GATHER: Final = 0.025
"""Seconds for which changes are gathered that nobody waits for: fewer flushes, and one that is waited for finds the disk free."""

_TURN: Final = 0.002
"""Seconds for which the loop waits for the thread's running commit, as long as one takes, before it leaves its own to the thread."""

_ROWS: Final = 0.005
"""Seconds for which the loop waits for what its commit relies on, when that is too much to be written along with it."""


class Writer(Protocol):
    """How a store hands its entries over."""

    durable: int
    """Everything up to this revision is on disk."""
    failure: str
    """Why the disk refuses at the moment; empty when it does not."""
    fatal: errors.KuttabError | None
    """Why nothing will ever be written again."""

    @property
    def kept(self) -> int:
        """Everything up to this revision outlives this program."""
        ...

    def submit(self, entry: log.Entry) -> None:
        """Queue an entry."""
        ...

    def compact(self, revision: int) -> None:
        """Remove what only revisions before this one can see, bit by bit along with later groups."""
        ...

    async def flush(self, *, keep: bool) -> None:
        """Somebody waits for what is queued, ``keep``: only until it is kept. Do it now, or see that it is done at once."""
        ...

    def relieve(self) -> None:
        """Make room now, if that is the caller's business."""
        ...

    def sweep(self) -> None:
        """Tidy up before an orderly end, when everything is written. Blocks for a short transaction."""
        ...

    def stop(self) -> None:
        """End; what is queued and not written is dropped. Blocks for the running transaction."""
        ...


class ThreadWriter:
    """Writes in a thread of its own and calls ``notify`` (from that thread) after each step and each change of health."""

    def __init__(
        self,
        path: Path,
        connect: saver.Connect,
        durable: int,
        notify: Callable[[], None],
        reliance: outbox.Reliance | None,
    ) -> None:
        self.durable = durable
        self.failure = ""
        self.fatal: errors.KuttabError | None = None
        self._saver = saver.Saver(path, connect, durable)
        self._entries = saver.Entries(self._saver, reliance)
        self._notify = notify
        self._turn = threading.Lock()
        """Whose turn it is to use the saver."""
        self._called = threading.Event()
        self._hurry = threading.Event()
        self._awaited = threading.Event()
        """Somebody waits for a commit, not for the sync after it."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kuttab-store", daemon=True)
        self._thread.start()

    @property
    def kept(self) -> int:
        """Everything up to this revision outlives this program."""
        return self._saver.last

    def submit(self, entry: log.Entry) -> None:
        """Queue an entry."""
        self._entries.put(entry)
        if not self._called.is_set():
            self._called.set()

    def compact(self, revision: int) -> None:
        """Remove rows along with the next groups."""
        self._saver.compacting = revision

    async def flush(self, *, keep: bool) -> None:
        """Commit here and now if that is wanted, it is not much, and the thread is not busy; else the thread gathers no longer."""
        little = len(self._entries) <= log.GROUP
        if keep and little and not self.failure and self._turn.acquire(timeout=_TURN):
            try:
                self._entries.save(patience=_ROWS, hasty=True)
                return
            except errors.KuttabError as problem:  # the thread meets it again, and tells
                _LOG.debug("store.hasty.failed", problem=problem)
            finally:
                self._turn.release()
        if keep:
            self._awaited.set()
        self._hurry.set()

    def relieve(self) -> None:
        """The thread does it."""

    def sweep(self) -> None:
        """Remove letters that have arrived; those that stay are known to have arrived, or brought once more, by the next run."""
        try:
            with self._turn:
                self._entries.sweep()
        except errors.KuttabError as problem:
            _LOG.debug("store.sweep.failed", problem=problem)

    def stop(self) -> None:
        """End the thread; blocks until its running transaction has ended."""
        self._stopping.set()
        self._hurry.set()
        self._called.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._turn:
                self._saver.open()
            while self._gather() and self._carry():
                pass
        except Exception as error:
            self.fatal = errors.UnavailableError(f"the store's writer failed: {type(error).__name__}: {error}")
            _LOG.exception("store.writer.failed")
            self._notify()
        finally:
            with self._turn:
                self._saver.close()

    def _gather(self) -> bool:
        """Wait for the first entry, and a moment for others; False to end."""
        self._called.wait()
        self._called.clear()
        if not self._stopping.is_set():
            self._hurry.wait(_GATHER)
            self._hurry.clear()
        return not self._stopping.is_set()

    def _carry(self) -> bool:
        """Bring everything to the disk, again and again until that has succeeded; False to end."""
        pause = _FIRST_PAUSE
        while True:
            try:
                self._bring()
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
                return True

    def _bring(self) -> None:
        """Commit everything, then sync it."""
        more = True
        while more:
            with self._turn:
                more = self._entries.save(patience=_PATIENCE)
                revision = self._saver.last
        if self._awaited.is_set():
            self._awaited.clear()
            self._notify()
        try:
            self._saver.sync()
        except OSError as error:
            with self._turn:
                raise self._saver.distrust(error) from error
        with self._turn:
            self._saver.synced(revision)
            self._saver.tidy()
        if self.failure:
            _LOG.warning("store.disk.recovered", revision=revision)
        self.failure = ""
        self.durable = revision
        self._notify()


class InlineWriter:
    """Writes when told to, in the caller's thread: the same states at the same points on every run."""

    def __init__(self, path: Path | None, connect: saver.Connect, durable: int) -> None:
        self.durable = durable
        self.failure = ""
        self.fatal: errors.KuttabError | None = None
        self._saver = saver.Saver(path, connect, durable)
        self._entries = saver.Entries(self._saver)

    @property
    def kept(self) -> int:
        """What is kept is on disk at once."""
        return self.durable

    def submit(self, entry: log.Entry) -> None:
        """Queue an entry."""
        self._entries.put(entry)

    def compact(self, revision: int) -> None:
        """Remove rows along with the next groups."""
        self._saver.compacting = revision

    async def flush(self, *, keep: bool) -> None:  # noqa: ARG002
        """Write everything queued; tries again with growing pauses until it is done."""
        pause = _FIRST_PAUSE
        while not self._save_all():
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def relieve(self) -> None:
        """Write everything queued, if the disk takes it."""
        self._save_all()

    def sweep(self) -> None:
        """It has no letters."""

    def _save_all(self) -> bool:
        if self.fatal is not None or (not self._entries and self.durable == self._saver.last):
            return True
        try:
            while self._entries.save(patience=0.0):
                pass
            self._sync()
        except errors.CorruptError as error:
            self.fatal = error
        except errors.UnavailableError as error:
            self.failure = error.message
            return False
        else:
            self.failure = ""
            self.durable = self._saver.last
        return True

    def _sync(self) -> None:
        try:
            self._saver.sync()
        except OSError as error:
            raise self._saver.distrust(error) from error
        self._saver.synced(self._saver.last)
        self._saver.tidy()

    def stop(self) -> None:
        """Drop what is queued."""
        self._entries.clear()
        self._saver.close()
