"""The observation log's operations inside one transaction, on a driver's cursor.

Everything a report changes (rows, the source's state, the running aggregates) changes in the same transaction, under the lock of the
source's row, so aggregates always equal the rows. No method begins or commits.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, Final

from kuttab.observations import rows as checks
from kuttab.observations import statements
from kuttab.ports.observations import Aggregate, Position, Row, Summary, TrialKey
from kuttab.rules import metric_values, observation

DELETE_CHUNK: Final = 5_000  # rows removed in one transaction
_NO_TIME: Final = "0001-01-01 00:00:00.000000"


class Log:
    """One transaction's view; ``locking`` databases have several writers, so a source's row is made before it is read."""

    def __init__(self, cursor: Any, known: statements.Statements, *, locking: bool) -> None:
        self._cursor = cursor
        self._do = known
        self._locking = locking

    def write(
        self,
        trial: TrialKey,
        source: str,
        first_seq: int,
        rows: Sequence[Row],
        *,
        final: int | None = None,
        fence: bool = False,
    ) -> None:
        """Store checked rows, then the final marker and the fence when asked for."""
        key = (trial.uid, source)
        state = self._do.source.run(self._cursor, *key).fetchone()
        if state is None and self._locking:
            self._do.add_source.run(self._cursor, *key, trial.name, trial.namespace, 0, 0, None)
            state = self._do.source.run(self._cursor, *key).fetchone()
        next_seq, stored, known_final = state or (0, 0, None)
        fresh = self._fresh(key, first_seq, rows, next_seq, stored)
        if fresh:
            self._insert(trial, source, fresh, first=stored == 0)
            next_seq, stored = max(next_seq, fresh[-1][0] + 1), stored + len(fresh)
        if final is not None:
            known_final = max(final, known_final or 0)
        if state is None:
            self._do.add_source.run(self._cursor, *key, trial.name, trial.namespace, next_seq, stored, known_final)
        elif (next_seq, stored, known_final) != tuple(state):
            self._do.update_source.run(self._cursor, next_seq, stored, known_final, *key)
        if fence:
            self.fence(trial, source)

    def fence(self, trial: TrialKey, source: str) -> None:
        """Only this source counts."""
        self._do.put_fence.run(self._cursor, trial.uid, source)

    def position(self, trial: TrialKey, source: str, last: int) -> Position:
        """Where a source stands."""
        state = self._do.source.run(self._cursor, trial.uid, source).fetchone()
        if state is None:
            return Position()
        found = self._do.last_rows.run(self._cursor, trial.uid, source, last).fetchall() if last > 0 else []
        return Position(state[0], state[2] is not None, tuple(_row(*each) for each in reversed(found)))

    def summary(self, trial: TrialKey) -> Summary:
        """The aggregates of what counts: three small reads, whatever the number of rows."""
        live = self.live(trial)
        by_source: dict[str, dict[str, Aggregate]] = {}
        for source, metric, count, low, high, latest in self._do.all_aggregates.run(self._cursor, trial.uid).fetchall():
            by_source.setdefault(source, {})[metric] = Aggregate(low, high, latest, count)
        if len(live) == 1:
            metrics = by_source.get(live[0][0], {})
        else:
            total = observation.Accumulator()
            for source, *_ in live:
                total.extend(by_source.get(source, {}))
            metrics = total.aggregates()
        complete = any(final is not None and stored == upto >= final for _, upto, stored, final in live)
        return Summary(metrics, complete)

    def live(self, trial: TrialKey) -> list[tuple[str, int, int, int | None]]:
        """Sources that count, in the order of their first report: name, next sequence number, rows stored, final count."""
        fence = self._do.fence.run(self._cursor, trial.uid).fetchone()
        sources = self._do.sources.run(self._cursor, trial.uid).fetchall()
        return [tuple(each) for each in sources if fence is None or each[0] == fence[0]]

    def page(
        self, trial: TrialKey, source: str, after: int, limit: int, metric: str, start: str, end: str
    ) -> list[tuple[int, Row]]:
        """Rows of one source after a sequence number, at most ``limit``."""
        statement = self._do.read(metric=bool(metric), start=bool(start), end=bool(end))
        values = [trial.uid, source, after, *(each for each in (metric, start, end) if each), limit]
        return [(each[0], _row(*each[1:])) for each in statement.run(self._cursor, *values).fetchall()]

    def delete_chunk(self, trial: TrialKey) -> bool:
        """Remove some of a trial's rows; false when nothing is left. A source's own row goes last, so a crash loses no trace."""
        live = self._do.sources.run(self._cursor, trial.uid).fetchall()
        if not live:
            self._do.delete_fence.run(self._cursor, trial.uid)
            return False
        key = (trial.uid, live[0][0])
        bound = self._do.nth_seq.run(self._cursor, *key, DELETE_CHUNK).fetchone()
        self._do.delete_rows.run(self._cursor, *key, bound[0] if bound else checks.LAST_SEQ)
        if bound is None:
            self._do.delete_aggregates.run(self._cursor, *key)
            self._do.delete_source.run(self._cursor, *key)
        return True

    def named(self, name: str) -> list[TrialKey]:
        """Trials of that name that have rows, in any namespace."""
        return [TrialKey(uid, name, space) for uid, space in sorted(self._do.named.run(self._cursor, name).fetchall())]

    def legacy(self, name: str) -> list[Row]:
        """Rows that Katib wrote for a trial of that name, by time."""
        found = self._do.legacy.run(self._cursor, name).fetchall()
        return [Row(metric, value, _legacy_time(moment)) for metric, value, moment in found]

    def _fresh(
        self, key: tuple[str, str], first_seq: int, rows: Sequence[Row], next_seq: int, stored: int
    ) -> list[tuple[int, Row]]:
        """Those rows that are not there yet."""
        numbered = list(enumerate(rows, first_seq))
        if first_seq >= next_seq:
            return numbered
        if stored == next_seq:  # no gap below, so everything there is known
            return numbered[next_seq - first_seq :]
        found = self._do.seqs.run(self._cursor, *key, first_seq, first_seq + len(rows)).fetchall()
        there = {each[0] for each in found}
        return [each for each in numbered if each[0] not in there]

    def _insert(self, trial: TrialKey, source: str, fresh: list[tuple[int, Row]], *, first: bool) -> None:
        uid, name, space = trial.uid, trial.name, trial.namespace
        known: dict[str, tuple[observation.Series, int]] = {}
        if not first:
            for metric, count, low, high, latest, seq in self._do.aggregates.run(self._cursor, uid, source).fetchall():
                known[metric] = observation.Series(Aggregate(low, high, latest, count)), seq
        lines = []
        changed = set()
        for seq, row in fresh:
            stamp = checks.stamp(row.time)
            moment = f"{stamp[:10]} {stamp[11:26]}" if stamp else _NO_TIME
            lines.append((name, moment, row.metric, row.value, uid, space, source, seq, stamp))
            series, newest = known.get(row.metric) or (observation.Series(), -1)
            if seq > newest:
                series.add(row.value)
                newest = seq
            else:
                series.add_earlier(row.value)
            known[row.metric] = series, newest
            changed.add(row.metric)
        self._do.add_row.run_many(self._cursor, lines)
        self._do.put_aggregate.run_many(
            self._cursor,
            [
                (uid, source, metric, series.count, series.min, series.max, series.latest, newest)
                for metric, (series, newest) in known.items()
                if metric in changed
            ],
        )


def _row(metric: str, value: str, stamp: str) -> Row:
    return Row(metric, value, metric_values.time_of(stamp))


def _legacy_time(moment: Any) -> str:
    """Drivers give a datetime, SQLite text; Katib wrote UTC without a zone."""
    if moment is None:
        return ""
    text = moment.isoformat() if isinstance(moment, datetime.datetime) else str(moment).replace(" ", "T", 1)
    try:
        return metric_values.canonical(text + "Z")
    except ValueError:
        return ""
