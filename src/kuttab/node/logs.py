"""What the containers of this machine's pods print: their log files, whole or from the end, as they grow if asked to.

Files carry no times of lines (decision 0003), so a part by time is given only where it is exact. It never writes.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, BinaryIO

from kuttab.api import keys, kinds, meta, trial
from kuttab.base import clock as clocks
from kuttab.base import errors
from kuttab.node import pod_status, settings
from kuttab.ports import logs as port
from kuttab.ports import objects as objects_port

COLLECTOR = "metrics-logger-and-collector"
"""Katib's collector container, whose log repeats the training's: clients ask for it by this name."""
CHUNK = 1 << 16
POLL_SECONDS = 0.2
"""A file that grows raises no event."""
_PART = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


class PodLogs:
    """Implements ``ports.logs.Logs`` over the data folder."""

    def __init__(self, objects: objects_port.Objects, clock: clocks.Clock, data_dir: Path) -> None:
        self._objects = objects
        self._clock = clock
        self._data_dir = data_dir

    async def read(self, pod: meta.Object, options: port.Options) -> AsyncGenerator[bytes, None]:
        """See the port."""
        name = await self._container(pod, options.container)
        path = self._path(pod, name)
        if path is None or not path.is_file():
            raise errors.BadInputError(
                f'container "{name}" in pod "{pod.name}" is waiting to start: there is no log yet ({_waiting(pod, name)})'
            )
        start = 0 if options.since is None else self._since(path, pod, name, options.since)
        file = await asyncio.to_thread(path.open, "rb")
        return self._pieces(file, pod, name, start, options)

    async def _pieces(
        self, file: BinaryIO, pod: meta.Object, name: str, start: int, options: port.Options
    ) -> AsyncGenerator[bytes, None]:
        with file:
            file.seek(start)
            if options.tail is not None:
                await asyncio.to_thread(seek_tail, file, options.tail, start)
            while True:
                # Whether the container has ended is asked before reading: what it printed last is then surely there.
                over = not options.follow or await self._ended(pod, name)
                while chunk := file.read(CHUNK):
                    yield chunk
                    await asyncio.sleep(0)
                if over:
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def _container(self, pod: meta.Object, wanted: str) -> str:
        """The container's name, as this machine knows it; BadInputError."""
        names = _names(pod)
        if wanted == COLLECTOR and COLLECTOR not in names:
            return await self._primary(pod, names)
        main = _names(pod, "containers")
        if wanted:
            if wanted not in names:
                raise errors.BadInputError(
                    f"container {wanted[:80]} is not valid for pod {pod.name}; it has {', '.join(names)}"
                )
            return wanted
        if len(main) != 1:
            raise errors.BadInputError(
                f"a container name must be specified for pod {pod.name}, choose one of: [{' '.join(names)}]"
            )
        return main[0]

    async def _primary(self, pod: meta.Object, names: list[str]) -> str:
        subject: meta.Object | None
        try:
            subject = await self._objects.get(kinds.TRIAL, pod.namespace, pod.metadata.label(keys.LABEL_TRIAL))
        except errors.NotFoundError:
            subject = None
        primary = subject.spec.primary_container_name if isinstance(subject, trial.Trial) else ""
        return primary if primary in names or not names else names[0]

    def _path(self, pod: meta.Object, container: str) -> Path | None:
        """The log file, below the folder of the attempt that the pod is."""
        owner = pod.metadata.controller
        parts = (pod.namespace, owner.name if owner is not None else "", container)
        if not all(_PART.fullmatch(part) for part in parts):  # stored objects may be called anything
            return None
        assert owner is not None
        folder = self._data_dir / "trials" / pod.namespace / owner.name
        return folder / settings.attempt_folder(pod_status.attempt(pod), pod.name) / f"{container}.log"

    async def _ended(self, pod: meta.Object, name: str) -> bool:
        try:
            found = await self._objects.get(kinds.POD, pod.namespace, pod.name)
        except errors.NotFoundError:
            return True
        return found.uid != pod.uid or pod_status.finished(found) or "terminated" in _state(found, name)

    def _since(self, path: Path, pod: meta.Object, name: str, seconds: int) -> int:
        """Where the part begins that was printed so lately; BadInputError where no whole file answers that."""
        now = self._clock.now().timestamp()
        stat = path.stat()
        if stat.st_mtime < now - seconds:
            return stat.st_size
        running: Any = _state(pod, name).get("running") or _state(pod, name).get("terminated") or {}
        try:
            started = clocks.parse_rfc3339(str(running.get("startedAt", ""))).timestamp()
        except (ValueError, AttributeError):
            started = 0.0
        if started >= now - seconds:
            return 0
        raise errors.BadInputError(
            "sinceSeconds cannot be told here: a trial writes its own log file, without the time of a line; use tailLines"
        )


def seek_tail(file: BinaryIO, lines: int, start: int = 0) -> None:
    """Stand before the last so many lines, not before ``start``, reading backwards."""
    end = file.seek(0, os.SEEK_END)
    if lines == 0:
        return
    position, seen = end, 0
    while position > start:
        size = min(CHUNK, position - start)
        position -= size
        file.seek(position)
        chunk = file.read(size)
        last = len(chunk) - 1 if position + size == end else len(chunk)
        while (last := chunk.rfind(b"\n", 0, last)) >= 0:
            seen += 1
            if seen == lines:
                file.seek(position + last + 1)
                return
    file.seek(start)


def _names(pod: meta.Object, *which: str) -> list[str]:
    """Names of a pod's containers, then of its init containers."""
    spec = pod.section("spec")
    found: list[str] = []
    for field in which or ("containers", "initContainers"):
        items = spec.get(field) if isinstance(spec, dict) else None
        found += [str(item.get("name")) for item in items or () if isinstance(item, dict)]
    return found


def _state(pod: meta.Object, name: str) -> meta.Json:
    status = pod.section("status")
    for field in ("containerStatuses", "initContainerStatuses"):
        for item in (status.get(field) if isinstance(status, dict) else None) or ():
            if isinstance(item, dict) and item.get("name") == name:
                return item.get("state") or {}
    return {}


def _waiting(pod: meta.Object, name: str) -> str:
    waiting = _state(pod, name).get("waiting")
    return str(waiting.get("reason")) if isinstance(waiting, dict) else "PodInitializing"
