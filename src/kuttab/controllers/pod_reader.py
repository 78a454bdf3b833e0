"""Reads the log of one container of one pod into the observation log, from its start to its end, whatever happens on the way.

Lives beside the passes of ``controllers.measuring``, which decides whose logs are read and when a reading counts. A log is whole
when the container has ended and the log's last line is the last line that was read.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from kuttab.api import experiment, keys, meta, trial
from kuttab.base import errors, log
from kuttab.collector import podlog, session
from kuttab.ports import observations as observation_port
from kuttab.ports import pod_logs as log_port
from kuttab.rules import earlystop

logger = log.get(__name__)

LIVE = 5.0
"""Seconds between two writes of a running trial's rows, when no early-stopping rule waits for them."""
RETRY_FIRST = 0.5
RETRY_MOST = 30.0


@dataclass(frozen=True, slots=True)
class Container:
    """One instance of a container: ``run`` counts its restarts."""

    pod: meta.Object
    name: str
    run: int
    started: bool
    ended: bool
    exit_code: int | None

    @property
    def id(self) -> str:
        """What names this instance in the observation log."""
        return f"{self.pod.uid}-{self.run}" if self.run else self.pod.uid


def container(pod: meta.Object, subject: trial.Trial) -> Container:
    """The container that measures, as the pod's status has it: the primary one, else the first."""
    names = [str(item.get("name")) for item in pod.section("spec").get("containers") or ()]
    wanted = subject.spec.primary_container_name
    name = wanted if wanted in names else (names or [""])[0]
    status = pod.section("status")
    found: meta.Json = next((item for item in status.get("containerStatuses") or () if item.get("name") == name), {})
    state, last = found.get("state") or {}, found.get("lastState") or {}
    over = state.get("terminated") or (last.get("terminated") if "waiting" in state else None)
    return Container(
        pod=pod,
        name=name,
        run=int(found.get("restartCount") or 0),
        started="running" in state or over is not None,
        ended=over is not None or status.get("phase") in ("Succeeded", "Failed"),
        exit_code=over.get("exitCode") if over else None,
    )


class PodReader:
    """One reading. ``whole`` once nothing more will come."""

    def __init__(
        self,
        logs: log_port.PodLogs,
        rows: observation_port.Observations,
        subject: trial.Trial,
        source: podlog.PodLog,
        of: Container,
    ) -> None:
        objective = subject.spec.objective or experiment.ObjectiveSpec()
        found = subject.spec.early_stopping_rules
        rules = earlystop.RuleSet(found, objective.objective_metric_name, objective.type) if found else None
        key = observation_port.TrialKey(subject.uid, subject.name, subject.namespace)
        self.container = of
        self.whole = False
        self.trouble = ""
        self.task: asyncio.Task[None] | None = None
        self._logs = logs
        self._source = source
        self._session = session.Session(rows, key, of.id, source, rules)
        self._eager = rules is not None
        self._changed = asyncio.Event()
        self._gone = False
        self._written = 0.0

    @property
    def stopped(self) -> bool:
        """Whether the early-stopping rules have been met."""
        return self._session.stopped

    @property
    def succeeded(self) -> bool:
        """Whether the container has ended well."""
        return self.container.exit_code == 0 or self.container.pod.section("status").get("phase") == "Succeeded"

    def update(self, now: Container | None) -> None:
        """The pod changed; None when it is gone."""
        if now is None:
            self._gone = True
        elif now.run == self.container.run:
            self.container = now
        else:  # another instance runs: this one is over
            self._gone = True
        self._changed.set()

    async def finish(self) -> None:
        """Store the rest with the final marker: from then on this reading is the trial's. UnavailableError: call again."""
        if self.task is not None and not self.whole:
            self.task.cancel()
        await self._session.finish(self.succeeded)

    def remarks(self) -> list[str]:
        """What people should know about the reading."""
        return self._session.remarks()

    async def run(self) -> None:
        """Read until the log is whole."""
        delay = RETRY_FIRST
        while not self.whole:
            try:
                await self._read()
                self.whole = True
            except errors.NotFoundError:
                self.whole = True  # the pod went before its log was read to the end: what came is all there is
            except Exception as problem:  # the boundary that keeps one log from stopping the others
                self.whole = self._gone
                self._complain(problem, delay)
                if not self.whole:
                    await self._wait(delay)
                    delay = min(RETRY_MOST, delay * 2)
                    self._source.again()

    async def _read(self) -> None:
        over = self._over
        await self._feed(follow=True)
        if over:
            return  # the container had ended before we began: that was all of it
        while not self._over:
            await self._wait(RETRY_MOST)
            if not self._changed.is_set():
                raise errors.UnavailableError("the log ended before its container did")
        if await self._last_line() != self._source.last_line:
            self._source.again()
            await self._feed(follow=False)

    @property
    def _over(self) -> bool:
        return self.container.ended or self._gone

    async def _feed(self, *, follow: bool) -> None:
        pod = self.container.pod
        stream = self._logs.follow_log(pod.namespace, pod.name, self.container.name, follow=follow, times=True)
        async with contextlib.aclosing(stream) as pieces:
            async for piece in pieces:
                self._source.feed(piece)
                await self._store()

    async def _store(self) -> None:
        """Store rows now and then; at once while rules wait for them, and whenever too many have gathered."""
        now = asyncio.get_running_loop().time()
        if self._eager or now - self._written > LIVE:
            self._written = now
            if await self._session.poll():
                self.on_stop()
        while self._source.backlog > podlog.BACKLOG:
            await self._session.poll()
            if self._source.backlog > podlog.BACKLOG:
                await asyncio.sleep(RETRY_FIRST)

    def on_stop(self) -> None:
        """Called when the rules are met; the owner replaces it."""

    async def _last_line(self) -> bytes:
        pod = self.container.pod
        stream = self._logs.follow_log(pod.namespace, pod.name, self.container.name, follow=False, times=True, tail=1)
        async with contextlib.aclosing(stream) as pieces:
            text = b"".join([piece async for piece in pieces])
        return text.removesuffix(b"\n")

    async def _wait(self, seconds: float) -> None:
        """Until the pod changes, or so many seconds."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # not wait_for, which may lose a cancellation on Python 3.11
                await self._changed.wait()

    def _complain(self, problem: Exception, again_in: float) -> None:
        values = {"pod": self.container.pod.name, "problem": problem, "again_in": again_in}
        if isinstance(problem, errors.KuttabError):
            logger.info("log_unreadable", **values)
            self.trouble = problem.message
        else:
            logger.exception("log_reader_crashed", **values)
            self.trouble = f"{type(problem).__name__}: {problem}"


def measures(pod: meta.Object, subject: trial.Trial) -> bool:
    """Whether a pod of a trial is one whose output counts."""
    return all(pod.metadata.label(key) == value for key, value in (subject.spec.primary_pod_labels or {}).items())


def trial_of(pod: meta.Object) -> str:
    """The name of the trial that a pod belongs to; empty when it belongs to none."""
    return pod.metadata.label(keys.LABEL_TRIAL)
