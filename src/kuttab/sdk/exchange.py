"""Histories from elsewhere, mapped to the space of an experiment: the past of a warm start.

A source (a result, a table, a study of Optuna) becomes :class:`Row` values; :func:`prior` maps them to the space row by row, and says of
each row that cannot be used why. :func:`attach` makes the ConfigMap that keeps them, so that a restart finds them again. Nothing is
guessed: a value is used as it is or its row is refused.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kuttab.api import experiment as experiments
from kuttab.api import history, kinds, meta, space
from kuttab.api.history import MetricValues, TrialRecord, TrialState
from kuttab.base import errors
from kuttab.rules import prior as priors
from kuttab.rules import spreadsheet
from kuttab.sdk import objectives, results, search

VOID = ("Infrastructure", "Cancelled")
"""Failures that say nothing about the parameters."""

SIZE_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Row:
    """A trial from elsewhere: where it stands, its parameters, its metrics, how it ended.

    ``exact`` means that every entry of ``parameters`` was a parameter of its search, so that one too many matters.
    """

    where: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    state: TrialState = TrialState.SUCCEEDED
    reason: str = ""
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """Rows with what is known of their objectives; no objectives means unknown, and then names decide."""

    name: str
    rows: tuple[Row, ...]
    objectives: tuple[objectives.Objective, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that cannot be used, and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class Prior:
    """What an experiment starts from: ``records`` in the order of the source, ``refused`` rows, ``left_out`` usable rows beyond the
    bound of :data:`kuttab.rules.prior.MOST`."""

    records: tuple[TrialRecord, ...] = ()
    refused: tuple[Refusal, ...] = field(default=())
    left_out: int = 0

    def told(self) -> str:
        """One line for people."""
        parts = [f"{len(self.records)} earlier results are used"]
        if self.left_out:
            parts.append(f"{self.left_out} more are left out")
        if self.refused:
            first = self.refused[0]
            parts.append(f"{len(self.refused)} are refused, the first ({first.where}): {first.reason}")
        return "; ".join(parts)


Load = Callable[[str], results.Result]
"""The result of an experiment by its name."""


def source_of(given: Any, load: Load | None = None) -> Source:
    """What ``warm_start`` may be: a Result, a Source, an Optuna study, the path of a CSV file, or the name of an experiment.

    Raises BadInputError.
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, results.Result):
        return of_result(given)
    if isinstance(given, os.PathLike) or (isinstance(given, str) and given.lower().endswith(".csv")):
        return of_csv(given)
    if isinstance(given, str) and load is not None:
        return of_result(load(given))
    if type(given).__module__.partition(".")[0] == "optuna":
        from kuttab.sdk import exchange_optuna  # noqa: PLC0415 - an extra

        return exchange_optuna.source(given)
    raise errors.BadInputError(
        f"warm_start: expected a Result, the name of an experiment, a CSV file or an Optuna study, got {type(given).__name__}"
    )


def of_result(result: results.Result) -> Source:
    """The trials of a result."""
    rows = []
    for item in result.trials:
        metrics = {name: value for name, value in item.metrics.items() if isinstance(value, float)}
        if item.value is not None:
            metrics[result.metric] = item.value
        rows.append(Row(item.name, item.texts, metrics, item.state, item.reason))
    return Source(result.name, tuple(rows), result.objectives)


def of_csv(path: str | os.PathLike[str]) -> Source:
    """The rows of a CSV file with a header: ours (:meth:`Result.to_csv`), Optuna's (``params_x``, ``value``), or any table.

    Which columns are parameters is known when the space is: others are ignored. Raises BadInputError naming the file.
    """
    target = Path(path)
    try:
        if target.stat().st_size > SIZE_LIMIT:
            raise errors.BadInputError(f"{target}: is larger than {SIZE_LIMIT // 2**20} MiB; give fewer rows")
        with target.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows = [_table_row(f"{target.name}:{reader.line_num}", line) for line in reader]
            header = reader.fieldnames or ()
    except OSError as problem:
        raise errors.BadInputError(f"{target}: cannot be read: {problem.strerror}") from problem
    except (csv.Error, UnicodeDecodeError) as problem:
        raise errors.BadInputError(f"{target}: is no CSV file in UTF-8: {problem}") from problem
    if not header:
        raise errors.BadInputError(f"{target}: has no header line with names of parameters and metrics")
    return Source(target.name, tuple(rows))


