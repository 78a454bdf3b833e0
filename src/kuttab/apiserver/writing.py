"""Create, update, patch and delete: from a request to the client's verbs and back, durable before it is answered."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from kuttab.admission import fields
from kuttab.api import kinds, meta
from kuttab.apiserver import answers, bodies, patches, queries, reading, statuses, targets
from kuttab.apiserver.world import World
from kuttab.base import errors

_TRIES = 8
"""How often a patch, or an update without a resourceVersion, is made anew on what others wrote meanwhile."""

_TEXTS = {kinds.CONFIG_MAP: ("data", "binaryData"), kinds.SECRET: ("data", "stringData")}


class Writing:
    """The writing verbs."""

    def __init__(self, world: World, reader: bodies.Bodies) -> None:
        self._world = world
        self._bodies = reader

    async def create(self, request: Request, target: targets.Target) -> Response:
        """POST on a collection."""
        options = queries.Write.read(request.query_params)
        document = await self._body(request)
        warnings: list[str] = []
        obj = _object(target, document, options, warnings)
        client = self._world.writer(strict=options.strict, warnings=warnings)
        stored = await client.create(obj, dry_run=options.dry_run)
        return await self._written(stored, options, warnings, 201)

    async def update(self, request: Request, target: targets.Target) -> Response:
        """PUT on an object or its status."""
        options = queries.Write.read(request.query_params)
        document = await self._body(request)
        warnings: list[str] = []
        obj = _object(target, document, options, warnings)
        # Kubernetes' own kinds may be replaced blindly, custom resources may not.
        blind = not obj.metadata.resource_version and targets.is_builtin(target.kind)
        for attempt in range(_TRIES):
            if blind:
                current = await self._world.objects.get(target.kind, target.namespace or "", target.name)
                version = current.metadata.resource_version
                obj = meta.evolve(obj, metadata=meta.evolve(obj.metadata, resource_version=version))
            try:
                stored = await self._update(target, obj, options, warnings)
                break
            except errors.ConflictError:
                if not blind or attempt + 1 == _TRIES:
                    raise
        return await self._written(stored, options, warnings)

    async def patch(self, request: Request, target: targets.Target) -> Response:
        """PATCH on an object or its status."""
        options = queries.Write.read(request.query_params)
        media = bodies.media_type(request)
        patches.check_media(target.kind, media)
        raw = await self._bodies.raw(request)
        if not raw.strip():
            raise errors.BadInputError("the request has no body; send the patch")
        patch = await self._bodies.json(raw)
        for attempt in range(_TRIES):
            warnings: list[str] = []
            current = await self._world.objects.get(target.kind, target.namespace or "", target.name)
            document = patches.apply(meta.dump(current), patch, media)
            _check_identity(current, document)
            obj = _object(target, document, options, warnings)
            mine = obj.metadata.resource_version == current.metadata.resource_version and not _names_version(patch)
            try:
                stored = await self._update(target, obj, options, warnings)
                break
            except errors.ConflictError:
                if not mine or attempt + 1 == _TRIES:
                    raise
                await asyncio.sleep(0)
        return await self._written(stored, options, warnings)

    async def delete(self, request: Request, target: targets.Target) -> Response:
        """DELETE on an object."""
        options = await self._delete_options(request)
        objects = self._world.objects
        found = await objects.get(target.kind, target.namespace or "", target.name)
        if options.dry_run:
            _check_preconditions(target.kind, found, options)
            return answers.document(statuses.success(target.kind, found.name, found.uid))
        left = await objects.delete(
            target.kind,
            target.namespace or "",
            target.name,
            uid=options.uid,
            resource_version=options.version,
            propagation=options.propagation,
        )
        await objects.settle()
        warnings = _about_grace(target.kind, options)
        if left is not None:
            return answers.obj(left, warnings=warnings)
        return answers.document(statuses.success(target.kind, found.name, found.uid), warnings=warnings)

    async def delete_collection(self, request: Request, target: targets.Target) -> Response:
        """DELETE on a collection: everything that the selectors choose, as it was found."""
        options = await self._delete_options(request)
        if options.uid or options.version:
            raise errors.BadInputError("preconditions are for deleting one object, not a collection")
        page = await reading.collect(self._world, target, queries.Read.read({**request.query_params, "watch": "false"}))
        objects = self._world.objects
        gone = []
        for number, item in enumerate(page.items):
            if number % reading.STEP == reading.STEP - 1:
                await asyncio.sleep(0)
            if not options.dry_run:
                try:
                    await objects.delete(
                        target.kind, item.namespace, item.name, uid=item.uid, propagation=options.propagation
                    )
                except (errors.NotFoundError, errors.ConflictError):
                    continue  # somebody else was faster; what has its name now is not what was listed
            gone.append(item)
        if not options.dry_run:
            await objects.settle()
        metadata = {"resourceVersion": page.resource_version}
        body = await reading.list_body(target.kind, metadata, gone)
        return answers.raw(body, warnings=_about_grace(target.kind, options))

    async def _update(
        self, target: targets.Target, obj: meta.Object, options: queries.Write, warnings: list[str]
    ) -> meta.Object:
        if target.subresource != "status":
            client = self._world.writer(strict=options.strict, warnings=warnings)
            return await client.update(obj, dry_run=options.dry_run)
        if options.dry_run:
            return await self._tried_status(target, obj)
        return await self._world.objects.update_status(obj)

    async def _tried_status(self, target: targets.Target, obj: meta.Object) -> meta.Object:
        """What an update of the status would give; the port has no dry run of it."""
        current = await self._world.objects.get(target.kind, target.namespace or "", target.name)
        version = obj.metadata.resource_version
        _check_preconditions(target.kind, current, queries.Delete(uid=obj.uid, version=version))
        wanted = meta.dump(current)
        wanted.pop("status", None)
        status = obj.section("status")
        return _load(target.kind, {**wanted, "status": status} if status else wanted)

    async def _body(self, request: Request) -> meta.Json:
        document = await self._bodies.document(request)
        assert document is not None
        return document

    async def _delete_options(self, request: Request) -> queries.Delete:
        document = await self._bodies.document(request, needed=False)
        kind = (document or {}).get("kind") or "DeleteOptions"
        if kind != "DeleteOptions":
            raise errors.BadInputError(f"the body of a deletion must be DeleteOptions, not {str(kind)[:80]!r}")
        return queries.Delete.read(request.query_params, document)

    async def _written(
        self, stored: meta.Object, options: queries.Write, warnings: list[str], code: int = 200
    ) -> Response:
        if not options.dry_run:
            await self._world.objects.settle(stored.metadata.resource_version)
        return answers.obj(stored, code, warnings=[] if options.quiet else warnings)


def _object(target: targets.Target, document: meta.Json, options: queries.Write, warnings: list[str]) -> meta.Object:
    """The body as an object for the target, its content not looked at: that is admission's. InvalidError, BadInputError."""
    kind = target.kind
    if targets.is_builtin(kind):
        document = {"apiVersion": kind.api_version, "kind": kind.kind, **document}
    for name, wanted in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        given = document.get(name)
        if given != wanted:
            shown = "missing" if given is None else repr(given)[:80]
            raise errors.BadInputError(f"the {name} of the body is {shown}, this path is for {wanted}")
    _check_texts(kind, document)
    if kind == kinds.SECRET:
        document = _opened(document)
    generic = dataclasses.replace(kind, home="meta.Resource")
    obj, problems = fields.decode(document, generic)
    if not options.strict:
        unknown = [problem for problem in problems if problem.message.startswith(fields.UNKNOWN)]
        warnings += [f"{problem} (dropped)" for problem in unknown]
        problems = [problem for problem in problems if problem not in unknown]
    if problems or obj is None:
        _, more = fields.decode(document, kind) if kind.cls is not meta.Resource else (None, problems)
        raise errors.InvalidError(more or problems, f"{kind.kind} {target.name}".strip())
    return _placed(target, obj)


