"""What goes wrong around single trials and with what an experiment is made of, in virtual time; the invariants hold throughout."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from flow.world import World, inline, is_true, manifest, quadratic
from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.ports import suggestion as port
from kuttab.ports.observations import Row, TrialKey
from kuttab.rules import completion, counting, naming, suggestion_state, trial_state
from kuttab.testing.virtual import virtual
from kuttab.wiring import suggesting

TEMPLATE = """
apiVersion: batch/v1
kind: Job
spec:
  template:
    spec:
      containers:
      - {name: c, image: i, command: [p, "--x=${trialParameters.x}", "--note=%s"]}
"""


def states(world: World) -> list[str]:
    """The states of all trials, by slot."""
    return [str(trial_state.state(item.status.conditions)) for item in world.trials()]


@virtual
async def test_metrics_that_come_late_are_waited_for() -> None:
    """Rows that arrive after the Job's end, within the grace, are the trial's whole observation (C16, S17)."""
    async with World(lambda values: {**quadratic(values), "late": 12.0}).opened() as world:
        await world.submit(manifest())
        await world.run(world.ended)
        assert states(world) == ["Succeeded"] * 4


@virtual
async def test_metrics_that_never_come_end_the_trial_after_its_grace() -> None:
    """A Job that completed and reported nothing makes its trial MetricsUnavailable after the grace, not before (L5, K18)."""
    async with World(lambda values: {**quadratic(values), "late": 3600.0}).opened() as world:
        await world.submit(manifest(maxTrialCount=1, parallelTrialCount=1))
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await world.run(lambda: loop.time() > begin + 25)
        assert states(world) == ["Running"]
        await world.run(world.ended)
        assert loop.time() < begin + 60
        assert states(world) == ["MetricsUnavailable"]


@virtual
async def test_an_early_stopped_trial_keeps_what_it_showed_and_counts() -> None:
    """A trial that its rule ended is EarlyStopped with the observation so far, uses up its slot and is no failure (F14)."""

    def behave(values: dict[str, str]) -> dict[str, Any]:
        return {**quadratic(values), "stopped": "loss", "failed": "DeadlineExceeded"}

    async with World(behave).opened() as world:
        await world.submit(
            manifest(earlyStopping={"algorithmName": "medianstop"}, maxTrialCount=3, maxFailedTrialCount=1)
        )
        await world.run(world.ended)
        assert states(world) == ["EarlyStopped"] * 3
        subject = world.experiment()
        assert (subject.status.conditions or [])[-1].reason == "ExperimentMaxTrialsReached"
        assert subject.status.trials_early_stopped == 3
        for item in world.trials():
            assert item.status.observation is not None


@virtual
async def test_what_was_asked_ahead_is_not_run_after_the_end() -> None:
    """Assignments that lie ready when the goal is reached, or the user stops, never become trials (S11)."""
    async with World(quadratic).opened() as world:
        goal = {"type": "minimize", "objectiveMetricName": "loss", "goal": 0.2}
        await world.submit(manifest(objective=goal, maxTrialCount=20, askAhead=6))
        await world.run(world.ended)
        made = len(world.trials())
        assert made < world.suggestion().status.suggestion_count
        limit = asyncio.get_running_loop().time() + 300
        await world.run(lambda: asyncio.get_running_loop().time() > limit)
        assert len(world.trials()) == made


@virtual
async def test_the_template_is_the_one_the_experiment_began_with() -> None:
    """A ConfigMap that is edited, and then deleted, changes no trial; the condition says so (row 111)."""
    source = {"configMapName": "t", "configMapNamespace": "default", "templatePath": "job"}

    def config_map(note: str) -> meta.Object:
        return kinds.load(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "t", "namespace": "default"},
                "data": {"job": TEMPLATE % note},
            }
        )

    document = manifest(maxTrialCount=8)
    del document["spec"]["trialTemplate"]["trialSpec"]
    document["spec"]["trialTemplate"]["configMap"] = source
    async with World(quadratic).opened() as world:
        await world.client.create(config_map("first"))
        await world.submit(document)
        await world.run(lambda: len(world.trials()) >= 2)
        assert not is_true(world.experiment(), "TemplateChanged")
        stored = await world.client.get(kinds.CONFIG_MAP, "default", "t")
        await world.client.update(meta.evolve(config_map("second"), metadata=stored.metadata))
        await world.run(lambda: len(world.trials()) >= 4)
        assert is_true(world.experiment(), "TemplateChanged")
        await world.client.delete(kinds.CONFIG_MAP, "default", "t")
        await world.run(world.ended)
        assert states(world) == ["Succeeded"] * 8
        commands = [
            (item.spec.run_spec or {})["spec"]["template"]["spec"]["containers"][0]["command"]
            for item in world.trials()
        ]
        assert {command[2] for command in commands} == {"--note=first"}
        assert not any("kuttab.org/template" in key for key in world.suggestion().metadata.annotations or {})


@virtual
async def test_a_missing_template_is_waited_for_and_named() -> None:
    """An experiment whose ConfigMap is not there yet makes no trial and goes on once it is."""
    document = manifest()
    template = document["spec"]["trialTemplate"]
    del template["trialSpec"]
    template["configMap"] = {"configMapName": "t", "configMapNamespace": "default", "templatePath": "job"}
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "t", "namespace": "default"}}
    async with World(quadratic).opened() as world:
        await world.client.create(kinds.load({**held, "data": {"other": "x"}}))
        await world.submit(document)
        limit = asyncio.get_running_loop().time() + 60
        await world.run(lambda: asyncio.get_running_loop().time() > limit)
        assert world.trials() == []
        assert any("has no key job" in item.section("message") for item in _events(world))
        stored = await world.client.get(kinds.CONFIG_MAP, "default", "t")
        await world.client.update(meta.evolve(stored, data={"job": TEMPLATE % "x"}))
        await world.run(world.ended)
        assert states(world) == ["Succeeded"] * 4


@virtual
async def test_a_template_that_cannot_be_rendered_fails_the_experiment() -> None:
    """What no retry can mend ends the experiment with its reason, and no trial is made (S15)."""
    document = manifest()
    document["spec"]["trialTemplate"]["trialParameters"] = []
    async with World(quadratic).opened() as world:
        await world.submit(document)
        await world.run(lambda: completion.completed(world.experiment()))
        (end,) = [c for c in world.experiment().status.conditions or () if c.type == "Failed"]
        assert "A trial cannot be made" in end.message
        assert world.trials() == []


@virtual
async def test_a_strangers_job_fails_one_trial_and_is_left_alone() -> None:
    """A Job of the trial's name that is not ours is neither used nor deleted; the trial says whose fault it is (S20)."""
    async with World(quadratic).opened() as world:
        subject = await world.submit(manifest())
        name = naming.trial_name(subject, 0)
        stranger = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"}}
        done = {"conditions": [{"type": "Complete", "status": "True"}]}
        made = await world.client.create(kinds.load(stranger))
        made = await world.client.update_status(meta.evolve(made, status=done))
        await world.run(lambda: completion.completed(world.experiment()))
        assert states(world) == ["Failed", "Succeeded", "Succeeded", "Succeeded"]
        problem = next(c for c in world.trials()[0].status.conditions or () if c.type == "Failed")
        assert "belongs to something else" in problem.message
        assert await world.client.get(kinds.JOB, "default", name) == made


