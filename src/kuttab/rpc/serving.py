"""A gRPC server of our services: limits, health, errors as codes with a sentence, and an orderly end.

There is no reflection: the contract is public, and a server need not tell strangers what else it has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kuttab.base import errors, log
from kuttab.rpc import channels, messages
from kuttab.rpc.messages import Message

logger = log.get(__name__)

MAX_REQUEST: Final = 64 * 1024 * 1024
"""Bytes of one request; a larger one is refused with RESOURCE_EXHAUSTED."""
PROBE_NAME: Final = "manager.v1beta1.Suggestion"
"""The service name that Katib's probes ask the health service for."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_REQUEST),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.max_frame_size", 1 << 20),  # histories are long messages: fewer, larger frames
    ("grpc.http2.lookahead_bytes", 8 << 20),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 200),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)

Method = Callable[[Any, Any], Awaitable[Message]]
"""A unary method: request (a message, or bytes) and context to reply."""
Probe = Callable[[], Awaitable[None]]
"""Raises a KuttabError when the service cannot work just now."""


def handler(service: str, methods: Mapping[str, Method], *, raw: Collection[str] = ()) -> Any:
    """The handler of a service; every error of a method becomes a code with a sentence, never a traceback.

    Methods named in ``raw`` get the request's bytes.
    """
    made = {}
    for name, (request, reply) in messages.METHODS[service].items():
        made[name] = grpc.unary_unary_rpc_method_handler(
            _guarded(f"{service}/{name}", methods[name], None if name in raw else request),
            response_serializer=reply.SerializeToString,
        )
    return grpc.method_handlers_generic_handler(service, made)


def _guarded(name: str, method: Method, kind: Message | None) -> Any:
    """The method over bytes, so that bytes that are no message are the caller's fault and not a fault of ours."""

    async def run(raw: bytes, context: Any) -> Message:
        try:
            return await method(raw if kind is None else channels.parse(kind, raw), context)
        except errors.KuttabError as error:
            code = getattr(grpc.StatusCode, error.grpc_code)
            await context.abort(code, channels.clean(error.message, 2000))
        except grpc.aio.AbortError:
            raise
        except Exception:
            logger.exception("rpc_failed", method=name)
            await context.abort(grpc.StatusCode.INTERNAL, "the server has a fault; its log has the details")
        raise AssertionError("abort returns")

    return run


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """``grpc.health.v1.Health``: SERVING for the names given while the probe passes, NOT_FOUND for any other.

    ``Check`` only, as in Katib.
    """

    def __init__(self, names: Sequence[str], probe: Probe | None = None) -> None:
        self._names = frozenset(names)
        self._probe = probe

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        """Whether the service works."""
        if request.service not in self._names:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"there is no service {channels.clean(request.service, 100)!r}"
            )
        status = health_pb2.HealthCheckResponse.SERVING
        if self._probe is not None:
            try:
                await self._probe()
            except errors.KuttabError as error:
                logger.warning("not_serving", reason=error.message)
                status = health_pb2.HealthCheckResponse.NOT_SERVING
        return health_pb2.HealthCheckResponse(status=status)


class Server:
    """Serves handlers on one port of one address."""

    def __init__(
        self, handlers: Sequence[Any], *, health: Health | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._handlers = list(handlers)
        self._health = health
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._server: Any = None
        self.port = 0

    async def start(self) -> int:
        """Listen; the port (a free one when 0 was asked for). Raises UnavailableError when the address is in use."""
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(self._handlers)
        if self._health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        try:
            self.port = server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise errors.UnavailableError(
                f"cannot listen on {self._address}: it is in use or not of this machine"
            ) from error
        await server.start()
        self._server = server
        return self.port

    async def wait(self) -> None:
        """Return when the server has ended."""
        await self._server.wait_for_termination()

    async def stop(self, grace: float = 5.0) -> None:
        """Take no more calls, give running ones ``grace`` seconds, end. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)
