"""Get and list: the present, in the form asked for.

A long page is read in short steps, so that nobody's get waits for somebody's list.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from starlette.responses import Response

from kuttab.api import kinds, meta
from kuttab.apiserver import answers, forms, queries, statuses, tables, targets
from kuttab.apiserver.world import World
from kuttab.base import errors, json_text
from kuttab.ports import objects as port

STEP = 100
"""Objects read without letting others run."""
MAX_UNPAGED = 20_000
"""Objects of a list without limit: above it the client must ask for pages."""


async def get(world: World, target: targets.Target, query: Mapping[str, str], form: forms.Form) -> Response:
    """One object."""
    await _check_version(world, target.kind, queries.Read.read({**query, "watch": "false"}))
    found = await world.objects.get(target.kind, target.namespace or "", target.name)
    if form is forms.Form.TABLE:
        made = tables.table(target.kind, [found], world.clock.now(), included(query))
        made["metadata"] = {"resourceVersion": found.metadata.resource_version}
        return answers.document(made)
    if form is forms.Form.METADATA:
        return answers.document(tables.partial(found))
    if form is forms.Form.METADATA_LIST:
        raise statuses.not_acceptable("a single object is no list; ask for PartialObjectMetadata")
    return answers.obj(found)


async def list_(
    world: World, target: targets.Target, options: queries.Read, query: Mapping[str, str], form: forms.Form
) -> Response:
    """A page of a collection."""
    if form is forms.Form.WHOLE and world.texts is not None and not (options.labels or options.fields):
        texts = await _paged(world, target, options, _texts_of(world.texts, target))
        return answers.raw(_list_text(target.kind, _metadata(texts), texts.items))
    page = await collect(world, target, options)
    metadata = _metadata(page)
    if form is forms.Form.TABLE:
        made = tables.table(target.kind, page.items, world.clock.now(), included(query))
        made["metadata"] = metadata
        return answers.document(made)
    if form in (forms.Form.METADATA, forms.Form.METADATA_LIST):
        items = [tables.partial(item) for item in page.items]
        kind = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return answers.document({**kind, "metadata": metadata, "items": items})
    return answers.raw(await list_body(target.kind, metadata, page.items))


async def list_body(kind: kinds.Kind, metadata: meta.Json, items: Sequence[meta.Object]) -> bytes:
    """A list object as JSON text."""
    parts = []
    for number, item in enumerate(items):
        if number % STEP == STEP - 1:
            await asyncio.sleep(0)
        parts.append(meta.dump_bytes(item))
    return _list_text(kind, metadata, parts)


async def collect(world: World, target: targets.Target, options: queries.Read) -> port.ObjectList:
    """The objects of a page, all of one revision; ExpiredError, BadInputError, HttpError for too many without a limit."""

    async def read(limit: int, token: str) -> port.ObjectList:
        return await world.objects.list(
            target.kind,
            target.namespace,
            labels=options.labels,
            fields=options.fields,
            limit=limit,
            continue_token=token,
        )

    return await _paged(world, target, options, read)


P = TypeVar("P", port.ObjectList, port.Bodies)


def _texts_of(texts: port.RawLists, target: targets.Target) -> Callable[[int, str], Awaitable[port.Bodies]]:
    return lambda limit, token: texts.list_bodies(target.kind, target.namespace, limit=limit, continue_token=token)


async def _paged(
    world: World, target: targets.Target, options: queries.Read, read: Callable[[int, str], Awaitable[P]]
) -> P:
    await _check_version(world, target.kind, options)
    while True:
        try:
            return await _steps(target, options, read)
        except errors.ExpiredError:
            if options.token:
                raise  # the client's own token is too old; otherwise compaction overtook us between two steps


async def _steps(target: targets.Target, options: queries.Read, read: Callable[[int, str], Awaitable[P]]) -> P:
    items: list[Any] = []
    token = options.token
    wanted = options.limit or MAX_UNPAGED
    while True:
        page = await read(min(STEP, wanted - len(items)), token)
        items += page.items
        token = page.continue_token
        if not token or len(items) >= wanted:
            break
        await asyncio.sleep(0)
    if token and not options.limit:
        raise statuses.too_large(
            f"there are more than {MAX_UNPAGED} {target.kind.plural}; list them in pages with limit=500"
        )
    return dataclasses.replace(page, items=items)


def _metadata(page: port.ObjectList | port.Bodies) -> meta.Json:
    metadata: meta.Json = {"resourceVersion": page.resource_version}
    if page.continue_token:
        metadata["continue"] = page.continue_token
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
    return metadata


def _list_text(kind: kinds.Kind, metadata: meta.Json, items: Sequence[bytes]) -> bytes:
    head = json_text.dumps({"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": metadata})
    return head[:-1] + b',"items":[' + b",".join(items) + b"]}"


async def newest(world: World, kind: kinds.Kind) -> str:
    """The newest revision."""
    return (await world.objects.list(kind, limit=1)).resource_version


def included(query: Mapping[str, str]) -> str:
    """What each row of a table carries; InvalidError."""
    wanted = query.get("includeObject") or "Metadata"
    if wanted not in ("None", "Metadata", "Object"):
        raise queries.unsupported("includeObject", wanted, ("None", "Metadata", "Object"))
    return wanted


async def _check_version(world: World, kind: kinds.Kind, options: queries.Read) -> None:
    """What is read is always the newest; a client that has seen more than that, or wants the past, is told."""
    if options.version in ("", "0"):
        return
    current = int(await newest(world, kind))
    wanted = int(options.version)
    if wanted > current:
        raise statuses.HttpError(
            504, "Timeout", f"Too large resource version: {wanted}, current: {current}", {"Retry-After": "1"}
        )
    if options.match == "Exact" and wanted < current:
        raise errors.ExpiredError(
            f"resourceVersionMatch=Exact is served for the newest revision alone, {current}; list again without it"
        )
