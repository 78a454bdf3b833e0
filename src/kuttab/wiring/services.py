"""Our own services of Katib's contract, each as a process of its own: algorithms, early-stopping rules, the observation log.

Ports come from the command line, else from the variables of the contract. SIGTERM ends each in order. They hold no objects: who
has none, like a db-manager, knows trials by name alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib import parse

from kuttab.algorithms import registry
from kuttab.api import keys
from kuttab.base import clock, errors
from kuttab.ports import observations as observation_port
from kuttab.wiring import marking, observing
from kuttab.wiring import settings as settings_

Announce = Callable[[str], None]
"""Gets ``host:port`` once a service listens."""


async def suggestion(only: str, host: str, port: int | None, announce: Announce) -> None:
    """Serve every algorithm, or only the one named, until told to end. NotFoundError for an unknown name."""
    from kuttab.rpc import hosting, servers

    if only:
        registry.load(only)
    service = servers.SuggestionService(only)
    wanted = port if port is not None else hosting.port_from(keys.ENV_SUGGESTION_PORT, hosting.SUGGESTION_PORT)
    await _serve([service.handler()], service.health(), host, wanted, announce)


@dataclass(frozen=True, slots=True)
class Where:
    """Which cluster, and which of its namespaces (empty: the one of the pod or kubeconfig)."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = ""

    @property
    def given(self) -> bool:
        """Whether there is a cluster at all: one was named, or this is a pod."""
        return self.kubeconfig is not None or self.context is not None or "KUBERNETES_SERVICE_HOST" in os.environ


async def early_stopping(where: Where, host: str, port: int | None, announce: Announce) -> None:
    """Serve the early-stopping rules until told to end; metrics come from the db-manager that each request names.

    In a cluster trials are marked at their collectors' request; without one no such request is honoured.
    """
    from kuttab.rpc import hosting, servers

    wanted = port
    if wanted is None:
        wanted = hosting.port_from(keys.ENV_EARLY_STOPPING_PORT, hosting.EARLY_STOPPING_PORT)
    async with _stop_in(where) as stop:
        service = servers.EarlyStoppingService(stop)
        try:
            await _serve([service.handler()], service.health(), host, wanted, announce)
        finally:
            await service.close()


async def db_manager(settings: settings_.Settings, host: str, port: int | None, announce: Announce) -> None:
    """Serve the observation log of the settings until told to end."""
    from kuttab.rpc import dbmanager, hosting, servers

    wanted = port if port is not None else hosting.port_from(keys.ENV_DB_MANAGER_PORT, hosting.DB_MANAGER_PORT)
    if not settings.database:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with observing.observations(settings) as rows:
        service = dbmanager.DbManager(rows, _by_name(rows))
        await _serve([service.handler()], servers.db_manager_health(rows), host, wanted, announce)


def database_url() -> str:
    """The URL of the database that Katib's variables (``DB_NAME`` and its like) describe; empty without them. BadInputError."""
    name, given = os.environ.get("DB_NAME", ""), os.environ.get
    if not name:
        return ""
    if name == "mysql":
        user, prefix, driver, host, port = given("DB_USER", "root"), "KATIB_MYSQL_DB", "mysql", "katib-mysql", "3306"
    elif name == "postgres":
        user, prefix, driver, host, port = (
            given("DB_USER", "katib"), "KATIB_POSTGRESQL_DB", "postgresql", "katib-postgres", "5432",
        )  # fmt: skip
    else:
        raise errors.BadInputError(f"DB_NAME must be mysql or postgres, not {name[:40]!r}")
    place = f"{given(f'{prefix}_HOST', host)}:{given(f'{prefix}_PORT', port)}/{given(f'{prefix}_DATABASE', 'katib')}"
    secret = parse.quote(given("DB_PASSWORD", ""), safe="")
    mode = given("KATIB_POSTGRESQL_SSL_MODE", "disable")
    return f"{driver}://{parse.quote(user, safe='')}:{secret}@{place}" + (
        f"?sslmode={mode}" if name == "postgres" else ""
    )


async def _serve(handlers: list[Any], health: Any, host: str, port: int, announce: Announce) -> None:
    from kuttab.rpc import hosting, serving

    address = host or hosting.default_host()
    server = serving.Server(handlers, health=health, host=address, port=port)
    await hosting.until_told(server, lambda found: announce(f"{address}:{found}"))


@contextlib.asynccontextmanager
async def _stop_in(where: Where) -> AsyncIterator[Callable[[str, Any], Awaitable[None]]]:
    if not where.given:
        yield _no_trials
        return
    try:
        from kuttab.client import kube, kube_wire
    except ModuleNotFoundError as problem:
        raise errors.BadInputError(f"a cluster needs more: pip install 'kuttab[kubernetes]' ({problem})") from problem
    access = kube_wire.read(where.kubeconfig, where.context)
    async with kube.KubeClient(kube_wire.Wire(access)) as client:
        namespace = where.namespace or access.namespace or "default"
        yield marking.Marker(client, namespace, clock.SystemClock()).stop


async def _no_trials(name: str, _: Any) -> None:
    """A service alone on a machine has no trials: the runtime that runs them stops them by itself."""
    raise errors.ForbiddenError(
        f"this service knows no trial {name[:80]!r}: it is connected to no objects; whoever runs the trial stops it"
    )


def _by_name(rows: Any) -> Callable[[str], Any]:
    """Trials as Katib's db-manager knows them: by name alone, also one that has no rows yet."""

    async def resolve(name: str) -> observation_port.TrialKey:
        found = await rows.named(name)
        if len(found) > 1:
            raise errors.BadInputError(f"{len(found)} trials are named {name[:80]!r}; ask the runtime that owns them")
        return found[0] if found else observation_port.TrialKey(f"name/{name}", name)

    return resolve
