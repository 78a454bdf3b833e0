"""What another database is owed, kept beside what follows from it until it is there: a transactional outbox.

Two files reach a disk in any order, one file's transactions only in theirs. So what entries rely on is written in their own transaction
when it has not reached its place yet, and removed with a later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

MOST: Final = 256
"""Letters that may be owed at once: whoever owes more makes his readers wait."""


class Letter(NamedTuple):
    """Something owed. ``number`` is one that no other letter has while this one is owed; ``body`` is its sender's matter."""

    number: int
    body: bytes


class Reliance(Protocol):
    """Who owes what entries rely on. Used by one thread at a time."""

    def found(self, letters: Sequence[Letter]) -> None:
        """What an earlier run left, in order; told once, before anything else is asked. CorruptError for what nobody wrote like that."""
        ...

    def owed(self, patience: float) -> Sequence[Letter]:
        """What is not in its place yet, in order, at most :data:`MOST`; waits so many seconds for what is too much to be a letter.

        UnavailableError when that cannot come to its place at present, DeadlineError when it needs more time.
        """
        ...
