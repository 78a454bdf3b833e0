"""Our algorithms and early-stopping rules as services of the contract, for any Katib to use.

State is a cache: a restarted service answers from the history that each request brings. Thinking is done in worker threads, one at
a time per experiment, so that health checks and other experiments go on.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib import parse

from kuttab.algorithms import engine
from kuttab.algorithms.stopping import curves, rule
from kuttab.api import experiment, history
from kuttab.base import errors
from kuttab.ports import observations as port
from kuttab.rpc import channels, convert, dbmanager, encoded, messages, searches
from kuttab.rpc.messages import Message
from kuttab.rpc.serving import PROBE_NAME, Health, handler
from kuttab.rpc.suggestions import EXHAUSTED, WAIT

MAX_EXPERIMENTS: Final = 256
"""Searches kept at the same time; the one unused for longest is forgotten first."""
SUGGESTION_NAMES: Final = ("", PROBE_NAME, messages.SUGGESTION, "grpc.health.v1.Health")

Curves = Callable[[str, str, str], Awaitable[Sequence[port.Row]]]
"""Rows of (db-manager address, trial name, metric), oldest first."""
Stop = Callable[[str, Any], Awaitable[None]]
"""Stops the trial of that name for the caller of a gRPC context; NotFoundError or ForbiddenError when it is none of the caller's."""


@dataclass(slots=True)
class _Slot:
    search: searches.Search | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class SuggestionService:
    """Serves every algorithm of the registry, or only the one named."""

    def __init__(self, only: str = "") -> None:
        self._only = only
        self._slots: collections.OrderedDict[str, _Slot] = collections.OrderedDict()

    def handler(self) -> Any:
        """The service, for :class:`kuttab.rpc.serving.Server`."""
        methods = {"GetSuggestions": self.suggest, "ValidateAlgorithmSettings": self.validate}
        return handler(messages.SUGGESTION, methods, raw=("GetSuggestions",))

    def health(self) -> Health:
        """The health service that Katib's probes ask."""
        return Health(SUGGESTION_NAMES)

    async def validate(self, request: Message, _: Any) -> Message:
        """INVALID_ARGUMENT with every problem of the settings."""
        subject = self._subject(request)
        problems = await asyncio.to_thread(engine.validate, subject)
        if problems:
            raise errors.InvalidError(problems)
        return messages.ValidateAlgorithmSettingsReply()

    async def suggest(self, raw: bytes, context: Any) -> Message:
        """As many assignments as asked for; fewer with the reason in the trailing metadata."""
        head, trials = encoded.split(raw)
        request = channels.parse(messages.GetSuggestionsRequest, head)
        subject = self._subject(request)
        wanted = searches.asked(request, len(trials))
        slot = self._slots.setdefault(subject.name, _Slot())
        self._slots.move_to_end(subject.name)
        if len(self._slots) > MAX_EXPERIMENTS:
            self._slots.popitem(last=False)
        async with slot.lock:
            if slot.search is not None and slot.search.is_quick(len(trials), wanted):
                answer = _answer(slot, subject, trials, wanted)
            else:
                answer = await asyncio.to_thread(_answer, slot, subject, trials, wanted)
        if answer.exhausted:
            context.set_trailing_metadata(((EXHAUSTED, "true"),))
        elif answer.wait:
            context.set_trailing_metadata(((WAIT, parse.quote(answer.wait)),))
        return convert.reply_message(answer.assignments, answer.settings)

    def _subject(self, request: Message) -> experiment.Experiment:
        subject = convert.experiment_of(request.experiment)
        name = subject.spec.algorithm.algorithm_name if subject.spec.algorithm is not None else ""
        if not subject.name:
            raise errors.BadInputError("experiment.name must be given")
        if self._only and name != self._only:
            raise errors.BadInputError(f"unknown algorithm name {name[:80]!r}; this service has {self._only}")
        return subject


