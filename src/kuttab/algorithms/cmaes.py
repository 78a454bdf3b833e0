"""CMA evolution strategy: a normal distribution that learns the shape of a valley, generation by generation.

Works for int and double parameters (logarithmic ones on their logarithms); lists and choices are searched along. There is no random
start phase. The state is rebuilt from the history at any time, so restarts lose nothing, and trials may finish in any order.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from kuttab.algorithms import algorithm, cmaes_replay, distinct, gp_method, gp_view
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms import space as spaces
from kuttab.algorithms.parameters import Floats
from kuttab.api.space import ParameterType
from kuttab.base import errors

_ATTEMPTS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class CmaEsSettings(settings_.Settings):
    """Katib's names and values."""

    sigma: float = settings_.real(
        0.2, "First step size, as a share of each parameter's range.", above=0, at_most=10, aliases=("sigma0",)
    )
    restart_strategy: str | None = settings_.choice(
        "none",
        "What happens when the distribution has collapsed: none goes on, ipop and bipop start anew with larger populations.",
        ("none", "ipop", "bipop"),
        none=True,
    )


class CmaEs(algorithm.Algorithm):
    """See the module."""

    name = "cmaes"
    summary = "CMA evolution strategy for continuous and integer parameters."
    Settings = CmaEsSettings
    batch_invariant = True

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        chosen: CmaEsSettings = problem.settings
        self._view = gp_view.View(problem.space)
        plan = cmaes_replay.Plan(chosen.sigma, chosen.restart_strategy or "none", 0, problem.seed)
        self._replay = cmaes_replay.Replay(self._view, plan) if varies(problem.space) else None

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """Refuses spaces with fewer than two int or double parameters."""
        numeric = [p for p in problem.space.parameters if p.type in (ParameterType.INT, ParameterType.DOUBLE)]
        if len(numeric) >= 2:
            return []
        message = (
            f"cmaes needs a two or more dimensional continuous search space: at least 2 int or double parameters, got "
            f"{len(numeric)}; use tpe or bayesianoptimization"
        )
        return [errors.Problem("spec.parameters", message)]

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """Samples of the distribution that the finished trials lead to."""
        replay = self._replay
        if replay is not None:
            feed(replay, history)

        def pick(batch: list[Floats], number: int, ledger: distinct.Ledger) -> Floats | None:
            del batch
            if replay is None:
                return ledger.draw(self.random(number))
            return draw(replay, self._view, number, ledger, self.random(number))

        return gp_method.answer(pick, self.space, history, first, count)


def varies(space: spaces.Space) -> bool:
    """Whether any parameter has more than one value."""
    return any(parameter.count != 1 for parameter in space.parameters)


def feed(replay: cmaes_replay.Replay, history: histories.History) -> None:
    """Give a strategy the results of a history; failed trials count as worse than any."""
    rows = np.union1d(history.finished, history.infeasible).astype(np.intp)
    y = history.y[rows].copy()
    y[np.isin(rows, history.infeasible)] = np.nan
    replay.feed(history.numbers[rows], history.codes[rows], y)


def draw(
    replay: cmaes_replay.Replay,
    view: gp_view.View,
    number: int,
    ledger: distinct.Ledger,
    generator: np.random.Generator,
) -> Floats | None:
    """An unseen sample for a number; None when the space is exhausted."""
    rows = np.array([replay.draw(number, attempt) for attempt in range(_ATTEMPTS)])
    return ledger.first_fresh(view.codes(rows), generator)
