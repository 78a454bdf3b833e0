"""The observation log on real PostgreSQL and MariaDB servers: its contract, Katib's own tables, several writers, outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import autogenerate
from alembic.runtime import migration

import database_servers
from kuttab.base import errors
from kuttab.observations import database, schema, sql, tables
from kuttab.ports.observations import Aggregate, Row, Summary, TrialKey
from kuttab.testing.observations import ObservationsContract, losses, trial

pytestmark = pytest.mark.slow

KATIB_TABLES = {
    "postgresql": "CREATE TABLE observation_logs (trial_name VARCHAR(255) NOT NULL, id serial PRIMARY KEY, time TIMESTAMP(6), "
    "metric_name VARCHAR(255) NOT NULL, value TEXT NOT NULL)",
    "mysql": "CREATE TABLE observation_logs (trial_name VARCHAR(255) NOT NULL, id INT AUTO_INCREMENT PRIMARY KEY, "
    "time DATETIME(6), metric_name VARCHAR(255) NOT NULL, value TEXT NOT NULL)",
}
KATIB_INSERT = (
    "INSERT INTO observation_logs (trial_name, time, metric_name, value) VALUES ('old', '2024-01-01 00:00:00.500000', 'loss', '0.5'), "
    "('old', '2023-01-01 00:00:00.000000', 'loss', 'unavailable'), ('older', '0001-01-01 00:00:00.000000', 'loss', '')"
)


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server for this module."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    try:
        with database_servers.postgresql() as url:
            yield url
    except database_servers.MissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def mariadb_url() -> Iterator[str]:
    """A MariaDB server for this module."""
    pytest.importorskip("pymysql", reason="pymysql is not installed")
    try:
        with database_servers.mariadb() as url:
            yield url
    except database_servers.MissingError as missing:
        pytest.skip(str(missing))


class ServerContract(ObservationsContract):
    """What a server adds to the contract; subclasses give ``url``."""

    @pytest.fixture
    async def observations(self, url: str) -> AsyncIterator[sql.SqlObservations]:
        """A connection to the shared database."""
        log = sql.SqlObservations(url)
        yield log
        await log.close()

    @pytest.fixture
    def engine(self, url: str) -> Iterator[sa.Engine]:
        """A plain connection, as a stranger has it."""
        engine = database._engine(url)
        yield engine
        engine.dispose()

    @pytest.fixture
    def bare(self, engine: sa.Engine) -> sa.Engine:
        """The same, on a database without any of our tables."""
        with engine.begin() as connection:
            for name in sa.inspect(connection).get_table_names():
                connection.execute(sa.text(f"DROP TABLE {name}"))
        return engine

    async def test_several_writers_of_one_source(self, url: str) -> None:
        """S16: db-managers that write one source at once, with overlaps, keep rows and aggregates exact."""
        logs = [sql.SqlObservations(url) for _ in range(3)]
        key = trial()
        await asyncio.gather(
            *(
                log.report(key, "pod", first, losses(*range(first, first + 10)))
                for first in range(0, 60, 5)
                for log in logs
            )
        )
        assert await logs[0].read(key) == losses(*range(65))
        assert (await logs[1].summarize(key)).metrics == {"loss": Aggregate("0", "64", "64", 65)}
        for log in logs:
            await log.close()

    async def test_an_empty_database_gets_the_schema_that_migrations_lead_to(self, bare: sa.Engine, url: str) -> None:
        """D15: tables made at once, and tables made by the migrations, are the ones that the code defines."""
        schema.prepare(bare)
        made = differences(bare)
        with bare.begin() as connection:
            for name in sa.inspect(connection).get_table_names():
                connection.execute(sa.text(f"DROP TABLE {name}"))
        with bare.connect() as connection:
            schema._migrate(connection)
        assert made == differences(bare) == []

    async def test_katibs_table_is_taken_over(self, bare: sa.Engine, url: str) -> None:
        """K8: Katib's rows stay readable by trial name, never show under a uid, and Katib may go on writing."""
        with bare.begin() as connection:
            connection.execute(sa.text(KATIB_TABLES[bare.dialect.name]))
            connection.execute(sa.text(KATIB_INSERT))
        log = sql.SqlObservations(url)
        key = TrialKey("uid-1", "old", "default")
        await log.report(key, "pod", 0, losses(1))
        assert await log.read(key) == losses(1)
        expected = [Row("loss", "unavailable", "2023-01-01T00:00:00Z"), Row("loss", "0.5", "2024-01-01T00:00:00.5Z")]
        assert await log.read(TrialKey("", "old")) == expected
        assert await log.read(TrialKey("", "old"), start="2023-06-01T00:00:00Z") == expected[1:]
        assert await log.read(TrialKey("", "older")) == [Row("loss", "", "")]
        with bare.begin() as connection:
            connection.execute(sa.text(KATIB_INSERT))
            seen = connection.execute(
                sa.text("SELECT COUNT(*) FROM observation_logs WHERE trial_name = 'old'")
            ).scalar()
        assert seen == 5
        assert len(await log.read(TrialKey("", "old"))) == 4
        await log.close()

    async def test_d15_a_migration_killed_at_any_statement_is_finished_later(self, bare: sa.Engine, url: str) -> None:
        """D15: whatever statement a migration dies at, opening again completes it and Katib's rows are still there."""
        with bare.begin() as connection:
            connection.execute(sa.text(KATIB_TABLES[bare.dialect.name]))
            connection.execute(sa.text(KATIB_INSERT))
        for fatal in range(1, 100):
            count = 0

            def die(*_: Any, fatal: int = fatal) -> None:
                nonlocal count
                count += 1
                if count == fatal:
                    raise RuntimeError("killed")

            sa.event.listen(bare, "before_cursor_execute", die)
            try:
                schema.prepare(bare)
                break
            except RuntimeError:
                continue
            finally:
                sa.event.remove(bare, "before_cursor_execute", die)
        assert fatal > 10
        log = sql.SqlObservations(url)
        assert len(await log.read(TrialKey("", "old"))) == 2
        await log.report(trial(), "pod", 0, losses(1))
        await log.close()

    async def test_a_newer_database_is_refused(self, bare: sa.Engine, url: str) -> None:
        """D14: a database of a newer version is refused and left as it is."""
        schema.prepare(bare)
        with bare.begin() as connection:
            connection.execute(sa.text(f"UPDATE {tables.VERSION_TABLE} SET version_num = '9999'"))
        log = sql.SqlObservations(url)
        with pytest.raises(errors.CorruptError, match="newer kuttab"):
            await log.open()
        await log.close()
        with bare.begin() as connection:
            connection.execute(sa.text(f"UPDATE {tables.VERSION_TABLE} SET version_num = '{tables.VERSION}'"))

    async def test_c18_a_cut_connection_is_made_anew(self, bare: sa.Engine, url: str) -> None:
        """C18: a connection that the server closed costs no report."""
        log = sql.SqlObservations(url)
        key = trial()
        await log.report(key, "pod", 0, losses(1))
        with bare.connect() as connection:
            if bare.dialect.name == "postgresql":
                connection.execute(
                    sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
                )
            else:
                for row in connection.execute(sa.text("SHOW PROCESSLIST")).fetchall():
                    if row[0] != connection.execute(sa.text("SELECT CONNECTION_ID()")).scalar() and row[1] == "root":
                        connection.execute(sa.text(f"KILL {row[0]}"))
        outcomes = []
        for first in range(1, 4):
            try:
                await log.report(key, "pod", first, losses(first + 1))
                outcomes.append("stored")
            except errors.UnavailableError:
                outcomes.append("away")
        assert outcomes[1:] == ["stored", "stored"]
        await log.report(key, "pod", 0, losses(1, 2, 3, 4))
        assert await log.read(key) == losses(1, 2, 3, 4)
        await log.close()

    async def test_katib_reads_our_rows(self, observations: sql.SqlObservations, engine: sa.Engine) -> None:
        """Katib's own query (by name and time) finds what we store."""
        key = trial(f"shared-{trial().uid}")
        await observations.report(key, "pod", 0, [Row("loss", "1", "2024-01-01T00:00:00.5Z"), Row("loss", "2")])
        with engine.connect() as connection:
            query = "SELECT metric_name, value, time FROM observation_logs WHERE trial_name = :name ORDER BY time"
            found = connection.execute(sa.text(query), {"name": key.name}).fetchall()
        assert [(row[0], row[1], row[2].isoformat()) for row in found] == [
            ("loss", "2", "0001-01-01T00:00:00"),
            ("loss", "1", "2024-01-01T00:00:00.500000"),
        ]


