"""Objects of a Kubernetes API server: the verbs of the objects port as HTTP requests.

It behaves as ``client.embedded`` does, with three differences that lie in the nature of a server: any call may raise
UnavailableError; pages of a list over all namespaces come in the server's order; ``settle`` has nothing to wait for, as an API
server answers after its database has. Only what Kubernetes 1.20 and later understand is sent. Will not cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import pydantic

from kuttab.api import kinds, meta
from kuttab.base import errors, json_text, log
from kuttab.client import kube_status, kube_wire
from kuttab.ports import objects as ports
from kuttab.ports import pod_logs as log_port

logger = log.get(__name__)

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

_PAGE = 500
_WATCH_SECONDS = (240, 480)
"""A watch is asked for so many seconds, by chance, so that not all end together."""
_SILENCE = 150.0
"""Seconds without event or bookmark (a server sends one a minute) after which a watch's connection counts as dead."""
_SHORT = 1.0
"""Seconds that a watch lasts at least, unless something is wrong."""
_LONG = 60.0
"""Seconds after which a watch that broke had been well before."""
_RESUMES = 6
_RESUME_FIRST = 0.2
_MANAGER = "kuttab"


class KubeClient(ports.Objects, log_port.PodLogs):
    """:class:`kuttab.ports.objects.Objects` and :class:`kuttab.ports.pod_logs.PodLogs` over an API server."""

    def __init__(self, wire: kube_wire.Wire, only: str = "") -> None:
        """With ``only``, lists and watches of all namespaces are of that one alone."""
        self.wire = wire
        self._only = only

    @classmethod
    def connect(cls, path: Path | None = None, context: str | None = None, *, only: str = "") -> Self:
        """A client by a kubeconfig (default: as kubectl finds it). Nothing is sent yet. Raises BadInputError."""
        return cls(kube_wire.Wire(kube_wire.read(path, context)), only)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self.wire.close()

    async def version(self) -> Mapping[str, Any]:
        """What the server says of itself (``gitVersion``, ...); the cheapest way to see whether it is there."""
        found: Mapping[str, Any] = await self.wire.call("get version", "GET", "/version")
        return found

    async def serves(self, kind: kinds.Kind) -> bool:
        """Whether the server knows the kind."""
        try:
            found = await self.wire.call("get discovery", "GET", _group(kind))
        except errors.NotFoundError:
            return False
        return any(item.get("name") == kind.plural for item in found.get("resources", ()))

    async def get(self, kind: kinds.Kind, namespace: str, name: str) -> meta.Object:
        """The object; NotFoundError."""
        document = await self.wire.call(f"get {kind.plural}", "GET", _path(kind, namespace, name))
        return _object(kind, document)

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
        """Objects of one revision, fetched in pages. Only a whole list over all namespaces is in (namespace, name) order."""
        namespace = namespace or self._only
        if limit or continue_token:
            return await self._page(kind, namespace, labels, fields, limit, continue_token)
        while True:
            items: list[meta.Object] = []
            page = await self._page(kind, namespace, labels, fields, _PAGE, "")
            try:
                while True:
                    items += page.items
                    if not page.continue_token:
                        items.sort(key=lambda obj: (obj.namespace, obj.name))
                        return ports.ObjectList(items, page.resource_version)
                    page = await self._page(kind, namespace, labels, fields, _PAGE, page.continue_token)
            except errors.ExpiredError:
                logger.info("list_expired", kind=kind.kind)  # compaction overtook us between two pages

    async def create(self, obj: meta.Object, *, dry_run: bool = False) -> meta.Object:
        """The stored object; AlreadyExistsError, InvalidError, NotFoundError for its namespace."""
        if obj.metadata.resource_version:
            raise errors.BadInputError("metadata.resourceVersion must be empty on an object to be created")
        kind = kinds.of(obj)
        path, params = _path(kind, obj.namespace), _writing(dry_run)
        return _object(kind, await self.wire.call(f"create {kind.plural}", "POST", path, params, meta.dump_bytes(obj)))

    async def update(self, obj: meta.Object, *, dry_run: bool = False) -> meta.Object:
        """Replace everything but status; NotFoundError, ConflictError, InvalidError."""
        return await self._put(obj, "", dry_run)

    async def update_status(self, obj: meta.Object) -> meta.Object:
        """Replace status alone."""
        return await self._put(obj, "status", dry_run=False)

    async def patch(
        self,
        kind: kinds.Kind,
        namespace: str,
        name: str,
        patch: Any,
        *,
        media: str = MERGE_PATCH,
        subresource: str = "",
    ) -> meta.Object:
        """Change what a merge patch (or JSON patch) names, whatever the rest is; the changed object. Not part of the port."""
        path = _path(kind, namespace, name, subresource)
        label = f"patch {kind.plural}" + (f"/{subresource}" if subresource else "")
        return _object(kind, await self.wire.call(label, "PATCH", path, _writing(False), json_text.dumps(patch), media))

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
        """Delete; NotFoundError, ConflictError when the object is another one by now."""
        preconditions = {key: value for key, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": str(propagation)}
        body = json_text.dumps({**options, "preconditions": preconditions} if preconditions else options)
        document = await self.wire.call(f"delete {kind.plural}", "DELETE", _path(kind, namespace, name), None, body)
        if document.get("kind") == "Status" and document.get("apiVersion") == "v1":
            return None
        left = _object(kind, document)
        return left if left.deleting else None

    async def watch(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
    ) -> AsyncIterator[ports.WatchEvent]:
        """Everything after a revision. Broken connections are taken up again where they broke; leave it with ``aclose()``.

        Raises ExpiredError when the revision is gone, UnavailableError when the server stays away.
        """
        namespace = namespace or self._only
        revision = resource_version
        if revision and not (revision.isascii() and revision.isdecimal()):
            raise errors.BadInputError(f"resourceVersion {revision!r} is none that a server gave out")
        if not revision:
            start = await self.list(kind, namespace, labels=labels, fields=fields)
            for obj in start.items:
                yield ports.WatchEvent(ports.EventType.ADDED, obj)
            revision = start.resource_version
            yield ports.WatchEvent(ports.EventType.BOOKMARK, _bookmark(kind, revision))
        failures = 0
        while True:
            begun = asyncio.get_running_loop().time()
            try:
                async with contextlib.aclosing(self._watch_once(kind, namespace, labels, fields, revision)) as events:
                    async for event in events:
                        revision = event.object.metadata.resource_version or revision
                        failures = 0
                        yield event
                if asyncio.get_running_loop().time() - begun < _SHORT:
                    raise errors.UnavailableError(f"the watch of {kind.plural} ended as soon as it began")
                failures = 0
            except errors.UnavailableError as problem:
                failures = failures + 1 if asyncio.get_running_loop().time() - begun < _LONG else 1
                if failures > _RESUMES:
                    raise
                delay = _RESUME_FIRST * 2 ** (failures - 1) * (0.5 + random.random())  # noqa: S311  # spreads retries
                logger.info("watch_resumed", kind=kind.kind, problem=problem, again_in=delay)
                await asyncio.sleep(delay)

    async def settle(self, resource_version: str = "", *, survives: ports.Survives = ports.Survives.POWER_LOSS) -> None:
        """What an API server has acknowledged is on the disks of its database."""

    async def follow_log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool = True,
        times: bool = False,
        tail: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """See the port."""
        params = {"container": container}
        params |= {key: "true" for key, wanted in (("follow", follow), ("timestamps", times)) if wanted}
        if tail is not None:
            params["tailLines"] = str(tail)
        path = _path(kinds.POD, namespace, pod, "log")
        # A program may be silent for days: only the kernel's keepalive ends a follower whose server is gone.
        silence = 7 * 86_400.0 if follow else kube_wire.ANSWER
        async with self.wire.stream("get pods/log", path, params, silence=silence) as pieces:
            async for piece in pieces:
                yield piece

    async def _put(self, obj: meta.Object, subresource: str, dry_run: bool) -> meta.Object:
        kind = kinds.of(obj)
        if not obj.metadata.resource_version:
            problem = errors.Problem("metadata.resourceVersion", "must be given for an update", "FieldValueRequired")
            raise errors.InvalidError([problem], f"{kind.kind} {obj.name}")
        label = f"update {kind.plural}" + (f"/{subresource}" if subresource else "")
        path = _path(kind, obj.namespace, obj.name, subresource)
        return _object(kind, await self.wire.call(label, "PUT", path, _writing(dry_run), meta.dump_bytes(obj)))

    async def _page(
        self, kind: kinds.Kind, namespace: str | None, labels: str, fields: str, limit: int, token: str
    ) -> ports.ObjectList:
        params = _selection(labels, fields)
        if limit:
            params["limit"] = str(limit)
        if token:
            params["continue"] = token
        document = await self.wire.call(f"list {kind.plural}", "GET", _path(kind, namespace), params)
        metadata = document.get("metadata") or {}
        return ports.ObjectList(
            list(_readable(kind, document.get("items") or ())),
            str(metadata.get("resourceVersion") or ""),
            str(metadata.get("continue") or ""),
            metadata.get("remainingItemCount"),
        )

    async def _watch_once(
        self, kind: kinds.Kind, namespace: str | None, labels: str, fields: str, revision: str
    ) -> AsyncGenerator[ports.WatchEvent, None]:
        params = _selection(labels, fields)
        seconds = random.randint(*_WATCH_SECONDS)  # noqa: S311  # spreads load, protects nothing
        params |= {
            "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": revision, "timeoutSeconds": str(seconds),
        }  # fmt: skip
        path = _path(kind, namespace)
        async with (
            self.wire.stream(f"watch {kind.plural}", path, params, silence=_SILENCE) as pieces,
            contextlib.aclosing(_lines(pieces)) as lines,
        ):
            async for line in lines:
                event = _event(kind, line)
                if event is not None:
                    yield event


def _event(kind: kinds.Kind, line: bytes) -> ports.WatchEvent | None:
    """One line of a watch; None for an object that cannot be read. Raises what the server says in an ERROR event."""
    try:
        document = json_text.loads(line)
        type_, obj = document["type"], document["object"]
    except (ValueError, KeyError, TypeError) as problem:
        raise errors.UnavailableError(f"watch of {kind.plural}: not an event: {line[:200]!r}") from problem
    if type_ == "ERROR":
        raise kube_status.error_of(500, obj)
    if type_ == "BOOKMARK":
        return ports.WatchEvent(ports.EventType.BOOKMARK, _bookmark(kind, str(obj["metadata"]["resourceVersion"])))
    found = next(iter(_readable(kind, [obj])), None)
    return None if found is None else ports.WatchEvent(ports.EventType(type_), found)


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    held: list[bytes] = []
    async for piece in pieces:
        *whole, rest = piece.split(b"\n")
        for line in whole:
            held.append(line)
            text = b"".join(held)
            held.clear()
            if text.strip():
                yield text
        held.append(rest)
    if any(part.strip() for part in held):
        raise errors.UnavailableError("the watch ended within an event")


def _readable(kind: kinds.Kind, documents: Iterable[meta.Json]) -> Iterable[meta.Object]:
    """The objects that can be read; one that cannot must not keep us from all others."""
    for document in documents:
        try:
            yield kind.load({"apiVersion": kind.api_version, "kind": kind.kind, **document})
        except pydantic.ValidationError as problem:
            metadata = document.get("metadata") or {}
            name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
            logger.warning("object_unreadable", kind=kind.kind, name=name, problem=str(problem)[:500])


def _object(kind: kinds.Kind, document: meta.Json) -> meta.Object:
    try:
        return kind.load(document)
    except pydantic.ValidationError as problem:
        name = (document.get("metadata") or {}).get("name", "")
        raise errors.BrokenAnswerError(f"{kind.kind} {name} of the API server cannot be read: {problem}") from problem


def _bookmark(kind: kinds.Kind, revision: str) -> meta.Object:
    metadata = meta.ObjectMeta(resource_version=revision)
    return meta.Resource(api_version=kind.api_version, kind=kind.kind, metadata=metadata)


def _selection(labels: str, fields: str) -> dict[str, str]:
    return {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}


def _writing(dry_run: bool) -> dict[str, str]:
    return {"fieldManager": _MANAGER, **({"dryRun": "All"} if dry_run else {})}


def _group(kind: kinds.Kind) -> str:
    return f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"


def _path(kind: kinds.Kind, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
    """The path of a collection or of an object. A name that is none cannot be there: NotFoundError."""
    parts = [_group(kind)]
    if kind.namespaced and namespace:
        parts += ["namespaces", _segment(kind, namespace)]
    elif kind.namespaced and name is not None and kinds.known(kind.api_version, kind.kind) is not None:
        raise errors.NotFoundError(f"{kind.kind} {name} is looked for in no namespace")
    parts.append(kind.plural)
    if name is not None:
        parts.append(_segment(kind, name))
    if subresource:
        parts.append(subresource)
    return "/".join(parts)


def _segment(kind: kinds.Kind, name: str) -> str:
    if name in ("", ".", "..") or "/" in name:
        raise errors.NotFoundError(f"no {kind.kind} can be named or lie in {name!r}")
    return urllib.parse.quote(name, safe="")
