"""Warm worker processes for Python functions: started when needed, kept for the next trial, killed hard, replaced when they die.

A worker serves one function only, so experiments share no interpreter. It leads a session of its own, so ending it ends what the function
started. Nothing here knows trials: a task goes in, what happened comes out.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from kuttab.base import errors, log
from kuttab.node import function_worker, identity, processes, watchers

_log = log.get(__name__)

IDLE_SECONDS: Final = 30.0
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[5]); from kuttab.node import function_worker as worker;"
    " sys.exit(worker.main(sys.argv[1:]))"
)
_CHUNK: Final = 1 << 16
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP)

Heard = Callable[[dict[str, Any]], None]
"""Called in the event loop with each message about a task: readings while it runs, and last the one with ``outcome``."""


class Handle(Protocol):
    """A running task."""

    def kill(self) -> None:
        """End it now; nothing more is heard of it."""
        ...


class Runner(Protocol):
    """Where tasks run."""

    def start(self, task: Mapping[str, Any], heard: Heard) -> Handle:
        """Start a task; UnavailableError when the machine is short of something."""
        ...


class Worker:
    """A process and its socket, seen from the parent."""

    def __init__(self, pool: Pool, function: str) -> None:
        self.function = function
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._heard: Heard | None = None
        self._number = 0
        self._buffer = bytearray()
        self._kills = oom_kills()
        self._socket, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        arguments = [str(os.getpid()), str(theirs.fileno()), str(lifeline), str(pool.scratch()), json.dumps(sys.path)]
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _START, *arguments],
                pass_fds=(theirs.fileno(), lifeline), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                start_new_session=True, env=pool.environment(),
            )  # fmt: skip
        except (OSError, ValueError) as error:
            self._socket.close()
            os.close(self._lifeline)
            raise errors.UnavailableError(f"cannot start a worker process: {error}") from error
        finally:
            theirs.close()
            os.close(lifeline)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket.fileno(), self._read)
        pool.watcher.watch(self._popen.pid, self._died)
        self.alive = True

    @property
    def pid(self) -> int:
        """Number of the process and of its group."""
        return self._popen.pid

    def run(self, task: Mapping[str, Any], heard: Heard) -> None:
        """Hand over a task; the worker must be idle."""
        assert self._heard is None
        self._heard = heard
        self._number += 1
        body = json.dumps({**task, "id": self._number}, separators=(",", ":")).encode()
        message = function_worker.HEADER.pack(len(body)) + body
        try:
            self._socket.setblocking(True)
            self._socket.sendall(message)
        except OSError:
            return  # it has died: the watcher will tell
        finally:
            self._socket.setblocking(False)

    def kill(self) -> None:
        """End it and its group at once; nothing is heard of its task any more."""
        self._heard = None
        if self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let it end by itself, which an idle one does at once."""
        self.kill()

    def _read(self) -> None:
        while True:
            try:
                piece = self._socket.recv(_CHUNK)
            except BlockingIOError:
                break
            except OSError:
                piece = b""
            if not piece:
                self._loop.remove_reader(self._socket.fileno())
                break
            self._buffer += piece
            if len(piece) < _CHUNK:
                break
        self._take()

    def _take(self) -> None:
        size = function_worker.HEADER.size
        while len(self._buffer) >= size:
            end = size + function_worker.HEADER.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            message = json.loads(self._buffer[size:end])
            del self._buffer[:end]
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        heard = self._heard
        if heard is None or message["id"] != self._number:
            return
        if "outcome" in message:
            self._heard = None
            self._pool.idle(self)
        heard(message)

    def _died(self) -> None:
        self.alive = False
        with contextlib.suppress(OSError, ValueError):
            self._read()  # what it said before it died
            self._loop.remove_reader(self._socket.fileno())
        code = self._popen.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)  # what the function left behind
        self._socket.close()
        os.close(self._lifeline)
        self._pool.gone(self)
        heard, self._heard = self._heard, None
        if heard is not None:
            heard({"readings": [], **death(code, oom=oom_kills() > self._kills)})


