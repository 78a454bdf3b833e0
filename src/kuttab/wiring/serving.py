"""``kuttab serve``: the one-machine world with its doors open: the HTTP API, and Katib's db-manager over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ipaddress
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kuttab.__about__ import __version__
from kuttab.admission import chain
from kuttab.api import experiment, kinds, meta
from kuttab.base import clock, errors, log
from kuttab.client import embedded
from kuttab.ports import objects as port
from kuttab.wiring import access, machine
from kuttab.wiring import settings as settings_

logger = log.get(__name__)

PORT = 6780
DB_MANAGER_PORT = 6789
GRACE = 5.0
"""Seconds that running gRPC calls get at the end."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where to listen. Port 0 is a free one; ``kubeconfig`` None is the file in the data folder."""

    host: str = "127.0.0.1"
    port: int = PORT
    db_manager_port: int = DB_MANAGER_PORT
    kubeconfig: Path | None = None
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Served:
    """What is being served, for whoever announces it."""

    url: str
    kubeconfig: Path
    token_file: Path
    db_manager: str
    data: Path
    exposed: bool
    """Whether other machines can reach it without encryption."""


async def serve(settings: settings_.Settings, doors: Doors, announce: Callable[[Served], None]) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then drain; a second signal ends at once. LockedError when somebody owns the data folder."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        if told.is_set():
            task.cancel()
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, stop)
    async with serving(settings, doors) as served:
        announce(served)
        await told.wait()


@contextlib.asynccontextmanager
async def serving(settings: settings_.Settings, doors: Doors) -> AsyncIterator[Served]:
    """Serve while inside."""
    from kuttab.apiserver import app, server

    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    listener = server.listen(server.Address(doors.host, doors.port))
    with contextlib.closing(listener):
        async with machine.running(settings) as running:
            token = access.token(settings.data)
            context, authority = _tls(settings.data, doors)
            address = listener.getsockname()
            url = _url(doors.host, address[1], secure=context is not None)
            config = doors.kubeconfig or settings.data / access.KUBECONFIG_FILE
            access.write_kubeconfig(config, access.kubeconfig(url, token, authority))
            front = app.ApiServer(world(running, settings), token)
            async with (
                _db_manager(running, doors) as db_manager,
                server.serving(front, listener, context),
            ):
                warm = asyncio.ensure_future(asyncio.to_thread(_warm))
                exposed = context is None and not _is_loopback(address[0])
                try:
                    yield Served(url, config, settings.data / access.TOKEN_FILE, db_manager, settings.data, exposed)
                finally:
                    await warm


def world(running: machine.Machine, settings: settings_.Settings) -> Any:
    """The running machine as the API server sees it."""
    from kuttab.apiserver.world import World
    from kuttab.node import logs

    time = clock.SystemClock()
    pod_logs = logs.PodLogs(running.objects, time, settings.data)
    return World(running.objects, Writers(running.objects, settings), time, __version__, pod_logs, running.objects)


class Writers:
    """Makes the client of one writing request: its admission is as strict as the request asks for, and its warnings are kept."""

    def __init__(self, objects: embedded.EmbeddedClient, settings: settings_.Settings) -> None:
        self._objects = objects
        self._settings = settings

    def __call__(self, *, strict: bool, warnings: list[str]) -> port.Objects:
        """See :class:`kuttab.apiserver.world.Writers`."""
        from kuttab.wiring import catalogue

        async def admit(obj: meta.Object, old: meta.Object | None, operation: str, user: str) -> meta.Object:
            maps = await self._config_maps(obj)
            offered = catalogue.Catalogue(self._settings, config_maps=maps)
            admitted = chain.admit(obj, old=old, operation=operation, user=user, catalogue=offered, strict=strict)
            warnings.extend(admitted.warnings)
            return admitted.object

        return self._objects.admitting(admit)

    async def _config_maps(self, obj: meta.Object) -> dict[tuple[str, str], dict[str, str]]:
        """The ConfigMaps that an experiment refers to: its template's, and that of its earlier results."""
        if obj.kind != kinds.EXPERIMENT.kind:
            return {}
        spec = obj.section("spec") if not isinstance(obj, experiment.Experiment) else meta.dump(obj.spec)
        found = {}
        for key in _references(spec if isinstance(spec, dict) else {}, obj.namespace):
            with contextlib.suppress(errors.NotFoundError):
                data = (await self._objects.get(kinds.CONFIG_MAP, *key)).section("data")
                texts = data.items() if isinstance(data, dict) else ()
                found[key] = {name: value for name, value in texts if isinstance(value, str)}
        return found


def _references(spec: meta.Json, home: str) -> list[tuple[str, str]]:
    """Namespace and name of the ConfigMaps that a spec refers to, whatever its shape."""
    template, warm = spec.get("trialTemplate"), spec.get("warmStart")
    source = template.get("configMap") if isinstance(template, dict) else None
    found: list[tuple[Any, Any]] = []
    if isinstance(source, dict):
        found.append((source.get("configMapNamespace") or home, source.get("configMapName")))
    if isinstance(warm, dict):
        found.append((home, warm.get("configMapName")))
    return [key for key in found if all(isinstance(part, str) and part for part in key)]


@contextlib.asynccontextmanager
async def _db_manager(running: machine.Machine, doors: Doors) -> AsyncIterator[str]:
    """Katib's db-manager over the observation log, with health; its address."""
    from kuttab.rpc import serving as rpc_serving

    handler, health = running.door.db_manager()
    server = rpc_serving.Server([handler], health=health, host=doors.host, port=doors.db_manager_port)
    try:
        number = await server.start()
    except errors.UnavailableError as error:
        raise errors.UnavailableError(f"{error.message}; choose another with --db-manager-port") from error
    try:
        yield f"{_reachable(doors.host)}:{number}"
    finally:
        await server.stop(GRACE)


def _warm() -> None:
    """Load what the first experiment needs, after the start and beside it: half a second that nobody shall wait for."""
    importlib.import_module("kuttab.algorithms.engine")


def _tls(data: Path, doors: Doors) -> tuple[ssl.SSLContext | None, bytes]:
    if not doors.tls:
        return None, b""
    from kuttab.wiring import certificates

    return certificates.server(data / "tls", doors.host)


def _url(host: str, number: int, *, secure: bool) -> str:
    return f"{'https' if secure else 'http'}://{_reachable(host)}:{number}"


def _reachable(host: str) -> str:
    """An address that a client of this machine can use."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
