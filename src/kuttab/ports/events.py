"""Events for people: what happened to an object and why."""

from __future__ import annotations

from typing import Protocol

from kuttab.api import meta


class Events(Protocol):
    """Fire and forget: an event is never worth failing a pass for."""

    def record(self, about: meta.Object, reason: str, message: str, *, warning: bool = False) -> None:
        """Note that something happened; equal ones are counted, not repeated."""
        ...
