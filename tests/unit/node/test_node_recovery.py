# ruff: noqa: ASYNC220
"""What happens after the runtime was killed: nothing runs twice, nothing is left, nothing of others is touched."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kuttab.api import kinds, meta
from kuttab.node import identity, owners, pod_status, recovery

SLEEP = "import time; print('up', flush=True); time.sleep(60)"


async def pod_of(machine, phase="Running"):
    """The newest pod in a phase."""
    return next((p for p in reversed(await machine.pods()) if pod_status.phase(p) == phase), None)


async def test_d05_running_process_is_ended_and_its_attempt_is_lost(machines):
    """After a kill of the runtime the old process ends before a new attempt starts, which costs no retry; old rows are fenced."""
    first = machines()
    await first.open()
    owner = await first.trial()
    await first.job("import time; print('loss=1', flush=True); time.sleep(60)", owner=owner, backoffLimit=0)
    old = await first.running()
    await first.until(lambda: has_rows(first, owner))
    await first.crash()
    who = identity.Identity.parse(pod_status.tokens(old)[0])
    assert identity.alive(who, old.uid)
    second = machines(observations=first.observations)
    await second.open()
    try:
        assert not identity.alive(who, old.uid)
        fresh = await second.running()
        lost = await second.get(kinds.POD, old.name)
        assert (pod_status.phase(lost), lost.section("status")["reason"]) == ("Failed", "NodeLost")
        assert not lost.metadata.finalizers
        assert fresh.uid != old.uid
        assert set(identity.marked(second.kubelet.processes.node).values()) == {fresh.uid}
        status = (await second.get(kinds.JOB, "t")).section("status")
        assert "failed" not in status
        await second.until(lambda: has_rows(second, owner))
        assert (await second.observations.summarize(owners.trial_key(owner))).metrics["loss"].count == 1
    finally:
        await second.close()


async def has_rows(machine, owner):
    """Whether the trial has rows."""
    return (await machine.observations.summarize(owners.trial_key(owner))).metrics


async def test_d05_detached_daemon_of_a_dead_attempt_is_ended(machines):
    """A daemon that survived both its trial's main process and the runtime is found by its marker alone."""
    first = machines()
    await first.open()
    daemon = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(60)\n    os._exit(0)\n"
    await first.job(daemon + "os.wait()\n" + SLEEP)
    old = await first.running()
    await first.printed("up")
    await first.crash()
    os.kill(identity.Identity.parse(pod_status.tokens(old)[0]).pid, signal.SIGKILL)
    second = machines()
    await second.open()
    try:
        assert old.uid not in identity.marked(second.kubelet.processes.node).values()
    finally:
        await second.close()


async def test_d04_machine_died_with_everything(machines):
    """When processes died along with the runtime, their attempt is lost and the Job starts another without a failure."""
    first = machines()
    await first.open()
    await first.job("test -e /s/x && exit 0; touch /s/x; echo up; sleep 60", python=False, backoffLimit=0,
        container={"volumeMounts": [{"name": "s", "mountPath": "/s"}]},
        pod={"volumes": [{"name": "s", "emptyDir": {}}], "restartPolicy": "OnFailure"})  # fmt: skip
    old = await first.running()
    await first.printed("up")
    await first.crash()
    os.killpg(identity.Identity.parse(pod_status.tokens(old)[0]).pid, signal.SIGKILL)
    second = machines()
    await second.open()
    try:
        assert (await second.done())[0] == "Complete"
        assert "failed" not in (await second.get(kinds.JOB, "t")).section("status")
        assert [pod_status.attempt(pod) for pod in await second.pods()] == [0, 1]
    finally:
        await second.close()


async def test_pod_created_but_never_started_is_lost(machines):
    """A crash between the creation of a Pod and its start leaves no half-started attempt behind."""
    first = machines()
    await first.open()

    async def never(run):
        raise asyncio.CancelledError

    first.kubelet._spawn_stage = never
    await first.job("print('ok')")
    await first.until(lambda: pod_of(first, "Pending"))
    await first.crash()
    second = machines()
    await second.open()
    try:
        assert (await second.done())[0] == "Complete"
        assert [pod.section("status").get("reason", "") for pod in await second.pods()] == ["NodeLost", ""]
        assert second.logs() == ["ok\n"]
    finally:
        await second.close()


async def test_early_stop_that_was_decided_is_carried_through(machines):
    """A Job annotated as stopped early is not run again after a kill: its metrics are drained and it is Complete."""
    first = machines()
    await first.open()
    rules = [{"name": "loss", "value": "0.5", "comparison": "greater", "startStep": 1}]
    owner = await first.trial(earlyStoppingRules=rules)
    first.kubelet.stop = lambda run, grace=None: None
    await first.job("print('loss=0.9'); print('loss=0.8', flush=True); import time; time.sleep(60)", owner=owner)

    async def annotated():
        return (await first.get(kinds.JOB, "t")).metadata.annotation("kuttab.org/early-stopped")

    await first.until(annotated)
    await first.crash()
    second = machines(observations=first.observations)
    await second.open()
    try:
        assert (await second.done())[0] == "Complete"
        [pod] = await second.pods()
        assert pod.section("status")["reason"] == "EarlyStopped"
        summary = await second.observations.summarize(owners.trial_key(owner))
        assert summary.complete
        assert summary.metrics["loss"].count == 2
    finally:
        await second.close()