def _answer(slot: _Slot, subject: experiment.Experiment, trials: list[bytes], wanted: searches.Asked) -> engine.Answer:
    if slot.search is None:
        slot.search = searches.Search.start(subject)
    else:
        slot.search = slot.search.adopt(subject)
    try:
        return slot.search.answer(trials, wanted)
    except Exception:
        slot.search = None  # it may have taken in half of the history; the next request brings all of it again
        raise


class EarlyStoppingService:
    """Serves the early-stopping rules. ``read`` gives a trial's rows; by default they come from the address in the request."""

    def __init__(self, stop: Stop, read: Curves | None = None) -> None:
        self._stop = stop
        self._read = read or self._ask
        self._clients: dict[str, dbmanager.DbManagerClient] = {}
        self._curves: dict[tuple[str, str], curves.Curve] = {}

    def handler(self) -> Any:
        """The service, for :class:`kuttab.rpc.serving.Server`."""
        methods = {
            "GetEarlyStoppingRules": self.rules,
            "SetTrialStatus": self.stop,
            "ValidateEarlyStoppingSettings": self.validate,
        }
        return handler(messages.EARLY_STOPPING, methods)

    def health(self) -> Health:
        """A health service; Katib's own early-stopping service has none, so any name will do."""
        return Health((*SUGGESTION_NAMES, messages.EARLY_STOPPING))

    async def validate(self, request: Message, _: Any) -> Message:
        """INVALID_ARGUMENT with every problem of the settings."""
        problems = rule.check(convert.stopping_of(request.early_stopping))
        if problems:
            raise errors.InvalidError(problems)
        return messages.ValidateEarlyStoppingSettingsReply()

    async def rules(self, request: Message, _: Any) -> Message:
        """The rules for new trials, from the curves of those that have ended."""
        subject = convert.experiment_of(request.experiment)
        if subject.spec.early_stopping is None:
            raise errors.BadInputError("experiment.spec.early_stopping must be given")
        objective = subject.spec.objective or experiment.ObjectiveSpec()
        judge = rule.make(subject.spec.early_stopping, objective)
        records = [convert.record_of(item, 0, objective) for item in request.trials]
        states = (history.TrialState.SUCCEEDED, history.TrialState.EARLY_STOPPED)
        finished = [record for record in records if record.state in states]
        known = {(subject.name, record.name) for record in finished}
        for key in [key for key in self._curves if key[0] == subject.name and key not in known]:
            del self._curves[key]
        for record in finished:
            if (subject.name, record.name) not in self._curves:
                rows = await self._read(request.db_manager_address, record.name, objective.objective_metric_name)
                self._curves[subject.name, record.name] = _curve(record.state, rows)
        reply = messages.GetEarlyStoppingRulesReply()
        for found in judge.rules([self._curves[subject.name, record.name] for record in finished]):
            convert.add_rule(reply.early_stopping_rules, found)
        return reply

    async def stop(self, request: Message, context: Any) -> Message:
        """Mark a trial EarlyStopped, if it is one of the caller's."""
        if not request.trial_name:
            raise errors.BadInputError("trial_name must be given")
        await self._stop(request.trial_name, context)
        return messages.SetTrialStatusReply()

    async def close(self) -> None:
        """Close the connections to db-managers."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    async def _ask(self, address: str, trial: str, metric: str) -> Sequence[port.Row]:
        if not address:
            raise errors.BadInputError("db_manager_address must be given")
        client = self._clients.get(address)
        if client is None:
            if len(self._clients) >= 8:
                await self.close()
            client = self._clients[address] = dbmanager.DbManagerClient(address)
        return await client.read(trial, metric=metric)


def db_manager_health(observations: port.Observations) -> Health:
    """Health of a db-manager: NOT_SERVING while the database does not answer."""
    return dbmanager.health(observations)


def _curve(state: history.TrialState, rows: Sequence[port.Row]) -> curves.Curve:
    made = curves.Curve(state)
    for row in rows:
        value = convert.number(row.value)
        made.add(float("nan") if value is None else value)
    return made
