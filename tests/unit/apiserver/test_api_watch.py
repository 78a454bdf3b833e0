"""Watches over HTTP: events, bookmarks, where they begin, how they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kuttab.apiserver import app, streams
from kuttab.store import objects
from served_api import EXPERIMENTS, MAPS, TOKEN, Serve, Served, config_map, experiment

PATIENCE = 20


class Lines:
    """The events of a watch that is read."""

    def __init__(self, pieces: AsyncIterator[str]) -> None:
        self._pieces = pieces

    async def next(self) -> Any:
        """The next event."""
        return json.loads(await asyncio.wait_for(anext(self._pieces), PATIENCE))

    async def names(self, count: int) -> list[tuple[str, str]]:
        """The next events as type and name, bookmarks left out."""
        found: list[tuple[str, str]] = []
        while len(found) < count:
            event = await self.next()
            if event["type"] != "BOOKMARK":
                found.append((event["type"], event["object"]["metadata"]["name"]))
        return found

    async def ended(self) -> bool:
        """Whether nothing more comes."""
        with contextlib.suppress(StopAsyncIteration):
            await asyncio.wait_for(anext(self._pieces), PATIENCE)
            return False
        return True


@contextlib.asynccontextmanager
async def watching(api: Served, path: str, accept: str = "application/json", **query: str) -> AsyncIterator[Lines]:
    """A watch that is left when the block ends."""
    params = {"watch": "true", **query}
    async with api.http.stream("GET", path, params=params, headers={"Accept": accept}) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield Lines(answer.aiter_lines())


async def test_what_exists_comes_first(api: Served) -> None:
    """Without a resourceVersion, or from 0, existing objects come as ADDED, then what happens."""
    await api.json("POST", MAPS, 201, json=config_map("a"))
    for query in ({}, {"resourceVersion": "0"}):
        async with watching(api, MAPS, **query) as lines:
            assert await lines.names(1) == [("ADDED", "a")]
            await api.json("PUT", f"{MAPS}/a", json=config_map("a", k=query.get("resourceVersion", "x")))
            assert await lines.names(1) == [("MODIFIED", "a")]


async def test_a_list_and_its_watch_have_no_gap(api: Served) -> None:
    """From a list's resourceVersion everything later comes, once, with the object as it is stored."""
    await api.json("POST", MAPS, 201, json=config_map("old"))
    version = (await api.json("GET", MAPS))["metadata"]["resourceVersion"]
    made = await api.json("POST", MAPS, 201, json=config_map("new"))
    await api.json("DELETE", f"{MAPS}/old")
    async with watching(api, MAPS, resourceVersion=version) as lines:
        assert await lines.next() == {"type": "ADDED", "object": made}
        assert await lines.names(1) == [("DELETED", "old")]


async def test_bookmarks_only_when_asked(api: Served) -> None:
    """A bookmark carries kind and resourceVersion; who did not ask gets none."""
    await api.json("POST", MAPS, 201, json=config_map("a"))
    async with watching(api, MAPS, allowWatchBookmarks="true") as lines:
        assert await lines.names(1) == [("ADDED", "a")]
        event = await lines.next()
    assert event["type"] == "BOOKMARK"
    assert (event["object"]["kind"], event["object"]["apiVersion"]) == ("ConfigMap", "v1")
    async with watching(api, MAPS) as lines:
        assert await lines.names(1) == [("ADDED", "a")]
        await api.json("POST", MAPS, 201, json=config_map("b"))
        assert (await lines.next())["type"] == "ADDED"


