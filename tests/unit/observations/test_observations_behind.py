"""The log a step behind: what is taken at once, what waits at the gate, what a refusing database does."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import pytest

from kuttab.base import disk, errors
from kuttab.observations import behind, database, sql
from kuttab.ports.observations import Row, TrialKey

KEY = TrialKey("uid", "trial", "default")


async def test_rows_are_committed_by_who_waits_at_the_gate(tmp_path: pathlib.Path) -> None:
    """An end is answered at once; whoever goes through the gate commits it, in a thread of his own, and then the rows are in the file."""
    gate, path = behind.Gate(), tmp_path / "rows.db"
    gate.wait(0)  # there is no log yet
    log = behind.Behind(sql.SqlObservations(sql.file_url(path)), gate)
    await log.open()
    summary = await log.complete(KEY, "one", 0, [Row("loss", "3"), Row("loss", "1")])
    assert summary.complete
    assert (summary.metrics["loss"].min, summary.metrics["loss"].latest) == ("1", "1")
    assert await log.summarize(KEY) == summary
    assert committed(path) == 0
    gate.wait(0)
    assert committed(path) == 2
    await log.complete(TrialKey("uid-2", "other", "default"), "one", 0, [Row("loss", "3")])
    await asyncio.to_thread(gate.wait, 10)
    assert committed(path) == 3
    await log.close()


async def test_a_reader_sees_what_was_taken_before(tmp_path: pathlib.Path) -> None:
    """Rows that nobody has committed yet are committed by the next question about them."""
    log = behind.Behind(sql.SqlObservations(sql.file_url(tmp_path / "rows.db")), behind.Gate())
    await log.complete(KEY, "one", 0, [Row("loss", "3"), Row("loss", "1")])
    assert [row.value for row in await log.read(KEY)] == ["3", "1"]
    await log.close()


async def test_who_is_in_a_hurry_waits_for_nobody(tmp_path: pathlib.Path) -> None:
    """Without patience a database that is not open yet, is in use, or is locked by a stranger is a DeadlineError or Unavailable at once."""
    gate, path = behind.Gate(), tmp_path / "rows.db"
    rows = sql.SqlObservations(sql.file_url(path))
    log = behind.Behind(rows, gate)
    await log.complete(KEY, "one", 0, [Row("loss", "3")])
    with pytest.raises(errors.DeadlineError):
        gate.wait(0)
    await log.open()
    assert committed(path) == 1
    await log.complete(TrialKey("uid-2", "other", "default"), "one", 0, [Row("loss", "3")])
    with rows._shared._turn, pytest.raises(errors.DeadlineError, match="busy"):
        gate.wait(0)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        with pytest.raises(errors.UnavailableError, match="locked"):
            gate.wait(0)
        assert time.monotonic() - begun < 2.0  # the patience of others is five seconds
        stranger.execute("ROLLBACK")
    gate.wait(0)
    assert committed(path) == 2
    await log.close()


async def test_refused_rows_are_kept(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away gets the rows, in order, when it is back; until then whoever relies on them hears why; closing waits."""
    monkeypatch.setattr(behind, "_FIRST_PAUSE", 0.0)
    away = [2]
    transaction = database.Database._transaction

    def fail(self: database.Database, jobs: Sequence[database.Job]) -> list[Any]:
        if away[0]:
            away[0] -= 1
            raise OSError(28, "No space left on device")
        return transaction(self, jobs)

    gate, url = behind.Gate(), sql.file_url(tmp_path / "rows.db")
    log = behind.Behind(sql.SqlObservations(url), gate)
    await log.open()
    monkeypatch.setattr(database.Database, "_transaction", fail)
    await log.complete(KEY, "one", 0, [Row("loss", "1")])
    for _ in range(2):
        with pytest.raises(errors.UnavailableError, match=r"metric rows wait for their database: .*No space left"):
            gate.wait(1)
    away[0] = 2
    await log.close()
    gate.wait(0)
    other = sql.SqlObservations(url)
    assert [row.value for row in await other.read(KEY)] == ["1"]
    await other.close()


async def test_rows_that_cannot_be_written_are_not_forgotten_at_the_end(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that was closed while its database refused keeps the gate shut: nobody may write down what follows from lost rows."""
    monkeypatch.setattr(behind, "_CLOSING", 0.01)
    gate = behind.Gate()
    log = behind.Behind(sql.SqlObservations(sql.file_url(tmp_path / "rows.db")), gate)
    await log.open()

    def fail(self: database.Database, jobs: Sequence[database.Job]) -> list[Any]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database.Database, "_transaction", fail)
    await log.complete(KEY, "one", 0, [Row("loss", "1")])
    await log.close()
    with pytest.raises(errors.UnavailableError, match="closed"):
        gate.wait(0)


async def test_committed_rows_are_synced_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit at the gate leaves the disk alone; the sync after it is one fsync, and none when there is nothing new."""
    synced: list[str] = []
    monkeypatch.setattr(disk, "sync", synced.append)
    gate, path = behind.Gate(), tmp_path / "rows.db"
    rows = sql.SqlObservations(sql.file_url(path))
    log = behind.Behind(rows, gate)
    await log.open()
    gate.sync()
    assert synced == []
    await log.complete(KEY, "one", 0, [Row("loss", "1")])
    gate.wait(0)
    assert rows._shared._database is not None
    assert rows._shared._database._connection.execute("PRAGMA synchronous").fetchone() == (1,)
    gate.sync()
    gate.sync()
    assert synced == [f"{path}-wal"]
    await log.report(KEY, "two", 0, [Row("loss", "7")])  # acknowledged to somebody: on disk with its commit
    assert rows._shared._database._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    await log.close()
    assert synced == [f"{path}-wal"]


async def test_a_failed_sync_is_not_simply_tried_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After EIO the log is moved into the database, which is synced, before anybody is told that the rows are on disk."""
    gate, path = behind.Gate(), tmp_path / "rows.db"
    log = behind.Behind(sql.SqlObservations(sql.file_url(path)), gate)
    await log.open()
    await log.complete(KEY, "one", 0, [Row("loss", "1")])
    gate.wait(0)

    def fail(path: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, "sync", fail)
    with pytest.raises(errors.UnavailableError, match="Input/output error"):
        gate.sync()
    assert path.with_name("rows.db-wal").stat().st_size > 0
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM observation_logs").fetchone()
        with pytest.raises(errors.UnavailableError, match="being read"):
            gate.sync()
        reader.execute("ROLLBACK")
    gate.sync()
    assert path.with_name("rows.db-wal").stat().st_size == 0
    assert committed(path) == 1
    monkeypatch.undo()
    gate.sync()
    await log.close()


def committed(path: pathlib.Path) -> int:
    """Rows in the file, read by another connection."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("SELECT count(*) FROM observation_logs").fetchone()[0]
        return found


async def test_memory_answers_only_what_it_knows(tmp_path: pathlib.Path) -> None:
    """After rows of another source the log itself is asked, so that nothing is answered from an old memory."""
    log = behind.Behind(sql.SqlObservations(sql.file_url(tmp_path / "rows.db")), behind.Gate())
    await log.complete(KEY, "one", 0, [Row("loss", "1")])
    await log.fence(KEY, "two")
    await log.report(KEY, "two", 0, [Row("loss", "7")])
    summary = await log.complete(KEY, "two", 1, [Row("loss", "8")])
    assert (summary.metrics["loss"].min, summary.metrics["loss"].count) == ("7", 2)
    await log.delete(KEY)
    assert not (await log.summarize(KEY)).metrics
    await log.close()
