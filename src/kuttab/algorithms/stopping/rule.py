"""What an early-stopping rule is, and the rules by name. Read this before writing one.

A rule judges curves of the objective (:mod:`kuttab.algorithms.stopping.curves`) and is pure: no clock, no randomness, no memory
between calls. It comes in two forms, and a rule that cannot say something in one of them says nothing there:

* ``rules(finished)``: bars handed to a trial when it is created, which its metrics collector applies on its own
  (:mod:`kuttab.rules.earlystop`). That is all Katib has. A bar counts *reports*: start step n means the n-th report.
* ``decide(own, others, reports)``: a live judgement of a running trial at its report number ``reports``, which may look at what
  the others had reported *by the same step*.

Ending a trial, and who asks when, is not decided here.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from kuttab.algorithms import settings as settings_
from kuttab.algorithms.stopping.curves import Curve
from kuttab.api import experiment, suggestion
from kuttab.api.history import TrialState
from kuttab.base import errors

PATH: Final = "spec.earlyStopping"

_RULES: Final = {
    "asha": ("rungs:Rungs", "Successive halving on the fly: at each rung only the best share goes on."),
    "medianstop": ("median:Median", "Stops a trial whose best value is worse than the median of running averages."),
    "patience": ("patience:Patience", "Stops a trial that has not improved for some reports."),
    "percentile": ("percentile:Percentile", "Stops a trial that is not among the best share at its step."),
    "threshold": ("threshold:Threshold", "Stops a trial that misses a target, goes beyond a limit or diverges."),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(settings_.Settings):
    """Base of the rules' settings. Rules draw nothing, so there is no seed."""

    random_state: None = dataclasses.field(default=None, init=False)  # takes the base's setting away


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Whether to stop, and why, in a sentence for people."""

    stop: bool = False
    reason: str = ""


GO_ON: Final = Decision()


class StoppingRule:
    """Base of every rule: one metric, one direction, one set of settings."""

    name: ClassVar[str]
    summary: ClassVar[str]
    Settings: ClassVar[type[Settings]] = Settings

    def __init__(self, metric: str, *, maximize: bool, settings: Any) -> None:
        self.metric = metric
        self.maximize = maximize
        self.settings = settings

    @classmethod
    def check(cls, settings: Any) -> list[errors.Problem]:  # noqa: ARG003 - for subclasses
        """What is wrong with settings whose types and ranges are right."""
        return []

    def rules(self, finished: Sequence[Curve]) -> list[suggestion.EarlyStoppingRule]:
        """Bars for a new trial, all of which must be met to stop it; ``finished`` are curves of trials that have ended."""
        raise NotImplementedError

    def decide(self, own: Curve, others: Sequence[Curve], reports: int) -> Decision:
        """Judge a trial at its report number ``reports`` (from 1). Reports of ``own`` after that are not looked at."""
        raise NotImplementedError

    # For subclasses.

    def loss(self, value: float) -> float:
        """The value turned so that less is better."""
        return -value if self.maximize else value

    def best_loss(self, curve: Curve, reports: int) -> float:
        """The best finite value of the first reports as a loss; NaN when there is none."""
        return self.loss(curve.best(reports, maximize=self.maximize))

    def bar(self, loss: float, start_step: int) -> suggestion.EarlyStoppingRule:
        """Stop when the best value so far, from report ``start_step`` on, is worse than this loss."""
        return suggestion.EarlyStoppingRule(
            name=self.metric,
            value=repr(self.loss(loss) + 0.0),
            comparison="less" if self.maximize else "greater",
            start_step=start_step,
        )

    def against(self, best: float, bar: float, reports: int, of: str) -> Decision:
        """Stop when the best loss is missing or strictly worse than the bar; a tie goes on."""
        if math.isnan(best):
            return Decision(True, f"no finite {self.metric} in {reports} reports")
        if best <= bar:
            return GO_ON
        side = "below" if self.maximize else "above"
        shown = f"{self.loss(best):.6g} after {reports} reports is {side} {self.loss(bar):.6g}"
        return Decision(True, f"best {self.metric} {shown}, {of}")


def judge(rule: StoppingRule, own: Curve, others: Sequence[Curve], judged: int = 0) -> Decision:
    """The first decision to stop at any report after the first ``judged`` ones; to go on when there is none.

    For callers that read reports in batches: no report is skipped.
    """
    for reports in range(judged + 1, len(own) + 1):
        decision = rule.decide(own, others, reports)
        if decision.stop:
            return decision
    return GO_ON


def comparable(curve: Curve, reports: int) -> bool:
    """Whether an ended trial may be compared with at its report ``reports``.

    One that succeeded may, however short; one that was stopped early may as far as it came; no other may.
    """
    if curve.state is TrialState.SUCCEEDED:
        return len(curve) > 0
    return curve.state is TrialState.EARLY_STOPPED and len(curve) >= reports


def comparable_until(curve: Curve, step: float) -> int:
    """How many reports of an ended trial may be compared with at this step; 0 for none. The same rule as for reports."""
    needed = curve.reports_to(step) or len(curve) + 1
    return curve.reports_until(step) if comparable(curve, needed) else 0


# The rules by name.


def names() -> list[str]:
    """Every name that ``earlyStopping.algorithmName`` may have, sorted."""
    return sorted(_RULES)


def summaries() -> list[tuple[str, str]]:
    """Name and one line about each, sorted by name."""
    return [(name, _RULES[name][1]) for name in names()]


def load(name: str) -> type[StoppingRule]:
    """The class of that name. Raises NotFoundError for an unknown one, naming those that are known."""
    if name not in _RULES:
        near = difflib.get_close_matches(name, _RULES, n=1)
        hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(names())
        raise errors.NotFoundError(f"unknown early-stopping algorithm {name!r}; {hint}")
    module, _, attribute = _RULES[name][0].partition(":")
    found: type[StoppingRule] = getattr(importlib.import_module(f"kuttab.algorithms.stopping.{module}"), attribute)
    return found


def check(spec: experiment.AlgorithmSpec, max_trials: int | None = None, path: str = PATH) -> list[errors.Problem]:
    """Every problem of an earlyStopping section, each at its field path."""
    return _read(spec, max_trials, path)[2]


def make(spec: experiment.AlgorithmSpec, objective: experiment.ObjectiveSpec) -> StoppingRule:
    """The rule of an experiment; raises InvalidError with every problem of its earlyStopping section."""
    kind, settings, problems = _read(spec, None, PATH)
    if objective.type not in ("minimize", "maximize"):
        message = f"must be minimize or maximize, not {objective.type!r}"
        problems.append(errors.Problem("spec.objective.type", message, "FieldValueNotSupported"))
    if problems or kind is None:
        raise errors.InvalidError(problems, "early stopping")
    return kind(objective.objective_metric_name, maximize=objective.type == "maximize", settings=settings)


def _read(
    spec: experiment.AlgorithmSpec, max_trials: int | None, path: str
) -> tuple[type[StoppingRule] | None, Settings | None, list[errors.Problem]]:
    try:
        kind = load(spec.algorithm_name)
    except errors.NotFoundError as error:
        reason = "FieldValueNotSupported" if spec.algorithm_name else "FieldValueRequired"
        return None, None, [errors.Problem(f"{path}.algorithmName", error.message, reason)]
    at = f"{path}.algorithmSettings"
    given: Mapping[str, str] = {setting.name: setting.value for setting in spec.algorithm_settings or ()}
    listed = [setting.name for setting in spec.algorithm_settings or ()]
    problems = [
        errors.Problem(f"{at}[{index}].name", f"setting {name!r} is given twice", "FieldValueDuplicate")
        for index, name in enumerate(listed)
        if name in listed[:index]
    ]
    settings, found = kind.Settings.parse(given, at)
    problems += found
    if settings is not None:
        problems += kind.check(settings)
        if "min_trials_required" in given and max_trials is not None:
            problems += _never_acts(int(given["min_trials_required"]), max_trials, at)
    return kind, settings, problems


def _never_acts(required: int, max_trials: int, path: str) -> list[errors.Problem]:
    """The problem of a rule that waits for more ended trials than there can ever be."""
    if required <= max_trials:
        return []
    message = f"{required} ended trials are needed before the first stop, but maxTrialCount is {max_trials}"
    return [errors.Problem(f"{path}[min_trials_required]", message)]
