"""Assignments from algorithms in this process: the suggestion port over the synchronous engine.

A session per experiment is fed what changed since the last ask; throwing it away changes no answer. Algorithms that think long do
so in a worker thread, so that the control machine goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kuttab.api import experiment, history, meta, suggestion
from kuttab.base import errors, log
from kuttab.ports import observations as observation_port
from kuttab.ports import suggestion as port

logger = log.get(__name__)

QUICK = frozenset({"random", "grid", "sobol"})
"""Algorithms whose answer costs less than a thread's turn."""

CURVE_LIMIT = 10_000
"""Rows of a finished trial's objective that early-stopping rules look at, at most."""


Offload = Callable[..., Awaitable[Any]]


@dataclass(slots=True)
class _Entry:
    session: Any
    seen: int = -1
    curves: dict[str, Any] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class InProcess:
    """Implements ``ports.suggestion.Suggestions``."""

    def __init__(self, observations: observation_port.Observations, offload: Offload = asyncio.to_thread) -> None:
        """``offload`` runs a function elsewhere and returns its result: a worker thread, unless time is virtual."""
        self._observations = observations
        self._offload = offload
        self._entries: dict[str, _Entry] = {}

    async def validate(self, subject: experiment.Experiment) -> None:
        """See the port."""
        problems = await self._offload(problems_of, subject)
        if problems:
            raise errors.RefusedError("; ".join(str(problem) for problem in problems))

    async def suggest(self, request: port.Request) -> port.Reply:
        """See the port."""
        entry = await self._entry(request.experiment)
        async with entry.lock:
            changed = request.trials.changed_since(entry.seen) if entry.seen >= 0 else None
            records = request.trials.all() if changed is None else changed
            entry.seen = request.trials.revision
            if request.experiment.spec.algorithm is not None and _name(request.experiment) in QUICK:
                answer = _propose(entry.session, request, records, complete=changed is None)
            else:
                answer = await self._offload(_propose, entry.session, request, records, complete=changed is None)
            assignments: Sequence[suggestion.TrialAssignment] = answer.assignments
            if request.early_stopping and assignments:
                rules = await self._rules(entry, request)
                assignments = [meta.evolve(item, early_stopping_rules=rules) for item in assignments]
        return port.Reply(assignments, answer.settings, answer.exhausted, answer.wait)

    async def release(self, uid: str) -> None:
        """See the port."""
        self._entries.pop(uid, None)

    async def _entry(self, subject: experiment.Experiment) -> _Entry:
        entry = self._entries.get(subject.uid)
        if entry is None:
            entry = _Entry(await self._offload(_session, subject))
            self._entries[subject.uid] = entry
        else:
            entry.session.adopt(subject)
        return entry

    async def _rules(self, entry: _Entry, request: port.Request) -> list[suggestion.EarlyStoppingRule]:
        """The rules for new trials, from the curves of the finished ones; a curve is read once."""
        from kuttab.algorithms.stopping import rule

        subject = request.experiment
        assert subject.spec.early_stopping is not None
        objective = subject.spec.objective or experiment.ObjectiveSpec()
        judge = rule.make(subject.spec.early_stopping, objective)
        states = (history.TrialState.SUCCEEDED, history.TrialState.EARLY_STOPPED)
        finished = [record for record in request.trials.all() if record.state in states]
        for record in finished:
            if record.uid not in entry.curves:
                entry.curves[record.uid] = await self._curve(subject, record, objective.objective_metric_name)
        return judge.rules([entry.curves[record.uid] for record in finished])

    async def _curve(self, subject: experiment.Experiment, record: history.TrialRecord, metric: str) -> Any:
        from kuttab.algorithms.stopping import curves

        key = observation_port.TrialKey(record.uid, record.name, subject.namespace)
        rows = await self._observations.read(key, metric=metric, limit=CURVE_LIMIT)
        curve = curves.Curve(record.state)
        for row in rows:
            curve.add(_number(row.value))
        return curve


def problems_of(subject: experiment.Experiment) -> list[errors.Problem]:
    """What keeps an experiment's algorithm or early stopping from working, with field paths."""
    from kuttab.algorithms import engine
    from kuttab.algorithms.stopping import rule

    problems = engine.validate(subject)
    if subject.spec.early_stopping is not None:
        problems = [*problems, *rule.check(subject.spec.early_stopping, subject.spec.max_trial_count)]
    return problems


def _session(subject: experiment.Experiment) -> Any:
    from kuttab.algorithms import engine

    try:
        return engine.Session(subject)
    except errors.InvalidError as problem:
        raise errors.RefusedError(problem.message) from problem


def _propose(session: Any, request: port.Request, records: Sequence[history.TrialRecord], *, complete: bool) -> Any:
    for finding in session.update(records, complete=complete):
        logger.info("record_unusable", trial=finding.trial, outcome=finding.outcome, detail=finding.detail)
    return session.propose(request.first_slot, request.count, request.pending)


def _name(subject: experiment.Experiment) -> str:
    return subject.spec.algorithm.algorithm_name if subject.spec.algorithm is not None else ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
