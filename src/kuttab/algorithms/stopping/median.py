"""``medianstop``: a trial whose best value is worse than what the median trial gave on average.

For every ended trial take the mean of its objective over its reports so far; the bar is the median of these running averages.
A trial stops when its best value so far is strictly worse. (The rule of Golovin et al., "Google Vizier: A Service for Black-Box
Optimization", 2017.) Katib's service of the same name takes the mean of the averages, which one diverged trial moves without
limit; this one takes the true median, with two middle values their mean.

Trials that were stopped early count as far as they came: without them the bar would only ever be made of survivors. Failed and
killed trials, and averages of no finite value, do not count.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import ClassVar

from kuttab.algorithms import settings as settings_
from kuttab.algorithms.stopping import rule
from kuttab.algorithms.stopping.curves import Curve
from kuttab.api import suggestion


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(rule.Settings):
    """Settings of medianstop; names and defaults are Katib's."""

    min_trials_required: int = settings_.integer(3, "Ended trials needed before any trial is stopped.", at_least=1)
    start_step: int = settings_.integer(4, "Report (from 1) at which a trial is first judged.", at_least=1)


class Median(rule.StoppingRule):
    """See the module."""

    name = "medianstop"
    summary = "Stops a trial whose best value is worse than the median of running averages."
    Settings: ClassVar[type[rule.Settings]] = Settings

    def rules(self, finished: Sequence[Curve]) -> list[suggestion.EarlyStoppingRule]:
        """One bar: the median of the averages over the first ``start_step`` reports."""
        start = self.settings.start_step
        averages = [self.loss(c.average(start)) for c in finished if rule.comparable(c, start)]
        bar = self._median(averages)
        return [] if math.isnan(bar) else [self.bar(bar, start)]

    def decide(self, own: Curve, others: Sequence[Curve], reports: int) -> rule.Decision:
        """The best value so far against the median of the others' averages up to the same step."""
        if reports < self.settings.start_step:
            return rule.GO_ON
        step = own.step(reports)
        averages = []
        for other in others:
            until = rule.comparable_until(other, step)
            if until:
                averages.append(self.loss(other.average(until)))
        bar = self._median(averages)
        if math.isnan(bar):
            return rule.GO_ON
        return self.against(self.best_loss(own, reports), bar, reports, "the median of running averages")

    def _median(self, averages: list[float]) -> float:
        finite = [average for average in averages if math.isfinite(average)]
        if len(finite) < self.settings.min_trials_required:
            return math.nan
        return statistics.median_low(finite) / 2 + statistics.median_high(finite) / 2
