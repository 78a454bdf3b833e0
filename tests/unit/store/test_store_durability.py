"""Two promises of the store: what outlives a kill, and what outlives a power loss. The disk that fails here is the call of fsync."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kuttab.api import kinds
from kuttab.base import clock, disk, errors
from kuttab.ports import outbox
from kuttab.ports.objects import Survives
from kuttab.store import log, objects, saver, sqlite, writer
from kuttab.testing import builders

PATIENCE = 30.0
KILL = Survives.KILL


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests need not wait for the disk as long as people do."""
    monkeypatch.setattr(writer, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(writer, "_LONGEST_PAUSE", 0.01)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    """Every fsync of a write-ahead log."""
    made = Syncs()
    monkeypatch.setattr(disk, "sync", made)
    return made


class Syncs:
    """Stands for fsync: counts, and does before each what it is told."""

    def __init__(self) -> None:
        self.real = disk.sync
        self.count = 0
        self.before: Callable[[int], None] = lambda number: None

    def __call__(self, path: Path) -> None:
        """An fsync."""
        self.count += 1
        self.before(self.count)
        self.real(path)


def make(path: Path, **options: object) -> objects.Store:
    """A store on a file."""
    return objects.Store(path, clock=clock.SystemClock(), options=objects.Options(**options))  # type: ignore[arg-type]


class Owing:
    """A reliance without letters of an earlier run."""

    def found(self, letters: Sequence[outbox.Letter]) -> None:
        """See the protocol."""
        assert not letters


def names(path: Path) -> list[str]:
    """Trials in the file, read by another connection."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM log WHERE kind LIKE '%Trial' ORDER BY id")]


async def test_who_fears_only_a_kill_does_not_wait_for_the_disk(tmp_path: Path, syncs: Syncs) -> None:
    """While an fsync hangs, what was settled against a kill is in the file, and what must survive a power loss waits."""
    release = threading.Event()

    def wait(number: int) -> None:
        assert release.wait(PATIENCE), f"fsync {number} was never let go"

    syncs.before = wait
    release.set()
    path = tmp_path / "objects.db"
    async with make(path) as store:
        release.clear()
        for number in range(5):
            made = store.create(builders.trial(f"t{number}"))
            await asyncio.wait_for(store.settle(made.revision, survives=KILL), PATIENCE)
            assert names(path)[-1] == f"t{number}"
        assert store.durable < made.revision
        waiting = asyncio.ensure_future(store.settle())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        release.set()
        await asyncio.wait_for(waiting, PATIENCE)
        assert store.durable == made.revision


async def test_an_idle_thread_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody else works on is committed by who wants it kept, before anything else happens in the loop."""
    monkeypatch.setattr(writer, "_GATHER", 1e6)
    async with make(tmp_path / "objects.db") as store:
        made = store.create(builders.trial("one"))
        turns: list[int] = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        await store.settle(survives=KILL)
        assert turns == []
        assert store.durable < made.revision
        await asyncio.wait_for(store.settle(), PATIENCE)


async def test_much_is_left_to_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants many changes kept does not hold the loop up with them."""
    monkeypatch.setattr(writer, "_GATHER", 1e6)
    path = tmp_path / "objects.db"
    async with make(path) as store:
        for number in range(3 * log.GROUP):
            store.create(builders.trial(f"t{number:03}"))
        turns: list[int] = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        await asyncio.wait_for(store.settle(survives=KILL), PATIENCE)
        assert turns == [1]
        assert len(names(path)) == 3 * log.GROUP


@pytest.mark.parametrize("commits", ["thread", "settle"])
@pytest.mark.parametrize("survives", list(Survives))
async def test_a_failed_fsync_is_never_acknowledged_and_nothing_is_written_twice(
    tmp_path: Path, syncs: Syncs, commits: str, survives: Survives
) -> None:
    """EIO from fsync: the connection is given up, the file looked at, and each entry is there once when settle returns."""
    opened = []

    def connect(path: Path | None) -> sqlite3.Connection:
        opened.append(path)
        return sqlite.connect(path)

    path = tmp_path / "objects.db"
    async with make(path, commits=commits, connect=connect) as store:
        first, begin = len(opened), syncs.count

        def fail(number: int) -> None:
            if number <= begin + 3:
                raise OSError(5, "Input/output error")

        syncs.before = fail
        made = store.create(builders.trial("one"))
        await asyncio.wait_for(store.settle(made.revision, survives=survives), PATIENCE)
        await asyncio.wait_for(store.settle(made.revision), PATIENCE)
        assert (store.durable, store.health) == (made.revision, "")
        assert names(path) == ["one"]
        assert len(opened) - first == 3
        assert syncs.count == begin + 4
    async with make(path) as store:
        assert store.get(kinds.TRIAL, "default", "one") == made


async def test_what_the_disk_forgot_is_written_again(tmp_path: Path, syncs: Syncs) -> None:
    """A failed fsync may have lost what was committed and even acknowledged against a kill: it is all written once more."""
    path = tmp_path / "objects.db"
    held, forgotten = threading.Event(), []

    def forget(number: int) -> None:
        assert held.wait(PATIENCE), f"fsync {number} was never let go"
        if not forgotten:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
                forgotten.append(connection.execute("DELETE FROM log WHERE id > ?", (store.durable,)).rowcount)
            raise OSError(5, "Input/output error")

    async with make(path) as store:
        syncs.before = forget
        made = [store.create(builders.trial(f"t{number:03}")) for number in range(300)]  # more than one group
        await store.settle(survives=KILL)
        assert names(path) == [obj.name for obj in made]
        held.set()
        await asyncio.wait_for(store.settle(), PATIENCE)
        assert forgotten[0] >= 300
        assert names(path) == [obj.name for obj in made]
    async with make(path) as store:
        assert store.get(kinds.TRIAL, "default", "t299") == made[-1]


async def test_a_hole_is_damage(tmp_path: Path, syncs: Syncs) -> None:
    """If something is missing before what is there, nothing is written on top of that, and nothing more is acknowledged."""
    path = tmp_path / "objects.db"
    held = threading.Event()

    def pierce(number: int) -> None:
        assert held.wait(PATIENCE), f"fsync {number} was never let go"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("DELETE FROM log WHERE name = 't1'")
        raise OSError(5, "Input/output error")

    store = await make(path).open()
    syncs.before = pierce
    for number in range(3):
        store.create(builders.trial(f"t{number}"))
    await store.settle(survives=KILL)
    held.set()
    with pytest.raises(errors.CorruptError, match=r"is damaged \(revision 4 is missing"):
        await asyncio.wait_for(store.settle(), PATIENCE)
    store.abandon()
    assert names(path) == ["t0", "t2"]


@pytest.mark.parametrize("seed", range(5))
async def test_d13_power_loss_keeps_what_was_settled_and_a_prefix(tmp_path: Path, syncs: Syncs, seed: int) -> None:
    """The files as they were at the last fsync, all later writes gone: everything acknowledged is there, and no gap before what is."""
    path, left = tmp_path / "objects.db", tmp_path / "left"
    left.mkdir()

    def image(number: int) -> None:  # pages written after this moment may be lost, so all of them are
        for name in ("objects.db", "objects.db-wal"):
            shutil.copy(tmp_path / name, left / name)

    acknowledged = -1
    store = await make(path).open()
    syncs.before = image
    for number in range(40):
        store.create(builders.trial(f"t{number:03}"))
        if number % 7 == seed:
            await store.settle()
            acknowledged = number
        elif number % 2 == seed % 2:
            await store.settle(survives=KILL)
        if number % 5 == seed:
            await asyncio.sleep(0.03)
    store.abandon()
    kept = names(path)
    async with make(left / "objects.db") as again:
        found = [obj.name for obj in again.list(kinds.TRIAL).items]
    assert found == [f"t{number:03}" for number in range(len(found))]
    assert len(found) > acknowledged
    assert kept == [f"t{number:03}" for number in range(len(kept))]
    assert len(kept) >= 39 if seed % 2 else len(kept) >= 38


async def test_kept_by_the_thread_when_it_is_its_turn(tmp_path: Path) -> None:
    """What entries rely on is slow: who is in a hurry does not wait in the loop, and is told by the thread."""
    asked: list[float] = []

    class Slow(Owing):
        def owed(self, patience: float) -> Sequence[outbox.Letter]:
            asked.append(patience)
            if 0 < patience < 0.1:
                raise errors.DeadlineError("busy")
            return ()

    async with make(tmp_path / "objects.db", reliance=Slow()) as store:
        made = store.create(builders.trial("one"))
        await asyncio.wait_for(store.settle(made.revision, survives=KILL), PATIENCE)
        assert names(tmp_path / "objects.db") == ["one"]
        assert sorted({patience < 0.1 for patience in asked}) == [False, True]


async def test_entries_go_after_what_they_rely_on(tmp_path: Path) -> None:
    """What the rows below cannot take holds the entries back from their file, not only from being acknowledged."""
    refusing = [False]

    class Refusing(Owing):
        def owed(self, patience: float) -> Sequence[outbox.Letter]:
            if refusing[0]:
                raise errors.UnavailableError("rows: disk full")
            return ()

    path = tmp_path / "objects.db"
    async with make(path, reliance=Refusing()) as store:
        for number, survives in enumerate(Survives):
            refusing[0] = True
            made = store.create(builders.trial(f"t{number}"))
            waiting = asyncio.ensure_future(store.settle(survives=survives))
            async with asyncio.timeout(PATIENCE):
                while "disk full" not in store.health:  # noqa: ASYNC110 - the writer is a thread
                    await asyncio.sleep(0.001)
            assert len(names(path)) == number
            assert store.durable < made.revision
            refusing[0] = False
            await asyncio.wait_for(waiting, PATIENCE)
            await asyncio.wait_for(store.settle(), PATIENCE)
            assert len(names(path)) == number + 1


async def test_a_stranger_s_lock_does_not_stop_the_loop(tmp_path: Path) -> None:
    """Who wants to be kept while another program locks the file waits without holding up anybody else."""
    async with make(tmp_path / "objects.db") as store:
        with contextlib.closing(sqlite3.connect(tmp_path / "objects.db", isolation_level=None)) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            store.create(builders.trial("one"))
            begun = time.monotonic()
            waiting = asyncio.ensure_future(store.settle(survives=KILL))
            await asyncio.sleep(0.05)
            assert time.monotonic() - begun < sqlite._BUSY_SECONDS / 2
            assert not waiting.done()
            stranger.execute("ROLLBACK")
        await asyncio.wait_for(waiting, PATIENCE)


async def test_the_log_is_moved_into_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is committed in the loop, the thread moves the write-ahead log into the database, and it starts anew."""
    monkeypatch.setattr(saver, "_CHECKPOINT_ROWS", 50)
    path, sizes = tmp_path / "objects.db", []
    async with make(path) as store:
        for number in range(10):
            for part in range(100):
                store.create(builders.trial(f"t{number}-{part}"))
                if part % 10 == 0:
                    await store.settle(survives=KILL)
            await asyncio.wait_for(store.settle(), PATIENCE)
            sizes.append(path.with_name("objects.db-wal").stat().st_size)
    assert sizes[-1] < 3 * sizes[0]


async def test_a_removed_log_is_noticed(tmp_path: Path) -> None:
    """The write-ahead log removed under a running store: nothing more is acknowledged; with the file back everything goes on."""
    path = tmp_path / "objects.db"
    async with make(path) as store:
        path.with_name("objects.db-wal").rename(tmp_path / "away")
        made = store.create(builders.trial("one"))
        waiting = asyncio.ensure_future(store.settle())
        async with asyncio.timeout(PATIENCE):
            while "objects.db-wal" not in store.health:  # noqa: ASYNC110 - the writer is a thread
                await asyncio.sleep(0.001)
        assert store.durable < made.revision
        (tmp_path / "away").rename(path.with_name("objects.db-wal"))
        await asyncio.wait_for(waiting, PATIENCE)
        assert store.durable == made.revision


async def test_a_database_without_a_log_gets_one(tmp_path: Path) -> None:
    """Another program has switched the write-ahead log off: it is on again before anything relies on it."""
    path = tmp_path / "objects.db"
    async with make(path) as store:
        store.create(builders.trial("one"))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    async with make(path) as store:
        store.create(builders.trial("two"))
        await asyncio.wait_for(store.settle(), PATIENCE)
    assert names(path) == ["one", "two"]
