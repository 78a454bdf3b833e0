"""Logs of pods from their files: parts, containers, following."""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.client import embedded
from kuttab.node import logs, pod_status, settings
from kuttab.ports import logs as port
from kuttab.store import objects as stores
from kuttab.testing import builders

NOW = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)


class Clock:
    """Stands still."""

    def now(self) -> datetime.datetime:
        """Noon."""
        return NOW

    def monotonic(self) -> float:
        """Nothing passes."""
        return 0.0


class World:
    """A data folder, objects, and pods with logs."""

    def __init__(self, folder: Path, objects: embedded.EmbeddedClient) -> None:
        self.folder = folder
        self.objects = objects
        self.logs = logs.PodLogs(objects, Clock(), folder)

    async def pod(
        self, text: bytes | None = b"a\nb\nc\n", containers: tuple[str, ...] = ("main",), **more: Any
    ) -> meta.Object:
        """A pod of the job ``t`` with the log of its first container."""
        job = await self.objects.create(
            meta.Resource(api_version="batch/v1", kind="Job", metadata=builders.metadata("t"))
        )
        document: meta.Json = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "t-xyz", "namespace": "default", "labels": {"katib.kubeflow.org/trial": "t"},
                         "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "t", "uid": job.uid, "controller": True}]},
            "spec": {"containers": [{"name": name} for name in containers]},
            **more,
        }  # fmt: skip
        made = await self.objects.create(meta.Resource.model_validate(document))
        if "status" in more:
            made = await self.objects.update_status(meta.evolve(made, status=more["status"]))
        if text is not None:
            path = self.path(containers[0])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        return made

    def path(self, container: str = "main") -> Path:
        """The log file."""
        return self.folder / "trials" / "default" / "t" / settings.attempt_folder(0, "t-xyz") / f"{container}.log"

    async def read(self, pod: meta.Object, **options: Any) -> bytes:
        """All that is given."""
        return b"".join([piece async for piece in await self.logs.read(pod, port.Options(**options))])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world without processes."""
    async with stores.Store(None, clock=Clock(), options=stores.Options(commits="settle")) as store:
        yield World(tmp_path, embedded.EmbeddedClient(store))


@pytest.mark.parametrize(
    ("text", "tail", "wanted"),
    [
        (b"a\nb\nc\n", None, b"a\nb\nc\n"), (b"a\nb\nc\n", 1, b"c\n"), (b"a\nb\nc", 1, b"c"), (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc\n", 9, b"a\nb\nc\n"), (b"a\nb\nc\n", 0, b""), (b"", 3, b""), (b"\n\n\n", 2, b"\n\n"), (b"no end", 1, b"no end"),
        (b"x" * 200_000 + b"\nlast\n", 1, b"last\n"), (b"first\n" + b"x" * 200_000 + b"\n", 1, b"x" * 200_000 + b"\n"),
    ],
)  # fmt: skip
async def test_tails(world: World, text: bytes, tail: int | None, wanted: bytes) -> None:
    """The last lines are the last lines, whatever their length and whether the file ends with one."""
    assert await world.read(await world.pod(text), tail=tail) == wanted


async def test_containers(world: World) -> None:
    """The one container needs no name; of several one must be named; Katib's collector repeats the training."""
    await world.objects.create(builders.trial("t", "default"))
    subject = await world.objects.get(kinds.TRIAL, "default", "t")
    primary = getattr(subject, "spec").primary_container_name or "main"  # noqa: B009
    pod = await world.pod(b"loss=1\n", (primary, "sidecar"))
    with pytest.raises(errors.BadInputError, match="must be specified"):
        await world.read(pod)
    with pytest.raises(errors.BadInputError, match="not valid"):
        await world.read(pod, container="other")
    with pytest.raises(errors.BadInputError, match="waiting to start"):
        await world.read(pod, container="sidecar")
    assert await world.read(pod, container=primary) == b"loss=1\n"
    assert await world.read(pod, container=logs.COLLECTOR) == b"loss=1\n"


async def test_a_pod_that_has_not_started(world: World) -> None:
    """No log yet is said so, and is no fault."""
    pod = await world.pod(None)
    with pytest.raises(errors.BadInputError, match="PodInitializing"):
        await world.read(pod)


async def test_follow_until_the_end(world: World) -> None:
    """What is printed while somebody follows comes, up to the last line, and then the stream ends."""
    pod = await world.pod(b"one\n", status={"phase": "Running"})
    pieces = await world.logs.read(pod, port.Options(follow=True))
    assert await anext(pieces) == b"one\n"
    with world.path().open("ab") as file:
        file.write(b"two\n")
    assert await asyncio.wait_for(anext(pieces), 20) == b"two\n"
    with world.path().open("ab") as file:
        file.write(b"three")
    current = await world.objects.get(kinds.POD, "default", "t-xyz")
    assert isinstance(current, meta.Resource)
    await world.objects.update_status(meta.evolve(current, status={"phase": pod_status.SUCCEEDED}))
    assert [piece async for piece in pieces] == [b"three"]


async def test_follow_ends_with_the_pod(world: World) -> None:
    """A deleted pod prints no more."""
    pod = await world.pod(b"one\n", status={"phase": "Running"})
    pieces = await world.logs.read(pod, port.Options(follow=True, tail=1))
    assert await anext(pieces) == b"one\n"
    await world.objects.delete(kinds.POD, "default", "t-xyz")
    assert [piece async for piece in pieces] == []


@pytest.mark.parametrize(
    ("started", "written", "wanted"), [("11:59:30", 10, b"a\n"), ("10:00:00", 3600, b""), ("10:00:00", 10, None)]
)
async def test_since(world: World, started: str, written: int, wanted: bytes | None) -> None:
    """A part by time is given where it is exact: all of a young log, nothing of one that rests; else it is refused."""
    state = {"name": "main", "state": {"running": {"startedAt": f"2026-01-02T{started}Z"}}}
    pod = await world.pod(b"a\n", status={"phase": "Running", "containerStatuses": [state]})
    at = NOW.timestamp() - written
    os.utime(world.path(), (at, at))
    if wanted is None:
        with pytest.raises(errors.BadInputError, match="tailLines"):
            await world.read(pod, since=60)
    else:
        assert await world.read(pod, since=60) == wanted


@pytest.mark.parametrize(
    "changes", [{"spec": 3, "status": "x"}, {"spec": {"containers": ["x", {"name": "../../secret"}]}}, {"spec": {}}]
)
async def test_pods_of_any_shape(world: World, changes: meta.Json) -> None:
    """A pod is stored as it comes: whatever it says, no file outside its folder is read."""
    secret = world.folder / "trials" / "secret.log"
    secret.parent.mkdir()
    secret.write_text("secret")
    pod = await world.pod(None, **changes)
    for container in ("", "main", "../../secret", "../../../secret", logs.COLLECTOR):
        with pytest.raises(errors.BadInputError):
            await world.read(pod, container=container)
