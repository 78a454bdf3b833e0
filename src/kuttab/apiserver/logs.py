"""Logs of pods over HTTP: which part, whose container, following on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from starlette.requests import Request
from starlette.types import ASGIApp

from kuttab.api import kinds, meta
from kuttab.apiserver import queries, statuses, streams, targets
from kuttab.apiserver.world import World
from kuttab.base import errors
from kuttab.ports import logs as port

MEDIA = "text/plain"
FOLLOW_SECONDS = 24 * 3600


class PodLogs:
    """Answers ``pods/NAME/log``."""

    def __init__(self, world: World, open_streams: streams.Streams) -> None:
        self._world = world
        self._streams = open_streams

    async def read(self, request: Request, target: targets.Target) -> ASGIApp:
        """The log as a stream; BadInputError for what a log file cannot tell."""
        options = read_options(request.query_params)
        found = await self._world.objects.get(kinds.POD, target.namespace or "", target.name)
        if self._world.logs is None:
            raise errors.NotFoundError("this server has no logs of pods")
        self._streams.check()
        pieces = await self._world.logs.read(found, options)
        pieces = _clipped(pieces, queries.whole(request.query_params, "limitBytes"))
        return streams.Stream(self._streams, pieces, media=MEDIA, seconds=FOLLOW_SECONDS, last=_last)


def read_options(query: Mapping[str, str]) -> port.Options:
    """The query of a log; BadInputError."""
    for name in ("timestamps", "previous"):
        if queries.flag(query, name):
            why = (
                "a trial writes its own log file, so the time of a line is not known"
                if name == "timestamps"
                else "containers are not restarted in place here: each attempt is a pod of its own"
            )
            raise errors.BadInputError(f"{name} is not offered: {why}")
    if query.get("sinceTime"):
        raise errors.BadInputError("sinceTime is not offered: the time of a line is not known")
    tail = query.get("tailLines")
    return port.Options(
        container=query.get("container", ""),
        follow=queries.flag(query, "follow"),
        tail=None if tail == "-1" else queries.whole(query, "tailLines"),
        since=queries.whole(query, "sinceSeconds"),
    )


async def _clipped(pieces: AsyncGenerator[bytes, None], limit: int | None) -> AsyncGenerator[bytes, None]:
    left = limit
    try:
        async for piece in pieces:
            if left is None:
                yield piece
                continue
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return
    finally:
        await pieces.aclose()


def _last(error: errors.KuttabError) -> bytes:
    status: meta.Json = statuses.failure(error)
    return f"\n[kuttab: the log ends here: {status['message']}]\n".encode()
