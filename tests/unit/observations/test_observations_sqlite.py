"""The SQLite log's own promises: opening, refusing, surviving, speed."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import autogenerate
from alembic.runtime import migration

from kuttab.base import errors
from kuttab.observations import database, schema, sql, tables
from kuttab.ports.observations import Aggregate, Row, Summary, TrialKey

KEY = TrialKey("uid-1", "trial-1", "default")
KATIB = (
    "CREATE TABLE observation_logs (trial_name VARCHAR(255) NOT NULL, id INTEGER PRIMARY KEY, time DATETIME, "
    "metric_name VARCHAR(255) NOT NULL, value TEXT NOT NULL)"
)


def losses(*values: object) -> list[Row]:
    """Rows of the metric ``loss``."""
    return [Row("loss", str(value)) for value in values]


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[sql.SqlObservations]:
    """A log in an empty file."""
    opened = sql.SqlObservations(f"sqlite:///{tmp_path}/o.db")
    yield opened
    await opened.close()


async def test_a_log_is_found_again(tmp_path: Path) -> None:
    """What was stored is there after closing and opening again."""
    for values in ((1,), (1, 2)):
        log = sql.SqlObservations(f"sqlite:///{tmp_path}/o.db")
        await log.report(KEY, "pod", 0, losses(*values))
        await log.close()
    log = sql.SqlObservations(f"sqlite:///{tmp_path}/o.db")
    assert await log.summarize(KEY) == Summary({"loss": Aggregate("1", "2", "2", 2)}, complete=False)
    await log.close()


async def test_h19_only_the_owner_can_read_the_files(tmp_path: Path, log: sql.SqlObservations) -> None:
    """H-19: the database and its companions have mode 0600."""
    await log.report(KEY, "pod", 0, losses(1))
    assert {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in os.listdir(tmp_path)} == {0o600}


@pytest.mark.parametrize("name", ["plain", "with space", "per%cent", "qu?est", "ha#sh", "naïve", "do$lar"])
async def test_d19_any_folder_name(tmp_path: Path, name: str) -> None:
    """D19: paths with signs that mean something in URLs work when the URL is built from the path."""
    folder = tmp_path / name
    folder.mkdir()
    log = sql.SqlObservations(sql.file_url(folder / "o.db"))
    await log.report(KEY, "pod", 0, losses(1))
    await log.close()
    assert (folder / "o.db").stat().st_size > 0


async def test_d14_damaged_and_foreign_files_are_refused_untouched(tmp_path: Path) -> None:
    """D14: what is no observation log is refused with its path, and not a byte of it changes."""
    text = tmp_path / "text"
    text.write_text("accuracy=0.9\n" * 1000)
    foreign = tmp_path / "foreign"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER)")
    connection.close()
    newer = tmp_path / "newer"
    log = sql.SqlObservations(sql.file_url(newer))
    await log.open()
    await log.close()
    with sqlite3.connect(newer) as connection:
        connection.execute(f"UPDATE {tables.VERSION_TABLE} SET version_num = '9999'")
    connection.close()
    for path, reason in ((text, "no SQLite file"), (foreign, "something else"), (newer, "newer kuttab")):
        before = path.read_bytes()
        log = sql.SqlObservations(sql.file_url(path))
        with pytest.raises(errors.CorruptError, match=reason) as caught:
            await log.open()
        assert str(path) in str(caught.value)
        await log.close()
        assert path.read_bytes() == before


async def test_d14_a_flipped_page_is_noticed(tmp_path: Path) -> None:
    """D14: rows on a damaged page raise CorruptError, never wrong rows."""
    path = tmp_path / "o.db"
    log = sql.SqlObservations(sql.file_url(path))
    await log.report(KEY, "pod", 0, losses(*range(5000)))
    await log.close()
    data = bytearray(path.read_bytes())
    for page in range(4096 * 2, len(data), 4096):
        data[page : page + 200] = bytes(200)
    path.write_bytes(data)
    log = sql.SqlObservations(sql.file_url(path))
    with pytest.raises(errors.CorruptError, match="damaged"):
        await log.read(KEY)
    await log.close()


async def test_paths_that_cannot_be_opened(tmp_path: Path) -> None:
    """A missing folder and a directory are told as such; it is worth trying again later."""
    for path in (tmp_path / "missing" / "o.db", tmp_path):
        log = sql.SqlObservations(sql.file_url(path))
        with pytest.raises(errors.UnavailableError, match="cannot be opened"):
            await log.open()
        await log.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [("nonsense", "is none"), ("oracle://scott:tiger@host/db", "'oracle' are not supported"), ("", "is none")],
)
async def test_urls_that_mean_nothing_are_refused(url: str, reason: str) -> None:
    """A URL that is none, or of another kind of database, is refused without showing what it holds."""
    log = sql.SqlObservations(url)
    with pytest.raises(errors.BadInputError, match=reason) as caught:
        await log.open()
    assert "tiger" not in str(caught.value)
    await log.close()


@pytest.mark.parametrize("url", ["postgresql://u:s3cret@127.0.0.1:1/db", "mysql://u:s3cret@127.0.0.1:1/db"])
async def test_s30_messages_hold_no_password(url: str) -> None:
    """S30: a server that is away is named without the password."""
    pytest.importorskip("psycopg")
    pytest.importorskip("pymysql")
    log = sql.SqlObservations(url)
    with pytest.raises(errors.UnavailableError, match=r"127\.0\.0\.1") as caught:
        await log.open()
    assert "s3cret" not in str(caught.value)
    await log.close()


async def test_c11_a_locked_file_is_waited_for_then_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C11: while another process holds the file, reports fail as unavailable; afterwards they succeed."""
    monkeypatch.setitem(database._CONNECT["sqlite"], "timeout", 0.1)
    log = sql.SqlObservations(f"sqlite:///{tmp_path}/o.db")
    await log.open()
    other = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(errors.UnavailableError, match="locked"):
        await log.report(KEY, "pod", 0, losses(1))
    other.execute("COMMIT")
    other.close()
    await log.report(KEY, "pod", 0, losses(1))
    assert await log.read(KEY) == losses(1)
    await log.close()


