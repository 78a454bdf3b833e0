"""Assignments from a service that speaks the contract, in any language: the suggestion port over gRPC.

A wrong, slow, dead or hostile service delays and never corrupts: every call has a deadline, an answer is judged whole before any of
it is used, and an answer that was given is kept until the next one is asked for, so that losing it on the way to the store costs
nothing. What this will not do: start or restart services, and wait for them longer than one call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib import parse

import grpc

from kuttab.api import experiment, meta, suggestion
from kuttab.base import errors
from kuttab.ports import suggestion as port
from kuttab.rpc import answers, channels, convert, encoded, messages

EXHAUSTED: Final = "kuttab-exhausted"
"""Trailing metadata of our own services: nothing is left to propose."""
WAIT: Final = "kuttab-wait"
"""Trailing metadata of our own services: why there are fewer assignments for now (percent-encoded)."""

Rules = Callable[[port.Request], Awaitable[Sequence[suggestion.EarlyStoppingRule]]]
"""Early-stopping rules for the trials about to be created."""


@dataclass(slots=True)
class _Entry:
    """What is kept of one experiment."""

    spec: experiment.ExperimentSpec
    head: bytes
    trials: encoded.EncodedTrials
    first_slot: int = 0
    reply: port.Reply = field(default_factory=lambda: port.Reply([]))
    """The last answer: given again until slots beyond it are asked for."""
    complete: bool = False
    """Whether the answer has its early-stopping rules."""

    def held(self, first_slot: int) -> int:
        """Where the assignment of that slot stands in the last answer; -1 when it does not."""
        place = first_slot - self.first_slot
        return place if 0 <= place < len(self.reply.assignments) else -1


class GrpcSuggestions:
    """Implements ``ports.suggestion.Suggestions`` over one service.

    ``address`` is ``host:port`` of the algorithm. Early stopping comes from the service at ``early_stopping``, or from ``rules``
    when there is no such service; ``db_manager`` is the address that the early-stopping service reads metrics from. Times in
    seconds.
    """

    def __init__(
        self,
        address: str,
        *,
        early_stopping: str = "",
        rules: Rules | None = None,
        db_manager: str = "",
        timeout: float = 60.0,
    ) -> None:
        self._algorithm = channels.Channel(address)
        self._stopping = channels.Channel(early_stopping) if early_stopping else None
        self._rules = rules
        self._db_manager = db_manager
        self._timeout = timeout
        self._entries: dict[str, _Entry] = {}
        self._service = messages.SUGGESTION

    async def move(self, address: str) -> None:
        """From now on ask at another address: the service was started again. What is kept of experiments stays."""
        if address != self._algorithm.address:
            old, self._algorithm = self._algorithm, channels.Channel(address)
            await old.close()

    async def validate(self, subject: experiment.Experiment) -> None:
        """See the port. A service without the method accepts everything."""
        request = messages.ValidateAlgorithmSettingsRequest(experiment=convert.experiment_message(subject))
        await self._validate(self._algorithm, messages.SUGGESTION, "ValidateAlgorithmSettings", request)
        if subject.spec.early_stopping is None:
            return
        if self._stopping is not None:
            check = messages.ValidateEarlyStoppingSettingsRequest(
                early_stopping=convert.stopping_message(subject.spec.early_stopping)
            )
            await self._validate(self._stopping, messages.EARLY_STOPPING, "ValidateEarlyStoppingSettings", check)
        elif self._rules is None:
            raise errors.RefusedError("spec.earlyStopping is given, but no early-stopping service is configured")

    async def suggest(self, request: port.Request) -> port.Reply:
        """See the port. Every failure of the service is UnavailableError, every bad answer BrokenAnswerError."""
        entry = self._entry(request.experiment)
        entry.trials.refresh(request.trials)
        if entry.held(request.first_slot) < 0:
            entry.reply, entry.first_slot, entry.complete = await self._ask(entry, request), request.first_slot, False
        if request.early_stopping and entry.reply.assignments and not entry.complete:
            rules = list(await self._early_stopping(entry, request))
            given = [meta.evolve(item, early_stopping_rules=rules) for item in entry.reply.assignments]
            entry.reply = port.Reply(given, entry.reply.settings, entry.reply.exhausted, entry.reply.wait)
        entry.complete = True
        return _part(entry.reply, max(entry.held(request.first_slot), 0), request.count)

    async def release(self, uid: str) -> None:
        """See the port."""
        self._entries.pop(uid, None)

    async def close(self) -> None:
        """Close the connections."""
        self._entries.clear()
        await self._algorithm.close()
        if self._stopping is not None:
            await self._stopping.close()

    async def _validate(self, channel: channels.Channel, service: str, method: str, request: messages.Message) -> None:
        try:
            await channel.call(channels.path_of(service, method), request.SerializeToString(), self._timeout)
        except channels.Failed as failure:
            failure.judge_validation(method)

    def _entry(self, subject: experiment.Experiment) -> _Entry:
        entry = self._entries.get(subject.uid)
        if entry is None:
            trials = encoded.EncodedTrials(subject.spec.objective or experiment.ObjectiveSpec())
            entry = self._entries[subject.uid] = _Entry(subject.spec, _head(subject), trials)
        elif entry.spec is not subject.spec:
            if entry.spec != subject.spec:
                entry.head = _head(subject)
            entry.spec = subject.spec
        return entry

    async def _ask(self, entry: _Entry, request: port.Request) -> port.Reply:
        """One call of GetSuggestions; the count goes out under its old and its new number."""
        parts = [
            entry.head,
            *entry.trials.request_bytes(request.pending),
            encoded.varint_field(3, request.count),
            encoded.varint_field(4, request.count),
            encoded.varint_field(5, request.first_slot + request.count),
        ]
        raw, trailing = await self._get(b"".join(parts))
        path = channels.path_of(self._service, "GetSuggestions")
        if len(raw) > answers.MAX_BYTES:
            raise errors.BrokenAnswerError(f"the answer has {len(raw)} bytes; at most {answers.MAX_BYTES} are read")
        reply = channels.parse_answer(messages.GetSuggestionsReply, raw, path)
        waiting = {item.name for item in request.pending}
        found = answers.assignments(
            reply, request.experiment, request.count, lambda name: entry.trials.knows(name) or name in waiting
        )
        found = [meta.evolve(item, slot=slot) for slot, item in enumerate(found, request.first_slot)]
        settings = answers.settings(reply)
        if len(found) == request.count:
            return port.Reply(found, settings)
        return _short(found, settings, request, entry, trailing)

    async def _get(self, request: bytes) -> tuple[bytes, dict[str, str]]:
        """Call GetSuggestions under the name that the service knows: today's, or that of 2020, whose messages are the same."""
        others = {messages.SUGGESTION: messages.OLD_SUGGESTION, messages.OLD_SUGGESTION: messages.SUGGESTION}
        for service in (self._service, others[self._service]):
            try:
                found = await self._algorithm.call(channels.path_of(service, "GetSuggestions"), request, self._timeout)
            except channels.Failed as failure:
                if failure.code is not grpc.StatusCode.UNIMPLEMENTED:
                    raise failure.as_unavailable() from None
            else:
                self._service = service
                return found
        path = channels.path_of(messages.SUGGESTION, "GetSuggestions")
        raise errors.BrokenAnswerError(f"{path} at {self._algorithm.address}: there is no such method")

    async def _early_stopping(self, entry: _Entry, request: port.Request) -> Sequence[suggestion.EarlyStoppingRule]:
        if self._stopping is None:
            if self._rules is None:
                raise errors.RefusedError("spec.earlyStopping is given, but no early-stopping service is configured")
            return await self._rules(request)
        parts = [entry.head, *entry.trials.request_bytes(), encoded.field(3, self._db_manager.encode())]
        path = channels.path_of(messages.EARLY_STOPPING, "GetEarlyStoppingRules")
        try:
            raw, _ = await self._stopping.call(path, b"".join(parts), self._timeout)
        except channels.Failed as failure:
            raise failure.as_unavailable() from None
        return answers.rules(channels.parse_answer(messages.GetEarlyStoppingRulesReply, raw, path))


