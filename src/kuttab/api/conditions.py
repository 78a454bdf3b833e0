"""Conditions: what has become of an object, newest last, exactly as Katib orders them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kuttab.api import meta

TRUE = "True"
FALSE = "False"
UNKNOWN = "Unknown"


class Condition(meta.Model):
    """One condition of an object's status."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_update_time: str | None = None
    last_transition_time: str | None = None


def find(conditions: Iterable[Condition] | None, type_: str) -> Condition | None:
    """The condition of that type, or None."""
    for condition in conditions or ():
        if condition.type == type_:
            return condition
    return None


def is_true(conditions: Iterable[Condition] | None, type_: str) -> bool:
    """Whether the condition is there with status True."""
    found = find(conditions, type_)
    return found is not None and found.status == TRUE


def put(
    conditions: Sequence[Condition] | None, type_: str, status: str, reason: str, message: str, now: str
) -> list[Condition]:
    """The list with the condition set.

    Nothing happens when status and reason are unchanged. Otherwise the old entry goes and the new one is appended at the
    end (the last one is what ``kubectl get`` shows); the transition time is kept when the status did not change.
    """
    current = list(conditions or ())
    old = find(current, type_)
    if old is not None and old.status == status and old.reason == reason:
        return current
    since = old.last_transition_time if old is not None and old.status == status and old.last_transition_time else now
    fresh = Condition(
        type=type_, status=status, reason=reason, message=message, last_update_time=now, last_transition_time=since
    )
    return [*(c for c in current if c.type != type_), fresh]


def drop(conditions: Sequence[Condition] | None, *types: str) -> list[Condition]:
    """The list without conditions of those types."""
    return [condition for condition in conditions or () if condition.type not in types]
