"""Services of this machine: programs that serve an algorithm for one experiment, started when they are needed and again when they died.

What the Deployment of a cluster does: a process in a group of its own, a port of its own, a log, a folder for state. A service is ready
when the probe that its owner brings says so. It is started at the next need after a death, at once the first time, then with growing
pauses. What a service answers is not this room's business, nor when it is no longer needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kuttab.base import clock as clocks
from kuttab.base import errors, log
from kuttab.node import environ, images, processes, settings, volumes

_log = log.get(__name__)

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 20.0
"""How long one need waits for a service that has been started and does not answer yet; it goes on starting meanwhile."""
CHECK_SECONDS: Final = 3.0
HEALTHY_SECONDS: Final = 30.0
"""A service that lived this long is started again at once."""
PAUSE_FIRST, PAUSE_MOST = 0.2, 30.0
LOG_CAP: Final = 64 * 1024 * 1024

Probe = Callable[[str, float], Awaitable[None]]
"""Waits at most that many seconds for a service at ``host:port``; UnavailableError when it is not ready."""


@dataclass(frozen=True, slots=True)
class Program:
    """How a service is started. ``role`` and ``name`` say what it is for; relative folders are below ``base``."""

    role: str
    name: str
    port_variable: str
    command: Sequence[str]
    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""
    base: Path = field(default_factory=Path.cwd)
    volume: str = ""
    """Container path for which the folder with the service's state stands."""
    timeout: float = 60.0
    """Longest time of one call in seconds."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The experiment that a service runs for."""

    uid: str
    namespace: str
    name: str


class _Service:
    def __init__(self) -> None:
        self.child: processes.Child | None = None
        self.port = 0
        self.ready = False
        self.started = 0.0
        self.deaths = 0
        self.not_before = 0.0
        self.log = Path()
        self.lock = asyncio.Lock()

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        return self.child is not None and self.child.exit is None


