"""The observation log a step behind: a trial's last rows are taken at once and reach the database in the background, in order.

Nobody may rely on rows that are not on disk, so whoever writes down what follows from them asks at the :class:`Gate` first: the object
store does so before each of its commits, and writes the rows that it gets there into the same transaction. A crash then loses the end of a
trial together with its rows, never the rows alone. It answers from memory only for trials whose rows all came with their end; everything
else goes to the log below.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Sequence
from typing import Final

from kuttab.base import errors
from kuttab.base import log as logs
from kuttab.observations import rows as checks
from kuttab.observations import sql
from kuttab.ports import outbox
from kuttab.ports.observations import Position, Row, Summary, TrialKey
from kuttab.rules import observation

_RECENT: Final = 512
_FIRST_PAUSE: Final = 0.05
_CLOSING: Final = 3.0
_LOG = logs.get(__name__)


class Gate:
    """Where whoever relies on rows asks for them: made before the log that they belong to, and used from several threads.

    Implements :class:`kuttab.ports.outbox.Reliance`.
    """

    def __init__(self) -> None:
        self._log: sql.SqlObservations | None = None
        self.left: Sequence[outbox.Letter] = ()
        """What an earlier run left and nobody has taken."""

    def attach(self, log: sql.SqlObservations) -> None:
        """The log that has the rows, and gets those of an earlier run. CorruptError."""
        log.recall(self.left)
        self._log, self.left = log, ()

    def found(self, letters: Sequence[outbox.Letter]) -> None:
        """Rows of an earlier run, which are owed until a log has been attached and has them on disk."""
        self.left = letters

    def owed(self, patience: float) -> Sequence[outbox.Letter]:
        """Rows that are not on disk; errors as :meth:`kuttab.observations.shared.Shared.letters`."""
        return self.left if self._log is None else self._log.letters_of_ends(patience)


class Behind:
    """Implements :class:`kuttab.ports.observations.Observations` over an SQL log; use from one event loop."""

    def __init__(self, log: sql.SqlObservations, gate: Gate) -> None:
        """The log gets what an earlier run left in the gate first; CorruptError."""
        self._log = log
        gate.attach(log)
        self._recent: collections.OrderedDict[str, Summary] = collections.OrderedDict()

    async def open(self) -> None:
        """See the log."""
        await self._log.open()

    async def settle(self, patience: float = 5.0) -> None:
        """Return when everything taken so far is on disk; errors as :meth:`kuttab.observations.shared.Shared.wait`."""
        await asyncio.to_thread(self._log.wait_for_ends, patience)

    async def close(self) -> None:
        """Bring everything to the disk (for a few seconds while it refuses) and close the log."""
        try:
            async with asyncio.timeout(_CLOSING):
                await self._finish()
        except TimeoutError:
            _LOG.warning("observations.behind.lost")
        finally:
            await self._log.close()

    async def _finish(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await asyncio.to_thread(self._log.wait_for_ends, _CLOSING)
            except (errors.UnavailableError, errors.DeadlineError) as problem:
                _LOG.warning("observations.behind.waits", problem=problem, again_in=pause)
                await asyncio.sleep(pause)
                pause *= 2
            else:
                return

    async def complete(self, trial: TrialKey, source: str, first_seq: int, rows: Sequence[Row]) -> Summary:
        """Fence, last rows, final marker and summary; taken at once when these are all the rows of the source."""
        self._recent.pop(trial.uid, None)
        if first_seq:
            return await self._log.complete(trial, source, first_seq, rows)
        checks.check_key(trial, source)
        checked = checks.check_rows(0, rows)
        self._log.add_end(trial, source, checked)
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
