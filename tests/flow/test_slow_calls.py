"""A world in which every call takes its time: slower, and nothing else (C22); a service that comes back is said to be back (C12)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from flow.test_life import Flaky
from flow.world import Wire, World, manifest, quadratic
from kuttab.api.conditions import is_true
from kuttab.base import errors
from kuttab.testing.virtual import virtual


class SlowWire(Wire):
    """Every call through a port takes five seconds."""

    async def call(self, port: str, verb: str, subject: str, effect: Callable[[], Awaitable[Any]]) -> Any:
        """Wait, then make the call."""
        await asyncio.sleep(5)
        return await super().call(port, verb, subject, effect)


@virtual
async def test_c22_slow_calls_only_slow_things_down() -> None:
    """C22: with five seconds a call the experiment ends exactly, no invariant breaks, and no more calls are made than usual twice over."""
    usual = World(quadratic)
    async with usual.opened():
        await usual.submit(manifest())
        await usual.run(usual.ended)
    world = World(quadratic, wire=SlowWire())
    async with world.opened():
        await world.submit(manifest())
        await world.run(world.ended)
        assert len(world.trials()) == 4
        assert {trial.status.conditions[-1].type for trial in world.trials()} == {"Succeeded"}
        assert world.checker.broken == []
        assert len(world.wire.calls) <= 2 * len(usual.wire.calls)


@virtual
async def test_c12_a_service_that_comes_back_is_ready_again() -> None:
    """C12: away in the middle, DeploymentReady turns False with the reason, and True again with the next answer."""
    problems: list[Exception] = []
    world = World(quadratic, suggestions=lambda rows: Flaky(rows, problems))
    async with world.opened():
        await world.submit(manifest())
        await world.run(lambda: len(world.trials()) >= 2)
        problems += [errors.UnavailableError("gone for lunch") for _ in range(3)]
        await world.run(lambda: not problems and world.suggestion().status.suggestion_count == 4)
        assert is_true(world.suggestion().status.conditions, "DeploymentReady")
        await world.run(world.ended)
        assert world.checker.broken == []