class Services:
    """All services of a node. Use from one event loop; :meth:`close` before the node's processes are closed."""

    def __init__(
        self, running: processes.Processes, node: settings.NodeSettings, probe: Probe, clock: clocks.Clock
    ) -> None:
        self._processes = running
        self._node = node
        self._probe = probe
        self._clock = clock
        self._services: dict[tuple[str, str], _Service] = {}

    async def address(self, owner: Owner, program: Program) -> str:
        """Where the experiment's service listens; it is started when it does not run.

        UnavailableError while it is not ready. CannotRunError when its program cannot be started at all.
        """
        service = self._services.setdefault((owner.uid, program.role), _Service())
        async with service.lock:
            if not service.alive:
                await self._start(service, owner, program)
            if not service.ready:
                await self._wait(service, program)
            with contextlib.suppress(OSError):
                if volumes.size(service.log) > LOG_CAP:
                    service.log.open("wb").close()
        return service.address

    async def check(self, owner: Owner, role: str) -> None:
        """After a call that got no answer in time: end the service when it does not even say that it is well."""
        service = self._services.get((owner.uid, role))
        if service is None or not service.alive:
            return
        async with service.lock:
            try:
                await self._probe(service.address, CHECK_SECONDS)
            except errors.UnavailableError as problem:
                _log.warning("service_hangs", experiment=owner.name, role=role, problem=problem)
                assert service.child is not None
                await self._processes.end(service.child, 0)

    async def end(self, owner_uid: str) -> None:
        """End an experiment's services; idempotent. Their logs and state stay."""
        for key in [key for key in self._services if key[0] == owner_uid]:
            service = self._services[key]
            async with service.lock:
                if service.child is not None:
                    await self._processes.end(service.child, self._node.grace_seconds)
                    service.child = None
            self._services.pop(key, None)

    async def remove(self, owner: Owner) -> None:
        """End the services of an experiment that was deleted, and remove their logs and state."""
        await self.end(owner.uid)
        await asyncio.to_thread(shutil.rmtree, self._folder(owner), ignore_errors=True)

    async def close(self) -> None:
        """End every service."""
        for uid in {uid for uid, _ in self._services}:
            await self.end(uid)

    def _folder(self, owner: Owner) -> Path:
        return self._node.data_dir / "services" / owner.namespace / f"{owner.name}-{owner.uid[:8]}"

    async def _start(self, service: _Service, owner: Owner, program: Program) -> None:
        await self._bury(service, program)
        folder = self._folder(owner)
        service.log = folder / f"{program.role}.log"
        # gRPC servers share a port silently when two are given the same one, so none of ours may be given twice.
        port = _free_port({other.port for other in self._services.values()})
        command = self._command(program, folder, service.log, port)
        pod = f"service-{owner.uid}-{program.role}"
        service.port = port
        service.child = self._processes.spawn(command, pod, lambda _: None)
        service.ready, service.started = False, self._clock.monotonic()
        _log.info("service_started", experiment=owner.name, role=program.role, pid=service.child.pid, port=port)

    async def _bury(self, service: _Service, program: Program) -> None:
        """Take note of a death; UnavailableError while the pause after several of them lasts."""
        now = self._clock.monotonic()
        if service.child is not None:
            await self._processes.clear(service.child)
            lived = now - service.started
            service.deaths = 1 if service.ready and lived >= HEALTHY_SECONDS else service.deaths + 1
            pause = 0.0 if service.deaths == 1 else min(PAUSE_MOST, PAUSE_FIRST * 2.0 ** (service.deaths - 2))
            service.not_before = now + pause
            service.child = None
        if now < service.not_before:
            raise errors.UnavailableError(
                f"the service of {program.name} has ended {service.deaths} times and is started again after a pause;"
                f" its log: {service.log}"
            )

    def _command(self, program: Program, folder: Path, log_file: Path, port: int) -> processes.Command:
        image = images.find(self._node.images, program.image)
        mounts = volumes.Mounts(
            [volumes.Mount(volumes.normal(program.volume), folder / "state")] if program.volume else []
        )
        own = {program.port_variable: str(port)}
        declared = {**program.env, **own}

        def translate(text: str) -> str:
            return images.below_root(image, mounts.rewrite(environ.expand(text, declared)))

        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
            mounts.make()
        except OSError as problem:
            raise processes.verdict(problem, f"cannot prepare the folder {folder}") from problem
        env = {**self._node.inherited(), **image.env}
        env |= {key: translate(value) for key, value in program.env.items()} | own
        argv = [translate(word) for word in program.command]
        cwd = volumes.workdir(program.workdir or image.workdir, mounts, image.root, program.base, program.base)
        argv[0] = images.program(image, argv[0], env, cwd)
        return processes.Command(argv, env, cwd, log_file)

    async def _wait(self, service: _Service, program: Program) -> None:
        """Until the service is ready, has died, or the time for one need is over."""
        assert service.child is not None
        ready = asyncio.ensure_future(self._probe(service.address, START_SECONDS))
        ended = asyncio.ensure_future(service.child.ended.wait())
        try:
            await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                try:
                    await ready
                except errors.UnavailableError as problem:
                    if service.alive:
                        raise errors.UnavailableError(
                            f"the service of {program.name} does not answer yet: {problem.message}"
                        ) from problem
                else:
                    service.ready = True
                    return
            await service.child.ended.wait()
            code = service.child.exit.code if service.child.exit is not None else 0
            raise errors.UnavailableError(
                f"the service of {program.name} ended with code {code} before it answered; its log: {service.log}"
                f"{_last_line(service.log)}"
            )
        finally:
            for task in (ready, ended):
                task.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)


def _free_port(taken: Collection[int]) -> int:
    """A port that nobody listens on now, and none of those."""
    while True:
        with socket.socket() as found:
            found.bind((HOST, 0))
            port: int = found.getsockname()[1]
        if port not in taken:
            return port


def _last_line(path: Path) -> str:
    """The end of a log as part of a sentence: short, in one line, nothing that a terminal would obey."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, volumes.size(path) - 2000))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    text = "".join(letter if letter.isprintable() else " " for letter in last[-200:])
    return f", which ends: {text}" if text else ""
