"""The work queue: a key is worked on by one worker at a time, and ten events on it are one pass.

Adding a key that waits changes nothing; adding one that is being worked on makes one more pass after this one. Keys that
failed come back with exponential backoff and jitter from an injected source. No polling: timers belong to the event loop.
"""

from __future__ import annotations

import asyncio
import collections
import random
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BACKOFF_FIRST = 0.05
BACKOFF_MOST = 30.0


class WorkQueue(Generic[K]):
    """Deduplicating queue with delays and per-key backoff. Use from one event loop."""

    def __init__(self, jitter: random.Random | None = None) -> None:
        self._waiting: dict[K, None] = {}
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: collections.Counter[K] = collections.Counter()
        self._wanted: collections.deque[asyncio.Future[None]] = collections.deque()
        self._jitter = jitter or random.Random(0)  # noqa: S311  # spreads retries, protects nothing

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is being worked on; timers may still be set."""
        return not self._waiting and not self._working

    def working(self, key: K) -> bool:
        """Whether the key is being worked on."""
        return key in self._working

    def add(self, key: K) -> None:
        """Ask for a pass over the key as soon as a worker is free."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = None
            self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for a pass in that many seconds, or earlier if asked for earlier."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self.add, key)

    def retry(self, key: K) -> float:
        """Ask for a pass after the key's backoff; returns the delay in seconds."""
        self._failures[key] += 1
        ceiling = min(BACKOFF_MOST, BACKOFF_FIRST * 2.0 ** min(self._failures[key] - 1, 20))
        delay = ceiling * (0.5 + 0.5 * self._jitter.random())
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """The key is well: its next failure starts the backoff anew."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Consecutive failures of the key."""
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """The next key; the caller must call :meth:`done` with it."""
        while not self._waiting:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wanted.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._wake()
                raise
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """The pass over the key is over."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _wake(self) -> None:
        while self._wanted:
            future = self._wanted.popleft()
            if not future.done():
                future.set_result(None)
                return
