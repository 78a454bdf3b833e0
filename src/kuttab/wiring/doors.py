"""The door through which programs of trials, Custom collectors and early-stopping services reach this runtime: gRPC on loopback.

It serves Katib's DBManager, for metrics that are pushed, and the one method of EarlyStopping by which a trial asks to be stopped. It is
opened at first need. Programs know it by their environment. Reports are taken by the trial's name, as Katib's SDK sends them; who
also sends the trial's token and has a wrong one is turned away, and stopping a trial takes its own token.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Callable
from typing import Any

from kuttab.api import keys, kinds, meta, trial
from kuttab.base import clock as clocks
from kuttab.base import errors, log
from kuttab.ports import objects as object_port
from kuttab.ports import observations as observation_port
from kuttab.rules import trial_state
from kuttab.runtime import informer

logger = log.get(__name__)

HOST = "127.0.0.1"
METADATA_TOKEN = "kuttab-trial-token"  # noqa: S105  # the name of the field
Stop = Callable[[str], bool]
"""Ask for a running trial, by its uid, to be stopped early; False when it does not run here."""


RATE = 500.0
"""Reports a second that one trial may send for long."""
BURST = 2000.0
"""Reports that one trial may send at once."""


class Pace:
    """Slows a caller that reports too often: no report is refused for it, it is only answered later."""

    def __init__(self, clock: clocks.Clock) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, uid: str) -> float:
        """Seconds that the next report of a trial has to wait."""
        now = self._clock.monotonic()
        left, then = self._left.get(uid, (BURST, now))
        left = min(BURST, left + (now - then) * RATE) - 1
        self._left[uid] = left, now
        return max(0.0, -left / RATE)

    def forget(self, uid: str) -> None:
        """The trial has ended."""
        self._left.pop(uid, None)


class Door:
    """One gRPC server for all trials of this runtime."""

    def __init__(
        self,
        objects: object_port.Objects,
        observations: observation_port.Observations,
        trials: informer.Informer,
        stop: Stop,
    ) -> None:
        self._objects = objects
        self._observations = observations
        self._stop = stop
        self._secret = os.urandom(32)
        self._server: Any = None
        self._lock = asyncio.Lock()
        self._live: dict[str, dict[str, trial.Trial]] = {}
        self._pace = Pace(clocks.SystemClock())
        trials.listen(self._heard)

    async def address(self) -> str:
        """Where the door is; opens it when it is closed."""
        async with self._lock:
            if self._server is None:
                from kuttab.rpc import servers, serving

                stopping = servers.EarlyStoppingService(self._stop_trial, self._curve)
                handler, health = self.db_manager()
                server = serving.Server([handler, stopping.handler()], health=health, host=HOST)
                await server.start()
                self._server = server
        return f"{HOST}:{self._server.port}"

    def db_manager(self) -> tuple[Any, Any]:
        """The handler and the health service of the DBManager, for a server of one's own beside the door."""
        from kuttab.rpc import dbmanager

        service = dbmanager.DbManager(self._observations, self._resolve, admit=self._admit)
        return service.handler(), dbmanager.health(self._observations)

    async def environment(self, subject: trial.Trial) -> dict[str, str]:
        """The variables by which a trial's programs find the door and name themselves."""
        address = await self.address()
        return {
            keys.ENV_TRIAL_NAME: subject.name,
            keys.ENV_TRIAL_TOKEN: self.token(subject.uid),
            keys.ENV_DB_MANAGER: address,
            keys.ENV_DB_MANAGER_IP: HOST,
            keys.ENV_DB_MANAGER_PORT: address.rpartition(":")[2],
            keys.ENV_DB_MANAGER_NAMESPACE: "",
        }

    def token(self, uid: str) -> str:
        """What proves that a caller is the trial of that uid, as long as this runtime lives."""
        return hmac.digest(self._secret, uid.encode(), "sha256").hex()

    async def close(self) -> None:
        """Take no more calls. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(0.5)

    def _heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        """Keep the unfinished trials by name and uid: a report must not cost a search."""
        for obj, there in ((old, False), (new, True)):
            if isinstance(obj, trial.Trial):
                named = self._live.setdefault(obj.name, {})
                named.pop(obj.uid, None)
                if there and not trial_state.finished(obj):
                    named[obj.uid] = obj
                if not named:
                    del self._live[obj.name]
        subject = old if new is None else new
        if subject is not None and subject.uid not in self._live.get(subject.name, {}):
            self._pace.forget(subject.uid)

    async def _find(self, name: str) -> trial.Trial:
        found = list(self._live.get(name, {}).values())
        if not found:
            page = await self._objects.list(kinds.TRIAL, fields=f"metadata.name={name}")
            found = [item for item in page.items if isinstance(item, trial.Trial)]
        if not found:
            raise errors.NotFoundError(f"there is no trial {name[:80]!r}")
        if len(found) > 1:
            places = ", ".join(sorted(item.namespace for item in found))
            raise errors.BadInputError(f"trials named {name[:80]!r} are in several namespaces: {places}")
        return found[0]

    async def _resolve(self, name: str) -> observation_port.TrialKey:
        subject = await self._find(name)
        return observation_port.TrialKey(subject.uid, subject.name, subject.namespace)

    async def _admit(self, key: observation_port.TrialKey, context: Any) -> None:
        """Whether a report may be stored: not from another trial, and not after the trial's end, when its observation is written."""
        given = _token(context)
        if given is not None and not hmac.compare_digest(given, self.token(key.uid)):
            raise errors.ForbiddenError(f"the token is not that of trial {key.name!r}")
        if key.uid not in self._live.get(key.name, {}) and trial_state.finished(await self._find(key.name)):
            logger.warning("late_report", trial=key.name)
            raise errors.ForbiddenError(f"trial {key.name!r} has ended; a report that comes later is not stored")
        delay = self._pace.wait(key.uid)
        if delay:
            await asyncio.sleep(delay)

    async def _stop_trial(self, name: str, context: Any) -> None:
        """Stop the caller's own trial early."""
        subject = await self._find(name)
        given = _token(context)
        if given is None or not hmac.compare_digest(given, self.token(subject.uid)):
            raise errors.ForbiddenError(
                f"only trial {name!r} itself may ask to be stopped: send {keys.ENV_TRIAL_TOKEN} as metadata {METADATA_TOKEN}"
            )
        if not self._stop(subject.uid) and not trial_state.finished(subject):
            raise errors.UnavailableError(f"trial {name!r} does not run here")

    async def _curve(self, _: str, name: str, metric: str) -> list[observation_port.Row]:
        return await self._observations.read(await self._resolve(name), metric=metric)


def _token(context: Any) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == METADATA_TOKEN:
            return value if isinstance(value, str) else ""
    return None
