"""What a session needs of a place where metrics come from."""

from __future__ import annotations

from typing import Protocol

from kuttab.api.metrics import Row
from kuttab.ports.observations import Position


class Source(Protocol):
    """Rows in order. The owner polls; nothing runs by itself."""

    @property
    def needs(self) -> int:
        """How many of the last stored rows it needs to go on after a restart of ours.

        0 means none: read again from the start it gives the same rows in the same order.
        """
        ...

    def resume(self, position: Position) -> None:
        """Before the first poll: go on after what is stored, of which ``position.rows`` are the last :attr:`needs`."""
        ...

    async def poll(self) -> list[Row]:
        """What is new; waits for nothing but the file system."""
        ...

    async def close(self, clean: bool) -> list[Row]:
        """The process has ended, with ``clean`` by itself and well: everything that is left. Called once."""
        ...

    def remarks(self) -> list[str]:
        """What people should know: a file that cannot be read, lines that had to be left out."""
        ...
