"""Experiments from creation to end, in virtual time."""

from __future__ import annotations

from flow.world import World, is_true, manifest, quadratic
from kuttab.testing.virtual import virtual


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
