"""An answer without a known end, for watches and followed logs: it ends when the source does, when its time is over, when the client
leaves, when the client does not read, or when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

import anyio
from starlette.types import Receive, Scope, Send

from kuttab.apiserver import statuses
from kuttab.base import errors, log

logger = log.get(__name__)

SEND_SECONDS: Final = 60.0
"""A client that takes nothing for so long is left."""

Last = Callable[[errors.KuttabError], bytes]
"""The last piece of a stream that breaks with an error."""


class Streams:
    """The open streams of a server."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._stopping = asyncio.Event()
        self.open = 0

    def check(self) -> None:
        """HttpError 429 when no more streams are taken, UnavailableError when the server stops."""
        if self._stopping.is_set():
            raise errors.UnavailableError("the server is stopping")
        if self.open >= self._most:
            raise statuses.busy(f"{self._most} watches and followed logs are open, which is the limit")

    def stop(self) -> None:
        """End all streams, and take no new ones."""
        self._stopping.set()

    async def stopped(self) -> None:
        """Return when the server stops."""
        await self._stopping.wait()


class Stream:
    """One stream, as an ASGI application."""

    def __init__(
        self, streams: Streams, pieces: AsyncGenerator[bytes, None], *, media: str, seconds: float | None, last: Last
    ) -> None:
        self._streams = streams
        self._pieces = pieces
        self._media = media
        self._seconds = seconds
        self._last = last
        self._stuck = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces."""
        self._streams.open += 1
        try:
            headers = [(b"content-type", self._media.encode()), (b"cache-control", b"no-cache, private")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if scope["method"] != "HEAD":
                await self._run(receive, send)
            if self._stuck:
                scope.get("state", {}).get("abort", _nothing)()  # what waits for a client that does not read goes too
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._streams.open -= 1
            await self._pieces.aclose()

    async def _run(self, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:

            async def disconnected() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            async def stopped() -> None:
                await self._streams.stopped()
                group.cancel_scope.cancel()

            group.start_soon(disconnected)
            group.start_soon(stopped)
            with anyio.move_on_after(self._seconds):
                await self._pump(send)
            group.cancel_scope.cancel()

    async def _pump(self, send: Send) -> None:
        try:
            async for piece in self._pieces:
                await self._send(send, piece)
        except errors.KuttabError as error:
            await self._send(send, self._last(error))
        except OSError:
            return  # the client is gone, or takes nothing
        except Exception:
            logger.exception("stream_failed")
            message = "the server has a fault; its log has the details"
            await self._send(send, self._last(statuses.HttpError(500, "InternalError", message)))

    async def _send(self, send: Send, piece: bytes) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            self._stuck = True
            raise


def _nothing() -> None:
    return None
