"""The statements of the observation log, compiled once per database kind to the driver's own text.

SQLAlchemy writes them from the one table definition; the hot path then hands text and values straight to the driver, which costs
a tenth of executing through SQLAlchemy. Values are always bound, never written into the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from kuttab.observations import tables

_AGGREGATE_COLUMNS: Final = ("metric_name", "row_count", "min_value", "max_value", "latest", "latest_seq")


class Statement:
    """One compiled statement; ``fields`` is the order in which values are passed."""

    def __init__(self, clause: sa.ClauseElement, dialect: sa.Dialect, fields: Sequence[str]) -> None:
        compiled: Any = clause.compile(dialect=dialect)
        self.text = str(compiled)
        order = tuple(compiled.positiontup or ())
        constants = {name: value for name, value in compiled.params.items() if name not in fields}
        if not set(fields) <= set(order):
            raise AssertionError(f"{self.text} takes {order}, not {tuple(fields)}")
        self._constants = tuple(constants.values())
        names = [*fields, *constants]
        self._order = None if order == tuple(fields) else [names.index(name) for name in order]

    def run(self, cursor: Any, *values: Any) -> Any:
        """Execute once; returns the cursor."""
        cursor.execute(self.text, values if self._order is None else self._arranged(values))
        return cursor

    def run_many(self, cursor: Any, many: list[tuple[Any, ...]]) -> None:
        """Execute for each tuple of values."""
        if len(many) == 1:
            self.run(cursor, *many[0])
        else:
            cursor.executemany(self.text, many if self._order is None else [self._arranged(values) for values in many])

    def _arranged(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        known = values + self._constants
        return tuple(known[index] for index in self._order or ())


class Statements:
    """All statements for one dialect (with positional parameters)."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect
        self._reads: dict[tuple[bool, bool, bool], Statement] = {}
        logs, sources, aggregates, fences = tables.LOGS, tables.SOURCES, tables.AGGREGATES, tables.FENCES
        self.add_row = self._insert(
            logs, ["trial_name", "time", "metric_name", "value", "trial_uid", "namespace", "source", "seq", "stamp"]
        )
        self.source = self._select(
            sa.select(sources.c.next_seq, sources.c.stored_count, sources.c.final_count).with_for_update(),
            sources,
            "trial_uid source",
        )
        self.add_source = self._insert(
            sources, ["trial_uid", "source", "trial_name", "namespace", "next_seq", "stored_count", "final_count"]
        )
        self.update_source = self._of(
            sa.update(sources)
            .where(_is(sources.c.trial_uid), _is(sources.c.source))
            .values({name: sa.bindparam(f"new_{name}") for name in ("next_seq", "stored_count", "final_count")}),
            "new_next_seq new_stored_count new_final_count trial_uid source",
        )
        self.aggregates = self._select(
            sa.select(*(aggregates.c[name] for name in _AGGREGATE_COLUMNS)), aggregates, "trial_uid source"
        )
        self.put_aggregate = self._put(aggregates, ["trial_uid", "source", "metric_name"], list(_AGGREGATE_COLUMNS[1:]))
        self.put_fence = self._put(fences, ["trial_uid"], ["source"])
        self.fence = self._select(sa.select(fences.c.source), fences, "trial_uid")
        self.sources = self._select(
            sa.select(sources.c.source, sources.c.next_seq, sources.c.stored_count, sources.c.final_count).order_by(
                sources.c.id
            ),
            sources,
            "trial_uid",
        )
        self.all_aggregates = self._select(
            sa.select(aggregates.c.source, *(aggregates.c[name] for name in _AGGREGATE_COLUMNS[:5])),
            aggregates,
            "trial_uid",
        )
        self.seqs = self._of(
            sa.select(logs.c.seq).where(
                _is(logs.c.trial_uid),
                _is(logs.c.source),
                logs.c.seq >= sa.bindparam("low"),
                logs.c.seq < sa.bindparam("high"),
            ),
            "trial_uid source low high",
        )
        self.last_rows = self._of(
            sa.select(logs.c.metric_name, logs.c.value, logs.c.stamp)
            .where(_is(logs.c.trial_uid), _is(logs.c.source))
            .order_by(logs.c.seq.desc())
            .limit(sa.bindparam("count", type_=sa.Integer())),
            "trial_uid source count",
        )
        self.named = self._select(sa.select(sources.c.trial_uid, sources.c.namespace).distinct(), sources, "trial_name")
        self.legacy = self._of(
            sa.select(logs.c.metric_name, logs.c.value, logs.c.time)
            .where(logs.c.trial_uid.is_(None), _is(logs.c.trial_name))
            .order_by(logs.c.time, logs.c.id),
            "trial_name",
        )
        self._deletes(logs, sources, aggregates, fences)

    def _deletes(self, logs: sa.Table, sources: sa.Table, aggregates: sa.Table, fences: sa.Table) -> None:
        self.nth_seq = self._of(
            sa.select(logs.c.seq)
            .where(_is(logs.c.trial_uid), _is(logs.c.source))
            .order_by(logs.c.seq)
            .limit(1)
            .offset(sa.bindparam("skip", type_=sa.Integer())),
            "trial_uid source skip",
        )
        self.delete_rows = self._of(
            sa.delete(logs).where(_is(logs.c.trial_uid), _is(logs.c.source), logs.c.seq < sa.bindparam("high")),
            "trial_uid source high",
        )
        self.delete_aggregates = self._of(
            sa.delete(aggregates).where(_is(aggregates.c.trial_uid), _is(aggregates.c.source)), "trial_uid source"
        )
        self.delete_source = self._of(
            sa.delete(sources).where(_is(sources.c.trial_uid), _is(sources.c.source)), "trial_uid source"
        )
        self.delete_fence = self._of(sa.delete(fences).where(_is(fences.c.trial_uid)), "trial_uid")

    def read(self, *, metric: bool, start: bool, end: bool) -> Statement:
        """A page of a source's rows after a sequence number: (trial_uid, source, after[, metric][, start][, end], limit)."""
        key = (metric, start, end)
        if key not in self._reads:
            logs = tables.LOGS
            query = sa.select(logs.c.seq, logs.c.metric_name, logs.c.value, logs.c.stamp).where(
                _is(logs.c.trial_uid), _is(logs.c.source), logs.c.seq > sa.bindparam("after")
            )
            fields = ["trial_uid", "source", "after"]
            if metric:
                query, fields = query.where(_is(logs.c.metric_name)), [*fields, "metric_name"]
            if start:
                query, fields = query.where(logs.c.stamp >= sa.bindparam("start")), [*fields, "start"]
            if end:
                query, fields = query.where(logs.c.stamp <= sa.bindparam("end")), [*fields, "end"]
            query = query.order_by(logs.c.seq).limit(sa.bindparam("limit", type_=sa.Integer()))
            self._reads[key] = self._of(query, " ".join([*fields, "limit"]))
        return self._reads[key]

    def _of(self, clause: sa.ClauseElement, fields: str) -> Statement:
        return Statement(clause, self._dialect, fields.split())

    def _select(self, query: sa.Select[Any], table: sa.Table, fields: str) -> Statement:
        return self._of(query.where(*(_is(table.c[name]) for name in fields.split())), fields)

    def _insert(self, table: sa.Table, names: list[str]) -> Statement:
        """Insert, leaving a row that is there already alone."""
        values: dict[str, Any] = {name: sa.bindparam(name) for name in names}
        clause: Any
        if self._dialect.name == "postgresql":
            clause = postgresql.insert(table).values(values).on_conflict_do_nothing()
        elif self._dialect.name == "sqlite":
            clause = sqlite.insert(table).values(values).on_conflict_do_nothing()
        else:  # not INSERT IGNORE, which would hide other errors too
            same = {"trial_uid": table.c.trial_uid}
            clause = mysql.insert(table).values(values).on_duplicate_key_update(same)
        return Statement(clause.inline(), self._dialect, names)

    def _put(self, table: sa.Table, key: list[str], names: list[str]) -> Statement:
        """Insert or replace a row."""
        values: dict[str, Any] = {name: sa.bindparam(name) for name in [*key, *names]}
        clause: Any
        if self._dialect.name in ("postgresql", "sqlite"):
            insert = (postgresql if self._dialect.name == "postgresql" else sqlite).insert(table).values(values)
            clause = insert.on_conflict_do_update(
                index_elements=[table.c[name] for name in key], set_={name: insert.excluded[name] for name in names}
            )
        else:
            change = mysql.insert(table).values(values)
            clause = change.on_duplicate_key_update({name: change.inserted[name] for name in names})
        return Statement(clause.inline(), self._dialect, [*key, *names])


def _is(column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    return column == sa.bindparam(column.name)
