"""Reports that are handed to the node: into the trial's own file, once, only while it runs, and judged at once."""

from __future__ import annotations

import asyncio
import errno
import os
import signal

import pytest

from kuttab.api import keys, kinds
from kuttab.base import errors
from kuttab.node import reports
from kuttab.ports.observations import TrialKey
from kuttab.rules import reported

HELD = "import time; print('up', flush=True); time.sleep(60)"
BELOW_TWO = [{"name": "loss", "value": "2", "comparison": "less", "startStep": 1}]


def form(text):
    """The reports of a form."""
    return reported.parse(text.encode())


async def started(machine, script=HELD, more=None, **spec):
    """A trial's pod that runs, and the door for its reports."""
    owner = await machine.trial(**spec)
    await machine.job(script, owner=owner, **(more or {}))
    pod = await machine.running()
    return owner, pod.uid, reports.Reports(machine.kubelet)


async def rows(machine, owner):
    """Metric and value of every stored row."""
    found = await machine.observations.read(TrialKey(owner.uid, owner.name, owner.namespace))
    return [(row.metric, row.value) for row in found]


async def end(machine, uid):
    """Kill the program, and wait for the end of the job."""
    os.kill(machine.kubelet.runs[uid].mains[0].child.pid, signal.SIGKILL)
    return await machine.done()


async def test_reports_count_once_beside_what_is_printed(machine):
    """A report is a row as a printed line would be; a repetition is none; both are in the order of their arrival."""
    script = "import time; print('loss=9', flush=True); time.sleep(60)"
    owner, uid, door = await started(machine, script, more={"backoffLimit": 0})
    await machine.printed("loss=9")
    assert await door.take(uid, form("step=1&loss=3")) == reported.Taken(1, 0, [], False)
    assert await door.take(uid, form("step=1&loss=3&lr=1")) == reported.Taken(0, 1, ["lr"], False)
    assert (await door.take(uid, form("loss=2"), "key")).stored == 1
    assert (await door.take(uid, form("loss=2"), "key")).repeated == 1
    with pytest.raises(errors.AlreadyExistsError):
        await door.take(uid, form("step=1&loss=4"))
    assert not await door.should_stop(uid)
    await end(machine, uid)
    assert await rows(machine, owner) == [("loss", "9"), ("loss", "3"), ("loss", "2")]


async def test_what_was_taken_is_read_before_the_end(machine):
    """A report that was taken just before the program was killed is stored; one after it is refused, whatever is left."""
    owner, uid, door = await started(machine, more={"backoffLimit": 0})
    for step in range(200):
        assert (await door.take(uid, form(f"step={step}&loss={step}"))).stored == 1
    await end(machine, uid)
    assert [value for _, value in await rows(machine, owner)] == [str(step) for step in range(200)]
    with pytest.raises(reports.EndedError, match="has ended"):
        await door.take(uid, form("loss=1"))
    with pytest.raises(reports.EndedError):
        await door.should_stop(uid)
    assert len(door._seen) == 0


async def test_a_rule_is_judged_with_the_report_that_meets_it(machine):
    """The answer to a report, and every question after it, says that the trial is to stop; it ends as stopped early."""
    ignoring = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    brief = {"pod": {"terminationGracePeriodSeconds": 0.3}}
    owner, uid, door = await started(machine, ignoring, brief, earlyStoppingRules=BELOW_TWO)
    await machine.printed("up")
    assert not (await door.take(uid, form("step=1&loss=3"))).stop
    assert (await door.take(uid, form("step=2&loss=1"))).stop
    assert await door.should_stop(uid)
    assert (await door.take(uid, form("step=3&loss=1.5"))).stop
    assert (await machine.done())[0] == "Complete"
    assert (await machine.get(kinds.JOB, "t")).metadata.annotation(keys.ANNOTATION_EARLY_STOPPED) == "loss"
    assert [value for _, value in await rows(machine, owner)] == ["3", "1", "1.5"]


class Held:
    """Passes over Jobs, none of which runs while inside."""

    def __init__(self, logic):
        self._reconcile, logic.reconcile = logic.reconcile, self._pass
        self._gate, self._none = asyncio.Lock(), asyncio.Event()
        self._passes = 0

    async def _pass(self, namespace, name):
        async with self._gate:
            self._passes += 1
            self._none.clear()
        try:
            return await self._reconcile(namespace, name)
        finally:
            self._passes -= 1
            if not self._passes:
                self._none.set()

    async def __aenter__(self):
        await self._gate.acquire()
        if self._passes:
            await self._none.wait()

    async def __aexit__(self, *_):
        self._gate.release()


@pytest.fixture
def held(machine):
    """See above."""
    return Held(next(logic for logic in machine.workloads._logic if logic.kind == kinds.JOB))


async def test_a_program_that_stops_by_itself_when_told_is_stopped_early(machine, held):
    """Whether the program or the node is faster, a trial that was told to stop and ends well is stopped early, its last line included."""
    script = "import pathlib, time\nwhile not pathlib.Path('told').exists():\n    time.sleep(0.005)\nprint('loss=0.5', end='')"
    owner, uid, door = await started(machine, script, earlyStoppingRules=BELOW_TWO)
    [container] = machine.kubelet.runs[uid].mains
    async with held:
        assert (await door.take(uid, form("step=2&loss=1"))).stop
        (container.prepared.command.cwd / "told").touch()
        await container.child.ended.wait()
    assert (await machine.done())[0] == "Complete"
    assert (await machine.get(kinds.JOB, "t")).metadata.annotation(keys.ANNOTATION_EARLY_STOPPED) == "loss"
    assert [value for _, value in await rows(machine, owner)] == ["1", "0.5"]


