"""Experiments behind a quota: MPIJobs and a service that answers in every way, many trials and random errors, local slots."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kuttab.api import conditions, keys, kinds, meta, trial
from kuttab.base import clock, errors
from kuttab.node import slots
from kuttab.rules import explaining, trial_state
from kuttab.wiring import machine, quotas, reading
from quota_servers import Server
from wire import machines
from wire.shell import EXAMPLES, Shell, manifest, write

LAUNCHER = ["sh", "-c", "cat $OMPI_MCA_orte_default_hostfile; echo loss=$0", "${trialParameters.x}"]


def mpi(**spec: Any) -> dict[str, Any]:
    """An experiment of MPIJobs: a launcher and two workers, half a core each."""
    document = manifest("", **spec)
    template = document["spec"]["trialTemplate"]
    half = {"resources": {"limits": {"cpu": "500m"}}}
    launcher = {"name": "main", "image": "any", "command": LAUNCHER, **half}
    worker = {"name": "worker", "image": "any", **half}
    template["trialSpec"] = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "MPIJob",
        "spec": {
            "slotsPerWorker": 1,
            "mpiReplicaSpecs": {
                "Launcher": {"replicas": 1, "template": {"spec": {"containers": [launcher]}}},
                "Worker": {"replicas": 2, "template": {"spec": {"containers": [worker]}}},
            },
        },
    }
    return document


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that another process or task does."""
    for _ in range(3000):
        if await condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen in time")


def state(item: trial.Trial) -> str:
    """A trial's state."""
    return str(trial_state.state(item.status.conditions))


@pytest.mark.slow
async def test_mpi_jobs_with_a_service_that_waits_admits_rejects_errs_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wait then admit succeeds, a rejection fails that trial only, an error and silence delay, and everything is released."""
    monkeypatch.setattr("kuttab.client.quota_http.TIMEOUT", 0.3)
    monkeypatch.setattr("kuttab.client.quota_http.FIRST", 0.05)
    wait = {"verdict": "wait", "reason": "2 of 2 GPUs are taken", "retryAfterSeconds": 0.1}
    plans: list[list[Any]] = [
        [wait, wait],
        [],
        [{"verdict": "reject", "reason": "not in this team"}],
        [500, 503],
        [None],
    ]
    given: dict[str, list[Any]] = {}

    def script(question: dict[str, Any]) -> Any:
        if question["verb"] == "release":
            return ...
        plan = given.setdefault(question["trial"]["uid"], plans[len(given)] if len(given) < len(plans) else [])
        return plan.pop(0) if plan else ...

    async with Server(script=script).serving() as server:
        where = machines.settings(tmp_path / "data", quota=server.url)
        document = mpi(maxTrialCount=5, parallelTrialCount=1, maxFailedTrialCount=2)
        ended, trials = await machines.run(where, document)
        assert conditions.is_true(ended.status.conditions, keys.SUCCEEDED)
        assert sorted(map(state, trials)) == ["Failed"] + ["Succeeded"] * 4
        [rejected] = [item for item in trials if state(item) == "Failed"]
        assert "QuotaRejected" in (rejected.status.conditions or [])[-1].reason
        assert "not in this team" in (rejected.status.conditions or [])[-1].message
        assert all(plan == [] for plan in plans)
        assert set(server.released) == {item.uid for item in trials}
        assert server.holds == {}
        assert {q["workload"]["kind"] for q in server.questions if q["verb"] == "check"} == {"MPIJob"}
        assert {q["resources"]["cpus"] for q in server.questions if q["verb"] == "check"} == {1.5}


async def test_a_waiting_trial_is_visible_and_holds_no_parallel_slot(tmp_path: Path) -> None:
    """One trial that the service lets wait shows Queued with the reason, while the others run one after the other."""
    waiting: list[str] = []

    def script(question: dict[str, Any]) -> Any:
        uid = question["trial"]["uid"]
        if question["verb"] == "check" and (not waiting or uid in waiting) and not done.is_set():
            waiting[:] = [uid]
            return {"verdict": "wait", "reason": "the big machine is taken", "retryAfterSeconds": 0.2}
        return ...

    done = asyncio.Event()
    program = "import sys; print(f'loss={sys.argv[1]}')"
    async with Server(script=script).serving() as server:
        where = machines.settings(tmp_path / "data", quota=server.url)
        async with machine.running(where) as world:
            subject = await machines.submit(world, manifest(program, maxTrialCount=4, parallelTrialCount=1))
            trials: list[trial.Trial] = []
            stories: list[str] = []
            async with asyncio.timeout(60):
                while sum(state(item) == "Succeeded" for item in trials) < 3 or "big machine" not in stories[0]:
                    await asyncio.sleep(0.05)
                    trials = list(await reading.trials_of(world.objects, subject))
                    stories = [line for item in trials if item.uid in waiting for line in explaining.trial_story(item)]
            [queued] = [item for item in trials if item.uid in waiting]
            assert trial_state.queued(queued)
            assert stories == [f"Trial {queued.name} waits for resources (QuotaWait): the big machine is taken"]
            assert not (await world.objects.list(kinds.JOB, fields=f"metadata.name={queued.name}")).items
            assert queued.uid not in server.holds
            done.set()
            ended = await machines.finish(world, subject)
            assert ended.status.trials_succeeded == 4


@pytest.mark.slow
async def test_a_hundred_trials_with_a_third_of_errors_none_fails_and_the_quota_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 % random 500s on checks and releases: 100 successes, and at no commit more Jobs alive than the quota of three."""
    monkeypatch.setattr("kuttab.client.quota_http.FIRST", 0.02)
    monkeypatch.setattr("kuttab.client.quota_http.MOST", 0.2)
    async with Server(capacity=3, errors=0.3).serving() as server:
        where = machines.settings(tmp_path / "data", quota=server.url)
        document = manifest("", maxTrialCount=100, parallelTrialCount=6, maxFailedTrialCount=1)
        container = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
        container["command"] = ["sh", "-c", "echo loss=$0", "${trialParameters.x}"]
        async with machine.running(where) as world:
            alive: set[str] = set()
            most = 0

            def heard(old: Any, new: Any) -> None:
                nonlocal most
                over = new is None or any(c["status"] == "True" for c in new.section("status").get("conditions") or ())
                (alive.discard if over else alive.add)((new or old).uid)
                most = max(most, len(alive))

            world.plane.workloads[kinds.JOB].listen(heard)
            ended = await machines.finish(world, await machines.submit(world, document))
        assert ended.status.trials_succeeded == 100
        assert not ended.status.trials_failed
        assert server.failed > 20
        assert server.most <= 3
        assert 1 <= most <= 3
        assert len(set(server.released)) >= 97  # the rest is in the journal: the service said 500 at the end


