"""The running server: a socket, uvicorn's HTTP on it, and an orderly end.

uvicorn's own server polls for its end and takes signals; here both are the caller's, and the end is an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from kuttab.apiserver import protocol
from kuttab.base import errors, log

if TYPE_CHECKING:
    from kuttab.apiserver import app

logger = log.get(__name__)

DRAIN_SECONDS: Final = 10.0
"""Time that requests get to end when the server stops."""
BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens. ``port`` 0 is a free one."""

    host: str = "127.0.0.1"
    port: int = 0


def listen(address: Address) -> socket.socket:
    """A listening socket; UnavailableError when the address is in use, BadInputError when it is not of this machine."""
    try:
        family, kind, proto, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise errors.BadInputError(f"--host {address.host[:80]}: {error}") from error
    made = socket.socket(family, kind, proto)  # with its protocol: asyncio lets only TCP send small answers at once
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise errors.UnavailableError(
            f"cannot listen on {address.host}:{address.port}: {error.strerror}; choose another with --port"
        ) from error
    made.setblocking(False)
    return made


@contextlib.asynccontextmanager
async def serving(
    server: app.ApiServer,
    listener: socket.socket,
    context: ssl.SSLContext | None = None,
    limits: protocol.Limits = protocol.DEFAULTS,
) -> AsyncIterator[None]:
    """Serve while inside. Leaving ends watches, lets requests end for some seconds, and closes the socket."""
    async with hosting(server, listener, context, limits):
        try:
            yield
        finally:
            server.streams.stop()


@contextlib.asynccontextmanager
async def hosting(
    server: ASGIApp,
    listener: socket.socket,
    context: ssl.SSLContext | None = None,
    limits: protocol.Limits = protocol.DEFAULTS,
    drain: float = DRAIN_SECONDS,
) -> AsyncIterator[None]:
    """The same for any application; ``drain`` is the time in seconds that requests get to end."""
    config = uvicorn.Config(
        server,
        http=protocol.Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(limits.keep_alive),
        h11_max_incomplete_event_size=limits.head_bytes,
    )
    config.load()
    _redirect_log()
    host = _Host(config, limits)
    await host.start(listener, context)
    try:
        yield
    finally:
        await host.stop(drain)


class _ToOurLog(logging.Handler):
    """uvicorn's own messages: its errors go to our log, what it says about bad requests nowhere."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one on."""
        logger.error("http_server", message=record.getMessage(), cause=record.exc_info and record.exc_info[1])


def _redirect_log() -> None:
    theirs = logging.getLogger("uvicorn")
    if not any(isinstance(handler, _ToOurLog) for handler in theirs.handlers):
        theirs.addHandler(_ToOurLog(logging.ERROR))
        theirs.propagate = False


class _Host:
    """The connections of one listening socket."""

    def __init__(self, config: uvicorn.Config, limits: protocol.Limits) -> None:
        self._config = config
        self._limits = limits
        self._state = ServerState()
        self._empty = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._date: asyncio.TimerHandle | None = None

    async def start(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        self._tick()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connection,
            sock=listener,
            ssl=context,
            backlog=BACKLOG,
            ssl_handshake_timeout=self._limits.head_seconds if context is not None else None,
        )

    async def stop(self, drain: float) -> None:
        """Take no new connections, close idle ones, wait for the others, then break what is left."""
        assert self._server is not None
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(drain):
                while self._state.connections:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            logger.warning("requests_cut_off", connections=len(self._state.connections))
        for connection in list(self._state.connections):
            connection.transport.abort()
        if self._state.tasks:
            for task in self._state.tasks:
                task.cancel()
            await asyncio.wait(self._state.tasks)
        if self._date is not None:
            self._date.cancel()

    def _connection(self) -> protocol.Protocol:
        state: dict[str, object] = {}
        made = protocol.Protocol(self._config, self._state, state, limits=self._limits, on_lost=self._lost)
        state["abort"] = made.abort  # for the application, in scope["state"]
        return made

    def _lost(self) -> None:
        if not self._state.connections:
            self._empty.set()

    def _tick(self) -> None:
        """The Date header, once a second."""
        now = email.utils.formatdate(usegmt=True).encode()
        self._state.default_headers = [(b"date", now), *self._config.encoded_headers]
        self._date = asyncio.get_running_loop().call_later(1.0, self._tick)
