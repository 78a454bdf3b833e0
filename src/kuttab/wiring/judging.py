"""Early stopping of running trials: the bars they were created with, and the live judgement of rules that no bar can say.

A bar is what Katib has, and ``medianstop`` acts by its bars alone, as in Katib. The other rules are judged at every report, too, against
the curves of the trials that have ended by then. Ending the process is the node's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from kuttab.api import experiment, trial
from kuttab.base import log
from kuttab.collector import session
from kuttab.node import meters
from kuttab.rules import metric_values
from kuttab.runtime import informer

logger = log.get(__name__)

MOST_CURVES: Final = 1000
"""Curves of ended trials that a running one is compared with, the newest ones."""

Curves = Callable[[str], Mapping[str, Any]]
"""The curves of an experiment's ended trials, by the experiment's uid."""


class Judges:
    """Makes the rules that a trial's collector applies."""

    def __init__(self, experiments: informer.Informer, curves: Curves) -> None:
        self._experiments = experiments
        self._curves = curves

    def rules(self, subject: trial.Trial) -> session.Rules | None:
        """What stops this trial: its bars, and the live judgement; None when nothing does."""
        bars = meters.bars(subject)
        return self._judged(subject, bars) or bars

    def live(self, subject: trial.Trial) -> session.Rules | None:
        """The live judgement alone, for a trial whose program applies the bars by itself."""
        return self._judged(subject, None)

    def _judged(self, subject: trial.Trial, bars: session.Rules | None) -> session.Rules | None:
        owner = subject.metadata.controller
        parent = self._experiments.get(subject.namespace, owner.name) if owner is not None else None
        if not isinstance(parent, experiment.Experiment) or parent.spec.early_stopping is None:
            return None
        from kuttab.algorithms.stopping import curves, rule

        name = parent.spec.early_stopping.algorithm_name
        if name == "medianstop" or name not in rule.names():
            return None
        judge = rule.make(parent.spec.early_stopping, parent.spec.objective or experiment.ObjectiveSpec())
        return _Live(subject, bars, judge, curves.Curve(), lambda: self._curves(parent.uid))


class _Live:
    def __init__(
        self,
        subject: trial.Trial,
        bars: session.Rules | None,
        judge: Any,
        own: Any,
        others: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._name = subject.name
        self._bars = bars
        self._judge = judge
        self._own = own
        self._others = others
        self._stopped = False

    def observe(self, metric: str, value_text: str) -> bool:
        """Take one value; true once the trial is to be stopped."""
        if self._bars is not None and self._bars.observe(metric, value_text):
            self._stopped = True
        if metric == self._judge.metric and not self._stopped:
            value = metric_values.number(value_text)
            self._own.add(math.nan if value is None else value)
            others = list(self._others().values())[-MOST_CURVES:]
            decision = self._judge.decide(self._own, others, len(self._own))
            if decision.stop:
                logger.info("stopped_early", trial=self._name, reason=decision.reason)
                self._stopped = True
        return self._stopped
