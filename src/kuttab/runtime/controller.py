"""A controller: takes keys from a queue and makes passes over them. Knows no kind.

A pass is level-triggered: it gets a key, reads the world, moves the world, and is never told what changed. It has three
outcomes: ``None`` (done), a number (again in that many seconds), an exception (retry with backoff).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from kuttab.base import errors, log
from kuttab.runtime import gate as gates
from kuttab.runtime import queue

logger = log.get(__name__)

Reconcile = Callable[[str, str], Awaitable[float | None]]
OnError = Callable[[str, str, Exception, int], None]


class Key(NamedTuple):
    """A controller's key: names are unique per controller, so that gates of several controllers can share one map."""

    controller: str
    namespace: str
    name: str


class Controller:
    """Workers over one queue."""

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        *,
        gate: gates.Gate | None = None,
        workers: int = 4,
        on_error: OnError | None = None,
    ) -> None:
        self.name = name
        self.queue: queue.WorkQueue[Key] = queue.WorkQueue()
        self.passes = 0
        self.errors = 0
        self._reconcile = reconcile
        self._gate = gate
        self._workers = workers
        self._on_error = on_error

    def enqueue(self, namespace: str, name: str) -> None:
        """Ask for a pass over an object."""
        self.queue.add(Key(self.name, namespace, name))

    def enqueue_after(self, namespace: str, name: str, seconds: float) -> None:
        """Ask for a pass later."""
        self.queue.add_after(Key(self.name, namespace, name), seconds)

    def working(self, namespace: str, name: str) -> bool:
        """Whether a pass over an object has begun and not ended."""
        return self.queue.working(Key(self.name, namespace, name))

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            self.queue.close()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                if self._gate is None or self._gate.open(key, lambda key=key: self.queue.add(key)):  # type: ignore[misc]
                    await self._pass(key)
            finally:
                self.queue.done(key)

    async def _pass(self, key: Key) -> None:
        self.passes += 1
        try:
            with gates.entered(key):
                again = await self._reconcile(key.namespace, key.name)
        except errors.ConflictError:
            # Somebody else was faster: decide again on what is there now. Not worth a message, and quick.
            self.queue.retry(key)
        except Exception as problem:  # the boundary that keeps one bad object from stopping the others
            self._failed(key, problem)
        else:
            self.queue.forget(key)
            if again is not None:
                self.queue.add_after(key, again)

    def _failed(self, key: Key, problem: Exception) -> None:
        self.errors += 1
        delay = self.queue.retry(key)
        values = {
            "controller": self.name,
            "object": f"{key.namespace}/{key.name}",
            "problem": problem,
            "again_in": delay,
        }
        if isinstance(problem, errors.KuttabError):
            logger.warning("pass_failed", **values)
        else:
            logger.exception("pass_crashed", **values)
        if self._on_error is not None:
            self._on_error(key.namespace, key.name, problem, self.queue.failures(key))
