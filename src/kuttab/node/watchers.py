"""Being told that a child has ended: by the kernel where it can (pidfd, kqueue), else by one shared poll.

No thread and no timer per child. A watcher only says *that* a process ended; reaping it is the business of ``processes``.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from kuttab.node import identity

Callback = Callable[[], None]

_NAP: Final = 1e-6
"""Seconds to ask for; the kernel makes some fifty microseconds of it."""

# Parts of these modules exist on some systems only.
_os: Any = os
_select: Any = select


class Watcher(Protocol):
    """Calls back once, in the event loop, when a child has ended."""

    def watch(self, pid: int, callback: Callback) -> None:
        """Start; the child must not have been reaped."""
        ...

    def forget(self, pid: int) -> None:
        """Stop; idempotent."""
        ...

    def close(self) -> None:
        """Forget everything."""
        ...


def best(loop: asyncio.AbstractEventLoop) -> Watcher:
    """The cheapest watcher that this system offers."""
    if hasattr(os, "pidfd_open"):
        try:
            os.close(_os.pidfd_open(os.getpid()))
        except OSError:  # A kernel before 5.3, or one that forbids the call.
            return PollWatcher(loop)
        return PidfdWatcher(loop)
    if sys.platform == "darwin" and hasattr(select, "kqueue"):
        return KqueueWatcher(loop)
    return PollWatcher(loop)


class PidfdWatcher:
    """Linux: a file descriptor per child that becomes readable when it ends.

    The kernel wakes us before the processor of the child that ends is free, so on a machine that has no other one we take the processor
    of a child that runs; the scheduler lets that one wait there for up to a tick (4 ms) while the other processor idles. So where children
    keep all processors busy we sleep once more, as shortly as can be: woken anew, we get the one that has become free.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fds: dict[int, int] = {}
        self._processors = len(_os.sched_getaffinity(0))

    def watch(self, pid: int, callback: Callback) -> None:
        """Start watching; OSError when descriptors have run out."""
        fd: int = _os.pidfd_open(pid)
        self._fds[pid] = fd
        self._loop.add_reader(fd, self._fire, pid, callback)

    def _fire(self, pid: int, callback: Callback) -> None:
        if len(self._fds) >= self._processors:
            time.sleep(_NAP)
        self.forget(pid)
        callback()

    def forget(self, pid: int) -> None:
        """Stop watching."""
        fd = self._fds.pop(pid, None)
        if fd is not None:
            self._loop.remove_reader(fd)
            os.close(fd)

    def close(self) -> None:
        """Stop watching all."""
        for pid in list(self._fds):
            self.forget(pid)


class KqueueWatcher:
    """macOS: one kernel queue for all children, itself readable when one has ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue = _select.kqueue()
        self._callbacks: dict[int, Callback] = {}
        loop.add_reader(self._queue.fileno(), self._drain)

    def watch(self, pid: int, callback: Callback) -> None:
        """Start watching; a child that has just ended is told at once."""
        self._callbacks[pid] = callback
        event = _select.kevent(
            pid, _select.KQ_FILTER_PROC, _select.KQ_EV_ADD | _select.KQ_EV_ONESHOT, _select.KQ_NOTE_EXIT
        )
        try:
            self._queue.control([event], 0)
        except ProcessLookupError:
            self._loop.call_soon(self._fire, pid)

    def _drain(self) -> None:
        for event in self._queue.control(None, 64, 0):
            self._fire(event.ident)

    def _fire(self, pid: int) -> None:
        callback = self._callbacks.pop(pid, None)
        if callback is not None:
            callback()

    def forget(self, pid: int) -> None:
        """Stop watching."""
        self._callbacks.pop(pid, None)

    def close(self) -> None:
        """Stop watching all."""
        self._callbacks.clear()
        self._loop.remove_reader(self._queue.fileno())
        self._queue.close()


class PollWatcher:
    """Anywhere else: one timer for all children, running only while there are any."""

    INTERVAL = 0.05

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: dict[int, Callback] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, pid: int, callback: Callback) -> None:
        """Start watching."""
        self._callbacks[pid] = callback
        if self._timer is None:
            self._timer = self._loop.call_later(self.INTERVAL, self._look)

    def _look(self) -> None:
        self._timer = None
        for pid, callback in list(self._callbacks.items()):
            found = identity.stat(pid)
            if found is None or found.zombie:
                self._callbacks.pop(pid, None)
                callback()
        if self._callbacks:
            self._timer = self._loop.call_later(self.INTERVAL, self._look)

    def forget(self, pid: int) -> None:
        """Stop watching."""
        self._callbacks.pop(pid, None)

    def close(self) -> None:
        """Stop watching all."""
        self._callbacks.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
