"""Crash the control plane at every port call of a reference run, in each of three ways, and compare the end state.

``before``: the process dies before the call leaves. ``after``: the effect happened and the process dies before it learns so. ``lost``: the
effect happened and the caller is told that the reply was lost, so it tries again.
"""

from __future__ import annotations

from typing import Any

import pytest

from flow import invariants
from flow.world import AFTER, BEFORE, LOST, Call, World, manifest, quadratic
from kuttab.testing import virtual

EXPERIMENTS: dict[str, dict[str, Any]] = {
    "budget": manifest(),
    "goal": manifest(
        objective={"type": "minimize", "objectiveMetricName": "loss", "goal": 0.2},
        parallelTrialCount=3,
        maxTrialCount=9,
    ),
    "grid": manifest(
        algorithm={"algorithmName": "grid", "algorithmSettings": [{"name": "random_state", "value": "1"}]},
        maxTrialCount=None,
        parameters=[
            {
                "name": "x",
                "parameterType": "discrete",
                "feasibleSpace": {"list": ["0", "0.5", "1"], "distribution": "uniform"},
            }
        ],
    ),
}


def half_fail(values: dict[str, str]) -> dict[str, Any]:
    """Trials with x under a half fail."""
    return {"failed": "BackoffLimitExceeded"} if float(values["x"]) < 0.5 else quadratic(values)


class Result:
    """The end of a run: what must be equal between runs, and the calls made."""

    def __init__(self, world: World) -> None:
        self.broken = world.checker.broken
        self.crashes = world.crashes
        self.calls = list(world.wire.calls)
        self.experiment = invariants.facts(world.experiment())
        self.suggestion = invariants.facts(world.suggestion())
        self.trials = [invariants.facts(item) for item in world.trials()]
        self.counts = {key: n for key, n in world.checker.counts.items() if key[0] != "Experiment"}


def run(document: dict[str, Any], plan: Any = None, behave: Any = quadratic) -> Result:
    """One whole run in virtual time."""

    async def main() -> Result:
        async with World(behave).opened() as world:
            if plan is not None:
                world.wire.plan = plan
            await world.submit(document)
            await world.run(world.ended)
            return Result(world)

    result: Result = virtual.run(main())
    return result


def at(number: int, act: str) -> Any:
    """The plan that acts at one call."""
    return lambda call: act if call.number == number else None


def same(one: Result, other: Result, *, ordered: bool) -> None:
    """The same end. When timing decides which trials exist (a goal), only what must hold in any timing is compared."""
    assert one.broken == []
    if ordered:
        assert one.trials == other.trials
        assert one.suggestion == other.suggestion
        assert one.experiment == other.experiment
        assert one.counts == other.counts
    else:
        assert (
            one.experiment["status"]["conditions"][-1]["reason"]
            == other.experiment["status"]["conditions"][-1]["reason"]
        )


@pytest.mark.slow
@pytest.mark.parametrize("act", [BEFORE, AFTER, LOST])
@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_a_crash_at_any_port_call_changes_nothing(name: str, act: str) -> None:
    """Same budget, same trials with the same parameters, same counts of creations and deletions, no invariant broken (A01-A23)."""
    document = EXPERIMENTS[name]
    reference = run(document)
    assert reference.broken == []
    numbers = [
        call.number for call in reference.calls if call.subject.split("/")[0] != "Event" and "Event" not in call.subject
    ]
    assert len(numbers) > 30
    crashes = 0
    for number in numbers:
        result = run(document, at(number, act))
        crashes += result.crashes
        try:
            same(result, reference, ordered=name != "goal")
        except AssertionError as problem:
            raise AssertionError(f"{act} call {number}: {reference.calls[number]}") from problem
    # A crash in the very last call may come after the end was seen.
    assert crashes == 0 if act == LOST else crashes >= len(numbers) - 3


@pytest.mark.slow
def test_failing_trials_end_the_same_after_any_crash() -> None:
    """maxFailedTrialCount is exact too when the control plane dies at any call."""
    document = manifest(maxTrialCount=8, maxFailedTrialCount=2, parallelTrialCount=1)
    reference = run(document, behave=half_fail)
    assert reference.experiment["status"]["conditions"][-1]["type"] == "Failed"
    for call in reference.calls:
        result = run(document, at(call.number, AFTER), behave=half_fail)
        assert result.broken == [], call
        assert result.experiment["status"]["conditions"][-1] == reference.experiment["status"]["conditions"][-1], call
        assert result.trials == reference.trials, call


def test_a_crash_every_few_calls_still_ends_exactly() -> None:
    """A control plane that dies again and again makes the same trials as one that lives."""
    reference = run(EXPERIMENTS["budget"])

    def every_seventh(call: Call) -> str | None:
        return AFTER if call.number % 17 == 16 else None

    result = run(EXPERIMENTS["budget"], every_seventh)
    assert result.crashes > 3
    same(result, reference, ordered=True)