async def test_finished_pod_whose_job_was_not_told_is_not_run_again(machines):
    """A crash between the Pod's end and the Job's leaves one attempt: the Job becomes Complete from its Pod."""
    first = machines()
    await first.open()
    real = first.objects.update_status

    async def lose_jobs(obj):
        if obj.kind == "Job" and obj.section("status").get("conditions"):
            raise asyncio.CancelledError
        return await real(obj)

    first.objects.update_status = lose_jobs
    await first.job("print('once')")
    await first.until(lambda: pod_of(first, "Succeeded"))
    await first.crash()
    second = machines()
    await second.open()
    try:
        assert (await second.done())[0] == "Complete"
        assert second.logs() == ["once\n"]
    finally:
        await second.close()


@pytest.mark.parametrize("same_start", [False, True])
async def test_d06_forged_or_reused_identity_is_not_signalled(machine, same_start):
    """A Pod that names a stranger's process, by number alone or even by start time under another marker, does not end it."""
    env = {identity.ENV_POD: "another", identity.ENV_NODE: "another"}
    stranger = subprocess.Popen(
        [sys.executable, "-S", "-c", SLEEP],
        env=env,
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    try:
        assert stranger.stdout.readline() == b"up\n"
        who = identity.of(stranger.pid)
        forged = who if same_start else identity.Identity(who.pid, str(int(float(who.started)) + 1), who.boot)
        metadata = meta.ObjectMeta(name="p", namespace="default", finalizers=[pod_status.FINALIZER])
        made = await machine.objects.create(meta.Resource(api_version="v1", kind="Pod", metadata=metadata))
        entry = {"name": "main", "containerID": forged.token, "state": {"running": {}}}
        await machine.objects.update_status(
            meta.evolve(made, status={"phase": "Running", "containerStatuses": [entry]})
        )
        await recovery.recover(machine.kubelet)
        assert stranger.poll() is None
        assert (await machine.get(kinds.POD, "p")).section("status")["reason"] == "NodeLost"
    finally:
        stranger.kill()
        stranger.communicate()


async def test_process_without_marker_is_ended_by_its_recorded_identity(machine):
    """A process that overwrote its environment is still ended when number, start and boot are those on record."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", SLEEP], env={}, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        metadata = meta.ObjectMeta(name="p", namespace="default", finalizers=[pod_status.FINALIZER])
        made = await machine.objects.create(meta.Resource(api_version="v1", kind="Pod", metadata=metadata))
        entry = {"name": "main", "containerID": identity.of(process.pid).token, "state": {"running": {}}}
        await machine.objects.update_status(
            meta.evolve(made, status={"phase": "Running", "containerStatuses": [entry]})
        )
        await recovery.recover(machine.kubelet)
        assert process.wait(5) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()


async def test_other_data_folders_are_left_alone(machine, tmp_path):
    """Recovery of one node does not touch what another node runs."""
    env = {identity.ENV_POD: "p", identity.ENV_NODE: identity.node_name(tmp_path / "other")}
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", SLEEP], env=env, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        await recovery.recover(machine.kubelet)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


async def test_close_ends_everything_and_the_next_life_goes_on(machines):
    """A clean end of the runtime leaves no process; the Job goes on in the next life without a failure."""
    first = machines()
    await first.open()
    await first.job("trap '' TERM; echo up; while :; do sleep 0.2; done", python=False)
    await first.printed("up")
    await first.close()
    assert identity.marked(first.kubelet.processes.node) == {}
    second = machines()
    await second.open()
    try:
        await second.running()
        assert "failed" not in (await second.get(kinds.JOB, "t")).section("status")
    finally:
        await second.close()


PROGRAM = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    open(sys.argv[1] + ".double", "w").close()
time.sleep(0.4)
print("loss=1")
open(sys.argv[1] + ".ends", "a").write("x")
"""

LIFE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import conftest

async def main():
    machine = await conftest.Machine(Path(sys.argv[2])).open()
    if await machine.get(conftest.kinds.JOB, "t") is None:
        await machine.job(container={"command": ["python", "-S", "-c", sys.argv[3], sys.argv[4]]}, backoffLimit=0)
    print((await machine.done())[0], flush=True)
    await machine.close()

asyncio.run(main())
"""


@pytest.mark.slow
def test_d01_kill_loop_never_runs_an_attempt_twice_and_ends(tmp_path):
    """Killed at random times again and again, then left alone: the Job completes, no two processes ever ran at once, none is left."""
    lock = tmp_path / "lock"
    arguments = [sys.executable, "-c", LIFE, str(Path(__file__).parent), str(tmp_path / "data"), PROGRAM, str(lock)]
    times = random.Random(7)
    kills = 0
    while kills < 8:
        life = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        try:
            life.wait(times.uniform(0.2, 1.6))
            life.stdout.close()
            break
        except subprocess.TimeoutExpired:
            life.kill()
            life.wait()
            life.stdout.close()
            kills += 1
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "Complete\n"
    assert not (tmp_path / "lock.double").exists()
    assert (tmp_path / "lock.ends").read_text()
    assert identity.marked(identity.node_name(tmp_path / "data/node")) == {}
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
