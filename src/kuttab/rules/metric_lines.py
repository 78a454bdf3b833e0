"""A trial's output, as it comes, to metric rows.

:class:`LineReader` takes bytes in pieces of any size and gives rows; how the bytes are cut never changes the rows. It opens
nothing and knows no clock.

What a line is: text up to a newline (no other character ends a line). Of a line that was redrawn with carriage returns the last
drawing counts. Colour codes are dropped, invalid UTF-8 is replaced, a byte order mark at the start is skipped. A line of more than
1 MiB is left out. The last line without a newline is held back, since ``loss=0.98`` may still be on its way when ``loss=0.9``
is there: it counts when the process ended well, and is counted as malformed when the process was killed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from kuttab.api.metrics import Row
from kuttab.base import errors
from kuttab.rules import metric_filters, metric_values, terminal

LONGEST_LINE: Final = 1 << 20  # bytes
LONGEST_NAME: Final = 255  # characters: what the observation log takes
LONGEST_VALUE: Final = 65_535  # bytes
_PIECE: Final = 1 << 18  # bytes looked at at once; less than a line may have, so that no long line hides in a piece
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Counters:
    """What a reader has met: rows given, and what it had to leave out."""

    rows: int = 0
    malformed: int = 0
    """Values that are none, JSON lines that do not parse, a last line that was cut off."""
    overlong: int = 0
    """Lines, or values, beyond their limit."""


class LineReader:
    """Rows of the declared ``metrics`` (objective first) out of TEXT or JSON lines.

    ``filters`` are RE2 patterns for TEXT; none means the default ``name = number``. Raises InvalidError for a filter that cannot
    be used and BadInputError for another format. Metric names compare exactly; a name that the log cannot hold (empty, more than
    255 characters, blanks at an end) is never found.
    """

    def __init__(self, metrics: Sequence[str], filters: Sequence[str] = (), format: str = "TEXT") -> None:
        self.counters = Counters()
        self._metrics = tuple(dict.fromkeys(metric for metric in metrics if _can_be_stored(metric)))
        self._needles = [metric.encode(errors="replace") for metric in self._metrics]
        if format.upper() not in ("TEXT", "JSON", ""):
            raise errors.BadInputError(f"metrics format {format!r} is not known; use TEXT or JSON")
        self._json = format.upper() == "JSON"
        self._filters = [] if self._json else metric_filters.build(filters, self._metrics)
        if self._json:
            self._needles.append(b"\\")  # a key may be written with escapes
        self._held = b""
        self._dropping = False
        self._started = False

    def feed(self, data: bytes) -> list[Row]:
        """Rows of the lines that ``data`` completes."""
        rows: list[Row] = []
        for start in range(0, len(data), _PIECE):
            self._feed_piece(data[start : start + _PIECE] if len(data) > _PIECE else data, rows)
        self.counters.rows += len(rows)
        return rows

    def close(self, clean: bool) -> list[Row]:
        """The end: with ``clean`` (the process ended by itself, well) a last line without newline counts."""
        rows: list[Row] = []
        if clean:
            self._finish_held(b"", rows)
        elif self._held or self._dropping:
            self.counters.malformed += 1
        self._held, self._dropping = b"", False
        self.counters.rows += len(rows)
        return rows

    def restart(self) -> None:
        """The text begins anew (its file was truncated or replaced): what was held back can never be completed."""
        self.close(clean=False)
        self._started = False

    def _feed_piece(self, piece: bytes, rows: list[Row]) -> None:
        first = piece.find(b"\n")
        if first < 0:
            self._hold(piece)
            return
        self._finish_held(piece[:first], rows)
        last = piece.rfind(b"\n")
        if last > first:
            self._scan(terminal.plain(piece[first + 1 : last + 1]), rows)
        self._hold(piece[last + 1 :])

    def _hold(self, piece: bytes) -> None:
        self._held += piece
        if len(self._held) <= LONGEST_LINE:
            return
        body = self._held.rstrip(b"\r")
        drawn = body.rfind(b"\r")
        if drawn >= 0:
            self._held, self._dropping = self._held[drawn:], False
        if len(body) - max(drawn, 0) > LONGEST_LINE:
            self._held, self._dropping = self._held[len(self._held.rstrip(b"\r")) :][:1], True

    def _finish_held(self, end: bytes, rows: list[Row]) -> None:
        line, dropping = self._held + end, self._dropping
        self._held, self._dropping = b"", False
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if dropping and b"\r" not in line.rstrip(b"\r"):
            self.counters.overlong += 1
        elif line:
            self._line(terminal.plain(line), rows)

    def _scan(self, text: bytes, rows: list[Row]) -> None:
        """Whole lines: only those that hold a metric's name are looked at."""
        needles, upcoming, position = self._needles, [0] * len(self._needles), 0
        while True:
            nearest = len(text)
            for index, needle in enumerate(needles):
                at = upcoming[index]
                if 0 <= at < position or (at == 0 and position == 0):
                    at = upcoming[index] = text.find(needle, position)
                if 0 <= at < nearest:
                    nearest = at
            if nearest == len(text):
                return
            start = text.rfind(b"\n", position, nearest) + 1 or position
            end = text.find(b"\n", nearest)
            self._line(text[start:end], rows, promising=True)
            position = end + 1

    def _line(self, line: bytes, rows: list[Row], *, promising: bool = False) -> None:
        """One line; ``promising`` when it is known to hold the name of a metric."""
        if b"\r" in line:
            line = line.rstrip(b"\r").rpartition(b"\r")[2]
            promising = False
        if len(line) > LONGEST_LINE:
            self.counters.overlong += 1
        elif promising or any(needle in line for needle in self._needles):
            (self._json_line if self._json else self._text_line)(line, rows)

    def _text_line(self, line: bytes, rows: list[Row]) -> None:
        time = _first_word_time(line)
        try:
            line.decode()
        except UnicodeDecodeError:
            line = line.decode(errors="replace").encode()
        for chosen in self._filters:
            pairs, lost = chosen.pairs(line)
            self.counters.malformed += lost
            for metric, value in pairs:
                self._add(metric, value, time, rows)

    def _json_line(self, line: bytes, rows: list[Row]) -> None:
        if not line.strip():
            return
        try:
            document = json.loads(
                line.decode(errors="replace"), parse_float=_Number, parse_int=_Number, parse_constant=_Number
            )
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            self.counters.malformed += 1
            return
        time = _json_time(document.get("timestamp"))
        for metric in self._metrics:
            if metric in document:
                value = document[metric]
                self._add(metric, value if isinstance(value, str) else "", time, rows)

    def _add(self, metric: str, value: str, time: str, rows: list[Row]) -> None:
        if not value:
            self.counters.malformed += 1
        elif len(value) > LONGEST_VALUE // 4 and len(value.encode(errors="replace")) > LONGEST_VALUE:
            self.counters.overlong += 1
        else:
            rows.append(Row(metric, metric_values.storable(value), time))


class _Number(str):
    """A JSON number in its own spelling."""

    __slots__ = ()


def _can_be_stored(metric: str) -> bool:
    return 0 < len(metric) <= LONGEST_NAME and metric == metric.strip() and metric == metric_values.storable(metric)


def _first_word_time(line: bytes) -> str:
    if line[4:5] != b"-":
        return ""
    word, blank, _ = line[:64].partition(b" ")
    if not blank:
        return ""
    try:
        return metric_values.canonical(word.decode())
    except ValueError:
        return ""


def _json_time(value: Any) -> str:
    try:
        if isinstance(value, _Number):
            return metric_values.from_seconds(value)
        return metric_values.canonical(value) if isinstance(value, str) else ""
    except ValueError:
        return ""
