"""The Gaussian process as a method over a history: what ``bayesianoptimization`` and ``auto`` share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kuttab.algorithms import algorithm, distinct, failures, gp_propose, gp_search, lowdiscrepancy
from kuttab.algorithms import history as histories
from kuttab.algorithms import space as spaces
from kuttab.algorithms.gp_kernel import Array
from kuttab.algorithms.gp_view import View
from kuttab.algorithms.parameters import Floats

Pick = Callable[[list[Floats], int, distinct.Ledger], Floats | None]

_ENOUGH = 2


def answer(
    method: Pick, space: spaces.Space, history: histories.History, first: int, count: int
) -> algorithm.Proposals:
    """Ask ``method(batch, number, ledger)`` for each number in turn; it returns codes, or None when nothing is left."""
    ledger = distinct.Ledger(history)
    batch: list[Floats] = []
    for number in range(first, first + count):
        codes = None if ledger.exhausted else method(batch, number, ledger)
        if codes is None:
            break
        ledger.take(codes)
        batch.append(codes)
    items = tuple(algorithm.Proposal(space.point(codes)) for codes in batch)
    return algorithm.Proposals(items, exhausted=ledger.exhausted)


class Method:
    """Proposes codes one by one; ``initial`` numbers come from the design, fewer after a warm start.

    Keeps only caches: hyper-parameters and the feasibility model of the latest data.
    """

    def __init__(self, problem: algorithm.Problem, initial: int, options: gp_propose.Options) -> None:
        self._space, self._seed = problem.space, problem.seed
        self._initial, self._options = initial, options
        self._view = View(problem.space)
        self._design = lowdiscrepancy.Sobol(len(problem.space), problem.seed)
        self._fitter = gp_propose.Fitter(self._view.domain, options, problem.seed)
        self._feasible: tuple[bytes, failures.Feasibility | None] | None = None

    def next(
        self,
        history: histories.History,
        batch: list[Floats],
        number: int,
        ledger: distinct.Ledger,
        generator: np.random.Generator,
        *,
        y: Floats | None = None,
        options: gp_propose.Options | None = None,
    ) -> Floats | None:
        """An unseen point for a number; None when the space is exhausted.

        ``batch`` are the codes proposed since the history was read; ``y`` replaces the first objective (one value per
        finished trial, in order).
        """
        finished = history.finished
        if number + history.before < self._initial or len(finished) < _ENOUGH:
            return self._first(history, number, ledger, generator)
        rows = self._view.rows(history.codes)
        running = [rows[history.pending], self._view.rows(np.array(batch))] if batch else [rows[history.pending]]
        data = gp_propose.Data(rows[finished], history.y[finished] if y is None else y, np.concatenate(running))
        found = gp_propose.candidates(
            self._view.domain, data, self._fitter, options or self._options, generator, self._feasibility(history, rows)
        )
        return ledger.first_fresh(self._view.codes(found), generator)

    def _first(
        self, history: histories.History, number: int, ledger: distinct.Ledger, generator: np.random.Generator
    ) -> Floats | None:
        """A point of the design; once something has failed, the one of several spread points that is least likely to."""
        planned = self._planned(number)
        if not len(history.infeasible):
            return ledger.first_fresh(planned[None, :], generator)
        rows = self._view.rows(history.codes)
        feasibility = self._feasibility(history, rows)
        assert feasibility is not None
        spread = np.concatenate(
            [self._view.rows(planned[None, :]), gp_search.scatter(self._view.domain, generator, 63)]
        )
        order = np.argsort(-feasibility.batch(spread), kind="stable")
        return ledger.first_fresh(self._view.codes(spread[order]), generator)

    def _planned(self, number: int) -> Floats:
        """The design: the middle of the space, often where a person would start, then a scrambled Sobol sequence."""
        units = np.full(len(self._space), 0.5) if number == 0 else self._design.point(number)
        return np.asarray(self._space.decode(units[None, :])[0])

    def _feasibility(self, history: histories.History, rows: Array) -> failures.Feasibility | None:
        if not len(history.infeasible):
            return None
        key = rows[history.infeasible].tobytes() + rows[history.finished].tobytes()
        if self._feasible is None or self._feasible[0] != key:
            self._feasible = key, failures.of(history, self._view.domain, rows)
        return self._feasible[1]
