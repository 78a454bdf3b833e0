"""The work queue, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from kuttab.runtime.queue import BACKOFF_MOST, WorkQueue
from kuttab.testing.virtual import virtual


@virtual
async def test_many_adds_are_one_pass() -> None:
    """A thousand events on a key while it waits make one pass."""
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(1000):
        queue.add("a")
    assert await queue.get() == "a"
    assert len(queue) == 0


@virtual
async def test_an_add_during_a_pass_makes_exactly_one_more() -> None:
    """Events during a pass are not lost and not multiplied."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.idle


@virtual
async def test_a_key_is_never_worked_on_twice_at_once() -> None:
    """While a key is being worked on, get waits for another."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(queue.get(), 1)


@virtual
async def test_a_busy_key_goes_behind_those_that_wait() -> None:
    """A key that always has more to do gets every turn but those of the others: each of 500 is served before it comes again (L7)."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add("busy")
    order = []
    for number in range(500):
        queue.add(f"other-{number}")
    for _ in range(502):
        key = await queue.get()
        order.append(key)
        if key == "busy":
            queue.add("busy")
        queue.done(key)
    assert order == ["busy", *(f"other-{number}" for number in range(500)), "busy"]


@virtual
async def test_a_delay_fires_once_and_an_earlier_one_wins() -> None:
    """The earliest wish decides when a delayed key comes."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 10)
    queue.add_after("a", 3)
    queue.add_after("a", 7)
    assert await queue.get() == "a"
    assert asyncio.get_running_loop().time() == pytest.approx(3)
    queue.done("a")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(queue.get(), 60)


@virtual
async def test_adding_cancels_the_delay() -> None:
    """An event now makes the timer of the same key needless."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 5)
    queue.add("a")
    await queue.get()
    queue.done("a")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(queue.get(), 60)


@virtual
async def test_backoff_grows_is_capped_and_forgotten() -> None:
    """Retries of a key slow down to a limit, and start anew once it is well (L2)."""
    queue: WorkQueue[str] = WorkQueue()
    delays = [queue.retry("a") for _ in range(15)]
    assert delays[0] <= 0.05
    assert delays[5] > delays[0]
    assert BACKOFF_MOST / 2 <= delays[-1] <= BACKOFF_MOST
    queue.forget("a")
    assert queue.retry("a") <= 0.05
    queue.close()


@virtual
async def test_a_cancelled_waiter_passes_the_wake_up_on() -> None:
    """A worker that is cancelled at the moment it is woken does not swallow the key."""
    queue: WorkQueue[str] = WorkQueue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"
    with pytest.raises(asyncio.CancelledError):
        await first
