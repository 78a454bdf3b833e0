"""Function trials below the front door: what a call's end is told as, how workers die, how the pool keeps them."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import threading
from typing import Any

import psutil
import pytest

from kuttab.collector import reporting
from kuttab.node import function_pool, function_threads, function_worker


def call(function: Any) -> dict[str, Any]:
    """The end of calling a function for the objective ``loss``."""
    return function_worker.call(function, {}, "loss", reporting.Reporter(lambda readings: None))


def raises(error: BaseException) -> Any:
    """A function that raises."""

    def function(values: Any) -> Any:
        raise error

    return function


def test_ends_of_a_call() -> None:
    """What a function returns or raises becomes an outcome, a reason and one line."""
    assert call(lambda values: {"loss": 1, "n": 2.5})["readings"] == [("loss", "1", 0), ("n", "2.5", 0)]
    assert call(raises(reporting.EarlyStopped()))["outcome"] == "early"
    assert call(raises(MemoryError()))["reason"] == "OutOfMemory"
    assert call(raises(SystemExit(2)))["message"] == "the function called exit(2)"
    assert call(lambda values: {"loss": float("inf")})["reason"] == "NonFinite"
    assert call(lambda values: {"n": 1})["reason"] == "NoObjective"
    assert call(lambda values: {"loss": "x"})["reason"] == "BadResult"
    found = call(raises(ValueError("one\ntwo")))
    assert (found["reason"], found["message"]) == ("UserError", "two")
    assert "in function" in found["traceback"]
    assert "function_worker" not in found["traceback"]
    names: dict[str, Any] = {}
    exec(compile("def theirs(values):\n    return 1 / 0", "/home/me/kuttab/train.py", "exec"), names)
    assert "/home/me/kuttab/train.py" in call(names["theirs"])["traceback"], "only our own frames are left out"


def test_long_tracebacks_are_cut() -> None:
    """A traceback of any length fits into a status."""

    def deep(values: Any, left: int = 300) -> Any:
        if not left:
            raise ValueError("x" * 100_000)
        return deep(values, left - 1) + 1

    found = call(deep)
    assert len(found["traceback"]) <= function_worker.TRACEBACK_LIMIT + 20
    assert len(found["message"]) <= function_worker.MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("code", "oom", "reason"),
    [
        (3, False, "Exited"), (-signal.SIGSEGV, False, "Crashed"), (-signal.SIGABRT, True, "Crashed"),
        (-signal.SIGKILL, True, "OutOfMemory"), (-signal.SIGKILL, False, "WorkerLost"), (-signal.SIGTERM, False, "WorkerLost"),
    ],
)  # fmt: skip
def test_deaths(code: int, oom: bool, reason: str) -> None:
    """A worker's own fault, the system's memory and a kill from outside are told apart."""
    assert function_pool.death(code, oom=oom)["reason"] == reason


def getpid(values: Any) -> dict[str, Any]:
    """Which process calls."""
    return {"loss": os.getpid()}


class _Heard:
    """Collects messages, and waits for the end."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.end: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def __call__(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if "outcome" in message:
            self.end.set_result(message)


async def run(pool: function_pool.Pool, target: pathlib.Path) -> dict[str, Any]:
    """Run a task to its end."""
    heard = _Heard()
    task = {
        "function": str(target),
        "trial": "t",
        "values": {},
        "objective": "loss",
        "log": str(target.parent / "log" / "main.log"),
    }
    pool.start(task, heard)
    return await asyncio.wait_for(heard.end, 60)


@pytest.fixture
def pool(tmp_path: pathlib.Path) -> function_pool.Pool:
    """A pool of its own."""
    return function_pool.Pool("node", tmp_path / "pool", lambda: dict(os.environ))


def stored(tmp_path: pathlib.Path, name: str, source: str) -> pathlib.Path:
    """A function in a file, by its code."""
    (tmp_path / f"{name}_module.py").write_text(source)
    sys.path.insert(0, str(tmp_path))
    try:
        module = __import__(f"{name}_module")
        (tmp_path / name).write_bytes(pickle.dumps(module.function))
    finally:
        sys.path.remove(str(tmp_path))
    return tmp_path / name


PID = "import os\ndef function(values):\n    return {'loss': os.getpid()}\n"


async def test_workers_are_warm_and_apart(
    pool: function_pool.Pool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second task of a function finds the same process, another function another one; closing ends all."""
    one, two = stored(tmp_path, "one", PID), stored(tmp_path, "two", PID)
    monkeypatch.syspath_prepend(str(tmp_path))
    pids = [int((await run(pool, target))["readings"][0][1]) for target in (one, one, two)]
    assert pids[0] == pids[1] != pids[2]
    await pool.close()
    assert not any(map(psutil.pid_exists, pids))


async def test_function_that_cannot_be_loaded(pool: function_pool.Pool, tmp_path: pathlib.Path) -> None:
    """A file that is no function fails its task, not the worker."""
    bad = tmp_path / "bad"
    bad.write_bytes(b"no pickle")
    found = await run(pool, bad)
    assert (found["outcome"], found["reason"]) == ("failed", "CannotLoad")
    await pool.close()


async def test_worker_that_dies_is_replaced(
    pool: function_pool.Pool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death in the middle of a task is that task's end; the next one gets a new process."""
    source = (
        f"import os\nMARK = {str(tmp_path / 'mark')!r}\ndef function(values):\n    if not os.path.exists(MARK):\n"
        "        open(MARK, 'w').close()\n        os._exit(7)\n    return {'loss': 1}\n"
    )
    target = stored(tmp_path, "dies", source)
    monkeypatch.syspath_prepend(str(tmp_path))
    first, second = await run(pool, target), await run(pool, target)
    assert (first["reason"], "code 7" in first["message"]) == ("Exited", True)
    assert second["outcome"] == "succeeded"
    await pool.close()


async def test_children_of_a_worker_end_with_it(
    pool: function_pool.Pool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killing a worker ends the programs that its function started."""
    source = "import subprocess\ndef function(values):\n    return {'loss': subprocess.Popen(['sleep', '60']).pid}\n"
    target = stored(tmp_path, "parent", source)
    monkeypatch.syspath_prepend(str(tmp_path))
    child = int((await run(pool, target))["readings"][0][1])
    assert psutil.pid_exists(child)
    await pool.close()
    psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=10)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


async def test_killed_call_in_a_thread_is_not_heard() -> None:
    """A thread cannot be killed: its end is dropped, and its next report raises."""
    gone = asyncio.Event()
    ended: list[BaseException] = []
    loop = asyncio.get_running_loop()

    def function(values: Any) -> dict[str, Any]:
        reporting.report(loss=1)
        asyncio.run_coroutine_threadsafe(gone.wait(), loop).result(10)
        try:
            reporting.report(loss=2)
        except reporting.EarlyStopped as error:
            ended.append(error)
        done.set()
        return {"loss": 3}

    done, heard = threading.Event(), _Heard()
    handle = function_threads.Local(function).start({"values": {}, "objective": "loss"}, heard)
    handle.kill()
    gone.set()
    assert await asyncio.to_thread(done.wait, 10)
    await asyncio.sleep(0)
    assert len(ended) == 1
    assert not heard.end.done()


def test_worker_without_parent_ends() -> None:
    """A worker whose parent is another process than it was told ends at once."""
    command = [sys.executable, "-c", function_pool._START, "1", "0", "0", "x", json.dumps(sys.path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == 1
