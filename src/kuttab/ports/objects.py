"""The object store as a controller sees it: Kubernetes' verbs and rules, whoever serves them.

Implementations: ``client.embedded`` (SQLite on this machine) and ``client.kube`` (an API server). The shipped contract suite
``kuttab.testing.clients`` runs on each.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from kuttab.api import kinds, meta


class EventType(enum.StrEnum):
    """What happened to a watched object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


class Survives(enum.Enum):
    """What settled writes outlive."""

    KILL = "the end of this program, however sudden"
    POWER_LOSS = "the end of this machine's power as well"


class Propagation(enum.StrEnum):
    """What becomes of an owner's children."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One step of a watched collection; a bookmark carries only a resourceVersion."""

    type: EventType
    object: meta.Object


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A page of objects. ``continue_token`` is empty on the last page."""

    items: Sequence[meta.Object]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class Bodies:
    """A page of objects as JSON text."""

    items: Sequence[bytes]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


class RawLists(Protocol):
    """What a client may offer besides: objects as text, for whoever would only write them again."""

    async def list_bodies(
        self, kind: kinds.Kind, namespace: str | None, *, limit: int, continue_token: str = ""
    ) -> Bodies:
        """A page of a whole collection; the errors of :meth:`Objects.list`."""
        ...


@runtime_checkable
class GivenUids(Protocol):
    """What a client may offer besides: to create an object under a uid that was given out before it was written."""

    async def enter(self, obj: meta.Object) -> meta.Object:
        """As :meth:`Objects.create`, but the object's uid stays; it must be one that no other object ever had."""
        ...


class Objects(Protocol):
    """Reads and writes of objects. All methods raise :class:`kuttab.base.errors.ObjectError` or UnavailableError."""

    async def get(self, kind: kinds.Kind, namespace: str, name: str) -> meta.Object:
        """The object; NotFoundError."""
        ...

    async def list(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        """Objects in (namespace, name) order; ``namespace=None`` means all, ``limit=0`` means everything at once.

        ``labels`` and ``fields`` are Kubernetes selectors; a bad one raises BadInputError, an old token ExpiredError.
        """
        ...

    async def create(self, obj: meta.Object, *, dry_run: bool = False) -> meta.Object:
        """The stored object, with uid and resourceVersion; AlreadyExistsError, InvalidError."""
        ...

    async def update(self, obj: meta.Object, *, dry_run: bool = False) -> meta.Object:
        """Replace everything but status; needs the resourceVersion that the decision was made on: ConflictError."""
        ...

    async def update_status(self, obj: meta.Object) -> meta.Object:
        """Replace status alone; same rule."""
        ...

    async def delete(
        self,
        kind: kinds.Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Propagation = Propagation.BACKGROUND,
    ) -> meta.Object | None:
        """Delete, with preconditions: the object while finalizers hold it, None when it is gone; NotFoundError, ConflictError."""
        ...

    def watch(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Everything after that revision, in order, for ever; empty means from now, preceded by what exists as ADDED.

        Raises ExpiredError when the revision was compacted away: list again.
        """
        ...

    async def settle(self, resource_version: str = "", *, survives: Survives = Survives.POWER_LOSS) -> None:
        """Return when everything up to that revision (default: everything written so far) survives that much.

        Call before an effect outside the store: KILL before one that ends with this machine (a process), POWER_LOSS before any other
        (answering a person).
        """
        ...
