"""Metrics over the contract when replies are lost, repeated and out of order (C17), or too many and too large (F16)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from kuttab.observations import memory
from kuttab.ports import observations as port
from kuttab.rpc import dbmanager, serving

KEY = port.TrialKey("uid", "t")


async def resolve(name: str) -> port.TrialKey:
    """The one trial."""
    assert name == "t"
    return KEY


@contextlib.asynccontextmanager
async def log_at_work() -> AsyncIterator[tuple[memory.MemoryObservations, str]]:
    """A db-manager over a log in memory."""
    log = memory.MemoryObservations()
    server = serving.Server([dbmanager.DbManager(log, resolve).handler()])
    found = await server.start()
    try:
        yield log, f"127.0.0.1:{found}"
    finally:
        await server.stop(0)


def batch(pb: Any, first: int, count: int = 10) -> Any:
    """A report of some steps."""
    made = pb.ReportObservationLogRequest(trial_name="t")
    for step in range(first, first + count):
        row = made.observation_log.metric_logs.add(time_stamp=f"2026-01-01T00:00:{step:02d}Z")
        row.metric.name, row.metric.value = "loss", str(step)
    return made


@pytest.mark.parametrize("order", [[0, 10, 20], [20, 0, 10]], ids=["in order", "out of order"])
async def test_c17_lost_replies_and_repeated_batches_store_each_row_once(stranger: Any, order: list[int]) -> None:
    """C17: whatever is sent again, because its reply was lost or for no reason, is stored once, whichever batch comes first."""
    pb = stranger.pb
    async with log_at_work() as (log, address), grpc.aio.insecure_channel(address) as channel:
        stub = stranger.stubs.DBManagerStub(channel)
        for first in order:
            call = stub.ReportObservationLog(batch(pb, first))
            call.cancel()  # the caller will never know whether it was stored
            with contextlib.suppress(asyncio.CancelledError):
                await call
            for _ in range(2):
                await stub.ReportObservationLog(batch(pb, first))
        for first in reversed(order):
            await stub.ReportObservationLog(batch(pb, first))
        rows = await log.read(KEY)
        assert sorted(int(row.value) for row in rows) == list(range(30))
        series = (await log.summarize(KEY)).metrics["loss"]
        assert (series.count, series.min, series.max) == (30, "0", "29")


async def test_f16_a_report_of_five_megabytes_is_taken_and_one_beyond_the_limit_has_a_code(stranger: Any) -> None:
    """F16: 5 MB in one report are stored; what is beyond the server's limit is RESOURCE_EXHAUSTED, and the server goes on."""
    pb = stranger.pb
    async with log_at_work() as (log, address), grpc.aio.insecure_channel(address) as channel:
        stub = stranger.stubs.DBManagerStub(channel)
        large = pb.ReportObservationLogRequest(trial_name="t")
        for _ in range(100):
            row = large.observation_log.metric_logs.add(time_stamp="2026-01-01T00:00:00Z")
            row.metric.name, row.metric.value = "note", "x" * 50_000
        await stub.ReportObservationLog(large)
        assert len(await log.read(KEY)) == 100
        beyond = pb.ReportObservationLogRequest(trial_name="t" * (serving.MAX_REQUEST + 1))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ReportObservationLog(beyond)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await stub.ReportObservationLog(batch(pb, 0))
        assert len(await log.read(KEY, metric="loss")) == 10
