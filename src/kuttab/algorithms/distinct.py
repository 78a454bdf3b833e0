"""No point twice while unseen ones are left: shared by every algorithm.

A :class:`Ledger` looks at a history (pending trials included) and adds what the running batch has proposed. Its cost per
question is that of one set look-up, however long the history; only within the last points of a space does it walk.
"""

from __future__ import annotations

import numpy as np

from kuttab.algorithms import history as histories
from kuttab.algorithms import permutation
from kuttab.algorithms.parameters import Floats

TRIES = 32
"""Random draws before the ledger walks through the space in a shuffled order."""


class Ledger:
    """The points that are taken."""

    def __init__(self, history: histories.History) -> None:
        self._history = history
        self._space = history.space
        self._batch: set[int] = set()

    def fresh(self, codes: Floats) -> bool:
        """Whether a row of codes is unseen."""
        return histories.key_of(codes) not in self._batch and not self._history.seen(codes)

    def take(self, codes: Floats) -> None:
        """Mark a point as proposed in this batch."""
        if not self._history.seen(codes):
            self._batch.add(histories.key_of(codes))

    @property
    def exhausted(self) -> bool:
        """Whether every point of the space is taken; exact, and free while fewer trials than points exist."""
        total = self._space.cardinality
        if total is None or len(self._history) + len(self._batch) < total:
            return False
        if self._history.distinct + len(self._batch) < total:
            return False
        # Points outside the space (foreign history) must not count.
        inside = {histories.key_of(codes) for codes in self._history.codes if self._space.contains(codes)}
        return len(inside | self._batch) >= total

    def draw(self, generator: np.random.Generator) -> Floats | None:
        """An unseen point by the declared distributions; None when the space is exhausted.

        Does not take it.
        """
        if self.exhausted:
            return None
        for _ in range(TRIES):
            codes: Floats = self._space.sample(generator, 1)[0]
            if self.fresh(codes):
                return codes
        return self.walk(generator)

    def first_fresh(self, rows: Floats, generator: np.random.Generator) -> Floats | None:
        """The first unseen of some rows of codes, best first; else an unseen neighbour of the best; else any unseen point."""
        for codes in rows:
            if self.fresh(codes):
                return np.asarray(codes)
        if len(rows):
            around = self._space.neighbours(rows[0])
            for index in generator.permutation(len(around)):
                if self.fresh(around[index]):
                    return np.asarray(around[index])
        return self.draw(generator)

    def walk(self, generator: np.random.Generator) -> Floats | None:
        """Any unseen point of a countable space, each as likely; None when there is none."""
        total = self._space.cardinality
        if total is None:
            return np.asarray(self._space.sample(generator, 1)[0])
        order = permutation.Permutation(total, int(generator.integers(2**63)))
        for index in range(min(total, len(self._history) + len(self._batch) + 1)):
            codes = self._space.at(order[index])
            if self.fresh(codes):
                return codes
        return None
