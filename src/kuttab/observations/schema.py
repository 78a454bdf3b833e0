"""Opening a database: made when it is empty, migrated when it is older, taken over when it is Katib's, else refused untouched.

A new database is made from the table definition in one go; the migrations (Alembic, in ``migrations/``) must lead to the same schema,
which a test compares. Alembic is loaded only when there is something to migrate.
"""

from __future__ import annotations

import importlib
import pathlib
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import schema

from kuttab.base import errors
from kuttab.observations import tables

MIGRATIONS: Final = pathlib.Path(__file__).parent / "migrations"
KNOWN: Final = ("0001",)
"""Every version there has been, oldest first; the last is :data:`tables.VERSION`."""

_LOCK_NUMBER: Final = 0x6B757474


def prepare(engine: sa.Engine) -> None:
    """Bring the database to :data:`tables.VERSION`. CorruptError when it is newer, or an SQLite file that is something else."""
    with engine.connect() as connection:
        _lock(connection)
        try:
            names = set(sa.inspect(connection).get_table_names())
            version = _version(connection, names)
            if version == tables.VERSION:
                return
            if version is not None and version not in KNOWN:
                raise errors.CorruptError(
                    f"{shown(engine)} was written by a newer kuttab (observation log version {version!r}, this one knows "
                    f"{tables.VERSION}); use that version, nothing was changed"
                )
            if version is None and names and engine.dialect.name == "sqlite" and tables.LOGS.name not in names:
                raise errors.CorruptError(
                    f"{shown(engine)} is an SQLite file of something else (table {min(names)!r}); name another file"
                )
            connection.rollback()
            if version is None and not names & set(tables.METADATA.tables):
                _create(connection)
            else:
                _migrate(connection)
        finally:
            _unlock(connection)


def shown(engine: sa.Engine) -> str:
    """The database's address without its password."""
    return (
        str(engine.url.database) if engine.dialect.name == "sqlite" else engine.url.render_as_string(hide_password=True)
    )


def _version(connection: sa.Connection, names: set[str]) -> str | None:
    if tables.VERSION_TABLE not in names:
        return None
    row = connection.execute(sa.text(f"SELECT version_num FROM {tables.VERSION_TABLE}")).first()  # noqa: S608 - a constant
    return str(row[0]) if row else None


def _create(connection: sa.Connection) -> None:
    """All tables and the version, in one transaction where the database has such."""
    version = sa.Table(
        tables.VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True, nullable=False)
    )
    _begin(connection)
    for table in (*tables.METADATA.sorted_tables, version):
        connection.execute(schema.CreateTable(table))
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            connection.execute(schema.CreateIndex(index))
    connection.execute(sa.insert(version).values(version_num=tables.VERSION))
    connection.commit()


def _migrate(connection: sa.Connection) -> None:
    config_module = importlib.import_module("alembic.config")
    command: Any = importlib.import_module("alembic.command")
    config = config_module.Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    _begin(connection)
    command.upgrade(config, "head")
    connection.commit()


def _begin(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":  # the driver would begin only at the first INSERT and leave DDL outside
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _lock(connection: sa.Connection) -> None:
    """Only one process prepares a server's database at a time."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_lock(_LOCK_NUMBER)))
    elif connection.dialect.name != "sqlite":
        connection.execute(sa.select(sa.func.get_lock("kuttab_observations", 60)))


def _unlock(connection: sa.Connection) -> None:
    if connection.invalidated or connection.closed:
        return
    connection.rollback()
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_unlock(_LOCK_NUMBER)))
    elif connection.dialect.name != "sqlite":
        connection.execute(sa.select(sa.func.release_lock("kuttab_observations")))
    connection.commit()
