"""A node of a test cluster that only pretends: it writes the status of pods and hands out made-up logs over the kubelet's own protocol.

For measuring what is asked of the API server without paying for containers. Real: etcd, API server, controller manager, Jobs, Pods,
the path of ``kubectl logs``. Pretended: that anything runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from kuttab.api import kinds, meta
from kuttab.base import errors, json_text
from kuttab.client import kube
from kuttab.ports import objects as ports

NAME = "played"
NODE = kinds.Kind("", "v1", "Node", "nodes", namespaced=False)
HEARTBEAT = 10.0
STATUS = "application/strategic-merge-patch+json"


class PlayedNode:
    """Runs every pod of its name for ``seconds``; each prints ``loss=0.5``."""

    def __init__(self, client: kube.KubeClient, seconds: float, certificate: tuple[Path, Path]) -> None:
        self._client = client
        self._seconds = seconds
        self._certificate = certificate
        self._seen: set[str] = set()
        self.ran = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With the node in the cluster."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._certificate)
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        await self._client.create(kinds.load({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}}))
        await self._beat(port)
        async with server, asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._heart(port)), group.create_task(self._pods(group))]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def _heart(self, port: int) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            await self._beat(port)

    async def _beat(self, port: int) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "Played", "lastHeartbeatTime": _now()}
        status = {
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        await self._client.patch(NODE, "", NAME, {"status": status}, subresource="status")

    async def _pods(self, group: asyncio.TaskGroup) -> None:
        async for event in self._client.watch(kinds.POD, fields=f"spec.nodeName={NAME}"):
            pod = event.object
            if event.type in (ports.EventType.BOOKMARK, ports.EventType.DELETED):
                continue
            if pod.deleting and pod.uid + "-end" not in self._seen:
                self._seen.add(pod.uid + "-end")
                group.create_task(self._remove(pod))
            elif pod.uid not in self._seen:
                self._seen.add(pod.uid)
                group.create_task(self._run(pod))

    async def _run(self, pod: meta.Object) -> None:
        name = pod.section("spec")["containers"][0]["name"]
        begun = _now()
        with contextlib.suppress(errors.NotFoundError):
            await self._tell(pod, "Running", name, {"running": {"startedAt": begun}})
            await asyncio.sleep(self._seconds)
            over = {"exitCode": 0, "reason": "Completed", "startedAt": begun, "finishedAt": _now()}
            await self._tell(pod, "Succeeded", name, {"terminated": over})
            self.ran += 1

    async def _tell(self, pod: meta.Object, phase: str, name: str, state: meta.Json) -> None:
        container = {
            "name": name, "state": state, "ready": phase == "Running", "restartCount": 0, "image": "played", "imageID": "played",
            "lastState": {},
        }  # fmt: skip
        status = {"phase": phase, "containerStatuses": [container]}
        await self._client.patch(kinds.POD, pod.namespace, pod.name, {"status": status}, subresource="status")

    async def _remove(self, pod: meta.Object) -> None:
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        with contextlib.suppress(errors.NotFoundError):
            await self._client.wire.call("delete pods", "DELETE", path, None, json_text.dumps(options))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The kubelet's ``/containerLogs``: every container prints one line, and its log ends when it does."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"follow=true" in head.split(b"\r\n")[0]:
                await asyncio.sleep(self._seconds)
            line = b"2026-01-01T00:00:00.5Z loss=0.5\n"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(line), line))
            await writer.drain()
            writer.close()
            await writer.wait_closed()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
