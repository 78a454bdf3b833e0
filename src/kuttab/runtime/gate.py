"""Read your own writes: a key is not worked on until the caches have seen what its last pass wrote.

The worker names the key of the pass (:func:`entered`), the client wrapper notes each write under that key, and the worker asks
:meth:`Gate.open` before the next pass. This is what Kubernetes calls a consistency store (KEP-5647).
"""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator, Callable, Hashable, Mapping

from kuttab.api import kinds, meta
from kuttab.ports import objects as port
from kuttab.runtime import informer

_CURRENT: contextvars.ContextVar[Hashable | None] = contextvars.ContextVar("kuttab_pass", default=None)


class entered:  # noqa: N801  # a context manager, written out as it surrounds every pass
    """Writes inside belong to the pass over ``key``."""

    __slots__ = ("_key", "_token")

    def __init__(self, key: Hashable) -> None:
        self._key = key

    def __enter__(self) -> None:
        self._token = _CURRENT.set(self._key)

    def __exit__(self, *exc_info: object) -> None:
        _CURRENT.reset(self._token)


class Gate:
    """What each key has written and the caches have not seen yet."""

    def __init__(self, informers: Mapping[kinds.Kind, informer.Informer]) -> None:
        self._informers = informers
        self._written: dict[Hashable, dict[kinds.Kind, int]] = {}
        self.skipped = 0

    def note(self, obj: meta.Object) -> None:
        """The running pass wrote this object."""
        key = _CURRENT.get()
        kind = kinds.of(obj)
        if key is not None and kind in self._informers:
            self._written.setdefault(key, {})[kind] = obj.revision

    def open(self, key: Hashable, wake: Callable[[], None]) -> bool:
        """Whether the key may be worked on; otherwise ``wake`` is called when it is worth asking again."""
        written = self._written.get(key)
        if written is None:
            return True
        for kind, revision in written.items():
            if not self._informers[kind].when(revision, wake):
                self.skipped += 1
                return False
        del self._written[key]
        return True


class GatedObjects:
    """The objects port, noting each write in a gate."""

    def __init__(self, objects: port.Objects, gate: Gate) -> None:
        self._objects = objects
        self._gate = gate

    async def get(self, kind: kinds.Kind, namespace: str, name: str) -> meta.Object:
        """See the port."""
        return await self._objects.get(kind, namespace, name)

    async def list(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> port.ObjectList:
        """See the port."""
        return await self._objects.list(
            kind, namespace, labels=labels, fields=fields, limit=limit, continue_token=continue_token
        )

    async def create(self, obj: meta.Object, *, dry_run: bool = False) -> meta.Object:
        """See the port."""
        return self._noted(await self._objects.create(obj, dry_run=dry_run))

    async def update(self, obj: meta.Object, *, dry_run: bool = False) -> meta.Object:
        """See the port."""
        return self._noted(await self._objects.update(obj, dry_run=dry_run))

    async def update_status(self, obj: meta.Object) -> meta.Object:
        """See the port."""
        return self._noted(await self._objects.update_status(obj))

    async def delete(
        self,
        kind: kinds.Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: port.Propagation = port.Propagation.BACKGROUND,
    ) -> meta.Object | None:
        """See the port."""
        left = await self._objects.delete(
            kind, namespace, name, uid=uid, resource_version=resource_version, propagation=propagation
        )
        return None if left is None else self._noted(left)

    def watch(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
    ) -> AsyncIterator[port.WatchEvent]:
        """See the port."""
        return self._objects.watch(kind, namespace, labels=labels, fields=fields, resource_version=resource_version)

    async def settle(self, resource_version: str = "", *, survives: port.Survives = port.Survives.POWER_LOSS) -> None:
        """See the port."""
        await self._objects.settle(resource_version, survives=survives)

    def _noted(self, obj: meta.Object) -> meta.Object:
        self._gate.note(obj)
        return obj
