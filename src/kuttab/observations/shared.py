"""The observation log's database, used by one thread at a time: the log's own, or whoever commits what follows from a trial's end.

Ends wait here until somebody commits: the next job of the log's thread, which does them first, or the object store before its own commit.
"""

from __future__ import annotations

import collections
import contextlib
import importlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kuttab.base import errors

if TYPE_CHECKING:
    from kuttab.observations import database


class Shared:
    """One :class:`kuttab.observations.database.Database`, loaded and opened by the first job."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turn = threading.Lock()
        self._ends: collections.deque[database.Job] = collections.deque()
        self._database: database.Database | None = None
        self._loose: Path | None = None
        """The file in which something is committed and perhaps not on disk."""
        self._failed = False
        self._closed = False

    def add(self, end: database.Job) -> None:
        """Take an end, to be committed before everything that is asked for later."""
        self._ends.append(end)

    def run(self, jobs: Sequence[database.Job]) -> list[Any]:
        """Do all ends and then all jobs, in one transaction that is on disk afterwards; the jobs' answers."""
        with self._turn:
            ends = self._taken()
            if not ends and not jobs:
                return []
            self._closed = False
            with self._minding(ends):
                results = self._opened().run([*ends, *jobs])
            self._put_back(ends, results)
            return results[len(ends) :]

    def commit_ends(self, patience: float) -> None:
        """See :meth:`kuttab.observations.sql.SqlObservations.commit_ends`."""
        if not self._ends:
            return
        if not self._turn.acquire(timeout=patience):
            raise errors.DeadlineError("metric rows wait for their database, which is busy")
        try:
            problem = self._commit(hasty=not patience)
        finally:
            self._turn.release()
        if problem is not None:
            why = problem.message if isinstance(problem, errors.KuttabError) else str(problem)
            raise errors.UnavailableError(f"metric rows wait for their database: {why}")

    def _commit(self, *, hasty: bool) -> Exception | None:
        if self._closed:
            return errors.UnavailableError("it is closed")
        found = self._database
        if hasty and (found is None or found.file is None):  # not there yet, or behind a network
            raise errors.DeadlineError("metric rows wait for their database")
        found, ends = self._opened(), self._taken()
        with self._minding(ends):
            results = found.run(ends, synced=False, hasty=hasty) if ends else []
        self._loose = found.file
        return self._put_back(ends, results)

    def _taken(self) -> list[database.Job]:
        return [self._ends.popleft() for _ in range(len(self._ends))]  # others may be added meanwhile

    @contextlib.contextmanager
    def _minding(self, ends: list[database.Job]) -> Iterator[None]:
        """Within, an error that is no answer, a defect, loses no end."""
        try:
            yield
        except BaseException:
            self._ends.extendleft(reversed(ends))
            raise

    def _put_back(self, ends: list[database.Job], results: list[Any]) -> Exception | None:
        """Keep the ends that failed, in order; the first one's error."""
        failed = [(end, answer) for end, answer in zip(ends, results, strict=False) if isinstance(answer, Exception)]
        self._ends.extendleft(end for end, _ in reversed(failed))
        return failed[0][1] if failed else None

    def _opened(self) -> database.Database:
        if self._database is None:
            self._database = _module().Database(self._url)
        return self._database

    def sync(self) -> None:
        """Bring what was committed to the disk. After a failure the log is moved into its file: a second fsync may only seem to succeed."""
        with self._turn:
            file, self._loose = self._loose, None
        if file is None:
            return
        try:
            if self._failed:
                _module().move(file)
            else:
                _module().sync(file)
        except errors.KuttabError:
            self._loose, self._failed = file, True
            raise
        self._failed = False

    def close(self) -> None:
        """Disconnect; the next job connects anew."""
        with self._turn:
            self._closed = True
            if self._database is not None:
                self._database.close()
                self._database = None


def _module() -> Any:
    """SQLAlchemy comes with it, so it is loaded by the first job."""
    return importlib.import_module("kuttab.observations.database")
