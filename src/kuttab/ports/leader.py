"""Which of several control planes acts. Correctness never rests on it: writes carry versions."""

from __future__ import annotations

from typing import Protocol


class Leader(Protocol):
    """A lease."""

    async def acquire(self) -> None:
        """Return once this process leads."""
        ...

    async def lost(self) -> None:
        """Return once it leads no more."""
        ...

    async def release(self) -> None:
        """Give the lease up."""
        ...
