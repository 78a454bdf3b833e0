"""The synchronous core between the API's types and the algorithms: text in, text out.

The in-process suggestion port, the gRPC servers and tests use it; it does no I/O and knows no clock. A :class:`Session`
lives as long as an experiment is worked on, is fed changes, and can be thrown away at any time: a new one that is given all
records answers the same.

A caller whose trials have no slots (Katib's own controller) numbers them by start time, then name, and asks for the slots
after the last.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kuttab.algorithms import algorithm, registry, settings
from kuttab.algorithms import history as histories
from kuttab.algorithms import space as spaces
from kuttab.api import experiment as experiments
from kuttab.api import history as records_
from kuttab.api import space as api_space
from kuttab.api import suggestion
from kuttab.base import errors, ids

DEFAULT_PARALLEL = 3
"""parallelTrialCount when a manifest has none."""


class Outcome(enum.StrEnum):
    """What became of a record that could not be used as it is."""

    NO_SLOT = "no-slot"
    """Its slot is negative; not used."""
    FOREIGN_PARAMETERS = "foreign-parameters"
    """Its parameters are not those of the space; not used."""
    UNREADABLE_VALUE = "unreadable-value"
    """A value is none of its parameter's kind; not used."""
    OUT_OF_RANGE = "out-of-range"
    """A value lies outside the parameter's bounds; not used."""
    DUPLICATE_SLOT = "duplicate-slot"
    """A later attempt fills the same slot; not used."""
    NO_OBJECTIVE = "no-objective"
    """It ended without an objective; used as a point that gives none."""
    NOT_FINITE = "not-finite"
    """Its objective is NaN or infinite; used as a point that gives none."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A record that could not be used as it is."""

    trial: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class Answer:
    """Assignments in slot order; see :class:`kuttab.ports.suggestion.Reply` for the rest."""

    assignments: list[suggestion.TrialAssignment]
    settings: Mapping[str, str] = field(default_factory=dict)
    exhausted: bool = False
    wait: str = ""


def validate(subject: experiments.Experiment) -> list[errors.Problem]:
    """Everything that keeps the experiment's algorithm from working, with field paths; empty when it will work."""
    _, _, problems = _prepare(subject)
    return problems


def warnings(subject: experiments.Experiment) -> list[str]:
    """Sentences about settings that work but are spelled in an old way."""
    spec = subject.spec.algorithm or experiments.AlgorithmSpec()
    try:
        kind = registry.load(spec.algorithm_name)
    except errors.KuttabError:
        return []
    return kind.Settings.warnings({s.name: s.value for s in spec.algorithm_settings or ()})


