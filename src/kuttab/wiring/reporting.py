"""Where programs of trials report over HTTP: a socket on loopback, and an address of its own for each attempt.

It costs next to nothing until somebody reports: the socket is opened with the first program that is started, and the HTTP server is loaded
when the first connection comes. Port and secret are kept in the data folder, so that an address means the same, or is over, but is never
another trial's, when the run was killed and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import importlib
import json
import os
import secrets
import socket
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kuttab.base import clock as clocks
from kuttab.base import errors, log
from kuttab.node import pod_run, pods, reports
from kuttab.rules import reported
from kuttab.wiring import access, doors

logger = log.get(__name__)

FILE: Final = "reporting.json"
SECRET_BYTES: Final = 32
BACKLOG: Final = 256
CONNECTIONS: Final = 256
HEAD_BYTES: Final = 16 * 1024
KEEP_SECONDS: Final = 15.0
"""Time that a connection may wait for its next request."""
DRAIN_SECONDS: Final = 0.5
"""Time that requests get to end when the run ends; the programs that sent them are being ended as well."""


class Endpoint:
    """The socket, and who may report by it. Use it from one event loop."""

    def __init__(self, data: Path) -> None:
        self._file = data / FILE
        self._secret = b""
        self._socket: socket.socket | None = None
        self._port = 0
        self._failed = False
        self._knocked = asyncio.Event()
        self._pace = doors.Pace(clocks.SystemClock())
        self._paced: weakref.WeakSet[pod_run.Run] = weakref.WeakSet()
        self._kubelet: pods.Kubelet
        self._reports: reports.Reports

    def attach(self, kubelet: pods.Kubelet) -> None:
        """Say who runs the pods; before the first request."""
        self._kubelet, self._reports = kubelet, reports.Reports(kubelet)

    def url(self, pod_uid: str) -> str:
        """Where the programs of a pod may report; empty when this machine lets nobody listen."""
        if self._socket is None and not self._failed:
            self._open()
        return f"http://{doors.HOST}:{self._port}/report/{self._token(pod_uid)}" if self._socket is not None else ""

    async def run(self) -> None:
        """Serve from the first connection on, until cancelled."""
        await self._knocked.wait()
        assert self._socket is not None
        try:
            # Half a second of loading, during which trials go on to be followed.
            front, server, protocol = await asyncio.to_thread(_load)
        except ImportError:
            logger.exception("reporting_broken")
            return
        limits = protocol.Limits(connections=CONNECTIONS, head_bytes=HEAD_BYTES, keep_alive=KEEP_SECONDS)
        async with server.hosting(front.Reports(self), self._socket, limits=limits, drain=DRAIN_SECONDS):
            await asyncio.Event().wait()

    def close(self) -> None:
        """Listen no more. Idempotent."""
        if self._socket is not None:
            with contextlib.suppress(ValueError):  # the server has closed it already
                asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket, self._failed = None, True

    # What the application asks for.

    async def admit(self, token: str) -> str:
        """See :class:`kuttab.apiserver.reports.Attempts`; waits when a trial reports more often than can be taken."""
        pod_uid, _, _ = token.rpartition(".")
        if not hmac.compare_digest(token.encode(), self._token(pod_uid).encode()):
            raise errors.NotFoundError("no trial has this address; use KUTTAB_REPORT_URL as it is")
        run = self._kubelet.runs.get(pod_uid)
        if run is not None:
            if run not in self._paced:
                self._paced.add(run)
                weakref.finalize(run, self._pace.forget, pod_uid)
            if delay := self._pace.wait(pod_uid):
                await asyncio.sleep(delay)
        return pod_uid

    async def take(self, pod_uid: str, found: Sequence[reported.Report], key: str = "") -> reported.Taken:
        """See :meth:`kuttab.node.reports.Reports.take`."""
        return await self._reports.take(pod_uid, found, key)

    async def should_stop(self, pod_uid: str) -> bool:
        """See :meth:`kuttab.node.reports.Reports.should_stop`."""
        return await self._reports.should_stop(pod_uid)

    def _token(self, pod_uid: str) -> str:
        return f"{pod_uid}.{hashlib.blake2b(pod_uid.encode(), key=self._secret, digest_size=16).hexdigest()}"

    def _open(self) -> None:
        self._secret, before = _recall(self._file)
        known = bool(self._secret)
        self._secret = self._secret or secrets.token_bytes(SECRET_BYTES)
        try:
            self._socket = _listen(before)
        except OSError as problem:
            self._failed = True
            logger.warning("reporting_unavailable", problem=problem)
            return
        self._port = int(self._socket.getsockname()[1])
        asyncio.get_running_loop().add_reader(self._socket, self._knock, self._socket)
        if known and self._port == before:
            return
        try:
            access.write(self._file, json.dumps({"secret": self._secret.hex(), "port": self._port}) + "\n")
        except OSError as problem:  # then the addresses of this run are unknown to the next one, which is told so
            logger.warning("reporting_not_remembered", problem=problem)

    def _knock(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(listener)
        self._knocked.set()


def _load() -> tuple[Any, Any, Any]:
    names = ("reports", "server", "protocol")
    found = [importlib.import_module(f"kuttab.apiserver.{name}") for name in names]
    return found[0], found[1], found[2]


def _recall(file: Path) -> tuple[bytes, int]:
    """Secret and port of an earlier life; empty and 0 when there are none, or others could have read them."""
    try:
        if os.stat(file, follow_symlinks=False).st_mode & 0o077:
            return b"", 0
        found = json.loads(file.read_text("ascii"))
        secret, port = bytes.fromhex(found["secret"]), int(found["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return b"", 0
    return (secret, port) if len(secret) == SECRET_BYTES and 0 < port < 65536 else (b"", 0)


def _listen(port: int) -> socket.socket:
    """A listening socket on that port, or on a free one when another has it; OSError."""
    for number in dict.fromkeys((port, 0)):
        # With its protocol: asyncio lets only what is known to be TCP send small answers at once.
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((doors.HOST, number))
            made.listen(BACKLOG)
        except OSError:
            made.close()
            if not number:
                raise
            continue
        made.setblocking(False)
        return made
    raise OSError("no port is free")
