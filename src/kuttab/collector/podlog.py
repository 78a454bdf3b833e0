"""Metric rows out of a pod's log, as an API server hands it out: fed piece by piece, read again from its start when a connection broke.

Each line comes with the time of its writing before it (``timestamps=true``); that prefix is taken off before the line is read, and
is the row's time when the line has none of its own. Will not connect to anything: its owner feeds it.
"""

from __future__ import annotations

from typing import Final

from kuttab.api import experiment
from kuttab.api.metrics import Row
from kuttab.base import errors
from kuttab.collector import lines
from kuttab.ports.observations import Position
from kuttab.rules import metric_lines

BACKLOG: Final = 50_000
"""Rows that wait to be taken beyond which the owner should feed no more for a while."""


class PodLog:
    """A :class:`kuttab.collector.source.Source` over what it is fed.

    The same text gives the same rows, so nothing is stored twice after a restart of ours. Within one life, a log that is fed again
    goes on after the last line seen, even if its beginning was rotated away meanwhile.
    """

    needs = 0

    def __init__(self, new_reader: lines.NewReader) -> None:
        self._reader = new_reader()
        self._rows: list[Row] = []
        self._held = b""
        self._last = b""  # the last whole line, with its time
        self._equal = 0  # lines so far with that line's time
        self._skip_to = b""  # while reading again: the time up to which lines are known
        self._skip_equal = 0
        self._lost = False

    @property
    def backlog(self) -> int:
        """Rows that wait to be taken."""
        return len(self._rows)

    @property
    def last_line(self) -> bytes:
        """The last line so far with its time: what the log's last line must be if nothing is missing."""
        return self._held or self._last

    def feed(self, piece: bytes) -> None:
        """The next piece of the text."""
        *whole, rest = piece.split(b"\n")
        if not whole:
            self._held += rest
            return
        whole[0] = self._held + whole[0]
        self._held = rest
        for line in whole:
            self._line(line)

    def again(self) -> None:
        """The text will be fed again from its start."""
        self._held = b""
        self._skip_to, self._skip_equal = _time(self._last), self._equal

    def resume(self, position: Position) -> None:
        """Nothing to do: the log is read from its start."""

    async def poll(self) -> list[Row]:
        """Rows of what was fed since."""
        rows, self._rows = self._rows, []
        return rows

    async def close(self, clean: bool) -> list[Row]:
        """The rest; a log's last line counts even without its newline when the program ended well."""
        if self._held and clean:
            self._line(self._held)
        self._held = b""
        return [*await self.poll(), *self._reader.close(clean)]

    def remarks(self) -> list[str]:
        """What had to be left out."""
        counters = self._reader.counters
        found = ["the beginning of the log was rotated away before it could be read again"] if self._lost else []
        if counters.malformed:
            found.append(f"{counters.malformed} values or lines of the log could not be read")
        if counters.overlong:
            found.append(f"{counters.overlong} lines or values of the log were too long and left out")
        return found

    def _line(self, line: bytes) -> None:
        time = _time(line)
        if self._skip_to and self._known(time):
            return
        self._equal = self._equal + 1 if time == _time(self._last) else 1
        self._last = line
        text = time.decode(errors="replace")
        for row in self._reader.feed(line[len(time) + 1 :] + b"\n" if time else line + b"\n"):
            self._rows.append(row if row.time else Row(row.metric, row.value, text))

    def _known(self, time: bytes) -> bool:
        """Whether a line that is read again was seen before."""
        order, last = _order(time), _order(self._skip_to)
        if order < last:
            return True
        if order == last and self._skip_equal:
            self._skip_equal -= 1
            return True
        self._lost = self._skip_equal > 0
        self._skip_to = b""
        return False


def open_log(spec: experiment.MetricsCollectorSpec | None, objective: experiment.ObjectiveSpec) -> PodLog | None:
    """The source of a trial whose metrics are in its output; None for ``Push``, whose rows come by themselves.

    Raises InvalidError for a collector that cannot work from outside the pod.
    """
    kind = (spec.collector.kind if spec and spec.collector else "") or experiment.CollectorKind.STDOUT
    if kind == experiment.CollectorKind.PUSH:
        return None
    if kind != experiment.CollectorKind.STDOUT:
        message = f"{kind} reads inside the pod, which needs the sidecar; here use StdOut or Push"
        problem = errors.Problem("collector.kind", message, "FieldValueNotSupported")
        raise errors.InvalidError([problem], "metrics collector")
    source = (spec.source if spec else None) or experiment.SourceSpec()
    filters = (source.filter.metrics_format if source.filter else None) or []
    return PodLog(lambda: metric_lines.LineReader(objective.metric_names, filters, "TEXT"))


def _time(line: bytes) -> bytes:
    """The time before a line; empty when there is none, as on the rest of a line that a runtime cut in pieces."""
    word, blank, _ = line[:40].partition(b" ")
    return word if blank and word[4:5] == b"-" and word[10:11] == b"T" else b""


def _order(time: bytes) -> tuple[bytes, bytes]:
    """Times of one node compare by this: seconds, then the fraction, whose zeros at the end are left out."""
    seconds, _, rest = time.partition(b".")
    return seconds.rstrip(b"Z")[:19], rest.partition(b"Z")[0].partition(b"+")[0]
