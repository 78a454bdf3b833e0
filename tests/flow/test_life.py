"""What users, services and accidents do to an experiment, in virtual time; the invariants hold throughout."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow.world import World, inline, is_true, manifest, quadratic
from kuttab.api import kinds, meta
from kuttab.api.experiment import Experiment
from kuttab.base import errors
from kuttab.ports import quota, suggestion
from kuttab.rules import completion, trial_state
from kuttab.testing.virtual import virtual
from kuttab.wiring import suggesting


def last(world: World) -> Any:
    """The experiment's last condition."""
    return (world.experiment().status.conditions or [])[-1]


async def edit(world: World, **spec: Any) -> Experiment:
    """Change the experiment's spec as a user would."""
    subject = world.experiment()
    stored = await world.client.update(meta.evolve(subject, spec=meta.evolve(subject.spec, **spec)))
    assert isinstance(stored, Experiment)
    return stored


def states(world: World) -> list[str]:
    """The states of all trials, by slot."""
    return [str(trial_state.state(item.status.conditions)) for item in world.trials()]


@virtual
async def test_a_reached_goal_ends_running_trials() -> None:
    """At the goal the experiment ends at once, what still runs is ended as Killed, and no trial comes after (A08, S11)."""

    def behave(values: dict[str, str]) -> dict[str, Any]:
        outcome = quadratic(values)
        return outcome if float(outcome["rows"][1][1]) <= 0.1 else {**outcome, "seconds": 500}

    async with World(behave).opened() as world:
        goal = {"type": "minimize", "objectiveMetricName": "loss", "goal": 0.1}
        await world.submit(manifest(objective=goal, parallelTrialCount=4, maxTrialCount=20))
        await world.run(world.ended, seconds=60)
        assert last(world).reason == "ExperimentGoalReached"
        assert "Killed" in states(world)
        assert world.checker.broken == []


@virtual
async def test_an_exhausted_space_ends_the_experiment_without_repeats() -> None:
    """A grid of six points with a budget of a hundred ends after six different trials (row 034)."""
    space = [
        {"name": "x", "parameterType": "discrete", "feasibleSpace": {"list": ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]}}
    ]
    async with World(quadratic).opened() as world:
        await world.submit(
            manifest(algorithm={"algorithmName": "grid"}, parameters=space, maxTrialCount=100, parallelTrialCount=4)
        )
        await world.run(world.ended)
        assert last(world).reason == "ExperimentSuggestionEndReached"
        values = [(t.spec.parameter_assignments or [])[0].value for t in world.trials()]
        assert sorted(values) == ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]
        assert world.checker.broken == []


@virtual
async def test_trials_without_metrics_never_pass_the_budget() -> None:
    """MetricsUnavailable trials count: exactly maxTrialCount trials are made (K1)."""
    async with World(lambda values: {"rows": [("other", "1")]}).opened() as world:
        await world.submit(manifest(maxTrialCount=5, parallelTrialCount=3))
        await world.run(world.ended)
        assert states(world) == ["MetricsUnavailable"] * 5
        subject = world.experiment()
        assert subject.status.trial_metrics_unavailable == 5
        optimal = subject.status.current_optimal_trial
        assert optimal is not None
        assert meta.dump(optimal) == {"observation": {}}
        assert world.checker.broken == []


@virtual
async def test_nan_never_wins() -> None:
    """A trial that reports NaN is recorded and is never the best one (S13)."""

    def behave(values: dict[str, str]) -> dict[str, Any]:
        return {"rows": [("loss", "nan")]} if float(values["x"]) < 0.5 else quadratic(values)

    async with World(behave).opened() as world:
        await world.submit(manifest(maxTrialCount=8))
        await world.run(world.ended)
        optimal = world.experiment().status.current_optimal_trial
        assert optimal is not None
        assert (optimal.observation.metrics or [])[0].latest != "nan"
        assert world.checker.broken == []


