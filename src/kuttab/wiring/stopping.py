"""Early-stopping rules in this process: from the curves of the trials that have ended to the rules for those about to start.

A trial's curve is read from the observation log once. Applying the rules is the collector's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kuttab.api import experiment, history, suggestion
from kuttab.ports import observations as observation_port
from kuttab.ports import suggestion as port

CURVE_LIMIT = 10_000
"""Rows of a finished trial's objective that early-stopping rules look at, at most."""

_ENDED = (history.TrialState.SUCCEEDED, history.TrialState.EARLY_STOPPED)


class InProcessRules:
    """Our own early-stopping rules."""

    def __init__(self, observations: observation_port.Observations) -> None:
        self._observations = observations
        self._curves: dict[str, dict[str, Any]] = {}

    async def rules(self, request: port.Request) -> Sequence[suggestion.EarlyStoppingRule]:
        """The rules for the trials about to be created."""
        from kuttab.algorithms.stopping import rule

        subject = request.experiment
        assert subject.spec.early_stopping is not None
        objective = subject.spec.objective or experiment.ObjectiveSpec()
        judge = rule.make(subject.spec.early_stopping, objective)
        curves = self._curves.setdefault(subject.uid, {})
        finished = [record for record in request.trials.all() if record.state in _ENDED]
        for record in finished:
            if record.uid not in curves:
                curves[record.uid] = await self._curve(subject, record, objective.objective_metric_name)
        return judge.rules([curves[record.uid] for record in finished])

    def curves(self, uid: str) -> Mapping[str, Any]:
        """The curves of an experiment's ended trials, as far as they have been asked for."""
        return self._curves.get(uid, {})

    def forget(self, uid: str) -> None:
        """Drop what is kept of an experiment; nothing is lost by it."""
        self._curves.pop(uid, None)

    async def _curve(self, subject: experiment.Experiment, record: history.TrialRecord, metric: str) -> Any:
        from kuttab.algorithms.stopping import curves

        key = observation_port.TrialKey(record.uid, record.name, subject.namespace)
        rows = await self._observations.read(key, metric=metric, limit=CURVE_LIMIT)
        curve = curves.Curve(record.state)
        for row in rows:
            curve.add(_number(row.value))
        return curve


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
