"""FunctionJobs: a Trial's Python function, called in a warm worker process of this machine.

A pass starts what has not been started, stores what was reported, and writes the end once, in one status. A job has one attempt at a time;
each has a source id of its own in the observation log, so rows of a lost attempt never count. Which functions there are it does not
know: a function is a file in the data folder, or a runner that this process has registered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kuttab.api import experiment, keys, kinds, meta, trial
from kuttab.base import clock as clocks
from kuttab.base import errors, ids
from kuttab.collector import session
from kuttab.node import function_pool, job_rules, meters, owners
from kuttab.ports import events as event_port
from kuttab.ports import objects as port
from kuttab.ports import observations as observation_port
from kuttab.rules import metric_values, trial_state

_BATCH: Final = 5000
_TRIAL_POLL: Final = 1.0
_RETRY_SECONDS: Final = 0.05
_MESSAGE: Final = 4000


@dataclass(frozen=True, slots=True)
class Source:
    """Where a function is: what runs it, and the file that a worker loads it from (or any name, for other runners)."""

    runner: function_pool.Runner
    target: str


@dataclass(slots=True, eq=False)
class Attempt:
    """One run of a job's function."""

    uid: str
    key: observation_port.TrialKey
    number: int
    source: str
    function: str = ""
    handle: function_pool.Handle | None = None
    readings: list[Any] = field(default_factory=list)
    stored: int = 0
    fenced: bool = False
    end: dict[str, Any] | None = None
    timer: asyncio.TimerHandle | None = None
    start_time: str = ""
    judge: session.Rules | None = None


