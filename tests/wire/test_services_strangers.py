"""Algorithms as services of strangers: late, dying, lying and hanging ones delay an experiment and never corrupt it (C12-C15)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

import rpc_strangers
from kuttab.api import kinds, trial
from wire import machines
from wire.shell import Shell, living, manifest, write

SERVICE = Path(__file__).with_name("stranger_service.py")


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stranger's modules."""
    folder = tmp_path_factory.mktemp("stubs")
    rpc_strangers.compiled(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path, stubs: Path) -> Path:
    """A fresh folder with the modules, where a service of this test counts its calls."""
    for name in ("stranger_api_pb2.py", "stranger_api_pb2_grpc.py"):
        (tmp_path / name).write_bytes((stubs / name).read_bytes())
    return tmp_path


def config(place: Path, *modes: str, **more: Any) -> Path:
    """A configuration with the stranger's service as ``stranger``, and others as ``stranger1``, ..."""
    entries = [
        {"algorithmName": f"stranger{number or ''}", "command": ["python3", str(SERVICE), str(place), mode], **more}
        for number, mode in enumerate(modes)
    ]
    document = {"apiVersion": "config.kubeflow.org/v1beta1", "kind": "KatibConfig", "runtime": {"suggestions": entries}}
    return write(place, document, "config.yaml")


def search(trials: int = 4, parallel: int = 2, **more: Any) -> Any:
    """An experiment whose trials cost next to nothing."""
    more = {"algorithm": {"algorithmName": "stranger"}, "maxTrialCount": trials, "parallelTrialCount": parallel, **more}
    return manifest("", container={"command": ["sh", "-c", "echo loss=${trialParameters.x}"]}, **more)


async def run(place: Path, mode: str, document: Any, **more: Any) -> tuple[Any, Sequence[trial.Trial]]:
    """Run the experiment with a service in that mode."""
    return await machines.run(machines.settings(place / "data", config(place, mode, **more)), document)


def calls(place: Path, name: str = "calls") -> int:
    """How often the service was asked."""
    return (place / name).stat().st_size


def assert_exact(place: Path, trials: Sequence[trial.Trial], count: int) -> None:
    """Every slot once, all succeeded, and no service left."""
    slots = [int(item.metadata.annotation("kuttab.org/slot")) for item in trials]
    assert slots == list(range(count))
    assert {machines.last(item) for item in trials} == {"Succeeded"}
    assert living(str(place)) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["starts slowly", "dies twice at its start", "dies after each answer"])
async def test_c12_a_service_that_is_late_or_dies_delays_only(place: Path, mode: str) -> None:
    """C12: away at the start, dying before its first answer, or after each one: the exact budget, no slot lost or doubled."""
    _, trials = await run(place, mode, search())
    assert_exact(place, trials, 4)


@pytest.mark.slow
async def test_c12_a_service_may_lose_its_disk(place: Path) -> None:
    """C12: whatever the service kept is gone in the middle, with its process; the experiment ends exactly."""
    where = machines.settings(place / "data", config(place, "good"))
    async with machines.started(where, search(8, 1)) as (world, subject):
        await machines.until(lambda: len(list((where.trials / "default").glob("*"))) >= 3)
        (state,) = where.data.glob("services/default/*/state")
        state.rmdir()
        (pid,) = living(f"{place} good")
        os.kill(pid, signal.SIGKILL)
        await machines.finish(world, subject)
        page = await world.objects.list(kinds.TRIAL)
    slots = sorted(int(item.metadata.annotation("kuttab.org/slot")) for item in page.items)
    assert slots == list(range(8))
    assert living(str(place)) == []


@pytest.mark.slow
async def test_c13_every_code_of_an_answer_delays_only(place: Path) -> None:
    """C13: each of gRPC's codes, between good answers, is tried again; the budget is exact."""
    _, trials = await run(place, "codes", search(16, 1))
    assert calls(place) == 32
    assert_exact(place, trials, 16)


@pytest.mark.slow
@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNKNOWN"])
async def test_c13_settings_that_are_refused_end_the_experiment(place: Path, code: str) -> None:
    """C13: a service that refuses the settings for good ends the experiment with its own words."""
    ended, trials = await run(place, f"refuse {code}", search())
    assert machines.last(ended) == "Failed"
    assert "not with me" in machines.message(ended)
    assert trials == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["validation codes", "refuse UNIMPLEMENTED"])
async def test_c13_other_codes_of_the_check_are_no_verdict(place: Path, mode: str) -> None:
    """C13: a check that failed for another reason is asked again; a service without the check is asked for points."""
    _, trials = await run(place, mode, search())
    assert calls(place, "validations") == (4 if mode == "validation codes" else 1)
    assert_exact(place, trials, 4)


