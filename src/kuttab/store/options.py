"""Limits and habits of a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kuttab.base import errors
from kuttab.ports import outbox
from kuttab.store import log, sqlite


@dataclass(frozen=True, slots=True)
class Options:
    """Limits and habits of a store."""

    commits: Literal["thread", "settle"] = "thread"
    """``thread``: a writer thread commits as fast as the disk allows. ``settle``: commits happen in the loop thread, when somebody settles
    (or too much waits): the same states at the same points on every run, for tests in virtual time and stores in memory."""
    backlog: int = 10_000
    """Writes that may wait for the disk before new ones are refused."""
    backlog_bytes: int = 64 << 20
    keep_revisions: int = 5_000
    """Newest revisions that compaction never touches."""
    cache_objects: int = 2_000
    cache_bytes: int = 512 << 10
    """Size, as JSON, of the decoded objects kept at hand; decoded they take about nine times as much."""
    bookmark_seconds: float = 30.0
    accept_loss: bool = False
    """Open a database whose write-ahead log is gone, at its last checkpoint."""
    connect: Callable[[Path | None], sqlite3.Connection] = sqlite.connect
    """How the writer opens its connection."""
    reliance: outbox.Reliance | None = None
    """Who owes what entries rely on (``commits="thread"``); without one the outbox stays as it is."""

    def __post_init__(self) -> None:
        if not 1 <= self.backlog <= log.GAP:
            raise errors.BadInputError(f"backlog is {self.backlog}; it must be 1 to {log.GAP}")
        if self.keep_revisions < 0:
            raise errors.BadInputError(f"keep_revisions is {self.keep_revisions}; it must not be negative")
