"""The disk fails: nothing is reported that is not there, and nothing is lost that can be kept."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from kuttab.api import kinds
from kuttab.base import clock, errors
from kuttab.store import objects, sqlite, writer
from kuttab.testing import builders

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests need not wait for the disk as long as people do."""
    monkeypatch.setattr(writer, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(writer, "_LONGEST_PAUSE", 0.01)


def make(path: Path, **options: object) -> objects.Store:
    """A store on a file."""
    return objects.Store(path, clock=clock.SystemClock(), options=objects.Options(**options))  # type: ignore[arg-type]


def rows(path: Path) -> list[int]:
    """Revisions in the file, read by another connection."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM log ORDER BY id")]


class Disk:
    """A connection factory whose connections fail as told, at the statement that writes a group."""

    def __init__(self) -> None:
        self.opened = 0
        self.fail: Callable[[], sqlite3.Error | None] = lambda: None
        self.after = False
        self.failed = asyncio.Event()

    def connect(self, path: Path | None) -> sqlite3.Connection:
        """A connection of this disk."""
        assert path is not None
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, statement: str, *arguments: object) -> sqlite3.Cursor:  # type: ignore[override]
                error = disk.fail() if statement.startswith("INSERT INTO entry") else None
                if error is not None and disk.after:
                    super().execute(statement, *arguments)  # type: ignore[arg-type]
                if error is not None:
                    raise error
                return super().execute(statement, *arguments)  # type: ignore[arg-type]

        self.opened += 1
        sqlite.connect(path).close()
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Connection)

    def times(self, count: int, code: int) -> None:
        """Fail so many times with an error code."""
        left = [count]

        def fail() -> sqlite3.Error | None:
            if left[0] == 0:
                return None
            left[0] -= 1
            error = sqlite3.OperationalError(
                "disk I/O error" if code == sqlite3.SQLITE_IOERR_FSYNC else "database or disk is full"
            )
            error.sqlite_errorcode = code
            return error

        self.fail = fail


async def unhealthy(store: objects.Store) -> str:
    """What the store says about its disk, once it says something."""
    async with asyncio.timeout(PATIENCE):
        while not store.health:  # noqa: ASYNC110 - the writer is a thread
            await asyncio.sleep(0.001)
    return store.health


@pytest.mark.parametrize("commits", ["thread", "settle"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_FULL])
async def test_a_failed_group_is_written_once(tmp_path: Path, commits: str, after: bool, code: int) -> None:
    """EIO and ENOSPC, before or after the rows reached the file: the group is there once in the end, and never acknowledged before."""
    disk = Disk()
    disk.after = after and code != sqlite3.SQLITE_FULL
    async with make(tmp_path / "objects.db", commits=commits, connect=disk.connect) as store:
        opened = disk.opened
        disk.times(3, code)
        made = store.create(builders.trial("one"))
        await asyncio.wait_for(store.settle(made.revision), PATIENCE)
        assert store.durable >= made.revision
        assert store.health == ""
        assert rows(tmp_path / "objects.db") == [1, 2, 3]
        # After an fsync that failed the connection is given up; after a full disk it is kept.
        assert (disk.opened - opened) == (0 if code == sqlite3.SQLITE_FULL else 1 if disk.after else 3)
    async with make(tmp_path / "objects.db") as store:
        assert store.get(kinds.TRIAL, "default", "one") == made


async def test_settle_waits_while_the_disk_is_full_and_writes_are_refused_at_the_cap(tmp_path: Path) -> None:
    """A full disk is said in ``health``; reads and a bounded number of writes go on, then writes are refused; space ends all that."""
    disk = Disk()
    async with make(tmp_path / "objects.db", backlog=5, connect=disk.connect) as store:
        disk.times(-1, sqlite3.SQLITE_FULL)
        for number in range(5):
            store.create(builders.trial(f"t{number}"))
        waiting = asyncio.ensure_future(store.settle())
        assert "disk is full" in await unhealthy(store)
        with pytest.raises(errors.UnavailableError, match=r"5 changes wait .*free some space"):
            store.create(builders.trial("t5"))
        with pytest.raises(errors.UnavailableError):
            await store.room()
        assert store.get(kinds.TRIAL, "default", "t4")
        assert not waiting.done()
        assert store.durable == 2
        disk.times(0, 0)
        await asyncio.wait_for(waiting, PATIENCE)
        assert (store.durable, store.health) == (7, "")
        store.create(builders.trial("t5"))


async def test_a_really_full_disk(tmp_path: Path) -> None:
    """SQLite's own SQLITE_FULL (the file may not grow): the store waits, and goes on when it may."""
    limited: list[sqlite3.Connection] = []

    def connect(path: Path | None) -> sqlite3.Connection:
        connection = sqlite.connect(path)
        if not limited:
            limited.append(connection)
            connection.execute("PRAGMA max_page_count = 1")  # becomes the present size
        return connection

    store = await make(tmp_path / "objects.db", connect=connect).open()
    store.create(builders.config_map("big", data="x" * 200_000))
    assert "full" in await unhealthy(store)
    with pytest.raises(errors.UnavailableError, match="1 changes could not be written"):
        await store.close(patience=0.05)
    async with make(tmp_path / "objects.db") as again:
        assert again.list(kinds.CONFIG_MAP).items == []
        again.create(builders.config_map("big", data="x" * 200_000))


async def test_a_removed_file_is_noticed(tmp_path: Path) -> None:
    """A database removed or replaced under a running store: nothing more is acknowledged; putting it back heals."""
    path = tmp_path / "objects.db"
    async with make(path) as store:
        path.rename(tmp_path / "away.db")
        made = store.create(builders.trial("one"))
        assert "removed or replaced" in await unhealthy(store)
        assert store.durable < made.revision
        (tmp_path / "away.db").rename(path)
        await asyncio.wait_for(store.settle(), PATIENCE)


async def test_a_second_writer_is_noticed(tmp_path: Path) -> None:
    """Another process that writes the same database: the store stops for good instead of mixing histories."""
    path = tmp_path / "objects.db"
    store = await make(path).open()
    with contextlib.closing(sqlite3.connect(path)) as intruder:
        intruder.execute(
            "INSERT INTO log SELECT 3, 0, op, kind, namespace, 'intruder', version, uid, pending, crc, body FROM log WHERE id = 1"
        )
        intruder.commit()
    store.create(builders.trial("one"))
    with pytest.raises(errors.CorruptError, match="another process"):
        await asyncio.wait_for(store.settle(), PATIENCE)
    with pytest.raises(errors.CorruptError):
        store.create(builders.trial("two"))
    with pytest.raises(errors.CorruptError):
        await store.close()
    assert rows(path) == [1, 2, 3]


async def test_damage_found_while_recovering_is_final(tmp_path: Path) -> None:
    """If the file turns out damaged after an I/O error, nothing is acknowledged any more and the error names the file."""
    path = tmp_path / "objects.db"
    disk = Disk()
    store = await make(path, connect=disk.connect, commits="settle").open()
    for number in range(30):
        store.create(builders.trial(f"t{number}"))
    await store.settle()
    store.create(builders.trial("one"))
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192 * 3)
    disk.times(1, sqlite3.SQLITE_IOERR_FSYNC)
    with pytest.raises(errors.CorruptError, match=r"objects\.db is damaged"):
        await asyncio.wait_for(store.settle(), PATIENCE)
    store.abandon()


