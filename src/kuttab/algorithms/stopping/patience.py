"""``patience``: a trial that no longer improves.

It looks at one trial alone: when the best value has not got better by more than ``min_delta`` over the last ``patience`` reports
together, the trial stops. A report that is no finite number is no improvement. A bar fixed before the trial starts cannot say
this, so there are no rules for a collector; the live form decides.
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
    """Settings of patience."""

    patience: int = settings_.integer(10, "Reports without improvement after which a trial stops.", at_least=1)
    min_delta: float = settings_.real(0.0, "Improvement that is not more than this is none.", at_least=0)
    start_step: int = settings_.integer(1, "Report (from 1) at which a trial is first judged.", at_least=1)


class Patience(rule.StoppingRule):
    """See the module."""

    name = "patience"
    summary = "Stops a trial that has not improved for some reports."
    Settings: ClassVar[type[rule.Settings]] = Settings

    def rules(self, finished: Sequence[Curve]) -> list[suggestion.EarlyStoppingRule]:  # noqa: ARG002
        """None: no bar can say this."""
        return []

    def decide(self, own: Curve, others: Sequence[Curve], reports: int) -> rule.Decision:  # noqa: ARG002
        """The best value now against the best value ``patience`` reports ago."""
        patience = self.settings.patience
        if reports < self.settings.start_step or reports <= patience:
            return rule.GO_ON
        before, now = self.best_loss(own, reports - patience), self.best_loss(own, reports)
        if math.isnan(now):
            return rule.Decision(True, f"no finite {self.metric} in {reports} reports")
        if math.isnan(before) or before - now > self.settings.min_delta:
            return rule.GO_ON
        shown = f"best {self.metric} is still {self.loss(now):.6g} after {reports} reports"
        return rule.Decision(True, f"{shown}: no improvement in the last {patience}")
