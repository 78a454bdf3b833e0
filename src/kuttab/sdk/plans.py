"""The arguments of ``kuttab.tune`` as an Experiment: everything checked, every error one line that names the argument.

It looks nothing up and runs nothing; whether the algorithm takes its settings, admission says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kuttab.api import experiment as experiments
from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.rules import observation
from kuttab.sdk import calls, search

NAMESPACE: Final = "default"
EXECUTORS: Final = ("process", "thread", "inline")
RETRIES: Final = {
    "user": "UserError", "oom": "OutOfMemory", "timeout": "DeadlineExceeded", "nan": "NonFinite", "infrastructure": "Infrastructure",
}  # fmt: skip
"""Outcome classes by the names that ``retry`` takes."""
DEFAULT_RETRY: Final = {"infrastructure": 2}
HISTORYLESS: Final = frozenset({"random", "grid", "sobol"})
"""Algorithms whose proposals depend on nothing but the slot, so that they may be asked for ahead."""
AHEAD: Final = 32


@dataclass(frozen=True)
class Plan:
    """What ``tune`` was asked for, checked."""

    space: Mapping[str, search.Dimension]
    objective_metric: str
    direction: str
    goal: float | None
    algorithm: str
    settings: Mapping[str, Any]
    early_stopping: str | Mapping[str, Any] | None
    max_trials: int | None
    max_failed: int | None
    parallel: int
    timeout: float | None
    trial_timeout: float | None
    seed: int | None
    retry: Mapping[str, int]
    executor: str
    reproducible: bool
    metrics: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        _check_space(self.space)
        if self.direction not in ("minimize", "maximize"):
            raise errors.BadInputError(f"direction: expected 'minimize' or 'maximize', got {self.direction!r}")
        if not _is_name(self.objective_metric):
            raise errors.BadInputError(f"objective_metric: expected a name, got {self.objective_metric!r}")
        self._check_counts()
        if self.goal is not None and not _is_number(self.goal):
            raise errors.BadInputError(f"goal: expected a finite number, got {self.goal!r}")
        if self.seed is not None and not _is_count(self.seed, 0):
            raise errors.BadInputError(f"seed: expected a whole number from 0, got {self.seed!r}")
        if self.executor not in EXECUTORS:
            raise errors.BadInputError(f"executor: expected one of {', '.join(EXECUTORS)}, got {self.executor!r}")
        if self.executor == "inline" and self.parallel != 1:
            message = f"parallel: executor='inline' runs one trial at a time, got parallel={self.parallel}"
            raise errors.BadInputError(message)
        if self.max_trials is None and self.timeout is None and self.goal is None:
            message = "max_trials: give max_trials, timeout or goal; without any of them it would never end"
            raise errors.BadInputError(message)
        _check_retry(self.retry)

    def _check_counts(self) -> None:
        given = {"parallel": self.parallel, "max_trials": self.max_trials, "max_failed": self.max_failed}
        for name, value in given.items():
            if not (_is_count(value, 1) or (value is None and name != "parallel")):
                raise errors.BadInputError(f"{name}: expected a whole number from 1, got {value!r}")
        for name, seconds in (("timeout", self.timeout), ("trial_timeout", self.trial_timeout)):
            if seconds is not None and not (_is_number(seconds) and seconds > 0):
                raise errors.BadInputError(f"{name}: expected seconds greater than 0, got {seconds!r}")

    def readers(self) -> dict[str, str | tuple[Sequence[str], Sequence[Any]]]:
        """How each parameter's text becomes the function's value."""
        return {
            name: (one.texts, one.values) if one.texts else "int" if one.type == "int" else "float"
            for name, one in self.space.items()
        }

    def experiment(self, name: str, function: str) -> experiments.Experiment:
        """The Experiment of that name, over the function that the node knows as ``function``."""
        spec = meta.evolve(
            experiments.ExperimentSpec(),
            parameters=search.specs(self.space),
            objective=self._objective(),
            algorithm=self._algorithm(),
            early_stopping=self._stopping(),
            trial_template=self._template(function),
            parallel_trial_count=self.parallel,
            max_trial_count=self.max_trials,
            max_failed_trial_count=self.max_failed,
            metrics_collector_spec=experiments.MetricsCollectorSpec(collector=experiments.CollectorSpec(kind="Push")),
            resume_policy=experiments.ResumePolicy.LONG_RUNNING.value,
            reproducible=True if self.reproducible else None,
            ask_ahead=AHEAD if self.algorithm in HISTORYLESS and self.early_stopping is None else None,
        )
        metadata = meta.ObjectMeta(name=name, namespace=NAMESPACE)
        return experiments.Experiment(
            api_version=experiments.Experiment.API_VERSION,
            kind=experiments.Experiment.KIND,
            metadata=metadata,
            spec=spec,
        )

    def _objective(self) -> experiments.ObjectiveSpec:
        return meta.evolve(
            experiments.ObjectiveSpec(),
            type=self.direction,
            goal=self.goal,
            objective_metric_name=self.objective_metric,
            additional_metric_names=[*self.metrics] or [observation.EVERY],
            metric_strategies=[experiments.MetricStrategy(name=self.objective_metric, value="latest")],
        )

    def _algorithm(self) -> experiments.AlgorithmSpec:
        given = dict(self.settings)
        if self.seed is not None:
            given.setdefault("random_state", self.seed)
        return meta.evolve(
            experiments.AlgorithmSpec(), algorithm_name=self.algorithm, algorithm_settings=_settings(given)
        )

    def _stopping(self) -> experiments.AlgorithmSpec | None:
        if self.early_stopping is None:
            return None
        if isinstance(self.early_stopping, str):
            return meta.evolve(experiments.AlgorithmSpec(), algorithm_name=_stopper(self.early_stopping))
        given = dict(self.early_stopping)
        name = given.pop("name", "")
        if not name:
            raise errors.BadInputError("early_stopping: expected a name, or a dict with 'name' and its settings")
        return meta.evolve(
            experiments.AlgorithmSpec(), algorithm_name=_stopper(str(name)), algorithm_settings=_settings(given)
        )

    def _template(self, function: str) -> experiments.TrialTemplate:
        spec: meta.Json = {"function": function, "executor": self.executor}
        if self.trial_timeout is not None:
            spec["timeoutSeconds"] = float(self.trial_timeout)
        retries = {RETRIES[name]: count for name, count in self.retry.items() if count}
        if retries:
            spec["retries"] = retries
        tree = {"apiVersion": kinds.FUNCTION_JOB.api_version, "kind": kinds.FUNCTION_JOB.kind, "spec": spec}
        return experiments.TrialTemplate(trial_spec=tree, trial_parameters=[], primary_container_name="function")


def default_name(function: calls.Function, suffix: str) -> str:
    """A name for an experiment without one."""
    word = re.sub(r"[^a-z0-9]+", "-", getattr(function, "__name__", "tune").lower()).strip("-")[:30] or "tune"
    return f"{word if word[0].isalpha() else 'tune'}-{suffix}"


def difference(found: experiments.Experiment, wanted: experiments.Experiment) -> str:
    """The argument in which a stored experiment differs from a wanted one, of those that cannot change; empty for the same search."""
    for argument, part in _PARTS.items():
        if part(found.spec) != part(wanted.spec):
            return argument
    return ""


def _objective_of(spec: experiments.ExperimentSpec) -> tuple[object, ...]:
    objective = spec.objective or experiments.ObjectiveSpec()
    return (objective.type, objective.objective_metric_name, objective.goal, objective.additional_metric_names)


def _space_of(spec: experiments.ExperimentSpec) -> list[tuple[object, ...]]:
    return [
        (
            p.name,
            p.parameter_type,
            p.feasible_space.min,
            p.feasible_space.max,
            p.feasible_space.step,
            p.feasible_space.choices,
        )
        for p in spec.parameters or ()
    ]


def _job_of(spec: experiments.ExperimentSpec) -> Mapping[str, Any]:
    template = spec.trial_template or experiments.TrialTemplate()
    found: Mapping[str, Any] = (template.trial_spec or {}).get("spec", {})
    return found


def _named(part: experiments.AlgorithmSpec | None) -> tuple[object, ...]:
    if part is None:
        return ()
    return (part.algorithm_name, sorted((setting.name, setting.value) for setting in part.algorithm_settings or ()))


_PARTS: Final[Mapping[str, Callable[[experiments.ExperimentSpec], object]]] = {
    "space": _space_of,
    "objective_metric, direction, goal or metrics": _objective_of,
    "algorithm, settings or seed": lambda spec: _named(spec.algorithm),
    "early_stopping": lambda spec: _named(spec.early_stopping),
    "trial_timeout": lambda spec: _job_of(spec).get("timeoutSeconds"),
    "retry": lambda spec: _job_of(spec).get("retries"),
    "reproducible": lambda spec: bool(spec.reproducible),
}


def _check_space(space: object) -> None:
    if not isinstance(space, Mapping):
        raise errors.BadInputError(
            f"space: expected a dict of name to kuttab.search dimension, got {type(space).__name__}"
        )
    if not space:
        raise errors.BadInputError("space: it is empty; give at least one parameter, such as search.double(0, 1)")
    for name in space:
        if not _is_name(name):
            raise errors.BadInputError(f"space: parameter names are text, got {name!r}")
    search.specs(space)


def _check_retry(retry: Mapping[str, int]) -> None:
    for name, count in retry.items():
        if name not in RETRIES:
            raise errors.BadInputError(f"retry: {name!r} is none of {', '.join(RETRIES)}")
        if not _is_count(count, 0):
            raise errors.BadInputError(f"retry[{name!r}]: expected a whole number from 0, got {count!r}")


def _settings(given: Mapping[str, Any]) -> list[experiments.Setting]:
    return [
        experiments.Setting(name=name, value=str(value).lower() if isinstance(value, bool) else str(value))
        for name, value in given.items()
    ]


def _stopper(name: str) -> str:
    return {"median": "medianstop"}.get(name, name)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)
