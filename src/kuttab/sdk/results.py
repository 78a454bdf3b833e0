"""What came out of an experiment, as typed Python values: the best trial, every trial, tables, files and plots.

A :class:`Result` is made of the Experiment and its Trial objects and stays as it is when the world moves on. It starts nothing and
reads nothing but curves, which are fetched when asked for. The libraries behind tables and figures are loaded when they are used.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from kuttab.api import experiment as experiments
from kuttab.api import history, trial
from kuttab.api.history import TrialState
from kuttab.api.metrics import Row
from kuttab.base import clock, errors
from kuttab.ports.observations import TrialKey
from kuttab.rules import metric_values, trial_state
from kuttab.sdk import importance, objectives, plots, report, search, tables, typed

ReadRows = Callable[[TrialKey], Sequence[Row]]
"""Every metric row of a trial, in the order of arrival."""

Curve = tuple[tuple[int, float], ...]
"""(index of the report, value): reports of one metric that are finite numbers."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial.

    ``number`` is its place in the experiment, from 0. ``parameters`` are Python values: int, float, or what the space listed.
    ``value`` is the objective by its strategy, None when there is none (it may be NaN or infinite); ``metrics`` holds all metrics the
    experiment names, numbers where they are numbers. ``reason`` classes a failure (``UserError``, ``OutOfMemory``,
    ``DeadlineExceeded``, ``NonFinite``, ``Infrastructure``, ``Cancelled``), ``message`` tells it. ``duration`` is in seconds;
    ``texts`` are the assignments as the trial was given them.
    """

    number: int
    name: str
    parameters: dict[str, Any]
    state: TrialState
    reason: str = ""
    message: str = ""
    value: float | None = None
    metrics: dict[str, float | str] = field(default_factory=dict)
    start: datetime | None = None
    end: datetime | None = None
    texts: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    key: TrialKey | None = field(default=None, repr=False, compare=False)
    read: ReadRows | None = field(default=None, repr=False, compare=False)
    metric: str = field(default="", repr=False, compare=False)

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None while it runs."""
        return None if self.start is None or self.end is None else (self.end - self.start).total_seconds()

    @property
    def usable(self) -> bool:
        """Whether it finished, or was stopped early, with a finite objective."""
        return (
            self.state in (TrialState.SUCCEEDED, TrialState.EARLY_STOPPED)
            and self.value is not None
            and math.isfinite(self.value)
        )

    @property
    def curve(self) -> Curve:
        """What it reported of the objective while it ran; empty when nothing is stored."""
        return self.curves().get(self.metric, ())

    def curves(self) -> dict[str, Curve]:
        """What it reported while it ran, by metric. Reads the observation log each time."""
        if self.read is None or self.key is None:
            return {}
        found: dict[str, list[tuple[int, float]]] = {}
        seen: dict[str, int] = {}
        for row in self.read(self.key):
            index = seen[row.metric] = seen.get(row.metric, -1) + 1
            number = metric_values.finite(row.value)
            if number is not None:
                found.setdefault(row.metric, []).append((index, number))
        return {metric: tuple(points) for metric, points in found.items()}


@dataclass(frozen=True, slots=True)
class Best:
    """The best trial: its parameters, the objective's value, all its metrics, and the trial itself."""

    parameters: dict[str, Any]
    value: float
    metrics: dict[str, float | str]
    trial: TrialResult


