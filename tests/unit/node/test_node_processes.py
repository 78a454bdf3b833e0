# ruff: noqa: ASYNC220, ASYNC221, PT012
"""Processes: identity, exit, and that nothing is left behind. Every process here is a real one."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kuttab.base import errors
from kuttab.node import identity, processes, watchers

SLEEP = "import time; time.sleep(60)"


def command(tmp_path: Path, script: str, *, python: bool = True, **env: str) -> processes.Command:
    """A command that runs a script of Python or shell."""
    argv = [sys.executable, "-S", "-c", script] if python else ["/bin/sh", "-c", script]
    return processes.Command(argv, {"PATH": os.environ["PATH"], **env}, tmp_path, tmp_path / "log")


@pytest.fixture
async def node(tmp_path: Path):
    """The processes of one node, all ended afterwards."""
    made = processes.Processes(identity.node_name(tmp_path))
    made.open()
    yield made
    for child in list(made._children.values()):
        await made.end(child, 0)
    made.close()


async def wait_for(predicate, seconds: float = 10.0):
    """Wait until something is so."""
    for _ in range(int(seconds * 100)):
        if predicate():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in time")


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    found = identity.stat(pid)
    return found is None or found.zombie


async def run(node, spec):
    """Run a command to its end."""
    child = node.spawn(spec, "pod-1", lambda _: None)
    await asyncio.wait_for(child.ended.wait(), 20)
    await node.clear(child)
    return child


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", processes.Exit(0)),
        ("exit 3", processes.Exit(3)),
        ("kill -9 $$", processes.Exit(137, 9)),
        ("kill -TERM $$", processes.Exit(143, 15)),
    ],
)
async def test_exit_is_told_as_containers_tell_it(node, tmp_path, script, expected):
    """An exit code is kept, and a signal gives 128 plus its number and the number itself."""
    child = await run(node, command(tmp_path, script, python=False))
    assert child.exit == expected


async def test_both_outputs_go_to_one_file_in_order(node, tmp_path):
    """Standard output and error are appended to one file, standard input is empty, and a second run appends."""
    script = "cat; echo one; echo two >&2; echo three"
    await run(node, command(tmp_path, script, python=False))
    await run(node, command(tmp_path, "echo four", python=False))
    assert (tmp_path / "log").read_text() == "one\ntwo\nthree\nfour\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


async def test_process_gets_exactly_the_given_environment(node, tmp_path):
    """Nothing of our environment leaks in; the two markers are added."""
    await run(node, command(tmp_path, "/usr/bin/env", python=False, ONE="1 =\n2"))
    text = (tmp_path / "log").read_text()
    names = {line.partition("=")[0] for line in text.splitlines() if "=" in line}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD", "2"} == {"ONE", "PATH", "KUTTAB_NODE", "KUTTAB_POD_UID"}
    assert "ONE=1 =\n2\n" in text


async def test_process_inherits_no_descriptor(node, tmp_path):
    """Only the three standard descriptors are open in a child, even when one of ours was made inheritable."""
    fd = os.open(tmp_path / "secret", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(fd, True)
    try:
        await run(
            node,
            command(tmp_path, "import os; print([n for n in range(3, 60) if os.path.exists(f'/proc/self/fd/{n}')])"),
        )
    finally:
        os.close(fd)
    assert (tmp_path / "log").read_text().strip() in ("[]", "[3]")  # 3: the listing itself, on some systems


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"argv": ["/nonexistent/program"]}, "No such file"),
        ({"argv": [str(Path(__file__))]}, "Permission denied"),
        ({"argv": ["/bin/sh", "-c", "a\0b"]}, "NUL"),
        ({"cwd": Path("/nonexistent")}, "/nonexistent"),
        ({"log": Path("/nonexistent/log")}, "log file"),
    ],
)
async def test_program_that_cannot_run_is_said_clearly(node, tmp_path, change, words):
    """A bad program, folder or argument is CannotRunError that names it, not a traceback of the system."""
    good = command(tmp_path, "exit 0", python=False)
    fields = {"argv": good.argv, "env": good.env, "cwd": good.cwd, "log": good.log, **change}
    with pytest.raises(processes.CannotRunError, match=words):
        node.spawn(processes.Command(**fields), "pod-1", lambda _: None)


async def test_d18_too_few_descriptors_is_worth_another_try(node, tmp_path):
    """With no file descriptor left a start is UnavailableError (retried), and works again afterwards."""
    held = []
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        open_now = max(int(number) for number in os.listdir("/dev/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 16, hard))
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(4):
            with pytest.raises(errors.UnavailableError, match="Too many open files"):
                node.spawn(command(tmp_path, "exit 0", python=False), "pod-1", lambda _: None)
            os.close(held.pop())
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (await run(node, command(tmp_path, "exit 0", python=False))).exit == processes.Exit(0)


async def test_d03_killed_process_is_told_and_others_are_untouched(node, tmp_path):
    """A SIGKILL from outside ends that process alone, with code 137."""
    first = node.spawn(command(tmp_path, SLEEP), "pod-1", lambda _: None)
    second = node.spawn(command(tmp_path, SLEEP), "pod-2", lambda _: None)
    os.kill(first.pid, signal.SIGKILL)
    await asyncio.wait_for(first.ended.wait(), 10)
    assert first.exit == processes.Exit(137, 9)
    assert second.exit is None
    assert identity.alive(identity.Identity.parse(second.token), "pod-2")


async def test_d20_background_children_end_with_their_leader(node, tmp_path):
    """A child left in the background is ended as soon as the main process is gone."""
    script = "sleep 60 & echo $!; sh -c 'sleep 61 & echo $!' ; exit 0"
    await run(node, command(tmp_path, script, python=False))
    pids = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
"""


