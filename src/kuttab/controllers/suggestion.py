"""The suggestion controller: asks an algorithm for assignments and journals its answers.

Observes: Suggestions, their Experiments and Trials. Sets: Suggestion.status. An answer is written before anything is made of it,
slot by slot, so that a crash neither loses nor repeats one.
"""

from __future__ import annotations

from dataclasses import dataclass

from kuttab.api import conditions, experiment, keys, meta, suggestion
from kuttab.api.conditions import TRUE
from kuttab.base import clock, errors
from kuttab.controllers import ledgers
from kuttab.ports import events as event_port
from kuttab.ports import objects as port
from kuttab.ports import suggestion as suggestion_port
from kuttab.rules import budget, completion, lag, naming, suggestion_state
from kuttab.runtime import informer

BROKEN_ANSWERS = 10
"""Consecutive answers against the contract after which the service, not the network, is at fault."""

WAIT = 30.0
"""Seconds after which a waiting algorithm is asked again even if no trial has changed."""


@dataclass(frozen=True, slots=True)
class World:
    """What the controller reads and acts through."""

    objects: port.Objects
    suggestions: informer.Informer
    experiments: informer.Informer
    ledgers: ledgers.Ledgers
    service: suggestion_port.Suggestions
    events: event_port.Events
    clock: clock.Clock