@virtual
async def test_pausing_starts_nothing_and_going_on_ends_exactly() -> None:
    """While suspended no trial starts; afterwards the budget is used to the last slot."""
    async with World(quadratic).opened() as world:
        await world.submit(manifest(maxTrialCount=6))
        await world.run(lambda: len(world.trials()) >= 3)
        await edit(world, suspend=True)
        loop = asyncio.get_running_loop()
        limit = loop.time() + 60
        await world.run(lambda: loop.time() >= limit)
        paused = len(world.trials())
        assert paused < 6
        assert last(world).type == "Suspended"
        await edit(world, suspend=None)
        await world.run(world.ended)
        assert len(world.trials()) == 6
        assert world.checker.broken == []


@virtual
async def test_stopping_ends_now_and_keeps_what_was_found() -> None:
    """spec.stop ends the experiment as Succeeded with its own reason; running trials are ended."""
    async with World(quadratic).opened() as world:
        await world.submit(manifest(maxTrialCount=None, parallelTrialCount=2))
        await world.run(lambda: len(world.trials()) >= 5)
        await edit(world, stop=True)
        await world.run(world.ended)
        assert last(world).reason == "ExperimentStopped"
        assert world.experiment().status.current_optimal_trial is not None
        assert world.checker.broken == []


@virtual
async def test_lowering_parallelism_deletes_nothing() -> None:
    """Fewer at a time drains; finished and running trials stay (A09, K5)."""
    async with World(quadratic).opened() as world:
        await world.submit(manifest(maxTrialCount=8, parallelTrialCount=4))
        await world.run(lambda: len(world.trials()) >= 4)
        await edit(world, parallel_trial_count=1)
        await world.run(world.ended)
        assert world.checker.counts.get(("Trial", "DELETED"), 0) == 0
        assert len(world.trials()) == 8
        assert world.checker.broken == []


@virtual
@pytest.mark.parametrize("policy", ["LongRunning", "FromVolume"])
async def test_a_raised_budget_goes_on_once(policy: str) -> None:
    """A finished experiment goes on with a larger budget, is counted as one restart, and ends at the new number (A10)."""
    async with World(quadratic).opened() as world:
        await world.submit(manifest(resumePolicy=policy))
        await world.run(world.ended)
        await edit(world, max_trial_count=7)
        await world.run(lambda: len(world.trials()) == 7 and world.ended())
        subject = world.experiment()
        assert subject.status.restarts == 1
        assert [c.type for c in subject.status.conditions or ()] == ["Created", "Restarting", "Running", "Succeeded"]
        values = {(t.spec.parameter_assignments or [])[0].value for t in world.trials()}
        assert len(values) == 7
        assert world.checker.broken == []


@virtual
async def test_a_deleted_trial_stays_deleted() -> None:
    """A user's deletion uses up the slot: the trial does not come back, its rows are cleaned, the experiment ends (K30, S23)."""
    async with World(quadratic).opened() as world:
        await world.submit(manifest(maxTrialCount=5, parallelTrialCount=1))
        await world.run(lambda: len(world.trials()) == 2)
        victim = world.trials()[0]
        await world.client.delete(kinds.TRIAL, "default", victim.name)
        await world.run(world.ended)
        assert len(world.trials()) == 4
        assert victim.name not in {item.name for item in world.trials()}
        assert world.checker.counts[("Trial", "ADDED")] == 5
        assert world.checker.broken == []


@virtual
async def test_a_job_that_was_seen_and_is_gone_is_lost_not_run_again() -> None:
    """Somebody deletes the Job of a running trial: the trial fails as lost and no second Job is made (S21, K17)."""
    async with World(lambda values: {**quadratic(values), "seconds": 30}).opened() as world:
        await world.submit(manifest(maxTrialCount=2, parallelTrialCount=1))
        await world.run(lambda: bool(world.store.list(kinds.JOB).items) and states(world) == ["Running"])
        job = world.store.list(kinds.JOB).items[0]
        await world.client.delete(kinds.JOB, "default", job.name)
        await world.run(world.ended)
        assert states(world) == ["Failed", "Succeeded"]
        failed = [c for c in world.trials()[0].status.conditions or () if c.type == "Failed"]
        assert "JobLost" in failed[0].reason
        assert world.checker.counts[("Job", "ADDED")] == 2
        assert world.checker.broken == []