async def test_d20_detached_daemon_is_found_and_ended(node, tmp_path):
    """A daemon with a session of its own and no parent left is found by its marker when its pod ends."""
    await run(node, command(tmp_path, DAEMON + "time.sleep(0.2)\n"))
    pid = int((tmp_path / "log").read_text())
    assert gone(pid)


async def test_d20_what_is_being_torn_down_is_waited_for(node, tmp_path, monkeypatch):
    """A struck process loses its environment, and the marker in it, before it is gone: it is waited for by number and start."""
    strike, environment = processes._signal_one, identity.environment
    struck = []

    def slowly(pid, number):
        if struck.count(pid) == 2:
            strike(pid, number)
        struck.append(pid)

    monkeypatch.setattr(processes, "_signal_one", slowly)
    monkeypatch.setattr(identity, "environment", lambda pid: {} if pid in struck else environment(pid))
    await run(node, command(tmp_path, DAEMON + "time.sleep(0.2)\n"))
    pid = int((tmp_path / "log").read_text())
    assert struck.count(pid) >= 3
    assert gone(pid)


async def test_d20_detached_daemon_is_found_without_adoption(node, tmp_path):
    """The same where the system cannot make us adopt orphans: the whole machine is searched."""
    node._adopting = False
    await run(node, command(tmp_path, DAEMON + "time.sleep(0.2)\n"))
    assert gone(int((tmp_path / "log").read_text()))


async def test_d20_many_children_end_on_demand(node, tmp_path):
    """A tree of a few hundred processes, some in sessions of their own, is ended whole."""
    script = """
import os, time
for n in range(150):
    if os.fork() == 0:
        if n % 3 == 0:
            os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        time.sleep(60)
        os._exit(0)
print("ready", flush=True)
time.sleep(60)
"""
    child = node.spawn(command(tmp_path, script), "pod-1", lambda _: None)
    await wait_for(lambda: (tmp_path / "log").exists() and "ready" in (tmp_path / "log").read_text())
    assert len(child.members()) > 200
    await node.end(child, 0.2)
    assert not identity.marked(node.node)


async def test_d23_process_that_ignores_sigterm_is_killed_after_grace(node, tmp_path):
    """SIGTERM is asked first; what ignores it gets SIGKILL when the grace is over, with its children."""
    script = "trap '' TERM; sh -c 'trap \"\" TERM; sleep 60' & echo ready; while :; do sleep 1; done"
    child = node.spawn(command(tmp_path, script, python=False), "pod-1", lambda _: None)
    await wait_for(lambda: "ready" in (tmp_path / "log").read_text())
    before = time.monotonic()
    await node.end(child, 0.3)
    assert 0.25 < time.monotonic() - before < 5
    assert child.exit == processes.Exit(137, 9)
    assert not identity.marked(node.node)


async def test_sigterm_lets_a_process_finish_its_work(node, tmp_path):
    """A process that handles SIGTERM ends by itself within the grace, with its own code."""
    script = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(7)))
