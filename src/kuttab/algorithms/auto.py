"""The default: picks a method by space, number of objectives and how many trials there have been.

One objective: a short design (the middle of the space, then Sobol), then the Gaussian process. When its cost begins to outweigh its
gain, numbers alternate between it and an evolution strategy that has learnt from every trial so far. In spaces too wide for the
process, Parzen estimators take its place. Several objectives: the process on a random trade-off per number, which covers the front,
then NSGA-II. Everything is decided by the number alone, so the answer is a function of the history.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from kuttab.algorithms import (
    algorithm,
    cmaes,
    cmaes_replay,
    distinct,
    gp_method,
    gp_propose,
    gp_targets,
    gp_view,
    multivariate_tpe,
    nsga2,
)
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms.parameters import Floats
from kuttab.base import errors

WIDEST = 60
"""With more parameters the process is not used."""

LONGEST = 300
"""From this number on the process shares the numbers with an evolution strategy, or gives way to NSGA-II."""

_LAST = 1000
_AUGMENT = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoSettings(settings_.ObjectivesSettings):
    """Settings of the automatic choice."""

    n_initial_points: int | None = settings_.integer(
        None,
        "Trials of the initial design; by default one more than there are parameters, between 4 and 10.",
        at_least=1,
    )


class Auto(algorithm.Algorithm):
    """See the module."""

    name = "auto"
    summary = "Picks a method by space, budget and parallelism; the default of the Python API."
    Settings = AutoSettings
    objectives = 16

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        chosen: AutoSettings = problem.settings
        size = len(problem.space)
        initial = chosen.n_initial_points or int(np.clip(size + 1, 4, 10))
        self._method = gp_method.Method(problem, initial, gp_propose.Options())
        self._view = gp_view.View(problem.space)
        plain = dataclasses.replace(problem, settings=multivariate_tpe.MultivariateTpe.Settings())
        self._tpe = multivariate_tpe.MultivariateTpe(plain)
        self._nsga2 = nsga2.Nsga2(dataclasses.replace(problem, settings=nsga2.Nsga2.Settings()))
        plan = cmaes_replay.Plan(0.2, "ipop", 0, problem.seed)
        self._replay = cmaes_replay.Replay(self._view, plan) if cmaes.varies(problem.space) else None

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """Needs a parameter."""
        return algorithm.require_parameters(problem)

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """A point from the method whose turn it is."""
        if len(self.problem.directions) > 1:
            return self._trade_off(history, first, count)
        if len(self.space) > WIDEST or first >= _LAST:
            return self._tpe.propose(history, first, count)
        if first >= LONGEST and self._replay is not None:
            cmaes.feed(self._replay, history)

        def pick(batch: list[Floats], number: int, ledger: distinct.Ledger) -> Floats | None:
            generator = self.random(number)
            if first >= LONGEST and number % 2 and self._replay is not None:
                return cmaes.draw(self._replay, self._view, number, ledger, generator)
            return self._method.next(history, batch, number, ledger, generator)

        return gp_method.answer(pick, self.space, history, first, count)

    def _trade_off(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        if first >= LONGEST or len(self.space) > WIDEST:
            return self._nsga2.propose(history, first, count)
        Y = history.Y[history.finished]

        def pick(batch: list[Floats], number: int, ledger: distinct.Ledger) -> Floats | None:
            generator = self.random(number)
            y = scalarise(Y, generator) if len(Y) else None
            return self._method.next(history, batch, number, ledger, generator, y=y)

        return gp_method.answer(pick, self.space, history, first, count)


def scalarise(Y: Floats, generator: np.random.Generator) -> Floats:
    """One value per row of objectives: the augmented Chebyshev distance under random weights (Knowles, 2006)."""
    weights = generator.dirichlet(np.ones(Y.shape[1]))
    scaled = np.empty_like(Y)
    for j in range(Y.shape[1]):
        column = gp_targets.warp(Y[:, j])
        spread = float(np.ptp(column))
        scaled[:, j] = (column - column.min()) / spread if spread > 0 else 0.0
    weighted = weights * scaled
    return np.asarray(weighted.max(1) + _AUGMENT * weighted.sum(1))
