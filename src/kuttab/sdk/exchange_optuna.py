"""Studies of Optuna: a study as the source of a warm start, and a result as a study. An extra (``kuttab[optuna]``)."""

from __future__ import annotations

from typing import Any

from kuttab.api import space
from kuttab.api.history import TrialState
from kuttab.base import errors
from kuttab.sdk import exchange, objectives, results

try:
    import optuna
except ImportError as problem:
    raise errors.BadInputError("Optuna is not installed; install it with: pip install 'kuttab[optuna]'") from problem

METRICS = "kuttab_metrics"
"""The user attribute of a study in which the names of its objectives stand."""

_FROM = {
    "COMPLETE": TrialState.SUCCEEDED,
    "PRUNED": TrialState.EARLY_STOPPED,
    "FAIL": TrialState.FAILED,
    "RUNNING": TrialState.RUNNING,
    "WAITING": TrialState.PENDING,
}
_TO = {
    TrialState.SUCCEEDED: "COMPLETE",
    TrialState.EARLY_STOPPED: "PRUNED",
    TrialState.FAILED: "FAIL",
    TrialState.METRICS_UNAVAILABLE: "FAIL",
}


def load(storage: str, name: str) -> exchange.Source:
    """A study of a storage (``sqlite:///study.db``) as a source. Raises BadInputError when there is none of that name."""
    try:
        return source(optuna.load_study(study_name=name, storage=storage))
    except KeyError as problem:
        raise errors.BadInputError(f"{storage} has no study named {name}") from problem


def source(study: Any) -> exchange.Source:
    """A study as a source. Its objectives are named by us, by ``study.metric_names``, else ``value`` and ``value_1`` ..."""
    given = (
        study.user_attrs.get(METRICS)
        or study.metric_names
        or [f"value_{i}" if i else "value" for i in range(len(study.directions))]
    )
    found = [objectives.Objective(m, d.name == "MAXIMIZE") for m, d in zip(given, study.directions, strict=True)]
    rows = []
    for trial in study.get_trials(deepcopy=False):
        values = trial.values or ([trial.intermediate_values[trial.last_step]] if trial.intermediate_values else [])
        metrics = {metric: float(value) for metric, value in zip(given, values, strict=False)}
        rows.append(
            exchange.Row(f"{study.study_name}#{trial.number}", dict(trial.params), metrics, _FROM[trial.state.name])
        )
    return exchange.Source(study.study_name, tuple(rows), tuple(found))


def export(result: results.Result, storage: str | None, name: str | None = None) -> Any:
    """Write a result as a new study and return it. ``storage`` is an Optuna storage URL, None for memory.

    Trials keep their number as the user attribute ``kuttab_trial``; early stopped ones become PRUNED with their curve. Raises
    BadInputError when a study of that name is there, or when trials have values outside the space.
    """
    distributions = {spec.name: _distribution(spec) for spec in result.experiment.spec.parameters or ()}
    directions: Any = ["maximize" if item.maximize else "minimize" for item in result.objectives]
    try:
        study = optuna.create_study(storage=storage, study_name=name or result.name, directions=directions)
    except optuna.exceptions.DuplicatedStudyError as problem:
        raise errors.BadInputError(
            f"{storage} has a study named {name or result.name} already; give another name"
        ) from problem
    study.set_user_attr(METRICS, [item.metric for item in result.objectives])
    study.add_trials([_trial(item, result, distributions) for item in result.trials if item.state in _TO])
    return study


def _trial(item: results.TrialResult, result: results.Result, distributions: dict[str, Any]) -> Any:
    point = {name: _value(item.texts[name], item.parameters[name], d) for name, d in distributions.items()}
    state = optuna.trial.TrialState[_TO[item.state]]
    values = objectives.values(item, result.objectives)
    if state is optuna.trial.TrialState.COMPLETE and values is None:
        state = optuna.trial.TrialState.FAIL
    attributes = {"kuttab_trial": item.name, **({"kuttab_reason": item.reason} if item.reason else {})}
    try:
        return optuna.trial.create_trial(
            state=state,
            values=list(values) if values is not None and state is not optuna.trial.TrialState.FAIL else None,
            params=point,
            distributions=distributions,
            intermediate_values=dict(item.curve) if len(result.objectives) == 1 else {},
            user_attrs=attributes,
        )
    except ValueError as problem:
        raise errors.BadInputError(f"{item.name}: {problem}") from problem


def _distribution(spec: space.ParameterSpec) -> Any:
    feasible = spec.feasible_space
    log = feasible.distribution in (space.Distribution.LOG_UNIFORM, space.Distribution.LOG_NORMAL)
    if feasible.choices:
        return optuna.distributions.CategoricalDistribution(feasible.choices)
    if spec.parameter_type == space.ParameterType.INT:
        step = int(feasible.step or 1)
        return optuna.distributions.IntDistribution(
            int(feasible.min), int(feasible.max), log=log and step == 1, step=step
        )
    grid = float(feasible.step) if feasible.step and not log else None
    return optuna.distributions.FloatDistribution(float(feasible.min), float(feasible.max), log=log, step=grid)


def _value(text: str, value: Any, distribution: Any) -> Any:
    return text if isinstance(distribution, optuna.distributions.CategoricalDistribution) else value