print("ready", flush=True)
time.sleep(60)
"""
    child = node.spawn(command(tmp_path, script), "pod-1", lambda _: None)
    await wait_for(lambda: "ready" in (tmp_path / "log").read_text())
    await node.end(child, 10)
    assert child.exit == processes.Exit(7)
    assert "saved" in (tmp_path / "log").read_text()


async def test_d06_stranger_with_a_reused_number_is_not_ours():
    """A process with the recorded number but another start, boot or marker is never taken for the recorded one."""
    stranger = subprocess.Popen(
        [sys.executable, "-S", "-c", SLEEP], env={identity.ENV_POD: "other", identity.ENV_NODE: "other"}
    )
    try:
        await wait_for(lambda: identity.environment(stranger.pid))
        who = identity.of(stranger.pid)
        assert identity.alive(who)
        assert identity.alive(who, "other")
        assert not identity.alive(who, "pod-1")
        assert not identity.alive(identity.Identity(who.pid, "1", who.boot))
        assert not identity.alive(identity.Identity(who.pid, who.started, "another-boot"))
        await processes.end_strangers({stranger.pid: "1"}, 0)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert not identity.alive(who, "other")


@pytest.mark.parametrize(
    "text", ["", "docker://abc", "process://a/b/c", "process://a/1", "process://a/1/١", "process://a/1/-2"]
)
def test_token_of_something_else_is_not_read(text):
    """Only tokens that this module wrote are read back."""
    assert identity.Identity.parse(text) is None


def test_token_round_trip():
    """An identity survives as one word."""
    who = identity.of(os.getpid())
    assert identity.Identity.parse(who.token) == who


async def test_strangers_of_an_earlier_life_are_ended(tmp_path):
    """Processes that are not our children are ended by verified identity, group included."""
    node = identity.node_name(tmp_path)
    env = {identity.ENV_POD: "pod-1", identity.ENV_NODE: node, "PATH": os.environ["PATH"]}
    stranger = subprocess.Popen(
        ["/bin/sh", "-c", "trap '' TERM; sleep 60 & wait; sleep 60"], env=env, start_new_session=True
    )
    try:
        await wait_for(lambda: len(identity.marked(node)) == 2)
        found = {pid: identity.stat(pid).started for pid in identity.marked(node)}
        task = asyncio.create_task(processes.end_strangers(found, 0.1))
        await wait_for(lambda: stranger.poll() is not None)
        await asyncio.wait_for(task, 10)
        assert not identity.marked(node)
    finally:
        stranger.kill()
        stranger.wait()


async def test_marked_spares_ourselves_and_our_parents(monkeypatch):
    """A kuttab that runs inside a trial of the same node does not find itself."""
    script = (
        "import os, sys; sys.path[:0] = [p for p in os.environ['SRC'].split(':')]\n"
        "from kuttab.node import identity\nprint(sorted(identity.marked('node-x')), os.getpid())"
    )
    env = {**os.environ, identity.ENV_POD: "p", identity.ENV_NODE: "node-x", "SRC": ":".join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")


async def test_poll_watcher_tells_exits_too(tmp_path, monkeypatch):
    """Where the kernel offers no notification, one shared timer does the same and stops when there is nothing to watch."""
    monkeypatch.setattr(watchers, "best", watchers.PollWatcher)
    node = processes.Processes(identity.node_name(tmp_path))
    child = await run(node, command(tmp_path, "exit 5", python=False))
    assert child.exit == processes.Exit(5)
    assert node._watcher._timer is None
    node.close()


async def test_orphans_that_end_by_themselves_are_reaped(node, tmp_path):
    """Short-lived orphans of a running pod do not stay behind as zombies for ever."""
    script = "sh -c 'sleep 0.05 & echo $!'; sleep 60"
    child = node.spawn(command(tmp_path, script, python=False), "pod-1", lambda _: None)
    await wait_for(lambda: (tmp_path / "log").read_text().strip() != "")
    pid = int((tmp_path / "log").read_text())
    node.reap_adopted()
    await wait_for(lambda: gone(pid))
    node.reap_adopted()
    assert identity.stat(pid) is None
    await node.end(child, 0)


async def test_memory_of_a_process_is_measured(node, tmp_path):
    """Resident memory follows what the process holds, by both measures."""
    script = "x = bytearray(60_000_000); print('ready', flush=True); import time; time.sleep(60)"
    child = node.spawn(command(tmp_path, script), "pod-1", lambda _: None)
    await wait_for(lambda: "ready" in (tmp_path / "log").read_text())
    assert 60_000_000 < identity.resident_bytes(child.pid) < 120_000_000
    assert 60_000_000 < identity.proportional_bytes(child.pid) < 120_000_000
    assert identity.resident_bytes(2**22 + 1) == 0


def test_node_name_is_one_for_every_spelling(tmp_path):
    """A symlink to a data folder is the same node; another folder is another node."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert identity.node_name(tmp_path / "link") == identity.node_name(tmp_path / "data")
    assert identity.node_name(tmp_path) != identity.node_name(tmp_path / "data")


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd")
@pytest.mark.parametrize(("processors", "naps"), [(1, 3), (2, 2), (3, 1), (4, 0)])
async def test_a_watcher_lets_processors_become_free(tmp_path, monkeypatch, processors, naps):
    """Where children keep all processors busy it sleeps once more before it tells an end; where one is free it does not."""
    slept = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    monkeypatch.setattr(watchers.time, "sleep", slept.append)
    node = processes.Processes(identity.node_name(tmp_path))
    node.open()
    ended = []
    children = [
        node.spawn(command(tmp_path, "exec sleep 60", python=False), f"pod-{n}", ended.append) for n in range(3)
    ]
    for child in children:
        await node.end(child, 0)
    assert ended == children
    assert slept == [watchers._NAP] * naps
    node.close()