class Session:
    """One experiment's search. Raises InvalidError when :func:`validate` finds problems."""

    def __init__(self, subject: experiments.Experiment) -> None:
        kind, problem, problems = _prepare(subject)
        if kind is None or problem is None or problems:
            raise errors.InvalidError(problems, f"Experiment {subject.name}")
        self._subject = subject
        self._algorithm = kind(problem)
        self._free = kind.free(problem)
        self._objective = subject.spec.objective or experiments.ObjectiveSpec()
        self.history = histories.History(problem.space, problem.directions)
        self._owners: dict[int, records_.TrialRecord] = {}  # slot -> the attempt that fills it
        self._given: dict[int, suggestion.TrialAssignment] = {}

    @property
    def problem(self) -> algorithm.Problem:
        """What is solved."""
        return self._algorithm.problem

    def adopt(self, subject: experiments.Experiment) -> None:
        """Take over changed settings and budgets, keeping the history. Raises InvalidError and then changes nothing."""
        if subject is self._subject or subject.spec == self._subject.spec:
            return
        fresh = Session(subject)
        if fresh.problem.space != self.problem.space or fresh.problem.directions != self.problem.directions:
            message = "the search space and the objective cannot change while an experiment runs"
            raise errors.InvalidError([errors.Problem("spec.parameters", message, "FieldValueForbidden")])
        self._subject, self._algorithm, self._free = subject, fresh._algorithm, fresh._free

    def remember(self, records: Sequence[records_.TrialRecord]) -> list[Finding]:
        """Take in results from before the search, in a fixed order: they get the numbers below 0 and fill no slot.

        A record that is no point of the space, or says nothing about one, is left out; the findings tell.
        """
        findings = []
        for number, record in enumerate(records, start=-len(records)):
            point, finding, text = self._read(dict(zip(record.names, record.values, strict=False)))
            if point is None:
                assert finding is not None
                findings.append(Finding(record.name, finding[0], finding[1]))
                continue
            values = self._values(record)
            self.history.put(
                histories.Trial(number, point, record.state, values, record.reason, text=text, name=record.name)
            )
        return findings

    def update(self, records: Iterable[records_.TrialRecord], *, complete: bool = False) -> list[Finding]:
        """Take in new and changed records, in any order; with ``complete``, forget trials that are not among them."""
        findings: list[Finding] = []
        present = set()
        for record in records:
            present.add(record.slot)
            findings += self._take(record)
        if complete:
            for slot in [slot for slot in self._owners if slot not in present]:
                del self._owners[slot]
                self.history.remove(slot)
        return findings

    def propose(self, first_slot: int, count: int, pending: Sequence[suggestion.TrialAssignment] = ()) -> Answer:
        """Assignments for the slots ``first_slot .. first_slot + count - 1``.

        ``pending`` are assignments given out before that have no record yet. Asking again with the same history answers the
        same.
        """
        self._sync(pending, range(first_slot, first_slot + count))
        if count <= 0:
            return Answer([])
        reply = self._algorithm.propose(self.history, first_slot, count)
        assignments = []
        for slot, proposal in enumerate(reply.items, start=first_slot):
            texts = {**self.problem.space.format(proposal.parameters), **proposal.text}
            assignments.append(
                suggestion.TrialAssignment(
                    name=proposal.trial_name,
                    parameter_assignments=[api_space.ParameterAssignment(name=n, value=v) for n, v in texts.items()],
                    labels=dict(proposal.labels) or None,
                    slot=slot,
                )
            )
        return Answer(assignments, dict(reply.settings), reply.exhausted, reply.wait)

    def _sync(self, pending: Sequence[suggestion.TrialAssignment], asked: range) -> None:
        """Make the history's guesses about trials to come match ``pending``."""
        wanted = {a.slot: a for a in pending if a.slot not in self._owners and a.slot not in asked and a.slot >= 0}
        for slot in [slot for slot, given in self._given.items() if wanted.get(slot) != given]:
            del self._given[slot]
            if slot not in self._owners:
                self.history.remove(slot)
        for slot, assignment in wanted.items():
            if slot in self._given:
                continue
            texts = {item.name: item.value for item in assignment.parameter_assignments or ()}
            point, _, text = self._read(texts)
            if point is not None:
                self._given[slot] = assignment
                labels = assignment.labels or {}
                self.history.put(histories.Trial(slot, point, labels=labels, text=text, name=assignment.name))

    def _take(self, record: records_.TrialRecord) -> list[Finding]:
        if record.slot < 0:
            return [Finding(record.name, Outcome.NO_SLOT, f"slot {record.slot}")]
        owner = self._owners.get(record.slot)
        if owner is not None and owner.name != record.name and _attempt(owner) > _attempt(record):
            return [Finding(record.name, Outcome.DUPLICATE_SLOT, f"slot {record.slot} is filled by {owner.name}")]
        self._owners[record.slot] = record
        point, finding, text = self._read(dict(zip(record.names, record.values, strict=False)))
        if point is None:
            self.history.remove(record.slot)
            assert finding is not None
            return [Finding(record.name, finding[0], finding[1])]
        values = self._values(record)
        trial = histories.Trial(
            record.slot, point, record.state, values, record.reason, (), record.labels, text, _name(record)
        )
        self.history.put(trial)
        if record.state in (records_.TrialState.SUCCEEDED, records_.TrialState.METRICS_UNAVAILABLE):
            if not values:
                return [Finding(record.name, Outcome.NO_OBJECTIVE)]
            if not all(math.isfinite(value) for value in values):
                return [Finding(record.name, Outcome.NOT_FINITE, str(values))]
        return []

    def _read(self, texts: Mapping[str, str]) -> tuple[spaces.Point | None, tuple[Outcome, str] | None, dict[str, str]]:
        """The point of text assignments, or why there is none, and the assignments that are no parameters."""
        space = self.problem.space
        known = self._algorithm.text_names
        text = {name: value for name, value in texts.items() if name in known}
        own = {name: value for name, value in texts.items() if name not in text}
        if set(own) != set(space.names):
            detail = f"expected {', '.join(space.names) or 'none'}; got {', '.join(sorted(own)) or 'none'}"
            return None, (Outcome.FOREIGN_PARAMETERS, detail), text
        try:
            codes = space.codes([own[name] for name in space.names])
        except ValueError as error:
            return None, (Outcome.UNREADABLE_VALUE, str(error)), text
        for parameter, code in zip(space.parameters, codes.tolist(), strict=True):
            if parameter.name not in self._free and not parameter.low <= code <= parameter.high:
                detail = f"{parameter.name} = {own[parameter.name]} is not in {parameter.low} .. {parameter.high}"
                return None, (Outcome.OUT_OF_RANGE, detail), text
        return space.point(codes), None, text

    def _values(self, record: records_.TrialRecord) -> tuple[float, ...]:
        """The objectives, first the experiment's own; empty when one is missing."""
        if record.objective is None:
            return ()
        values = [record.objective]
        by_name = {metric.name: metric for metric in record.metrics}
        for name in self.problem.metrics[1:]:
            metric = by_name.get(name)
            try:
                values.append(float(getattr(metric, self._objective.strategy(name))))
            except (AttributeError, ValueError):
                return ()
        return tuple(values)


