"""The observation log as tables: one definition for SQLite, PostgreSQL, MySQL and MariaDB.

``observation_logs`` keeps the columns of Katib's table, so that Katib's own programs can read it. Ours are nullable: rows that Katib
wrote have none of them, and it may go on writing. The natural key is (trial_uid, source, seq, metric_name); databases do not
compare NULLs, so Katib's rows never collide. Everything else is derived from that table in the transaction that writes it: the
state of each source, and running aggregates per metric, so that no question about a trial needs its rows.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

METADATA: Final = sa.MetaData()

VERSION_TABLE: Final = "kuttab_observations_version"
VERSION: Final = "0001"

_BINARY: Final[dict[str, Any]] = {
    "charset": "utf8mb4",
    "collation": "utf8mb4_bin",
}  # MySQL's default would find "Loss" for "loss"


def _name(length: int = 255) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, **_BINARY), "mysql", "mariadb")


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.TEXT(**_BINARY), "mysql", "mariadb")


def _moment() -> sa.types.TypeEngine[Any]:
    return (
        sa.DateTime()
        .with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
        .with_variant(postgresql.TIMESTAMP(precision=6), "postgresql")
    )


_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MYSQL: Final[dict[str, Any]] = {
    "mysql_charset": "utf8mb4",
    "mysql_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
}

LOGS: Final = sa.Table(
    "observation_logs",
    METADATA,
    sa.Column("trial_name", _name(), nullable=False),
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("time", _moment()),
    sa.Column("metric_name", _name(), nullable=False),
    sa.Column("value", _text(), nullable=False),
    sa.Column("trial_uid", _name()),
    sa.Column("namespace", _name()),
    sa.Column("source", _name()),
    sa.Column("seq", sa.BigInteger()),
    sa.Column("stamp", _name(32)),
    sa.UniqueConstraint("trial_uid", "source", "seq", "metric_name", name="uq_observation_logs"),
    **_MYSQL,
)

SOURCES: Final = sa.Table(
    "observation_sources",
    METADATA,
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("trial_uid", _name(), nullable=False),
    sa.Column("source", _name(), nullable=False),
    sa.Column("trial_name", _name(), nullable=False),
    sa.Column("namespace", _name(), nullable=False),
    sa.Column("next_seq", sa.BigInteger(), nullable=False),
    sa.Column("stored_count", sa.BigInteger(), nullable=False),
    sa.Column("final_count", sa.BigInteger()),
    sa.UniqueConstraint("trial_uid", "source", name="uq_observation_sources"),
    sa.Index("ix_observation_sources_trial_name", "trial_name"),
    **_MYSQL,
)

AGGREGATES: Final = sa.Table(
    "observation_aggregates",
    METADATA,
    sa.Column("trial_uid", _name(), primary_key=True),
    sa.Column("source", _name(), primary_key=True),
    sa.Column("metric_name", _name(), primary_key=True),
    sa.Column("row_count", sa.BigInteger(), nullable=False),
    sa.Column("min_value", _text(), nullable=False),
    sa.Column("max_value", _text(), nullable=False),
    sa.Column("latest", _text(), nullable=False),
    sa.Column("latest_seq", sa.BigInteger(), nullable=False),
    **_MYSQL,
)

FENCES: Final = sa.Table(
    "observation_fences",
    METADATA,
    sa.Column("trial_uid", _name(), primary_key=True),
    sa.Column("source", _name(), nullable=False),
    **_MYSQL,
)
