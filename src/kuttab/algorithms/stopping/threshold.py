"""``threshold``: fixed bars, given by the user.

* ``target``: from report ``start_step`` on, the best value so far must be at least this good. A collector can apply it too.
* ``limit``: from report ``start_step`` on, no single value may be worse than this (a loss that explodes).
* ``stop_on_nan``: a value that is no finite number stops the trial at once.
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
    """Settings of threshold."""

    target: float | None = settings_.real(None, "The best value must be this good from start_step on.", none=True)
    limit: float | None = settings_.real(None, "No value may be worse than this from start_step on.", none=True)
    stop_on_nan: bool = settings_.flag(True, "Stop at once at a value that is no finite number.")
    start_step: int = settings_.integer(1, "Report (from 1) at which a trial is first judged.", at_least=1)


class Threshold(rule.StoppingRule):
    """See the module."""

    name = "threshold"
    summary = "Stops a trial that misses a target, goes beyond a limit or diverges."
    Settings: ClassVar[type[rule.Settings]] = Settings

    @classmethod
    def check(cls, settings: Any) -> list[errors.Problem]:
        """At least one of the three bars must be there."""
        if settings.target is not None or settings.limit is not None or settings.stop_on_nan:
            return []
        message = "give target or limit, or leave stop_on_nan true: otherwise no trial is ever stopped"
        return [errors.Problem(f"{rule.PATH}.algorithmSettings", message, "FieldValueRequired")]

    def rules(self, finished: Sequence[Curve]) -> list[suggestion.EarlyStoppingRule]:  # noqa: ARG002
        """The target as a bar; a collector cannot apply the others."""
        if self.settings.target is None:
            return []
        return [self.bar(self.loss(self.settings.target), self.settings.start_step)]

    def decide(self, own: Curve, others: Sequence[Curve], reports: int) -> rule.Decision:  # noqa: ARG002
        """The report itself against NaN and the limit, the best so far against the target."""
        value = own.values[reports - 1]
        if self.settings.stop_on_nan and not math.isfinite(value):
            return rule.Decision(True, f"{self.metric} is {value} at report {reports}")
        if reports < self.settings.start_step:
            return rule.GO_ON
        limit, target = self.settings.limit, self.settings.target
        if limit is not None and self.loss(value) > self.loss(limit):
            return rule.Decision(True, f"{self.metric} {value:.6g} at report {reports} is beyond the limit {limit:.6g}")
        if target is None:
            return rule.GO_ON
        return self.against(self.best_loss(own, reports), self.loss(target), reports, "the target")
