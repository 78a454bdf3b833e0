"""How quick the HTTP API and the db-manager are: prints figures beside their targets; asserts nothing.

Run ``make bench-api``. The server is ``kuttab serve`` as a process; clients are processes too, so that they do not share its interpreter.
Gets are measured twice: at a steady pace of 10 a second for each of 100 clients (what an answer costs), and as fast as 100 clients go.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

OBJECTS = 5_000
CLIENTS = 100
WATCHERS = 100
ROWS = 100_000
MAPS = "/api/v1/namespaces/default/configmaps"
EXPERIMENTS = "/apis/kubeflow.org/v1beta1/namespaces/default/experiments"


@contextlib.contextmanager
def serving(data: Path) -> Iterator[dict[str, Any]]:
    started = time.perf_counter()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "kuttab",
            "serve",
            "--data",
            str(data),
            "--port",
            "0",
            "--db-manager-port",
            "0",
            "--json",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        said["ready"] = time.perf_counter() - started
        said["pid"] = process.pid
        said["token"] = Path(said["tokenFile"]).read_text().strip()
        yield said
    finally:
        process.terminate()
        process.wait(60)


class Wire:
    """One keep-alive connection, as thin as can be: the client must not be what is measured."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._host, _, port = said["url"].removeprefix("http://").partition(":")
        self._port = int(port)
        self._token = said["token"]

    async def open(self) -> Wire:
        self.reader, self.writer = await asyncio.open_connection(self._host, self._port, limit=1 << 22)
        return self

    def send(self, method: str, path: str, body: bytes = b"") -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = text.split("\r\n")
        return int(first.split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in rest if line)}

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        self.send(method, path, body)
        code, headers = await self.head()
        return code, await self.reader.readexactly(int(headers["content-length"]))


def experiment(number: int) -> bytes:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from served_api import experiment as made

    return json.dumps(made(f"e{number:05}", suspend=True)).encode()


async def fill(said: dict[str, Any]) -> None:
    template = experiment(0).decode()

    async def some(numbers: range) -> None:
        wire = await Wire(said).open()
        for number in numbers:
            code, text = await wire.ask("POST", EXPERIMENTS, template.replace("e00000", f"e{number:05}").encode())
            assert code == 201, text

    await asyncio.gather(*(some(range(start, OBJECTS, 20)) for start in range(20)))


