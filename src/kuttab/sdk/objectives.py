"""The objectives of an experiment as results see them: Katib's one, and the further ones of an algorithm for several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kuttab.algorithms import settings
from kuttab.api import experiment as experiments

if TYPE_CHECKING:
    from kuttab.sdk import results


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric and which way is better."""

    metric: str
    maximize: bool = False


def of(subject: experiments.Experiment) -> tuple[Objective, ...]:
    """Every objective, the experiment's own first; further ones are named by the setting ``additional_objectives``."""
    own = subject.spec.objective or experiments.ObjectiveSpec()
    found = [Objective(own.objective_metric_name, own.type == experiments.ObjectiveType.MAXIMIZE)]
    algorithm = subject.spec.algorithm or experiments.AlgorithmSpec()
    for setting in algorithm.algorithm_settings or ():
        if setting.name == "additional_objectives":
            further = settings.ObjectivesSettings(additional_objectives=setting.value).directions()
            found += [Objective(metric, direction < 0) for metric, direction in further]
    return tuple(found)


def values(item: results.TrialResult, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """The objectives of a trial, in the user's directions; None unless all are finite numbers."""
    found = []
    for index, objective in enumerate(objectives):
        value = item.value if index == 0 else item.metrics.get(objective.metric)
        if not isinstance(value, float) or not math.isfinite(value):
            return None
        found.append(value)
    return tuple(found)


def losses(item: results.TrialResult, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """The objectives turned so that less is better; None unless all are finite numbers."""
    found = values(item, objectives)
    if found is None:
        return None
    return tuple(-value if one.maximize else value for value, one in zip(found, objectives, strict=True))


def front(trials: Sequence[results.TrialResult], objectives: Sequence[Objective]) -> tuple[results.TrialResult, ...]:
    """The trials that no other one betters in every objective, by number; of equal ones all.

    O(n log n + n f) for a front of size f: in the order of the first objective only members of the front can beat a trial.
    """
    rated = [(point, item) for item in trials if (point := losses(item, objectives)) is not None]
    rated.sort(key=lambda pair: (pair[0], pair[1].number))
    kept: list[tuple[tuple[float, ...], results.TrialResult]] = []
    for point, item in rated:
        if not any(other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other, _ in kept):
            kept.append((point, item))
    return tuple(sorted((item for _, item in kept), key=lambda item: item.number))
