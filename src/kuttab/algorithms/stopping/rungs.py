"""``asha``: successive halving without waiting, on trials that run.

Rungs lie at the steps min_resource * eta^k. A trial that reaches a rung goes on when fewer than n/eta (rounded down, at least
one) of the n trials that have reached it so far, itself included, are strictly better there; else it stops. While fewer than eta
trials have reached a rung, all go on. (The stopping form of Li et al., "A System for Massively Parallel Hyperparameter Tuning",
2020.) Every trial that got there counts, whatever became of it; one without a finite value counts as the worst.

The search algorithm of the same name starts promoted trials anew with more resource; this rule needs no checkpoint, it ends the
others.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

from kuttab.algorithms import settings as settings_
from kuttab.algorithms.stopping import rule
from kuttab.algorithms.stopping.curves import Curve
from kuttab.api import suggestion
from kuttab.base import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(rule.Settings):
    """Settings of the rule asha."""

    min_resource: float = settings_.real(1.0, "Step of the first rung.", above=0)
    max_resource: float | None = settings_.real(
        None, "Step from which on nothing is judged; None means no end.", above=0, none=True
    )
    eta: float = settings_.real(
        3.0,
        "One of eta trials goes on at a rung; the next rung is eta times as far.",
        at_least=1.1,
        aliases=("reduction_factor",),
    )


class Rungs(rule.StoppingRule):
    """See the module."""

    name = "asha"
    summary = "Successive halving on the fly: at each rung only the best share goes on."
    Settings: ClassVar[type[rule.Settings]] = Settings

    @classmethod
    def check(cls, settings: Any) -> list[errors.Problem]:
        """There must be a rung below the end."""
        if settings.max_resource is None or settings.max_resource > settings.min_resource:
            return []
        message = f"must be greater than min_resource, which is {settings.min_resource:g}"
        return [errors.Problem(f"{rule.PATH}.algorithmSettings[max_resource]", message)]

    def rules(self, finished: Sequence[Curve]) -> list[suggestion.EarlyStoppingRule]:
        """The first rung as a bar, for trials that report once a step: the value that a new trial must reach there.

        Later rungs cannot be bars, because a trial stops only when all its bars are met.
        """
        bar = self._bar(finished, self.settings.min_resource)
        return [] if math.isnan(bar) or math.isinf(bar) else [self.bar(bar, math.ceil(self.settings.min_resource))]

    def decide(self, own: Curve, others: Sequence[Curve], reports: int) -> rule.Decision:
        """A judgement only at the report that reaches a rung; with several reached at once, at the last of them."""
        rung = self._reached(own.step(reports - 1), own.step(reports))
        if rung is None:
            return rule.GO_ON
        bar = self._bar(others, rung)
        if math.isnan(bar):
            return rule.GO_ON
        if math.isinf(bar) and math.isnan(self.best_loss(own, reports)):
            return rule.GO_ON  # a tie with others that have no value either
        of = f"what the best 1/{self.settings.eta:g} have at rung {rung:g}"
        return self.against(self.best_loss(own, reports), bar, reports, of)

    def _reached(self, before: float, now: float) -> float | None:
        """The last rung in (before, now]."""
        end = math.inf if self.settings.max_resource is None else self.settings.max_resource
        rung, reached = self.settings.min_resource, None
        while rung <= now and rung < end:
            if rung > before:
                reached = rung
            rung *= self.settings.eta
        return reached

    def _bar(self, others: Sequence[Curve], rung: float) -> float:
        """The loss at the rung that is still good enough for one more trial; NaN while too few got there."""
        losses = []
        for other in others:
            reports = other.reports_to(rung)
            if reports:
                best = self.best_loss(other, reports)
                losses.append(math.inf if math.isnan(best) else best)
        count = len(losses) + 1
        eta: float = self.settings.eta
        if count < eta:
            return math.nan
        best = max(1, math.floor(count / eta))
        return sorted(losses)[best - 1]
