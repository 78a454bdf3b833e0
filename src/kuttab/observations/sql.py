"""The observation log in a database: SQLite, PostgreSQL, MySQL or MariaDB, behind one worker thread.

Callers on the event loop hand over jobs; whatever has gathered while the thread was busy is one transaction, and everyone is answered
after its commit. SQLAlchemy is loaded by the thread when the first job comes, so importing this module costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kuttab.observations import ends, shared
from kuttab.observations import rows as checks
from kuttab.ports import outbox
from kuttab.ports.observations import Position, Row, Summary, TrialKey

if TYPE_CHECKING:
    from kuttab.observations import log

T = TypeVar("T")

_BATCH: Final = 256  # jobs in one transaction
_PAGE: Final = 10_000  # rows read in one go

GATHER: Final = 0.2
"""Seconds for which ends are gathered that nobody waits for: one transaction instead of many."""


def file_url(path: Path) -> str:
    """The URL of an SQLite file, whatever signs its path has."""
    return "sqlite:///" + urllib.parse.quote(str(path))


class SqlObservations:
    """Implements :class:`kuttab.ports.observations.Observations` over a database.

    ``url`` is SQLAlchemy's, without naming a driver: ``sqlite:///path``, ``postgresql://user:password@host/name``,
    ``mysql://...``. Connected at :meth:`open` or the first call. BadInputError for an unknown kind of database, CorruptError for a
    file that is none or is newer, UnavailableError while the database is away; every call may be repeated.
    """

    def __init__(self, url: str) -> None:
        self._jobs: queue.SimpleQueue[Sequence[_Call] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._shared = shared.Shared(url, self._nudge)

    async def open(self) -> None:
        """Connect now, so that a database that cannot be used is reported now."""
        await self._call(lambda _: None)

    async def close(self) -> None:
        """Finish what was asked for and disconnect."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    async def report(self, trial: TrialKey, source: str, first_seq: int, rows: Sequence[Row]) -> None:
        """Store rows; those already there are left alone."""
        checks.check_key(trial, source)
        checked = checks.check_rows(first_seq, rows)
        await self._call(lambda view: view.write(trial, source, first_seq, checked))

    async def position(self, trial: TrialKey, source: str, last: int = 0) -> Position:
        """Where a source stands, with its last rows."""
        checks.check_key(trial, source)
        return await self._call(lambda view: view.position(trial, source, last))

    async def finish(self, trial: TrialKey, source: str, count: int) -> None:
        """Put the final marker; a later one can only raise the count."""
        checks.check_key(trial, source)
        checks.check_count(count)
        await self._call(lambda view: view.write(trial, source, 0, (), final=count))

    async def fence(self, trial: TrialKey, source: str) -> None:
        """Only this source counts from now on."""
        checks.check_key(trial, source)
        await self._call(lambda view: view.fence(trial, source))

    async def complete(self, trial: TrialKey, source: str, first_seq: int, rows: Sequence[Row]) -> Summary:
        """Fence, last rows, final marker and summary in one transaction."""
        checks.check_key(trial, source)
        checked = checks.check_rows(first_seq, rows)
        final = first_seq + len(checked)

        def job(view: log.Log) -> Summary:
            view.write(trial, source, first_seq, checked, final=final, fence=True)
            return view.summary(trial)

        return await self._call(job)

    def add_end(self, trial: TrialKey, source: str, checked: Sequence[Row]) -> None:
        """Fence, all rows and final marker of a source, without waiting; see :meth:`wait_for_ends`. The rows must have been checked."""
        self._start()
        self._shared.add(ends.End(trial, source, checked))

    def recall(self, letters: Sequence[outbox.Letter]) -> None:
        """Take ends that an earlier run wrote down as letters; CorruptError."""
        found = [ends.opened(letter) for letter in letters]
        if found:
            self._start()
        for end in found:
            self._shared.add(end)

    def letters_of_ends(self, patience: float) -> list[outbox.Letter]:
        """Ends that are not on disk, from any thread; errors as :meth:`kuttab.observations.shared.Shared.letters`."""
        return self._shared.letters(patience)

    def wait_for_ends(self, patience: float) -> None:
        """Return when all ends taken so far are on disk, from any thread; errors as :meth:`kuttab.observations.shared.Shared.wait`."""
        self._shared.wait(patience)

    async def summarize(self, trial: TrialKey) -> Summary:
        """The aggregates of what counts, from running aggregates."""
        checks.check_key(trial)
        return await self._call(lambda view: view.summary(trial))

    async def read(
        self, trial: TrialKey, *, metric: str = "", start: str = "", end: str = "", limit: int = 0
    ) -> list[Row]:
        """Rows of what counts, source by source, each in order; read in pages, so that others are served in between.

        A key with an empty uid asks for the rows that Katib wrote for a trial of that name.
        """
        low, high = checks.bound(start), checks.bound(end)
        if not trial.uid:
            return await self._read_legacy(trial.name, metric, low, high, limit)
        checks.check_key(trial)
        found: list[Row] = []
        place: tuple[int, int] | None = (0, -1)
        while place is not None and (limit <= 0 or len(found) < limit):
            size = _PAGE if limit <= 0 else min(_PAGE, limit - len(found))
            page, place = await self._call(_pager(trial, place, size, (metric, low, high)))
            found.extend(page)
        return found

    async def delete(self, trial: TrialKey) -> None:
        """Remove every row of a trial, some thousands at a time, so that others are served in between."""
        checks.check_key(trial)
        while await self._call(lambda view: view.delete_chunk(trial)):
            pass

    async def named(self, name: str) -> list[TrialKey]:
        """Trials of that name that have rows, in any namespace: for clients that know no uid."""
        return await self._call(lambda view: view.named(name))

    async def _read_legacy(self, name: str, metric: str, low: str, high: str, limit: int) -> list[Row]:
        found = [
            row
            for row in await self._call(lambda view: view.legacy(name))
            if metric in ("", row.metric)
            and (not low or checks.stamp(row.time) >= low)
            and (not high or checks.stamp(row.time) <= high)
        ]
        return found[:limit] if limit > 0 else found

    async def _call(self, job: Callable[..., T]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._hand_over((_Call(job, future, loop),))
        return await future

    def _hand_over(self, calls: Sequence[_Call]) -> None:
        """Give the thread calls to answer."""
        self._start()
        self._jobs.put(calls)

    def _nudge(self) -> None:
        """See that ends are written; they need no call."""
        if self._thread is not None:
            self._jobs.put(())

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=_work, args=(self._jobs, self._shared), name="observations", daemon=True
            )
            self._thread.start()