@pytest.mark.slow
def test_slots_let_as_many_run_as_fit(tmp_path: Path) -> None:
    """`--quota slots:cpus=2` over Jobs of one core with parallelTrialCount 4: never more than two at once, and all succeed."""
    marks = tmp_path / "marks"
    marks.mkdir()
    program = (
        "import os, sys, time; d = sys.argv[2]; me = os.path.join(d, str(os.getpid())); open(me, 'w').close();"
        "n = len([f for f in os.listdir(d) if not f.startswith('n')]); open(os.path.join(d, f'n{n}'), 'w').close();"
        "time.sleep(0.1); os.remove(me); print(f'loss={sys.argv[1]}')"
    )
    document = manifest(
        program, arguments=["${trialParameters.x}", str(marks)], maxTrialCount=6, parallelTrialCount=4,
        container={"resources": {"requests": {"cpu": 1}}},
    )  # fmt: skip
    done = Shell(tmp_path / "data")("run", write(tmp_path, document), "--quota", "slots:cpus=2", "--json")
    assert done.code == 0, done.err
    assert done.json["experiment"]["status"]["trialsSucceeded"] == 6
    assert max(int(name.removeprefix("n")) for name in os.listdir(marks)) <= 2


async def test_a_workload_beyond_the_machine_is_rejected_with_the_numbers(tmp_path: Path) -> None:
    """What can never run fails its trial, and the message says what was asked for and what there is."""
    document = manifest("print('loss=1')", maxFailedTrialCount=1, container={"resources": {"requests": {"cpu": 3}}})
    ended, trials = await machines.run(machines.settings(tmp_path / "data", quota="slots:cpus=2"), document)
    assert conditions.is_true(ended.status.conditions, keys.FAILED)
    assert any("3 CPUs of 2" in explaining.trial_story(item)[0] for item in trials)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("slots:cpus=many", "quota.cpus"),
        ("slots:cores=2", "quota.cores"),
        ("sometimes", "must be none, slots"),
        ("ftp://x", "must look like"),
        ({"url": "http://x/", "cpus": 2}, "quota.url"),
        ({"memory": "-1"}, "quota.memory"),
    ],
)
def test_a_bad_quota_is_told_with_its_field(value: Any, words: str) -> None:
    """What is wrong, and what is allowed."""
    with pytest.raises(errors.BadInputError, match=words):
        quotas.read(value)


