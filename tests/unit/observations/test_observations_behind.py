"""The log a step behind: what is taken at once, what waits at the gate, what a refusing database does."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from kuttab.base import errors
from kuttab.observations import behind, database, sql
from kuttab.ports import outbox
from kuttab.ports.observations import Row, TrialKey

KEY = TrialKey("uid", "trial", "default")


async def test_gate_opens_when_rows_are_on_disk(tmp_path: pathlib.Path) -> None:
    """An end is answered at once; whoever waits at the gate goes on after the commit, and then the rows are in the file."""
    gate, path = behind.Gate(), tmp_path / "rows.db"
    assert gate.owed(0) == ()  # there is no log yet
    log = behind.Behind(sql.SqlObservations(sql.file_url(path)), gate)
    await log.open()
    summary = await log.complete(KEY, "one", 0, [Row("loss", "3"), Row("loss", "1")])
    assert summary.complete
    assert (summary.metrics["loss"].min, summary.metrics["loss"].latest) == ("1", "1")
    assert await log.summarize(KEY) == summary
    log._log.wait_for_ends(10)
    assert committed(path) == 2
    await log.close()


async def test_rows_are_synced_before_anybody_goes_on(tmp_path: pathlib.Path) -> None:
    """S27: what the gate lets through is synced: the connection that writes ends flushes at every commit."""
    rows, gate = sql.SqlObservations(sql.file_url(tmp_path / "rows.db")), behind.Gate()
    log = behind.Behind(rows, gate)
    await log.complete(KEY, "one", 0, [Row("loss", "3")])
    log._log.wait_for_ends(10)
    assert rows._shared._database is not None
    assert rows._shared._database._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    await log.close()


async def test_a_reader_sees_what_was_taken_before(tmp_path: pathlib.Path) -> None:
    """Rows that are on their way come before the next question about them."""
    log = behind.Behind(sql.SqlObservations(sql.file_url(tmp_path / "rows.db")), behind.Gate())
    await log.complete(KEY, "one", 0, [Row("loss", "3"), Row("loss", "1")])
    assert [row.value for row in await log.read(KEY)] == ["3", "1"]
    await log.close()


async def test_the_gate_is_shut_while_rows_are_being_written(tmp_path: pathlib.Path) -> None:
    """From the moment an end is taken until its commit the gate is shut, also while a thread is in the middle of that."""
    gate, path = behind.Gate(), tmp_path / "rows.db"
    rows = sql.SqlObservations(sql.file_url(path))
    log = behind.Behind(rows, gate)
    await log.open()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        await log.complete(KEY, "one", 0, [Row("loss", "3")])
        begun = time.monotonic()
        for _ in range(3):
            with pytest.raises(errors.DeadlineError, match="slow"):
                log._log.wait_for_ends(0.05)
        assert time.monotonic() - begun < 4.0  # the database's own patience is five seconds
        assert not rows._shared._ends  # the thread has them
        stranger.execute("ROLLBACK")
    log._log.wait_for_ends(10)
    assert committed(path) == 1
    await log.close()


async def test_refused_rows_are_kept(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away gets the rows, in order, when it is back; until then whoever relies on them hears why; closing waits."""
    monkeypatch.setattr(behind, "_FIRST_PAUSE", 0.0)
    away = [True]
    transaction = database.Database._transaction

    def fail(self: database.Database, jobs: Sequence[database.Job]) -> list[Any]:
        if away[0]:
            raise OSError(28, "No space left on device")
        return transaction(self, jobs)

    gate, url = behind.Gate(), sql.file_url(tmp_path / "rows.db")
    log = behind.Behind(sql.SqlObservations(url), gate)
    await log.open()
    monkeypatch.setattr(database.Database, "_transaction", fail)
    await log.complete(KEY, "one", 0, [Row("loss", "1")])
    await log.complete(TrialKey("uid-2", "other", "default"), "one", 0, [Row("loss", "2")])
    tries: list[int] = []
    run = database.Database.run

    def counted(self: database.Database, jobs: Sequence[database.Job]) -> list[Any]:
        tries.append(threading.get_ident())
        return run(self, jobs)

    monkeypatch.setattr(database.Database, "run", counted)
    for patience, mine in ((5.0, 1), (5.0, 2), (0.005, 2)):  # who is in a hurry does not try himself
        with pytest.raises(errors.UnavailableError, match=r"metric rows wait for their database: .*No space left"):
            log._log.wait_for_ends(patience)
        assert tries.count(threading.get_ident()) == mine
    asyncio.get_running_loop().call_later(0.05, away.clear)
    asyncio.get_running_loop().call_later(0.05, away.append, False)
    await log.close()
    log._log.wait_for_ends(0)
    other = sql.SqlObservations(url)
    assert [row.value for row in await other.read(KEY)] == ["1"]
    await other.close()