@pytest.mark.slow
async def test_c14_wrong_answers_are_used_not_even_in_part(place: Path) -> None:
    """C14: answers that are wrong in every way, between good ones, leave no trace but events; every trial has a good point."""
    _, trials = await run(place, "wrong", search(14, 1))
    assert calls(place) == 27
    assert_exact(place, trials, 14)
    for item in trials:
        (value,) = item.spec.parameter_assignments or ()
        assert value.name == "x"
        assert 0 <= float(value.value) <= 1
        assert item.metadata.label("katib.kubeflow.org/experiment") == "e"
        assert item.name.startswith("e-")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["hangs once", "stops once"])
async def test_c15_a_call_that_hangs_ends_at_its_deadline(place: Path, mode: str) -> None:
    """C15: a call without an answer is asked again; a service that is not even healthy then is ended and started again."""
    _, trials = await run(place, mode, search(), timeoutSeconds=0.5)
    assert_exact(place, trials, 4)


@pytest.mark.slow
async def test_c15_others_are_unharmed_by_services_that_hang(place: Path) -> None:
    """C15: while six experiments wait for services that never answer, another one runs to its end."""
    where = machines.settings(place / "data", config(place, "good", "always hangs"))
    async with machines.started(where, search()) as (world, _):
        for number in range(6):
            document = search(algorithm={"algorithmName": "stranger1"})
            document["metadata"]["name"] = f"hanging-{number}"
            await machines.submit(world, document)
        await machines.until(lambda: calls(place) >= 6 if (place / "calls").exists() else False)
        document = search()
        document["metadata"]["name"] = "late"
        ended = await machines.finish(world, await machines.submit(world, document))
        assert machines.last(ended) == "Succeeded"
    assert living(str(place)) == []


@pytest.mark.slow
async def test_a_service_goes_with_its_experiment_as_resume_policy_says(place: Path) -> None:
    """Never ends the service with the experiment, LongRunning keeps it, deleting the experiment ends it and removes its folder."""
    where = machines.settings(place / "data", config(place, "good"))
    async with machines.started(where, search(2)) as (world, subject):
        await machines.finish(world, subject)
        await machines.until(lambda: not living(f"{place} good"))
        document = search(2, resumePolicy="LongRunning")
        document["metadata"]["name"] = "long"
        stored = await machines.submit(world, document)
        await machines.finish(world, stored)
        await asyncio.sleep(0.1)
        assert len(living(f"{place} good")) == 1
        assert len(list(where.data.glob("services/default/*"))) == 2
        await world.objects.delete(kinds.EXPERIMENT, "default", "long")
        await machines.until(lambda: not living(f"{place} good"))
        await machines.until(lambda: len(list(where.data.glob("services/default/*"))) == 1)


@pytest.mark.slow
async def test_a_program_that_cannot_be_started_ends_the_experiment_with_the_reason(place: Path) -> None:
    """A command that does not exist is the user's to mend: the message names it."""
    entry = {"algorithmName": "stranger", "command": ["no-such-program-here"]}
    document = {"apiVersion": "config.kubeflow.org/v1beta1", "kind": "KatibConfig", "runtime": {"suggestions": [entry]}}
    where = machines.settings(place / "data", write(place, document, "config.yaml"))
    ended, _ = await machines.run(where, search())
    assert machines.last(ended) == "Failed"
    assert "no-such-program-here" in machines.message(ended)


@pytest.mark.slow
async def test_a_service_that_cannot_start_says_why_the_experiment_waits(place: Path) -> None:
    """While the service dies at once the experiment waits, and the suggestion shows the end of the service's log."""
    where = machines.settings(place / "data", config(place, "dies at once"))

    async with machines.started(where, search()) as (world, _):
        told = ""
        async with asyncio.timeout(machines.SECONDS):
            async for step in machines.suggestions(world):
                told = " ".join(item.message for item in step.status.conditions or ())
                if "no model file" in told:
                    break
        assert (await world.objects.list(kinds.TRIAL)).items == []


@pytest.mark.slow
def test_a_killed_runtime_leaves_no_service_behind(place: Path) -> None:
    """After kill -9 of kuttab, resume ends the orphaned service, starts another with the same configuration, and ends exactly (D05)."""
    kuttab = Shell(place / "data")
    process = kuttab.start("run", write(place, search(12, 2)), "--config", config(place, "good"))
    asyncio.run(machines.until(lambda: len(list((kuttab.data / "trials").glob("*/*"))) > 2))
    (orphan,) = living(f"{place} good")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert psutil.pid_exists(orphan)
    done = kuttab("resume", "e")
    assert done.code == 0, done.out + done.err
    assert orphan not in living(f"{place} good")
    slots = sorted(int(item["metadata"]["annotations"]["kuttab.org/slot"]) for item in kuttab.trials("e"))
    assert slots == list(range(12))
    assert living(str(place)) == []
