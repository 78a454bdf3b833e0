"""Where trials report over HTTP: an address that stays, a secret that nobody else reads, and nothing loaded for nobody."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from kuttab.apiserver import server
from kuttab.base import errors
from kuttab.node import reports
from kuttab.wiring import reporting


class Kubelet:
    """One that runs nothing."""

    def __init__(self) -> None:
        self.runs: dict[str, Any] = {}


def opened(data: Path) -> reporting.Endpoint:
    """An endpoint over a data folder."""
    made = reporting.Endpoint(data)
    made.attach(Kubelet())  # type: ignore[arg-type]
    return made


def port(url: str) -> int:
    """The port of an address."""
    return urllib.parse.urlsplit(url).port or 0


async def test_an_address_stays_over_lives(tmp_path: Path) -> None:
    """Each pod has its own address; another life of the same data folder gives it the same one, another folder another."""
    (tmp_path / "other").mkdir()
    first = opened(tmp_path)
    urls = [first.url("a"), first.url("b")]
    first.close()
    again, other = opened(tmp_path), opened(tmp_path / "other")
    assert [again.url("a"), again.url("b")] == urls
    assert urls[0] != urls[1]
    assert other.url("a").rpartition("/")[2] != urls[0].rpartition("/")[2]
    again.close()
    other.close()
    assert again.url("a") == ""


async def test_what_is_kept_is_its_users_alone(tmp_path: Path) -> None:
    """The secret lies in a file of mode 0600; one that others could read, or that holds none, is replaced."""
    file = tmp_path / reporting.FILE
    seen = set()
    for spoil in (
        lambda: None,
        lambda: file.chmod(0o644),
        lambda: file.write_text("{"),
        lambda: file.write_text('{"secret": "00", "port": 1}'),
        lambda: file.write_text(json.dumps({"secret": "00" * 32, "port": 70_000})),
        lambda: file.write_bytes(b"\xff"),
    ):
        spoil()
        endpoint = opened(tmp_path)
        seen.add(endpoint.url("a").rpartition("/")[2])
        endpoint.close()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(seen) == 6


async def test_a_port_that_another_has_is_given_up(tmp_path: Path) -> None:
    """When the port is taken meanwhile a free one is used, and kept from then on; the rest of the address is the same."""
    first = opened(tmp_path)
    url = first.url("a")
    first.close()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port(url)))
        taken.listen()
        second = opened(tmp_path)
        moved = second.url("a")
        second.close()
    assert port(moved) != port(url)
    assert urllib.parse.urlsplit(moved).path == urllib.parse.urlsplit(url).path
    third = opened(tmp_path)
    assert third.url("a") == moved
    third.close()


async def test_where_nothing_can_listen_or_be_kept_trials_run_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a socket there is no address; without a place for the file there is one for this life."""
    lost = opened(tmp_path / "gone")
    assert port(lost.url("a"))
    lost.close()

    def refuse(_: int) -> socket.socket:
        raise OSError("no loopback")

    monkeypatch.setattr(reporting, "_listen", refuse)
    endpoint = opened(tmp_path)
    assert endpoint.url("a") == endpoint.url("b") == ""
    endpoint.close()


@pytest.mark.parametrize("slip", ["", "a", "a.", ".", "a.0", "b.{mac}", "a.{mac}0", "a.{MAC}", "{mac}", "a..{mac}"])
async def test_only_the_whole_token_is_one(tmp_path: Path, slip: str) -> None:
    """A token is for one pod, and every other text is for none; a pod that does not run here has ended."""
    endpoint = opened(tmp_path)
    mac = endpoint.url("a").rpartition(".")[2]
    try:
        with pytest.raises(errors.NotFoundError):
            await endpoint.admit(slip.format(mac=mac, MAC=mac.upper()))
        assert await endpoint.admit(f"a.{mac}") == "a"
        with pytest.raises(reports.EndedError):
            await endpoint.should_stop("a")
        with pytest.raises(reports.EndedError):
            await endpoint.take("a", [])
    finally:
        endpoint.close()


@pytest.mark.parametrize("which", ["reports", "api"])
async def test_small_answers_are_sent_at_once(tmp_path: Path, which: str) -> None:
    """Connections do not wait to fill a packet, which would cost a client that keeps its connection 40 ms an answer."""
    listener = reporting._listen(0) if which == "reports" else server.listen(server.Address())
    seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Probe(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            seen.set_result(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async with await asyncio.get_running_loop().create_server(Probe, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await seen
        writer.close()


async def test_it_serves_from_the_first_connection_on(tmp_path: Path) -> None:
    """A connection that comes before the server is loaded is answered; the end of the run ends the server."""
    endpoint = opened(tmp_path)
    at = urllib.parse.urlsplit(endpoint.url("a"))
    serving = asyncio.create_task(endpoint.run())
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    writer.write(f"GET {at.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 410 ")
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    endpoint.close()
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", at.port)


def test_nothing_is_loaded_until_somebody_reports() -> None:
    """The node brings neither the HTTP server nor its framework into the process."""
    heavy = "('uvicorn', 'starlette', 'h11')"
    code = (
        f"import sys; from kuttab.wiring import machine; print([n for n in sys.modules if n.split('.')[0] in {heavy}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