async def test_rows_that_cannot_be_written_are_not_forgotten_at_the_end(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that was closed while its database refused keeps the gate shut: nobody may write down what follows from lost rows."""
    monkeypatch.setattr(behind, "_CLOSING", 0.05)
    gate = behind.Gate()
    log = behind.Behind(sql.SqlObservations(sql.file_url(tmp_path / "rows.db")), gate)
    await log.open()

    def fail(self: database.Database, jobs: Sequence[database.Job]) -> list[Any]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database.Database, "_transaction", fail)
    await log.complete(KEY, "one", 0, [Row("loss", "1")])
    await log.close()
    with pytest.raises(errors.UnavailableError, match=r"it was closed .*No space left"):
        log._log.wait_for_ends(1)


async def test_a_defect_loses_no_end(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is no answer of the database shuts the gate as well; the next try writes the rows."""
    gate, path = behind.Gate(), tmp_path / "rows.db"
    log = behind.Behind(sql.SqlObservations(sql.file_url(path)), gate)
    await log.open()

    def explode(self: database.Database, jobs: Sequence[database.Job]) -> list[Any]:
        raise RuntimeError("boom")

    monkeypatch.setattr(database.Database, "run", explode)
    await log.complete(KEY, "one", 0, [Row("loss", "1")])
    with pytest.raises(RuntimeError, match="boom"):
        log._log.wait_for_ends(5)
    monkeypatch.undo()
    log._log.wait_for_ends(5)
    assert committed(path) == 1
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


def few(number: int) -> TrialKey:
    """A trial."""
    return TrialKey(f"uid-{number}", f"trial-{number}", "default")


async def test_small_ends_are_letters(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever relies on them need not wait for the database; they are owed until they are in it, and nobody else need ask for that."""
    gate, path = behind.Gate(), tmp_path / "rows.db"
    log = behind.Behind(sql.SqlObservations(sql.file_url(path)), gate)
    await log.open()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        for number in range(3):
            await log.complete(few(number), "one", 0, [Row("loss", "1")])
        owed = gate.owed(0.0)
        assert [letter.number for letter in owed] == [1, 2, 3]
        assert list(gate.owed(0.0)) == owed
        stranger.execute("ROLLBACK")
    for _ in range(1000):
        if not gate.owed(0.0):
            break
        await asyncio.sleep(0.01)
    assert committed(path) == 3
    await log.close()


@pytest.mark.parametrize("rows", [[Row("loss", "1")] * 65, [Row("loss", "1" * 20_000)]])
async def test_a_large_end_is_waited_for(tmp_path: pathlib.Path, rows: list[Row]) -> None:
    """What is not worth being written twice comes to its place first, and with it what was taken before."""
    gate, path = behind.Gate(), tmp_path / "rows.db"
    log = behind.Behind(sql.SqlObservations(sql.file_url(path)), gate)
    await log.open()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        await log.complete(few(0), "one", 0, [Row("loss", "1")])
        await log.complete(few(1), "one", 0, rows)
        with pytest.raises(errors.DeadlineError, match="slow"):
            gate.owed(0.05)
        stranger.execute("ROLLBACK")
    gate.owed(10)
    log._log.wait_for_ends(10)
    assert gate.owed(0) == []
    assert committed(path) == 1 + len(rows)
    await log.close()


async def test_many_ends_are_waited_for(tmp_path: pathlib.Path) -> None:
    """There are never more letters than the outbox takes, whatever the database does."""
    gate, path = behind.Gate(), tmp_path / "rows.db"
    log = behind.Behind(sql.SqlObservations(sql.file_url(path)), gate)
    await log.open()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        for number in range(outbox.MOST):
            await log.complete(few(number), "one", 0, [Row("loss", "1")])
        assert len(gate.owed(0.0)) == outbox.MOST
        await log.complete(few(outbox.MOST), "one", 0, [Row("loss", "1")])
        with pytest.raises(errors.DeadlineError):
            gate.owed(0.05)
        stranger.execute("ROLLBACK")
    gate.owed(10)
    log._log.wait_for_ends(10)
    assert gate.owed(0) == []
    assert committed(path) == outbox.MOST + 1
    await log.close()


async def test_ends_of_an_earlier_run(tmp_path: pathlib.Path) -> None:
    """Letters that were left are owed until they are in the database, are written there once, and not over what came later."""
    gate, path = behind.Gate(), tmp_path / "rows.db"
    awkward = [Row("loss", "ü\ud7ff\U0001f600 'x'", "2026-01-31T12:00:00.5Z"), Row("acc", "nan")]
    first = sql.SqlObservations(sql.file_url(tmp_path / "other.db"))
    written = behind.Behind(first, gate)
    await first.open()
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        for number in range(3):
            await written.complete(few(number), "one", 0, awkward)
        left = gate.owed(0.0)
        stranger.execute("ROLLBACK")
    await written.close()
    assert len(left) == 3

    log = sql.SqlObservations(sql.file_url(path))
    await log.complete(few(1), "one", 0, awkward)  # this one had arrived
    await log.complete(few(1), "two", 0, [Row("loss", "7")])  # and this came after it
    await log.close()

    again = behind.Gate()
    again.found(left)
    assert again.owed(0.0) == left
    log = sql.SqlObservations(sql.file_url(path))
    late = behind.Behind(log, again)
    await late.complete(few(3), "one", 0, [Row("loss", "3")])
    assert await late.read(few(0)) == awkward
    assert await late.read(few(1)) == [Row("loss", "7")]
    log.wait_for_ends(10)
    assert again.owed(0) == []
    assert committed(path) == 2 + 3 + 2 + 1
    await late.close()


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b'["u","n","d","s",[["loss"]],1]', b'["u","n","d","s",[1]]', b"\xff"]
)
def test_a_letter_that_nobody_wrote(tmp_path: pathlib.Path, body: bytes) -> None:
    """It is refused, and nothing is made of it."""
    gate = behind.Gate()
    gate.found([outbox.Letter(7, body)])
    with pytest.raises(errors.CorruptError, match="letter 7"):
        behind.Behind(sql.SqlObservations(sql.file_url(tmp_path / "rows.db")), gate)
    assert not (tmp_path / "rows.db").exists()


async def test_ends_are_gathered(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends that nobody waits for are one transaction; many, a question, or somebody who waits bring them to the disk at once."""
    monkeypatch.setattr(sql, "GATHER", 1e6)
    gate = behind.Gate()
    rows = sql.SqlObservations(sql.file_url(tmp_path / "rows.db"))
    log = behind.Behind(rows, gate)
    await log.open()
    sizes: list[int] = []
    run = database.Database.run

    def counted(self: database.Database, jobs: Sequence[database.Job]) -> list[Any]:
        sizes.append(len(jobs))
        return run(self, jobs)

    monkeypatch.setattr(database.Database, "run", counted)
    for number in range(10):
        await log.complete(few(number), "one", 0, [Row("loss", "1")])
    log._log.wait_for_ends(10)
    assert sizes == [10]
    for number in range(10, 20):
        await log.complete(few(number), "one", 0, [Row("loss", "1")])
    assert await log.read(few(15)) == [Row("loss", "1")]
    assert sizes == [10, 11]
    for number in range(20, 20 + outbox.MOST // 4):
        await log.complete(few(number), "one", 0, [Row("loss", "1")])
    async with asyncio.timeout(30):
        while gate.owed(0.0):  # noqa: ASYNC110 - the log is a thread
            await asyncio.sleep(0.001)
    assert sum(sizes) == 21 + outbox.MOST // 4
    await log.settle()
    await log.close()
