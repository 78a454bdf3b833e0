"""Services as processes: ports, environment, deaths and pauses, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from kuttab.base import errors
from kuttab.node import images, processes, services, settings

LIVE = "import os, time; print(os.environ['PORT'], os.environ['STATE'], flush=True); time.sleep(600)"


class Hand:
    """A clock that is moved by hand."""

    time = 0.0

    def now(self) -> datetime:
        """Not asked for."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Where the hand points."""
        return self.time


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Any]:
    """Services over fresh processes, with a probe that takes a printed line as an answer."""
    running = processes.Processes("test-services")
    running.open()
    clock = Hand()

    async def probe(address: str, seconds: float) -> None:
        if probe_says.get("wait"):
            await asyncio.sleep(60)
        if "problem" in probe_says:
            raise errors.UnavailableError(probe_says["problem"])

    probe_says: dict[str, Any] = {}
    made = services.Services(running, settings.NodeSettings(data_dir=tmp_path, grace_seconds=1), probe, clock)
    made.says, made.clock = probe_says, clock  # type: ignore[attr-defined]
    yield made
    await made.close()
    running.close()


def program(text: str = LIVE, **more: Any) -> services.Program:
    """A Python program as a service."""
    more = {"env": {"STATE": "/opt/state/x"}, "volume": "/opt/state", "base": Path.cwd(), **more}
    return services.Program("suggestion", "mine", "PORT", ("python3", "-c", text), **more)


def owner(number: int = 1) -> services.Owner:
    """An experiment."""
    return services.Owner(f"uid-{number}", "default", f"e{number}")


def log_of(folder: Path, number: int = 1) -> Path:
    """The log of an experiment's service."""
    return folder / "services" / "default" / f"e{number}-{owner(number).uid[:8]}" / "suggestion.log"


async def test_each_experiment_has_its_own_process_port_and_folder(node: Any, tmp_path: Path) -> None:
    """Asking again gives the same; the program finds its port and the folder that stands for its volume."""
    first, second = await node.address(owner(1), program()), await node.address(owner(2), program())
    assert first != second
    assert await node.address(owner(1), program()) == first
    async with asyncio.timeout(20):
        while not log_of(tmp_path).read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    port, state = log_of(tmp_path).read_text().split()
    assert first.endswith(f":{port}")
    assert state == str(log_of(tmp_path).parent / "state" / "x")


async def test_a_dead_service_is_started_again_at_once_and_then_after_pauses(node: Any, tmp_path: Path) -> None:
    """The message tells the exit code and the end of the log, on one line and without what a terminal would obey."""
    node.says["wait"] = True
    dying = program("import sys; print('no \\x1b[31mmodel'); sys.exit(3)")
    for _ in range(2):
        with pytest.raises(errors.UnavailableError) as dead:
            await node.address(owner(), dying)
        assert "ended with code 3" in dead.value.message
        assert dead.value.message.endswith("which ends: no  [31mmodel")
    with pytest.raises(errors.UnavailableError, match="has ended 2 times and is started again after a pause"):
        await node.address(owner(), dying)
    node.clock.time = services.PAUSE_FIRST
    with pytest.raises(errors.UnavailableError, match="ended with code 3"):
        await node.address(owner(), dying)


async def test_a_service_that_is_not_ready_goes_on_starting(node: Any) -> None:
    """Not ready is no reason to end it: the next need finds the same process."""
    node.says["problem"] = "still loading"
    with pytest.raises(errors.UnavailableError, match="still loading"):
        await node.address(owner(), program())
    node.says.clear()
    await node.address(owner(), program())
    (only,) = node._services.values()
    assert only.deaths == 0


async def test_a_check_ends_what_is_not_well_and_nothing_else(node: Any) -> None:
    """After a call without an answer a healthy service stays, one that does not answer its health check goes."""
    await node.address(owner(), program())
    (only,) = node._services.values()
    pid = only.child.pid
    await node.check(owner(), "suggestion")
    assert psutil.pid_exists(pid)
    node.says["problem"] = "nothing answers"
    await node.check(owner(), "suggestion")
    assert not psutil.pid_exists(pid)
    await node.check(owner(), "other")


async def test_an_end_can_be_repeated_and_a_removal_takes_the_folder(node: Any, tmp_path: Path) -> None:
    """Nothing is left running; logs and state stay until the experiment is deleted."""
    await node.address(owner(), program())
    (only,) = node._services.values()
    pid = only.child.pid
    await node.end(owner().uid)
    await node.end(owner().uid)
    assert not psutil.pid_exists(pid)
    assert log_of(tmp_path).exists()
    await node.remove(owner())
    assert not log_of(tmp_path).parent.exists()


async def test_a_program_that_is_none_is_the_users_to_mend(node: Any) -> None:
    """The error is permanent and names the program."""
    missing = services.Program("suggestion", "mine", "PORT", ("no-such-program",))
    with pytest.raises(processes.CannotRunError, match="no-such-program"):
        await node.address(owner(), missing)


async def test_an_image_gives_root_and_environment(node: Any, tmp_path: Path) -> None:
    """What stands for the service's image counts for the service as for a trial."""
    (tmp_path / "root" / "opt").mkdir(parents=True)
    (tmp_path / "root" / "opt" / "serve.py").write_text(
        "import os, time; print(os.environ['MODE'], flush=True); time.sleep(600)"
    )
    read = images.read({"mine:1": {"root": str(tmp_path / "root"), "env": {"MODE": "fast"}}})
    node._node = settings.NodeSettings(data_dir=tmp_path, images=read, grace_seconds=1)
    await node.address(
        owner(), services.Program("suggestion", "mine", "PORT", ("python3", "/opt/serve.py"), image="mine:1")
    )
    async with asyncio.timeout(20):
        while log_of(tmp_path).read_text() != "fast\n":  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("steps", range(6))
async def test_an_end_that_is_given_up_is_given_up_whenever_the_process_ends(tmp_path: Path, steps: int) -> None:
    """A cancellation that comes at the moment of the end is not lost: whoever gave up would wait for ever otherwise."""
    running = processes.Processes("test-cancel")
    running.open()
    command = processes.Command(["/bin/sleep", "600"], {}, tmp_path, tmp_path / "log")
    child = running.spawn(command, "pod", lambda _: None)
    try:
        running.stop(child, 0)
        task = asyncio.ensure_future(running.end(child, 0))
        await asyncio.sleep(0)
        child.ended.set()  # what the kernel's word does
        for _ in range(steps):
            await asyncio.sleep(0)
        given_up = not task.done() and task.cancel()
        ended = (await asyncio.gather(task, return_exceptions=True))[0]
        assert isinstance(ended, asyncio.CancelledError) is given_up
    finally:
        child.ended.clear()
        async with asyncio.timeout(10):
            while child.exit is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await running.clear(child)
        running.close()
