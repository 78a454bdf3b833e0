"""HTTP on the socket: uvicorn's protocol with limits that it lacks, for clients that are slow, many or wrong.

A connection has so much time and so many bytes to finish a request's head; there are only so many connections; what is no HTTP gets a
Status. No access log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from kuttab.apiserver import statuses
from kuttab.base import json_text


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listening socket takes. Times are seconds."""

    connections: int = 1_000
    head_seconds: float = 10.0
    """For the head of a request, from the connection or from its first byte."""
    head_bytes: int = 64 * 1024
    keep_alive: float = 75.0


DEFAULTS: Final = Limits()
LINGER_SECONDS: Final = 2.0
"""How long what a refused client still sends is thrown away: closing at once would take the refusal away from it."""


class Protocol(H11Protocol):
    """One connection."""

    def __init__(
        self,
        config: uvicorn.Config,
        state: ServerState,
        app_state: dict[str, Any],
        *,
        limits: Limits,
        on_lost: Callable[[], None],
    ) -> None:
        super().__init__(config, state, app_state)
        self._limits = limits
        self._on_lost = on_lost
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(statuses.busy(f"{self._limits.connections} connections are open, which is the limit"))
            return
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first ones of a request start its time."""
        if self._refused or self.transport.is_closing():
            return
        if self._idle and self._deadline is None:
            self._watch_head()
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._forget_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._forget_head()
        super().connection_lost(exc)
        self._on_lost()

    def shutdown(self) -> None:
        """The server stops: end now, or after the answer that is being given."""
        if self._idle:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def abort(self) -> None:
        """Break the connection, and let go of what waits to be sent."""
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP/1.1."""
        del msg
        message = "this is no HTTP/1.1 request that can be read, or its head is too long"
        self._refuse(statuses.HttpError(400, "BadRequest", message))

    @property
    def _idle(self) -> bool:
        """Whether no request is being answered."""
        cycle: Any = self.cycle
        return cycle is None or bool(cycle.response_complete)

    def _watch_head(self) -> None:
        self._deadline = self.loop.call_later(self._limits.head_seconds, self._head_is_late)

    def _forget_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing() and self._idle:
            message = f"the head of the request did not arrive within {self._limits.head_seconds:g} seconds"
            self._refuse(statuses.HttpError(408, "Timeout", message))

    def _refuse(self, error: statuses.HttpError) -> None:
        """Answer past the protocol, and close; within another answer only close."""
        body = json_text.dumps(statuses.failure(error))
        extra = "".join(f"{name}: {value}\r\n" for name, value in error.headers.items())
        head = (
            f"HTTP/1.1 {error.code} {error.word}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"{extra}connection: close\r\n\r\n"
        )
        self._refused = True
        self._forget_head()
        if not self._idle or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write(head.encode() + body)
        self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
