"""Connections to other people's services: one per address, opened on first use, and every failure in our own words.

Each call has a deadline. Bytes go in and come out; what they mean, and whether they may be used, is the caller's business.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc

from kuttab.base import errors
from kuttab.rpc.messages import Message

MAX_REPLY: Final = 64 * 1024 * 1024
"""Bytes of one answer that are read at all."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_REPLY),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.max_frame_size", 1 << 20),  # histories are long messages: fewer, larger frames
    ("grpc.http2.lookahead_bytes", 8 << 20),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)

_REFUSING: Final = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNKNOWN})
"""Codes with which a service refuses settings for good; a Python service that raises gives UNKNOWN."""


class Failed(Exception):
    """A call that gave no answer: gRPC's code and the other side's sentence."""

    def __init__(self, code: Any, details: str, where: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.where = where

    def as_unavailable(self) -> errors.UnavailableError:
        """The failure as something that passes: DeadlineError or UnavailableError."""
        text = f"{self.where}: {self.code.name}: {self.details}" if self.details else f"{self.where}: {self.code.name}"
        if self.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.DeadlineError(text)
        return errors.UnavailableError(text)

    def judge_validation(self, method: str) -> None:
        """What the failure of a validating call means: nothing (there is no such method), RefusedError, or something that passes."""
        if self.code is grpc.StatusCode.UNIMPLEMENTED:
            return
        if self.code in _REFUSING:
            raise errors.RefusedError(f"{method}: {self.details or self.code.name}") from None
        raise self.as_unavailable() from None


class Channel:
    """A connection to ``host:port``."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel: Any = None
        self._methods: dict[str, Any] = {}

    async def call(self, path: str, request: bytes, timeout: float) -> tuple[bytes, dict[str, str]]:
        """The answer's bytes and its trailing metadata; raises :class:`Failed`.

        ``timeout`` in seconds. A service that does not listen is not waited for: the caller comes back later.
        """
        method = self._methods.get(path)
        if method is None:
            if self._channel is None:
                self._channel = grpc.aio.insecure_channel(self.address, options=_OPTIONS)
            method = self._methods[path] = self._channel.unary_unary(path, None, None)
        try:
            running = method(request, timeout=timeout)
            answer: bytes = await running
            trailing = await running.trailing_metadata()
        except grpc.aio.AioRpcError as error:
            raise Failed(error.code(), clean(error.details() or ""), f"{path} at {self.address}") from None
        except asyncio.CancelledError:
            # A connection that is closed under a call looks like this, too, and must not end the task that calls.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            text = "the connection was given up"
            raise Failed(grpc.StatusCode.CANCELLED, text, f"{path} at {self.address}") from None
        return answer, {key: value for key, value in trailing or () if isinstance(value, str)}

    async def close(self) -> None:
        """Give the connection up; a later call opens a new one."""
        channel, self._channel = self._channel, None
        self._methods.clear()
        if channel is not None:
            await channel.close()


def path_of(service: str, method: str) -> str:
    """The path of a method."""
    return f"/{service}/{method}"


def parse(kind: Message, raw: bytes) -> Message:
    """A message from its bytes; BadInputError when they are none."""
    made = kind()
    try:
        made.ParseFromString(raw)
    except Exception as error:  # protobuf's DecodeError has no stable home across its versions
        raise errors.BadInputError(f"the bytes are no {made.DESCRIPTOR.name} message") from error
    return made


def parse_answer(kind: Message, raw: bytes, where: str) -> Message:
    """A service's answer from its bytes; BrokenAnswerError when they are none."""
    try:
        return parse(kind, raw)
    except errors.BadInputError as error:
        raise errors.BrokenAnswerError(f"{where}: {error.message}") from error


def clean(text: str, limit: int = 500) -> str:
    """A stranger's sentence on one line, without control characters, short."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: limit * 4])
    line = " ".join(line.split())
    return line if len(line) <= limit else line[:limit] + "..."