async def test_d10_a_full_disk_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """D10: when the disk is full reports fail as unavailable; with space again they succeed and nothing is missing."""
    log = sql.SqlObservations(f"sqlite:///{tmp_path}/o.db")
    await log.report(KEY, "pod", 0, losses(1))
    limit: list[int] = await log._call(lambda view: view._cursor.execute("PRAGMA page_count").fetchone())
    await log._call(lambda view: view._cursor.execute(f"PRAGMA max_page_count={limit[0] + 2}").fetchone())
    with pytest.raises(errors.UnavailableError, match="full"):
        await log.report(KEY, "pod", 1, losses(*range(100_000)))
    assert await log.read(KEY) == losses(1)
    await log.report(KEY, "pod", 1, losses(2))  # the connection was made anew, its limit is gone
    assert await log.read(KEY) == losses(1, 2)
    await log.close()


def differences(engine: sa.Engine) -> list[object]:
    """What a migration would still have to do."""
    with engine.connect() as connection:
        context = migration.MigrationContext.configure(connection, opts={"version_table": tables.VERSION_TABLE})
        return list(autogenerate.compare_metadata(context, tables.METADATA))


def test_migrations_lead_to_the_schema_of_the_code(tmp_path: Path) -> None:
    """D15: a database made at once and one that was migrated from nothing have the schema that the code defines."""
    made, moved = (database._engine(f"sqlite:///{tmp_path}/{name}.db") for name in ("made", "moved"))
    schema.prepare(made)
    with moved.connect() as connection:
        schema._migrate(connection)
    assert differences(made) == differences(moved) == []
    assert schema.KNOWN[-1] == tables.VERSION


