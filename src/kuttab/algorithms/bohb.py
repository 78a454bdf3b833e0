"""``bohb``: the rungs of ``asha``, with new configurations from a model instead of by chance.

The model is a pair of joint Parzen estimators (:mod:`kuttab.algorithms.parzen`) over configurations, as in BOHB (Falkner, Klein,
Hutter, "BOHB: Robust and Efficient Hyperparameter Optimization at Scale", 2018), with two changes: scheduling is asynchronous, and
instead of one model per amount of resource, one order of all configurations is learnt from. Who got further is better, whoever
beat others on its highest rung is better among those; so no result is thrown away and the model starts early. Pending and failed
configurations count as bad. A share of the configurations stays random, because low rungs can mislead.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np

from kuttab.algorithms import algorithm, asha, halving, parzen
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms.parameters import Floats


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(asha.Settings):
    """Settings of bohb."""

    gamma: float = settings_.real(0.1, "Share of the configurations that counts as good.", above=0, below=1)
    n_EI_candidates: int = settings_.integer(  # noqa: N815 - the spelling of tpe
        24, "Configurations drawn from the good model, of which the best is tried.", at_least=1,
        aliases=("n_ei_candidates",),
    )  # fmt: skip
    n_startup_trials: int = settings_.integer(8, "Results needed before there is a model.", at_least=2)
    random_fraction: float = settings_.real(0.2, "Share of new configurations drawn at random.", at_least=0, at_most=1)


class Bohb(asha.Asha):
    """See the module."""

    name = "bohb"
    summary = "Asynchronous successive halving whose points come from a model."
    Settings: ClassVar[type[settings_.Settings]] = Settings
    batch_invariant = False

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        self._layout = parzen.Layout(self.frame.rest)
        self._good: Floats | None = None
        self._bad = np.empty((0, len(self.frame.rest)))

    def learn(self, standings: halving.Standings, history: histories.History) -> None:  # noqa: ARG002
        """Sort all configurations into good and bad ones."""
        order = list(dict.fromkeys(key for rung in reversed(standings.rungs) for key in rung.best(len(rung.results))))
        self._good = None
        if len(order) < self.problem.settings.n_startup_trials:
            return
        count = max(2, math.ceil(self.problem.settings.gamma * len(order)))
        good, known = order[:count], standings.configurations
        chosen = set(good)
        self._good = np.array([known[key] for key in good])
        self._bad = np.array([known[key] for key in sorted(known) if key not in chosen])
        self._bad = self._bad.reshape(-1, len(self.frame.rest))

    def new(self, standings: halving.Standings, generator: np.random.Generator) -> Floats | None:
        """The most promising of the good model's draws that has not been tried."""
        if self._good is None or generator.random() < self.problem.settings.random_fraction:
            return standings.draw(generator)
        kernels = parzen.Kernels(prior_weight=0.5)
        good = parzen.Mixture(self._layout, self._good, np.ones(len(self._good)), kernels, joint=True)
        bad = parzen.Mixture(self._layout, self._bad, np.ones(len(self._bad)), kernels, joint=True)
        rows = good.sample(generator, self.problem.settings.n_EI_candidates)
        order = np.argsort(bad.log_density(rows) - good.log_density(rows), kind="stable")
        configuration: Floats | None = next((rows[place] for place in order if standings.fresh(rows[place])), None)
        if configuration is None:
            return standings.draw(generator)
        self._bad = np.vstack([self._bad, configuration])
        return configuration
