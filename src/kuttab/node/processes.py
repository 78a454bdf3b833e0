"""Local processes: started cheaply, watched without polling, ended with everything they left behind.

Each process leads a session and process group of its own and writes to one log file that outlives us. Ending one ends its group,
children that left the group, and daemons that cut themselves loose (they carry the pod's marker in their environment, and on
Linux this process is made the one that adopts orphans, so they are found without searching the machine). There is no wrapper
process: a start costs what ``subprocess.Popen`` costs. It does not isolate: a process can read and harm whatever its user can.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from kuttab.base import errors, log
from kuttab.node import identity, watchers

_log = log.get(__name__)

_PR_SET_CHILD_SUBREAPER = 36
_SCARCE = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""Errors of the machine, not of the program: worth another try."""
_CLEAR_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: absolute path of the program and arguments, whole environment, folder to start in, file that gets both outputs."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended. ``code`` is 128 + signal for a signal, as containers report it."""

    code: int
    signal: int = 0

    @classmethod
    def of(cls, returncode: int) -> Exit:
        """From the standard library's return code, which is negative for a signal."""
        return cls(returncode) if returncode >= 0 else cls(128 - returncode, -returncode)


class CannotRunError(errors.BadInputError):
    """The program itself cannot be started: missing, not executable, not a program, bad folder or arguments."""

    reason = "ContainerCannotRun"


class Child:
    """A process that was started here. ``exit`` stays None while it runs."""

    def __init__(self, popen: subprocess.Popen[bytes], pod: str) -> None:
        self.pod = pod
        self.exit: Exit | None = None
        self.ended = asyncio.Event()
        self.popen = popen
        self.strays: dict[int, str] = {}
        """Descendants outside the group, seen when it was asked to end: number to start time."""
        self.timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int:
        """Number of the process and of its group."""
        return self.popen.pid

    @functools.cached_property
    def token(self) -> str:
        """Its identity as one word; read at first need, which :class:`Processes` sees to before the number may be another's.

        Empty for one that somebody else has reaped before.
        """
        found = identity.stat(self.pid)
        return "" if found is None else identity.Identity(self.pid, found.started, identity.boot_id()).token

    def members(self) -> list[int]:
        """The process and its descendants as far as the tree hangs together."""
        return [self.pid, *identity.descendants(self.pid)] if self.exit is None else []