def _table_row(where: str, line: Mapping[str | None, Any]) -> Row:
    cells: dict[str, str] = {}
    for name, text in line.items():
        if name is None or not isinstance(text, str) or text == "":
            continue  # a line longer or shorter than the header
        plain = name.removeprefix("parameter.").removeprefix("metric.")
        for prefix in ("params_", "user_attrs_"):
            plain = plain.removeprefix(prefix)
        cells[plain] = text[1:] if text.startswith("'") and text[1:2] in spreadsheet.FORMULA else text
    metrics = {name: number for name, text in cells.items() if (number := priors.number(text)) is not None}
    state = _STATES.get(cells.get("state", "").lower())
    if state is None:
        return Row(where, cells, metrics, TrialState.PENDING, f"has the unknown state {cells['state']!r}", exact=False)
    return Row(where, cells, metrics, state, cells.get("reason", ""), exact=False)


_STATES: dict[str, TrialState] = {
    **{str(state).lower(): state for state in TrialState},
    "": TrialState.SUCCEEDED, "complete": TrialState.SUCCEEDED, "pruned": TrialState.EARLY_STOPPED, "fail": TrialState.FAILED,
    "waiting": TrialState.PENDING,
}  # fmt: skip


def prior(
    subject: experiments.Experiment, source: Source, dimensions: Mapping[str, search.Dimension] | None = None
) -> Prior:
    """The rows of a source as results over the experiment's space.

    Raises BadInputError when no row can be used, with the first reason, and when the source's direction is another one.
    """
    wanted = objectives.of(subject)
    _check_directions(source, wanted)
    readers = [_Reader(spec, (dimensions or {}).get(spec.name)) for spec in subject.spec.parameters or ()]
    if not readers:
        raise errors.BadInputError("warm_start: architecture search cannot start from earlier results")
    records, refused = [], []
    for row in source.rows:
        try:
            records.append(_record(row, readers, wanted, source))
        except ValueError as problem:
            refused.append(Refusal(row.where, str(problem)))
    if not records:
        reason = f"{refused[0].where}: {refused[0].reason}" if refused else "it has no rows"
        raise errors.BadInputError(f"warm_start: no row of {source.name} can be used; {reason}")
    kept = priors.bounded(records, maximize=wanted[0].maximize)
    return Prior(tuple(kept), tuple(refused), len(records) - len(kept))


def attach(subject: experiments.Experiment, found: Prior) -> tuple[experiments.Experiment, meta.Resource]:
    """The experiment with ``spec.warmStart``, and the ConfigMap to create before it.

    The ConfigMap's name depends on its content, so creating it again after a crash finds the same one. Raises BadInputError when the
    results are too many bytes.
    """
    text = priors.write(found.records)
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    name = f"{subject.name[:200]}-prior-{digest}"
    document = {
        "apiVersion": kinds.CONFIG_MAP.api_version,
        "kind": kinds.CONFIG_MAP.kind,
        "metadata": {"name": name, "namespace": subject.namespace or "default"},
        "data": {priors.KEY: text},
    }
    reference = experiments.WarmStart(config_map_name=name)
    changed = meta.evolve(subject, spec=meta.evolve(subject.spec, warm_start=reference))
    return changed, meta.Resource.model_validate(document)


def _check_directions(source: Source, wanted: Sequence[objectives.Objective]) -> None:
    known = {item.metric: item.maximize for item in source.objectives}
    for item in wanted:
        if item.metric in known and known[item.metric] != item.maximize:
            way, other = ("maximizes", "minimizes") if known[item.metric] else ("minimizes", "maximizes")
            raise errors.BadInputError(
                f"warm_start: {source.name} {way} {item.metric}, this experiment {other} it; its results would mislead"
            )


