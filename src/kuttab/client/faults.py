"""Any client, made unreliable on purpose, and a record of every call.

For tests that crash, delay or repeat each port call of a run in turn: record a reference run, then one run for each (call, mode).
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.ports import objects as ports

T = TypeVar("T")


class Mode(enum.StrEnum):
    """When, around a call, it goes wrong."""

    PASS = "pass"  # noqa: S105 - not a password
    BEFORE = "before"  # the request never leaves
    AFTER = "after"  # the effect happened, the reply is lost
    REPLIED = "replied"  # the effect happened and the reply was seen; the next call, whichever, does not leave any more
    TWICE = "twice"  # the effect is applied, and the request sent again by a retry


class Crash(BaseException):
    """The process ends at this point. No handler of ordinary errors sees it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call, numbered from 0 in the order they were made."""

    index: int
    verb: str
    kind: str
    namespace: str
    name: str
    writes: bool

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}".strip("/")
        return f"{self.index}:{self.verb} {self.kind} {place}".rstrip()


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to a call: a wait of ``delay`` seconds, then the mode with its error.

    ``error`` is raised in BEFORE, AFTER and REPLIED; by default DeadlineError. ``events`` lets a watch pass so many events before it fails.
    """

    mode: Mode = Mode.PASS
    error: BaseException | None = None
    delay: float = 0.0
    events: int = 0


Plan = Callable[[Call], Action | None]


def nth(index: int, action: Action) -> Plan:
    """The plan that acts on one call alone."""
    return lambda call: action if call.index == index else None


class FaultyClient(ports.Objects):
    """Wraps a client; ``plan`` decides each call's fate and ``trace`` remembers the calls."""

    def __init__(self, inner: ports.Objects, plan: Plan | None = None) -> None:
        self.plan = plan
        self.trace: list[Call] = []
        self._inner = inner
        self._doom: BaseException | None = None

    async def get(self, kind: kinds.Kind, namespace: str, name: str) -> meta.Object:
        """As the wrapped client, or as planned."""
        return await self._run(self._call("get", kind, namespace, name), lambda: self._inner.get(kind, namespace, name))

    async def list(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ports.ObjectList:
        """As the wrapped client, or as planned."""
        return await self._run(
            self._call("list", kind, namespace or "", ""),
            lambda: self._inner.list(
                kind, namespace, labels=labels, fields=fields, limit=limit, continue_token=continue_token
            ),
        )

    async def create(self, obj: meta.Object, *, dry_run: bool = False) -> meta.Object:
        """As the wrapped client, or as planned."""
        name = obj.name or obj.metadata.generate_name
        call = self._call("create", kinds.of(obj), obj.namespace, name, writes=not dry_run)
        return await self._run(call, lambda: self._inner.create(obj, dry_run=dry_run))

    async def update(self, obj: meta.Object, *, dry_run: bool = False) -> meta.Object:
        """As the wrapped client, or as planned."""
        call = self._call("update", kinds.of(obj), obj.namespace, obj.name, writes=not dry_run)
        return await self._run(call, lambda: self._inner.update(obj, dry_run=dry_run))

    async def update_status(self, obj: meta.Object) -> meta.Object:
        """As the wrapped client, or as planned."""
        call = self._call("update_status", kinds.of(obj), obj.namespace, obj.name, writes=True)
        return await self._run(call, lambda: self._inner.update_status(obj))

    async def delete(
        self,
        kind: kinds.Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: ports.Propagation = ports.Propagation.BACKGROUND,
    ) -> meta.Object | None:
        """As the wrapped client, or as planned."""
        return await self._run(
            self._call("delete", kind, namespace, name, writes=True),
            lambda: self._inner.delete(
                kind, namespace, name, uid=uid, resource_version=resource_version, propagation=propagation
            ),
        )

    async def watch(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
    ) -> AsyncIterator[ports.WatchEvent]:
        """As the wrapped client; a planned fault comes after ``Action.events`` events, whatever its mode."""
        action = self._decide(self._call("watch", kind, namespace or "", ""))
        if action.delay:
            await asyncio.sleep(action.delay)
        inner = self._inner.watch(kind, namespace, labels=labels, fields=fields, resource_version=resource_version)
        seen = 0
        try:
            if action.mode is not Mode.PASS and not action.events:
                raise _error(action)
            async for event in inner:
                yield event
                seen += 1
                if action.mode is not Mode.PASS and seen >= action.events:
                    raise _error(action)
        finally:
            leave = getattr(inner, "aclose", None)
            if leave is not None:
                await leave()

    async def settle(self, resource_version: str = "", *, survives: ports.Survives = ports.Survives.POWER_LOSS) -> None:
        """As the wrapped client, or as planned."""
        call = Call(len(self.trace), "settle", "", "", resource_version, writes=False)
        await self._run(call, lambda: self._inner.settle(resource_version, survives=survives))

    def _call(self, verb: str, kind: kinds.Kind, namespace: str, name: str, *, writes: bool = False) -> Call:
        return Call(len(self.trace), verb, kind.kind, namespace, name, writes)

    def _decide(self, call: Call) -> Action:
        if self._doom is not None:
            raise self._doom
        self.trace.append(call)
        return (self.plan and self.plan(call)) or Action()

    async def _run(self, call: Call, send: Callable[[], Awaitable[T]]) -> T:
        action = self._decide(call)
        if action.delay:
            await asyncio.sleep(action.delay)
        if action.mode is Mode.BEFORE:
            raise _error(action)
        answer = await send()
        if action.mode is Mode.TWICE:
            return await send()
        if action.mode is Mode.AFTER:
            raise _error(action)
        if action.mode is Mode.REPLIED:
            self._doom = _error(action)
        return answer


def _error(action: Action) -> BaseException:
    return action.error or errors.DeadlineError("no answer came (planned by a test)")
