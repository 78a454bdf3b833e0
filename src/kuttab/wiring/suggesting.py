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
from kuttab.wiring import stopping, warming

logger = log.get(__name__)

QUICK = frozenset({"random", "grid", "sobol"})
"""Algorithms whose answer costs less than a thread's turn."""

Offload = Callable[..., Awaitable[Any]]
Rules = Callable[[port.Request], Awaitable[Sequence[suggestion.EarlyStoppingRule]]]


@dataclass(slots=True)
class _Entry:
    session: Any
    seen: int = -1
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class InProcess:
    """Implements ``ports.suggestion.Suggestions``."""

    def __init__(
        self,
        observations: observation_port.Observations,
        offload: Offload = asyncio.to_thread,
        rules: Rules | None = None,
        priors: warming.Priors = warming.none,
    ) -> None:
        """``offload`` runs a function elsewhere and returns its result: a worker thread, unless time is virtual.

        ``rules`` gives early-stopping rules in place of our own; ``priors`` the results that an experiment starts from.
        """
        self._priors = priors
        self._own = stopping.InProcessRules(observations)
        self._rules = rules or self._own.rules
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
                rules = list(await self._rules(request))
                assignments = [meta.evolve(item, early_stopping_rules=rules) for item in assignments]
        return port.Reply(assignments, answer.settings, answer.exhausted, answer.wait)

    async def release(self, uid: str) -> None:
        """See the port."""
        self._entries.pop(uid, None)
        self._own.forget(uid)

    async def _entry(self, subject: experiment.Experiment) -> _Entry:
        entry = self._entries.get(subject.uid)
        if entry is None:
            entry = _Entry(await self._offload(_session, subject, await self._priors(subject)))
            self._entries[subject.uid] = entry
        else:
            entry.session.adopt(subject)
        return entry


def problems_of(subject: experiment.Experiment) -> list[errors.Problem]:
    """What keeps an experiment's algorithm or early stopping from working, with field paths."""
    return [*algorithm_problems(subject), *stopping_problems(subject)]


def algorithm_problems(subject: experiment.Experiment) -> list[errors.Problem]:
    """What keeps an experiment's algorithm, one of this process, from working."""
    from kuttab.algorithms import engine

    return engine.validate(subject)


def stopping_problems(subject: experiment.Experiment) -> list[errors.Problem]:
    """What keeps an experiment's early stopping, one of this process, from working."""
    from kuttab.algorithms.stopping import rule

    if subject.spec.early_stopping is None:
        return []
    return rule.check(subject.spec.early_stopping, subject.spec.max_trial_count)


def _session(subject: experiment.Experiment, priors: Sequence[history.TrialRecord]) -> Any:
    from kuttab.algorithms import engine

    try:
        session = engine.Session(subject)
    except errors.InvalidError as problem:
        raise errors.RefusedError(problem.message) from problem
    for finding in session.remember(priors):
        logger.info("prior_unusable", trial=finding.trial, outcome=finding.outcome, detail=finding.detail)
    return session


def _propose(session: Any, request: port.Request, records: Sequence[history.TrialRecord], *, complete: bool) -> Any:
    for finding in session.update(records, complete=complete):
        logger.info("record_unusable", trial=finding.trial, outcome=finding.outcome, detail=finding.detail)
    return session.propose(request.first_slot, request.count, request.pending)


def _name(subject: experiment.Experiment) -> str:
    return subject.spec.algorithm.algorithm_name if subject.spec.algorithm is not None else ""
