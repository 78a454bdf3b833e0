"""kill -9 at any moment: what was settled is there, in one piece, and nothing is told twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from kuttab.api import kinds
from kuttab.base import clock, errors
from kuttab.store import log, objects, sqlite
from kuttab.testing import builders

WRITER = """
import asyncio, sys, pathlib
from kuttab.api import kinds, meta
from kuttab.base import clock
from kuttab.store import objects
from kuttab.testing import builders

async def main(path, rounds):
    options = objects.Options(keep_revisions=50)
    async with objects.Store(pathlib.Path(path), clock=clock.SystemClock(), options=options) as store:
        known = [obj.name for obj in store.list(kinds.TRIAL).items]
        base = max([int(name[1:]) for name in known], default=-1) + 1
        print("ready", flush=True)
        for number in range(base, base + rounds):
            made = store.create(builders.trial(f"t{number:06}"))
            made = store.update(meta.evolve(made, metadata=meta.evolve(made.metadata, labels={"n": str(number)})))
            if number >= 5:
                store.delete(kinds.TRIAL, "default", f"t{number - 5:06}")
            await store.settle()
            print(number, store.revision, flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def check(path: Path, acked: tuple[int, int]) -> None:
    """The database is whole and holds everything acknowledged."""
    # Read-only: a connection that may write would move the write-ahead log into the file when it closes.
    with contextlib.closing(sqlite3.connect(path.as_uri() + "?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        # At most one current row a name, every replaced row points to its successor, and the index of terms misses nothing.
        assert not connection.execute(
            "SELECT 1 FROM log WHERE next = 0 GROUP BY kind, namespace, name HAVING count(*) > 1"
        ).fetchall()
        missing = connection.execute(
            "SELECT name FROM log WHERE next = 0 AND kind LIKE '%Trial' AND json_extract(body, '$.metadata.labels.n') IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM term WHERE key = 'n' AND term.name = log.name AND until IS NULL)"
        ).fetchall()
        assert not missing
    asyncio.run(check_objects(path, acked))


async def check_objects(path: Path, acked: tuple[int, int]) -> None:
    """Exactly the acknowledged objects, or those plus a prefix of what followed."""
    last, revision = acked
    async with objects.Store(path, clock=clock.SystemClock()) as store:
        names = [obj.name for obj in store.list(kinds.TRIAL).items]
        assert f"t{last:06}" in names or int(names[0][1:]) > last
        assert all(name in names for name in [f"t{number:06}" for number in range(max(0, last - 3), last)])
        assert store.get(kinds.TRIAL, "default", f"t{last:06}").metadata.labels == {"n": str(last)}
        assert store.revision >= revision


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Twelve kills at random moments of a loop of create, update, delete, settle: nothing acknowledged is ever lost."""
    path = tmp_path / "objects.db"
    rng = random.Random(os.urandom(4).hex())  # the moment of a kill cannot be replayed anyway
    acked = (0, 0)
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), "100000"], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            wanted = rng.randrange(1, 60)
            for _ in range(wanted):
                number, revision = child.stdout.readline().split()
                acked = (int(number), int(revision))
            child.kill()
            rest = child.stdout.read().splitlines()
            if rest and len(rest[-1].split()) == 2 and rest[-1].split()[1].isdigit():
                acked = (int(rest[-1].split()[0]), acked[1])
        check(path, acked)


CALLS = "pwrite64,fsync,fdatasync,ftruncate"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 12, 17, 23, 30, 38, 47, 57, 68, 80])
def test_killed_at_a_system_call(tmp_path: Path, at: int) -> None:
    """SIGKILL at the n-th write or fsync, from the creation of the file on: it opens again with everything acknowledged."""
    path = tmp_path / "objects.db"
    inject = f"inject={CALLS}:signal=SIGKILL:when={at}"
    done = subprocess.run(
        [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"trace={CALLS}",
            "-e",
            inject,
            sys.executable,
            "-c",
            WRITER,
            str(path),
            "12",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip("this system does not let strace trace")
    lines = [line.split() for line in done.stdout.splitlines() if line[:1].isdigit()]
    if done.returncode == 0:
        assert len(lines) == 12
    if lines:
        check(path, (int(lines[-1][0]), int(lines[-1][1])))
    else:
        asyncio.run(opens(path))


async def opens(path: Path) -> None:
    """The store opens and takes a write."""
    async with objects.Store(path, clock=clock.SystemClock()) as store:
        store.create(builders.config_map("again"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
@pytest.mark.parametrize("when", ["12+", "14..16"])
def test_a_failing_fsync_is_never_acknowledged(tmp_path: Path, call: str, when: str) -> None:
    """EIO from fsync once or for ever: nothing is acknowledged while it lasts, and the file stays whole."""
    path = tmp_path / "objects.db"
    command = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:error=EIO:when={when}",
    ]
    try:
        done = subprocess.run(
            [*command, sys.executable, "-c", WRITER, str(path), "12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        output, stderr = done.stdout, done.stderr
    except subprocess.TimeoutExpired as expired:
        output, stderr = (expired.stdout or b"").decode(), (expired.stderr or b"").decode()
    if "ptrace" in stderr:
        pytest.skip("this system does not let strace trace")
    lines = [line.split() for line in output.splitlines() if line[:1].isdigit()]
    if lines:
        check(path, (int(lines[-1][0]), int(lines[-1][1])))
    else:
        asyncio.run(opens(path))


async def test_a_crash_loses_only_a_suffix(tmp_path: Path) -> None:
    """What was not settled is lost from some point on; revisions shown before the crash are never given out again."""
    path = tmp_path / "objects.db"
    options = objects.Options(commits="settle")
    store = await objects.Store(path, clock=clock.SystemClock(), options=options).open()
    kept = store.create(builders.trial("kept"))
    await store.settle()
    lost = store.create(builders.trial("lost"))
    store.abandon()
    async with objects.Store(path, clock=clock.SystemClock(), options=options) as store:
        assert [obj.name for obj in store.list(kinds.TRIAL).items] == ["kept"]
        assert store.revision == kept.revision + log.GAP
        again = store.create(builders.trial("lost"))
        assert again.revision > lost.revision
        # Whoever saw the lost revision must list again; whoever saw the last durable one may go on.
        with pytest.raises(errors.ExpiredError):
            await anext(store.watch(kinds.TRIAL, resource_version=str(lost.revision)))
        event = await anext(store.watch(kinds.TRIAL, resource_version=str(kept.revision)))
        assert event.object == again
        with pytest.raises(errors.ConflictError):
            store.update(lost)
    # After a clean end revisions go on without a gap, and the old gap is still known.
    async with objects.Store(path, clock=clock.SystemClock(), options=options) as store:
        assert store.revision == again.revision
        with pytest.raises(errors.ExpiredError):
            await anext(store.watch(kinds.TRIAL, resource_version=str(lost.revision)))


async def test_abandon_is_a_kill(tmp_path: Path) -> None:
    """With the writer thread too: after ``abandon`` the database opens, and everything settled is there."""
    for number in range(5):
        store = await objects.Store(tmp_path / "objects.db", clock=clock.SystemClock()).open()
        store.create(builders.trial(f"t{number}"))
        await store.settle()
        store.create(builders.trial(f"unsettled{number}"))
        store.abandon()
    async with objects.Store(tmp_path / "objects.db", clock=clock.SystemClock()) as store:
        names = [obj.name for obj in store.list(kinds.TRIAL).items]
        assert [name for name in names if not name.startswith("unsettled")] == [f"t{number}" for number in range(5)]


@pytest.mark.slow
def test_the_crash_test_can_fail(tmp_path: Path) -> None:
    """The checker notices a lost object: it is not satisfied by any database."""
    path = tmp_path / "objects.db"
    subprocess.run([sys.executable, "-c", WRITER, str(path), "8"], check=True, capture_output=True, timeout=60)
    check(path, (7, 1))
    with pytest.raises((AssertionError, errors.NotFoundError)):
        check(path, (8, 1))


async def test_a_kill_between_the_check_and_the_opening_is_no_damage(tmp_path: Path) -> None:
    """What a killed owner left is checked as often as one likes, each time as if killed right after; nothing is refused or lost."""
    left = tmp_path / "left"
    left.mkdir()
    async with objects.Store(tmp_path / "objects.db", clock=clock.SystemClock()) as store:
        made = store.create(builders.trial("t"))
        await store.settle()
        for name in ("objects.db", "objects.db-wal"):
            shutil.copy(tmp_path / name, left / name)
    for _ in range(3):
        sqlite.prepare(left / "objects.db")
        assert (left / "objects.db-wal").exists()
    async with objects.Store(left / "objects.db", clock=clock.SystemClock()) as again:
        assert again.get(kinds.TRIAL, "default", "t") == made
