"""Addresses that lead nowhere (C19): a delay with a clear message, never another way in."""

from __future__ import annotations

import asyncio
import socket

import pytest

from kuttab.base import errors
from kuttab.rpc import dbmanager, health


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.mark.parametrize("host", ["name.invalid", "127.0.0.1"])
async def test_c19_a_name_that_is_not_found_and_a_port_that_is_closed_delay(host: str) -> None:
    """C19: both are UnavailableError, naming the address; a later call may succeed."""
    address = f"{host}:{closed_port()}"
    client = dbmanager.DbManagerClient(address, timeout=3)
    with pytest.raises(errors.UnavailableError) as away:
        await client.read("t")
    assert address in away.value.message
    await client.close()


async def test_c12_nothing_is_ready_where_nobody_listens() -> None:
    """C12: waiting for a service ends with its time, and says where nothing answers."""
    address = f"127.0.0.1:{closed_port()}"
    with pytest.raises(errors.UnavailableError, match=address):
        await health.ready(address, 0.3)


async def test_a_server_that_is_no_grpc_service_is_not_ready() -> None:
    """Something else on the port, which takes connections and says nothing, is not taken for a service."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(errors.UnavailableError):
            await health.ready(f"127.0.0.1:{listener.getsockname()[1]}", 0.3)


async def test_closing_a_connection_is_a_delay_for_a_call_that_runs() -> None:
    """Who calls is told that the connection is gone, and is not cancelled by it; a caller that is cancelled stays cancelled."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        for give_up in (False, True):
            client = dbmanager.DbManagerClient(f"127.0.0.1:{listener.getsockname()[1]}", timeout=30)
            task = asyncio.ensure_future(client.read("t"))
            await asyncio.sleep(0.05)
            if give_up:
                task.cancel()
            await client.close()
            kind = asyncio.CancelledError if give_up else errors.UnavailableError
            with pytest.raises(kind):
                await task
