"""Metric rows to what a trial measured, and to the one value that decides.

Katib's rules (min, max and latest per metric, by text), with two of ours: what is no finite number is never a minimum or a maximum
(Katib's stick at a first NaN), and the latest value is the last by order, never by a clock. All of it is incremental: an
:class:`Accumulator` takes rows, or aggregates of rows, and never needs the series again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from kuttab.api import experiment, keys
from kuttab.api.metrics import Aggregate, Row
from kuttab.rules import metric_values

EMPTY: Final = Aggregate()
EVERY: Final = "*"
"""Among the additional metrics: every metric that was reported, for programs whose metrics nobody listed."""
EVERY_LIMIT: Final = 100


class Series:
    """One metric's series in short, and open for more."""

    __slots__ = ("_high", "_low", "count", "latest", "max", "min")

    def __init__(self, start: Aggregate = EMPTY) -> None:
        self.min, self.max, self.latest, self.count = start.min, start.max, start.latest, start.count
        self._low = metric_values.finite(start.min)
        self._high = metric_values.finite(start.max)

    def add(self, value: str) -> None:
        """Take one more value, the newest. Of equal values the earlier spelling stays."""
        self.count += 1
        self.latest = value
        number = metric_values.finite(value)
        if number is None:
            return
        if self._low is None or number < self._low:
            self.min, self._low = value, number
        if self._high is None or number > self._high:
            self.max, self._high = value, number

    def add_earlier(self, value: str) -> None:
        """Take a value that belongs before the latest one: a report that came late."""
        latest, known = self.latest, self.count > 0
        self.add(value)
        if known:
            self.latest = latest

    def extend(self, later: Aggregate) -> None:
        """Take a whole series that follows this one."""
        if later.count == 0:
            return
        low, high = metric_values.finite(later.min), metric_values.finite(later.max)
        if low is not None and (self._low is None or low < self._low):
            self.min, self._low = later.min, low
        if high is not None and (self._high is None or high > self._high):
            self.max, self._high = later.max, high
        self.latest = later.latest
        self.count += later.count

    def aggregate(self) -> Aggregate:
        """The series so far."""
        return Aggregate(self.min, self.max, self.latest, self.count)


class Accumulator:
    """All metrics of a trial, in the order in which they were first seen."""

    def __init__(self, start: Mapping[str, Aggregate] | None = None) -> None:
        self._series = {metric: Series(aggregate) for metric, aggregate in (start or {}).items()}

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows in order."""
        series = self._series
        for row in rows:
            found = series.get(row.metric)
            if found is None:
                found = series[row.metric] = Series()
            found.add(row.value)

    def extend(self, later: Mapping[str, Aggregate]) -> None:
        """Take the aggregates of rows that follow."""
        for metric, aggregate in later.items():
            self._series.setdefault(metric, Series()).extend(aggregate)

    def aggregates(self) -> dict[str, Aggregate]:
        """Metric name to its series in short."""
        return {metric: series.aggregate() for metric, series in self._series.items()}


def observation(objective: experiment.ObjectiveSpec, aggregates: Mapping[str, Aggregate]) -> experiment.Observation:
    """What a trial measured: an entry for the objective, each additional metric and each metric with a strategy, in that order.

    A metric that was never reported has ``unavailable`` everywhere; one that is not named by the objective is left out, unless
    :data:`EVERY` is among the additional ones.
    """
    strategies = (strategy.name for strategy in objective.metric_strategies or ())
    names = dict.fromkeys(name for name in (*objective.metric_names, *strategies) if name)
    if EVERY in names:
        del names[EVERY]
        names |= dict.fromkeys(list(aggregates)[:EVERY_LIMIT])
    return experiment.Observation(metrics=[_metric(name, aggregates.get(name, EMPTY)) for name in names])


def objective_text(objective: experiment.ObjectiveSpec, seen: experiment.Observation | None) -> str:
    """The objective's value by its strategy, as text; empty when there is none.

    When no finite number was reported, ``min`` and ``max`` fall back to the latest text, as in Katib.
    """
    name = objective.objective_metric_name
    found = next((metric for metric in (seen.metrics if seen else None) or () if metric.name == name), None)
    if found is None:
        return ""
    strategy = objective.strategy(name)
    chosen = {"min": found.min, "max": found.max}.get(strategy, found.latest)
    for text in (chosen, found.latest):
        if text and text != keys.UNAVAILABLE:
            return text
    return ""


def objective_value(objective: experiment.ObjectiveSpec, seen: experiment.Observation | None) -> float | None:
    """The same as a number: None when there is none (text such as a genotype, or nothing); it may be NaN or infinite."""
    return metric_values.number(objective_text(objective, seen))


def available(objective: experiment.ObjectiveSpec, seen: experiment.Observation | None) -> bool:
    """Whether the objective was reported at all, as a number or as text."""
    return bool(objective_text(objective, seen))


def _metric(name: str, series: Aggregate) -> experiment.Metric:
    missing = keys.UNAVAILABLE
    return experiment.Metric(
        name=name, latest=series.latest or missing, max=series.max or missing, min=series.min or missing
    )
