"""Metric rows scraped from a trial's own ``/metrics`` page (Prometheus' text format).

The page belongs to a trial, so it is not trusted: one address that the caller names, no redirects, no compression, a deadline, a limit
on bytes. A scrape runs beside the polls, which never wait for it. A row is made when a sample's value or its own time changed: the
rate of scraping is ours and says nothing about the training.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kuttab.api import experiment
from kuttab.api.metrics import Row
from kuttab.base import errors
from kuttab.ports.observations import Position
from kuttab.rules import metric_values

LARGEST_PAGE: Final = 4 << 20  # bytes
DEADLINE: Final = 2.0  # seconds for one scrape, from connecting to the last byte
_SCRAPE_EVERY: Final = 5  # polls
_NEEDS: Final = 200


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to scrape: an address of the trial itself."""

    host: str
    port: int
    path: str = "/metrics"
    headers: tuple[tuple[str, str], ...] = ()


def endpoint(spec: experiment.HttpGet | None, host: str) -> Endpoint:
    """The end point of a manifest's ``httpGet``, on ``host``; InvalidError for what cannot be honoured."""
    spec = spec or experiment.HttpGet()
    problems = []
    at = "source.httpGet"
    port = spec.port or 8080
    if isinstance(port, str) and (not port.isascii() or not port.isdigit()):
        problems.append(errors.Problem(f"{at}.port", f"must be a number here, not the name {port!r}"))
        port = 8080
    if not 0 < int(port) < 65536:
        problems.append(errors.Problem(f"{at}.port", f"must lie between 1 and 65535, not {port}"))
    if spec.host not in ("", "localhost", host):
        problems.append(
            errors.Problem(f"{at}.host", f"only the trial itself is scraped, not {spec.host!r}; leave it out")
        )
    if spec.scheme.upper() not in ("", "HTTP"):
        problems.append(errors.Problem(f"{at}.scheme", f"must be HTTP, not {spec.scheme!r}", "FieldValueNotSupported"))
    path = spec.path or "/metrics"
    if not path.startswith("/") or not _is_one_word(path):
        problems.append(errors.Problem(f"{at}.path", "must start with / and hold no blanks"))
    headers = []
    for index, header in enumerate(spec.http_headers or ()):
        name, value = str(header.get("name", "")), str(header.get("value", ""))
        if not _is_one_word(name) or not value.isprintable() or not value.isascii() or ":" in name:
            problems.append(
                errors.Problem(f"{at}.httpHeaders[{index}]", "must be a name and a value of printable ASCII")
            )
        headers.append((name, value))
    if problems:
        raise errors.InvalidError(problems, "metrics collector")
    return Endpoint(host, int(port), path, tuple(headers))


class Prometheus:
    """Scrapes one end point. Of several samples with a metric's name only one without labels is taken: no guess."""

    def __init__(self, where: Endpoint, metrics: Sequence[str]) -> None:
        self._where = where
        self._metrics = tuple(dict.fromkeys(metrics))
        self._last: dict[str, tuple[str, str]] = {}
        self._polls = 0
        self._scrape: asyncio.Task[bytes] | None = None
        self._problem = "has not been reached"

    @property
    def needs(self) -> int:
        """The last values, so that they are not reported again."""
        return _NEEDS

    def resume(self, position: Position) -> None:
        """A value that is stored as the latest is not new."""
        for row in position.rows:
            self._last[row.metric] = (row.value, row.time)

    async def poll(self) -> list[Row]:
        """Rows of a scrape that has ended; every fifth poll begins one."""
        self._polls += 1
        rows: list[Row] = []
        if self._scrape is not None and self._scrape.done():
            rows = self._harvest(self._scrape)
            self._scrape = None
        if self._scrape is None and self._polls % _SCRAPE_EVERY == 1:
            self._scrape = asyncio.create_task(fetch(self._where), name=f"scrape {self._where.port}")
        return rows

    async def close(self, clean: bool) -> list[Row]:  # noqa: ARG002 - a page is taken whole or not at all
        """The page is gone with its process: what a running scrape still brings is the end."""
        scrape, self._scrape = self._scrape, None
        if scrape is None:
            return []
        await asyncio.wait([scrape])
        return self._harvest(scrape)

    def remarks(self) -> list[str]:
        """Why the last scrape gave nothing."""
        where = f"http://{self._where.host}:{self._where.port}{self._where.path}"
        return [f"{where} {self._problem}"] if self._problem else []

    def _harvest(self, scrape: asyncio.Task[bytes]) -> list[Row]:
        error = scrape.exception()
        if error is not None:
            if not isinstance(error, errors.KuttabError):
                raise error
            self._problem = error.message
            return []
        self._problem = ""
        rows = []
        samples = parse(scrape.result(), self._metrics)
        for metric in self._metrics:
            sample = samples.get(metric)
            if sample is not None and sample != self._last.get(metric):
                self._last[metric] = sample
                rows.append(Row(metric, *sample))
        if not samples:
            self._problem = "shows none of the metrics, or several samples of one"
        return rows


