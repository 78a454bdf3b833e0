"""Asking a stranger's service whether it is there, as Katib's probes ask.

Not every service has a health service, or knows Katib's odd name for itself: any answer at all but "not serving" means that it is there.
"""

from __future__ import annotations

from typing import Final

import grpc
from grpc_health.v1 import health_pb2

from kuttab.base import errors
from kuttab.rpc import serving

_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_AWAY: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


async def ready(address: str, timeout: float) -> None:
    """Return as soon as the service at ``host:port`` answers; UnavailableError when it does not within ``timeout`` seconds."""
    channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
    try:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        request = health_pb2.HealthCheckRequest(service=serving.PROBE_NAME)
        reply = await check(request, timeout=timeout, wait_for_ready=True)
    except grpc.aio.AioRpcError as error:
        if error.code() in _AWAY:
            raise errors.UnavailableError(f"nothing answers at {address}") from None
        return
    finally:
        await channel.close()
    if reply.status == health_pb2.HealthCheckResponse.NOT_SERVING:
        raise errors.UnavailableError(f"the service at {address} says that it is not serving")
