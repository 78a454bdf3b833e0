"""What the server stands on, handed in by the wiring: objects, a door for writes, logs of pods, time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kuttab.base import clock as clocks
from kuttab.ports import logs as logs_port
from kuttab.ports import objects as port


class Writers(Protocol):
    """Makes the client that one writing request uses."""

    def __call__(self, *, strict: bool, warnings: list[str]) -> port.Objects:
        """Objects whose admission refuses unknown fields if ``strict``, and appends what the user should know to ``warnings``."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """``objects`` is for reading and deleting, ``writer`` for everything that admission judges."""

    objects: port.Objects
    writer: Writers
    clock: clocks.Clock
    version: str
    logs: logs_port.Logs | None = None
    texts: port.RawLists | None = None
    """A quicker way to whole lists, where the client has one."""
