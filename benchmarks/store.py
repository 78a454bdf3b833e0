"""What the object store and the observation log cost: ``python benchmarks/store.py [--quick]``.

Every figure stands beside plain ``sqlite3`` on the same disk in the same run, alternating: a table of texts in WAL mode with
``synchronous=FULL``, one INSERT per write. Ratios are what counts; seconds are those of the machine and its load.

1. Writes that are awaited one by one (each one fsync), and writes awaited in groups of a hundred.
2. One change to many watchers, per event, against one watcher.
3. Memory and file size per object.
4. Metric rows per second, and what a short trial costs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

from kuttab.api import kinds, meta
from kuttab.base import clock, json_text
from kuttab.observations import sql
from kuttab.ports.observations import Row, TrialKey
from kuttab.store import objects
from kuttab.testing import builders

ROUNDS = 3


def store(path: Path) -> objects.Store:
    return objects.Store(path, clock=clock.SystemClock())


def plain(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, name TEXT, body BLOB)")
    return connection


def show(what: str, ours: float, theirs: float | None, unit: str, target: float | None = None) -> None:
    line = f"  {what:<46} {ours:>12,.1f} {unit}"
    if theirs is not None:
        ratio = ours / theirs
        line += f"   plain sqlite3 {theirs:>12,.1f}   ratio {ratio:.2f}"
        if target is not None:
            line += f"   target {'>=' if target < 1 else '<='} {target:g}: "
            line += "met" if (ratio >= target if target < 1 else ratio <= target) else "MISSED"
    print(line, flush=True)


async def rate(count: int, work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Writes per second, and CPU microseconds a write (of all threads)."""
    begin, cpu = time.perf_counter(), time.process_time()
    await work()
    return count / (time.perf_counter() - begin), (time.process_time() - cpu) / count * 1e6


def compare(
    what: str, ours: list[tuple[float, float]], theirs: list[tuple[float, float]], target: float | None
) -> None:
    """Medians of several rounds."""
    (mine, my_cpu), (other, other_cpu) = (map(statistics.median, zip(*found, strict=True)) for found in (ours, theirs))
    show(what, mine, other, "/s  ", target)
    show("  CPU", my_cpu, other_cpu, "us  ")


def size(folder: Path, pattern: str) -> int:
    """Bytes of a database with its companions."""
    return sum(found.stat().st_size for found in folder.glob(pattern))


async def writes(folder: Path, count: int) -> None:
    """Trials created one by one, and in groups."""
    body = json_text.dumps(meta.dump(builders.trial("t")))
    for group, target in ((1, 0.3), (100, None)):
        ours, theirs = [], []
        for number in range(ROUNDS):
            async with store(folder / f"s{group}-{number}.db") as opened:
                trials = [builders.trial(f"t{i:05}") for i in range(count)]

                async def mine(opened: objects.Store = opened, trials: list[Any] = trials, group: int = group) -> None:
                    for start in range(0, count, group):
                        for obj in trials[start : start + group]:
                            opened.create(obj)
                        await opened.settle()

                ours.append(await rate(count, mine))
            with contextlib.closing(plain(folder / f"p{group}-{number}.db")) as connection:

                async def bare(connection: sqlite3.Connection = connection, group: int = group) -> None:
                    for start in range(0, count, group):
                        connection.execute("BEGIN")
                        for i in range(start, min(start + group, count)):
                            connection.execute("INSERT INTO log (name, body) VALUES (?, ?)", (f"t{i}", body))
                        connection.execute("COMMIT")

                theirs.append(await rate(count, bare))
        compare(f"objects created, {group} per commit", ours, theirs, target)


async def fan_out(folder: Path, changes: int) -> None:
    """One writer, many watchers that all read what they are told."""
    costs = {}
    for watchers in (1, 100):
        async with store(folder / f"w{watchers}.db") as opened:
            obj = opened.create(builders.config_map("c"))
            streams = [opened.watch(kinds.CONFIG_MAP, resource_version=str(opened.revision)) for _ in range(watchers)]

            async def follow(stream: Any) -> None:
                for _ in range(changes):
                    await anext(stream)

            begin = time.process_time()
            readers = [asyncio.create_task(follow(stream)) for stream in streams]
            for number in range(changes):
                obj = opened.update(meta.evolve(obj, data={"n": str(number)}))
                await asyncio.sleep(0)
            await asyncio.gather(*readers)
            costs[watchers] = (time.process_time() - begin) / changes * 1e6
    each = (costs[100] - costs[1]) / 99
    print(f"  {'CPU of a change with one watcher':<46} {costs[1]:>12,.1f} us")
    print(f"  {'CPU of each further watcher':<46} {each:>12,.1f} us   ({each / costs[1]:.3f} of a change)", flush=True)


async def memory(folder: Path, count: int) -> None:
    """Resident bytes and bytes on disk per trial."""
    process = psutil.Process()
    body = len(json_text.dumps(meta.dump(builders.trial("t00000"))))
    path = folder / "m.db"
    async with store(path) as opened:
        gc.collect()
        before = process.memory_info().rss
        for i in range(count):
            opened.create(builders.trial(f"t{i:05}"))
            if i % 200 == 199:
                await opened.settle()
        gc.collect()
        grown = (process.memory_info().rss - before) / count
    ours = size(folder, "m.db*") / count
    with contextlib.closing(plain(folder / "q.db")) as connection, connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO log (name, body) VALUES (?, ?)", ((f"t{i}", b"x" * body) for i in range(count))
        )
        connection.execute("COMMIT")
    theirs = size(folder, "q.db*") / count
    show(f"bytes on disk per trial of {body} bytes", ours, theirs, "B   ", 3.0)
    print(f"  {f'resident memory per trial ({count} trials)':<46} {grown:>12,.1f} B", flush=True)


async def rows(folder: Path, count: int) -> None:
    """One report of many rows, and many short trials."""
    report = [Row("loss", str(i / 7), "2024-01-01T00:00:00Z") for i in range(count)]
    ours, theirs = [], []
    for number in range(ROUNDS):
        log = sql.SqlObservations(f"sqlite:///{folder}/o{number}.db")
        await log.open()
        ours.append(await rate(count, lambda log=log: log.report(TrialKey("u", "t"), "pod", 0, report)))
        await log.close()
        with contextlib.closing(plain(folder / f"op{number}.db")) as connection:

            async def bare(connection: sqlite3.Connection = connection) -> None:
                connection.execute("BEGIN")
                connection.executemany(
                    "INSERT INTO log (name, body) VALUES (?, ?)", ((row.metric, row.value) for row in report)
                )
                connection.execute("COMMIT")

            theirs.append(await rate(count, bare))
    compare(f"metric rows, {count} in a report", ours, theirs, None)
    log = sql.SqlObservations(f"sqlite:///{folder}/short.db")
    await log.open()
    begin = time.process_time()
    for i in range(200):
        await log.complete(TrialKey(f"u{i}", f"t{i}"), "pod", 0, report[:5])
    cost = (time.process_time() - begin) / 200 * 1e3
    await log.close()
    print(f"  {'CPU of a trial with five rows':<46} {cost:>12,.2f} ms", flush=True)


async def main(quick: bool) -> None:
    scale = 10 if quick else 1
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory(dir=".") as name:  # a disk, where /tmp may be memory
        folder = Path(name)
        await writes(folder, 1000 // scale)
        await fan_out(folder, 500 // scale)
        await memory(folder, 20_000 // scale)
        await rows(folder, 100_000 // scale)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    asyncio.run(main(parser.parse_args().quick))
