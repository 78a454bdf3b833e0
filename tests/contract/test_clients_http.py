"""The client contract through two doors at once: the Kubernetes client over our own HTTP server over the embedded store."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest

from kuttab.apiserver import app, server, world
from kuttab.base import clock
from kuttab.client import embedded, kube, kube_wire
from kuttab.ports import objects as ports
from kuttab.store import objects
from kuttab.testing import clients

TOKEN = "secret-of-this-test"
TLS = ssl.create_default_context()


class Token(httpx.Auth):
    """The bearer token of the server under test."""

    def auth_flow(self, request: httpx.Request) -> AsyncIterator[httpx.Request]:  # type: ignore[override]
        """See httpx."""
        request.headers["Authorization"] = f"Bearer {TOKEN}"
        yield request


class TestOwnServer(clients.ClientContract):
    """``kuttab serve`` without admission, over a store in memory: what is promised of a store, over HTTP."""

    foreign = False

    @pytest.fixture
    async def client(self) -> AsyncIterator[ports.Objects]:
        """A client of a fresh server on a free port."""
        time = clock.SystemClock()
        options = objects.Options(commits="settle")
        async with objects.Store(None, clock=time, options=options) as store:
            inner = embedded.EmbeddedClient(store)
            front = app.ApiServer(world.World(inner, lambda *, strict, warnings: inner, time, "test"), TOKEN)
            listener = server.listen(server.Address())
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with (
                server.serving(front, listener),
                kube.KubeClient(kube_wire.Wire(kube_wire.Access(url, "default", TLS, Token()))) as opened,
            ):
                yield opened