def _record(
    row: Row, readers: Sequence[_Reader], wanted: Sequence[objectives.Objective], source: Source
) -> TrialRecord:
    """A row as a record; raises ValueError with the reason why it cannot be one."""
    if row.state in (TrialState.PENDING, TrialState.RUNNING):
        raise ValueError(row.reason or "has not finished")
    if row.state is TrialState.KILLED or row.reason in VOID:
        raise ValueError(f"ended by {row.reason or row.state}, which says nothing about its parameters")
    names = {reader.name for reader in readers}
    extra = sorted(name for name in row.parameters if name not in names) if row.exact else []
    if extra:
        raise ValueError(f"has the parameter {extra[0]!r}, which this space lacks")
    values = tuple(reader.text(row.parameters) for reader in readers)
    metrics = tuple(_metric(row, item.metric, source) for item in wanted)
    state = row.state
    if state in (TrialState.METRICS_UNAVAILABLE, TrialState.FAILED):
        return TrialRecord(
            row.where, "", -1, TrialState.FAILED, tuple(r.name for r in readers), values, reason=row.reason
        )
    if any(metric is None for metric in metrics):
        missing = next(item.metric for item, metric in zip(wanted, metrics, strict=True) if metric is None)
        raise ValueError(f"has no value of {missing}")
    measured = tuple(
        MetricValues(item.metric, repr(value), repr(value), repr(value))
        for item, value in zip(wanted, metrics, strict=True)
        if value is not None
    )
    return history.TrialRecord(
        row.where, "", -1, state, tuple(r.name for r in readers), values, metrics[0], measured, row.reason
    )


def _metric(row: Row, name: str, source: Source) -> float | None:
    """A metric by its name; the only objective of a source that names it otherwise (``value``) will do as well."""
    if name in row.metrics:
        return row.metrics[name]
    if not source.objectives and "value" in row.metrics:
        return row.metrics["value"]
    if len(source.objectives) == 1 and source.objectives[0].metric in ("value", "objective"):
        return row.metrics.get(source.objectives[0].metric)
    return None


class _Reader:
    """Turns a foreign value into the text of one parameter."""

    def __init__(self, spec: space.ParameterSpec, dimension: search.Dimension | None) -> None:
        self.name = spec.name
        self._type = spec.parameter_type
        self._feasible = spec.feasible_space
        self._dimension = dimension

    def text(self, given: Mapping[str, Any]) -> str:
        """The text; raises ValueError when there is none that means the same."""
        if self.name not in given:
            only = self._only()
            if only is None:
                raise ValueError(f"lacks the parameter {self.name!r}")
            return only
        value = given[self.name]
        if self._feasible.choices:
            return self._choice(value)
        number = priors.number(str(value)) if not isinstance(value, bool) else None
        if number is None or not math.isfinite(number):
            raise ValueError(f"{self.name} = {value!r} is no finite number")
        if self._type == space.ParameterType.INT and number != int(number):
            raise ValueError(f"{self.name} = {value!r} is no whole number")
        low, high = float(self._feasible.min), float(self._feasible.max)
        if not low <= number <= high:
            raise ValueError(f"{self.name} = {value!r} is not in {self._feasible.min} .. {self._feasible.max}")
        return str(int(number)) if self._type == space.ParameterType.INT else repr(number)

    def _choice(self, value: Any) -> str:
        choices = self._feasible.choices or []
        if self._dimension is not None and not isinstance(value, str):
            try:
                return self._dimension.write(value)
            except ValueError as problem:
                raise ValueError(f"{self.name} = {problem}") from problem
        text = str(value).lower() if isinstance(value, bool) and str(value) not in choices else str(value)
        if text in choices:
            return text
        number = priors.number(text)
        for choice in choices:
            if number is not None and priors.number(choice) == number:
                return choice
            if choice in ("true", "false") and text.lower() == choice:
                return choice
        raise ValueError(
            f"{self.name} = {value!r} is none of {', '.join(choices[:8])}{', ...' if len(choices) > 8 else ''}"
        )

    def _only(self) -> str | None:
        """The value of a parameter that has one only."""
        if self._feasible.choices:
            return self._feasible.choices[0] if len(self._feasible.choices) == 1 else None
        return self._feasible.min if self._feasible.min and self._feasible.min == self._feasible.max else None


def refusals(found: Prior, most: int = 20) -> Iterable[str]:
    """A line per refused row, at most so many."""
    for item in found.refused[:most]:
        yield f"{item.where}: {item.reason}"
    if len(found.refused) > most:
        yield f"... and {len(found.refused) - most} more"
