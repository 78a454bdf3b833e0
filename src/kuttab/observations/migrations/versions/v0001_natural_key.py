"""Take over Katib's ``observation_logs``: our columns (nullable), the natural key, and the derived tables.

Katib's rows stay as they are, with NULL in our columns; they are read by trial name. Katib may go on writing. Each step looks whether
it has been done, since MySQL commits every DDL statement by itself and a crash can come between any two.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BINARY: dict[str, Any] = {"charset": "utf8mb4", "collation": "utf8mb4_bin"}
_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
}


def _name(length: int = 255) -> Any:
    return sa.String(length).with_variant(mysql.VARCHAR(length, **_BINARY), "mysql", "mariadb")


def _text() -> Any:
    return sa.Text().with_variant(mysql.TEXT(**_BINARY), "mysql", "mariadb")


def _serial() -> Any:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """From nothing of ours to version 0001."""
    present = set(sa.inspect(op.get_bind()).get_table_names())
    if "observation_logs" not in present:
        _create_logs()
    else:
        _extend_logs()
    if "observation_sources" not in present:
        _create_sources()
    if "ix_observation_sources_trial_name" not in _indexes("observation_sources"):
        op.create_index("ix_observation_sources_trial_name", "observation_sources", ["trial_name"])
    if "observation_aggregates" not in present:
        _create_aggregates()
    if "observation_fences" not in present:
        op.create_table(
            "observation_fences",
            sa.Column("trial_uid", _name(), primary_key=True),
            sa.Column("source", _name(), nullable=False),
            **_OPTIONS,
        )


def _create_logs() -> None:
    moment = (
        sa.DateTime()
        .with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
        .with_variant(postgresql.TIMESTAMP(precision=6), "postgresql")
    )
    op.create_table(
        "observation_logs",
        sa.Column("trial_name", _name(), nullable=False),
        sa.Column("id", _serial(), primary_key=True, autoincrement=True),
        sa.Column("time", moment),
        sa.Column("metric_name", _name(), nullable=False),
        sa.Column("value", _text(), nullable=False),
        *_our_columns(),
        sa.UniqueConstraint("trial_uid", "source", "seq", "metric_name", name="uq_observation_logs"),
        **_OPTIONS,
    )


def _our_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("trial_uid", _name()),
        sa.Column("namespace", _name()),
        sa.Column("source", _name()),
        sa.Column("seq", sa.BigInteger()),
        sa.Column("stamp", _name(32)),
    ]


def _extend_logs() -> None:
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("observation_logs")}
    for column in _our_columns():
        if column.name not in there:
            op.add_column("observation_logs", column)
    if "uq_observation_logs" not in _indexes("observation_logs"):
        op.create_index(
            "uq_observation_logs", "observation_logs", ["trial_uid", "source", "seq", "metric_name"], unique=True
        )


def _create_sources() -> None:
    op.create_table(
        "observation_sources",
        sa.Column("id", _serial(), primary_key=True, autoincrement=True),
        sa.Column("trial_uid", _name(), nullable=False),
        sa.Column("source", _name(), nullable=False),
        sa.Column("trial_name", _name(), nullable=False),
        sa.Column("namespace", _name(), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.Column("stored_count", sa.BigInteger(), nullable=False),
        sa.Column("final_count", sa.BigInteger()),
        sa.UniqueConstraint("trial_uid", "source", name="uq_observation_sources"),
        **_OPTIONS,
    )


def _create_aggregates() -> None:
    op.create_table(
        "observation_aggregates",
        sa.Column("trial_uid", _name(), primary_key=True),
        sa.Column("source", _name(), primary_key=True),
        sa.Column("metric_name", _name(), primary_key=True),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("min_value", _text(), nullable=False),
        sa.Column("max_value", _text(), nullable=False),
        sa.Column("latest", _text(), nullable=False),
        sa.Column("latest_seq", sa.BigInteger(), nullable=False),
        **_OPTIONS,
    )


def _indexes(table: str) -> set[str]:
    inspector = sa.inspect(op.get_bind())
    if table not in inspector.get_table_names():
        return set()
    found = [*inspector.get_indexes(table), *inspector.get_unique_constraints(table)]
    return {str(each["name"]) for each in found}