async def fetch(where: Endpoint) -> bytes:
    """The page; UnavailableError says why there is none."""
    try:
        async with asyncio.timeout(DEADLINE):
            return await _fetch(where)
    except TimeoutError:
        raise errors.DeadlineError(f"did not answer within {DEADLINE} s") from None
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        reason = getattr(error, "strerror", None) or "connection lost"
        raise errors.UnavailableError(f"cannot be read: {reason}") from error


async def _fetch(where: Endpoint) -> bytes:
    reader, writer = await asyncio.open_connection(where.host, where.port, limit=1 << 16)
    try:
        lines = [
            f"GET {where.path} HTTP/1.1",
            f"Host: {where.host}:{where.port}",
            "Accept: text/plain;version=0.0.4",
            "Accept-Encoding: identity",
            "Connection: close",
            *(f"{name}: {value}" for name, value in where.headers),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
        headers = await _head(reader)
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return await _chunks(reader)
        size = headers.get("content-length", "")
        if size.isascii() and size.isdigit():
            return await _exactly(reader, int(size[:20]))
        return await _until_end(reader)
    finally:
        writer.transport.abort()  # whatever the other side does, this ends the connection at once


async def _head(reader: asyncio.StreamReader) -> dict[str, str]:
    status = (await reader.readuntil(b"\n")).split(None, 2)
    if len(status) < 2 or not status[0].startswith(b"HTTP/1."):
        raise errors.UnavailableError("does not speak HTTP")
    headers: dict[str, str] = {}
    for _ in range(100):
        line = (await reader.readuntil(b"\n")).strip()
        if not line:
            break
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    else:
        raise errors.UnavailableError("answers with more than 100 headers")
    code = status[1].decode("latin-1")
    if code.startswith("3"):
        raise errors.UnavailableError(f"answers with a redirect ({code}), which is not followed")
    if code != "200":
        raise errors.UnavailableError(f"answers with status {code[:10]!r}")
    if "html" in headers.get("content-type", "").lower():
        raise errors.UnavailableError("answers with an HTML page, not with metrics")
    return headers


async def _exactly(reader: asyncio.StreamReader, size: int) -> bytes:
    if size > LARGEST_PAGE:
        raise errors.UnavailableError(f"is larger than {LARGEST_PAGE} bytes")
    return await reader.readexactly(size)


async def _until_end(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while part := await reader.read(1 << 16):
        total += len(part)
        if total > LARGEST_PAGE:
            raise errors.UnavailableError(f"is larger than {LARGEST_PAGE} bytes")
        parts.append(part)
    return b"".join(parts)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        text = (await reader.readuntil(b"\n")).partition(b";")[0].strip()
        try:
            size = int(text[:16], 16)
        except ValueError:
            raise errors.UnavailableError("answers with broken chunks") from None
        total += size
        if size < 0 or total > LARGEST_PAGE:
            raise errors.UnavailableError(f"is larger than {LARGEST_PAGE} bytes")
        if size == 0:
            return b"".join(parts)
        parts.append(await reader.readexactly(size))
        await reader.readuntil(b"\n")


def parse(page: bytes, metrics: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Metric name to (value, RFC3339 time or empty) of the samples that are wanted and unambiguous."""
    plain: dict[str, list[tuple[str, str]]] = {}
    labelled: dict[str, list[tuple[str, str]]] = {}
    wanted = frozenset(metrics)
    for line in page.decode(errors="replace").split("\n"):
        name, labels, rest = _sample(line.strip())
        if name not in wanted:
            continue
        words = rest.split()
        if not 1 <= len(words) <= 2 or metric_values.number(words[0]) is None:
            continue
        (labelled if labels else plain).setdefault(name, []).append((words[0], _time(words[1:])))
    found = {}
    for name in wanted:
        candidates = plain.get(name) or labelled.get(name) or []
        if len(candidates) == 1:
            found[name] = candidates[0]
    return found


def _sample(line: str) -> tuple[str, str, str]:
    """Name, labels and the rest of a sample line."""
    if not line or line[0] == "#":
        return "", "", ""
    brace = line.find("{")
    blank = next((index for index, sign in enumerate(line) if sign in " \t"), len(line))
    if brace < 0 or blank < brace:
        return line[:blank], "", line[blank:]
    quoted = escaped = False
    for index in range(brace + 1, len(line)):
        sign = line[index]
        if escaped:
            escaped = False
        elif quoted and sign == "\\":
            escaped = True
        elif sign == '"':
            quoted = not quoted
        elif sign == "}" and not quoted:
            return line[:brace].strip(), line[brace + 1 : index].strip(), line[index + 1 :]
    return "", "", ""


def _time(words: list[str]) -> str:
    """Milliseconds since 1970."""
    try:
        return metric_values.from_nanoseconds(int(words[0]) * 1_000_000) if words and words[0].isascii() else ""
    except ValueError:
        return ""


def _is_one_word(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
