"""Where a series goes on in a text that was read before: pure comparison of rows.

Some programs rewrite their metrics file whole at each report and keep only the newest entries. What is read then begins with rows
that are known; leaving out the longest known part stores nothing twice, and, since what is left out equals what was stored last,
it never changes a minimum, a maximum or the latest value even where equal rows make it ambiguous.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from kuttab.api.metrics import Row

WINDOW: Final = 2_000
"""Rows at the end of a series by which its place is found again; a hundred entries of twenty metrics."""

KEPT: Final = 50_000
"""Rows of a text under comparison that are kept in memory."""


def overlap(known: Sequence[Row], read: Sequence[Row]) -> int:
    """Length of the longest end of ``known`` that ``read`` begins with (Knuth, Morris and Pratt's failure function)."""
    limit = min(len(known), len(read))
    pattern = list(read[:limit])
    failure = [0] * limit
    length = 0
    for index in range(1, limit):
        while length and pattern[index] != pattern[length]:
            length = failure[length - 1]
        if pattern[index] == pattern[length]:
            length += 1
        failure[index] = length
    matched = 0
    for row in known[len(known) - limit :]:
        while matched and (matched == limit or row != pattern[matched]):
            matched = failure[matched - 1]
        if row == pattern[matched]:
            matched += 1
    return matched


class Comparison:
    """A text that began anew, against ``count`` rows that were read before, of which ``known`` are the last.

    Usually it holds all of them again and goes on: then nothing need be kept, however long it is.
    """

    def __init__(self, known: Sequence[Row], count: int) -> None:
        self._known = list(known)
        self._count = count
        self._seen = 0
        self._window: deque[Row] = deque(maxlen=len(self._known))
        self._body: list[Row] = []

    def add(self, rows: list[Row]) -> list[Row] | None:
        """Take more of the text. When it has turned out to hold everything known, the rows that follow; else None."""
        before, self._seen = self._seen, self._seen + len(rows)
        if before <= self._count <= self._seen:
            at = self._count - before
            self._window.extend(rows[:at])
            if list(self._window) == self._known:
                return rows[at:]
        else:
            self._window.extend(rows)
        self._body += rows[: KEPT - len(self._body)]
        return None

    def decide(self) -> tuple[int, list[Row] | None]:
        """How many rows at the start are known, and the rows after them; None when they are too many to have been kept."""
        known = overlap(self._known, self._body[:WINDOW])
        return known, self._body[known:] if self._seen == len(self._body) else None
