"""Tree-structured Parzen estimator: model where the good trials lie and where the others do, propose where the ratio is best.

The first points come from a scrambled Sobol sequence. Pending points count as bad ones (constant liar), so parallel
proposals keep away from each other. Points that failed count as bad too, and the ratio is weighed against the probability
that a trial there fails, by two more estimators, so crash regions are left. The models are rebuilt from the history at each
ask: n trials and d parameters cost O(n d).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from kuttab.algorithms import algorithm, distinct, lowdiscrepancy, parzen, settings
from kuttab.algorithms import history as histories
from kuttab.algorithms.parameters import Floats
from kuttab.base import errors

CAUTION = 8.0
"""Weight of the log probability of a result beside the log ratio of the densities."""

FEASIBILITY = parzen.Kernels(factor=0.25)
"""Kernels of results and of failures: narrow, because a crash region has an edge."""

FEWEST = 4
"""Finished trials below which there is no model, however many are under way."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpeSettings(settings.Settings):
    """Settings of ``tpe``."""

    gamma: float = settings.real(0.1, "Share of the trials that count as good (at most 25).", above=0, below=1)
    prior_weight: float = settings.real(1.0, "Weight of the uniform prior, in trials.", above=0)
    n_EI_candidates: int = settings.integer(  # noqa: N815 - the contract's spelling
        24, "Points drawn from the good model, of which the best is proposed.", at_least=1, aliases=("n_ei_candidates",)
    )
    n_startup_trials: int = settings.integer(10, "Points of the initial design.", at_least=0)


class Tpe(algorithm.Algorithm):
    """Each parameter on its own: strong with many parameters that hardly interact."""

    name = "tpe"
    summary = "Parzen estimators, one parameter at a time."
    Settings = TpeSettings
    joint = False

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """A space is needed."""
        return algorithm.require_parameters(problem)

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        own: TpeSettings = problem.settings
        self._startup, self._candidates, self._gamma = own.n_startup_trials, own.n_EI_candidates, own.gamma
        # Kernels of parameters on their own can be narrower: more of them are near any point.
        shape = parzen.Kernels() if self.joint else parzen.Kernels(factor=0.35, least=0.01)
        self._kernels = dataclasses.replace(shape, prior_weight=own.prior_weight)
        self._layout = parzen.Layout(self.space)
        self._design = lowdiscrepancy.Sobol(len(self.space), problem.seed)

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """One model per batch; each proposed point joins the bad ones for the next."""
        ledger = distinct.Ledger(history)
        items: list[algorithm.Proposal] = []
        good, bad = self._split(history)
        enough = len(history.finished) + len(history.infeasible) >= min(self._startup, FEWEST) and len(good)
        for number in range(first, first + count):
            if ledger.exhausted:
                return algorithm.Proposals(tuple(items), exhausted=True)
            generator = self.random(number)
            if number + history.before < self._startup or not enough:
                rows = self.space.decode(self._design.points(number, 1))
            else:
                rows = self._feasible_first(history, *self._model(good, bad, generator))
            codes = ledger.first_fresh(rows, generator)
            if codes is None:
                return algorithm.Proposals(tuple(items), exhausted=True)
            ledger.take(codes)
            bad = np.vstack([bad, codes])
            items.append(algorithm.Proposal(self.space.point(codes)))
        return algorithm.Proposals(tuple(items), exhausted=ledger.exhausted)

    def _split(self, history: histories.History) -> tuple[Floats, Floats]:
        """Codes of the good trials, best first, and of all others."""
        rows = history.finished
        order = rows[np.argsort(history.y[rows], kind="stable")]
        n_good = min(math.ceil(self._gamma * len(order)), 25)
        others = np.sort(np.concatenate([order[n_good:], history.infeasible, history.pending]))
        return history.codes[order[:n_good]], history.codes[others]

    def _model(self, good: Floats, bad: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
        over = parzen.Mixture(self._layout, good, np.ones(len(good)), self._kernels, joint=self.joint)
        under = parzen.Mixture(self._layout, bad, np.ones(len(bad)), self._kernels, joint=self.joint)
        return parzen.scored(over, under, generator, self._candidates)

    def _feasible_first(self, history: histories.History, rows: Floats, score: Floats) -> Floats:
        """Rows by score and, where trials have failed, by the probability that a trial there gives a result."""
        failed, fine = history.codes[history.infeasible], history.codes[history.finished]
        if not len(failed):
            return rows
        odds = np.full(len(rows), math.log(len(fine) / len(failed)))
        for codes, sign in ((fine, 1), (failed, -1)):
            density = parzen.Mixture(self._layout, codes, np.ones(len(codes)), FEASIBILITY, joint=True)
            odds += sign * density.log_density(rows)
        return np.asarray(rows[np.argsort(CAUTION * np.logaddexp(0, -odds) - score, kind="stable")])
