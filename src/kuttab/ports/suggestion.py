"""Where parameter assignments come from: an algorithm in process, or a service that speaks the gRPC contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kuttab.api import experiment, history, suggestion


class Trials(Protocol):
    """The trials of one experiment so far, as an index that is kept up to date and never rebuilt per call."""

    @property
    def revision(self) -> int:
        """Grows with every change."""
        ...

    def changed_since(self, revision: int) -> Sequence[history.TrialRecord] | None:
        """Records that changed after that revision, oldest change first; None when that is too long ago: read all."""
        ...

    def all(self) -> Sequence[history.TrialRecord]:
        """Every record, by slot."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """Ask for the assignments of slots ``first_slot .. first_slot + count - 1``.

    The experiment carries the algorithm's settings with the service's own state merged in. ``pending`` are assignments that
    were given out before and have no trial yet.
    """

    experiment: experiment.Experiment
    trials: Trials
    first_slot: int
    count: int
    pending: Sequence[suggestion.TrialAssignment] = ()
    early_stopping: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """At most ``count`` assignments, in slot order; fewer only when ``exhausted`` or when results must come first.

    ``settings`` is state to keep and send back; ``wait`` says why there are fewer for now.
    """

    assignments: Sequence[suggestion.TrialAssignment]
    settings: Mapping[str, str] = field(default_factory=dict)
    exhausted: bool = False
    wait: str = ""


class Suggestions(Protocol):
    """A source of assignments.

    UnavailableError means later, RefusedError never, BrokenAnswerError that the service errs.
    """

    async def validate(self, subject: experiment.Experiment) -> None:
        """Check algorithm, early stopping and settings; RefusedError carries the reason."""
        ...

    async def suggest(self, request: Request) -> Reply:
        """Idempotent by (experiment uid, slots, history): asking twice gives the same answer."""
        ...

    async def release(self, uid: str) -> None:
        """Forget what is cached for an experiment; nothing is lost by it."""
        ...