def _opened(document: meta.Json) -> meta.Json:
    """A Secret with its ``stringData`` put into ``data``, as an API server stores it."""
    texts = document.get("stringData")
    if texts is None:
        return document
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in texts.items()}
    rest = {key: value for key, value in document.items() if key != "stringData"}
    return {**rest, "data": {**(document.get("data") or {}), **encoded}}


def _check_texts(kind: kinds.Kind, document: meta.Json) -> None:
    """What programs take for maps of texts must be that; InvalidError."""
    problems = [
        errors.Problem(name, "must be a mapping of texts; put quotes round numbers and words like true")
        for name in _TEXTS.get(kind, ())
        if document.get(name) is not None
        and not (isinstance(document[name], dict) and all(isinstance(item, str) for item in document[name].values()))
    ]
    if problems:
        raise errors.InvalidError(problems, kind.kind)


def _placed(target: targets.Target, obj: meta.Object) -> meta.Object:
    """The object with the namespace, and under the name, of the URL; BadInputError when it says otherwise."""
    namespace = target.namespace or ""
    if obj.namespace and target.kind.namespaced and obj.namespace != namespace:
        raise errors.BadInputError(
            f"the namespace of the body, {obj.namespace[:80]!r}, is not that of the URL, {namespace[:80]!r}"
        )
    if target.name and obj.name and obj.name != target.name:
        raise errors.BadInputError(
            f"the name of the body, {obj.name[:80]!r}, is not that of the URL, {target.name[:80]!r}"
        )
    changes = {"namespace": namespace} if target.kind.namespaced else {}
    if target.name:
        changes["name"] = target.name
    return meta.evolve(obj, metadata=meta.evolve(obj.metadata, **changes))


