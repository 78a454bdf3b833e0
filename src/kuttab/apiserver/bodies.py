"""Bodies of requests: bounded in size, time, depth and type, then JSON values.

A body is read completely before anything of it is looked at. JSON with the same key twice is refused, as two readers could take it
two ways. YAML is read by :mod:`kuttab.admission.yaml`, in a thread, one at a time: it is slow, and nobody else shall wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import zlib
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request

from kuttab.admission import yaml
from kuttab.api import meta
from kuttab.apiserver import protobuf, statuses
from kuttab.base import errors, json_text

JSON = "application/json"
YAML = "application/yaml"
MAX_BYTES = 3 * 1024 * 1024
"""Bytes of a body, also after decompression: Kubernetes' own limit."""
MAX_YAML_BYTES = 1024 * 1024
READ_SECONDS = 30.0
"""Time for a body to arrive."""
UNWANTED_BYTES = 16 * 1024 * 1024
UNWANTED_SECONDS = 2.0
"""How much of a body that is too large is read after all, so that its sender can read why it is refused."""
DISCARDED = 32 * 1024 * 1024
"""Bytes beyond the limit that are taken and thrown away: a client reads its refusal only when it has sent all, or most."""
MAX_DEPTH = 200
_DIGITS = 308
"""Digits of a whole number, its sign among them: less than the largest double."""
_AT_ONCE = 64 * 1024
"""JSON up to this size is parsed without a thread."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a body is read, and for how long."""

    bytes: int = MAX_BYTES
    seconds: float = READ_SECONDS


class Bodies:
    """Reads bodies for a server."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._yaml = asyncio.Lock()

    async def document(self, request: Request, *, needed: bool = True) -> meta.Json | None:
        """The one object that a body holds; None for an empty body that is not needed.

        BadInputError for what cannot be read, HttpError for its size, time or type.
        """
        kind = media_type(request)
        if kind not in ("", JSON, YAML, protobuf.MEDIA):
            raise statuses.bad_media(
                f"the body of the media type {kind[:80]!r} is not read here; send {JSON} or {YAML}"
            )
        raw = await self.raw(request)
        if not raw.strip():
            if needed:
                raise errors.BadInputError("the request has no body; send the object")
            return None
        if kind == protobuf.MEDIA:
            return protobuf.document(raw)
        value = await (self.yaml(raw) if kind == YAML else self.json(raw))
        if not isinstance(value, dict):
            raise errors.BadInputError("the body must be one object, not a list or a plain value")
        return value

    async def json(self, raw: bytes) -> Any:
        """A JSON value; BadInputError."""
        return parse_json(raw) if len(raw) <= _AT_ONCE else await asyncio.to_thread(parse_json, raw)

    async def yaml(self, raw: bytes) -> Any:
        """A YAML object; BadInputError."""
        if len(raw) > MAX_YAML_BYTES:
            raise statuses.too_large(f"the body has more than {MAX_YAML_BYTES} bytes of YAML; send it as JSON")
        async with self._yaml:
            return await asyncio.to_thread(_parse_yaml, raw)

    async def raw(self, request: Request) -> bytes:
        """The bytes of a body, decompressed."""
        encoding = request.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip"):
            raise statuses.bad_media(f"the content encoding {encoding[:40]!r} is not read here; send gzip or none")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 10 or int(length) > self._limits.bytes):
            if "expect" not in request.headers:
                await self._read_on(request)
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.seconds):
                raw = await self._collect(request)
        except TimeoutError:
            message = f"the body did not arrive within {self._limits.seconds:g} seconds"
            raise statuses.HttpError(408, "Timeout", message, {"Connection": "close"}) from None
        except ClientDisconnect:
            raise errors.BadInputError("the request ended before its body did") from None
        return self._unpacked(raw) if encoding == "gzip" else raw

    async def _collect(self, request: Request) -> bytes:
        found = bytearray()
        async for chunk in request.stream():
            found += chunk
            if len(found) > self._limits.bytes:
                await self._read_on(request)
                raise self._too_large()
        return bytes(found)

    async def _read_on(self, request: Request) -> None:
        """Read for a moment what is not wanted: closing a connection with unread bytes would destroy the answer on its way."""
        left = UNWANTED_BYTES
        with contextlib.suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(UNWANTED_SECONDS):
                async for chunk in request.stream():
                    left -= len(chunk)
                    if left < 0:
                        return

    def _unpacked(self, raw: bytes) -> bytes:
        machine = zlib.decompressobj(wbits=31)
        try:
            found = machine.decompress(raw, self._limits.bytes + 1)
        except zlib.error:
            raise errors.BadInputError("the body is not gzip, as its content encoding says") from None
        if len(found) > self._limits.bytes:
            raise self._too_large()
        if not machine.eof or machine.unused_data:
            raise errors.BadInputError("the gzip body is cut off or holds more than one stream; send it whole")
        return found

    def _too_large(self) -> statuses.HttpError:
        return statuses.too_large(f"the body has more than {self._limits.bytes} bytes")


def media_type(request: Request) -> str:
    """The content type without its parameters, in lower case; only UTF-8 is read. HttpError for another charset."""
    head, *parameters = request.headers.get("content-type", "").split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8", "us-ascii"):
            raise statuses.bad_media(f"the charset {value.strip()[:40]!r} is not read here; send UTF-8")
    return head.strip().lower()


def parse_json(raw: bytes) -> Any:
    """JSON text in UTF-8: no key twice, no NaN, no number beyond a double, no half of a surrogate pair, not too deep; BadInputError."""
    try:
        json_text.loads(raw)  # strict about everything but repeated keys and the size of numbers, and bounded in depth
    except json_text.DeepError:
        raise _too_deep() from None
    except ValueError as error:
        raise errors.BadInputError(f"the body is not JSON: {error}") from None
    try:
        value = json.loads(raw, object_pairs_hook=yaml.unique_keys, parse_float=_fraction, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise errors.BadInputError(f"the body cannot be read: {error}") from None
    if depth(value) > MAX_DEPTH:
        raise _too_deep()
    return value


def _too_deep() -> errors.BadInputError:
    return errors.BadInputError(f"the body is nested deeper than {MAX_DEPTH} levels")


def _fraction(text: str) -> float:
    found = float(text)
    if math.isinf(found):
        raise ValueError(f"the number {text[:40]} is too large")
    return found


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"the number {text[:40]}... is too large")
    return int(text)


def depth(value: Any) -> int:
    """How deep lists and maps are nested."""
    found, level = 0, [value]
    while level:
        found += 1
        below: list[Any] = []
        for node in level:
            below.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
        level = [node for node in below if isinstance(node, dict | list)]
    return found


def _parse_yaml(raw: bytes) -> Any:
    try:
        return yaml.load_one(raw)
    except errors.InvalidError as error:
        where = next((f"line {p.line}, column {p.column}: " for p in error.problems if p.line), "")
        message = "; ".join(str(problem) for problem in error.problems)
        raise errors.BadInputError(f"the body cannot be read: {where}{message}") from None
