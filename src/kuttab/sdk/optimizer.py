"""Ask and tell: every algorithm without experiments, stores or processes.

::

    optimizer = Optimizer({"lr": search.double(1e-5, 0.1, log=True)}, direction="minimize", seed=0)
    for trial in optimizer.ask(8):
        optimizer.tell(trial, train(**trial.parameters))
    print(optimizer.best)

It keeps its trials in memory; the same questions with the same seed and answers give the same trials in any process. It
is not thread-safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kuttab.algorithms import algorithm as algorithms
from kuttab.algorithms import history as histories
from kuttab.algorithms import registry, settings
from kuttab.algorithms import space as spaces
from kuttab.api.history import TrialState
from kuttab.base import errors
from kuttab.sdk import search

_STATES = {
    "succeeded": TrialState.SUCCEEDED,
    "failed": TrialState.FAILED,
    "killed": TrialState.KILLED,
    "early_stopped": TrialState.EARLY_STOPPED,
}
REASONS = {
    "user": "UserError",
    "oom": "OutOfMemory",
    "timeout": "DeadlineExceeded",
    "nan": "NonFinite",
    "infrastructure": "Infrastructure",
    "cancelled": "Cancelled",
}
"""Why a trial failed, in short and as trials record it; the last two say nothing about its parameters."""


@dataclass(frozen=True)
class Trial:
    """A point to evaluate, or one that was.

    ``parameters`` are Python values by name. ``state`` is ``pending``, ``succeeded``, ``failed``, ``killed`` or
    ``early_stopped``; ``values`` holds the objectives in the user's direction, by metric.
    """

    number: int
    parameters: dict[str, Any]
    state: str = "pending"
    values: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def value(self) -> float | None:
        """The first objective; None when there is none."""
        return next(iter(self.values.values()), None)


class Optimizer:
    """A search that is asked for trials and told their results.

    ``space`` maps names to dimensions of :mod:`kuttab.search`. ``direction`` is ``"minimize"`` or ``"maximize"``; or a
    mapping of metric to direction for several objectives (the algorithm must take several). Further keywords are the
    algorithm's settings. ``max_trials`` and ``parallel`` are hints to algorithms that plan ahead. Raises InvalidError
    naming every problem.
    """

    def __init__(
        self,
        space: Mapping[str, search.Dimension],
        direction: str | Mapping[str, str] = "minimize",
        algorithm: str = "auto",
        seed: int = 0,
        *,
        max_trials: int | None = None,
        parallel: int = 1,
        **settings: Any,
    ) -> None:
        named = {"objective": direction} if isinstance(direction, str) else dict(direction)
        for metric, way in named.items():
            if way not in ("minimize", "maximize"):
                raise errors.BadInputError(f"direction of {metric}: expected minimize or maximize, got {way!r}")
        if "additional_objectives" in settings:
            raise errors.BadInputError("additional_objectives: here direction names them, as {metric: direction}")
        if not named:
            raise errors.BadInputError("direction: at least one objective is needed")
        self._dimensions = dict(space)
        kind = registry.load(algorithm)
        if len(named) > kind.objectives:
            raise errors.BadInputError(f"algorithm {algorithm} takes {kind.objectives} objective, got {len(named)}")
        problem = algorithms.Problem(
            space=spaces.from_specs(search.specs(space), path="space"),
            directions=tuple(1 if way == "minimize" else -1 for way in named.values()),
            seed=seed,
            settings=_read(kind, settings),
            max_trials=max_trials,
            parallel=parallel,
            metrics=tuple(named),
        )
        problems = kind.check(problem)
        if problems:
            raise errors.InvalidError(problems, f"algorithm {algorithm}")
        self._problem = problem
        self._algorithm = kind(problem)
        self._history = histories.History(problem.space, problem.directions)
        self._exhausted, self._wait = False, ""

    def ask(self, n: int = 1) -> list[Trial]:
        """Up to ``n`` new trials; fewer only when :attr:`exhausted` or when results must come first (:attr:`waiting`)."""
        if n < 1:
            raise errors.BadInputError(f"ask for at least one trial, got {n}")
        first = self._history.next_number
        reply = self._algorithm.propose(self._history, first, n)
        self._exhausted, self._wait = reply.exhausted, reply.wait
        for number, proposal in enumerate(reply.items, start=first):
            self._history.put(
                histories.Trial(
                    number,
                    proposal.parameters,
                    labels=proposal.labels,
                    text=proposal.text,
                    name=proposal.trial_name,
                )
            )
        return [self._trial(self._history[first + index]) for index in range(len(reply.items))]

    def tell(
        self,
        trial: Trial | int,
        value: float | Mapping[str, float] | None = None,
        *,
        state: str = "succeeded",
        reason: str = "",
    ) -> Trial:
        """Report a trial's end: its objective (by metric when there are several), or how it failed.

        A value that is not finite counts as a failure of the parameters. ``reason`` is one of :data:`REASONS`, in either spelling. Telling
        again corrects the result. Raises BadInputError for an unknown trial, metric, state or reason.
        """
        number = trial.number if isinstance(trial, Trial) else trial
        if number not in self._history:
            raise errors.BadInputError(f"there is no trial number {number}; tell takes trials that ask gave out")
        if state not in _STATES:
            raise errors.BadInputError(f"state {state!r} is none of {', '.join(_STATES)}")
        reason = REASONS.get(reason, reason)
        if reason and reason not in REASONS.values():
            raise errors.BadInputError(f"reason {reason!r} is none of {', '.join(REASONS)}")
        values = self._values(value)
        if state == "succeeded" and not values:
            raise errors.BadInputError('a succeeded trial needs a value; or tell state="failed"')
        return self._record(number, _STATES[state], values, reason)

    def add(self, parameters: Mapping[str, Any], value: float | Mapping[str, float]) -> Trial:
        """Take in a result found elsewhere, as a new trial. Raises BadInputError when it is no point of the space."""
        missing = set(self._dimensions) ^ set(parameters)
        if missing:
            raise errors.BadInputError(f"missing or unknown parameters: {', '.join(sorted(missing))}")
        try:
            texts = {name: dimension.write(parameters[name]) for name, dimension in self._dimensions.items()}
            codes = self._problem.space.codes([texts[name] for name in self._problem.space.names])
        except ValueError as error:
            raise errors.BadInputError(str(error)) from error
        if not self._problem.space.contains(codes):
            raise errors.BadInputError(f"{dict(parameters)!r} is not a point of the space")
        number = self._history.next_number
        self._history.put(histories.Trial(number, self._problem.space.point(codes)))
        return self._record(number, TrialState.SUCCEEDED, self._values(value), "")

    def report(self, trial: Trial | int, step: float, value: float) -> None:
        """Record an intermediate value of the first objective, for algorithms that look at curves."""
        number = trial.number if isinstance(trial, Trial) else trial
        if number not in self._history:
            raise errors.BadInputError(f"there is no trial number {number}")
        old = self._history[number]
        self._put(old, curve=(*old.curve, (float(step), float(value))))

    @property
    def exhausted(self) -> bool:
        """Whether the last answer said that nothing is left to propose."""
        return self._exhausted

    @property
    def waiting(self) -> str:
        """Why the last answer was short and results must come first; empty otherwise."""
        return self._wait

    @property
    def best(self) -> Trial | None:
        """The best trial by the first objective, the earliest of equals; None when none has finished."""
        found = self._history.best()
        return None if found is None else self._trial(found)

    @property
    def pareto(self) -> list[Trial]:
        """Finished trials that no other betters in every objective, by number."""
        rows = self._history.finished
        points = self._history.Y[rows]
        front = [
            row
            for row, point in zip(rows, points, strict=True)
            if not ((points <= point).all(axis=1) & (points < point).any(axis=1)).any()
        ]
        return [self._trial(self._history[int(self._history.numbers[row])]) for row in front]

    @property
    def trials(self) -> list[Trial]:
        """Every trial, by number."""
        return [self._trial(trial) for trial in self._history]

    def _values(self, value: float | Mapping[str, float] | None) -> tuple[float, ...]:
        if value is None:
            return ()
        metrics = self._problem.metrics
        if isinstance(value, Mapping):
            missing = [metric for metric in metrics if metric not in value]
            if len(metrics) == 1 and len(value) == 1:
                return (float(next(iter(value.values()))),)
            if missing:
                raise errors.BadInputError(f"missing metric {', '.join(missing)}; told: {', '.join(value)}")
            return tuple(float(value[metric]) for metric in metrics)
        if len(metrics) > 1:
            raise errors.BadInputError(f"several objectives: tell a mapping with {', '.join(metrics)}")
        return (float(value),)

    def _record(self, number: int, state: TrialState, values: tuple[float, ...], reason: str) -> Trial:
        self._put(self._history[number], state=state, values=values, reason=reason)
        return self._trial(self._history[number])

    def _put(self, old: histories.Trial, **changes: Any) -> None:
        kept = {name: getattr(old, name) for name in histories.Trial.__dataclass_fields__}
        self._history.put(histories.Trial(**{**kept, **changes}))

    def _trial(self, trial: histories.Trial) -> Trial:
        texts = self._problem.space.format(trial.parameters)
        parameters = {name: dimension.read(texts[name]) for name, dimension in self._dimensions.items()}
        state = next((name for name, known in _STATES.items() if known is trial.state), "pending")
        values = dict(zip(self._problem.metrics, trial.values, strict=False))
        return Trial(trial.number, {**parameters, **trial.text}, state, values, trial.reason, dict(trial.labels))


def _read(kind: type[algorithms.Algorithm], given: Mapping[str, Any]) -> settings.Settings:
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}
    values, problems = kind.Settings.parse(texts, path="settings")
    if values is None:
        raise errors.InvalidError(problems, f"settings of {kind.name}")
    return values