@virtual
async def test_a_job_that_ended_and_vanished_is_judged_by_its_last_state() -> None:
    """A Job removed right after it completed (a time to live of zero) still counts as what it was (row 141)."""

    async def vanish(world: World) -> None:
        async for event in world.client.watch(kinds.JOB):
            status = event.object.section("status")
            if event.type == "MODIFIED" and status and status.get("conditions") and not event.object.deleting:
                await world.client.delete(kinds.JOB, "default", event.object.name)

    async with World(quadratic).opened() as world:
        await world.submit(manifest(maxTrialCount=3))
        task = asyncio.create_task(vanish(world))
        await world.run(world.ended)
        task.cancel()
        assert states(world) == ["Succeeded"] * 3
        assert world.checker.broken == []


@virtual
async def test_deleting_an_experiment_removes_everything() -> None:
    """Suggestion, trials, jobs and rows go with it (S23, L4)."""
    async with World(quadratic).opened() as world:
        await world.submit(manifest(maxTrialCount=10))
        await world.run(lambda: len(world.trials()) >= 4)
        await world.client.delete(kinds.EXPERIMENT, "default", "e")
        every = (kinds.EXPERIMENT, kinds.SUGGESTION, kinds.TRIAL, kinds.JOB)
        await world.run(lambda: not any(world.store.list(kind).items for kind in every))
        assert world.checker.broken == []


class Flaky(suggesting.InProcess):
    """A suggestion service that fails as told before it works."""

    def __init__(self, rows: Any, problems: list[Exception]) -> None:
        super().__init__(rows, offload=inline)
        self.problems = problems

    async def validate(self, subject: Experiment) -> None:
        """Fail first."""
        if self.problems:
            raise self.problems.pop(0)
        await super().validate(subject)

    async def suggest(self, request: suggestion.Request) -> suggestion.Reply:
        """Fail first."""
        if self.problems:
            raise self.problems.pop(0)
        return await super().suggest(request)


@virtual
async def test_a_service_that_is_away_delays_and_never_fails_an_experiment() -> None:
    """Unavailable at start for a long time: the condition says so, and the experiment ends well (C12, K4, L6)."""
    problems: list[Exception] = [errors.UnavailableError("connection refused") for _ in range(30)]
    world = World(quadratic, suggestions=lambda rows: Flaky(rows, problems))
    async with world.opened():
        await world.submit(manifest())
        await world.run(lambda: len(problems) < 20)
        ready = [c for c in world.suggestion().status.conditions or () if c.type == "DeploymentReady"]
        assert ready[0].status == "False"
        assert "connection refused" in ready[0].message
        await world.run(world.ended)
        assert len(world.trials()) == 4
        assert world.checker.broken == []


@virtual
async def test_refused_settings_fail_the_experiment_with_the_reason() -> None:
    """A refusal is permanent: Suggestion Failed, Experiment Failed, the reason in both."""
    problems: list[Exception] = [errors.RefusedError("n_candidates must be at least 1")]
    world = World(quadratic, suggestions=lambda rows: Flaky(rows, problems))
    async with world.opened():
        await world.submit(manifest())
        await world.run(lambda: completion.completed(world.experiment()))
        assert last(world).type == "Failed"
        assert "n_candidates must be at least 1" in last(world).message
        assert is_true(world.suggestion(), "Failed")


@virtual
async def test_broken_answers_are_retried_and_then_attributed() -> None:
    """An answer against the contract changes nothing; a service that goes on so is named as the cause (C14)."""
    problems: list[Exception] = [errors.BrokenAnswerError("3 assignments instead of 2") for _ in range(50)]
    world = World(quadratic, suggestions=lambda rows: Flaky(rows, problems))
    async with world.opened():
        await world.submit(manifest())
        await world.run(lambda: completion.completed(world.experiment()))
        assert "3 assignments instead of 2" in last(world).message
        assert world.trials() == []
        assert len(problems) == 40


