"""Metric rows out of a text file that a trial writes: its output, or a file of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from kuttab.api.metrics import Row
from kuttab.collector import overlap, tail
from kuttab.ports.observations import Position
from kuttab.rules import metric_lines

_BUDGET: Final = 16 << 20  # bytes read in one poll
_ROWS: Final = 20_000  # rows beyond which a poll reads no more
_PATIENCE: Final = 5  # polls that a rewritten file may keep changing before its rows are taken

NewReader = Callable[[], metric_lines.LineReader]


class LineSource:
    """Follows one file. ``append_only`` is for a log that we write ourselves: it is never rewritten, so it can be replayed.

    A file that began anew is compared with the rows read before, once it has stopped changing: only what is new counts.
    """

    def __init__(self, file: tail.Tail, new_reader: NewReader, *, append_only: bool) -> None:
        self._tail = file
        self._new_reader = new_reader
        self._reader = new_reader()
        self._append_only = append_only
        self._known: deque[Row] = deque(maxlen=overlap.WINDOW)
        self._count = 0
        self._skip = 0
        self._comparison: overlap.Comparison | None = None
        self._waited = 0

    @property
    def needs(self) -> int:
        """A log of ours is read again; in another file the place is found by its rows."""
        return 0 if self._append_only else overlap.WINDOW

    def resume(self, position: Position) -> None:
        """Go on after the rows that are stored."""
        self._known.extend(position.rows)
        self._count = position.next_seq
        self._comparison = overlap.Comparison(self._known, self._count)

    async def poll(self) -> list[Row]:
        """Rows that are new; yields to others between pieces."""
        rows, changed = await self._read(_BUDGET)
        return rows + await self._decide(settled=not changed and self._tail.caught_up)

    async def close(self, clean: bool) -> list[Row]:
        """Everything that is left, and the last line."""
        self._tail.refresh()
        rows, _ = await self._read(None)
        rows += self._accept(self._reader.close(clean))
        rows += await self._decide(settled=True)
        self._tail.close()
        return rows

    def remarks(self) -> list[str]:
        """What is wrong with the file, and what was left out."""
        counters, path = self._reader.counters, self._tail.path
        found = [f"metrics file {path} {self._tail.problem}"] if self._tail.problem else []
        if not self._tail.seen and not self._tail.problem:
            found.append(f"metrics file {path} has not appeared")
        if counters.malformed:
            found.append(f"{counters.malformed} values or lines in {path} could not be read")
        if counters.overlong:
            found.append(f"{counters.overlong} lines or values in {path} were too long and left out")
        return found

    async def _read(self, budget: int | None) -> tuple[list[Row], bool]:
        rows: list[Row] = []
        changed = False
        for piece in self._tail.pieces(budget):
            changed = True
            if isinstance(piece, tail.Restart):
                self._reader.restart()
                self._comparison = overlap.Comparison(self._known, self._count)
            else:
                rows += self._accept(self._reader.feed(piece))
                await asyncio.sleep(0)
                if budget is not None and len(rows) >= _ROWS:
                    break
        return rows, changed

    def _accept(self, rows: list[Row]) -> list[Row]:
        """Those of the rows that are known to be new by now."""
        if self._skip:
            skipped = min(self._skip, len(rows))
            self._skip -= skipped
            rows = rows[skipped:]
        if self._comparison is not None:
            fresh = self._comparison.add(rows)
            if fresh is None:
                return []
            self._comparison = None
            rows = fresh
        self._known.extend(rows)
        self._count += len(rows)
        return rows

    async def _decide(self, *, settled: bool) -> list[Row]:
        """A text that began anew is taken when it has stopped changing, or has kept changing for too long."""
        if self._comparison is None:
            self._waited = 0
            return []
        self._waited += 1
        known, fresh = self._comparison.decide()
        patience = _PATIENCE if known else 5 * _PATIENCE  # what has nothing in common may be half written
        if not settled and self._waited < patience:
            return []
        self._comparison = None
        if fresh is not None:
            return self._accept(fresh)
        self._skip, self._reader = known, self._new_reader()
        self._tail.rewind()
        rows, _ = await self._read(None)
        return rows
