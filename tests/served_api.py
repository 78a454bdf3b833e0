"""A server for tests: real HTTP on a real port, over a store in memory with the admission of this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from kuttab.apiserver import app, protocol, server, world
from kuttab.base import clock
from kuttab.client import embedded
from kuttab.ports import logs as logs_port
from kuttab.store import objects
from kuttab.wiring import serving, settings

TOKEN = "the-token-of-these-tests"
KUBEFLOW = "/apis/kubeflow.org/v1beta1"
EXPERIMENTS = f"{KUBEFLOW}/namespaces/default/experiments"
MAPS = "/api/v1/namespaces/default/configmaps"


@dataclass
class Served:
    """A running server and a client of it."""

    http: httpx.AsyncClient
    objects: embedded.EmbeddedClient
    store: objects.Store
    app: app.ApiServer
    port: int

    async def json(self, method: str, path: str, code: int = 200, **more: Any) -> Any:
        """The JSON of an answer that has the code."""
        answer = await self.http.request(method, path, **more)
        assert answer.status_code == code, answer.text
        return answer.json()

    async def refused(self, method: str, path: str, code: int, reason: str, **more: Any) -> Any:
        """The Status of a refusal."""
        status = await self.json(method, path, code, **more)
        assert status["kind"] == "Status"
        assert status["apiVersion"] == "v1"
        assert status["status"] == "Failure"
        assert (status["code"], status["reason"]) == (code, reason), status
        assert status["message"]
        return status


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Starts a server; options go to its parts."""

    @contextlib.asynccontextmanager
    async def start(
        *,
        limits: app.Limits | None = None,
        sockets: protocol.Limits = protocol.DEFAULTS,
        store: objects.Options | None = None,
        logs: logs_port.Logs | None = None,
        token: str = TOKEN,
    ) -> AsyncIterator[Served]:
        options = store or objects.Options(commits="settle", bookmark_seconds=0.05)
        time = clock.SystemClock()
        async with objects.Store(None, clock=time, options=options) as opened:
            client = embedded.EmbeddedClient(opened, None, "tester")
            writers = serving.Writers(client, settings.Settings(data=tmp_path))
            stands_on = world.World(client, writers, time, "0.0.0", logs, client)
            front = app.ApiServer(stands_on, token, limits=limits or app.Limits())
            listener = server.listen(server.Address())
            port = listener.getsockname()[1]
            headers = {"Authorization": f"Bearer {token}"}
            async with (
                server.serving(front, listener, None, sockets),
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as http,
            ):
                yield Served(http, client, opened, front, port)

    return start


@pytest.fixture
async def api(serve: Serve) -> AsyncIterator[Served]:
    """A server with ordinary limits."""
    async with serve() as served:
        yield served


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def config_map(name: str, **data: str) -> dict[str, Any]:
    """A ConfigMap as JSON."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def experiment(name: str = "e", **spec: Any) -> dict[str, Any]:
    """An Experiment that is admitted, as JSON."""
    body: dict[str, Any] = {
        "objective": {"type": "minimize", "objectiveMetricName": "loss"},
        "algorithm": {"algorithmName": "random"},
        "parallelTrialCount": 1,
        "maxTrialCount": 2,
        "parameters": [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}],
        "trialTemplate": {
            "primaryContainerName": "main",
            "trialParameters": [{"name": "x", "reference": "x"}],
            "trialSpec": {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "spec": {
                    "template": {
                        "spec": {
                            "restartPolicy": "Never",
                            "containers": [
                                {"name": "main", "image": "python", "command": ["echo", "loss=${trialParameters.x}"]}
                            ],
                        }
                    }
                },
            },
        },
    }
    body.update(spec)
    return {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": name}, "spec": body}
