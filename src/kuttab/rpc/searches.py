"""Searches that a suggestion service keeps between calls, one per experiment, fed with what changed.

The contract sends the whole history each time and no slots. A trial's slot is read back from its name when the service named it (names
are a function of experiment and slot); other trials take the free slots, by start time and name. All of this can be thrown away
at any time: the next request brings everything back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from kuttab.algorithms import engine
from kuttab.api import experiment, meta, suggestion
from kuttab.base import errors, log
from kuttab.rpc import channels, convert, messages
from kuttab.rpc.messages import Message
from kuttab.rules import naming

logger = log.get(__name__)

MAX_COUNT: Final = 10_000
"""Assignments in one answer, and slots beyond the known ones."""


QUICK: Final = frozenset({"random", "grid", "sobol"})
"""Algorithms that do not think."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How many assignments are wanted; ``total`` counts all so far, 0 when the caller did not say."""

    count: int
    total: int = 0


def asked(request: Message, trials: int) -> Asked:
    """The numbers of a request with that many trials, in whichever of the contract's forms it comes.

    Up to v0.11 field 3 is the count; in v0.12 field 4 is the total; from v0.13 on field 4 is the count and field 5 the total.
    """
    old, current, total = request.request_number, request.current_request_number, request.total_request_number
    if total <= 0 < old:
        count, total = old, current
    else:
        count = current if current > 0 else old
    if not 0 <= count <= MAX_COUNT:
        raise errors.BadInputError(f"current_request_number must lie between 0 and {MAX_COUNT}, not {count}")
    if total - count > trials + MAX_COUNT:
        raise errors.BadInputError(f"total_request_number {total} is far beyond the {trials} trials sent")
    return Asked(count, max(total, 0))


@dataclass(slots=True)
class Search:
    """One experiment's search."""

    subject: experiment.Experiment
    session: engine.Session
    seen: dict[bytes, str] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    given: dict[int, suggestion.TrialAssignment] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)

    @classmethod
    def start(cls, subject: experiment.Experiment) -> Search:
        """A new search; InvalidError when the settings do not work."""
        return cls(subject, engine.Session(subject))

    def adopt(self, subject: experiment.Experiment) -> Search:
        """This search with changed settings, or a new one when it is about something else now."""
        try:
            self.session.adopt(subject)
        except errors.InvalidError:
            return Search.start(subject)
        self.subject = subject
        return self

    def is_quick(self, trials: int, wanted: Asked) -> bool:
        """Whether an answer costs less than a thread's turn: a cheap algorithm, few changes, few assignments."""
        algorithm = self.subject.spec.algorithm
        cheap = algorithm is not None and algorithm.algorithm_name in QUICK
        return cheap and wanted.count < 100 and abs(trials - len(self.seen)) < 20

    def answer(self, trials: list[bytes], wanted: Asked) -> engine.Answer:
        """Take the encoded trials in and propose; assignments come with names."""
        self._take(trials, max(wanted.total, len(trials)) + wanted.count)
        first = max(wanted.total - wanted.count, max(self.used, default=-1) + 1)
        self.given = {slot: item for slot, item in self.given.items() if slot < first and item.name not in self.slots}
        found = self.session.propose(first, wanted.count, list(self.given.values()))
        named = [
            item if item.name else meta.evolve(item, name=naming.trial_name(self.subject, item.slot))
            for item in found.assignments
        ]
        self.given.update({item.slot: item for item in named})
        return engine.Answer(named, found.settings, found.exhausted, found.wait)

    def _take(self, trials: list[bytes], slots: int) -> None:
        known = self.seen.get
        seen = {raw: name for raw in trials if (name := known(raw)) is not None}
        if len(seen) == len(trials) == len(self.seen):
            return
        fresh = [raw for raw in trials if raw not in seen] if len(seen) < len(trials) else []
        parsed = [(raw, channels.parse(messages.Trial, raw)) for raw in fresh]
        seen.update({raw: trial.name for raw, trial in parsed})
        present = set(seen.values())
        gone = [name for name in self.slots if name not in present]
        for name in gone:
            self.used.discard(self.slots.pop(name))
        if gone:  # the session must be told of all that are left
            parsed = [(raw, channels.parse(messages.Trial, raw)) for raw in seen]
        changed = [trial for _, trial in parsed]
        self._number([trial for trial in changed if trial.name not in self.slots], slots)
        objective = self.subject.spec.objective or experiment.ObjectiveSpec()
        records = [convert.record_of(trial, self.slots[trial.name], objective) for trial in changed]
        for finding in self.session.update(records, complete=bool(gone)):
            logger.info("record_unusable", trial=finding.trial, outcome=finding.outcome, detail=finding.detail)
        self.seen = seen

    def _number(self, fresh: list[Any], slots: int) -> None:
        """Give slots to trials that have none."""
        strangers = []
        for trial in fresh:
            slot = self._slot_of(trial.name, slots)
            if slot is None:
                strangers.append(trial)
            else:
                self._hold(trial.name, slot)
        slot = 0
        for trial in sorted(strangers, key=lambda item: (item.status.start_time or "~", item.name)):
            while slot in self.used:
                slot += 1
            self._hold(trial.name, slot)

    def _slot_of(self, name: str, slots: int) -> int | None:
        for item in self.given.values():
            if item.name == name:
                return item.slot
        for slot in range(len(self.names), slots):
            self.names[naming.trial_name(self.subject, slot)] = slot
        found = self.names.get(name)
        return found if found is not None and found not in self.used else None

    def _hold(self, name: str, slot: int) -> None:
        self.slots[name] = slot
        self.used.add(slot)
