"""Random search: the point of a number is drawn from the declared distributions with that number's own randomness."""

from __future__ import annotations

from kuttab.algorithms import algorithm, distinct
from kuttab.algorithms import history as histories
from kuttab.base import errors


class Random(algorithm.Algorithm):
    """Independent draws; a draw that was seen before is drawn again while unseen points are left."""

    name = "random"
    summary = "Independent draws from the declared distributions."
    batch_invariant = True

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """A space is needed."""
        return algorithm.require_parameters(problem)

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """O(1) per point, however long the history."""
        ledger = distinct.Ledger(history)
        items: list[algorithm.Proposal] = []
        for number in range(first, first + count):
            codes = ledger.draw(self.random(number))
            if codes is None:
                return algorithm.Proposals(tuple(items), exhausted=True)
            ledger.take(codes)
            items.append(algorithm.Proposal(self.space.point(codes)))
        return algorithm.Proposals(tuple(items), exhausted=ledger.exhausted)
