"""One attempt of a trial: rows from its source, through the early-stopping rules, into the observation log.

The owner polls on a tick and tells when the process has ended. Rows are numbered in the order in which the source gives them, so a
session that starts again after a crash stores nothing twice: a log of ours is simply read again, another source is told where the
stored rows end. While the log is away a session keeps few rows in memory and stops reading: the file itself is the queue. The final
marker goes last, with the last rows.
"""

from __future__ import annotations

from typing import Final, Protocol

from kuttab.base import errors
from kuttab.base import log as logs
from kuttab.collector import source as sources
from kuttab.ports.observations import Observations, Row, Summary, TrialKey

_BATCH_ROWS: Final = 5_000
_BATCH_BYTES: Final = 1 << 20
_SPOOL: Final = 20_000  # rows in memory beyond which no more are read
_log = logs.get(__name__)


class Rules(Protocol):
    """Early-stopping rules: ``kuttab.rules.earlystop.RuleSet``."""

    def observe(self, metric: str, value_text: str) -> bool:
        """Take one value; true once the trial is to be stopped."""
        ...


class Session:
    """Reads one source. ``source_id`` names the attempt: from the first row on, only its rows count."""

    def __init__(
        self,
        observations: Observations,
        trial: TrialKey,
        source_id: str,
        source: sources.Source,
        rules: Rules | None = None,
    ) -> None:
        self._observations = observations
        self._trial = trial
        self._id = source_id
        self._source = source
        self._rules = rules
        self._pending: list[Row] = []
        self._sent = 0  # number of the first pending row
        self._ready = source.needs == 0
        self._fenced = False
        self._closed = False
        self.stopped = False
        """Whether the early-stopping rules have been met."""

    async def poll(self) -> bool:
        """Read what is new and report it; true (from then on) when the rules say that the trial is to be stopped.

        Never fails: while the log is away the rows are kept and sent at a later poll.
        """
        return await self._advance(send=True)

    @property
    def judged(self) -> bool:
        """Whether any rule may stop the trial."""
        return self._rules is not None

    async def look(self) -> bool:
        """Read and judge what is new without bringing it to the log, which the next poll does; true as for :meth:`poll`."""
        return await self._advance(send=False)

    async def _advance(self, *, send: bool) -> bool:
        if self._closed:
            return self.stopped
        try:
            await self._get_ready()
            if len(self._pending) < _SPOOL:
                self._take(await self._source.poll())
            if send:
                await self._send(keep=0)
        except errors.UnavailableError as error:
            _log.warning("observation log is away", trial=self._trial.name, error=error.message)
        return self.stopped

    async def finish(self, clean: bool) -> Summary:
        """The process has ended (``clean``: by itself and well): read the rest, report it, put the final marker.

        Raises UnavailableError while the log is away; then call it again.
        """
        await self._get_ready()
        while not self._closed:
            rows = await self._source.poll()
            if not rows:
                rows = await self._source.close(clean)
                self._closed = True
            self._take(rows)
            await self._send(keep=_BATCH_ROWS)
        await self._send(keep=_BATCH_ROWS)
        summary = await self._observations.complete(self._trial, self._id, self._sent, list(self._pending))
        self._forget(len(self._pending))
        return summary

    def remarks(self) -> list[str]:
        """What people should know about the reading."""
        return self._source.remarks()

    async def _get_ready(self) -> None:
        """Learn, once, where the stored rows end."""
        if self._ready:
            return
        position = await self._observations.position(self._trial, self._id, self._source.needs)
        if position.next_seq:
            if self._rules is not None:
                for row in await self._observations.read(self._trial):
                    self._judge(row)
            self._source.resume(position)
            self._sent = position.next_seq
        self._ready = True

    def _take(self, rows: list[Row]) -> None:
        for row in rows if self._rules is not None else ():
            self._judge(row)
        self._pending += rows

    def _judge(self, row: Row) -> None:
        if self._rules is not None and self._rules.observe(row.metric, row.value):
            self.stopped = True

    async def _send(self, keep: int) -> None:
        """Report pending rows in batches until at most ``keep`` are left."""
        while self._pending and len(self._pending) > keep:
            if not self._fenced:
                await self._observations.fence(self._trial, self._id)
                self._fenced = True
            size = _batch(self._pending)
            await self._observations.report(self._trial, self._id, self._sent, self._pending[:size])
            self._forget(size)

    def _forget(self, count: int) -> None:
        del self._pending[:count]
        self._sent += count


class PushedSession:
    """The same for rows that arrive by themselves (``Push``, ``Custom``): watches them for the rules, and puts the final marker.

    Whoever takes such rows in chooses their sources, so nothing is fenced; ``source_id`` only carries the marker.
    """

    def __init__(self, observations: Observations, trial: TrialKey, source_id: str, rules: Rules | None = None) -> None:
        self._observations = observations
        self._trial = trial
        self._id = source_id
        self._rules = rules
        self._seen = 0
        self.stopped = False
        """Whether the early-stopping rules have been met."""

    async def poll(self) -> bool:
        """Look at the rows that have arrived; true when the rules say that the trial is to be stopped. Never fails."""
        if self._rules is None:
            return False
        try:
            summary = await self._observations.summarize(self._trial)
            if sum(series.count for series in summary.metrics.values()) > self._seen:
                rows = await self._observations.read(self._trial)
                for row in rows[self._seen :]:
                    self.stopped = self._rules.observe(row.metric, row.value) or self.stopped
                self._seen = len(rows)
        except errors.UnavailableError as error:
            _log.warning("observation log is away", trial=self._trial.name, error=error.message)
        return self.stopped

    @property
    def judged(self) -> bool:
        """Whether any rule may stop the trial."""
        return self._rules is not None

    async def look(self) -> bool:
        """The same as :meth:`poll`."""
        return await self.poll()

    async def finish(self, clean: bool) -> Summary:  # noqa: ARG002 - what was acknowledged counts either way
        """The process has ended: nothing more is expected. UnavailableError while the log is away; then call it again."""
        await self._observations.finish(self._trial, self._id, 0)
        return await self._observations.summarize(self._trial)

    def remarks(self) -> list[str]:
        """Nothing is read here that could be wrong."""
        return []


def _batch(rows: list[Row]) -> int:
    """How many rows go into the next report: bounded in number and in bytes, at least one."""
    weight = 0
    for index, row in enumerate(rows[:_BATCH_ROWS]):
        weight += len(row.metric) + len(row.value) + 64
        if weight > _BATCH_BYTES and index:
            return index
    return min(len(rows), _BATCH_ROWS)
