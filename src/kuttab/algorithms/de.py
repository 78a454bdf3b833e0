"""Differential evolution for mixed spaces, asynchronous: a number belongs to member ``number mod population``.

The member's present point is the best finished trial among its numbers, which is what greedy selection keeps; so the population is
read off the history, at any time, in whatever order trials finish. New points are ``current to best`` mutants (Storn and Price, 1997)
with binomial crossover; a choice is taken from one of the parents of the mutant. Scale and crossover rate vary per number
around their settings, which spares tuning them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from kuttab.algorithms import algorithm, distinct, gp_method, gp_view, lowdiscrepancy
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms.gp_kernel import Array
from kuttab.algorithms.parameters import Floats
from kuttab.base import errors

_ATTEMPTS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeSettings(settings_.Settings):
    """Settings of differential evolution."""

    population_size: int | None = settings_.integer(
        None, "Members; by default 10 to 40, growing with the number of parameters.", at_least=4, at_most=10_000
    )
    mutation: float = settings_.real(0.5, "Mean scale of the difference vectors.", above=0, at_most=2)
    crossover: float = settings_.real(0.8, "Mean share of parameters taken from the mutant.", at_least=0, at_most=1)


class De(algorithm.Algorithm):
    """See the module."""

    name = "de"
    summary = "Differential evolution."
    Settings = DeSettings

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        chosen: DeSettings = problem.settings
        self._population = chosen.population_size or int(np.clip(2 * len(problem.space) + 4, 10, 40))
        self._scale, self._rate = chosen.mutation, chosen.crossover
        self._view = gp_view.View(problem.space)
        self._design = lowdiscrepancy.Sobol(len(problem.space), problem.seed)

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """Needs a parameter."""
        return algorithm.require_parameters(problem)

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """The first generation from a Sobol sequence, then mutants."""
        members, values = self._members(history)

        def pick(batch: list[Floats], number: int, ledger: distinct.Ledger) -> Floats | None:
            del batch
            generator = self.random(number)
            if number + history.before < self._population or len(values) < 4:
                rows = self._design.points(number, 1)
                return ledger.first_fresh(self.space.decode(rows), generator)
            mutants = np.array([self._mutant(members, values, number, generator) for _ in range(_ATTEMPTS)])
            return ledger.first_fresh(self._view.codes(mutants), generator)

        return gp_method.answer(pick, self.space, history, first, count)

    def _members(self, history: histories.History) -> tuple[dict[int, Array], dict[int, float]]:
        finished = history.finished
        order = finished[np.lexsort((finished, history.y[finished]))]
        places = history.numbers[order] % self._population
        which, first = np.unique(places, return_index=True)
        best = order[first]
        rows = self._view.rows(history.codes[best])
        return dict(zip(which.tolist(), rows, strict=True)), dict(
            zip(which.tolist(), history.y[best].tolist(), strict=True)
        )

    def _mutant(
        self, members: dict[int, Array], values: dict[int, float], number: int, generator: np.random.Generator
    ) -> Array:
        present = list(members)
        place = number % self._population
        best = min(present, key=lambda m: (values[m], m))
        current = members[place] if place in members else members[present[int(generator.integers(len(present)))]]
        a, b = (members[m] for m in generator.choice(present, 2, replace=False).tolist())
        scale = float(np.clip(generator.normal(self._scale, 0.15), 0.1, 2.0))
        rate = float(np.clip(generator.normal(self._rate, 0.1), 0.0, 1.0))
        leader = members[best]
        mutant = current + scale * (leader - current) + scale * (a - b)
        mutant = np.where(mutant < 0, current * generator.random(len(mutant)), mutant)  # back between parent and bound
        mutant = np.where(mutant > 1, current + (1 - current) * generator.random(len(mutant)), mutant)
        mask = self._view.domain.categorical
        sources = np.stack([current, leader, a, b])
        mutant[mask] = sources[generator.integers(4, size=len(mutant)), np.arange(len(mutant))][mask]
        taken = generator.random(len(mutant)) < rate
        taken[generator.integers(len(mutant))] = True
        out = np.where(taken, mutant, current)
        lost = mask & (generator.random(len(mutant)) < 0.5 / len(mutant))  # keeps choices that died out reachable
        for d in np.flatnonzero(lost):
            out[d] = generator.integers(self._view.domain.choices[d])
        return np.asarray(out)
