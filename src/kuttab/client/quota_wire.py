"""One JSON question to a quota service over HTTP, and its answer. The service is not trusted.

No redirects, one deadline from connecting to the last byte, a limit on bytes, nothing of the answer believed beyond its JSON. Whatever
goes wrong is one UnavailableError that says what; nothing here retries.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kuttab.base import errors

LARGEST: Final = 64 << 10  # bytes of an answer


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is asked. ``token`` is sent as a bearer token when it is not empty."""

    host: str
    port: int
    path: str
    tls: bool
    token: str = ""

    @classmethod
    def parse(cls, url: str, token: str = "") -> Endpoint:
        """From a URL; BadInputError for one that cannot be asked."""
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError as problem:
            raise errors.BadInputError(f"quota: {url!r} is no URL: {problem}") from problem
        good = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme not in ("http", "https") or not parts.hostname or not good:
            raise errors.BadInputError(f"quota: {url!r} must look like http://HOST:PORT/PATH")
        if parts.username is not None:
            raise errors.BadInputError("quota: a URL with a password is not taken; set KUTTAB_QUOTA_TOKEN")
        tls = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname, port or (443 if tls else 80), path, tls, token)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and the JSON of the body (None when there is none)."""

    status: int
    body: Any


async def post(where: Endpoint, document: Mapping[str, Any], seconds: float) -> Answer:
    """Send a document; UnavailableError for everything but a whole answer with a status of 2xx or 4xx."""
    try:
        async with asyncio.timeout(seconds):
            raw = await _exchange(where, _request(where, document))
    except TimeoutError:
        raise errors.UnavailableError(f"no whole answer within {seconds:g} s") from None
    except (OSError, ssl.SSLError) as problem:
        raise errors.UnavailableError(f"cannot be reached: {problem.strerror or problem}") from problem
    return _read(raw)


def _request(where: Endpoint, document: Mapping[str, Any]) -> bytes:
    body = json.dumps(document).encode()
    name = f"[{where.host}]" if ":" in where.host else where.host
    lines = [
        f"POST {where.path} HTTP/1.1",
        f"Host: {name}:{where.port}",
        "Content-Type: application/json",
        "Accept: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "User-Agent: kuttab",
        *([f"Authorization: Bearer {where.token}"] if where.token else []),
    ]
    return "\r\n".join((*lines, "", "")).encode() + body


async def _exchange(where: Endpoint, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(where.host, where.port, ssl=where.tls or None, limit=LARGEST)
    try:
        writer.write(request)
        await writer.drain()
        raw = b""
        while not _whole(raw):
            part = await reader.read(LARGEST)
            if not part:
                return raw
            raw += part
            if len(raw) > LARGEST:
                raise errors.UnavailableError(f"its answer is larger than {LARGEST} bytes")
        return raw
    finally:
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError, TimeoutError):
            writer.transport.abort()


def _whole(raw: bytes) -> bool:
    """Whether a service that does not close has said everything."""
    head, found, body = raw.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return len(body) >= int(value)
        if name.strip().lower() == b"transfer-encoding":
            return body.endswith(b"0\r\n\r\n")
    return False


class _Bytes:
    """What the parser of the standard library wants instead of a socket."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BytesIO:  # noqa: ARG002
        return io.BytesIO(self._raw)


def _read(raw: bytes) -> Answer:
    answer = http.client.HTTPResponse(_Bytes(raw))  # type: ignore[arg-type]
    try:
        answer.begin()
        text = answer.read()
    except (http.client.HTTPException, ValueError, OSError) as problem:
        raise errors.UnavailableError(f"its answer is not HTTP ({type(problem).__name__})") from problem
    status = answer.status
    if 300 <= status < 400:
        raise errors.UnavailableError(f"answers {status}: redirects are not followed; give its final address")
    if not 200 <= status < 300 and not 400 <= status < 500:
        raise errors.UnavailableError(f"answers {status}")
    try:
        return Answer(status, json.loads(text) if text else None)
    except (ValueError, RecursionError) as problem:
        if status >= 400:
            return Answer(status, None)
        raise errors.UnavailableError("its answer is not JSON") from problem
