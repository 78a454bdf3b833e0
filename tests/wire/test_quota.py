"""Experiments behind a quota: MPIJobs and a service that answers in every way, many trials and random errors, local slots."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from kuttab.api import conditions, keys, kinds, trial
from kuttab.rules import explaining, trial_state
from kuttab.wiring import machine, reading
from quota_servers import Server
from wire import machines
from wire.shell import Shell, manifest, write

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


def state(item: trial.Trial) -> str:
    """A trial's state."""
    return str(trial_state.state(item.status.conditions))


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


def test_a_workload_beyond_the_machine_is_rejected_with_the_numbers(tmp_path: Path) -> None:
    """What can never run fails its trial, and the message says what was asked for and what there is."""
    document = manifest("print('loss=1')", maxFailedTrialCount=1, container={"resources": {"requests": {"cpu": 3}}})
    shell = Shell(tmp_path / "data")
    done = shell("run", write(tmp_path, document), "--quota", "slots:cpus=2")
    assert done.code == 1
    assert "3 CPUs of 2" in shell("explain", "e").out


@pytest.mark.parametrize(
    ("text", "words"),
    [("slots:cpus=many", "quota.cpus"),
     ("slots:cores=2", "quota.cores"), ("sometimes", "must be none, slots"), ("ftp://x", "must look like")],
)  # fmt: skip
def test_a_bad_quota_is_refused_before_anything_runs(tmp_path: Path, text: str, words: str) -> None:
    """Exit code 2 and what is allowed."""
    done = Shell(tmp_path / "data")("run", write(tmp_path, manifest("")), "--quota", text)
    assert done.code == 2
    assert words in done.err


def test_the_quota_can_stand_in_the_configuration(tmp_path: Path) -> None:
    """runtime.quota of the configuration file is the option's twin, and its mistakes have a path and a line."""
    config = tmp_path / "config.yaml"
    text = "apiVersion: config.kubeflow.org/v1beta1\nkind: KatibConfig\nruntime:\n  quota:\n    cpus: {}\n"
    document = manifest("print('loss=1')", maxFailedTrialCount=1, container={"resources": {"requests": {"cpu": 3}}})
    file = write(tmp_path, document)
    shell = Shell(tmp_path / "data")
    config.write_text(text.format("2"))
    assert shell("run", file, "--config", config).code == 1
    config.write_text(text.format("lots"))
    done = shell("run", file, "--config", config, "--name", "f")
    assert done.code == 2
    assert "5:5: runtime.quota.cpus" in done.err