async def test_katibs_table_is_taken_over(tmp_path: Path) -> None:
    """K8: Katib's rows stay, are read by trial name only, and never under a uid."""
    path = tmp_path / "katib.db"
    with sqlite3.connect(path) as connection:
        connection.execute(KATIB)
        connection.execute("INSERT INTO observation_logs VALUES ('trial-1', 7, '2024-01-01 00:00:00.5', 'loss', '0.5')")
    connection.close()
    log = sql.SqlObservations(sql.file_url(path))
    await log.report(KEY, "pod", 0, losses(1))
    assert await log.read(KEY) == losses(1)
    assert await log.read(TrialKey("", "trial-1")) == [Row("loss", "0.5", "2024-01-01T00:00:00.5Z")]
    await log.close()


@pytest.mark.parametrize("katib", [False, True])
async def test_d15_opening_killed_at_any_statement(tmp_path: Path, katib: bool) -> None:
    """D15: whatever statement making or migrating dies at, the next opening succeeds and Katib's rows are there."""
    path = tmp_path / "o.db"
    if katib:
        with sqlite3.connect(path) as connection:
            connection.execute(KATIB)
            connection.execute("INSERT INTO observation_logs VALUES ('old', 1, NULL, 'loss', '0.5')")
        connection.close()
    shutil.copy(path, tmp_path / "start") if katib else (tmp_path / "start").touch()
    for fatal in range(1, 200):
        shutil.copy(tmp_path / "start", path)
        engine = database._engine(sql.file_url(path))
        count = 0

        def die(*_: Any, fatal: int = fatal) -> None:
            nonlocal count
            count += 1
            if count == fatal:
                raise RuntimeError("killed")

        sa.event.listen(engine, "before_cursor_execute", die)
        died = False
        try:
            schema.prepare(engine)
        except RuntimeError:
            died = True
        engine.dispose()
        log = sql.SqlObservations(sql.file_url(path))
        await log.report(KEY, "pod", 0, losses(1))
        assert len(await log.read(TrialKey("", "old"))) == katib
        await log.close()
        if not died:
            break
    assert 5 < fatal < 199


