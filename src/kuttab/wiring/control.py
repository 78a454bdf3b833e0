"""The owner of a data folder lends its objects to other commands of the same user, over a Unix socket in that folder.

So ``kuttab stop`` reaches an experiment that ``kuttab run`` runs in another terminal. One JSON document a line each way; the socket is
readable by its user alone. Verbs of the objects port, and one that waits for metric rows; a watch takes a connection of its own.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from kuttab.api import kinds, meta
from kuttab.base import errors, log
from kuttab.ports import objects as port
from kuttab.wiring import meeting

logger = log.get(__name__)

LINE_LIMIT = 16 * 1024 * 1024


class ControlServer:
    """Serves an objects client on the socket."""

    def __init__(self, objects: port.Objects, path: Path, settle_rows: Callable[[], Awaitable[None]]) -> None:
        """``settle_rows`` returns when metric rows that follow from what is shown are where others read them."""
        self._objects = objects
        self._path = path
        self._settle_rows = settle_rows

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve while inside."""
        self._path.unlink(missing_ok=True)
        old = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._talk, self._path, limit=LINE_LIMIT)
        finally:
            os.umask(old)
        try:
            yield
        finally:
            server.close()
            self._path.unlink(missing_ok=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                if b'"watch"' in line and (wanted := _watched(line)) is not None:
                    await self._stream(wanted, reader, writer)
                    return
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError) as problem:
            logger.info("control_dropped", problem=problem)
        finally:
            writer.close()

    async def _stream(self, args: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Events until the other side hangs up: a connection that watches does nothing else."""

        async def send() -> None:
            events = self._objects.watch(_kind(args), args.get("namespace"), fields=args.get("fields", ""))
            async with contextlib.aclosing(events) as found:  # type: ignore[type-var]
                async for event in found:
                    document = {"type": event.type, "object": meta.dump(event.object)}
                    writer.write(json.dumps(document).encode() + b"\n")
                    await writer.drain()

        sending, leaving = asyncio.ensure_future(send()), asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            return {"ok": await self._do(request["verb"], request.get("args", {}))}
        except errors.InvalidError as problem:
            problems = [[item.path, item.message, item.reason] for item in problem.problems]
            return {"error": {"type": "InvalidError", "problems": problems, "subject": problem.subject}}
        except errors.KuttabError as problem:
            return {"error": {"type": type(problem).__name__, "message": problem.message}}
        except (KeyError, TypeError, ValueError) as problem:
            return {"error": {"type": "BadInputError", "message": f"bad request: {problem}"}}

    async def _do(self, verb: str, args: dict[str, Any]) -> Any:
        objects = self._objects
        if verb == "get":
            return meta.dump(await objects.get(_kind(args), args["namespace"], args["name"]))
        if verb == "list":
            page = await objects.list(
                _kind(args), args.get("namespace"), labels=args.get("labels", ""), fields=args.get("fields", ""),
                limit=args.get("limit", 0), continue_token=args.get("continue", ""),
            )  # fmt: skip
            items = [meta.dump(item) for item in page.items]
            return {
                "items": items, "version": page.resource_version, "continue": page.continue_token, "remaining": page.remaining,
            }  # fmt: skip
        if verb in ("create", "update"):
            call = objects.create if verb == "create" else objects.update
            stored = await call(kinds.load(args["object"]))
            await objects.settle()
            return meta.dump(stored)
        if verb == "delete":
            left = await objects.delete(
                _kind(args), args["namespace"], args["name"], uid=args.get("uid", ""),
                propagation=port.Propagation(args.get("propagation", "Background")),
            )  # fmt: skip
            await objects.settle()
            return None if left is None else meta.dump(left)
        if verb == "settle-rows":
            return await self._settle_rows()
        raise errors.BadInputError(f"unknown verb {verb!r}")


class RemoteObjects:
    """The objects port as far as commands need it, over the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = asyncio.Lock()

    async def get(self, kind: kinds.Kind, namespace: str, name: str) -> meta.Object:
        """See the port."""
        return kind.load(await self._call("get", kind, namespace=namespace, name=name))

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
        """See the port. Many objects come in several answers, as one would be too long a line."""
        items: builtins.list[meta.Object] = []
        while True:
            size = min(limit - len(items), meeting.PAGE) if limit else meeting.PAGE
            more = {"labels": labels, "fields": fields, "limit": size, "continue": continue_token}
            page = await self._call("list", kind, namespace=namespace, **more)
            items += [kind.load(item) for item in page["items"]]
            continue_token = page["continue"]
            if not continue_token or len(items) == limit:
                return port.ObjectList(items, page["version"], continue_token, page["remaining"])

    async def create(self, obj: meta.Object) -> meta.Object:
        """See the port."""
        return kinds.load(await self._call("create", None, object=meta.dump(obj)))

    async def update(self, obj: meta.Object) -> meta.Object:
        """See the port."""
        return kinds.load(await self._call("update", None, object=meta.dump(obj)))

    async def delete(self, kind: kinds.Kind, namespace: str, name: str, *, uid: str = "") -> meta.Object | None:
        """See the port."""
        left = await self._call("delete", kind, namespace=namespace, name=name, uid=uid)
        return None if left is None else kinds.load(left)

    async def settle_rows(self) -> None:
        """Return when the owner has brought metric rows to where others read them; UnavailableError, DeadlineError."""
        await self._call("settle-rows", None)

    async def _call(self, verb: str, kind: kinds.Kind | None, **args: Any) -> Any:
        if kind is not None:
            args |= {"apiVersion": kind.api_version, "kind": kind.kind}
        async with self._lock:
            try:
                self._writer.write(json.dumps({"verb": verb, "args": args}).encode() + b"\n")
                await self._writer.drain()
                line = await self._reader.readline()
            except ConnectionError as problem:
                raise errors.UnavailableError(meeting.GONE) from problem
        if not line:
            raise errors.UnavailableError(meeting.GONE)
        return meeting.outcome(json.loads(line))


async def watch(data: Path, kind: kinds.Kind, namespace: str, fields: str) -> AsyncGenerator[port.WatchEvent, None]:
    """What exists and then every change, from whoever owns the folder, over a connection of its own. UnavailableError when it goes away."""
    try:
        reader, writer = await asyncio.open_unix_connection(meeting.address(data), limit=LINE_LIMIT)
    except OSError as problem:
        raise errors.UnavailableError("no process owns the data folder") from problem
    args = {"apiVersion": kind.api_version, "kind": kind.kind, "namespace": namespace, "fields": fields}
    try:
        writer.write(json.dumps({"verb": "watch", "args": args}).encode() + b"\n")
        await writer.drain()
        while line := await reader.readline():
            event = json.loads(line)
            yield port.WatchEvent(port.EventType(event["type"]), kinds.load(event["object"]))
    except ConnectionError as problem:
        raise errors.UnavailableError(meeting.GONE) from problem
    finally:
        writer.close()
    raise errors.UnavailableError(meeting.GONE)


@contextlib.asynccontextmanager
async def reach(data: Path) -> AsyncIterator[RemoteObjects | None]:
    """The objects of whoever owns the folder, or None when nobody answers on the socket."""
    try:
        reader, writer = await asyncio.open_unix_connection(meeting.address(data), limit=LINE_LIMIT)
    except OSError:
        yield None
        return
    try:
        yield RemoteObjects(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def _watched(line: bytes) -> dict[str, Any] | None:
    """The arguments of a watch, None for another request."""
    try:
        request = json.loads(line)
    except ValueError:
        return None
    if not isinstance(request, dict) or request.get("verb") != "watch":
        return None
    args = request.get("args")
    return args if isinstance(args, dict) and "apiVersion" in args and "kind" in args else None


def _kind(args: dict[str, Any]) -> kinds.Kind:
    return kinds.named(args["apiVersion"], args["kind"])
