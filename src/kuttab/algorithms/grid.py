"""Grid search: every combination once, in an order shuffled by the seed, then the end.

The order is a permutation that is computed, not stored, so a grid of any size costs nothing. The point of a number is the
permutation's entry there; when that point was seen already the next unseen entry is taken.
"""

from __future__ import annotations

from kuttab.algorithms import algorithm, distinct, permutation
from kuttab.algorithms import history as histories
from kuttab.algorithms.parameters import Floats
from kuttab.api.space import Distribution
from kuttab.base import errors


class Grid(algorithm.Algorithm):
    """Exhaustive search over ints, lists and stepped doubles."""

    name = "grid"
    summary = "Every combination once, in a shuffled order."
    batch_invariant = True

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """Every parameter must be countable, and spread evenly, because a grid visits each point once."""
        problems = algorithm.require_parameters(problem)
        for index, parameter in enumerate(problem.space.parameters):
            at = f"spec.parameters[{index}].feasibleSpace"
            if parameter.count is None:
                message = (
                    f"grid needs a step for the double parameter {parameter.name}: all parameters must include step"
                )
                problems.append(errors.Problem(f"{at}.step", message, "FieldValueRequired"))
            if parameter.distribution is not Distribution.UNIFORM:
                message = (
                    f"grid visits every step of {parameter.name} once, so {parameter.distribution} would change nothing: "
                    "leave the distribution out, or give the values as a list"
                )
                problems.append(errors.Problem(f"{at}.distribution", message, "FieldValueNotSupported"))
        return problems

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        self._size = self.space.cardinality or 1
        self._order = permutation.Permutation(self._size, problem.seed)

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """O(1) per point until the numbers pass the grid's size; after that it looks for points that were left out."""
        ledger = distinct.Ledger(history)
        items: list[algorithm.Proposal] = []
        for number in range(first, first + count):
            codes = self._next(ledger, number)
            if codes is None:
                return algorithm.Proposals(tuple(items), exhausted=True)
            ledger.take(codes)
            items.append(algorithm.Proposal(self.space.point(codes)))
        return algorithm.Proposals(tuple(items), exhausted=ledger.exhausted)

    def _next(self, ledger: distinct.Ledger, number: int) -> Floats | None:
        if ledger.exhausted:
            return None
        for offset in range(self._size):
            codes = self.space.at(self._order[(number + offset) % self._size])
            if ledger.fresh(codes):
                return codes
        return None