@virtual
@pytest.mark.parametrize("retain", [False, True])
async def test_workloads_are_kept_only_where_asked(retain: bool) -> None:
    """With retain every trial's Job stays, finished as it is; without, none is left."""
    document = manifest()
    document["spec"]["trialTemplate"]["retain"] = retain
    async with World(quadratic).opened() as world:
        await world.submit(document)
        await world.run(lambda: completion.completed(world.experiment()))
        limit = asyncio.get_running_loop().time() + 60
        await world.run(lambda: asyncio.get_running_loop().time() > limit)
        assert states(world) == ["Succeeded"] * 4
        kept = {item.name for item in world.store.list(kinds.JOB).items}
        assert kept == ({item.name for item in world.trials()} if retain else set())


@virtual
async def test_a_workload_that_cannot_be_made_fails_its_trial_at_once() -> None:
    """What the store refuses for good fails the trial after one try, with the store's reason, and counts (C05)."""
    document = manifest(maxFailedTrialCount=2)
    document["spec"]["trialTemplate"]["trialSpec"]["metadata"] = {"labels": {"team": "no label value"}}
    async with World(quadratic).opened() as world:
        await world.submit(document)
        await world.run(lambda: completion.completed(world.experiment()))
        assert set(states(world)) == {"Failed"}
        (problem,) = [c for c in world.trials()[0].status.conditions or () if c.type == "Failed"]
        assert "labels" in problem.message
        assert world.checker.counts.get(("Job", "ADDED"), 0) == 0
        assert len([call for call in world.wire.calls if call.verb == "create" and "Job/" in call.subject]) <= 3


