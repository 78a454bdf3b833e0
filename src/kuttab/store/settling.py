"""Those who wait until what they wrote is safe."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class Waiters:
    """Futures by the revision that they wait for."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ticket = itertools.count()

    def add(self, revision: int) -> asyncio.Future[None]:
        """A future that is done when the revision is reached."""
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heap, (revision, next(self._ticket), waiter))
        return waiter

    def reached(self, revision: int) -> None:
        """Everything up to this revision is safe."""
        while self._heap and self._heap[0][0] <= revision:
            waiter = heapq.heappop(self._heap)[2]
            if not waiter.done():
                waiter.set_result(None)

    def fail(self, problem: Exception) -> None:
        """Nobody's revision will be reached any more."""
        for _, _, waiter in self._heap:
            if not waiter.done():
                waiter.set_exception(problem)
        self._heap.clear()
