"""How the checker of invariants reads objects and recomputes what the code keeps: by the plainest means, and by none of the code's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kuttab.api import conditions, experiment, keys, meta, space, trial
from kuttab.ports.observations import Row
from kuttab.rules import trial_state

LISTS = (
    "pending_trial_list",
    "running_trial_list",
    "succeeded_trial_list",
    "failed_trial_list",
    "killed_trial_list",
    "early_stopped_trial_list",
    "metrics_unavailable_trial_list",
)


def runs(obj: trial.Trial) -> bool:
    """Whether it is running."""
    return trial_state.state(obj.status.conditions).value == "Running"


def owner(obj: meta.Object) -> str:
    """The uid of its controller; empty for a stranger."""
    reference = obj.metadata.controller
    return reference.uid if reference is not None else ""


def parallel(subject: experiment.Experiment) -> int:
    """How many trials may hold a slot."""
    return subject.spec.parallel_trial_count or 3


def true(items: Sequence[conditions.Condition] | None, types: Sequence[str]) -> list[str]:
    """Which of the types are true."""
    return [item.type for item in items or () if item.type in types and item.status == conditions.TRUE]


def job_ends(job: meta.Object) -> list[Any]:
    """The conditions that end a job."""
    found = job.section("status").get("conditions") or ()
    return [item for item in found if item["type"] in ("Complete", "Failed") and item["status"] == "True"]


def list_of(obj: trial.Trial) -> str:
    """The list of the experiment's status that names the trial."""
    state = trial_state.state(obj.status.conditions).value
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in state).lstrip("_") + "_trial_list"


def value(obj: trial.Trial) -> float | None:
    """What the objective's strategy makes of the observation, negative when more is better; None without a finite number."""
    objective, seen = obj.spec.objective, obj.status.observation
    assert objective is not None
    for metric in (seen.metrics if seen is not None else None) or ():
        if metric.name == objective.objective_metric_name:
            strategies = {item.name: item.value for item in objective.metric_strategies or ()}
            default = {"minimize": "min", "maximize": "max"}[objective.type]
            found = number(getattr(metric, strategies.get(metric.name, default)))
            return -found if found is not None and objective.type == "maximize" else found
    return None


def number(text: str) -> float | None:
    """The text as a finite number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def complete(obj: trial.Trial, rows: Sequence[Row]) -> bool:
    """Whether the observation is what the acknowledged rows say: least, greatest and last value of each metric that counts."""
    objective = obj.spec.objective
    assert objective is not None
    seen = {metric.name: metric for metric in (obj.status.observation or experiment.Observation()).metrics or ()}
    if objective.objective_metric_name not in seen:
        return False
    for name, metric in seen.items():
        texts = [row.value for row in rows if row.metric == name]
        numbers = [number for number in map(number, texts) if number is not None]
        if texts and metric.latest != texts[-1]:
            return False
        if numbers and (float(metric.min), float(metric.max)) != (min(numbers), max(numbers)):
            return False
        if not texts and metric.latest != keys.UNAVAILABLE:
            return False
    return True


def inside(parameter: space.ParameterSpec, text: str) -> bool:
    """Whether a value is one of the parameter's."""
    feasible = parameter.feasible_space
    if parameter.parameter_type in ("discrete", "categorical"):
        return text in (feasible.choices or ())
    value = number(text)
    if value is None or (parameter.parameter_type == "int" and not value.is_integer()):
        return False
    if feasible.step:
        steps = (value - float(feasible.min)) / float(feasible.step)
        if not math.isclose(steps, round(steps), abs_tol=1e-6):
            return False
    return float(feasible.min) <= value <= float(feasible.max)