@dataclass(frozen=True, repr=False)
class Result:
    """An experiment's outcome; made by :meth:`of`."""

    experiment: experiments.Experiment
    trials: tuple[TrialResult, ...] = ()

    @classmethod
    def of(
        cls,
        experiment: experiments.Experiment,
        trials: Iterable[trial.Trial],
        *,
        space: Mapping[str, search.Dimension] | None = None,
        read: ReadRows | None = None,
    ) -> Result:
        """The outcome of an experiment.

        ``space`` gives categorical values back with the Python types the user listed (without it they are text, as in a
        manifest); ``read`` fetches the metric rows behind ``trial.curve``.
        """
        types = typed.types_of(experiment, space)
        found = [_trial(item, types, read) for item in trials]
        placed = sorted((item for item in found if item.number >= 0), key=lambda item: (item.number, item.name))
        loose = sorted((item for item in found if item.number < 0), key=lambda item: (item.start is None, item.name))
        after = max((item.number for item in placed), default=-1) + 1
        return cls(experiment, (*placed, *(_numbered(item, after + index) for index, item in enumerate(loose))))

    @cached_property
    def _shares(self) -> dict[int, dict[str, float]]:
        return {}

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.name

    @cached_property
    def objectives(self) -> tuple[objectives.Objective, ...]:
        """Metric and direction of each objective, the experiment's own first."""
        return objectives.of(self.experiment)

    @property
    def metric(self) -> str:
        """Name of the first objective."""
        return self.objectives[0].metric

    @property
    def maximize(self) -> bool:
        """Whether more is better."""
        return self.objectives[0].maximize

    @cached_property
    def usable(self) -> tuple[TrialResult, ...]:
        """Trials with a finite objective, by number."""
        return tuple(item for item in self.trials if item.usable)

    @cached_property
    def best(self) -> Best:
        """The best trial by the first objective, the earliest of equals. Raises NotFoundError when no trial has measured it."""
        if not self.usable:
            raise errors.NotFoundError(f"no trial of {self.name} has measured {self.metric}{self._excuse()}")
        sign = -1.0 if self.maximize else 1.0
        top = min(self.usable, key=lambda item: sign * (item.value or 0.0))
        assert top.value is not None
        return Best(top.parameters, top.value, top.metrics, top)

    @property
    def best_trials(self) -> tuple[TrialResult, ...]:
        """The trials that no other betters: all of the Pareto front with several objectives, else the best one. By number."""
        if len(self.objectives) == 1:
            return (self.best.trial,) if self.usable else ()
        return objectives.front(self.usable, self.objectives)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the space, then what else trials were given."""
        names = dict.fromkeys(spec.name for spec in self.experiment.spec.parameters or ())
        for item in self.trials:
            names.update(dict.fromkeys(item.parameters))
        return tuple(names)

    def counts(self) -> dict[TrialState, int]:
        """How many trials are in each state that occurs."""
        found: dict[TrialState, int] = {}
        for item in self.trials:
            found[item.state] = found.get(item.state, 0) + 1
        return found

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in self.counts().items()) or "no trials"
        best = f", best {self.metric}={self.best.value:.6g} {self.best.parameters}" if self.usable else ""
        return f"<Result of {self.name}: {counts}{best}>"

    def importance(self, *, seed: int = 0) -> dict[str, float]:
        """The share of the objective's variance that each parameter explains, greatest first; see :mod:`kuttab.sdk.importance`."""
        if seed not in self._shares:
            self._shares[seed] = importance.importance(self, seed=seed)
        return dict(self._shares[seed])

    # Tables and files.

    def to_pandas(self) -> Any:
        """A pandas DataFrame with a row per trial (needs ``kuttab[pandas]``)."""
        return tables.frame(self)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a row per trial. What a spreadsheet would take for a formula gets a quote in front."""
        tables.write_csv(self, path)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write experiment, best and trials as one JSON document."""
        tables.write_json(self, path)

    def to_optuna(self, storage: str | None = None, name: str | None = None) -> Any:
        """Write a new study of that name (default: ours) to an Optuna storage URL, None for memory; the study (``kuttab[optuna]``)."""
        from kuttab.sdk import exchange_optuna  # noqa: PLC0415 - an extra

        return exchange_optuna.export(self, storage, name)

    def to_mlflow(self, tracking_uri: str, experiment: str | None = None) -> str:
        """Write a run with a nested run per trial to MLflow; the id of the outer run (``kuttab[mlflow]``)."""
        from kuttab.sdk import exchange_mlflow  # noqa: PLC0415 - an extra

        return exchange_mlflow.export(self, tracking_uri, experiment)

    # Plots.

    def plot(self, kind: str, **options: Any) -> Any:
        """A Plotly figure (needs ``kuttab[plots]``): history, parallel, slice, contour, importance, curves, timeline or edf.

        ``contour`` takes ``parameters=(x, y)``, ``curves`` takes ``metric``. Raises BadInputError for an unknown kind.
        """
        return plots.figure(plots.plot_data(kind, self, **options))

    def save_plot(self, kind: str, path: str | os.PathLike[str], **options: Any) -> None:
        """Write the same plot as a file: ``.svg`` and ``.html`` need nothing else, ``.png`` needs ``kuttab[plots]``."""
        plots.draw(plots.plot_data(kind, self, **options), path)

    def save_report(self, path: str | os.PathLike[str]) -> None:
        """Write one self-contained HTML page: conditions, best trial, plots, every trial."""
        report.write(self, path)

    def _repr_html_(self) -> str:
        """What a notebook shows: counts, the best trial, the history."""
        return report.summary(self)

    def _excuse(self) -> str:
        failed = next((item for item in reversed(self.trials) if item.reason or item.message), None)
        if failed is None:
            return ""
        return f"; the last failure is {failed.name}: {failed.reason or failed.state} {failed.message}".rstrip()


def _trial(subject: trial.Trial, types: Mapping[str, typed.Read], read: ReadRows | None) -> TrialResult:
    record = trial_state.record(subject)
    objective = subject.spec.objective or experiments.ObjectiveSpec()
    bad = record.state not in (TrialState.SUCCEEDED, TrialState.PENDING, TrialState.RUNNING)
    last = subject.status.conditions[-1] if bad and subject.status.conditions else None
    return TrialResult(
        number=record.slot,
        name=record.name,
        parameters=typed.values(record.assignments, types),
        state=record.state,
        reason=record.reason,
        message=last.message if last is not None else "",
        value=record.objective,
        metrics=_metrics(record, objective),
        start=_moment(record.start_time),
        end=_moment(record.completion_time),
        texts=record.assignments,
        key=TrialKey(subject.uid, subject.name, subject.namespace),
        read=read,
        metric=objective.objective_metric_name,
    )


def _numbered(item: TrialResult, number: int) -> TrialResult:
    kept = {name: getattr(item, name) for name in TrialResult.__dataclass_fields__}
    return TrialResult(**{**kept, "number": number})


def _metrics(record: history.TrialRecord, objective: experiments.ObjectiveSpec) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    for metric in record.metrics:
        text = getattr(metric, objective.strategy(metric.name), metric.latest)
        if text in ("", "unavailable"):
            text = metric.latest
        if text in ("", "unavailable"):
            continue
        number = metric_values.number(text)
        found[metric.name] = text if number is None else number
    return found


def _moment(text: str) -> datetime | None:
    """A time; None when there is none, or when another system wrote something else."""
    try:
        return clock.parse_rfc3339(text) if text else None
    except ValueError:
        return None