def _check_identity(current: meta.Object, document: meta.Json) -> None:
    """A patch may not make another object of it; InvalidError."""
    metadata = document.get("metadata")
    problems = []
    places = [
        ("apiVersion", current.api_version, document.get("apiVersion")),
        ("kind", current.kind, document.get("kind")),
    ]
    if isinstance(metadata, dict):
        places += [(f"metadata.{name}", getattr(current, name), metadata.get(name)) for name in ("name", "namespace")]
        if metadata.get("uid") not in (None, current.uid):
            places.append(("metadata.uid", current.uid, metadata.get("uid")))
    for path, old, new in places:
        if (new or "") != old:
            problems.append(errors.Problem(path, f"cannot be changed by a patch; it is {old!r}"))
    if problems:
        raise errors.InvalidError(problems, f"{current.kind} {current.name}")


def _names_version(patch: object) -> bool:
    """Whether a patch is meant for one version of the object, so that it must not be made on another."""
    if isinstance(patch, dict):
        metadata = patch.get("metadata")
        return isinstance(metadata, dict) and "resourceVersion" in metadata
    return isinstance(patch, list) and any(
        isinstance(item, dict) and str(item.get("path", "")).startswith("/metadata/resourceVersion") for item in patch
    )


def _check_preconditions(kind: kinds.Kind, found: meta.Object, options: queries.Delete) -> None:
    if options.uid and options.uid != found.uid:
        raise errors.ConflictError(
            f"{kind.plural} {found.name!r}: uid is {found.uid}, the request is for {options.uid}"
        )
    if options.version and options.version != found.metadata.resource_version:
        raise errors.ConflictError(
            f"{kind.plural} {found.name!r}: it is at {found.metadata.resource_version}, the request is for {options.version}"
        )


def _about_grace(kind: kinds.Kind, options: queries.Delete) -> list[str]:
    if options.grace is None or kind != kinds.POD:
        return []
    return ["gracePeriodSeconds is not taken from a request here: terminationGracePeriodSeconds of the pod counts"]


def _load(kind: kinds.Kind, document: Mapping[str, object]) -> meta.Object:
    found, problems = fields.decode(dict(document), kind)
    wrong = [problem for problem in problems if not problem.message.startswith(fields.UNKNOWN)]
    if found is None or wrong:
        raise errors.InvalidError(wrong, kind.kind)
    return found