@virtual
async def test_a_workload_of_a_kind_that_nobody_watches_is_looked_at_now_and_then() -> None:
    """Its end is seen by asking; it is deleted with its trial, and a trial that is stopped waits until it is gone."""
    document = manifest(maxTrialCount=3, parallelTrialCount=1)
    tree = document["spec"]["trialTemplate"]["trialSpec"]
    tree["apiVersion"], tree["kind"] = "example.org/v1", "Work"
    work = kinds.named("example.org/v1", "Work")

    def there(world: World) -> list[meta.Object]:
        return list(world.store.list(work).items)

    async def finish(world: World) -> None:
        (item,) = there(world)
        owner = item.metadata.controller
        assert owner is not None
        key = TrialKey(owner.uid, owner.name, item.namespace)
        await world.observations.complete(key, item.uid, 0, [Row("loss", "1")])
        world.checker.measured(key, [Row("loss", "1")])
        done = {"conditions": [{"type": "Complete", "status": "True"}]}
        await world.client.update_status(meta.evolve(item, status=done))

    async with World(quadratic).opened() as world:
        await world.submit(document)
        await world.run(lambda: bool(there(world)))
        await finish(world)
        await world.run(lambda: states(world)[:1] == ["Succeeded"] and len(world.trials()) == 2 and bool(there(world)))
        subject = world.experiment()
        await world.client.update(meta.evolve(subject, spec=meta.evolve(subject.spec, stop=True)))
        await world.run(lambda: "Killed" in states(world))
        assert there(world) == []


@virtual
async def test_every_name_taken_by_strangers_is_said_and_waited_out() -> None:
    """When strangers hold every name of a slot no trial is made under another's; once they go, it is (S20, S6)."""
    async with World(quadratic).opened() as world:
        subject = await world.submit(manifest(maxTrialCount=1, parallelTrialCount=1))
        names = [naming.trial_name(subject, slot) for slot in (0, "0/1", "0/2", "0/3", "0/4", "0/5")]
        for name in names:
            await world.client.create(
                kinds.load(
                    {
                        "apiVersion": "kubeflow.org/v1beta1",
                        "kind": "Trial",
                        "metadata": {"name": name, "namespace": "default"},
                        "spec": {"objective": {"type": "minimize", "objectiveMetricName": "loss"}},
                    }
                )
            )
        limit = asyncio.get_running_loop().time() + 60
        await world.run(lambda: asyncio.get_running_loop().time() > limit)
        assert [t for t in world.trials() if t.metadata.controller is not None] == []
        assert any("is taken by strangers" in item.section("message") for item in _events(world))
        await world.client.delete(kinds.TRIAL, "default", names[3])
        await world.run(lambda: completion.completed(world.experiment()))
        (ours,) = [t for t in world.trials() if t.metadata.controller is not None]
        assert ours.name == names[3]