async def test_a_program_that_fails_when_told_has_failed(machine, held):
    """A program that was told to stop and ends badly by itself before it was asked to end has failed."""
    script = (
        "import pathlib, time\nwhile not pathlib.Path('told').exists():\n    time.sleep(0.005)\nraise SystemExit(3)"
    )
    _, uid, door = await started(machine, script, more={"backoffLimit": 0}, earlyStoppingRules=BELOW_TWO)
    [container] = machine.kubelet.runs[uid].mains
    async with held:
        assert (await door.take(uid, form("step=2&loss=1"))).stop
        (container.prepared.command.cwd / "told").touch()
        await container.child.ended.wait()
    assert (await machine.done())[0] == "Failed"


async def test_a_busy_collector_does_not_hold_up_an_answer(machine, monkeypatch):
    """While the collector is busy with the log, a report is stored, and the answer says what was known before."""
    monkeypatch.setattr(reports, "PATIENCE", 0.01)
    _, uid, door = await started(machine, earlyStoppingRules=BELOW_TWO)
    async with machine.kubelet.runs[uid].lock:
        assert await door.take(uid, form("step=1&loss=1")) == reported.Taken(1, 0, [], False)
    assert await door.should_stop(uid)


COLLECTOR = {
    "collector": {"kind": "File"},
    "source": {"fileSystemPath": {"kind": "File", "path": "/var/log/katib/metrics.json", "format": "JSON"}},
}


async def test_a_file_collectors_file_gets_its_format(machine):
    """With a File collector reports go to its file, which need not be there, in its format."""
    owner, uid, door = await started(machine, more={"backoffLimit": 0}, metricsCollector=COLLECTOR)
    await door.take(uid, form("step=1&loss=3"))
    await door.take(uid, form("step=2&loss=2e-1"))
    await end(machine, uid)
    assert await rows(machine, owner) == [("loss", "3"), ("loss", "2e-1")]


@pytest.mark.parametrize("trick", ["link", "fifo", "folder", "parent"])
async def test_a_file_that_is_none_is_not_written(machine, tmp_path, trick):
    """A link, a pipe, a folder, or a way out of the trial's folder at the file's place is refused; nothing else is written."""
    _, uid, door = await started(machine, metricsCollector=COLLECTOR)
    [container] = machine.kubelet.runs[uid].mains
    file = container.prepared.mounts.resolve("/var/log/katib/metrics.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    victim = tmp_path / "victim"
    victim.mkdir()
    if trick == "link":
        file.symlink_to(victim / "file")
    elif trick == "fifo":
        os.mkfifo(file)
    elif trick == "folder":
        file.mkdir()
    else:
        file.parent.rmdir()
        file.parent.symlink_to(victim)
    with pytest.raises(errors.RefusedError, match=r"metrics\.json"):
        await door.take(uid, form("loss=1"))
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize(
    ("collector", "message"),
    [
        ({"collector": {"kind": "TensorFlowEvent"}}, "its metrics collector is TensorFlowEvent"),
        ({"collector": {"kind": "StdOut"}, "source": {"filter": {"metricsFormat": ["(a): (.)"]}}}, "by a filter"),
    ],
)
async def test_reports_that_would_not_be_read_are_refused(machine, collector, message):
    """Under a collector that reads something else a report is refused with the reason, as in Python."""
    _, uid, door = await started(machine, metricsCollector=collector)
    with pytest.raises(errors.RefusedError, match=message):
        await door.take(uid, form("loss=1"))


async def test_a_full_disk_loses_and_doubles_nothing(machine, monkeypatch):
    """A report that fits only in part is taken back whole and may be sent again; then it counts once."""
    owner, uid, door = await started(machine, more={"backoffLimit": 0})
    write = os.write

    def full(file, data):
        if bytes(data).startswith(b"\nloss=0.123"):
            return write(file, bytes(data)[:10])
        if bytes(data).startswith(b"345"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    await door.take(uid, form("step=1&loss=7"))
    before = machine.logs()
    with pytest.raises(errors.UnavailableError, match="No space left on device; send it again"):
        await door.take(uid, form("step=2&loss=0.12345"))
    assert machine.logs() == before
    monkeypatch.undo()
    assert (await door.take(uid, form("step=2&loss=0.12345"))).stored == 1
    await end(machine, uid)
    assert [value for _, value in await rows(machine, owner)] == ["7", "0.12345"]


async def test_reports_at_once_are_whole(machine):
    """Many reports at the same time, repeated, each count once."""
    owner, uid, door = await started(
        machine, more={"backoffLimit": 0}, earlyStoppingRules=[{**BELOW_TWO[0], "value": "-1"}]
    )
    found = [form(f"step={step}&loss={step}") for step in range(50)] * 3
    taken = await asyncio.gather(*(door.take(uid, each) for each in found))
    assert sum(each.stored for each in taken) == 50
    await end(machine, uid)
    assert sorted(int(value) for _, value in await rows(machine, owner)) == list(range(50))
