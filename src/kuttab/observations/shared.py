"""The observation log's database, used by one thread at a time, and the ends of trials that are on their way to it.

The log's own thread brings them to the disk, before everything that is asked for later. Whoever relies on them meanwhile gets them as
letters, to be written along with what follows from them, or waits, when they are too much for that. While the database refuses, he
tries again himself.
"""

from __future__ import annotations

import collections
import importlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kuttab.base import errors
from kuttab.ports import outbox

if TYPE_CHECKING:
    from kuttab.observations import database
    from kuttab.observations import ends as ends_

T = TypeVar("T")

_UNHURRIED: Final = 1.0
"""Seconds of patience with which somebody tries again himself; others only hear that it was refused."""

_MANY: Final = outbox.MOST // 4
"""Ends that wait without anybody having asked for them."""


class Shared:
    """One :class:`kuttab.observations.database.Database`, loaded and opened by the first job; ``nudge`` wakes the thread that writes."""

    def __init__(self, url: str, nudge: Callable[[], None]) -> None:
        self._url = url
        self._nudge = nudge
        self._turn = threading.Lock()
        """Whose turn it is to use the database."""
        self._database: database.Database | None = None
        self._ends: collections.deque[ends_.End] = collections.deque()
        self._settled = threading.Condition()
        self._owed: dict[int, ends_.End] = {}
        """Ends that are not on disk, by number: those that wait, and those that are being written."""
        self._heavy = 0
        """How many of them are too large for a letter."""
        self._last = 0
        self._problem = ""
        """Why the last try to write them failed; empty when it did not."""
        self._closed = False

    def add(self, end: ends_.End) -> None:
        """Take an end, to be done before everything that is asked for later. It keeps a number of an earlier run, or gets one."""
        heavy = not end.light
        with self._settled:
            end.number = end.number or self._last + 1
            self._last = max(self._last, end.number)
            self._owed[end.number] = end
            self._heavy += heavy
        self._ends.append(end)
        if heavy or len(self._ends) in (1, _MANY):
            self._nudge()

    def run(self, jobs: Sequence[database.Job]) -> list[Any]:
        """Do all ends and then all jobs, in one transaction that is on disk afterwards; the jobs' answers."""
        with self._turn:
            ends = [self._ends.popleft() for _ in range(len(self._ends))]  # others may be added meanwhile
            if not ends and not jobs:
                return []
            results: list[Any] = [errors.UnavailableError("it was not written")] * len(ends)
            try:
                results = self._opened().run([*ends, *jobs])
            finally:
                self._enter(ends, results)
            return results[len(ends) :]

    def _enter(self, ends: Sequence[ends_.End], results: Sequence[Any]) -> None:
        """Keep the ends that failed, in order, and tell those who wait for the others."""
        failed = [(end, answer) for end, answer in zip(ends, results, strict=False) if isinstance(answer, Exception)]
        self._ends.extendleft(end for end, _ in reversed(failed))
        kept = {end.number for end, _ in failed}
        with self._settled:
            for end in ends:
                if end.number not in kept:
                    del self._owed[end.number]
                    self._heavy -= not end.light
            if ends:
                self._problem = _words(failed[0][1]) if failed else ""
            self._settled.notify_all()

    def wait(self, patience: float) -> None:
        """Return when every end that was taken is on disk.

        DeadlineError when that takes longer than ``patience`` seconds, UnavailableError while the database refuses: ask again.
        """
        self._when(lambda: None if self._owed else True, patience)

    def letters(self, patience: float) -> list[outbox.Letter]:
        """What is not on disk, in order, when that is little enough; waits for that, with the errors of :meth:`wait`."""
        return self._when(self._portable, patience)

    def _portable(self) -> list[outbox.Letter] | None:
        if self._owed and (self._problem or self._heavy or len(self._owed) > outbox.MOST):
            return None
        return [end.letter() for end in self._owed.values()]

    def _when(self, look: Callable[[], T | None], patience: float) -> T:
        """What is seen when it is not None, looked at while nobody adds."""
        with self._settled:
            if (found := look()) is not None:
                return found
            self._nudge()
            self._settled.wait_for(lambda: look() is not None or bool(self._problem), patience)
            if (found := look()) is not None:
                return found
            refused = bool(self._problem)
        if not refused:
            raise errors.DeadlineError("metric rows wait for their database, which is slow")
        if patience >= _UNHURRIED and not self._closed:
            self.run([])
        with self._settled:
            if (found := look()) is not None:
                return found
            raise errors.UnavailableError(f"metric rows wait for their database: {self._problem}")

    def _opened(self) -> database.Database:
        if self._database is None:
            # SQLAlchemy comes with it, so it is loaded by the first job.
            self._database = importlib.import_module("kuttab.observations.database").Database(self._url)
            self._closed = False
        return self._database

    def close(self) -> None:
        """Disconnect; the next job connects anew."""
        with self._turn:
            self._closed = True
            with self._settled:
                if self._owed:
                    self._problem = f"it was closed ({self._problem or 'too slow'})"
            if self._database is not None:
                self._database.close()
                self._database = None


def _words(problem: Exception) -> str:
    return problem.message if isinstance(problem, errors.KuttabError) else str(problem)
