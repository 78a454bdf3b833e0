"""A connection to the observation log's database, used by one thread.

Jobs that come together are done in one transaction and committed once, with the data on disk before anyone is told (SQLite: WAL,
synchronous=FULL), so what was acknowledged survives kill -9 and power loss, and a hundred small reports cost one flush. After any
error of the driver the connection is thrown away: a failed flush is never tried again on the same one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import pool

from kuttab.base import errors
from kuttab.base import log as logs
from kuttab.observations import log, schema, statements

Job = Callable[[log.Log], Any]

_DRIVERS: Final = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
_CONNECT: Final[dict[str, dict[str, Any]]] = {
    "sqlite": {"timeout": 5.0, "check_same_thread": False},  # used by whoever has the turn
    "postgresql": {"connect_timeout": 5, "options": "-c statement_timeout=30000 -c lock_timeout=10000"},
    "mysql": {"connect_timeout": 5, "read_timeout": 30, "write_timeout": 30, "charset": "utf8mb4"},
}
_DAMAGE: Final = ("not a database", "malformed", "file is encrypted", "unsupported file format")
_log = logs.get(__name__)


class Database:
    """Opened lazily at the first job; every method raises CorruptError, BadInputError or UnavailableError."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._statements = statements.Statements(self._engine.dialect)
        self._sqlite = self._engine.dialect.name == "sqlite"
        self._prepared = False
        self._connection: Any = None
        self._pooled: Any = None

    def open(self) -> None:
        """Connect now; the schema is made or migrated the first time."""
        if self._connection is not None:
            return
        try:
            if not self._prepared:
                if self._sqlite:
                    _make_private(self._engine.url.database)
                schema.prepare(self._engine)
                self._prepared = True
            self._connection = self._connect()
        except Exception as error:
            self.close()
            raise self._told(error) from error

    def run(self, jobs: Sequence[Job]) -> list[Any]:
        """Do all jobs and commit once. The answers are results or, for a job that failed, its error."""
        try:
            self.open()
            return self._transaction(jobs)
        except Exception as error:
            self._abandon()
            if len(jobs) == 1:
                return [self._told(error)]
        return [self._alone(job) for job in jobs]

    def close(self) -> None:
        """Give the connection back; the next job would open a new one."""
        self._abandon()
        self._engine.dispose()

    def _alone(self, job: Job) -> Any:
        """One job of a batch that failed: it is safe to do again, since jobs are idempotent."""
        try:
            self.open()
            return self._transaction([job])[0]
        except Exception as error:
            self._abandon()
            return self._told(error)

    def _transaction(self, jobs: Sequence[Job]) -> list[Any]:
        cursor = self._connection.cursor()
        if self._sqlite:
            cursor.execute("BEGIN IMMEDIATE")
        view = log.Log(cursor, self._statements, locking=not self._sqlite)
        results = [job(view) for job in jobs]
        if self._sqlite:
            cursor.execute("COMMIT")
        else:
            self._connection.commit()
        cursor.close()
        return results

    def _connect(self) -> Any:
        self._pooled = self._engine.raw_connection()
        connection: Any = self._pooled.driver_connection
        cursor = connection.cursor()
        if self._sqlite:
            connection.isolation_level = None
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "fullfsync=ON", "cache_size=-1024"):
                cursor.execute(f"PRAGMA {pragma}").fetchall()
        elif (
            self._engine.dialect.name != "postgresql"
        ):  # a snapshot of the transaction's start would show old aggregates
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection.commit()
        cursor.close()
        return connection

    def _abandon(self) -> None:
        pooled, self._pooled, self._connection = self._pooled, None, None
        if pooled is None:
            return
        try:
            pooled.invalidate()
        except Exception as error:
            _log.debug("closing a broken connection failed", error=type(error).__name__)

    def _told(self, error: Exception) -> errors.KuttabError:
        """The error in our words: never a statement, a value or a password."""
        if isinstance(error, errors.KuttabError):
            return error
        where = schema.shown(self._engine)
        cause = getattr(error, "orig", None) or error
        text = str(cause).splitlines()[0][:200] if str(cause) else type(cause).__name__
        if self._sqlite and any(mark in text for mark in _DAMAGE):
            return errors.CorruptError(f"{where} is damaged or no SQLite file ({text}); it was left untouched")
        dbapi = self._engine.dialect.dbapi
        if isinstance(cause, dbapi.Error if dbapi else OSError):
            return errors.UnavailableError(f"the observation log {where} is away: {text}")
        if isinstance(cause, OSError):
            return errors.UnavailableError(f"the observation log {where} cannot be opened: {cause.strerror or text}")
        raise error


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise errors.BadInputError("the database URL is none; write it like sqlite:///observations.db") from None
    kind = parsed.drivername.partition("+")[0]
    if kind not in _DRIVERS:
        known = "sqlite, postgresql, mysql, mariadb"
        raise errors.BadInputError(f"databases of kind {kind!r} are not supported; use one of {known}")
    if kind == "sqlite" and not parsed.database:
        parsed = parsed.set(database=":memory:")
    parsed = parsed.set(drivername=_DRIVERS[kind])
    options = dict(_CONNECT[parsed.get_backend_name()])
    try:
        return sa.create_engine(
            parsed,
            connect_args=options,
            poolclass=pool.StaticPool if parsed.database == ":memory:" else pool.NullPool,
            paramstyle="qmark" if kind == "sqlite" else "format",
        )
    except ModuleNotFoundError as error:
        extra = "mysql" if parsed.get_backend_name() == "mysql" else "postgresql"
        raise errors.BadInputError(f"{kind} databases need a driver: pip install 'kuttab[{extra}]'") from error


def _make_private(path: str | None) -> None:
    """Only the owner may read the file; SQLite gives its companions the same mode."""
    if path and path != ":memory:":
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
