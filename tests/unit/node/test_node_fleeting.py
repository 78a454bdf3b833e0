"""Pods of trials that run but a moment: written when anybody would miss them, and a kill in that moment changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.client import embedded
from kuttab.node import identity, owners, pod_status
from kuttab.ports.observations import Row
from kuttab.store import log

LONG = 60.0
UNTIL = "while not os.path.exists({!r}): time.sleep(0.01)\nprint('loss=1')"


def writes(machine) -> list[tuple[str, str]]:
    """Every write of a Pod from now on: what happened, and its phase."""
    seen: list[tuple[str, str]] = []

    def note(entry):
        if entry.key.kind == log.kind_key(kinds.POD):
            seen.append((entry.op.name, pod_status.phase(entry.object)))

    machine.store.observers.append(note)
    return seen


async def test_a_pod_that_succeeds_in_a_moment_is_not_written(machines):
    """Its job tells all there is to tell; metrics and log are there."""
    machine = machines(hold_seconds=LONG)
    await machine.open()
    seen = writes(machine)
    owner = await machine.trial()
    await machine.job("print('loss=0.5')", owner=owner)
    assert (await machine.done())[0] == "Complete"
    assert (await machine.get(kinds.JOB, "t")).section("status")["succeeded"] == 1
    assert (await machine.observations.summarize(owners.trial_key(owner))).complete
    assert machine.logs() == ["loss=0.5\n"]
    assert seen == []
    assert machine.kubelet.runs == {}
    await machine.close()


async def test_a_pod_that_runs_longer_is_written_as_it_runs(machines):
    """After a moment the Pod appears, running, under the uid that its process has had from the start."""
    machine = machines(hold_seconds=0.01)
    await machine.open()
    seen = writes(machine)
    owner = await machine.trial()
    script = "import os, time; print(os.environ['KUTTAB_POD_UID'], flush=True)\n" + UNTIL.format("go")
    await machine.job(script, owner=owner)
    pod = await machine.running()
    text = await machine.printed(pod.uid)
    assert text == f"{pod.uid}\n"
    assert pod.metadata.finalizers == [pod_status.FINALIZER]
    [folder] = (machine.settings.folder("default", "t")).iterdir()
    (folder / "go").touch()
    assert (await machine.done())[0] == "Complete"
    assert seen == [("ADDED", "Pending"), ("MODIFIED", "Running"), ("MODIFIED", "Succeeded")]
    [pod] = await machine.pods()
    assert not pod.metadata.finalizers
    await machine.close()


@pytest.mark.parametrize("retain", [False, True])
async def test_a_pod_that_fails_is_written(machines, retain):
    """What failed is looked at and counted, so it is there; each attempt has a Pod."""
    machine = machines(hold_seconds=LONG)
    await machine.open()
    owner = await machine.trial(retainRun=retain)
    await machine.job("import sys; sys.exit(3)", owner=owner, backoffLimit=1)
    assert (await machine.done())[:2] == ("Failed", "BackoffLimitExceeded")
    found = [(pod_status.attempt(pod), pod_status.phase(pod)) for pod in await machine.pods()]
    assert found == [(0, "Failed"), (1, "Failed")]
    await machine.close()


@pytest.mark.parametrize("change", ["retained", "no trial", "several"])
async def test_pods_that_stay_are_written_before_they_start(machines, change):
    """A job that is kept, that belongs to nobody who lets go of it, or has several pods, has its Pods from the start."""
    machine = machines(hold_seconds=LONG)
    await machine.open()
    seen = writes(machine)
    owner = None if change == "no trial" else await machine.trial(retainRun=change == "retained")
    more = {"completions": 2, "parallelism": 2, "completionMode": "Indexed"} if change == "several" else {}
    await machine.job("print('loss=1')", owner=owner, **more)
    assert (await machine.done())[0] == "Complete"
    assert seen[0] == ("ADDED", "Pending")
    assert [pod_status.phase(pod) for pod in await machine.pods()] == ["Succeeded"] * (2 if more else 1)
    await machine.close()


async def test_s28_a_kill_in_that_moment_leaves_no_process_and_no_old_line(machines):
    """The process is found by its marker alone and ended; the job runs once more, and nothing the first process printed counts."""
    first = machines(hold_seconds=LONG)
    await first.open()
    owner = await first.trial()
    script = "test -e {0} && echo loss=2 && exit 0; touch {0}; echo loss=1; exec sleep 60".format(first.folder / "once")
    await first.job(script, python=False, owner=owner, backoffLimit=0)
    await first.printed("loss=1")
    [run] = first.kubelet.runs.values()
    await first.observations.report(owners.trial_key(owner), run.pod.uid, 0, [Row("loss", "1")])
    assert await first.pods() == []
    await first.crash()
    pid = run.mains[0].child.pid
    assert identity.stat(pid) is not None
    second = machines(observations=first.observations, hold_seconds=LONG)
    await second.open()
    try:
        assert identity.stat(pid) is None or identity.stat(pid).zombie
        assert (await second.done())[0] == "Complete"
        assert second.logs() == ["loss=2\n"]
        summary = await second.observations.summarize(owners.trial_key(owner))
        assert (summary.complete, summary.metrics["loss"].count, summary.metrics["loss"].latest) == (True, 1, "2")
    finally:
        await second.close()


async def test_an_early_stop_writes_the_pod_first(machines):
    """A start after a kill must find what was being stopped: the Pod is written before the job says so."""
    machine = machines(hold_seconds=LONG)
    await machine.open()
    order: list[str] = []

    def note(entry):
        if entry.key.kind == log.kind_key(kinds.POD) and entry.op is log.Op.ADDED:
            order.append("pod")
        if entry.key.kind == log.kind_key(kinds.JOB) and entry.object.metadata.annotation("kuttab.org/early-stopped"):
            order.append("job")

    machine.store.observers.append(note)
    rules = [{"name": "loss", "value": "0.5", "comparison": "greater", "startStep": 1}]
    owner = await machine.trial(earlyStoppingRules=rules)
    await machine.job("print('loss=0.9', flush=True); import time; time.sleep(60)", owner=owner)
    assert (await machine.done())[0] == "Complete"
    assert order[:2] == ["pod", "job"]
    [pod] = await machine.pods()
    assert pod.section("status")["reason"] == "EarlyStopped"
    await machine.close()


async def test_a_job_that_is_deleted_takes_its_unwritten_pod_along(machines):
    """Nothing is written for a job that goes; its process ends."""
    machine = machines(hold_seconds=LONG)
    await machine.open()
    seen = writes(machine)
    await machine.job("print('up', flush=True); import time; time.sleep(60)", owner=await machine.trial())
    await machine.printed("up")
    [run] = machine.kubelet.runs.values()
    pid = run.mains[0].child.pid
    await machine.objects.delete(kinds.JOB, "default", "t")

    async def ended():
        found = identity.stat(pid)
        return not machine.kubelet.runs and (found is None or found.zombie)

    await machine.until(ended)
    assert seen == []
    await machine.close()


async def test_a_taken_name_costs_an_attempt(machines):
    """Somebody has a Pod of that very name: the process is ended, the Pod is left alone, and the next attempt has another name."""
    machine = machines(hold_seconds=0.05)
    await machine.open()
    script = "import os, time; print('up', flush=True)\n" + UNTIL.format("../go")
    job = await machine.job(script, owner=await machine.trial(), backoffLimit=0)
    name = owners.pod_name(job, 0, 0)
    mine = meta.Resource(
        api_version="v1", kind="Pod", metadata=meta.ObjectMeta(name=name, namespace="default"), spec={"containers": []}
    )
    mine = await machine.objects.create(mine)

    async def again():
        return len(machine.logs()) == 2

    await machine.until(again)
    (machine.settings.folder("default", "t") / "go").touch()
    assert (await machine.done())[0] == "Complete"
    assert await machine.get(kinds.POD, name) == mine
    assert all(pod_status.attempt(pod) == 1 for pod in await machine.pods())
    await machine.close()


async def test_a_pod_that_cannot_start_yet_is_written(machines):
    """What waits for a ConfigMap is seen waiting; when that comes, it runs as any other."""
    machine = machines(hold_seconds=LONG)
    await machine.open()
    env = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "a"}}}
    await machine.job(
        "import os; print('loss=' + os.environ['A'])", owner=await machine.trial(), container={"env": [env]}
    )

    async def waiting():
        return await machine.pods()

    [pod] = await machine.until(waiting)
    assert pod_status.phase(pod) == "Pending"
    assert "FailedStart" in [reason for _, reason, _ in machine.events.seen]
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "later", "namespace": "default"},
        "data": {"a": "2"},
    }
    await machine.objects.create(kinds.load(document))
    assert (await machine.done())[0] == "Complete"
    assert machine.logs() == ["loss=2\n"]
    [again] = await machine.pods()
    assert (again.uid, pod_status.phase(again)) == (pod.uid, "Succeeded")
    await machine.close()


async def test_a_stopped_node_leaves_nothing_of_it(machines):
    """Ended by Ctrl-C in that moment: the process is gone, and the next start runs the job from the beginning."""
    first = machines(hold_seconds=LONG)
    await first.open()
    script = "test -e {0} && echo loss=2 && exit 0; touch {0}; echo loss=1; exec sleep 60".format(first.folder / "once")
    await first.job(script, python=False, owner=await first.trial())
    await first.printed("loss=1")
    [run] = first.kubelet.runs.values()
    pid = run.mains[0].child.pid
    await first.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    second = machines(observations=first.observations)
    await second.open()
    try:
        assert (await second.done())[0] == "Complete"
        assert second.logs() == ["loss=2\n"]
    finally:
        await second.close()


async def test_uids_are_given_out_by_this_program_alone(machines):
    """A trusted client keeps the uid, knows its own write again, and no other client may choose one."""
    machine = machines()
    await machine.open()
    fresh = meta.Resource(
        api_version="v1", kind="Pod", metadata=meta.ObjectMeta(name="p", namespace="default", uid="a-uid"), spec={}
    )
    made = await machine.objects.enter(fresh)
    assert made.uid == "a-uid"
    assert made.metadata.resource_version
    with pytest.raises(errors.AlreadyExistsError):
        await machine.objects.enter(fresh)
    claimed = meta.evolve(fresh, metadata=meta.evolve(fresh.metadata, name="q"))
    assert (await machine.objects.create(claimed)).uid != "a-uid"
    with pytest.raises(errors.ForbiddenError):
        await embedded.EmbeddedClient(machine.store).enter(claimed)
    await asyncio.sleep(0)
    await machine.close()
