"""NSGA-II (Deb et al., 2002): genetic search for the best trade-offs between several objectives, with constraint-free domination.

Asynchronous: parents come from the best of everything that has finished, by domination rank and crowding. Numbers are crossed by
simulated binary crossover and moved by polynomial mutation on the unit interval, choices are exchanged and redrawn. One
objective works too. Survivors are a cache; the history is all that is needed.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from kuttab.algorithms import algorithm, distinct, gp_method, gp_view, lowdiscrepancy
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms.gp_kernel import Array, Index
from kuttab.algorithms.parameters import Floats
from kuttab.base import errors

_ATTEMPTS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nsga2Settings(settings_.ObjectivesSettings):
    """Settings of NSGA-II."""

    population_size: int = settings_.integer(24, "Survivors that parents are taken from.", at_least=4, at_most=10_000)
    crossover_probability: float = settings_.real(0.9, "Share of children with two parents.", at_least=0, at_most=1)
    crossover_eta: float = settings_.real(15.0, "How close children stay to their parents (higher is closer).", above=0)
    mutation_eta: float = settings_.real(15.0, "How small mutations are (higher is smaller).", above=0)
    mutation_probability: float | None = settings_.real(
        None, "Share of parameters that mutate; by default one parameter in each child.", at_least=0, at_most=1
    )


def fronts(Y: Array, enough: int) -> list[Index]:
    """Indices of the non-dominated fronts, best first, until they hold ``enough`` points; less is better."""
    no_worse = np.asarray((Y[:, None, :] <= Y[None, :, :]).all(2))
    dominates = no_worse & np.asarray((Y[:, None, :] < Y[None, :, :]).any(2))
    count = dominates.sum(0)
    out: list[Index] = []
    left = np.ones(len(Y), dtype=bool)
    taken = 0
    while left.any() and taken < enough:
        front = np.flatnonzero(left & (count == 0))
        left[front] = False
        count = count - dominates[front].sum(0)
        out.append(front)
        taken += len(front)
    return out


def crowding(Y: Array) -> Array:
    """Crowding distances of the points of one front; the ends are infinitely far."""
    n, m = Y.shape
    out = np.zeros(n)
    for j in range(m):
        order = np.argsort(Y[:, j], kind="stable")
        spread = Y[order[-1], j] - Y[order[0], j]
        out[order[[0, -1]]] = np.inf
        if n > 2 and spread > 0:
            out[order[1:-1]] += (Y[order[2:], j] - Y[order[:-2], j]) / spread
    return out


def survivors(Y: Array, size: int) -> tuple[Index, Array, Array]:
    """Indices of the ``size`` best points, with front and crowding distance of each."""
    chosen: list[Index] = []
    ranks: list[Array] = []
    crowds: list[Array] = []
    room = size
    for rank, front in enumerate(fronts(Y, size)):
        crowd = crowding(Y[front])
        keep = np.argsort(-crowd, kind="stable")[:room]
        chosen.append(front[keep])
        crowds.append(crowd[keep])
        ranks.append(np.full(len(keep), float(rank)))
        room -= len(keep)
    return np.concatenate(chosen), np.concatenate(ranks), np.concatenate(crowds)


class Nsga2(algorithm.Algorithm):
    """See the module."""

    name = "nsga2"
    summary = "Genetic search for several objectives."
    Settings = Nsga2Settings
    objectives = 16

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        self._own: Nsga2Settings = problem.settings
        self._view = gp_view.View(problem.space)
        self._design = lowdiscrepancy.Sobol(len(problem.space), problem.seed)
        self._blocks: list[bytes] = []
        self._alive: Index = np.empty(0, dtype=np.intp)

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """Needs a parameter."""
        return algorithm.require_parameters(problem)

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """The first population from a Sobol sequence, then children."""
        parents = self._parents(history)

        def pick(batch: list[Floats], number: int, ledger: distinct.Ledger) -> Floats | None:
            del batch
            generator = self.random(number)
            if number + history.before < self._own.population_size or parents is None:
                return ledger.first_fresh(self.space.decode(self._design.points(number, 1)), generator)
            children = np.array([self._child(*parents, generator) for _ in range(_ATTEMPTS)])
            return ledger.first_fresh(self._view.codes(children), generator)

        return gp_method.answer(pick, self.space, history, first, count)

    def _parents(self, history: histories.History) -> tuple[Array, Array, Array] | None:
        """Rows, ranks and crowding of the survivors; whole blocks of finished trials are sifted once and remembered."""
        finished, size = history.finished, self._own.population_size
        if len(finished) < 2:
            return None
        Y = history.Y[finished]
        whole = len(finished) // size
        blocks = [Y[i * size : (i + 1) * size].tobytes() for i in range(whole)]
        if blocks[: len(self._blocks)] != self._blocks:
            self._blocks, self._alive = [], np.empty(0, dtype=np.intp)
        for i in range(len(self._blocks), whole):
            pool = np.concatenate([self._alive, np.arange(i * size, (i + 1) * size)])
            self._alive = pool[survivors(Y[pool], size)[0]]
            self._blocks.append(blocks[i])
        pool = np.concatenate([self._alive, np.arange(whole * size, len(finished))])
        kept, ranks, crowds = survivors(Y[pool], size)
        return self._view.rows(history.codes[finished[pool[kept]]]), ranks, crowds

    def _child(self, rows: Array, ranks: Array, crowds: Array, generator: np.random.Generator) -> Array:
        own, domain = self._own, self._view.domain

        def parent() -> Array:
            a, b = generator.integers(len(rows), size=2).tolist()
            return np.asarray(rows[a] if (ranks[a], -crowds[a]) <= (ranks[b], -crowds[b]) else rows[b])

        one, two = parent(), parent()
        child = one.copy()
        mask = domain.categorical
        if generator.random() < own.crossover_probability:
            u = generator.random(len(child))
            power = 1.0 / (own.crossover_eta + 1.0)
            beta = np.where(u < 0.5, (2 * u) ** power, (2 * (1 - u)) ** -power)
            beta *= np.where(generator.random(len(child)) < 0.5, 1.0, -1.0)
            crossed = np.where(mask, np.where(u < 0.5, one, two), 0.5 * ((1 + beta) * one + (1 - beta) * two))
            child = np.where(generator.random(len(child)) < 0.5, crossed, one)
        share = own.mutation_probability if own.mutation_probability is not None else 1.0 / len(child)
        moved = generator.random(len(child)) < share
        if own.mutation_probability is None:
            moved[generator.integers(len(child))] = True
        u = generator.random(len(child))
        power = 1.0 / (own.mutation_eta + 1.0)
        delta = np.where(u < 0.5, (2 * u) ** power - 1.0, 1.0 - (2 * (1 - u)) ** power)
        child = np.where(moved & ~mask, child + delta, child)
        for d in np.flatnonzero(moved & mask):
            child[d] = generator.integers(domain.choices[d])
        return np.asarray(np.where(mask, child, np.clip(child, 0.0, 1.0)))
