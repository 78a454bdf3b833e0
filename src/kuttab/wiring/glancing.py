"""JSON documents for commands that print and end: from the process that owns the data folder when there is one, else from the files.

The quick way to look: no event loop, no classes. Commands that need objects or write them use :mod:`kuttab.wiring.reading`.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from kuttab.api import kinds
from kuttab.base import clock, errors
from kuttab.store import glance, lock
from kuttab.wiring import meeting
from kuttab.wiring import settings as settings_

Json = dict[str, Any]


class Documents(Protocol):
    """Where documents come from."""

    def documents(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int = 0,
    ) -> list[Json]:
        """Objects of a kind in (namespace, name) order, all of them without a limit."""
        ...


@contextlib.contextmanager
def reach(settings: settings_.Settings) -> Iterator[Documents]:
    """The documents of the data folder. NotFoundError when it holds none yet; LockedError when its owner answers nobody."""
    line = _called(settings)
    if line is not None:
        with line:
            yield _Asked(line)
        return
    if not settings.objects_db.exists():
        raise errors.NotFoundError(meeting.nothing_in(settings.data))
    with lock.Lock(settings.data, clock.SystemClock()), glance.opened(settings.objects_db) as found:
        yield found


def _called(settings: settings_.Settings) -> socket.socket | None:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(str(meeting.address(settings.data)))
    except OSError:
        line.close()
        return None
    return line


class _Asked:
    """The owner's answers, in pages, so that neither side holds everything as one text."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._answers = line.makefile("rb")

    def documents(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int = 0,
    ) -> list[Json]:
        """See the protocol."""
        args: Json = {
            "apiVersion": kind.api_version, "kind": kind.kind, "namespace": namespace if kind.namespaced else None,
            "labels": ",".join(f"{key}={value}" for key, value in (labels or {}).items()),
            "fields": f"metadata.name={name}" if name is not None else "",
        }  # fmt: skip
        found: list[Json] = []
        token = ""
        while True:
            size = min(limit - len(found), meeting.PAGE) if limit else meeting.PAGE
            page = self._ask("list", {**args, "limit": size, "continue": token})
            found += page["items"]
            token = page["continue"]
            if not token or len(found) == limit:
                return found

    def _ask(self, verb: str, args: Json) -> Any:
        try:
            self._line.sendall(json.dumps({"verb": verb, "args": args}).encode() + b"\n")
            answer = self._answers.readline()
        except OSError as problem:
            raise errors.UnavailableError(meeting.GONE) from problem
        if not answer.endswith(b"\n"):
            raise errors.UnavailableError(meeting.GONE)
        return meeting.outcome(json.loads(answer))