def differences(engine: sa.Engine) -> list[object]:
    """What a migration would still have to do."""
    with engine.connect() as connection:
        context = migration.MigrationContext.configure(connection, opts={"version_table": tables.VERSION_TABLE})
        return list(autogenerate.compare_metadata(context, tables.METADATA))


class TestPostgresql(ServerContract):
    """On a PostgreSQL server."""

    @pytest.fixture
    def url(self, postgresql_url: str) -> str:
        """Where it is."""
        return postgresql_url


class TestMariadb(ServerContract):
    """On a MariaDB server."""

    @pytest.fixture
    def url(self, mariadb_url: str) -> str:
        """Where it is."""
        return mariadb_url


async def test_f21_a_server_that_is_away_for_a_while() -> None:
    """F21, C16: while the server is away reports fail as unavailable; afterwards repeating them loses and doubles nothing."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    key = trial()
    try:
        with database_servers.postgresql_that_restarts() as (url, stop, start):
            log = sql.SqlObservations(url)
            await log.report(key, "pod", 0, losses(1))
            stop()
            with pytest.raises(errors.UnavailableError, match="away"):
                await log.report(key, "pod", 1, losses(2))
            start()
            await log.report(key, "pod", 1, losses(2))
            assert await log.complete(key, "pod", 0, losses(1, 2)) == Summary(
                {"loss": Aggregate("1", "2", "2", 2)}, complete=True
            )
            await log.close()
    except database_servers.MissingError as missing:
        pytest.skip(str(missing))
