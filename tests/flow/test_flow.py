"""Experiments from creation to end, in virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from typing import Any

from flow.world import World, inline, is_true, manifest, quadratic
from kuttab.ports import suggestion as port
from kuttab.runtime.manager import Manager
from kuttab.testing.virtual import virtual
from kuttab.wiring import plane, suggesting


@virtual
async def test_an_experiment_runs_to_its_budget() -> None:
    """Four trials, two at a time: the best one, exact counters, the end as Katib words it, and nothing broken on the way."""
    async with World(quadratic).opened() as world:
        await world.submit(manifest())
        await world.run(world.ended)
        assert world.checker.broken == []
        subject = world.experiment()
        assert (subject.status.conditions or ())[-1].reason == "ExperimentMaxTrialsReached"
        assert [c.type for c in subject.status.conditions or ()] == ["Created", "Running", "Succeeded"]
        assert subject.status.trials == subject.status.trials_succeeded == 4
        losses = {
            t.name: float((t.status.observation.metrics or ())[0].min) for t in world.trials() if t.status.observation
        }
        optimal = subject.status.current_optimal_trial
        assert optimal is not None
        assert optimal.best_trial_name == min(losses, key=lambda name: losses[name])
        assert is_true(world.suggestion(), "Succeeded")


@virtual
async def test_nobody_is_woken_by_what_it_wrote_itself() -> None:
    """A trial costs a few passes, whatever the number of trials: its creation and its end, a request and an answer."""
    made: list[plane.ControlPlane] = []

    class Counting(World):
        """Keeps its control planes."""

        def plane(self) -> tuple[plane.ControlPlane, Manager]:
            """A fresh one."""
            found = super().plane()
            made.append(found[0])
            return found

    async with Counting(quadratic).opened() as world:
        space = [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}]
        await world.submit(manifest(parameters=space, maxTrialCount=60, parallelTrialCount=2))
        await world.run(world.ended)
    (only,) = made
    passes = {controller.name: controller.passes / 60 for controller in only.controllers}
    assert passes["suggestion"] < 1.3
    assert passes["experiment"] < 4.3
    assert passes["trial"] < 6.3


@virtual
async def test_an_algorithm_that_answers_less_than_was_asked_is_asked_again_at_once() -> None:
    """One assignment at a time: it is not waited for as for one that has nothing to say."""

    class Stingy(suggesting.InProcess):
        """Gives the first of what it would give."""

        async def suggest(self, request: port.Request) -> port.Reply:
            """One assignment."""
            reply = await super().suggest(request)
            return dataclasses.replace(reply, assignments=list(reply.assignments)[:1], exhausted=False)

    def lasting(values: dict[str, str]) -> dict[str, Any]:
        return {**quadratic(values), "seconds": 1.0}

    service = functools.partial(Stingy, offload=inline)
    async with World(lasting, suggestions=service).opened() as world:
        begun = asyncio.get_running_loop().time()
        await world.submit(manifest(maxTrialCount=6, parallelTrialCount=3))
        await world.run(world.ended)
        assert asyncio.get_running_loop().time() - begun < 3, "twice three trials of a second"
        assert len(world.trials()) == 6


@virtual
async def test_a_reproducible_search_ends_when_nothing_is_left() -> None:
    """Asked slot by slot, a grid of three points ends after three trials, well before its budget."""
    space = [{"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "3"}}]
    grid = {"algorithmName": "grid"}
    async with World(quadratic).opened() as world:
        await world.submit(manifest(parameters=space, algorithm=grid, maxTrialCount=9, reproducible=True))
        await world.run(world.ended)
        assert len(world.trials()) == 3
        assert is_true(world.experiment(), "Succeeded")


@virtual
async def test_an_algorithm_with_nothing_to_say_is_asked_again_later() -> None:
    """In a reproducible search, too: its silence is neither an end nor a reason to ask without a pause."""
    asked: list[float] = []

    class Mute(suggesting.InProcess):
        """Says nothing at first."""

        async def suggest(self, request: port.Request) -> port.Reply:
            """Nothing, then what it has."""
            asked.append(asyncio.get_running_loop().time())
            return await super().suggest(request) if len(asked) > 2 else port.Reply([])

    service = functools.partial(Mute, offload=inline)
    async with World(quadratic, suggestions=service).opened() as world:
        await world.submit(manifest(maxTrialCount=2, parallelTrialCount=1, reproducible=True))
        await world.run(world.ended)
    assert len(asked) == 4
    assert asked[1] - asked[0] >= 30
