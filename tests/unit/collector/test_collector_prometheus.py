"""Scraping a trial's own page, from real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from kuttab.api.metrics import Row
from kuttab.base import errors
from kuttab.collector import prometheus
from kuttab.ports.observations import Position

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
PAGE = b'# HELP loss x\n# TYPE loss gauge\nloss 0.5\nacc{split="val"} 1e-3 1700000000500\nother 7\n'


@contextlib.asynccontextmanager
async def page(answer: bytes | Answer) -> AsyncIterator[prometheus.Endpoint]:
    """A server on a free port that answers every request in this way."""
    idle = asyncio.Event()
    idle.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        idle.clear()
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
            if answer is _silent:
                await reader.read()  # until the client has gone
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()
        idle.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield prometheus.Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], headers=(("X-Test", "1"),))
        await idle.wait()


def ok(body: bytes, *headers: bytes) -> bytes:
    """An answer."""
    return b"HTTP/1.1 200 OK\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


@pytest.mark.parametrize(
    "answer",
    [
        ok(PAGE, b"Content-Length: %d" % len(PAGE), b"Content-Type: text/plain; version=0.0.4"),
        ok(PAGE),
        ok(b"%x;ext=1\r\n%s\r\n5\r\nz 1\nq\r\n0\r\n\r\n" % (len(PAGE), PAGE), b"Transfer-Encoding: chunked"),
        b"HTTP/1.0 200 OK\n\n" + PAGE,
    ],
)
async def test_pages_of_every_framing(answer: bytes) -> None:
    """A length, chunks, or the end of the connection end a page; values keep their spelling, sample times are taken."""
    async with page(answer) as where:
        samples = prometheus.parse(await prometheus.fetch(where), ["loss", "acc", "gone"])
    assert samples == {"loss": ("0.5", ""), "acc": ("1e-3", "2023-11-14T22:13:20.5Z")}


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(ok(b""))
    while True:
        writer.write(b"l")
        await writer.drain()
        await asyncio.sleep(0.01)


async def _flood(writer: asyncio.StreamWriter) -> None:
    writer.write(ok(b""))
    while True:
        writer.write(b"x" * (1 << 20))
        await writer.drain()


async def _silent(writer: asyncio.StreamWriter) -> None:
    """Says nothing."""


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n", "redirect"),
        (b"HTTP/1.1 500 No\r\n\r\n", "status '500'"),
        (ok(b"<html>loss 1</html>", b"Content-Type: text/html"), "HTML"),
        (ok(b"x", b"Content-Length: 10000000000"), "larger than"),
        (ok(b"x", b"Content-Length: 10"), "connection lost"),
        (ok(b"zz\r\n", b"Transfer-Encoding: chunked"), "broken chunks"),
        (ok(b"-5\r\n", b"Transfer-Encoding: chunked"), "larger than"),
        (ok(b"ffffffffff\r\n", b"Transfer-Encoding: chunked"), "larger than"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"x" * 200_000, "connection lost"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, "more than 100 headers"),
        (b"", "connection lost"),
        (_flood, "larger than"),
        (_drip, "did not answer within"),
        (_silent, "did not answer within"),
    ],
)
async def test_f18_hostile_pages(answer: bytes | Answer, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """F18, H-13: redirects, floods, drips, silence and nonsense end soon, each with its reason."""
    monkeypatch.setattr(prometheus, "DEADLINE", 0.5)
    started = time.monotonic()
    async with page(answer) as where:
        with pytest.raises(errors.UnavailableError, match=reason):
            await prometheus.fetch(where)
    assert time.monotonic() - started < 5


async def test_nobody_listens() -> None:
    """A port without a server is told as such."""
    async with page(b"") as where:
        pass
    with pytest.raises(errors.UnavailableError, match="cannot be read"):
        await prometheus.fetch(where)


@pytest.mark.parametrize(
    ("text", "samples"),
    [
        (b'loss{a="}",b="\\"x"} 1\n', {"loss": ("1", "")}),
        (b'loss{a="1"} 1\nloss{a="2"} 2\n', {}),
        (b'loss{a="1"} 1\nloss 3\n', {"loss": ("3", "")}),
        (b"loss 1\nloss 2\n", {}),
        (b"loss NaN\n", {"loss": ("NaN", "")}),
        (b"loss +Inf\n", {"loss": ("+Inf", "")}),
        (b"loss 1_000\nlossy 1\n loss_total 3\n", {}),
        (b"loss\n", {}),
        (b"loss 1 2 3\n", {}),
        (b"loss\t1\t-1500\r\n", {"loss": ("1", "1969-12-31T23:59:58.5Z")}),
        (b"loss 1 999999999999999999999\n", {"loss": ("1", "")}),
        (b'loss{a="1 1\n', {}),
        (b"\xff\xfe loss 1\n", {}),
    ],
)
def test_samples(text: bytes, samples: dict[str, tuple[str, str]]) -> None:
    """Names compare exactly, labels may hold anything, and several samples of one name are no value: no guess."""
    assert prometheus.parse(text, ["loss"]) == samples


async def test_a_value_is_a_row_when_it_changes() -> None:
    """The rate of scraping says nothing: a value is reported when it, or its own time, changed."""
    body = PAGE

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(ok(body))

    async with page(answer) as where:
        source = prometheus.Prometheus(where, ["loss", "acc"])
        source.resume(Position(1, False, (Row("acc", "1e-3", "2023-11-14T22:13:20.5Z"),)))
        rows = await scraped(source)
        assert rows == [Row("loss", "0.5")]
        assert await scraped(source) == []
        body = PAGE.replace(b"0.5", b"0.25")
        assert await scraped(source) == [Row("loss", "0.25")]
        assert source.remarks() == []
    assert await source.close(clean=True) == []


async def scraped(source: prometheus.Prometheus) -> list[Row]:
    """Rows of the next scrape: polls never wait, so they are repeated until it has ended."""
    rows = await source.poll()
    while source._scrape is None:
        rows += await source.poll()
    await asyncio.wait([source._scrape])
    return rows + await source.poll()


async def test_a_page_that_hangs_holds_no_poll_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls return at once while a scrape runs, and the end waits for it no longer than its deadline."""
    monkeypatch.setattr(prometheus, "DEADLINE", 0.3)
    async with page(_silent) as where:
        source = prometheus.Prometheus(where, ["loss"])
        started = time.monotonic()
        for _ in range(20):
            assert await source.poll() == []
        assert time.monotonic() - started < 0.2
        assert await source.close(clean=True) == []
        assert "did not answer within" in source.remarks()[0]
