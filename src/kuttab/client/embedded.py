"""Objects in this process: admission, then the store.

Where a request over HTTP would cross a network, this crosses nothing: reads and writes are applied before the call returns.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.ports import objects as ports
from kuttab.store import lifecycle
from kuttab.store import objects as stores

Admit = Callable[[meta.Object, meta.Object | None, str, str], meta.Object | Awaitable[meta.Object]]
"""``admit(object, old, "CREATE" or "UPDATE", user)``: the object to store, or an error. May be a coroutine function."""

_CHUNK = 500


class EmbeddedClient(ports.Objects):
    """:class:`kuttab.ports.objects.Objects` over an open store, for one user."""

    def __init__(
        self, store: stores.Store, admit: Admit | None = None, user: str = "", *, trusted: bool = False
    ) -> None:
        """Without ``admit`` everything that is well-formed is stored. ``trusted``: see :class:`kuttab.store.objects.Store`."""
        self._store = store
        self._admit = admit
        self._user = user
        self._trusted = trusted

    def admitting(self, admit: Admit) -> EmbeddedClient:
        """The same store for the same user behind another admission."""
        return EmbeddedClient(self._store, admit, self._user)

    @property
    def health(self) -> str:
        """Why the disk takes nothing at the moment; empty when it does."""
        return self._store.health

    async def get(self, kind: kinds.Kind, namespace: str, name: str) -> meta.Object:
        """The object; NotFoundError."""
        return self._store.get(kind, namespace, name)

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
        """Objects of one revision. A list without limit is read in chunks and lets others run in between."""
        if limit or continue_token:
            return self._store.list(
                kind, namespace, labels=labels, fields=fields, limit=limit, continue_token=continue_token
            )
        while True:
            try:
                return await self._list_all(kind, namespace, labels, fields)
            except errors.ExpiredError:
                continue  # compaction overtook us between two chunks

    async def list_bodies(
        self, kind: kinds.Kind, namespace: str | None, *, limit: int, continue_token: str = ""
    ) -> ports.Bodies:
        """See :class:`kuttab.ports.objects.RawLists`."""
        page = self._store.bodies(kind, namespace, limit, continue_token)
        return ports.Bodies([body for _, body in page.items], page.revision, page.token, page.remaining)

    async def create(self, obj: meta.Object, *, dry_run: bool = False) -> meta.Object:
        """The stored object; AlreadyExistsError, InvalidError, NotFoundError for its namespace."""
        await self._store.room()
        admitted = await self._admitted(obj, None, "CREATE")
        return self._store.create(admitted, dry_run=dry_run, trusted=self._trusted)

    async def enter(self, obj: meta.Object) -> meta.Object:
        """See :class:`kuttab.ports.objects.GivenUids`; ForbiddenError for all but controllers of this program."""
        if not self._trusted:
            raise errors.ForbiddenError("only this program's own controllers give out uids")
        await self._store.room()
        return self._store.create(obj, trusted=True, uid=obj.metadata.uid)

    async def update(self, obj: meta.Object, *, dry_run: bool = False) -> meta.Object:
        """Replace everything but status; NotFoundError, ConflictError, InvalidError."""
        await self._store.room()
        if self._admit is not None:
            kind = kinds.of(obj)
            old = self._store.get(kind, obj.namespace, obj.name)
            lifecycle.check_update(kind, obj, old)
            obj = await self._admitted(obj, old, "UPDATE")
        return self._store.update(obj, dry_run=dry_run, trusted=self._trusted)

    async def update_status(self, obj: meta.Object) -> meta.Object:
        """Replace status alone; admission is not asked, as in Kubernetes' registration of our webhooks."""
        await self._store.room()
        return self._store.update_status(obj, trusted=self._trusted)

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
        """Delete; NotFoundError, ConflictError."""
        await self._store.room()
        return self._store.delete(
            kind, namespace, name, uid=uid, resource_version=resource_version, propagation=propagation
        )

    def watch(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
    ) -> AsyncIterator[ports.WatchEvent]:
        """Everything after a revision. BadInputError comes at once, ExpiredError while iterating. Leave it with ``aclose()``."""
        return self._store.watch(kind, namespace, labels=labels, fields=fields, resource_version=resource_version)

    async def settle(self, resource_version: str = "", *, survives: ports.Survives = ports.Survives.POWER_LOSS) -> None:
        """Return when everything up to that revision survives that much."""
        await self._store.settle(stores.revision_of(resource_version), survives=survives)

    async def _admitted(self, obj: meta.Object, old: meta.Object | None, operation: str) -> meta.Object:
        if self._admit is None:
            return obj
        answer = self._admit(obj, old, operation, self._user)
        return await answer if inspect.isawaitable(answer) else answer

    async def _list_all(self, kind: kinds.Kind, namespace: str | None, labels: str, fields: str) -> ports.ObjectList:
        items: list[meta.Object] = []
        token = ""
        while True:
            page = self._store.list(kind, namespace, labels=labels, fields=fields, limit=_CHUNK, continue_token=token)
            items += page.items
            token = page.continue_token
            if not token:
                return ports.ObjectList(items, page.resource_version)
            await asyncio.sleep(0)
