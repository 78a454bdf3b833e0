"""The running server: a socket, uvicorn on it, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass

import uvicorn

from kuttab.apiserver import app, protocol
from kuttab.base import errors

DRAIN_SECONDS = 10
"""Time that requests get to end when the server stops."""
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens. ``port`` 0 is a free one."""

    host: str = "127.0.0.1"
    port: int = 0


class _Server(uvicorn.Server):
    """Signals are the caller's matter."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listen(address: Address) -> socket.socket:
    """A listening socket; UnavailableError when the address is in use, BadInputError when it is not of this machine."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise errors.BadInputError(f"--host {address.host}: {error.strerror}") from error
    made = socket.socket(family, kind)
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
    server: app.ApiServer, listener: socket.socket, context: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve while inside. Leaving ends watches, lets requests end for some seconds, and closes the socket."""
    config = uvicorn.Config(
        server,
        http=protocol.Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=protocol.KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=protocol.HEAD_BYTES,
    )
    config.load()
    if context is not None:
        config.ssl = context
    running = _Server(config)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(running.serve(sockets=[listener]))
        try:
            yield
        finally:
            server.streams.stop()
            running.should_exit = True
            await asyncio.wait([task])