class Functions:
    """Passes over FunctionJobs. ``enqueue(namespace, name)`` asks for one."""

    kind = kinds.FUNCTION_JOB

    def __init__(
        self,
        objects: port.Objects,
        observations: observation_port.Observations,
        events: event_port.Events,
        clock: clocks.Clock,
        data: Path,
        pool: function_pool.Pool,
        enqueue: Callable[[str, str], None],
        live: meters.RulesOf | None = None,
    ) -> None:
        """``live`` gives what stops a trial beyond the rules it was created with, which its worker applies by itself."""
        self._live = live
        self._objects = objects
        self._observations = observations
        self._events = events
        self._clock = clock
        self._data = data
        self._pool = pool
        self._enqueue = enqueue
        self._attempts: dict[tuple[str, str], Attempt] = {}
        self._sources: dict[str, Source] = {}
        self._waiting: dict[str, set[tuple[str, str]]] = {}

    @property
    def pool(self) -> function_pool.Pool:
        """Worker processes."""
        return self._pool

    def register(self, function: str, source: Source) -> None:
        """From now on jobs of this function can run. Without, they wait: only whoever has the function may call it."""
        self._sources[function] = source
        for place in self._waiting.pop(function, ()):
            self._enqueue(*place)

    def forget(self, function: str) -> None:
        """Undo :meth:`register`: what runs of it is ended and waits."""
        self._sources.pop(function, None)
        for place, attempt in list(self._attempts.items()):
            if attempt.function == function and attempt.end is None:
                _stop(attempt)
                del self._attempts[place]
                self._waiting.setdefault(function, set()).add(place)

    async def close(self) -> None:
        """End everything that runs, without writing a status: it is run again at the next start."""
        for attempt in self._attempts.values():
            _stop(attempt)
        self._attempts.clear()
        await self._pool.close()

    def concerned(self, job: meta.Object, *, gone: bool) -> bool:
        """Whether a change of a job asks for a pass: not our own doings."""
        running = (job.namespace, job.name) in self._attempts
        if gone or job.deleting:
            return running
        return not running and not job_rules.finished(job)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One pass over a job: None when done, seconds until the next look, or an error to be retried."""
        place = (namespace, name)
        job = await self._read(namespace, name)
        attempt = self._attempts.get(place)
        if attempt is not None and (job is None or job.uid != attempt.uid or job.deleting):
            _stop(attempt)
            del self._attempts[place]
            attempt = None
        if job is None or job.deleting or job_rules.finished(job):
            return None
        if attempt is None:
            return await self._start(job, place, 0)
        if attempt.end is None:
            await self._store(attempt)
            return None
        return await self._finish(job, place, attempt)

    async def _read(self, namespace: str, name: str) -> meta.Resource | None:
        try:
            found = await self._objects.get(self.kind, namespace, name)
        except errors.NotFoundError:
            return None
        assert isinstance(found, meta.Resource)
        return found

    async def _start(self, job: meta.Resource, place: tuple[str, str], number: int) -> float | None:
        try:
            subject = await owners.trial_of(self._objects, job)
        except owners.TrialGoneError:
            return _TRIAL_POLL
        if subject is None:
            await self._write(job, Attempt(job.uid, observation_port.TrialKey("", ""), 0, ""), _no_trial())
            return None
        spec = job.section("spec")
        function = spec.get("function", "")
        source = self._sources.get(function)
        if source is None:
            self._waiting.setdefault(function, set()).add(place)
            why = "its function is not in this process; kuttab.tune(..., resume=True) goes on with it"
            self._events.record(job, "FunctionAway", why)
            return None
        attempt = Attempt(
            job.uid, owners.trial_key(subject), number, ids.random_uid(), function, start_time=self._now()
        )
        attempt.judge = self._live(subject) if self._live is not None else None
        self._attempts[place] = attempt
        try:
            task = self._task(job, subject, source.target, number)
            attempt.handle = source.runner.start(task, lambda message: self._heard(place, attempt, message))
        except errors.UnavailableError:
            del self._attempts[place]
            raise
        seconds = spec.get("timeoutSeconds")
        if seconds is not None and attempt.end is None:
            attempt.timer = asyncio.get_running_loop().call_later(seconds, self._expire, place, attempt, seconds)
        return None

    def _task(self, job: meta.Resource, subject: trial.Trial, target: str, number: int) -> dict[str, Any]:
        objective = subject.spec.objective or experiment.ObjectiveSpec()
        folder = self._data / "trials" / job.namespace / job.name / f"{number:03d}-function"
        task = {
            "function": target,
            "trial": subject.name,
            "values": {item.name: item.value for item in subject.spec.parameter_assignments or ()},
            "objective": objective.objective_metric_name,
            "log": str(folder / "main.log"),
        }
        if subject.spec.early_stopping_rules:
            rules = [[r.name, r.value, r.comparison, r.start_step] for r in subject.spec.early_stopping_rules]
            task["rules"] = {"rules": rules, "objective": objective.objective_metric_name, "direction": objective.type}
        return task

    def _heard(self, place: tuple[str, str], attempt: Attempt, message: Mapping[str, Any]) -> None:
        if attempt.end is not None:
            return
        fresh = message.get("readings") or ()
        attempt.readings += fresh
        if "outcome" in message:
            attempt.end = dict(message)
            if attempt.timer is not None:
                attempt.timer.cancel()
        elif attempt.judge is not None and any(attempt.judge.observe(metric, text) for metric, text, _ in fresh):
            _stop(attempt)
            attempt.end = {"outcome": "early"}
        self._enqueue(*place)

    def _expire(self, place: tuple[str, str], attempt: Attempt, seconds: float) -> None:
        if attempt.end is None:
            _stop(attempt)
            message = f"the trial ran longer than {seconds:g} s and was killed"
            attempt.end = {"outcome": "failed", "reason": "DeadlineExceeded", "message": message}
            self._enqueue(*place)

    async def _store(self, attempt: Attempt, keep: int = 0) -> None:
        """Report readings until at most ``keep`` are left."""
        while attempt.readings and len(attempt.readings) > keep:
            if not attempt.fenced:
                await self._observations.fence(attempt.key, attempt.source)
                attempt.fenced = True
            rows = _rows(attempt.readings[:_BATCH])
            await self._observations.report(attempt.key, attempt.source, attempt.stored, rows)
            attempt.stored += len(rows)
            del attempt.readings[: len(rows)]

    async def _finish(self, job: meta.Resource, place: tuple[str, str], attempt: Attempt) -> float | None:
        """Store what is left; then the job's end, or another attempt."""
        end = attempt.end
        assert end is not None
        await self._store(attempt, keep=_BATCH)
        await self._observations.complete(attempt.key, attempt.source, attempt.stored, _rows(attempt.readings))
        if end["outcome"] == "failed" and self._again(job, attempt, end):
            self._events.record(job, end["reason"], f"{end['message']}; trying again", warning=True)
            del self._attempts[place]
            return await self._start(job, place, attempt.number + 1)
        if end["outcome"] == "early":
            job = await self._announce(job)
        await self._write(job, attempt, end)
        self._attempts.pop(place, None)
        return None

    def _again(self, job: meta.Resource, attempt: Attempt, end: Mapping[str, Any]) -> bool:
        retries: Mapping[str, int] = job.section("spec").get("retries") or {}
        return attempt.number < retries.get(trial_state.class_of(end["reason"]), 0)

    async def _announce(self, job: meta.Resource) -> meta.Resource:
        if job.metadata.annotation(keys.ANNOTATION_EARLY_STOPPED):
            return job
        annotations = {**(job.metadata.annotations or {}), keys.ANNOTATION_EARLY_STOPPED: "report"}
        written = await self._objects.update(
            meta.evolve(job, metadata=meta.evolve(job.metadata, annotations=annotations))
        )
        assert isinstance(written, meta.Resource)
        return written

    async def _write(self, job: meta.Resource, attempt: Attempt, end: Mapping[str, Any]) -> None:
        now = self._now()
        failed = end["outcome"] == "failed"
        condition = {
            "type": job_rules.FAILED if failed else job_rules.COMPLETE, "status": "True",
            "reason": end["reason"] if failed else "FunctionReturned",
            "message": _message(end) if failed else "", "lastTransitionTime": now,
        }  # fmt: skip
        status = {
            "startTime": attempt.start_time or now, "completionTime": now, "attempts": attempt.number + 1, "conditions": [condition],
        }  # fmt: skip
        await self._objects.update_status(meta.evolve(job, status=status))

    def _now(self) -> str:
        return clocks.rfc3339(self._clock.now())


def _stop(attempt: Attempt) -> None:
    if attempt.timer is not None:
        attempt.timer.cancel()
    if attempt.handle is not None and attempt.end is None:
        attempt.handle.kill()


def _rows(readings: list[Any]) -> list[observation_port.Row]:
    return [
        observation_port.Row(metric, value, metric_values.from_nanoseconds(moment) if moment else "")
        for metric, value, moment in readings
    ]


def _message(end: Mapping[str, Any]) -> str:
    """One line, and the traceback below it."""
    text = str(end.get("message", ""))
    return f"{text}\n{end['traceback']}"[:_MESSAGE] if end.get("traceback") else text


def _no_trial() -> dict[str, Any]:
    return {
        "outcome": "failed",
        "reason": "NoTrial",
        "message": "a FunctionJob runs for a Trial only; make an Experiment of it",
    }