def _head(subject: experiment.Experiment) -> bytes:
    """Field 1 of a request: the experiment."""
    return encoded.field(1, convert.experiment_message(subject).SerializeToString())


def _part(reply: port.Reply, start: int, count: int) -> port.Reply:
    """At most ``count`` assignments from a place on. Less is wanted when the budget shrank, or when a part was stored already."""
    given = reply.assignments[start : start + count]
    if len(given) == len(reply.assignments):
        return reply
    wait = "" if len(given) == count else "the rest of the algorithm's last answer"
    return port.Reply(given, reply.settings, wait=wait)


def _short(
    found: list[suggestion.TrialAssignment],
    settings: dict[str, str],
    request: port.Request,
    entry: _Entry,
    trailing: dict[str, str],
) -> port.Reply:
    """An answer with fewer assignments than asked for.

    Our own services say why. From others, none at all means the end when nothing is running any more, and waiting otherwise.
    """
    if trailing.get(EXHAUSTED) == "true":
        return port.Reply(found, settings, exhausted=True)
    gave = f"the algorithm gave {len(found)} of {request.count} assignments"
    if found or entry.trials.any_active() or request.pending:
        return port.Reply(found, settings, wait=_sentence(trailing) or gave)
    if WAIT in trailing:
        return port.Reply(found, settings, wait=_sentence(trailing))
    return port.Reply(found, settings, exhausted=True)


def _sentence(trailing: Mapping[str, str]) -> str:
    return channels.clean(parse.unquote(trailing.get(WAIT, "")))
