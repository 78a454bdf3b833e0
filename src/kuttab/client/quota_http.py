"""A quota service outside, asked over HTTP before each trial's workload: admit, wait or reject.

What the service cannot say properly (an error, silence, a redirect, nonsense) means wait: it never fails a trial. No question blocks
the caller for long: an answer that takes its time is collected at the next check. Releases are told until the service has heard them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kuttab.api import keys, meta, trial
from kuttab.base import clock as clocks
from kuttab.base import errors, log
from kuttab.client import quota_journal, quota_wire
from kuttab.ports import quota as port
from kuttab.rules import resources

_log = log.get(__name__)

TIMEOUT: Final = 5.0
"""Seconds for one question, from connecting to the last byte of the answer."""
PATIENCE: Final = 0.2
"""Seconds that a check waits for an answer before it says wait."""
FIRST, MOST = 0.5, 30.0
"""Seconds until a service that failed is asked again for the same trial; doubled each time."""
RETRY: Final = 5.0
"""Seconds until a waiting trial is asked for again, when the service does not say."""
SHORTEST, LONGEST = 0.1, 300.0
AT_ONCE: Final = 8
"""Questions on their way at a time."""
REASON: Final = 300  # characters kept
_FOREVER: Final = 1e9

Post = Callable[[quota_wire.Endpoint, Mapping[str, Any], float], Awaitable[quota_wire.Answer]]


@dataclass(slots=True)
class _Asking:
    """What is known about a trial that has not been admitted."""

    key: tuple[str, str]
    task: asyncio.Task[port.Decision] | None = None
    failures: int = 0
    not_before: float = 0.0
    last: port.Decision | None = None
    deadline: float | None = None
    """Monotonic time after which the service will not admit it any more."""


@dataclass(slots=True)
class _State:
    asking: dict[str, _Asking] = field(default_factory=dict)
    admitted: set[str] = field(default_factory=set)


class HttpQuota:
    """Implements the quota port. Use it from one event loop, between :meth:`open` and :meth:`close`."""

    def __init__(
        self, where: quota_wire.Endpoint, journal: Path, clock: clocks.Clock, post: Post = quota_wire.post
    ) -> None:
        self._where = where
        self._journal = quota_journal.Journal(journal)
        self._clock = clock
        self._post = post
        self._state = _State()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._leaving: dict[str, None] = {}
        self._left = asyncio.Event()
        self.on_answer: Callable[[str, str], None] | None = None
        """Called with a trial's namespace and name when a slow answer has come."""

    def open(self, living: Collection[str]) -> None:
        """Read the journal; whatever it holds beyond the unfinished trials is released."""
        self._journal.open()
        for uid in self._journal.uids:
            if uid not in living:
                self._leave(uid)

    async def close(self) -> None:
        """Tell what is left to tell, as far as the service listens; the journal keeps the rest for the next start."""
        tasks = [asking.task for asking in self._state.asking.values() if asking.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for uid in list(self._leaving):
            if not await self._tell(uid, 1.0):
                break
        self._journal.close()

    async def check(self, subject: trial.Trial, workload: meta.Resource) -> port.Decision:
        """See the port; WAIT for whatever goes wrong."""
        uid = subject.uid
        if uid in self._state.admitted:
            return port.Decision(port.Verdict.ADMIT)
        asking = self._state.asking.setdefault(uid, _Asking((subject.namespace, subject.name)))
        if asking.task is None:
            left = asking.not_before - self._clock.monotonic()
            if left > 0 and asking.last is not None:
                return port.Decision(port.Verdict.WAIT, asking.last.reason, left)
            self._leaving.pop(uid, None)
            try:
                await asyncio.to_thread(self._journal.asked, uid)
            except errors.UnavailableError as problem:
                return port.Decision(port.Verdict.WAIT, problem.message, RETRY)
            document = question(subject, workload)
            asking.task = asyncio.create_task(self._ask(asking, document), name=f"quota {subject.name}")
        await asyncio.wait({asking.task}, timeout=PATIENCE)
        if not asking.task.done():
            asking.task.add_done_callback(lambda _: self._answered(asking))
            return port.Decision(port.Verdict.WAIT, "the quota service has not answered yet", TIMEOUT)
        decision = asking.last = asking.task.result()
        asking.task = None
        if decision.verdict is port.Verdict.ADMIT:
            self._state.admitted.add(uid)
        if decision.verdict is not port.Verdict.WAIT:
            self._state.asking.pop(uid, None)
        return decision

    async def release(self, uid: str) -> None:
        """See the port: noted at once, told in the background until it was heard."""
        asking = self._state.asking.pop(uid, None)
        self._state.admitted.discard(uid)
        if uid not in self._journal:
            return
        if asking is not None and asking.task is not None and not asking.task.done():
            # Released before its question was heard, it would be held for ever.
            asking.task.add_done_callback(lambda _: self._leave(uid))
        else:
            self._leave(uid)

    async def run(self) -> None:
        """Tell the service what was released, until cancelled; sleeps while there is nothing to tell."""
        failures = 0
        while True:
            await self._left.wait()
            uid = next(iter(self._leaving), None)
            if uid is None:
                self._left.clear()
            elif await self._tell(uid, TIMEOUT):
                failures = 0
            else:
                failures += 1
                await asyncio.sleep(min(FIRST * 2 ** (failures - 1), MOST))

    def _answered(self, asking: _Asking) -> None:
        if self.on_answer is not None:
            self.on_answer(*asking.key)

    def _leave(self, uid: str) -> None:
        self._leaving[uid] = None
        self._left.set()

    async def _tell(self, uid: str, seconds: float) -> bool:
        """Release one trial; True when the service has taken note (or does not know it)."""
        try:
            answer = await self._post(self._where, {"verb": "release", "trial": {"uid": uid}}, seconds)
            if answer.status >= 400 and answer.status not in (404, 410):
                raise errors.UnavailableError(f"answers {answer.status}")
            self._journal.released(uid)
        except errors.UnavailableError as problem:
            _log.warning("quota_release_failed", trial=uid, problem=problem.message)
            return False
        self._leaving.pop(uid, None)
        return True

    async def _ask(self, asking: _Asking, document: Mapping[str, Any]) -> port.Decision:
        try:
            async with self._gate:
                decision, limit = read(await self._post(self._where, document, TIMEOUT))
        except errors.UnavailableError as problem:
            delay = min(FIRST * 2.0 ** min(asking.failures, 20), MOST)
            asking.failures += 1
            asking.not_before = self._clock.monotonic() + delay
            return port.Decision(port.Verdict.WAIT, f"the quota service {problem.message}", delay)
        asking.failures, asking.not_before = 0, 0.0
        return self._in_time(asking, decision, limit)

    def _in_time(self, asking: _Asking, decision: port.Decision, limit: float | None) -> port.Decision:
        """A wait that its service has limited is asked for again at the limit, and rejected when it is told to wait beyond it."""
        now = self._clock.monotonic()
        if limit is not None:
            asking.deadline = now + limit if asking.deadline is None else min(asking.deadline, now + limit)
        if decision.verdict is not port.Verdict.WAIT or asking.deadline is None:
            return decision
        left = asking.deadline - now
        if left <= 0:
            reason = f"it was not admitted before the quota service's deadline: {decision.reason}"
            return port.Decision(port.Verdict.REJECT, reason)
        return port.Decision(port.Verdict.WAIT, decision.reason, min(decision.retry_after, max(left, SHORTEST)))


def question(subject: trial.Trial, workload: meta.Resource) -> meta.Json:
    """What the service is asked."""
    document = meta.dump(workload)
    need = resources.of(document)
    counts = [count for count, _ in resources.replicas(document)]
    return {
        "verb": "check",
        "trial": {
            "uid": subject.uid, "namespace": subject.namespace, "name": subject.name,
            "experiment": subject.metadata.label(keys.LABEL_EXPERIMENT),
        },
        "workload": {"apiVersion": workload.api_version, "kind": workload.kind, "replicas": sum(counts)},
        "resources": {"cpus": need.cpus, "memory": int(need.memory), "gpus": need.gpus},
    }  # fmt: skip


def read(answer: quota_wire.Answer) -> tuple[port.Decision, float | None]:
    """Decision of an answer, and for how many seconds a wait may last; UnavailableError for what is none."""
    body = answer.body
    if answer.status >= 400:
        said = f": {_text(body.get('reason', ''))}" if isinstance(body, dict) and body.get("reason") else ""
        raise errors.UnavailableError(f"answers {answer.status}{said}")
    verdict = body.get("verdict") if isinstance(body, dict) else None
    if not isinstance(verdict, str) or verdict not in set(port.Verdict):
        raise errors.UnavailableError("gives no verdict: admit, wait or reject")
    assert isinstance(body, dict)
    retry, limit = _seconds(body, "retryAfterSeconds"), _seconds(body, "deadlineSeconds")
    retry = RETRY if retry is None else min(max(retry, SHORTEST), LONGEST)
    return port.Decision(port.Verdict(verdict), _text(body.get("reason", "")), retry), limit


def _seconds(body: Mapping[str, Any], key: str) -> float | None:
    value = body.get(key)
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _FOREVER
    ):
        raise errors.UnavailableError(f"gives a {key} that is no number of seconds")
    return None if value is None else float(value)


def _text(value: Any) -> str:
    """A reason fit to be shown: one line, printable, not long."""
    text = value if isinstance(value, str) else ""
    return "".join(sign if sign.isprintable() else " " for sign in text[:REASON]).strip()