async def test_a_locked_database_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's lock (a shell, a backup tool) delays writes and is named; nothing is lost."""
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.01)
    path = tmp_path / "objects.db"
    async with make(path) as store:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            store.create(builders.trial("one"))
            assert "locked by another program" in await unhealthy(store)
            stranger.execute("ROLLBACK")
        await asyncio.wait_for(store.settle(), PATIENCE)


async def test_a_bug_in_the_writer_is_not_silence(tmp_path: Path) -> None:
    """An unexpected error ends the writer loudly: waiting and later callers get it."""
    disk = Disk()

    def explode() -> sqlite3.Error | None:
        raise RuntimeError("boom")

    store = await make(tmp_path / "objects.db", connect=disk.connect).open()
    disk.fail = explode
    store.create(builders.trial("one"))
    with pytest.raises(errors.UnavailableError, match="boom"):
        await asyncio.wait_for(store.settle(), PATIENCE)
    with pytest.raises(errors.UnavailableError, match="boom"):
        store.create(builders.trial("two"))
    store.abandon()


async def test_waiters_are_told_when_the_store_closes(tmp_path: Path) -> None:
    """A settle that can no longer succeed ends with an error, not never; its cancelled neighbours do no harm."""
    disk = Disk()
    store = await make(tmp_path / "objects.db", connect=disk.connect).open()
    disk.times(-1, sqlite3.SQLITE_FULL)
    store.create(builders.trial("one"))
    waiting, cancelled = (asyncio.ensure_future(store.settle()) for _ in range(2))
    await unhealthy(store)
    cancelled.cancel()
    store.abandon()
    with pytest.raises(errors.UnavailableError, match="before the write was on disk"):
        await waiting
    with pytest.raises(errors.UnavailableError, match="not open"):
        await store.settle()


