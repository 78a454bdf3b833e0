"""Logs of pods over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from kuttab.api import meta
from kuttab.base import errors
from kuttab.ports import logs as port
from served_api import Serve, Served

PODS = "/api/v1/namespaces/default/pods"


class Logs:
    """Answers every pod with what was asked for, in pieces."""

    def __init__(self) -> None:
        self.asked: list[port.Options] = []
        self.go = asyncio.Event()
        self.closed = False
        self.fails = False

    async def read(self, pod: meta.Object, options: port.Options) -> AsyncGenerator[bytes, None]:
        """See the port."""
        if options.container == "none":
            raise errors.BadInputError("no such container")
        self.asked.append(options)
        return self._pieces(pod, options)

    async def _pieces(self, pod: meta.Object, options: port.Options) -> AsyncGenerator[bytes, None]:
        try:
            yield f"{pod.name}\n".encode()
            if options.follow:
                await self.go.wait()
                yield b"more\n"
            if self.fails:
                raise errors.UnavailableError("the disk is gone")
        finally:
            self.closed = True


async def with_pod(api: Served) -> None:
    """Make the pod ``p``."""
    await api.json("POST", PODS, 201, json={"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main"}]}})


async def test_options_reach_the_log(serve: Serve) -> None:
    """The query becomes options; limitBytes cuts the text."""
    logs = Logs()
    async with serve(logs=logs) as api:
        await with_pod(api)
        answer = await api.http.get(f"{PODS}/p/log?container=main&tailLines=3&sinceSeconds=5&limitBytes=1&pretty=true")
        assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "p", "text/plain")
        assert logs.asked == [port.Options(container="main", tail=3, since=5)]
        assert (await api.http.get(f"{PODS}/p/log?tailLines=-1")).text == "p\n"
        empty = "container=&tailLines=&sinceSeconds=&limitBytes=&sinceTime="
        assert (await api.http.get(f"{PODS}/p/log?{empty}")).text == "p\n"
        assert logs.asked[-1] == port.Options()


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [("nobody/log", 404, "NotFound"), ("p/log?timestamps=true", 400, "BadRequest"), ("p/log?previous=1", 400, "BadRequest"),
     ("p/log?sinceTime=2026-01-01T00:00:00Z", 400, "BadRequest"), ("p/log?tailLines=some", 400, "BadRequest"),
     ("p/log?container=none", 400, "BadRequest"), ("p/log?limitBytes=-3", 400, "BadRequest")],
)  # fmt: skip
async def test_what_a_log_cannot_tell(serve: Serve, path: str, code: int, reason: str) -> None:
    """What is not known or wrong is refused before the first byte."""
    async with serve(logs=Logs()) as api:
        await with_pod(api)
        await api.refused("GET", f"{PODS}/{path}", code, reason)


async def test_following(serve: Serve) -> None:
    """A followed log comes as it is written, and ends with its container."""
    logs = Logs()
    async with serve(logs=logs) as api:
        await with_pod(api)
        async with api.http.stream("GET", f"{PODS}/p/log?follow=true") as answer:
            lines: Any = answer.aiter_lines()
            assert await anext(lines) == "p"
            logs.go.set()
            assert [line async for line in lines] == ["more"]
    assert logs.closed


async def test_a_reader_that_leaves(serve: Serve) -> None:
    """The log is let go when its reader leaves."""
    logs = Logs()
    async with serve(logs=logs) as api:
        await with_pod(api)
        async with api.http.stream("GET", f"{PODS}/p/log?follow=true") as answer:
            assert await anext(answer.aiter_lines()) == "p"
        for _ in range(200):
            if logs.closed:
                break
            await asyncio.sleep(0.01)
        assert logs.closed


async def test_a_log_that_breaks(serve: Serve) -> None:
    """What breaks in the middle is said in the text, as there is no other place any more."""
    logs = Logs()
    logs.fails = True
    async with serve(logs=logs) as api:
        await with_pod(api)
        assert "the disk is gone" in (await api.http.get(f"{PODS}/p/log")).text


async def test_a_server_without_logs(api: Served) -> None:
    """Where nobody keeps logs, there are none."""
    await with_pod(api)
    await api.refused("GET", f"{PODS}/p/log", 404, "NotFound")
