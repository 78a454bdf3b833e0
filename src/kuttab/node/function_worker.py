"""A warm worker process: calls Python functions, one at a time, for the node that started it.

Started by :mod:`kuttab.node.function_pool`, which calls :func:`main`. It ends when its parent does, whatever runs: a thread waits for
the end of a pipe that only the parent holds open, and on Linux the kernel kills it with the parent. It decides nothing about trials: it
says what happened. Loads little, so that it is there at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import json
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kuttab.base import errors
from kuttab.collector import reporting

HEADER = struct.Struct("!I")
TRACEBACK_LIMIT = 6000
OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
"""The folder of this package: its frames tell users nothing."""
MESSAGE_LIMIT = 400
_PR_SET_PDEATHSIG = 1

Function = Callable[[Mapping[str, str]], Mapping[str, Any]]
"""What is called: parameter texts in, metrics out."""


def call(function: Function, values: Mapping[str, str], objective: str, reporter: reporting.Reporter) -> dict[str, Any]:
    """Call a function and tell its end: ``outcome`` is ``succeeded``, ``early``, or ``failed`` with ``reason`` and ``message``."""
    try:
        metrics = function(values)
        readings = [(name, reporting.text_of(name, value), 0) for name, value in metrics.items()]
    except reporting.EarlyStopped:
        return {"outcome": "early", "readings": []}
    except MemoryError as error:
        return failure("OutOfMemory", error)
    except SystemExit as error:
        return {"outcome": "failed", "reason": "Exited", "message": f"the function called exit({error.code!r})"}
    except errors.BadInputError as error:
        return {"outcome": "failed", "reason": "BadResult", "message": error.message}
    except Exception as error:
        return failure("UserError", error)
    if objective not in metrics and objective not in reporter.seen:
        told = f"only {', '.join(metrics)}" if metrics else "nothing"
        message = (
            f"the function returned {told} and reported no {objective!r}; return a number, or {{{objective!r}: number}}"
        )
        return {"outcome": "failed", "reason": "NoObjective", "message": message, "readings": readings}
    for name, text, _ in readings:
        if name == objective and float(text) - float(text) != 0:
            return {
                "outcome": "failed", "reason": "NonFinite", "message": f"the function returned {name} = {text}", "readings": readings,
            }  # fmt: skip
    return {"outcome": "succeeded", "readings": readings}


def failure(reason: str, error: BaseException) -> dict[str, Any]:
    """An exception in words: one line, then the traceback without our own frames."""
    line = "".join(traceback.format_exception_only(error)).strip().splitlines()
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(OURS):
        frames = frames.tb_next
    shown = "".join(traceback.format_exception(type(error), error, frames))
    if len(shown) > TRACEBACK_LIMIT:
        shown = shown[: TRACEBACK_LIMIT // 3] + "\n  ...\n" + shown[-2 * TRACEBACK_LIMIT // 3 :]
    head = (line[-1] if line else type(error).__name__)[:MESSAGE_LIMIT]
    return {"outcome": "failed", "reason": reason, "message": head, "traceback": shown}


class Output(io.TextIOBase):
    """Stands for ``sys.stdout`` and ``sys.stderr``: the first word printed opens the trial's log and puts it under both file numbers."""

    def __init__(self) -> None:
        self.path = ""
        self._text: io.TextIOWrapper | None = None

    def begin(self, path: str) -> None:
        """A trial begins; its output goes to ``path``, which is made only when there is some."""
        self.path = path

    def write(self, text: str, /) -> int:
        """Print."""
        if not text:
            return 0
        if self._text is None:
            self._open()
        assert self._text is not None
        return self._text.write(text)

    def flush(self) -> None:
        """Every line is written at once."""
        if self._text is not None:
            self._text.flush()

    def fileno(self) -> int:
        """For programs that the function starts."""
        return 1

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """It is a file."""
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """UTF-8."""
        return "utf-8"

    @property
    def buffer(self) -> Any:
        """For bytes."""
        if self._text is None:
            self._open()
        assert self._text is not None
        return self._text.buffer

    def end(self) -> None:
        """The trial has ended: what was written past Python lies in the scratch file and is moved to its log."""
        with contextlib.suppress(OSError, ValueError):
            self.flush()
        if self._text is not None:
            self._text = None
            os.dup2(_scratch, 1)
            os.dup2(_scratch, 2)
        elif os.fstat(_scratch).st_size:
            self._copy_scratch()
            self._text = None
            os.dup2(_scratch, 1)
            os.dup2(_scratch, 2)

    def _open(self) -> None:
        target = os.open(self._place(), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._move_scratch(target)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)
        raw = os.fdopen(1, "wb", buffering=0, closefd=False)
        self._text = io.TextIOWrapper(
            raw, encoding="utf-8", errors="backslashreplace", line_buffering=True, write_through=True
        )

    def _copy_scratch(self) -> None:
        target = os.open(self._place(), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._move_scratch(target)
        finally:
            os.close(target)

    def _move_scratch(self, target: int) -> None:
        offset, size = 0, os.fstat(_scratch).st_size
        while offset < size:
            piece = os.pread(_scratch, 1 << 20, offset)
            if not piece:
                break
            os.write(target, piece)
            offset += len(piece)
        os.ftruncate(_scratch, 0)

    def _place(self) -> str:
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        return self.path


_scratch = -1
_output = Output()


class Channel:
    """Messages over a socket: four bytes of length, then JSON."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        self._lock = threading.Lock()

    def read(self) -> dict[str, Any] | None:
        """The next message; None at the end."""
        head = self._file.read(HEADER.size)
        if len(head) < HEADER.size:
            return None
        body = self._file.read(HEADER.unpack(head)[0])
        found: dict[str, Any] = json.loads(body)
        return found

    def write(self, message: Mapping[str, Any]) -> None:
        """Send one; threads may do so at once."""
        body = json.dumps(message, separators=(",", ":")).encode()
        with self._lock:
            self._connection.sendall(HEADER.pack(len(body)) + body)


def serve(channel: Channel) -> None:
    """Work until the parent hangs up."""
    functions: dict[str, Function] = {}
    while (task := channel.read()) is not None:
        channel.write({"id": task["id"], **_do(task, functions, channel)})


def _do(task: Mapping[str, Any], functions: dict[str, Function], channel: Channel) -> dict[str, Any]:
    _output.begin(task["log"])
    number = task["id"]

    def send(readings: list[reporting.Reading]) -> None:
        channel.write({"id": number, "readings": readings})

    try:
        function = functions.get(task["function"])
        if function is None:
            function = functions[task["function"]] = _load(task["function"])
        reporter = reporting.Reporter(send, reporting.rules_from(task.get("rules")))
    except Exception as error:
        _output.end()
        return failure("CannotLoad", error)
    os.environ["KATIB_TRIAL_NAME"] = task["trial"]
    with reporting.entered(reporter, shared=True):
        end = call(function, task["values"], task["objective"], reporter)
    if "traceback" in end:
        with contextlib.suppress(OSError, ValueError):
            _output.write(end["traceback"])
    _output.end()
    end["readings"] = [*reporter.rest(), *end.get("readings", ())]
    return end


def _load(path: str) -> Function:
    with open(path, "rb") as file:
        found: Function = pickle.load(file)  # noqa: S301 - the file was written by the user's own call, in a folder of their own
    return found


def _watch_parent(lifeline: int) -> None:
    """Wait for the end of the pipe that the parent holds, then end this process and what it started."""
    with contextlib.suppress(OSError):
        while os.read(lifeline, 64):
            pass
    with contextlib.suppress(OSError):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _die_with(parent: int) -> None:
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


@contextlib.contextmanager
def _own_output(scratch: str) -> Iterator[None]:
    global _scratch  # noqa: PLW0603 - one per process by nature: it stands under file numbers 1 and 2
    _scratch = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.unlink(scratch)
    os.dup2(_scratch, 1)
    os.dup2(_scratch, 2)
    sys.stdout = sys.stderr = _output
    yield


def main(arguments: list[str]) -> int:
    """``PARENT SOCKET LIFELINE SCRATCH``; more is not looked at."""
    parent, connection, lifeline, scratch = arguments[:4]
    _die_with(int(parent))
    threading.Thread(target=_watch_parent, args=(int(lifeline),), name="kuttab-parent", daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    with socket.socket(fileno=int(connection)) as channel, _own_output(scratch):
        serve(Channel(channel))
    return 0