def at_percent(values: list[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def get_clients(said: dict[str, Any], clients: int, seconds: float, pause: float) -> list[float]:
    """Latencies of gets by that many clients of one process."""

    async def client(number: int) -> list[float]:
        wire = await Wire(said).open()
        found: list[float] = []
        await asyncio.sleep(pause * number / max(1, clients))
        end = time.perf_counter() + seconds
        step = 0
        due = time.perf_counter()
        while time.perf_counter() < end:
            name = f"e{(number * 7919 + step * 104729) % OBJECTS:05}"
            start = time.perf_counter()
            code, _ = await wire.ask("GET", f"{EXPERIMENTS}/{name}")
            found.append(time.perf_counter() - start)
            assert code == 200
            step += 1
            due += pause
            if pause:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
        return found

    async def main() -> list[float]:
        return list(itertools.chain(*await asyncio.gather(*(client(number) for number in range(clients)))))

    return asyncio.run(main())


def gets(said: dict[str, Any], seconds: float, pause: float) -> tuple[float, float, float]:
    """p50, p99 in milliseconds and requests a second."""
    processes = 2
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        parts = pool.starmap(get_clients, [(said, CLIENTS // processes, seconds, pause)] * processes)
    values = list(itertools.chain(*parts))
    return statistics.median(values) * 1000, at_percent(values, 99) * 1000, len(values) / seconds


async def lists(said: dict[str, Any], times: int = 30) -> tuple[float, float]:
    wire = await Wire(said).open()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        code, text = await wire.ask("GET", f"{EXPERIMENTS}?limit=500")
        found.append(time.perf_counter() - start)
        assert code == 200
        assert text.count(b'"uid"') >= 500
    return statistics.median(found) * 1000, max(found) * 1000


async def fan_out(said: dict[str, Any], times: int = 20) -> tuple[float, float]:
    """From the moment a change is sent until the last of all watchers has it."""
    _, text = await (await Wire(said).open()).ask("GET", f"{MAPS}?limit=1")
    version = json.loads(text)["metadata"]["resourceVersion"]
    watchers = [await Wire(said).open() for _ in range(WATCHERS)]
    for wire in watchers:
        wire.send("GET", f"{MAPS}?watch=true&resourceVersion={version}")
        await wire.head()
    writer = await Wire(said).open()
    found = []
    for number in range(times):
        body = json.dumps({"metadata": {"name": f"m{number}"}, "data": {"a": "x" * 200}}).encode()
        marker = f'"m{number}"'.encode()

        async def see(wire: Wire, marker: bytes = marker) -> None:
            while marker not in await wire.reader.readline():
                pass

        start = time.perf_counter()
        seen = asyncio.gather(*(see(wire) for wire in watchers))
        code, text = await writer.ask("POST", MAPS, body)
        assert code == 201, text
        await seen
        found.append(time.perf_counter() - start)
    return statistics.median(found) * 1000, max(found) * 1000


async def report(said: dict[str, Any]) -> float:
    """Seconds until the rows of one running trial are stored, over gRPC."""
    from kuttab.ports import observations
    from kuttab.rpc import dbmanager

    wire = await Wire(said).open()
    document = json.loads(experiment(0))
    document["metadata"]["name"] = "measured"
    document["spec"] |= {"suspend": False, "metricsCollectorSpec": {"collector": {"kind": "Push"}}}
    container = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["sh", "-c", "sleep 600 # ${trialParameters.x}"]
    code, text = await wire.ask("POST", EXPERIMENTS, json.dumps(document).encode())
    assert code == 201, text
    wire.send("GET", EXPERIMENTS.replace("experiments", "trials") + "?watch=true")
    await wire.head()
    while not (text := await wire.reader.readline()).startswith(b"{"):
        pass
    name = json.loads(text)["object"]["metadata"]["name"]
    rows = [
        observations.Row(
            "loss", str(number), f"2026-01-01T00:{number // 60000:02}:{number // 1000 % 60:02}.{number % 1000:03}Z"
        )
        for number in range(ROWS)
    ]
    client = dbmanager.DbManagerClient(said["dbManager"])
    start = time.perf_counter()
    await client.report(name, rows)
    took = time.perf_counter() - start
    found = await client.read(name)
    assert len(found) == ROWS
    await client.close()
    return took


class Spent:
    """Time of the server's processor and of the clock: the first says what the work costs when the machine is busy with others."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.wall = self.processor = 0.0

    def __str__(self) -> str:
        return f"; server CPU {self.processor / max(1, self.count) * 1000:.2f} ms each"


@contextlib.contextmanager
def cpu(said: dict[str, Any], count: int = 1) -> Iterator[Spent]:
    process = psutil.Process(said["pid"])
    before, start = process.cpu_times(), time.perf_counter()
    spent = Spent(count)
    yield spent
    spent.wall = time.perf_counter() - start
    after = process.cpu_times()
    spent.processor = after.user + after.system - before.user - before.system


def line(what: str, value: float, unit: str, target: float, note: str = "") -> None:
    print(
        f"{what:<46}{value:>10.1f} {unit:<4} target {target:>6g} {unit:<4}{'ok' if value <= target else 'MISSED':<8}{note}"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=10, help="how long gets are measured")
    seconds = options.parse_args().seconds
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "data") as said:
        line("ready after", said["ready"] * 1000, "ms", 1000)
        with cpu(said, OBJECTS) as spent:
            asyncio.run(fill(said))
        print(f"created {OBJECTS} experiments in {spent.wall:.1f} s ({OBJECTS / spent.wall:.0f}/s){spent}")
        with cpu(said) as spent:
            middle, high, rate = gets(said, seconds, 0.1)
            spent.count = int(rate * seconds)
        line("get p99, 100 clients at 10/s each", high, "ms", 20, f"p50 {middle:.1f} ms, {rate:.0f}/s{spent}")
        with cpu(said) as spent:
            middle, high, rate = gets(said, seconds, 0.0)
            spent.count = int(rate * seconds)
        line("get p99, 100 clients without pause", high, "ms", 20, f"p50 {middle:.1f} ms, {rate:.0f}/s{spent}")
        with cpu(said, 30) as spent:
            middle, high = asyncio.run(lists(said))
        line("list page of 500, median", middle, "ms", 100, f"worst {high:.1f} ms{spent}")
        with cpu(said, 20) as spent:
            middle, high = asyncio.run(fan_out(said))
        line("change to the last of 100 watchers, median", middle, "ms", 50, f"worst {high:.1f} ms{spent}")
        with cpu(said, 1) as spent:
            took = asyncio.run(report(said))
        line("100,000 rows over gRPC", took, "s", 5, f"{spent}")


if __name__ == "__main__":
    main()