def _pager(
    trial: TrialKey, place: tuple[int, int], size: int, wanted: tuple[str, str, str]
) -> Callable[[log.Log], tuple[list[Row], tuple[int, int] | None]]:
    """A job that reads about ``size`` rows from a place (number of the source, sequence number) on, and tells the next place."""

    def job(view: log.Log) -> tuple[list[Row], tuple[int, int] | None]:
        found: list[Row] = []
        index, after = place
        live = view.live(trial)
        while index < len(live):
            page = view.page(trial, live[index][0], after, size - len(found), *wanted)
            found.extend(row for _, row in page)
            if len(found) >= size:
                return found, (index, page[-1][0])
            index, after = index + 1, -1
        return found, None

    return job


class _Call:
    """A job and who waits for it."""

    __slots__ = ("future", "job", "loop")

    def __init__(self, job: Callable[..., Any], future: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> None:
        self.job, self.future, self.loop = job, future, loop


def _work(jobs: queue.SimpleQueue[Sequence[_Call] | None], database: shared.Shared) -> None:
    """The thread: take what there is, one transaction, answer, until told to end. Ends alone wait for more, or for a second nudge."""
    ending = False
    while not ending:
        taken = [jobs.get()]
        if taken == [()]:
            with contextlib.suppress(queue.Empty):
                taken.append(jobs.get(timeout=GATHER))
        while len(taken) < _BATCH and not jobs.empty():
            taken.append(jobs.get())
        ending = None in taken
        waiting = [call for calls in taken for call in calls or ()]
        try:
            results = database.run([call.job for call in waiting])
        except Exception as error:  # a defect of ours: everyone who waits must hear of it
            results = [error] * len(waiting)
        _answer(waiting, results)
    database.close()


def _answer(calls: list[_Call], results: list[Any]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for call, result in zip(calls, results, strict=True):
        by_loop.setdefault(call.loop, []).append((call.future, result))
    for loop, pairs in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in pairs:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