async def test_initial_events_end_with_a_bookmark(api: Served) -> None:
    """sendInitialEvents streams what exists and marks its end; false leaves it out; half a request is refused."""
    await api.json("POST", MAPS, 201, json=config_map("a"))
    both = {"resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with watching(api, MAPS, sendInitialEvents="true", **both) as lines:
        assert await lines.names(1) == [("ADDED", "a")]
        event = await lines.next()
    assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    async with watching(api, MAPS, sendInitialEvents="false", **both) as lines:
        await api.json("POST", MAPS, 201, json=config_map("b"))
        assert await lines.names(1) == [("ADDED", "b")]
    for query in ("sendInitialEvents=true", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"):
        await api.refused("GET", f"{MAPS}?watch=true&{query}", 422, "Invalid")
    await api.refused("GET", f"{MAPS}?sendInitialEvents=true", 422, "Invalid")


async def test_a_compacted_revision_is_an_error_in_the_stream(serve: Serve) -> None:
    """A watch from a revision that is gone is answered 200 and ends with one ERROR event: 410, list again."""
    async with serve(store=objects.Options(commits="settle", keep_revisions=5)) as api:
        version = (await api.json("POST", MAPS, 201, json=config_map("m")))["metadata"]["resourceVersion"]
        for number in range(200):
            await api.json("PUT", f"{MAPS}/m", json=config_map("m", n=str(number)))
        async with watching(api, MAPS, resourceVersion=version) as lines:
            event = await lines.next()
            assert await lines.ended()
        assert event["type"] == "ERROR"
        assert (event["object"]["kind"], event["object"]["code"], event["object"]["reason"]) == (
            "Status",
            410,
            "Expired",
        )


async def test_a_future_revision_is_an_error_in_the_stream(api: Served) -> None:
    """A revision that was never given out is 410 too."""
    async with watching(api, MAPS, resourceVersion="999999") as lines:
        assert (await lines.next())["object"]["code"] == 410


async def test_selected_watch(api: Served) -> None:
    """Selectors choose what is told; leaving the selection is DELETED."""
    async with watching(api, MAPS, labelSelector="tier=web") as lines:
        body = config_map("a")
        await api.json("POST", MAPS, 201, json=config_map("other"))
        body["metadata"]["labels"] = {"tier": "web"}
        await api.json("POST", MAPS, 201, json=body)
        await api.json("PUT", f"{MAPS}/a", json=config_map("a"))
        assert await lines.names(2) == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_watch_ends_in_time(api: Served) -> None:
    """timeoutSeconds ends the stream without an error."""
    async with watching(api, MAPS, timeoutSeconds="1") as lines:
        assert await lines.ended()


@pytest.mark.parametrize(
    "query",
    ["resourceVersion=abc", "resourceVersion=-1", "labelSelector=a%3D(", "fieldSelector=spec.x%3D1", "limit=3", "timeoutSeconds=x",
     "continue=abc", "allowWatchBookmarks=perhaps"],
)  # fmt: skip
async def test_bad_watches_are_refused_at_once(api: Served, query: str) -> None:
    """What is wrong with a watch is said before it begins."""
    await api.refused("GET", f"{MAPS}?watch=true&{query}", 400, "BadRequest")


async def test_one_object_is_watched_through_its_collection(api: Served) -> None:
    """The path of an object takes no watch, and says how to ask; the old watch paths are not there."""
    await api.json("POST", MAPS, 201, json=config_map("a"))
    status = await api.refused("GET", f"{MAPS}/a?watch=true", 400, "BadRequest")
    assert "fieldSelector=metadata.name=a" in status["message"]
    await api.refused("GET", "/api/v1/watch/namespaces/default/configmaps", 404, "NotFound")


async def test_tables_and_metadata_are_watched_too(api: Served) -> None:
    """``kubectl get -w`` gets rows, the columns once; metadata watchers get metadata."""
    await api.json("POST", EXPERIMENTS, 201, json=experiment("a"))
    await api.json("POST", EXPERIMENTS, 201, json=experiment("b"))
    table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    async with watching(api, EXPERIMENTS, table, allowWatchBookmarks="true") as lines:
        first, second, mark = await lines.next(), await lines.next(), await lines.next()
    assert [column["name"] for column in first["object"]["columnDefinitions"]] == ["Name", "Type", "Status", "Age"]
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["cells"][0] == "b"
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["rows"][0]["object"]["metadata"]["resourceVersion"]
    partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    async with watching(api, EXPERIMENTS, partial, allowWatchBookmarks="true") as lines:
        event = await lines.next()
    assert event["object"]["kind"] == "PartialObjectMetadata"
    assert "spec" not in event["object"]


async def test_a_client_that_leaves_costs_nothing(api: Served) -> None:
    """The watcher in the store is gone as soon as its client is."""
    async with watching(api, MAPS) as lines:
        await api.json("POST", MAPS, 201, json=config_map("a"))
        await lines.names(1)
        assert (len(api.store.broadcaster), api.app.streams.open) == (1, 1)
    for _ in range(200):
        if not api.app.streams.open:
            break
        await asyncio.sleep(0.01)
    assert (len(api.store.broadcaster), api.app.streams.open) == (0, 0)


async def test_only_so_many_watches(serve: Serve) -> None:
    """Beyond the limit a watch is told to come again; others go on."""
    async with serve(limits=app.Limits(streams=2)) as api, watching(api, MAPS), watching(api, MAPS) as lines:
        status = await api.refused("GET", f"{MAPS}?watch=true", 429, "TooManyRequests")
        assert status["details"]["retryAfterSeconds"] == 1
        await api.json("POST", MAPS, 201, json=config_map("a"))
        assert await lines.names(1) == [("ADDED", "a")]


async def test_watches_end_when_the_server_stops(serve: Serve) -> None:
    """Open watches end in order, and do not hold the server up."""
    async with contextlib.AsyncExitStack() as stack, serve() as api:
        lines = await stack.enter_async_context(watching(api, MAPS))
        api.app.streams.stop()
        assert await lines.ended()
        await api.refused("GET", f"{MAPS}?watch=true", 503, "ServiceUnavailable")


async def test_many_watchers_see_the_same(api: Served) -> None:
    """Watchers do not take events from each other, and slow ones do not lose any."""

    async def see() -> list[tuple[str, str]]:
        async with watching(api, MAPS) as lines:
            await ready.wait()
            return await lines.names(30)

    ready = asyncio.Event()
    watchers = [asyncio.ensure_future(see()) for _ in range(10)]
    for number in range(30):
        await api.json("POST", MAPS, 201, json=config_map(f"m{number:02}"))
    ready.set()
    assert await asyncio.gather(*watchers) == [[("ADDED", f"m{number:02}") for number in range(30)]] * 10


async def test_a_watcher_that_does_not_read(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that takes nothing for too long is left, and what waits for it is let go; others see everything."""
    monkeypatch.setattr(streams, "SEND_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=1024)
    head = f"GET {MAPS}?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    writer.write(head.encode())
    await reader.readuntil(b"\r\n\r\n")
    async with watching(api, MAPS) as lines:
        for number in range(60):
            await api.json("POST", MAPS, 201, json=config_map(f"m{number:02}", a="x" * 300_000))
            assert await lines.names(1) == [("ADDED", f"m{number:02}")]
        for _ in range(500):
            if api.app.streams.open == 1:
                break
            await asyncio.sleep(0.01)
        assert (len(api.store.broadcaster), api.app.streams.open) == (1, 1)
    writer.close()