@pytest.mark.slow
def test_a_bad_quota_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """Exit code 2 and one line."""
    done = Shell(tmp_path / "data")("run", write(tmp_path, manifest("")), "--quota", "slots:cpus=many")
    assert done.code == 2
    assert "quota.cpus: 'many' must be a quantity such as 4 or 16Gi" in done.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("value", "setting"),
    [
        ("", quotas.Setting()),
        ("none", quotas.Setting()),
        ("slots", quotas.Setting(local=True)),
        ("slots:cpus=4, memory=2Gi,gpus=1", quotas.Setting(local=True, cpus=4, memory=2**31, gpus=1)),
        ({"cpus": "500m"}, quotas.Setting(local=True, cpus=0.5)),
        ({"slots": True}, quotas.Setting(local=True)),
        ({"url": "http://h:1/q"}, quotas.Setting(url="http://h:1/q")),
        ("https://h/q", quotas.Setting(url="https://h/q")),
    ],
)
def test_the_setting_in_all_its_spellings(value: Any, setting: quotas.Setting) -> None:
    """Text from the command line and maps from the configuration say the same."""
    assert quotas.read(value) == setting


def test_what_is_not_named_is_what_the_machine_has() -> None:
    """Slots of two cores still count all memory and devices."""
    capacity, seen = quotas.read("slots:cpus=2").capacity(), slots.seen()
    assert (capacity.cpus, capacity.memory, capacity.gpus) == (2, seen.memory, seen.gpus)


def test_the_quota_can_stand_in_the_configuration(tmp_path: Path) -> None:
    """runtime.quota of the configuration file is the option's twin, the option wins, and mistakes have a path and a line."""
    config = tmp_path / "config.yaml"
    text = "apiVersion: config.kubeflow.org/v1beta1\nkind: KatibConfig\nruntime:\n  quota:\n    cpus: {}\n"
    config.write_text(text.format("2"))
    assert quotas.read(machines.settings(tmp_path, config).quota) == quotas.Setting(local=True, cpus=2)
    assert machines.settings(tmp_path, config, quota="none").quota == "none"
    config.write_text(text.format("lots"))
    with pytest.raises(errors.InvalidError) as caught:
        machines.settings(tmp_path, config)
    [problem] = caught.value.problems
    assert (problem.path, problem.line) == ("runtime.quota.cpus", 5)


