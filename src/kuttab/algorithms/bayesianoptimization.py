"""Bayesian optimisation under the settings of Katib's scikit-optimize service.

What each setting means here: ``base_estimator`` GP is the process of :mod:`.gp`; RF, ET and GBRT are refused, for there is no forest
here and using another model silently would be a lie. ``acq_func`` EI, LCB and PI are themselves; ``gp_hedge`` is a fixed portfolio in
place of scikit-optimize's random choice by past gains: of every four numbers three use EI and one LCB. EIps
and PIps need the run times of trials, which the service never receives, and are refused. ``acq_optimizer`` lbfgs (and auto) climbs
by gradient, sampling takes the best of random candidates.
"""

from __future__ import annotations

import dataclasses

from kuttab.algorithms import algorithm, distinct, gp_acquire, gp_method, gp_propose, gp_search
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms.parameters import Floats
from kuttab.base import errors

_KAPPA = 1.96


@dataclasses.dataclass(frozen=True, kw_only=True)
class BayesianOptimizationSettings(settings_.Settings):
    """Katib's names and values."""

    base_estimator: str = settings_.choice("GP", "Surrogate model; only GP is served here.", ("GP", "RF", "ET", "GBRT"))
    n_initial_points: int = settings_.integer(
        10,
        "Trials of the initial design (middle of the space, then Sobol) before the model proposes.",
        at_least=0,
        at_most=100_000,
        aliases=("burn_in", "n_initial_point"),
    )
    acq_func: str = settings_.choice(
        "gp_hedge",
        "Acquisition function; gp_hedge is a fixed portfolio of EI and LCB. EIps and PIps are refused: run times are not known.",
        ("gp_hedge", "LCB", "EI", "PI", "EIps", "PIps"),
    )
    acq_optimizer: str = settings_.choice(
        "auto", "How the acquisition function is maximised; auto means lbfgs.", ("auto", "sampling", "lbfgs")
    )


class BayesianOptimization(algorithm.Algorithm):
    """Gaussian process; see the module."""

    name = "bayesianoptimization"
    summary = "Gaussian process with expected improvement."
    Settings = BayesianOptimizationSettings
    batch_invariant = True

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        chosen: BayesianOptimizationSettings = problem.settings
        options = gp_propose.Options(effort=_effort(chosen.acq_optimizer))
        self._portfolio = [dataclasses.replace(options, acquisition=one) for one in _portfolio(chosen.acq_func)]
        self._method = gp_method.Method(problem, chosen.n_initial_points, options)

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """Refuses what would have to be replaced silently."""
        found = algorithm.require_parameters(problem)
        chosen: BayesianOptimizationSettings = problem.settings
        if chosen.base_estimator != "GP":
            message = (
                f"{chosen.base_estimator} is not served by the built-in algorithm; use GP, which handles categorical and noisy "
                "problems too, or multivariate-tpe, or run Katib's skopt service as a custom algorithm"
            )
            found.append(errors.Problem(f"{settings_.PATH}[base_estimator]", message, "FieldValueNotSupported"))
        if chosen.acq_func in ("EIps", "PIps"):
            message = f"{chosen.acq_func} needs the run time of every trial, which is not part of the history; use {chosen.acq_func[:2]}"
            found.append(errors.Problem(f"{settings_.PATH}[acq_func]", message, "FieldValueNotSupported"))
        return found

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """Points of the design, then of the model."""

        def pick(batch: list[Floats], number: int, ledger: distinct.Ledger) -> Floats | None:
            options = self._portfolio[number % len(self._portfolio)]
            return self._method.next(history, batch, number, ledger, self.random(number), options=options)

        return gp_method.answer(pick, self.space, history, first, count)


def _effort(optimizer: str) -> gp_search.Effort:
    if optimizer == "sampling":
        return gp_search.Effort(spread=8000, near=2000, starts=0)
    return gp_search.Effort()


def _portfolio(name: str) -> list[gp_acquire.Acquisition]:
    bound = gp_acquire.ConfidenceBound(_KAPPA)
    if name == "EI":
        return [gp_acquire.log_ei]
    if name == "PI":
        return [gp_acquire.log_pi]
    if name == "LCB":
        return [bound]
    return [gp_acquire.log_ei, gp_acquire.log_ei, bound, gp_acquire.log_ei]
