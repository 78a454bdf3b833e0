"""What containers of pods print, for whoever shows it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from kuttab.api import meta


@dataclass(frozen=True, slots=True)
class Options:
    """Which part of a container's log is wanted. ``tail`` counts lines from the end, ``since`` seconds back; None means everything.

    ``container`` may be empty when the pod has one.
    """

    container: str = ""
    follow: bool = False
    tail: int | None = None
    since: int | None = None


class Logs(Protocol):
    """Logs of the pods of this world."""

    async def read(self, pod: meta.Object, options: Options) -> AsyncGenerator[bytes, None]:
        """The text in pieces; with ``follow`` until the container has ended.

        BadInputError, before the first piece, for a container that the pod does not have or that has not started, and for a part
        that cannot be told.
        """
        ...