class SuggestionController:
    """Passes over suggestions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._broken: dict[str, int] = {}

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One pass; see :mod:`kuttab.runtime.controller` for its outcomes."""
        world = self._world
        current = world.suggestions.get(namespace, name)
        if current is None or current.deleting:
            return None
        subject = world.experiments.get(namespace, name)
        assert isinstance(current, suggestion.Suggestion)
        if subject is None or subject.deleting or not naming.owned_by(current, subject):
            return None
        assert isinstance(subject, experiment.Experiment)
        status = suggestion_state.created(current.status, self._now())
        if completion.completed(subject):
            status = suggestion_state.ended(status, subject.spec.resume_policy, self._now())
            await world.service.release(subject.uid)
            await self._write(current, status)
            return None
        if conditions.is_true(status.conditions, keys.FAILED):
            return None
        return await self._serve(current, subject, status)

    async def _serve(
        self, current: suggestion.Suggestion, subject: experiment.Experiment, status: suggestion.SuggestionStatus
    ) -> float | None:
        """Validate once, then answer what was asked for."""
        try:
            if not conditions.is_true(status.conditions, keys.RUNNING):
                await self._world.service.validate(self._with_settings(subject, status))
                status = suggestion_state.running(status, self._now())
            again = None
            if current.spec.requests > status.suggestion_count and not status.exhausted:
                status, again = await self._ask(current, subject, status)
                if not conditions.is_true(status.conditions, keys.DEPLOYMENT_READY):
                    status = suggestion_state.running(status, self._now())
        except errors.RefusedError as problem:
            await self._write(current, suggestion_state.failed(status, problem.message, self._now()))
            return None
        except errors.BrokenAnswerError as problem:
            await self._complain(current, status, problem)
            return None
        except errors.UnavailableError as problem:
            # The service is away: say so, keep what was learned, try again with backoff.
            await self._write(current, suggestion_state.away(status, problem.message, self._now()))
            raise
        self._broken.pop(current.uid, None)
        await self._write(current, status)
        return again

    async def _ask(
        self, current: suggestion.Suggestion, subject: experiment.Experiment, status: suggestion.SuggestionStatus
    ) -> tuple[suggestion.SuggestionStatus, float | None]:
        if subject.spec.reproducible:
            return await self._ask_in_turn(current, subject, status)
        account = self._world.ledgers.of(subject)
        done = budget.consumed(subject, account)
        request = suggestion_port.Request(
            experiment=self._with_settings(subject, status),
            trials=account,
            first_slot=status.suggestion_count,
            count=current.spec.requests - status.suggestion_count,
            pending=[
                item for item in status.suggestions or () if item.slot >= done or account.at_slot(item.slot) is None
            ],
            early_stopping=current.spec.early_stopping is not None,
        )
        status, exhausted = await self._take(subject, status, request)
        if exhausted or status.suggestion_count >= current.spec.requests:
            return status, None
        return status, 0.0 if status.suggestion_count > request.first_slot else WAIT

    async def _ask_in_turn(
        self, current: suggestion.Suggestion, subject: experiment.Experiment, status: suggestion.SuggestionStatus
    ) -> tuple[suggestion.SuggestionStatus, float | None]:
        """One assignment after the other, each from exactly the results that its number may see; the next trial's end goes on."""
        account = self._world.ledgers.of(subject)
        while status.suggestion_count < current.spec.requests:
            slot = status.suggestion_count
            if not lag.ready(account, slot, budget.parallel(subject)):
                return status, None
            seen = lag.Lagged(account, slot, budget.parallel(subject))
            request = suggestion_port.Request(
                experiment=self._with_settings(subject, status),
                trials=seen,
                first_slot=slot,
                count=1,
                pending=[item for item in status.suggestions or () if item.slot >= seen.revision],
                early_stopping=current.spec.early_stopping is not None,
            )
            status, exhausted = await self._take(subject, status, request)
            if exhausted:
                return status, None
            if status.suggestion_count == slot:
                return status, WAIT
        return status, None

    async def _take(
        self, subject: experiment.Experiment, status: suggestion.SuggestionStatus, request: suggestion_port.Request
    ) -> tuple[suggestion.SuggestionStatus, bool]:
        """Ask, and enter the answer into the journal; also whether it said that nothing is left."""
        reply = await self._world.service.suggest(request)
        answers = suggestion_state.named(subject, reply.assignments, status.suggestion_count)
        # A trial that the caches show is in the store before this write, and stays there if this write does.
        slots = budget.consumed(subject, self._world.ledgers.of(subject))
        status = suggestion_state.answered(status, answers, dict(reply.settings), reply.exhausted, keep_from=slots)
        return status, reply.exhausted

    async def _complain(
        self, current: suggestion.Suggestion, status: suggestion.SuggestionStatus, problem: errors.BrokenAnswerError
    ) -> None:
        """An answer against the contract: nothing of it is used; a service that keeps erring ends the search."""
        count = self._broken[current.uid] = self._broken.get(current.uid, 0) + 1
        self._world.events.record(current, "SuggestionInvalid", problem.message, warning=True)
        if count >= BROKEN_ANSWERS:
            text = f"the service answered against its contract {count} times: {problem.message}"
            await self._write(current, suggestion_state.failed(status, text, self._now()))
            return
        raise problem

    def _with_settings(
        self, subject: experiment.Experiment, status: suggestion.SuggestionStatus
    ) -> experiment.Experiment:
        """The experiment with the settings that the service wanted kept: those win."""
        kept, spec = status.algorithm_settings, subject.spec.algorithm
        if not kept or spec is None:
            return subject
        merged = {item.name: item for item in (*(spec.algorithm_settings or ()), *kept)}
        algorithm = meta.evolve(spec, algorithm_settings=list(merged.values()))
        return meta.evolve(subject, spec=meta.evolve(subject.spec, algorithm=algorithm))

    async def _write(self, current: suggestion.Suggestion, status: suggestion.SuggestionStatus) -> None:
        if status == current.status:
            return
        stored = await self._world.objects.update_status(meta.evolve(current, status=status))
        problem = conditions.find(status.conditions, keys.FAILED)
        if (
            problem is not None
            and problem.status == TRUE
            and not conditions.is_true(current.status.conditions, keys.FAILED)
        ):
            self._world.events.record(stored, problem.reason, problem.message, warning=True)

    def _now(self) -> str:
        return clock.rfc3339(self._world.clock.now())