class Gatekeeper:
    """A quota that answers from a script, then admits."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.released: list[str] = []

    async def check(self, subject: Any, workload: Any) -> quota.Decision:
        """The next answer."""
        if not self.answers:
            return quota.Decision(quota.Verdict.ADMIT)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return quota.Decision(*answer) if isinstance(answer, tuple) else quota.Decision(answer)

    async def release(self, uid: str) -> None:
        """Remember it."""
        self.released.append(uid)


@virtual
async def test_quota_waits_are_visible_and_rejections_fail_one_trial() -> None:
    """Wait shows Queued with the reason, an outage waits too, a rejection fails that trial only, and all is released."""
    answers = [
        (quota.Verdict.WAIT, "0 of 4 GPUs free", 7.0),
        errors.UnavailableError("quota service is down"),
        (quota.Verdict.REJECT, "asks for 9 GPUs, the team has 8"),
    ]
    gate = Gatekeeper(answers)
    async with World(quadratic, quota=gate).opened() as world:
        await world.submit(manifest(maxTrialCount=3, parallelTrialCount=1))
        await world.run(lambda: bool(world.trials()) and is_true(world.trials()[0], "Queued"))
        queued = [c for c in world.trials()[0].status.conditions or () if c.type == "Queued"]
        assert queued[0].message == "0 of 4 GPUs free"
        assert world.store.list(kinds.JOB).items == []
        await world.run(world.ended)
        assert states(world) == ["Failed", "Succeeded", "Succeeded"]
        assert set(gate.released) == {item.uid for item in world.trials()}
        assert world.checker.broken == []


class Tight:
    """A service outside that admits so many trials at a time, and lets one that it dislikes wait until the others are through."""

    def __init__(self, capacity: int, dislikes: int) -> None:
        self.capacity = capacity
        self.dislikes = dislikes
        self.uids: list[str] = []
        self.holds: set[str] = set()
        self.released: set[str] = set()
        self.most = 0

    async def check(self, subject: Any, workload: Any) -> quota.Decision:
        """Takes a while, as a network does."""
        await asyncio.sleep(0.05)
        if subject.uid not in self.uids:
            self.uids.append(subject.uid)
        disliked = self.uids.index(subject.uid) == 0 and len(self.released) < self.dislikes
        if disliked or (subject.uid not in self.holds and len(self.holds) >= self.capacity):
            return quota.Decision(quota.Verdict.WAIT, "full", 0.7)
        self.holds.add(subject.uid)
        self.most = max(self.most, len(self.holds))
        return quota.Decision(quota.Verdict.ADMIT)

    async def release(self, uid: str) -> None:
        """Idempotent."""
        self.holds.discard(uid)
        self.released.add(uid)


@pytest.mark.parametrize("crash", [None, 40, 60, 75, 90, 105, 120, 135, 145])
@virtual
async def test_waiting_trials_hold_no_slot_and_parallelism_stays_exact(crash: int | None) -> None:
    """One trial waits while the rest pass it; never more run than parallelTrialCount or the quota, also across a crash (S3)."""
    gate = Tight(capacity=2, dislikes=5)
    world = World(quadratic, quota=gate)
    world.wire.plan = lambda call: "after" if call.number == crash else None
    async with world.opened():
        await world.submit(manifest(maxTrialCount=8, parallelTrialCount=2))
        await world.run(world.ended)
        assert states(world) == ["Succeeded"] * 8
        assert world.crashes == (crash is not None)
        assert gate.released >= {item.uid for item in world.trials()}
        assert gate.most <= 2
        assert world.checker.broken == []


@virtual
async def test_trials_that_wait_do_not_start_while_their_experiment_is_paused() -> None:
    """A pause holds those that wait as well, with that as the reason; resumed, they run at once."""
    gate = Tight(capacity=1, dislikes=0)
    async with World(quadratic, quota=gate).opened() as world:
        await world.submit(manifest(maxTrialCount=4, parallelTrialCount=2))
        await world.run(lambda: any(is_true(item, "Queued") for item in world.trials()))
        await edit(world, suspend=True)
        await world.run(lambda: not gate.holds)
        ran = set(gate.released)
        now = asyncio.get_running_loop().time
        limit = now() + 100
        await world.run(lambda: now() >= limit)
        assert gate.released == ran
        reasons = {c.message for item in world.trials() for c in item.status.conditions or () if c.type == "Queued"}
        assert reasons == {"its experiment is paused"}
        await edit(world, suspend=None)
        resumed = now()
        await world.run(world.ended)
        assert now() - resumed < 30
        assert states(world) == ["Succeeded"] * 4
        assert world.checker.broken == []


@virtual
async def test_no_more_trials_wait_than_may_run() -> None:
    """A quota that admits nobody makes twice parallelTrialCount wait, not the whole budget."""
    async with World(quadratic, quota=Tight(capacity=0, dislikes=0)).opened() as world:
        await world.submit(manifest(maxTrialCount=50, parallelTrialCount=3))
        limit = asyncio.get_running_loop().time() + 60
        await world.run(lambda: asyncio.get_running_loop().time() >= limit)
        assert states(world) == ["Pending"] * 6
        assert all(is_true(item, "Queued") for item in world.trials())
        assert world.store.list(kinds.JOB).items == []
        assert world.checker.broken == []


@virtual
async def test_a_strangers_suggestion_is_refused_not_adopted() -> None:
    """An object of our name with another owner is never used (S20)."""
    async with World(quadratic).opened() as world:
        stranger = {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Suggestion",
            "metadata": {"name": "e", "namespace": "default"},
        }
        await world.client.create(kinds.load(stranger))
        await world.submit(manifest())
        loop = asyncio.get_running_loop()
        limit = loop.time() + 30
        await world.run(lambda: loop.time() >= limit)
        assert world.trials() == []
        await world.client.delete(kinds.SUGGESTION, "default", "e")
        await world.run(world.ended)
        assert world.checker.broken == []


@virtual
async def test_a_strangers_trial_makes_us_take_another_name() -> None:
    """A trial of our name that is not ours is left alone; the slot gets another name (S20)."""
    async with World(quadratic).opened() as world:
        subject = await world.submit(manifest())
        from kuttab.rules import naming

        taken = naming.trial_name(subject, 0)
        await world.client.create(
            kinds.load(
                {
                    "apiVersion": "kubeflow.org/v1beta1",
                    "kind": "Trial",
                    "metadata": {"name": taken, "namespace": "default"},
                }
            )
        )
        limit = asyncio.get_running_loop().time() + 60
        ours = lambda: [t for t in world.trials() if t.metadata.controller is not None]  # noqa: E731
        await world.run(lambda: completion.completed(world.experiment()) or asyncio.get_running_loop().time() > limit)
        assert sorted(trial_state.slot(item) for item in ours()) == [0, 1, 2, 3]
        assert taken not in {item.name for item in ours()}
        (strange,) = (item for item in world.trials() if item.name == taken)
        last = (strange.status.conditions or [])[-1]
        assert (last.type, "WorkloadRefused" in last.reason) == ("Failed", True), (
            "a trial without a workload has a named end"
        )


@virtual
async def test_the_same_name_in_two_namespaces_shares_nothing() -> None:
    """Two experiments of one name in two namespaces have their own trials and counts (S19, K7)."""
    async with World(quadratic).opened() as world:
        await world.submit(manifest())
        other = manifest(maxTrialCount=2)
        other["metadata"]["namespace"] = "kubeflow"
        await world.client.create(kinds.load(other))

        def done() -> bool:
            both = world.store.list(kinds.EXPERIMENT).items
            return all(isinstance(item, Experiment) and completion.completed(item) for item in both)

        await world.run(done)
        counts = {
            item.namespace: item.status.trials
            for item in world.store.list(kinds.EXPERIMENT).items
            if isinstance(item, Experiment)
        }
        assert counts == {"default": 4, "kubeflow": 2}


@virtual
async def test_nothing_is_written_when_nothing_is_to_do() -> None:
    """After the end, and with a new control plane over it, not one write happens (L1, B15)."""
    async with World(quadratic).opened() as world:
        await world.submit(manifest())
        await world.run(world.ended)
        loop = asyncio.get_running_loop()
        for _ in range(2):
            revision = world.store.revision
            limit = loop.time() + 600
            await world.run(lambda limit=limit: loop.time() >= limit)
            assert world.store.revision == revision
