"""Quasi-random search: the point of a number is that point of a scrambled Sobol sequence.

In a space of few points the sequence comes back to cells it has been in; an unseen neighbour is taken then.
"""

from __future__ import annotations

from kuttab.algorithms import algorithm, distinct, lowdiscrepancy
from kuttab.algorithms import history as histories
from kuttab.base import errors

MOST_DIMENSIONS = 21_201
"""The direction numbers end here."""


class Sobol(algorithm.Algorithm):
    """Even coverage of the space, every prefix of it."""

    name = "sobol"
    summary = "Scrambled low-discrepancy sequence."
    batch_invariant = True

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """A space is needed, with no more dimensions than there are direction numbers."""
        problems = algorithm.require_parameters(problem)
        if len(problem.space) > MOST_DIMENSIONS:
            message = f"sobol takes at most {MOST_DIMENSIONS} parameters, got {len(problem.space)}"
            problems.append(errors.Problem("spec.parameters", message))
        return problems

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        self._sequence = lowdiscrepancy.Sobol(len(self.space), problem.seed)

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """O(1) per point."""
        ledger = distinct.Ledger(history)
        items: list[algorithm.Proposal] = []
        for offset, codes in enumerate(self.space.decode(self._sequence.points(first, count))):
            if ledger.exhausted:
                return algorithm.Proposals(tuple(items), exhausted=True)
            if not ledger.fresh(codes):
                found = ledger.first_fresh(codes[None, :], self.random(first + offset))
                if found is None:
                    return algorithm.Proposals(tuple(items), exhausted=True)
                codes = found  # noqa: PLW2901 - the sequence's point was taken
            ledger.take(codes)
            items.append(algorithm.Proposal(self.space.point(codes)))
        return algorithm.Proposals(tuple(items), exhausted=ledger.exhausted)
