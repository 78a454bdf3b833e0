"""What the observation log accepts, the same for every implementation.

Nothing here stores anything. A row that passes can be stored by every database, so a report never fails for what is in it once it
was accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kuttab.base import errors
from kuttab.ports.observations import Row, TrialKey
from kuttab.rules import metric_values

LONGEST_NAME: Final = 255  # characters of a uid, name, source or metric
LONGEST_VALUE: Final = 65_535  # bytes of a value: MySQL's TEXT
LAST_SEQ: Final = 1 << 53


def check_key(trial: TrialKey, source: str = "-") -> None:
    """BadInputError unless rows can be stored under this trial and source."""
    for what, text in (("uid", trial.uid), ("name", trial.name), ("source", source)):
        if not text:
            raise errors.BadInputError(
                f"metric rows need the {what} of their {'source' if what == 'source' else 'trial'}"
            )
        _check_text(what, text)
    _check_text("namespace", trial.namespace)


def check_rows(first_seq: int, rows: Sequence[Row]) -> list[Row]:
    """The rows with their times in one spelling and values without NUL; BadInputError names the first row that cannot be stored."""
    if first_seq < 0 or first_seq + len(rows) > LAST_SEQ:
        raise errors.BadInputError(f"row numbers must lie between 0 and {LAST_SEQ}, not start at {first_seq}")
    checked = []
    known: set[str] = set()
    for index, row in enumerate(rows):
        if row.metric not in known:
            if not row.metric or row.metric != row.metric.strip():
                raise errors.BadInputError(f"rows[{index}]: a metric needs a name without blanks at its ends")
            _check_text(f"rows[{index}]: metric name", row.metric)
            known.add(row.metric)
        try:
            time = metric_values.canonical(row.time)
        except ValueError:
            raise errors.BadInputError(
                f"rows[{index}]: time {row.time[:40]!r} must be empty or RFC3339, like 2026-01-31T12:00:00.5Z"
            ) from None
        value = metric_values.storable(row.value)
        if len(value) > LONGEST_VALUE // 4 and len(value.encode()) > LONGEST_VALUE:
            raise errors.BadInputError(
                f"rows[{index}]: the value of {row.metric!r} is longer than {LONGEST_VALUE} bytes"
            )
        checked.append(row if time == row.time and value is row.value else Row(row.metric, value, time))
    return checked


def check_count(count: int) -> None:
    """BadInputError unless a source can have that many rows."""
    if not 0 <= count <= LAST_SEQ:
        raise errors.BadInputError(f"a source has between 0 and {LAST_SEQ} rows, not {count}")


def bound(text: str) -> str:
    """A limit of a time range in the form rows are compared in; empty means none; BadInputError."""
    try:
        return metric_values.stamp(text) if text else ""
    except ValueError:
        raise errors.BadInputError(f"time {text[:40]!r} must be empty or RFC3339, like 2026-01-31T12:00:00Z") from None


def stamp(time: str) -> str:
    """The comparable form of a checked row's time; empty stays empty and lies before every time."""
    return metric_values.stamp(time) if time else ""


def _check_text(what: str, text: str) -> None:
    if len(text) > LONGEST_NAME:
        raise errors.BadInputError(f"{what} is {len(text)} characters long; at most {LONGEST_NAME} are allowed")
    if text != metric_values.storable(text):
        raise errors.BadInputError(f"{what} {text!r} holds characters that no database stores")
