"""Running a server of the contract as a process of its own: which port, until when, and how it ends.

``serve(MyAlgorithm)`` is all that a program needs to be an algorithm of any Katib. Orders to end (SIGTERM, SIGINT) are obeyed in order: no
new calls, running ones get their grace.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Final

from kuttab.algorithms import registry
from kuttab.algorithms.algorithm import Algorithm
from kuttab.api import keys
from kuttab.base import errors
from kuttab.rpc import servers, serving

SUGGESTION_PORT: Final = 6789
EARLY_STOPPING_PORT: Final = 6788
DB_MANAGER_PORT: Final = 6789
GRACE: Final = 5.0
"""Seconds that running calls get at the end."""


def serve(algorithm: type[Algorithm], *, host: str = "", port: int | None = None) -> None:
    """Serve one algorithm until the process is told to end; by default on ``KATIB_SUGGESTION_PORT``, else 6789."""
    registry.add(algorithm)
    service = servers.SuggestionService(algorithm.name)
    wanted = port_from(keys.ENV_SUGGESTION_PORT, SUGGESTION_PORT) if port is None else port
    server = serving.Server([service.handler()], health=service.health(), host=host or default_host(), port=wanted)
    asyncio.run(until_told(server))


async def until_told(server: serving.Server, announce: Callable[[int], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then end in order; ``announce`` gets the port once it listens."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    port = await server.start()
    if announce is not None:
        announce(port)
    try:
        await told.wait()
    finally:
        await server.stop(GRACE)


def port_from(variable: str, default: int) -> int:
    """The port that a variable names, else the default; BadInputError when it is none.

    A cluster may set the variable to an address like ``tcp://10.0.0.1:6789`` by itself; that is not meant for us.
    """
    text = os.environ.get(variable, "").strip()
    if not text or text.startswith("tcp://"):
        return default
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise errors.BadInputError(f"{variable} must be a port number from 1 to 65535, not {text[:40]!r}")
    return int(text)


def default_host() -> str:
    """Loopback on a machine of one's own, every address in a pod, where the network belongs to the pod."""
    return "0.0.0.0" if os.environ.get("KUBERNETES_SERVICE_HOST") else "127.0.0.1"  # noqa: S104