@pytest.mark.slow
@virtual
async def test_no_object_grows_with_the_number_of_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the caps of journal and lists, twice the trials make no object larger (S22, K20)."""
    monkeypatch.setattr(suggestion_state, "JOURNAL_CAP", 6)
    monkeypatch.setattr(counting, "LIST_CAP", 6)
    space = [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}]
    async with World(quadratic).opened() as world:
        await world.submit(manifest(parameters=space, maxTrialCount=60))
        await world.run(world.ended, seconds=600)
        assert len(world.trials()) == 60
        for kind in ("Experiment", "Suggestion"):
            sizes = world.checker.sizes[kind]
            half = len(sizes) // 2
            assert max(sizes[half:-2]) <= max(sizes[:half]) + 40, kind  # the last writes tell the end


@virtual
async def test_reproducible_proposals_see_only_the_results_before_them() -> None:
    """With spec.reproducible every request is for one slot and shows exactly the trials up to one parallelism before it."""
    seen: list[tuple[int, int, list[int]]] = []

    class Watching(suggesting.InProcess):
        """Notes what it is shown."""

        async def suggest(self, request: port.Request) -> port.Reply:
            """Note, then answer."""
            seen.append((request.first_slot, request.count, [record.slot for record in request.trials.all()]))
            return await super().suggest(request)

    world = World(quadratic, suggestions=lambda rows: Watching(rows, offload=inline))
    async with world.opened():
        await world.submit(manifest(reproducible=True, maxTrialCount=6, parallelTrialCount=2))
        await world.run(world.ended)
        assert [slot for slot, _, _ in seen] == list(range(6))
        for slot, count, shown in seen:
            assert count == 1
            assert shown == list(range(max(0, slot - 1)))


class Adaptive(suggesting.InProcess):
    """A service that has settings kept, and waits for results first."""

    def __init__(self, rows: Any) -> None:
        super().__init__(rows, offload=inline)
        self.settings: list[str] = []

    async def suggest(self, request: port.Request) -> port.Reply:
        """One at a time, each with the number of results known."""
        spec = request.experiment.spec.algorithm
        given = {item.name: item.value for item in (spec.algorithm_settings if spec else None) or ()}
        self.settings.append(given.get("state", ""))
        if request.first_slot > len(request.trials.all()):
            return port.Reply([], wait="results first")
        plain = [item for item in (spec.algorithm_settings if spec else None) or () if item.name != "state"]
        bare = meta.evolve(
            request.experiment,
            spec=meta.evolve(request.experiment.spec, algorithm=meta.evolve(spec, algorithm_settings=plain)),
        )
        reply = await super().suggest(dataclasses.replace(request, experiment=bare))
        return port.Reply(list(reply.assignments)[:1], {"state": str(request.first_slot)})


@virtual
async def test_settings_that_a_service_wants_kept_come_back_to_it() -> None:
    """What a reply keeps is in the next request, and a service that waits is asked again (hyperband's way)."""
    services: list[Adaptive] = []

    def make(rows: Any) -> Adaptive:
        services.append(Adaptive(rows))
        return services[-1]

    async with World(quadratic, suggestions=make).opened() as world:
        algorithm = {"algorithmName": "random", "algorithmSettings": [{"name": "random_state", "value": "7"}]}
        await world.submit(manifest(algorithm=algorithm, maxTrialCount=3))
        await world.run(world.ended)
        kept = {item.name: item.value for item in world.suggestion().status.algorithm_settings or ()}
        assert kept == {"state": "2"}
        assert list(dict.fromkeys(services[-1].settings)) == ["", "0", "1"]


def _events(world: World) -> list[meta.Object]:
    return list(world.store.list(kinds.EVENT).items)


async def test_errors_are_not_swallowed() -> None:
    """The world that these tests run in fails a test whose control plane breaks in a way of its own."""
    broken = errors.KuttabError("a bug")

    async def main() -> None:
        async with World(quadratic).opened() as world:

            def plan(call: Any) -> None:
                raise AssertionError(broken)

            world.wire.plan = plan
            await world.run(lambda: False, seconds=5)

    with pytest.raises(BaseExceptionGroup):
        await asyncio.to_thread(_run, main)


def _run(main: Any) -> None:
    from kuttab.testing import virtual as clocks

    clocks.run(main())
