"""The observation log's database, used by one thread at a time, and the ends of trials that are on their way to it.

The log's own thread brings them to the disk, before everything that is asked for later. While the database refuses, whoever relies on them
tries again when he asks.
"""

from __future__ import annotations

import collections
import importlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from kuttab.base import errors

if TYPE_CHECKING:
    from kuttab.observations import database

_UNHURRIED: Final = 1.0
"""Seconds of patience with which somebody tries again himself; others only hear that it was refused."""


class Shared:
    """One :class:`kuttab.observations.database.Database`, loaded and opened by the first job."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turn = threading.Lock()
        """Whose turn it is to use the database."""
        self._database: database.Database | None = None
        self._ends: collections.deque[database.Job] = collections.deque()
        self._settled = threading.Condition()
        self._open = 0
        """Ends that are not on disk: those that wait, and those that are being written."""
        self._problem = ""
        """Why the last try to write them failed; empty when it did not."""
        self._closed = False

    def add(self, end: database.Job) -> None:
        """Take an end, to be done before everything that is asked for later."""
        with self._settled:
            self._open += 1
        self._ends.append(end)

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

    def _enter(self, ends: Sequence[database.Job], results: Sequence[Any]) -> None:
        """Keep the ends that failed, in order, and tell those who wait for the others."""
        failed = [(end, answer) for end, answer in zip(ends, results, strict=False) if isinstance(answer, Exception)]
        self._ends.extendleft(end for end, _ in reversed(failed))
        with self._settled:
            self._open -= len(ends) - len(failed)
            if ends:
                self._problem = _words(failed[0][1]) if failed else ""
            self._settled.notify_all()

    def wait(self, patience: float) -> None:
        """Return when every end that was taken is on disk.

        DeadlineError when that takes longer than ``patience`` seconds, UnavailableError while the database refuses: ask again.
        """
        with self._settled:
            self._settled.wait_for(lambda: not self._open or bool(self._problem), patience)
            if not self._open:
                return
            refused = bool(self._problem)
        if not refused:
            raise errors.DeadlineError("metric rows wait for their database, which is slow")
        if patience >= _UNHURRIED and not self._closed:
            self.run([])
        if self._open:
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
                if self._open:
                    self._problem = f"it was closed ({self._problem or 'too slow'})"
            if self._database is not None:
                self._database.close()
                self._database = None


def _words(problem: Exception) -> str:
    return problem.message if isinstance(problem, errors.KuttabError) else str(problem)