class Pool:
    """Workers by the function they serve; use from one event loop. Implements :class:`Runner`."""

    def __init__(self, node: str, folder: Path, environment: Callable[[], dict[str, str]]) -> None:
        self.watcher: watchers.Watcher
        self._node = node
        self._folder = folder
        self._environment = environment
        self._idle: dict[str, list[Worker]] = {}
        self._all: set[Worker] = set()
        self._made = 0
        self._empty = asyncio.Event()
        self._timers: dict[Worker, asyncio.TimerHandle] = {}
        self._open = False

    def open(self) -> None:
        """Make ready; idempotent."""
        if not self._open:
            self._folder.mkdir(0o700, parents=True, exist_ok=True)
            self.watcher = watchers.best(asyncio.get_running_loop())
            self._open = True

    def start(self, task: Mapping[str, Any], heard: Heard) -> Handle:
        """Run a task in a warm worker, or in a new one."""
        self.open()
        function = task["function"]
        worker = self._take(function) or self._new(function)
        worker.run(task, heard)
        return worker

    def release(self, function: str) -> None:
        """A function is not needed any more: its idle workers end."""
        for worker in self._idle.pop(function, []):
            worker.kill()

    def scratch(self) -> Path:
        """A path for a worker's unclaimed output."""
        self._made += 1
        return self._folder / f"scratch-{os.getpid()}-{self._made}"

    def environment(self) -> dict[str, str]:
        """What workers inherit, with the marks by which leftovers are found."""
        return {**self._environment(), identity.ENV_NODE: self._node, identity.ENV_POD: "functions"}

    def idle(self, worker: Worker) -> None:
        """A worker has done its task."""
        self._idle.setdefault(worker.function, []).append(worker)
        if worker not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[worker] = loop.call_later(IDLE_SECONDS, self._expire, worker)

    def gone(self, worker: Worker) -> None:
        """A worker has died."""
        self._all.discard(worker)
        if not self._all:
            self._empty.set()
        waiting = self._idle.get(worker.function, [])
        if worker in waiting:
            waiting.remove(worker)
        timer = self._timers.pop(worker, None)
        if timer is not None:
            timer.cancel()

    async def close(self) -> None:
        """Kill every worker and wait until all are gone."""
        for worker in list(self._all):
            worker.kill()
        if self._all:
            await self._empty.wait()
        if self._open:
            self.watcher.close()
            self._open = False

    def _take(self, function: str) -> Worker | None:
        waiting = self._idle.get(function, [])
        while waiting:
            worker = waiting.pop()
            if worker.alive:
                return worker
        return None

    def _new(self, function: str) -> Worker:
        worker = Worker(self, function)
        self._all.add(worker)
        self._empty.clear()
        return worker

    def _expire(self, worker: Worker) -> None:
        """An idle worker is let go; one that was used meanwhile is looked at again later."""
        del self._timers[worker]
        waiting = self._idle.get(worker.function, [])
        if worker in waiting:
            waiting.remove(worker)
            worker.kill()
        elif worker.alive:
            loop = asyncio.get_running_loop()
            self._timers[worker] = loop.call_later(IDLE_SECONDS, self._expire, worker)


def death(code: int, *, oom: bool) -> dict[str, Any]:
    """How a worker died in the middle of a task, from the return code: its own fault, memory, or somebody else's kill."""
    end = processes.Exit.of(code)
    if not end.signal:
        message = f"the worker process exited with code {end.code} in the middle of the trial"
        return {"outcome": "failed", "reason": "Exited", "message": message}
    name = signal.Signals(end.signal).name if end.signal in set(signal.Signals) else f"signal {end.signal}"
    if end.signal == signal.SIGKILL and oom:
        message = "the system ran out of memory and killed the worker process"
        return {"outcome": "failed", "reason": "OutOfMemory", "message": message}
    if end.signal in _CRASHES:
        return {"outcome": "failed", "reason": "Crashed", "message": f"the worker process crashed with {name}"}
    return {
        "outcome": "failed",
        "reason": "WorkerLost",
        "message": f"the worker process was killed with {name} from outside",
    }


def oom_kills() -> int:
    """How many processes the kernel has killed for memory since boot; 0 where it does not tell."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError) as error:
        if not isinstance(error, OSError) or error.errno not in (errno.ENOENT, errno.EACCES):
            _log.info("vmstat_unreadable", error=error)
    return 0
