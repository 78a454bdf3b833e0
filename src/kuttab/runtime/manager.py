"""Starts informers, waits until they have listed, then starts controllers; ends them in the opposite order.

Knows no kind: it is handed runnables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from kuttab.runtime import controller, informer

Runnable = Callable[[], Awaitable[None]]


class Manager:
    """The machine: informers first, then controllers and other runnables."""

    def __init__(
        self,
        informers: Sequence[informer.Informer],
        controllers: Sequence[controller.Controller],
        others: Sequence[Runnable] = (),
    ) -> None:
        self._informers = informers
        self._controllers = controllers
        self._others = others
        self.started = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled; an unexpected end of any part ends the whole with its error."""
        async with asyncio.TaskGroup() as group:
            for watcher in self._informers:
                group.create_task(watcher.run(), name=f"informer-{watcher.kind.plural}")
            for watcher in self._informers:
                await watcher.synced.wait()
            for worker in self._controllers:
                group.create_task(worker.run(), name=f"controller-{worker.name}")
            for other in self._others:
                group.create_task(_coroutine(other))
            self.started.set()

    @property
    def idle(self) -> bool:
        """Whether no controller has anything to do right now (timers aside)."""
        return all(worker.queue.idle for worker in self._controllers)


async def _coroutine(other: Runnable) -> None:
    await other()
