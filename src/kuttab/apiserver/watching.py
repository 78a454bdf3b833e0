"""Watch: the changes of a collection as lines of JSON, with Kubernetes' rules for where it begins, bookmarks and errors in the stream."""

from __future__ import annotations

import collections
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from kuttab.api import kinds, meta
from kuttab.apiserver import forms, queries, reading, statuses, streams, tables, targets
from kuttab.apiserver.world import World
from kuttab.base import errors, json_text
from kuttab.ports import objects as port

DEFAULT_SECONDS = 1800
"""How long a watch lasts that does not say."""
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
MEDIA = "application/json;stream=watch"
_REMEMBERED = 512

Encoded = collections.OrderedDict[tuple[str, str, str], bytes]


class Watching:
    """Makes watch streams. An event is encoded once, however many watch."""

    def __init__(self, world: World, open_streams: streams.Streams) -> None:
        self._world = world
        self._streams = open_streams
        self._encoded: Encoded = collections.OrderedDict()

    async def watch(
        self, target: targets.Target, options: queries.Read, query: Mapping[str, str], form: forms.Form
    ) -> streams.Stream:
        """The stream; BadInputError before it begins."""
        self._streams.check()
        if options.limit or options.token:
            raise errors.BadInputError("limit and continue are for lists, not for watches")
        if form is forms.Form.METADATA_LIST:
            raise statuses.not_acceptable("a watch tells of single objects; ask for PartialObjectMetadata")
        if target.kind.namespaced is False and target.namespace is not None:
            raise statuses.unknown_path(target.kind.plural)
        version = "" if options.version == "0" or options.initial else options.version
        if options.initial is False and options.version in ("", "0"):
            version = await reading.newest(self._world, target.kind)
        events = self._world.objects.watch(
            target.kind, target.namespace, labels=options.labels, fields=options.fields, resource_version=version
        )
        writer = _Writer(self, target.kind, options, form, reading.included(query))
        seconds = DEFAULT_SECONDS if not options.timeout else options.timeout
        return streams.Stream(self._streams, writer.lines(events), media=MEDIA, seconds=seconds, last=_last)

    def encode(self, event: port.WatchEvent) -> bytes:
        """The line of an event about a whole object."""
        key = (str(event.type), event.object.uid, event.object.metadata.resource_version)
        line = self._encoded.get(key)
        if line is None:
            line = _line(event.type, meta.dump_bytes(event.object))
            self._encoded[key] = line
            if len(self._encoded) > _REMEMBERED:
                self._encoded.popitem(last=False)
        return line

    def table(self, kind: kinds.Kind, obj: meta.Object, include: str, heads: bool) -> bytes:
        """A one-row table."""
        made = tables.table(kind, [obj], self._world.clock.now(), include, heads)
        made["metadata"] = {"resourceVersion": obj.metadata.resource_version}
        return json_text.dumps(made)


class _Writer:
    """The lines of one watch."""

    def __init__(
        self, watching: Watching, kind: kinds.Kind, options: queries.Read, form: forms.Form, include: str
    ) -> None:
        self._watching = watching
        self._kind = kind
        self._options = options
        self._form = form
        self._include = include
        self._heads = True
        self._initial = bool(options.initial)

    async def lines(self, events: AsyncIterator[port.WatchEvent]) -> AsyncGenerator[bytes, None]:
        try:
            async for event in events:
                line = self._line(event)
                if line:
                    yield line
        finally:
            leave = getattr(events, "aclose", None)
            if leave is not None:
                await leave()

    def _line(self, event: port.WatchEvent) -> bytes:
        if event.type is port.EventType.BOOKMARK:
            return self._bookmark(event) if self._options.bookmarks else b""
        if self._form is forms.Form.TABLE:
            body = self._watching.table(self._kind, event.object, self._include, self._heads)
            self._heads = False
            return _line(event.type, body)
        if self._form is forms.Form.METADATA:
            return _line(event.type, json_text.dumps(tables.partial(event.object)))
        return self._watching.encode(event)

    def _bookmark(self, event: port.WatchEvent) -> bytes:
        metadata: meta.Json = {"resourceVersion": event.object.metadata.resource_version, "creationTimestamp": None}
        if self._initial:
            self._initial = False
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        if self._form is forms.Form.TABLE:
            body: meta.Json = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": None}
            bare = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
            body |= {
                "metadata": {"resourceVersion": metadata["resourceVersion"]},
                "rows": [{"cells": [], "object": bare}],
            }
            return _line(event.type, json_text.dumps(body))
        if self._form is forms.Form.METADATA:
            bare = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
            return _line(event.type, json_text.dumps(bare))
        body = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": metadata}
        return _line(event.type, json_text.dumps(body))


def _line(kind: str, body: bytes) -> bytes:
    return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"


def _last(error: errors.KuttabError) -> bytes:
    return _line("ERROR", json_text.dumps(statuses.failure(error)))
