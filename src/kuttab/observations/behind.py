"""The observation log a step behind: a trial's last rows are taken at once and reach the database in the background, in order.

Nobody may rely on rows that are not on disk, so whoever writes down what follows from them waits at the :class:`Gate` first: the object
store does so before each of its commits. A crash then loses the end of a trial together with its rows, never the rows alone. It answers
from memory only for trials whose rows all came with their end; everything else goes to the log below.
"""

from __future__ import annotations

import asyncio
import collections
import threading
from collections.abc import Sequence
from typing import Final

from kuttab.base import errors
from kuttab.base import log as logs
from kuttab.observations import rows as checks
from kuttab.observations import sql
from kuttab.ports.observations import Position, Row, Summary, TrialKey
from kuttab.rules import observation

_RECENT: Final = 512
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_CLOSING: Final = 3.0
_LOG = logs.get(__name__)


class Gate:
    """What has been taken and is not on disk yet; used from several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: dict[int, None] = {}
        self._last = 0
        self.problem = ""
        """Why the database takes nothing at the moment; empty when it does."""

    def enter(self) -> int:
        """Something was taken; returns its ticket."""
        with self._changed:
            self._last += 1
            self._open[self._last] = None
            return self._last

    def leave(self, ticket: int) -> None:
        """It is on disk."""
        with self._changed:
            self._open.pop(ticket, None)
            self.problem = ""
            self._changed.notify_all()

    def wait(self, patience: float = 1.0) -> None:
        """Return when everything taken before this call is on disk.

        UnavailableError when the database takes nothing, DeadlineError when it needs more than ``patience`` seconds: ask again.
        """
        with self._changed:
            last = self._last
            done = self._changed.wait_for(
                lambda: next(iter(self._open), last + 1) > last or bool(self.problem), patience
            )
            if self.problem:
                raise errors.UnavailableError(f"metric rows wait for their database: {self.problem}")
            if not done:
                raise errors.DeadlineError("metric rows wait for their database, which is slow")

    def refuse(self, problem: str) -> None:
        """The database takes nothing at the moment, for that reason."""
        with self._changed:
            self.problem = problem
            self._changed.notify_all()


class Behind:
    """Implements :class:`kuttab.ports.observations.Observations` over an SQL log; use from one event loop."""

    def __init__(self, log: sql.SqlObservations, gate: Gate) -> None:
        self._log = log
        self._gate = gate
        self._recent: collections.OrderedDict[str, Summary] = collections.OrderedDict()
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    async def open(self) -> None:
        """See the log."""
        await self._log.open()

    async def close(self) -> None:
        """Bring everything to the disk (for a few seconds while it refuses) and close the log."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _CLOSING
        try:
            while self._waiting and (left := end - loop.time()) > 0:
                await asyncio.wait(set(self._waiting), timeout=left)
        finally:
            self._closed = True
            await self._log.close()

    async def complete(self, trial: TrialKey, source: str, first_seq: int, rows: Sequence[Row]) -> Summary:
        """Fence, last rows, final marker and summary; taken at once when these are all the rows of the source."""
        self._recent.pop(trial.uid, None)
        if first_seq:
            return await self._log.complete(trial, source, first_seq, rows)
        checks.check_key(trial, source)
        checked = checks.check_rows(0, rows)
        self._carry(_End(trial, source, checked, self._gate.enter()), _FIRST_PAUSE)
        summed = observation.Accumulator()
        summed.add(checked)
        summary = Summary(summed.aggregates(), complete=True)
        self._recent[trial.uid] = summary
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        return summary

    async def summarize(self, trial: TrialKey) -> Summary:
        """The aggregates of what counts."""
        found = self._recent.get(trial.uid)
        return found if found is not None else await self._log.summarize(trial)

    async def report(self, trial: TrialKey, source: str, first_seq: int, rows: Sequence[Row]) -> None:
        """See the log."""
        self._recent.pop(trial.uid, None)
        await self._log.report(trial, source, first_seq, rows)

    async def position(self, trial: TrialKey, source: str, last: int = 0) -> Position:
        """See the log."""
        return await self._log.position(trial, source, last)

    async def finish(self, trial: TrialKey, source: str, count: int) -> None:
        """See the log."""
        self._recent.pop(trial.uid, None)
        await self._log.finish(trial, source, count)

    async def fence(self, trial: TrialKey, source: str) -> None:
        """See the log."""
        self._recent.pop(trial.uid, None)
        await self._log.fence(trial, source)

    async def read(
        self, trial: TrialKey, *, metric: str = "", start: str = "", end: str = "", limit: int = 0
    ) -> list[Row]:
        """See the log."""
        return await self._log.read(trial, metric=metric, start=start, end=end, limit=limit)

    async def delete(self, trial: TrialKey) -> None:
        """See the log."""
        self._recent.pop(trial.uid, None)
        await self._log.delete(trial)

    async def named(self, name: str) -> list[TrialKey]:
        """See the log."""
        return await self._log.named(name)

    def _carry(self, end: _End, pause: float) -> None:
        """Hand an end to the log, again and again until it has taken it."""
        done = self._log.begin_complete(end.trial, end.source, end.rows, lambda: self._gate.leave(end.ticket))
        self._waiting.add(done)
        done.add_done_callback(lambda future: self._carried(end, pause, future))

    def _carried(self, end: _End, pause: float, done: asyncio.Future[None]) -> None:
        self._waiting.discard(done)
        problem = None if done.cancelled() else done.exception()
        if problem is None:
            return
        self._gate.refuse(problem.message if isinstance(problem, errors.KuttabError) else str(problem))
        _LOG.warning("observations.behind.waits", trial=end.trial.name, problem=problem, again_in=pause)
        loop = asyncio.get_running_loop()
        retry: asyncio.Future[None] = loop.create_future()
        self._waiting.add(retry)

        def again() -> None:
            self._waiting.discard(retry)
            if not self._closed:
                self._carry(end, min(pause * 2, _LONGEST_PAUSE))
            retry.set_result(None)

        loop.call_later(pause, again)


class _End:
    """The end of a source, to be written."""

    __slots__ = ("rows", "source", "ticket", "trial")

    def __init__(self, trial: TrialKey, source: str, rows: Sequence[Row], ticket: int) -> None:
        self.trial, self.source, self.rows, self.ticket = trial, source, rows, ticket