def test_importing_costs_nothing() -> None:
    """SQLAlchemy and Alembic are loaded by the first job, not by the import."""
    code = "import sys, kuttab.observations.sql; sys.exit(any(name in sys.modules for name in ('sqlalchemy', 'alembic', 'sqlite3')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_reports_that_come_together_are_one_transaction(
    log: sql.SqlObservations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred reports at once cost a few flushes, not a hundred."""
    await log.open()
    batches: list[int] = []
    run = database.Database._transaction
    monkeypatch.setattr(
        database.Database, "_transaction", lambda self, jobs: batches.append(len(jobs)) or run(self, jobs)
    )
    await asyncio.gather(*(log.report(TrialKey(f"u{n}", "t"), "pod", 0, losses(n)) for n in range(100)))
    assert sum(batches) == 100
    assert len(batches) < 20


async def test_one_bad_job_does_not_harm_its_neighbours(log: sql.SqlObservations) -> None:
    """When one job of a batch fails in the database, the others are stored and only it fails."""

    def broken(view: Any) -> None:
        view._cursor.execute("SELECT * FROM no_such_table")

    results = await asyncio.gather(
        log.report(KEY, "pod", 0, losses(1)),
        log._call(broken),
        log.report(KEY, "pod", 1, losses(2)),
        return_exceptions=True,
    )
    assert results[0] is None
    assert isinstance(results[1], errors.UnavailableError)
    assert results[2] is None
    assert await log.read(KEY) == losses(1, 2)


async def test_a_caller_that_gave_up_disturbs_nobody(log: sql.SqlObservations) -> None:
    """Cancelling a report leaves the log usable, and the report is either stored or not."""
    task = asyncio.ensure_future(log.report(KEY, "pod", 0, losses(1)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await log.report(KEY, "pod", 0, losses(1))
    assert await log.read(KEY) == losses(1)


async def test_named_finds_trials_for_clients_that_know_no_uid(log: sql.SqlObservations) -> None:
    """Every trial of a name is told, with its namespace."""
    one, two = TrialKey("u1", "same", "a"), TrialKey("u2", "same", "b")
    await log.report(one, "pod", 0, losses(1))
    await log.report(two, "pod", 0, losses(1))
    assert await log.named("same") == [one, two]
    assert await log.named("other") == []


WRITER = """
import asyncio, sys
from kuttab.observations import sql
from kuttab.ports.observations import Row, TrialKey
async def main(url, first):
    log = sql.SqlObservations(url)
    await log.open()
    async def report(n):
        await log.report(TrialKey(f"uid-{n % 3}", "t"), "pod", n // 3, [Row("loss", str(n))])
        print(n, flush=True)
    n = first
    while True:
        await asyncio.gather(*(report(n + k) for k in range(3)))
        n += 3
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.slow
async def test_s27_acknowledged_rows_survive_kill_9(tmp_path: Path) -> None:
    """S27, D01: killed at random times, the log holds every acknowledged row exactly once and its aggregates equal its rows."""
    url = f"sqlite:///{tmp_path}/o.db"
    rng = random.Random(1)
    acknowledged = 0
    for _ in range(5):
        first = acknowledged // 3 * 3  # some again, as after a lost reply
        writer = subprocess.Popen(  # noqa: ASYNC220 - it is read and killed from outside
            [sys.executable, "-c", WRITER, url, str(first)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(rng.randint(5, 60)):
            acknowledged = max(acknowledged, int(writer.stdout.readline()))
        writer.kill()
        acknowledged = max([acknowledged, *(int(line) for line in writer.stdout.read().splitlines() if line)])
        writer.wait()
        writer.stdout.close()
    log = sql.SqlObservations(url)
    stored = 0
    for part in range(3):
        rows = await log.read(TrialKey(f"uid-{part}", "t"))
        assert [row.value for row in rows] == [str(n * 3 + part) for n in range(len(rows))]
        found = (await log.summarize(TrialKey(f"uid-{part}", "t"))).metrics["loss"]
        assert (found.count, found.latest) == (len(rows), rows[-1].value)
        stored += len(rows)
    assert stored > acknowledged - 2
    await log.close()


async def test_f23_deleting_a_large_trial_lets_others_through(log: sql.SqlObservations) -> None:
    """F23: while many rows are deleted, in chunks, another trial's report is answered before the deletion ends."""
    await log.report(KEY, "pod", 0, losses(*range(40_000)))
    deletion = asyncio.ensure_future(log.delete(KEY))
    await asyncio.sleep(0)
    await log.report(TrialKey("other", "t"), "pod", 0, losses(1))
    assert not deletion.done()
    await deletion
    assert await log.read(KEY) == []


async def test_f22_questions_about_a_trial_use_indexes_only(log: sql.SqlObservations) -> None:
    """F22: no statement of a report, a summary or a page scans a table."""
    await log.report(KEY, "pod", 0, losses(1))

    def plans(view: Any) -> list[str]:
        statements = [each for each in vars(view._do).values() if hasattr(each, "text")]
        statements += [view._do.read(metric=m, start=s, end=e) for m in (0, 1) for s in (0, 1) for e in (0, 1)]
        found = []
        for statement in statements:
            if not statement.text.startswith("INSERT"):
                rows = view._cursor.execute(
                    "EXPLAIN QUERY PLAN " + statement.text, ["x"] * statement.text.count("?")
                ).fetchall()
                found += [f"{statement.text}: {row[3]}" for row in rows]
        return found

    found = await log._call(plans)
    assert len(found) > 15
    assert [plan for plan in found if " SCAN " in f" {plan.rpartition(': ')[2]} "] == []


async def test_100000_rows_in_one_report(log: sql.SqlObservations) -> None:
    """A report of 100,000 rows, in one call, is stored whole; what it costs is measured by benchmarks/store.py."""
    await log.report(KEY, "pod", 0, [Row("loss", str(index / 7), "2024-01-01T00:00:00Z") for index in range(100_000)])
    assert (await log.summarize(KEY)).metrics["loss"] == Aggregate("0.0", str(99_999 / 7), str(99_999 / 7), 100_000)


def test_power_loss_settings(tmp_path: Path) -> None:
    """S27: the connection that writes flushes at every commit (WAL, synchronous=FULL)."""
    opened = database.Database(f"sqlite:///{tmp_path}/o.db")
    opened.open()
    assert opened._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert opened._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    opened.close()
    assert os.listdir(tmp_path) == ["o.db"]
