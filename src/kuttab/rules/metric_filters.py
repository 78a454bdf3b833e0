"""Which name-value pairs a line of text holds: the default rule, and users' patterns on RE2.

Python's ``re`` never sees a pattern or a line here: RE2 is linear, its memory is bounded, and what is searched per line is
bounded too, since asking for *all* matches of a pattern can be quadratic even on RE2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import re2

from kuttab.base import errors
from kuttab.rules import metric_values

DEFAULT: Final = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
"""The filter that Katib applies when none is given. Ours reads the same pairs, and ``nan`` and ``inf`` as what they are."""

LONGEST_PATTERN: Final = 1000  # characters
LONGEST_FILTERED_LINE: Final = 1 << 14  # bytes; a longer line is left out by users' patterns
_MEMORY: Final = 1 << 15  # bytes for one pattern's program and automaton
_SCAN_BUDGET: Final = 1 << 19  # bytes that may be searched for one line and pattern

_NAME_CHARACTERS: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_|-")
_NUMBER_CHARACTERS: Final = b"0123456789+-.eE"
_BLANKS: Final = (b" ", b"\t", b"\x0b", b"\x0c")
_ENDS: Final = b" \t)]};%"  # what may follow a number without a second look
_WINDOW: Final = 64  # bytes in which most numbers end
_PREFIX: Final = re2.compile(
    rb"(?i)[+-]?(?:(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan\b|inf(?:inity)?\b)", re2.Options()
)

Pairs = list[tuple[str, str]]


class Filter(Protocol):
    """Reads one line (valid UTF-8, no newline) and returns pairs in order, and how many values it had to give up."""

    def pairs(self, line: bytes) -> tuple[Pairs, int]:
        """Name and value of each match whose name is one of the declared metrics."""
        ...


def build(patterns: Sequence[str], metrics: Sequence[str]) -> list[Filter]:
    """The filters of a collector; none given means the default one. InvalidError lists every bad pattern."""
    problems = [
        errors.Problem(f"source.filter.metricsFormat[{index}]", problem)
        for index, pattern in enumerate(patterns)
        if (problem := check(pattern))
    ]
    if problems:
        raise errors.InvalidError(problems, "metrics filter")
    if not patterns:
        return [DefaultFilter(metrics)]
    return [DefaultFilter(metrics) if pattern == DEFAULT else PatternFilter(pattern, metrics) for pattern in patterns]


def check(pattern: str) -> str:
    """Why a pattern cannot be used, or empty text."""
    if len(pattern) > LONGEST_PATTERN:
        return f"is {len(pattern)} characters long; at most {LONGEST_PATTERN} are allowed"
    try:
        compiled = _compile(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        return f"is no RE2 pattern: {reason.decode(errors='replace') if isinstance(reason, bytes) else reason}"
    except UnicodeEncodeError:
        return "is no valid text"
    if compiled.groups < 2 and not {"name", "value"} <= _named(compiled).keys():
        return "needs two groups: the first holds the metric's name, the second its value"
    return ""


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    return re2.compile(pattern.encode(), options)


def _named(compiled: Any) -> dict[str, int]:
    """Numbers of the groups called ``name`` and ``value``."""
    return {key.decode(): number for key, number in compiled.groupindex.items() if key in (b"name", b"value")}


class PatternFilter:
    """A user's pattern: groups 1 and 2, or the groups called ``name`` and ``value``."""

    def __init__(self, pattern: str, metrics: Sequence[str]) -> None:
        self._metrics = frozenset(metrics)
        self._regex = _compile(pattern)
        named = _named(self._regex)
        self._name, self._value = named.get("name", 1), named.get("value", 2)
        if len(named) < 2:
            self._name, self._value = 1, 2

    def pairs(self, line: bytes) -> tuple[Pairs, int]:
        """Every match until the search budget of the line is used up; the rest of the line counts as one value given up."""
        if len(line) > LONGEST_FILTERED_LINE:
            return [], 1
        found: Pairs = []
        lost = spent = 0
        for match in self._regex.finditer(line):
            name = (match.group(self._name) or b"").decode(errors="replace").strip()
            if name in self._metrics:
                value = (match.group(self._value) or b"").decode(errors="replace").strip()
                if value:
                    found.append((name, value))
                else:
                    lost += 1
            spent += len(line) - match.start() + 1
            if spent > _SCAN_BUDGET:
                return found, lost + 1
        return found, lost


class DefaultFilter:
    """``name = number``, without a pattern: names are known, so they are looked for directly.

    A name must not be the tail of a longer one (``loss`` in ``val_loss``), where names consist of letters, digits, ``_``, ``|``
    and ``-``. A value that only begins like a number (``1_000``, ``1.2.3``, ``1,5``, ``0x1p3``, ``1e``) is given up rather than
    read as a shorter one; a unit or sign behind it is not part of it (``0.5%`` is 0.5).
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = [(metric, metric.encode()) for metric in sorted(set(metrics), key=len, reverse=True)]

    def pairs(self, line: bytes) -> tuple[Pairs, int]:
        """All pairs in the order of the line."""
        found: list[tuple[int, str, str]] = []
        lost = 0
        for metric, name in self._metrics:
            start = line.find(name)
            while start >= 0:
                end = start + len(name)
                if _starts_name(line, start):
                    value = _value_after(line, end)
                    if value:
                        found.append((start, metric, value))
                    elif value is not None:
                        lost += 1
                start = line.find(name, end)
        if len(found) > 1:
            found = _without_overlaps(found)
        return [(metric, value) for _, metric, value in found], lost


def _starts_name(line: bytes, start: int) -> bool:
    return start == 0 or line[start - 1] not in _NAME_CHARACTERS or line[start] not in _NAME_CHARACTERS


def _value_after(line: bytes, end: int) -> str | None:
    """The number behind ``=``; empty when there is none, None when there is no ``=``."""
    position = _skip_blanks(line, end)
    if line[position : position + 1] != b"=":
        return None
    position = _skip_blanks(line, position + 1)
    head = line[position : position + _WINDOW]
    rest = head.lstrip(_NUMBER_CHARACTERS)
    token = head[: len(head) - len(rest)]
    if token[-1:] != b"." and (rest[:1] in _ENDS or rest[:2] == b", ") and (rest or len(head) < _WINDOW):
        text = token.decode()
        if metric_values.number(text) is not None:
            return text
    return _careful_value(line, position)


def _careful_value(line: bytes, position: int) -> str:
    match = _PREFIX.match(line, position)
    if match is None:
        return ""
    end = match.end()
    text: str = line[position:end].decode()
    following = line[end : end + 8].decode(errors="replace")
    return "" if _goes_on(text, following) else text


def _goes_on(text: str, following: str) -> bool:
    """Whether the number was cut where the pattern ended."""
    if not following:
        return False
    first, second = following[0], following[1:2]
    if first in ".,":
        return second.isdigit()
    if first in "eE":
        return not second.isalpha()
    if first in "xXbBoO":
        return text.lstrip("+-") == "0"
    return first == "_" or (not first.isascii() and first.isnumeric())


def _skip_blanks(line: bytes, position: int) -> int:
    while line[position : position + 1] in _BLANKS:
        position += 1
    return position


def _without_overlaps(found: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """In order of the line; where a name holds another at its end, only the longer one counts."""
    found.sort(key=lambda item: (item[0], -len(item[1])))
    kept: list[tuple[int, str, str]] = []
    covered = -1
    for start, metric, value in found:
        if start >= covered:
            kept.append((start, metric, value))
            covered = start + len(metric.encode())
    return kept
