"""The observation log over the contract's DBManager service: our server of it, and a client for anybody's.

The contract knows trials by name, and rows without numbers. Here a request is a source of its own, named by what it holds: sent
twice (a retry after a lost reply) it is stored once. Its rows are checked before any is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from kuttab.base import errors
from kuttab.ports import observations as port
from kuttab.rpc import channels, messages
from kuttab.rpc.messages import Message
from kuttab.rpc.serving import Health, handler
from kuttab.rules import metric_values

NAMES: Final = ("", messages.DB_MANAGER, "grpc.health.v1.Health")
"""What the health service is asked about."""
CHUNK: Final = 5_000
"""Rows stored in one step."""
CLIENT_CHUNK: Final = 20_000
"""Rows sent in one request; below the 4 MiB that servers take by default, for rows of ordinary length."""

Resolve = Callable[[str], Awaitable[port.TrialKey]]
"""A trial's key by its name; NotFoundError when there is no such trial, BadInputError when there are several."""
Admit = Callable[[port.TrialKey, Any], Awaitable[None]]
"""Whether the caller of a gRPC context may report for a trial now: ForbiddenError when not."""


class DbManager:
    """Serves an observation log."""

    def __init__(self, observations: port.Observations, resolve: Resolve, admit: Admit | None = None) -> None:
        self._observations = observations
        self._resolve = resolve
        self._admit = admit

    def handler(self) -> Any:
        """The service, for :class:`kuttab.rpc.serving.Server`."""
        methods = {
            "ReportObservationLog": self.report,
            "GetObservationLog": self.get,
            "DeleteObservationLog": self.delete,
        }
        return handler(messages.DB_MANAGER, methods)

    async def report(self, request: Message, context: Any) -> Message:
        """Store every row or, when one cannot be stored, none."""
        trial = await self._trial(request.trial_name)
        if self._admit is not None:
            await self._admit(trial, context)
        rows = [_row(item, i) for i, item in enumerate(request.observation_log.metric_logs)]
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()[:32]
        for start in range(0, len(rows), CHUNK):
            await self._observations.report(trial, f"report-{digest}", start, rows[start : start + CHUNK])
        return messages.ReportObservationLogReply()

    async def get(self, request: Message, _: Any) -> Message:
        """Rows in order of arrival, of one metric or all, within inclusive times."""
        trial = await self._trial(request.trial_name)
        rows = await self._observations.read(
            trial, metric=request.metric_name, start=request.start_time, end=request.end_time
        )
        reply = messages.GetObservationLogReply()
        _add(reply.observation_log.metric_logs, rows)
        return reply

    async def delete(self, request: Message, _: Any) -> Message:
        """Remove a trial's rows; a trial that is gone has none."""
        try:
            trial = await self._trial(request.trial_name)
        except errors.NotFoundError:
            return messages.DeleteObservationLogReply()
        await self._observations.delete(trial)
        return messages.DeleteObservationLogReply()

    async def _trial(self, name: str) -> port.TrialKey:
        if not name:
            raise errors.BadInputError("trial_name must be given")
        return await self._resolve(name)


def health(observations: port.Observations) -> Health:
    """Health of a db-manager: NOT_SERVING while the database does not answer."""

    async def probe() -> None:
        await observations.read(port.TrialKey(uid="health", name="health"), limit=1)

    return Health(NAMES, probe)


class DbManagerClient:
    """Asks a DBManager service. Every failure is an UnavailableError, except for BadInputError and NotFoundError as answers."""

    def __init__(self, address: str, *, timeout: float = 60.0) -> None:
        self._channel = channels.Channel(address)
        self._timeout = timeout

    async def report(self, trial_name: str, rows: Sequence[port.Row]) -> None:
        """Send rows, in as many requests as it takes."""
        for start in range(0, len(rows), CLIENT_CHUNK):
            request = messages.ReportObservationLogRequest(trial_name=trial_name)
            _add(request.observation_log.metric_logs, rows[start : start + CLIENT_CHUNK])
            await self._call("ReportObservationLog", request)

    async def read(self, trial_name: str, *, metric: str = "", start: str = "", end: str = "") -> list[port.Row]:
        """Rows of a trial; ``start`` and ``end`` are inclusive RFC3339 times."""
        request = messages.GetObservationLogRequest(
            trial_name=trial_name, metric_name=metric, start_time=start, end_time=end
        )
        raw = await self._call("GetObservationLog", request)
        reply = channels.parse_answer(messages.GetObservationLogReply, raw, self._channel.address)
        return [
            port.Row(item.metric.name, item.metric.value, item.time_stamp) for item in reply.observation_log.metric_logs
        ]

    async def delete(self, trial_name: str) -> None:
        """Remove the rows of a trial."""
        await self._call("DeleteObservationLog", messages.DeleteObservationLogRequest(trial_name=trial_name))

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def _call(self, method: str, request: Message) -> bytes:
        path = channels.path_of(messages.DB_MANAGER, method)
        try:
            raw, _ = await self._channel.call(path, request.SerializeToString(), self._timeout)
        except channels.Failed as failure:
            known = {"INVALID_ARGUMENT": errors.BadInputError, "NOT_FOUND": errors.NotFoundError}
            kind = known.get(failure.code.name)
            raise (kind(failure.details) if kind is not None else failure.as_unavailable()) from None
        return raw


def _row(item: Message, index: int) -> port.Row:
    name = item.metric.name
    if not name:
        raise errors.BadInputError(f"metric_logs[{index}]: the metric has no name")
    try:
        metric_values.canonical(item.time_stamp)
    except ValueError:
        text = channels.clean(item.time_stamp, 40)
        example = "2026-01-31T12:00:00.5Z"
        raise errors.BadInputError(
            f"metric_logs[{index}]: time_stamp {text!r} must be RFC3339, like {example}"
        ) from None
    return port.Row(name, item.metric.value, item.time_stamp)


def _add(target: Message, rows: Sequence[port.Row]) -> None:
    for row in rows:
        made = target.add(time_stamp=row.time)
        made.metric.name = row.metric
        made.metric.value = row.value
