"""The server's front: who may come in, which path means what, and every error as a Status.

An ASGI application over :class:`~kuttab.apiserver.world.World`. It decides nothing about objects.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from kuttab.api import kinds
from kuttab.apiserver import (
    answers,
    bodies,
    discovery,
    forms,
    logs,
    openapi,
    queries,
    reading,
    reviews,
    statuses,
    streams,
    targets,
    watching,
    writing,
)  # fmt: skip
from kuttab.apiserver.world import World
from kuttab.base import errors, log

logger = log.get(__name__)

HEALTH = frozenset({"healthz", "livez", "readyz"})
ROOTS = frozenset({"api", "apis", "openapi", "version"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server takes."""

    url: int = 16 * 1024
    streams: int = 500
    body: bodies.Limits = field(default_factory=bodies.Limits)


_DEFAULTS = Limits()


class ApiServer:
    """The ASGI application. ``token`` empty lets everybody in: for tests, and where something in front asks for it."""

    def __init__(
        self, world: World, token: str, *, limits: Limits = _DEFAULTS, elsewhere: ASGIApp | None = None
    ) -> None:
        """``elsewhere`` answers the paths that are not Kubernetes', and guards them itself."""
        self._world = world
        self._token = token.encode()
        self._limits = limits
        self._elsewhere = elsewhere
        self._bodies = bodies.Bodies(limits.body)
        self._writing = writing.Writing(world, self._bodies)
        self.streams = streams.Streams(limits.streams)
        self._watching = watching.Watching(world, self.streams)
        self._logs = logs.PodLogs(world, self.streams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return  # websockets are refused by the server below; there is no lifespan
        request = Request(scope, receive)
        context = _Context()
        try:
            app = await self._answer(request, context)
        except errors.KuttabError as error:
            app = answers.error(error, statuses.failure(error, context.kind, context.name))
        except Exception:
            logger.exception("request_failed", method=request.method, path=scope["path"])
            app = answers.document(statuses.fault(), 500)
        await app(scope, receive, send)

    async def _answer(self, request: Request, context: _Context) -> ASGIApp:
        raw_path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
        if len(raw_path) + len(request.scope["query_string"]) > self._limits.url:
            raise statuses.HttpError(414, "BadRequest", f"the URL has more than {self._limits.url} bytes")
        steps = targets.segments(raw_path)
        if steps is None:
            raise errors.BadInputError("the path is no text in UTF-8")
        root = steps[0] if steps else ""
        if root in HEALTH and len(steps) == 1:
            _only(request, "GET", "HEAD")
            return PlainTextResponse("ok")
        if root not in ROOTS and self._elsewhere is not None:
            return self._elsewhere
        self._check_token(request)
        if root == "version" and len(steps) == 1:
            _only(request, "GET", "HEAD")
            return answers.document(discovery.version(self._world.version))
        if root == "openapi":
            return self._openapi(request, steps[1:])
        if root == "api":
            return await self._api(request, context, core=True, steps=steps[1:])
        if root == "apis":
            return await self._api(request, context, core=False, steps=steps[1:])
        raise statuses.unknown_path(request.scope["path"])

    def _check_token(self, request: Request) -> None:
        if not self._token:
            return
        if not hmac.compare_digest(_given_token(request.headers.get("authorization", "")), self._token):
            raise statuses.unauthorized()

    async def _api(self, request: Request, context: _Context, *, core: bool, steps: list[str]) -> ASGIApp:
        depth = 1 if core else 2
        if len(steps) <= depth:
            found = self._discovery(request, core, steps)
            if found is None:
                raise statuses.unknown_path(request.scope["path"])
            return found
        group, version = ("", steps[0]) if core else (steps[0], steps[1])
        rest = steps[depth:]
        review = discovery.REVIEWS.get((group, version), {}).get(rest[0]) if len(rest) == 1 else None
        if review is not None:
            return await self._review(request, f"{group}/{version}", review)
        target = targets.parse_steps(group, version, rest)
        if target is None:
            raise statuses.unknown_path(request.scope["path"])
        context.kind, context.name = target.kind, target.name
        return await self._objects(request, target)

    def _discovery(self, request: Request, core: bool, steps: list[str]) -> ASGIApp | None:
        _only(request, "GET", "HEAD")
        accept = request.headers.get("accept", "")
        form = discovery.wants_aggregated(accept)
        if not steps and form:
            return answers.document(discovery.aggregated(form, core=core), media=discovery.aggregated_media(form))
        forms.choose(accept)
        if core and not steps:
            return answers.document(discovery.api_versions(request.headers.get("host", "")))
        if not steps:
            return answers.document(discovery.group_list())
        found = discovery.resource_list("", steps[0]) if core else None
        if not core:
            found = discovery.group(steps[0]) if len(steps) == 1 else discovery.resource_list(*steps)
        return None if found is None else answers.document(found)

    def _openapi(self, request: Request, steps: list[str]) -> ASGIApp:
        _only(request, "GET", "HEAD")
        accept = request.headers.get("accept", "")
        if steps == ["v2"]:
            forms.choose(accept)
            return answers.raw(openapi.version2())
        if steps[:1] != ["v3"]:
            raise statuses.unknown_path(request.scope["path"])
        forms.choose(accept)
        if len(steps) == 1:
            return answers.document(openapi.index())
        found = openapi.by_path(steps[1:])
        if found is None:
            raise statuses.unknown_path(request.scope["path"])
        return answers.raw(found)

    async def _review(self, request: Request, api_version: str, kind: str) -> ASGIApp:
        _only(request, "POST")
        document = await self._bodies.document(request)
        return answers.document(reviews.answer(kind, api_version, document or {}), 201)

    async def _objects(self, request: Request, target: targets.Target) -> ASGIApp:
        verbs = self._verbs(target)
        method = "GET" if request.method == "HEAD" else request.method
        verb = verbs.get(method)
        if verb is None:
            raise statuses.bad_method(request.method, sorted(verbs))
        return await verb(request, target)

    def _verbs(self, target: targets.Target) -> dict[str, Verb]:
        """Methods that a path knows."""
        if target.subresource == "log":
            return {"GET": self._logs.read}
        if target.subresource:
            return {"GET": self._get, "PUT": self._writing.update, "PATCH": self._writing.patch}
        if target.name:
            return {
                "GET": self._get,
                "PUT": self._writing.update,
                "PATCH": self._writing.patch,
                "DELETE": self._writing.delete,
            }
        collection: dict[str, Verb] = {"GET": self._list, "DELETE": self._writing.delete_collection}
        if target.namespace is not None or not target.kind.namespaced:
            collection["POST"] = self._writing.create
        return collection

    async def _get(self, request: Request, target: targets.Target) -> ASGIApp:
        query = request.query_params
        if queries.flag(query, "watch"):
            raise errors.BadInputError(
                f"watch one object through its collection: fieldSelector=metadata.name={target.name[:80]}"
            )
        return await reading.get(self._world, target, query, _form(request))

    async def _list(self, request: Request, target: targets.Target) -> ASGIApp:
        query = request.query_params
        options = queries.Read.read(query)
        if options.watch:
            return await self._watching.watch(target, options, query, _form(request))
        return await reading.list_(self._world, target, options, query, _form(request))


Verb = Callable[[Request, targets.Target], Awaitable[ASGIApp]]


@dataclass(slots=True)
class _Context:
    """What an error is about, once that is known."""

    kind: kinds.Kind | None = None
    name: str = ""


def _given_token(header: str) -> bytes:
    """The token of an Authorization header: as bearer, or as the password of Basic.

    kubectl sends no bearer token over plain HTTP, but it does send what stands before the host in the server's URL.
    """
    scheme, _, value = header.partition(" ")
    given = value.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() == "bearer":
        return given
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(given, validate=True).partition(b":")[2]
        except ValueError:
            return b""
    return b""


def _form(request: Request) -> forms.Form:
    return forms.choose(request.headers.get("accept", ""))


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise statuses.bad_method(request.method, list(methods))
