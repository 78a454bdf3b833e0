"""``percentile``: only trials among the best share of those before them go on.

The best value so far is compared with the others' best values by the same step (like with like, where ``medianstop`` compares a
best value with averages). The bar is the percentile by linear interpolation between the sorted values. A tie goes on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

from kuttab.algorithms import settings as settings_
from kuttab.algorithms.stopping import rule
from kuttab.algorithms.stopping.curves import Curve
from kuttab.api import suggestion


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(rule.Settings):
    """Settings of percentile."""

    percentile: float = settings_.real(25.0, "Share of trials, in percent, that is good enough.", above=0, below=100)
    min_trials_required: int = settings_.integer(3, "Ended trials needed before any trial is stopped.", at_least=1)
    start_step: int = settings_.integer(4, "Report (from 1) at which a trial is first judged.", at_least=1)
    interval: int = settings_.integer(1, "Reports from one judgement to the next.", at_least=1)


class Percentile(rule.StoppingRule):
    """See the module."""

    name = "percentile"
    summary = "Stops a trial that is not among the best share at its step."
    Settings: ClassVar[type[rule.Settings]] = Settings

    def rules(self, finished: Sequence[Curve]) -> list[suggestion.EarlyStoppingRule]:
        """One bar: the percentile of the best values of the first ``start_step`` reports."""
        start = self.settings.start_step
        bar = self._bar([self.best_loss(c, start) for c in finished if rule.comparable(c, start)])
        return [] if math.isnan(bar) else [self.bar(bar, start)]

    def decide(self, own: Curve, others: Sequence[Curve], reports: int) -> rule.Decision:
        """The best value so far against the percentile of the others' by the same step."""
        start = self.settings.start_step
        if reports < start or (reports - start) % self.settings.interval:
            return rule.GO_ON
        step = own.step(reports)
        bests = []
        for other in others:
            until = rule.comparable_until(other, step)
            if until:
                bests.append(self.best_loss(other, until))
        bar = self._bar(bests)
        if math.isnan(bar):
            return rule.GO_ON
        of = f"the best {self.settings.percentile:g} % of {len(bests)} trials"
        return self.against(self.best_loss(own, reports), bar, reports, of)

    def _bar(self, losses: list[float]) -> float:
        finite = sorted(loss for loss in losses if math.isfinite(loss))
        if len(finite) < self.settings.min_trials_required:
            return math.nan
        percentile: float = self.settings.percentile
        place = percentile / 100 * (len(finite) - 1)
        low = math.floor(place)
        high = min(low + 1, len(finite) - 1)
        share = place - low
        return finite[low] if finite[low] == finite[high] else finite[low] * (1 - share) + finite[high] * share