async def test_writers_are_slowed_before_they_are_refused(tmp_path: Path) -> None:
    """``room`` lets a fast writer wait for a healthy disk instead of meeting the cap."""
    async with make(tmp_path / "objects.db", backlog=20) as store:
        for number in range(200):
            await store.room()
            store.create(builders.trial(f"t{number:03}"))
            assert store.backlog <= 20
        await store.settle()
        assert store.backlog == 0


async def test_commits_at_settle_flush_when_full(tmp_path: Path) -> None:
    """Without a thread, a full backlog is written by the write that meets it."""
    async with make(tmp_path / "objects.db", commits="settle", backlog=10) as store:
        for number in range(25):
            store.create(builders.trial(f"t{number:02}"))
            assert store.backlog <= 10
        assert store.durable > 10


async def test_settle_of_unknown_revisions(tmp_path: Path) -> None:
    """A revision this store never gave out cannot be settled."""
    async with make(tmp_path / "objects.db") as store:
        with pytest.raises(errors.ExpiredError):
            await store.settle(99)


def test_options_are_checked() -> None:
    """Limits that make no sense are refused at once."""
    for bad in ({"backlog": 0}, {"backlog": 10**9}, {"keep_revisions": -1}):
        with pytest.raises(errors.BadInputError):
            objects.Options(**bad)
    with pytest.raises(errors.BadInputError, match="memory"):
        objects.Store(None, clock=clock.SystemClock())


async def test_a_store_is_opened_once(tmp_path: Path) -> None:
    """Before open and after close every call is Unavailable; opening twice is refused; closing twice is fine."""
    store = make(tmp_path / "objects.db")
    with pytest.raises(errors.UnavailableError, match="not open"):
        store.create(builders.trial("one"))
    await store.open()
    with pytest.raises(errors.UnavailableError, match="once"):
        await store.open()
    await store.close()
    await store.close()
    store.abandon()
    for call in (
        lambda: store.list(kinds.TRIAL),
        lambda: store.get(kinds.TRIAL, "a", "b"),
        lambda: store.watch(kinds.TRIAL),
    ):
        with pytest.raises(errors.UnavailableError, match="not open"):
            call()


async def test_what_nobody_waits_for_is_gathered_and_what_is_waited_for_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that come one by one are one transaction while nobody settles; who settles does not wait for others to come."""
    monkeypatch.setattr(writer, "_GATHER", 1e6)
    groups: list[int] = []
    disk = Disk()
    disk.fail = lambda: groups.append(1)  # type: ignore[assignment, return-value]
    async with make(tmp_path / "objects.db", connect=disk.connect) as store:
        del groups[:]
        for number in range(5):
            store.create(builders.trial(f"t{number}"))
            await asyncio.sleep(0.002)
        assert groups == []
        await asyncio.wait_for(store.settle(), PATIENCE)
        assert groups == [1]
        assert store.durable == store.revision
