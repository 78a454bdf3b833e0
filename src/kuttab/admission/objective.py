"""The objective: direction, goal, and the names of metrics."""

from __future__ import annotations

import math
import unicodedata

from kuttab.admission.report import TOO_LONG, TOO_MANY, Report, show
from kuttab.api import experiment

PATH = "spec.objective"
MAX_NAME = 128
MAX_ADDITIONAL = 64
STRATEGIES = ("min", "max", "latest")
_ABSURD = 1e300


def check(objective: experiment.ObjectiveSpec | None, report: Report) -> None:
    """All rules of ``spec.objective``."""
    if objective is None:
        report.required(PATH)
        return
    types = [kind.value for kind in experiment.ObjectiveType]
    if not objective.type:
        report.required(f"{PATH}.type", "must be minimize or maximize")
    elif objective.type not in types:
        report.unsupported(f"{PATH}.type", objective.type, types)
    _check_goal(objective, report)
    if not objective.objective_metric_name:
        report.required(
            f"{PATH}.objectiveMetricName", "must be given: the name under which your program reports the objective"
        )
    else:
        _check_name(objective.objective_metric_name, f"{PATH}.objectiveMetricName", report)
    _check_additional(objective, report)
    _check_strategies(objective, report)


def _check_goal(objective: experiment.ObjectiveSpec, report: Report) -> None:
    goal = objective.goal
    if goal is None:
        return
    if not math.isfinite(goal):
        report.refuse(f"{PATH}.goal", "must be a finite number; leave it out to have no goal")
    elif (goal >= _ABSURD and objective.type == "minimize") or (goal <= -_ABSURD and objective.type == "maximize"):
        report.warn(
            f"{PATH}.goal", f"{goal:g} is reached by any value, so the first finished trial ends the experiment"
        )


def _check_name(name: str, path: str, report: Report) -> None:
    if len(name) > MAX_NAME:
        report.refuse(path, f"{show(name)} has {len(name)} characters; at most {MAX_NAME} are allowed", TOO_LONG)
    elif any(unicodedata.category(letter)[0] == "C" or letter in "\u2028\u2029" for letter in name):
        report.refuse(path, f"{show(name)} holds control or invisible characters")
    elif name != name.strip():
        report.refuse(path, f"{show(name)} begins or ends with a blank, so no reported name would equal it")


def _check_additional(objective: experiment.ObjectiveSpec, report: Report) -> None:
    names = objective.additional_metric_names or []
    path = f"{PATH}.additionalMetricNames"
    if len(names) > MAX_ADDITIONAL:
        report.refuse(path, f"has {len(names)} names; at most {MAX_ADDITIONAL} are allowed", TOO_MANY)
        return
    seen: set[str] = set()
    for index, name in enumerate(names):
        place = f"{path}[{index}]"
        if not name:
            report.required(place, "must not be empty")
        elif name == objective.objective_metric_name:
            report.refuse(place, f"{show(name)} is the objective itself; leave it out here")
        elif name in seen:
            report.duplicate(place, name)
        else:
            _check_name(name, place, report)
        seen.add(name)


def _check_strategies(objective: experiment.ObjectiveSpec, report: Report) -> None:
    known = [name for name in objective.metric_names if name][: MAX_ADDITIONAL + 1]
    seen: set[str] = set()
    for index, strategy in enumerate((objective.metric_strategies or [])[: 2 * MAX_ADDITIONAL]):
        path = f"{PATH}.metricStrategies[{index}]"
        if strategy.value not in STRATEGIES:
            report.unsupported(f"{path}.value", strategy.value, STRATEGIES)
        if strategy.name in seen:
            report.duplicate(f"{path}.name", strategy.name)
        elif strategy.name not in objective.metric_names:
            report.unsupported(f"{path}.name", strategy.name, known)
        seen.add(strategy.name)
