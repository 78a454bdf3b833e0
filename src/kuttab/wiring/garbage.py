"""How often Python looks for garbage while a machine runs.

The control plane makes many small frozen objects and hardly any cycles, so that the usual search after every 700 new objects costs it
a fifth of its time and finds nothing. The interval goes back to what it was when the last machine of the process ends; a program that set
a longer one, or switched the search off, keeps that.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from typing import Final

INTERVAL: Final = 10_000
"""New objects between two searches of the youngest generation."""


class _Machines:
    """The machines of this process, and the interval from before the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._before = (0, 0, 0)

    def enter(self) -> None:
        with self._lock:
            if self._count == 0:
                self._before = gc.get_threshold()
                if 0 < self._before[0] < INTERVAL:
                    gc.set_threshold(INTERVAL, *self._before[1:])
            self._count += 1

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                gc.set_threshold(*self._before)


_machines = _Machines()


@contextlib.contextmanager
def less_often() -> Iterator[None]:
    """Search less often inside."""
    _machines.enter()
    try:
        yield
    finally:
        _machines.leave()
