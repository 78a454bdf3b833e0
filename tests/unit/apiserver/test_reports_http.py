"""The door for reports over HTTP, over real sockets: what it answers to curl, to slips and to enemies."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
from collections.abc import AsyncIterator, Sequence

import httpx2 as httpx
import pytest

from kuttab.apiserver import protocol, reports, server
from kuttab.base import errors
from kuttab.rules import reported

PATH = "/report/pod.token"


class Attempts:
    """One attempt that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[list[reported.Report], str]] = []
        self.stop = False
        self.trouble: Exception | None = None

    async def admit(self, token: str) -> str:
        """Only one token is good."""
        if token != "pod.token":
            raise errors.NotFoundError("no trial has this address")
        return "pod"

    async def take(self, pod_uid: str, found: Sequence[reported.Report], key: str = "") -> reported.Taken:
        """Remember it."""
        assert pod_uid == "pod"
        if self.trouble is not None:
            raise self.trouble
        self.told.append((list(found), key))
        return reported.Taken(sum(len(report.values) for report in found), 0, ["a=1"], self.stop)

    async def should_stop(self, pod_uid: str) -> bool:
        """As set."""
        assert pod_uid == "pod"
        return self.stop


@contextlib.asynccontextmanager
async def serving(
    limits: protocol.Limits = protocol.DEFAULTS,
) -> AsyncIterator[tuple[httpx.AsyncClient, Attempts, int]]:
    """The application on a free port."""
    attempts = Attempts()
    listener = server.listen(server.Address())
    port = listener.getsockname()[1]
    async with (
        server.hosting(reports.Reports(attempts), listener, limits=limits, drain=0.1),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http,
    ):
        yield http, attempts, port


@pytest.fixture
async def door() -> AsyncIterator[tuple[httpx.AsyncClient, Attempts]]:
    """The application, and what stands behind it."""
    async with serving() as (http, attempts, _):
        yield http, attempts


Door = tuple[httpx.AsyncClient, Attempts]


