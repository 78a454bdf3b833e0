"""Events for people, written behind the controllers' backs: a lost event never fails a pass.

Equal events (same object, reason, message) are counted in one object. Normal events beyond a burst of ``BURST`` and then
``PER_SECOND`` are dropped and the drop is logged; warnings are dropped only when ``WAITING`` of them wait. Only the newest
``KEEP`` events of this process are kept, so that events never fill a store.
"""

from __future__ import annotations

import asyncio
import collections
from dataclasses import dataclass

from kuttab.api import kinds, meta
from kuttab.base import clock, errors, ids, log
from kuttab.ports import objects as port

logger = log.get(__name__)

BURST = 50
WAITING = 200
KEEP = 1000
PER_SECOND = 20.0


@dataclass(frozen=True, slots=True)
class _Note:
    about: meta.Object
    reason: str
    message: str
    warning: bool


class Recorder:
    """Implements ``ports.events.Events`` over the objects port."""

    def __init__(self, objects: port.Objects, time: clock.Clock, component: str = "kuttab") -> None:
        self._objects = objects
        self._clock = time
        self._component = component
        self._waiting: collections.deque[_Note] = collections.deque()
        self._ready = asyncio.Event()
        self._written: collections.OrderedDict[tuple[str, str], None] = collections.OrderedDict()
        self._tokens = float(BURST)
        self._refilled = time.monotonic()
        self.dropped = 0

    def record(self, about: meta.Object, reason: str, message: str, *, warning: bool = False) -> None:
        """See the port."""
        if len(self._waiting) >= WAITING or not (warning or self._take()):
            self.dropped += 1
            if self.dropped % 1000 == 1:
                logger.info("events_dropped", count=self.dropped)
            return
        self._waiting.append(_Note(about, reason, message[:1024], warning))
        self._ready.set()

    def _take(self) -> bool:
        now = self._clock.monotonic()
        self._tokens = min(float(BURST), self._tokens + (now - self._refilled) * PER_SECOND)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            await self._ready.wait()
            while self._waiting:
                note = self._waiting.popleft()
                try:
                    await self._write(note)
                except errors.KuttabError as problem:
                    logger.info("event_lost", reason=note.reason, problem=problem)
            self._ready.clear()

    async def _write(self, note: _Note) -> None:
        about, now = note.about, clock.rfc3339(self._clock.now())
        namespace = about.namespace or "default"
        name = f"{about.name[:200]}.{ids.digest_name(about.uid, note.reason, note.message, length=16)}"
        if (namespace, name) in self._written or not await self._created(note, namespace, name, now):
            await self._count(note, namespace, name, now)
        await self._trim(namespace, name)

    async def _created(self, note: _Note, namespace: str, name: str, now: str) -> bool:
        """Whether it was new: most events are, so that is tried first."""
        try:
            await self._objects.create(self._event(note, namespace, name, now))
        except errors.AlreadyExistsError:
            return False
        return True

    async def _count(self, note: _Note, namespace: str, name: str, now: str) -> None:
        try:
            old = await self._objects.get(kinds.EVENT, namespace, name)
        except errors.NotFoundError:
            await self._objects.create(self._event(note, namespace, name, now))
            return
        count = int((old.model_extra or {}).get("count") or 1) + 1
        await self._objects.update(meta.evolve(old, count=count, lastTimestamp=now))

    def _event(self, note: _Note, namespace: str, name: str, now: str) -> meta.Object:
        about = note.about
        return kinds.EVENT.load(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": {
                    "apiVersion": about.api_version,
                    "kind": about.kind,
                    "name": about.name,
                    "namespace": about.namespace,
                    "uid": about.uid,
                    "resourceVersion": about.metadata.resource_version,
                },
                "reason": note.reason,
                "message": note.message,
                "type": "Warning" if note.warning else "Normal",
                "source": {"component": self._component},
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            }
        )

    async def _trim(self, namespace: str, name: str) -> None:
        self._written[(namespace, name)] = None
        self._written.move_to_end((namespace, name))
        if len(self._written) > KEEP:
            oldest = next(iter(self._written))
            del self._written[oldest]
            try:
                await self._objects.delete(kinds.EVENT, *oldest)
            except errors.NotFoundError:
                logger.debug("event_gone", name=oldest[1])
