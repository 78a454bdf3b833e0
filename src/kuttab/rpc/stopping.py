"""Early-stopping rules from a service that speaks the contract, in any language.

Like the suggestion side: each call has a deadline, an answer is judged whole before it is used. It applies no rule: the collector does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from kuttab.api import experiment, suggestion
from kuttab.base import errors
from kuttab.ports import suggestion as port
from kuttab.rpc import answers, channels, convert, encoded, messages

Address = Callable[[], Awaitable[str]]
"""Where the service can read the trials' metrics: ``host:port`` of a db-manager."""


class GrpcRules:
    """Rules of one service at ``host:port``; the times are seconds."""

    def __init__(self, address: str, db_manager: Address, *, timeout: float = 60.0) -> None:
        self._channel = channels.Channel(address)
        self._db_manager = db_manager
        self._timeout = timeout
        self._trials: dict[str, encoded.EncodedTrials] = {}

    async def move(self, address: str) -> None:
        """From now on ask at another address: the service was started again."""
        if address != self._channel.address:
            old, self._channel = self._channel, channels.Channel(address)
            await old.close()

    async def validate(self, subject: experiment.Experiment) -> None:
        """RefusedError when the service refuses the settings for good. A service without the method accepts everything."""
        assert subject.spec.early_stopping is not None
        request = messages.ValidateEarlyStoppingSettingsRequest(
            early_stopping=convert.stopping_message(subject.spec.early_stopping)
        )
        method = "ValidateEarlyStoppingSettings"
        try:
            await self._call(method, request.SerializeToString())
        except channels.Failed as failure:
            failure.judge_validation(method)

    async def rules(self, request: port.Request) -> Sequence[suggestion.EarlyStoppingRule]:
        """The rules for the trials about to be created. UnavailableError; BrokenAnswerError for rules that cannot be applied."""
        subject = request.experiment
        trials = self._trials.get(subject.uid)
        if trials is None:
            trials = encoded.EncodedTrials(subject.spec.objective or experiment.ObjectiveSpec())
            self._trials[subject.uid] = trials
        trials.refresh(request.trials)
        parts = [
            encoded.field(1, convert.experiment_message(subject).SerializeToString()),
            *trials.request_bytes(),
            encoded.field(3, (await self._db_manager()).encode()),
        ]
        method = "GetEarlyStoppingRules"
        try:
            raw = await self._call(method, b"".join(parts))
        except channels.Failed as failure:
            raise failure.as_unavailable() from None
        if len(raw) > answers.MAX_BYTES:
            raise errors.BrokenAnswerError(f"the answer has {len(raw)} bytes; at most {answers.MAX_BYTES} are read")
        path = channels.path_of(messages.EARLY_STOPPING, method)
        return answers.rules(channels.parse_answer(messages.GetEarlyStoppingRulesReply, raw, path))

    async def close(self) -> None:
        """Close the connection."""
        self._trials.clear()
        await self._channel.close()

    async def _call(self, method: str, raw: bytes) -> bytes:
        answer, _ = await self._channel.call(channels.path_of(messages.EARLY_STOPPING, method), raw, self._timeout)
        return answer
