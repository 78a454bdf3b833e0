"""Strangers for the gRPC edge: modules compiled from facts, and a server that answers as it is told."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

import rpc_strangers


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Messages (``pb``) and stubs (``stubs``) that protoc made of the contract's facts."""
    pb, stubs = rpc_strangers.compiled(tmp_path_factory.mktemp("stranger"))
    return SimpleNamespace(pb=pb, stubs=stubs)


@pytest.fixture
def serve() -> Callable[..., Any]:
    """An async context manager that serves raw methods, path to function of (bytes, context), and gives the address."""

    @contextlib.asynccontextmanager
    async def run(methods: dict[str, Any]) -> AsyncIterator[str]:
        class Raw(grpc.GenericRpcHandler):
            def service(self, details: Any) -> Any:
                found = methods.get(details.method.rpartition("/")[2])
                return None if found is None else grpc.unary_unary_rpc_method_handler(found)

        server = grpc.aio.server(
            options=(("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
        )
        server.add_generic_rpc_handlers([Raw()])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)

    return run