def _attempt(record: records_.TrialRecord) -> tuple[str, str]:
    """What orders the attempts at a slot; "~" sorts after every time: not started yet."""
    return record.start_time or "~", record.name


def _name(record: records_.TrialRecord) -> str:
    """The name, where an algorithm needs it: trials that descend from each other carry labels. Elsewhere it would only take memory."""
    return record.name if record.labels else ""


def _prepare(
    subject: experiments.Experiment,
) -> tuple[type[algorithm.Algorithm] | None, algorithm.Problem | None, list[errors.Problem]]:
    """The algorithm's class and its problem, or what is wrong; all of it where it can be told."""
    spec = subject.spec
    chosen = spec.algorithm or experiments.AlgorithmSpec()
    problems: list[errors.Problem] = []
    try:
        kind = registry.load(chosen.algorithm_name)
    except errors.NotFoundError as error:
        problem = errors.Problem("spec.algorithm.algorithmName", error.message, "FieldValueNotSupported")
        return None, None, [problem]
    except errors.BadInputError as error:
        return None, None, [errors.Problem("spec.algorithm.algorithmName", error.message)]
    given: dict[str, str] = {}
    for setting in chosen.algorithm_settings or ():
        if setting.name in given:
            at = f"{settings.PATH}[{setting.name}]"
            problems.append(errors.Problem(at, "is given twice; keep one", "FieldValueDuplicate"))
        given[setting.name] = setting.value
    values, found = kind.Settings.parse(given)
    problems += found
    space = spaces.Space()
    try:
        space = spaces.from_specs(spec.parameters or ())
    except errors.InvalidError as error:
        problems += error.problems
    objective = spec.objective or experiments.ObjectiveSpec()
    directions, metrics = [-1 if objective.type == "maximize" else 1], [objective.objective_metric_name]
    if isinstance(values, settings.ObjectivesSettings):
        problems += _add_objectives(values, objective, directions, metrics)
    if problems or values is None:
        return kind, None, problems
    seed = values.random_state
    if spec.warm_start is not None and not kind.warm_start:
        message = f"{kind.name} follows a plan of its own and cannot use earlier results; leave warmStart out"
        return kind, None, [errors.Problem("spec.warmStart", message, "FieldValueForbidden")]
    prepared = algorithm.Problem(
        space=space,
        directions=tuple(directions),
        seed=ids.digest_seed(subject.uid or subject.name) if seed is None else seed,
        settings=values,
        max_trials=spec.max_trial_count,
        parallel=spec.parallel_trial_count or DEFAULT_PARALLEL,
        nas=spec.nas_config,
        name=subject.name,
        metrics=tuple(metrics),
    )
    return kind, prepared, kind.check(prepared)


def _add_objectives(
    values: settings.ObjectivesSettings, objective: experiments.ObjectiveSpec, directions: list[int], metrics: list[str]
) -> list[errors.Problem]:
    at = f"{settings.PATH}[additional_objectives]"
    try:
        further = values.directions()
    except ValueError as error:
        return [errors.Problem(at, str(error))]
    problems = []
    for metric, direction in further:
        if metric not in (objective.additional_metric_names or ()):
            message = f"{metric} is not among objective.additionalMetricNames"
            problems.append(errors.Problem(at, message))
        directions.append(direction)
        metrics.append(metric)
    return problems
