"""A machine in a thread of its own, with its own event loop: for callers that have one running, or none, or are about to block.

One machine per data folder and process; whoever asks for it while it runs shares it, and the last one to leave stops it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from kuttab.base import errors
from kuttab.wiring import machine
from kuttab.wiring import settings as settings_

T = TypeVar("T")
_ENDING = 30.0

_lock = threading.Lock()
_running: dict[Path, Background] = {}


class Background:
    """A running machine, seen from other threads."""

    def __init__(self, settings: settings_.Settings) -> None:
        self.settings = settings
        self.machine: machine.Machine
        self.users = 0
        self._loop: asyncio.AbstractEventLoop
        self._leave: asyncio.Event
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="kuttab-machine", daemon=True)

    def start(self) -> None:
        """Start and wait until it runs; raises what kept it from starting (LockedError when another process owns the folder)."""
        self._thread.start()
        self._ready.result()

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine in the machine's loop."""
        if not self._thread.is_alive():
            work.close()
            raise errors.UnavailableError("the machine has stopped")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """The same, and wait for the result."""
        return self.result(self.submit(work))

    def result(self, of: concurrent.futures.Future[T]) -> T:
        """What a submitted coroutine gave; what ended the machine, when that is why it gave nothing."""
        try:
            return of.result()
        except concurrent.futures.CancelledError:
            self._thread.join(_ENDING)
            if self._problem is None:
                raise
            raise errors.UnavailableError(f"the machine has stopped: {_cause(self._problem)}") from self._problem

    def stop(self) -> None:
        """Stop it and wait until it has stopped; everything acknowledged is on disk then. Raises what ended it or kept it from that."""
        with contextlib.suppress(RuntimeError):  # its loop has ended by itself
            self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join()
        if self._problem is not None:
            raise self._problem

    def _work(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as problem:
            if not self._ready.done():
                self._ready.set_exception(problem)
            else:
                self._problem = problem

    async def _run(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        async with machine.running(self.settings) as found:
            self.machine = found
            self._ready.set_result(None)
            await self._leave.wait()


@contextlib.contextmanager
def world(settings: settings_.Settings) -> Iterator[Background]:
    """The machine of a data folder. Raises LockedError when another process owns it."""
    place = settings.data.resolve()
    with _lock:
        found = _running.get(place)
        if found is None:
            found = Background(settings)
            found.start()
            _running[place] = found
        found.users += 1
    try:
        yield found
    except BaseException:
        with contextlib.suppress(Exception):  # what the caller ran into comes first
            _leave(place, found)
        raise
    _leave(place, found)


def _leave(place: Path, found: Background) -> None:
    with _lock:
        found.users -= 1
        if not found.users:
            del _running[place]
            found.stop()


def _cause(problem: BaseException) -> BaseException:
    """The error inside of a group of errors."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem


def _forked() -> None:
    """A forked child has none of the threads."""
    _running.clear()


os.register_at_fork(after_in_child=_forked)