class Processes:
    """All processes that this node has started and not yet cleared away.

    ``dedicated`` says that this program does nothing but run the node, so that every orphan it adopts may be reaped.
    """

    def __init__(self, node: str, *, dedicated: bool = False) -> None:
        self.node = node
        self._dedicated = dedicated
        self._children: dict[int, Child] = {}
        self._adopted: set[int] = set()
        self._watcher: watchers.Watcher | None = None
        self._adopting = False
        self._doubtful = False

    def open(self) -> None:
        """Start watching; needs a running event loop. Idempotent."""
        if self._watcher is None:
            self._watcher = watchers.best(asyncio.get_running_loop())
            self._adopting = _set_subreaper(True)

    def close(self) -> None:
        """Stop watching. Processes that still run go on running."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
            if self._adopting:
                _set_subreaper(False)
                self._adopting = False

    def spawn(self, command: Command, pod: str, on_exit: Callable[[Child], None]) -> Child:
        """Start a process; ``on_exit`` is called in the event loop when it has ended and was reaped.

        CannotRunError when the program is to blame, UnavailableError when the machine is (out of processes, descriptors, disk).
        """
        self.open()
        assert self._watcher is not None
        popen = _popen(command, {**command.env, identity.ENV_POD: pod, identity.ENV_NODE: self.node})
        child = Child(popen, pod)
        self._children[child.pid] = child
        try:
            self._watcher.watch(child.pid, lambda: self._ended(child, on_exit))
        except OSError as error:
            self._signal_group(child, signal.SIGKILL)
            popen.wait()
            del self._children[child.pid]
            raise errors.UnavailableError(f"cannot watch process {child.pid}: {error}") from error
        return child

    def _ended(self, child: Child, on_exit: Callable[[Child], None]) -> None:
        # The leader is not reaped yet, so its number, which names the group, cannot be another's: strike first, reap then.
        self._signal_group(child, signal.SIGKILL)
        _log.debug("process_ended", process=child.token)
        returncode = child.popen.poll()
        child.exit = Exit.of(returncode if returncode is not None else child.popen.wait())
        if child.timer is not None:
            child.timer.cancel()
        child.ended.set()
        on_exit(child)

    def stop(self, child: Child, grace: float) -> None:
        """Ask the group to end, and kill it after ``grace`` seconds (0: at once); ``on_exit`` tells when it has.

        Calling again sets the time anew.
        """
        if child.exit is not None:
            return
        if child.timer is not None:
            child.timer.cancel()
        elif grace > 0:
            self._note_strays(child)
            self._signal_group(child, signal.SIGTERM)
        if grace > 0:
            child.timer = asyncio.get_running_loop().call_later(grace, self._kill, child)
        else:
            self._kill(child)

    def _kill(self, child: Child) -> None:
        if child.exit is None:
            self._note_strays(child)
            self._signal_group(child, signal.SIGKILL)

    def _note_strays(self, child: Child) -> None:
        for pid in identity.descendants(child.pid):
            found = identity.stat(pid)
            if found is not None and found.group != child.pid:
                child.strays[pid] = found.started

    async def end(self, child: Child, grace: float) -> None:
        """Stop, wait, and clear away: nothing is left when it returns.

        UnavailableError when something cannot be killed (it hangs in the kernel).
        """
        self.stop(child, grace)
        try:
            # No wait_for: on Python 3.11 it loses a cancellation that comes at the moment of the end.
            async with asyncio.timeout(grace + _CLEAR_SECONDS):
                await child.ended.wait()
        except TimeoutError as error:
            raise errors.UnavailableError(
                f"process {child.pid} of pod {child.pod} does not end though killed"
            ) from error
        await self.clear(child)

    async def clear(self, child: Child) -> None:
        """Make sure that nothing of an ended process is left, and forget it then. UnavailableError as :meth:`end`."""
        pause, waited = 0.002, 0.0
        struck: dict[int, str] = {}
        while (left := self._leftovers(child) | _alive(struck)) or (self._doubtful and not waited):
            if waited > _CLEAR_SECONDS:
                raise errors.UnavailableError(f"processes {sorted(left)} of pod {child.pod} do not end though killed")
            for pid in left:
                # One that is being torn down has lost its marker already: it is known by its number and start.
                if pid not in struck and (found := identity.stat(pid)) is not None:
                    struck[pid] = found.started
                _signal_one(pid, signal.SIGKILL)
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 2, 0.2)
        self._children.pop(child.pid, None)

    def _leftovers(self, child: Child) -> set[int]:
        left = {pid for pid, started in child.strays.items() if _same(pid, started)}
        left |= self._orphans(child)
        if _group_lives(child.pid):
            # Members that are being torn down; the group was struck before its leader was reaped.
            left |= {
                pid for pid in psutil.pids() if (s := identity.stat(pid)) and s.group == child.pid and not s.zombie
            }
        return left

    def _orphans(self, child: Child) -> set[int]:
        """Living processes of the pod that hang below us or, where orphans are not adopted, anywhere."""
        if not self._adopting:
            mine = {c.pid for c in self._children.values() if c.pod == child.pod and c is not child}
            return {pid for pid, pod in identity.marked(self.node).items() if pod == child.pod and pid not in mine}
        return {
            pid for pid in self._unknown_children(child) if identity.environment(pid).get(identity.ENV_POD) == child.pod
        }

    def _unknown_children(self, child: Child | None = None) -> list[int]:
        unknown = []
        for pid in identity.thread_children(os.getpid(), os.getpid()):
            if pid in self._children:
                continue
            found = identity.stat(pid)
            if found is None:
                continue
            if not found.zombie:
                unknown.append(pid)
            elif self._dedicated or pid in self._adopted or (child and child.pid in (found.group, found.session)):
                _reap(pid)
                self._adopted.discard(pid)
        return unknown

    def reap_adopted(self) -> None:
        """Take orphans off the process table whose pods still run; call now and then."""
        if not self._adopting:
            return
        for pid in self._unknown_children():
            if identity.environment(pid).get(identity.ENV_NODE) == self.node:
                self._adopted.add(pid)

    def _signal_group(self, child: Child, number: signal.Signals) -> None:
        if child.exit is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # Gone, or (macOS) only a zombie is left.
            os.killpg(child.pid, number)


async def end_strangers(found: Mapping[int, str], grace: float) -> None:
    """End processes of an earlier life of this node, which are not our children: pid to start time, both verified.

    Each is asked first (its whole group where it leads one), then killed; UnavailableError when one does not go away.
    """
    left = {pid for pid, started in found.items() if _same(pid, started)}
    for pid in left:
        _signal_led(pid, signal.SIGTERM)
    pause, waited = 0.005, 0.0
    while left := {pid for pid in left if _same(pid, found[pid])}:
        if waited > grace + _CLEAR_SECONDS:
            raise errors.UnavailableError(f"processes {sorted(left)} of an earlier run do not end though killed")
        if waited >= grace:
            for pid in left:
                _signal_led(pid, signal.SIGKILL)
        await asyncio.sleep(pause)
        waited += pause
        pause = min(pause * 2, 0.1)


def _popen(command: Command, env: dict[str, str]) -> subprocess.Popen[bytes]:
    for text in (*command.argv, *env, *env.values()):
        if "\0" in text:
            raise CannotRunError("arguments and environment cannot hold a NUL character")
    try:
        output = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise verdict(error, f"cannot open the log file {command.log}") from error
    try:
        return subprocess.Popen(
            list(command.argv),
            env=env,
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            close_fds=True,
        )
    except (OSError, ValueError) as error:
        raise verdict(error, f"cannot start {command.argv[0]!r} in {command.cwd}") from error
    finally:
        os.close(output)


def verdict(error: Exception, what: str) -> errors.KuttabError:
    """What an error of the system at a start means: UnavailableError when the machine is short of something, else CannotRunError."""
    text = f"{what}: {getattr(error, 'strerror', None) or error}"
    if isinstance(error, OSError) and error.errno in _SCARCE:
        return errors.UnavailableError(text)
    return CannotRunError(text)


def _alive(known: Mapping[int, str]) -> set[int]:
    return {pid for pid, started in known.items() if _same(pid, started)}


def _same(pid: int, started: str) -> bool:
    found = identity.stat(pid)
    return found is not None and not found.zombie and found.started == started


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A zombie that nobody has reaped still counts as a member; ours are reaped here.
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    return True


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _signal_one(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _signal_led(pid: int, number: signal.Signals) -> None:
    found = identity.stat(pid)
    if found is not None and found.group == pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)
    else:
        _signal_one(pid, number)


def _set_subreaper(on: bool) -> bool:
    """Make orphaned descendants ours (Linux); False where that does not exist."""
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    done: int = library.prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)
    return done == 0 and Path(f"/proc/self/task/{os.getpid()}/children").exists()