async def test_forms_and_json_are_taken(door: Door) -> None:
    """curl -d, curl --json and gzip arrive as the same report; the answer says what became of it, and is one line."""
    http, attempts = door
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for content, headers in (
        (b"step=3&loss=0.1", form),
        (b'{"step":3,"loss":0.1}', form),
        (b'[{"step":3,"loss":0.1}]', {"Content-Type": "application/json; charset=utf-8"}),
        (b"step=3&loss=0.1", {}),
        (gzip.compress(b"step=3&loss=0.1"), {**form, "Content-Encoding": "gzip"}),
    ):
        answer = await http.post(PATH, content=content, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.text == '{"shouldStop":false,"stored":2,"repeated":0,"ignored":["a\\u003d1"]}\n'
    assert attempts.told == [([reported.Report("3", {"step": "3", "loss": "0.1"})], "")] * 5


async def test_the_answer_says_when_to_stop(door: Door) -> None:
    """POST and GET say it in the same words, and HEAD is GET without them."""
    http, attempts = door
    assert (await http.get(PATH)).text == '{"shouldStop":false}\n'
    attempts.stop = True
    assert (await http.get(PATH)).text == '{"shouldStop":true}\n'
    assert (await http.post(PATH, data={"loss": "1"})).text.startswith('{"shouldStop":true,')
    head = await http.head(PATH)
    assert (head.status_code, head.text) == (200, "")
    assert len(attempts.told) == 1


async def test_a_large_batch_is_taken(door: Door) -> None:
    """What was saved up for hours goes in one request."""
    http, attempts = door
    answer = await http.post(PATH, json=[{"step": step, "loss": step / 3} for step in range(10_000)])
    assert answer.json()["stored"] == 20_000
    assert [report.step for report in attempts.told[0][0]] == [str(step) for step in range(10_000)]


async def test_a_key_is_handed_on(door: Door) -> None:
    """An Idempotency-Key goes with the report; one that is none is refused."""
    http, attempts = door
    await http.post(PATH, data={"loss": "1"}, headers={"Idempotency-Key": "7f-3"})
    assert attempts.told[0][1] == "7f-3"
    for key in ("a b", "x" * 256, "\xe9"):
        answer = await http.post(PATH, data={"loss": "1"}, headers={b"Idempotency-Key": key.encode("latin-1")})
        assert answer.status_code == 400
    assert len(attempts.told) == 1


@pytest.mark.parametrize(
    "path",
    ["/", "/report", "/report/", "/report/pod.tokem", "/report/pod.token/", "/report/pod.token/x", "//report/pod.token",
     "/report/../report/pod.token", "/report/%70od.token", "/report/pod.token%00", "/report/pod%2etoken", "/REPORT/pod.token",
     "/report/" + "x" * 5000, "/apis", "/report/pod.token;x", "/report/.", "/report/.."],
)  # fmt: skip
async def test_only_the_exact_address_opens(path: str) -> None:
    """Any other path, however close, is not there, for every method; nothing is told about what is."""
    async with serving() as (_, attempts, port):
        for method in ("GET", "POST"):
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\nloss=1"
            answer = await talk(port, head.encode())
            assert answer.startswith(b"HTTP/1.1 404 "), answer
            assert answer.rpartition(b"\r\n\r\n")[2].startswith(b'{"error":"no')
        assert attempts.told == []


@pytest.mark.parametrize(
    ("method", "query", "headers", "content", "code"),
    [
        ("PUT", "", {}, b"loss=1", 405),
        ("DELETE", "", {}, b"", 405),
        ("OPTIONS", "", {}, b"", 405),
        ("GET", "?step=1&loss=2", {}, b"", 400),
        ("POST", "?loss=2", {}, b"loss=1", 400),
        ("POST", "", {}, b"", 400),
        ("POST", "", {}, b"\xff", 400),
        ("POST", "", {"Content-Type": "application/json"}, b"loss=1", 400),
        ("POST", "", {"Content-Type": "text/plain"}, b"loss=1", 415),
        ("POST", "", {"Content-Type": "multipart/form-data; boundary=x"}, b"--x--", 415),
        ("POST", "", {"Content-Type": "application/json; charset=utf-16"}, b"{}", 415),
        ("POST", "", {"Content-Encoding": "br"}, b"loss=1", 415),
        ("POST", "", {}, b"loss=x=1", 422),
        ("POST", "", {"Content-Type": "application/json"}, b'{"loss":null}', 422),
        ("POST", "", {"Content-Type": "application/json"}, b"7", 422),
    ],
)
async def test_wrong_requests(
    door: Door, method: str, query: str, headers: dict[str, str], content: bytes, code: int
) -> None:
    """What is wrong is refused in one line of JSON that no collector takes for a metric, and nothing is stored."""
    http, attempts = door
    answer = await http.request(method, PATH + query, headers=headers, content=content or None)
    assert answer.status_code == code, answer.text
    assert list(answer.json()) == ["error"]
    assert "=" not in answer.text
    assert answer.text.count("\n") == 1
    assert attempts.told == []
    if code == 405:
        assert answer.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("trouble", "code", "shown"),
    [
        (errors.UnavailableError("the report could not be stored"), 503, "could not be stored"),
        (errors.AlreadyExistsError("loss of step 1 was reported"), 409, "was reported"),
        (errors.RefusedError("its collector reads something else"), 422, "something else"),
        (RuntimeError("secret"), 500, "its log has the details"),
    ],
)
async def test_troubles_keep_their_codes(door: Door, trouble: Exception, code: int, shown: str) -> None:
    """A code says whether to send again (503) or not; the details of a fault of ours are not told."""
    http, attempts = door
    attempts.trouble = trouble
    answer = await http.post(PATH, data={"loss": "1"})
    assert answer.status_code == code
    assert shown in answer.json()["error"]
    assert "secret" not in answer.text


async def test_huge_bodies_are_refused(door: Door) -> None:
    """Beyond a mebibyte nothing is read, nor unpacked; the sender learns why, and the next request is answered."""
    http, attempts = door
    huge = b"loss=1&" + b"x" * reports.MAX_BYTES
    bomb = gzip.compress(b" " * 20_000_000)
    for content, headers in ((huge, {}), (bomb, {"Content-Encoding": "gzip"})):
        answer = await http.post(PATH, content=content, headers=headers)
        assert answer.status_code == 413
        assert "1048576" in answer.json()["error"]
    assert (await http.post(PATH, data={"loss": "1"})).status_code == 200
    assert len(attempts.told) == 1


async def talk(port: int, raw: bytes, *, half: bool = False) -> bytes:
    """Send bytes as they are, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        if half:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


async def test_slow_and_broken_clients_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head or a body that does not come, a head that does not end, and what is no HTTP end in time; others are served."""
    monkeypatch.setattr(reports, "BODY_SECONDS", 0.1)
    limits = protocol.Limits(connections=8, head_seconds=0.1, head_bytes=1024)
    async with serving(limits) as (http, attempts, port):
        start = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()
        slow, late, long, other, cut = await asyncio.gather(
            talk(port, start),
            talk(port, start + b"Content-Length: 50\r\n\r\nloss="),
            talk(port, start + b"X: " + b"x" * 5000),
            talk(port, b"\x16\x03\x01\x00\x01"),
            talk(port, start + b"Content-Length: 50\r\n\r\nloss=1", half=True),
        )
        assert [re.findall(rb"^HTTP/1.1 (\d+)", answer) for answer in (slow, late, long, other)] == [
            [b"408"], [b"408"], [b"400"], [b"400"],
        ]  # fmt: skip
        assert b" 200 " not in cut
        assert (await http.post(PATH, data={"loss": "1"})).status_code == 200
        assert len(attempts.told) == 1
