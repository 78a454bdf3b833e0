"""The checker of invariants sees what it is there for: each of these faults, put into the control plane, is found by its number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flow.world import World, manifest, quadratic
from kuttab.api import experiment, kinds, meta
from kuttab.rules import budget, counting, naming, suggestion_state, trial_status
from kuttab.testing.virtual import virtual

Change = Callable[[Any], Any]


def after(function: Callable[..., Any], change: Change) -> Callable[..., Any]:
    """The function with its result changed."""
    return lambda *arguments, **options: change(function(*arguments, **options))


def each(**changes: Any) -> Change:
    """Every answer with other fields."""
    return lambda answers: [meta.evolve(answer, **changes) for answer in answers]


def rewrite(status: Any) -> Any:
    """A journal whose first entry is another."""
    first, *others = status.suggestions
    return meta.evolve(status, suggestions=[meta.evolve(first, labels={"n": str(len(others))}), *others])


WRONG = experiment.Observation(metrics=[experiment.Metric(name="loss", latest="0", min="0", max="0")])

FAULTS: dict[str, tuple[Any, str, Change]] = {
    "S1": (budget, "room", lambda free: max(free, 1)),
    "S2": (suggestion_state, "answered", lambda status: meta.evolve(status, suggestions=status.suggestions[-1:])),
    "S3": (budget, "parallel", lambda number: number + 1),
    "S4": (suggestion_state, "answered", rewrite),
    "S5": (suggestion_state, "named", each(parameter_assignments=[])),
    "S6": (suggestion_state, "named", lambda answers: [meta.evolve(a, name=f"e-{a.slot}") for a in answers]),
    "S9": (trial_status, "succeeded", lambda status: meta.evolve(status, start_time="2020-01-01T00:00:00Z")),
    "S12": (counting, "counted", lambda status: meta.evolve(status, trials_succeeded=status.trials_succeeded + 1)),
    "S13": (counting, "optimal", lambda found: meta.evolve(found, best_trial_name="e-x", observation=WRONG)),
    "S17": (trial_status, "succeeded", lambda status: meta.evolve(status, observation=WRONG)),
}


@pytest.mark.parametrize("number", list(FAULTS))
@virtual
async def test_a_fault_is_found(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """A control plane with this fault breaks this invariant within one small experiment."""
    module, name, change = FAULTS[number]
    monkeypatch.setattr(module, name, after(getattr(module, name), change))
    async with World(quadratic).opened() as world:
        await world.submit(manifest())

        def found() -> bool:
            return any(number in text.split(":")[0].split("/") for text in world.checker.broken)

        await world.run(lambda: found() or world.ended(), seconds=120)
        assert found(), world.checker.broken
        world.checker.broken.clear()


@virtual
async def test_adoption_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control plane that knows its children by name works with a stranger's Suggestion, and never gets away with it (S20)."""
    monkeypatch.setattr(naming, "owned_by", lambda child, parent: True)
    async with World(quadratic).opened() as world:
        metadata = {"name": "e", "namespace": "default"}
        await world.client.create(
            kinds.load({"apiVersion": "kubeflow.org/v1beta1", "kind": "Suggestion", "metadata": metadata})
        )
        await world.submit(manifest())
        await world.run(lambda: bool(world.checker.broken), seconds=120)
        assert any(text.startswith("S20") for text in world.checker.broken)
        world.checker.broken.clear()


@virtual
async def test_careless_calls_are_found() -> None:
    """An update whatever the version, a deletion by name alone, and any deletion of a trial are found at the call (S24, S20, S13)."""
    async with World(quadratic).opened() as world:
        port = world.wire.port("objects", world.client)
        made = await port.create(kinds.load(manifest()))
        world.checker.called(
            "update", (meta.evolve(made, metadata=meta.ObjectMeta(name="e", namespace="default")),), {}
        )
        await port.delete(kinds.EXPERIMENT, "default", "e")
        world.checker.called("delete", (kinds.TRIAL, "default", "t"), {"uid": "u"})
        assert [text.split(":")[0] for text in world.checker.broken] == ["S24", "S20", "S13"]
        world.checker.broken.clear()