@pytest.mark.slow
def test_the_example_service_and_its_mpi_jobs(tmp_path: Path) -> None:
    """The service of the guide admits two MPIJobs at a time of the four that may run, and holds nothing at the end."""
    service = subprocess.Popen(
        [sys.executable, EXAMPLES / "quota/service.py", "0", "4"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert service.stdout is not None
        url = service.stdout.readline().strip()
        done = Shell(tmp_path / "data")("run", EXAMPLES / "quota/mpijobs.yaml", "--quota", url, "--json")
        assert done.code == 0, done.err
        assert done.json["experiment"]["status"]["trialsSucceeded"] == 8
    finally:
        service.kill()
        service.communicate()


@pytest.mark.slow
async def test_a_killed_run_leaves_nothing_held_for_ever(tmp_path: Path) -> None:
    """kill -9 in the middle, the same command again: all trials succeed, the service holds nothing, and its limit was kept throughout."""
    document = manifest(
        "import sys, time; time.sleep(0.2); print(f'loss={sys.argv[1]}')", maxTrialCount=6, parallelTrialCount=3
    )
    file = write(tmp_path, document)
    async with Server(capacity=2).serving() as server:
        command = [
            sys.executable,
            "-m",
            "kuttab",
            "run",
            file,
            "--quota",
            server.url,
            "--data",
            tmp_path / "data",
            "-q",
        ]
        first = await asyncio.create_subprocess_exec(*map(str, command), stdout=subprocess.DEVNULL)

        async def in_the_middle() -> bool:
            return bool(server.released and server.holds)

        await until(in_the_middle)
        first.kill()
        await first.wait()
        again = await asyncio.create_subprocess_exec(*map(str, command), stdout=subprocess.PIPE)
        out, _ = await again.communicate()
        assert again.returncode == 0, out
        assert server.holds == {}
        assert server.most <= 2
        asked = {question["trial"]["uid"] for question in server.questions if question["verb"] == "check"}
        assert len(asked) == 6
        assert set(server.released) == asked


@pytest.mark.slow
async def test_slots_of_an_earlier_life_are_counted_at_the_next_start(tmp_path: Path) -> None:
    """A workload that exists holds its slots before anybody is admitted, though nothing was written down."""
    document = manifest("import time; time.sleep(600)", container={"resources": {"requests": {"cpu": 2}}})
    where = machines.settings(tmp_path / "data", quota="slots:cpus=3")
    async with machine.running(where) as world:
        subject = await machines.submit(world, document)

        async def one_of_two() -> bool:
            return {state(item) for item in await reading.trials_of(world.objects, subject)} == {"Running", "Pending"}

        await until(one_of_two)
    async with machine.opened(where) as objects, quotas.opened(where, objects, clock.SystemClock()) as found:
        trials = await reading.trials_of(objects, subject)
        [waiting] = [item for item in trials if state(item) == "Pending"]
        [holding] = [item for item in trials if state(item) == "Running"]
        job = await objects.get(kinds.JOB, "default", holding.name)
        assert isinstance(job, meta.Resource)
        verdicts = [(await found.quota.check(item, job)).verdict for item in (waiting, holding)]
        assert verdicts == ["wait", "admit"]


async def test_a_suspended_job_is_told_and_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    """A template with suspend: the trial runs nothing and says why; resumed, it succeeds."""
    document = manifest("print('loss=1')", maxTrialCount=1, parallelTrialCount=1)
    document["spec"]["trialTemplate"]["trialSpec"]["spec"]["suspend"] = True
    async with machine.running(machines.settings(tmp_path / "data")) as world:
        subject = await machines.submit(world, document)
        stories: list[str] = []

        async def told() -> bool:
            stories[:] = [
                line
                for item in await reading.trials_of(world.objects, subject)
                for line in explaining.trial_story(item)
            ]
            return any("WorkloadSuspended" in line for line in stories)

        await until(told)
        [item] = await reading.trials_of(world.objects, subject)
        assert stories[0].startswith(
            f"Trial {item.name} is suspended (WorkloadSuspended): Job {item.name} is suspended;"
        )
        job = await world.objects.get(kinds.JOB, "default", item.name)
        assert isinstance(job, meta.Resource)
        await world.objects.update(meta.evolve(job, spec={**job.section("spec"), "suspend": False}))
        ended = await machines.finish(world, subject)
        assert ended.status.trials_succeeded == 1


@pytest.mark.slow
async def test_another_command_tells_why_all_wait(tmp_path: Path) -> None:
    """`kuttab run` says that it waits; `explain`, `describe` and `get` beside it give the service's own words."""
    file = write(tmp_path, manifest("print('loss=1')", maxTrialCount=1, parallelTrialCount=1))
    free = asyncio.Event()
    wait = {"verdict": "wait", "reason": "0 of 4 GPUs are free", "retryAfterSeconds": 0.2}

    async def kuttab(*words: object) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "kuttab", *map(str, words), "--data", str(tmp_path / "data")]
        return await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)

    async with Server(script=lambda question: ... if free.is_set() else wait).serving() as server:
        run = await kuttab("run", file, "--quota", server.url)
        assert run.stdout is not None
        async with asyncio.timeout(60):
            while b"unfinished trials wait for resources; why: kuttab explain e" not in await run.stdout.readline():
                pass
        told, _ = await (await kuttab("explain", "e")).communicate()
        assert b"waits for resources (QuotaWait): 0 of 4 GPUs are free" in told
        name = told.partition(b"Trial ")[2].split()[0].decode()
        told, _ = await (await kuttab("describe", name)).communicate()
        assert b"Queued (QuotaWait): 0 of 4 GPUs are free" in told
        free.set()
        async with asyncio.timeout(60):
            await run.communicate()
        assert run.returncode == 0
