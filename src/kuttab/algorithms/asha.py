"""``asha``: asynchronous successive halving over a resource parameter.

Every new configuration starts on a low rung. As soon as n trials of a rung have ended, the best n/eta of them (rounded down)
are due on the next rung, as new trials with eta times the resource; promotions come before new configurations, the highest
rung first. Nothing ever waits for stragglers, so any number of trials can run at once. (Li et al., "A System for Massively
Parallel Hyperparameter Tuning", 2020.) A failed trial counts as ended and is never promoted.

With ``brackets`` n, new configurations start on one of the lowest n rungs, drawn with Hyperband's shares, as a hedge against
low rungs that mislead.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from kuttab.algorithms import algorithm, halving
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms.parameters import Floats, Parameter
from kuttab.base import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(settings_.Settings):
    """Settings of asha."""

    resource_name: str = settings_.text(settings_.REQUIRED, "Parameter that is the resource, such as the epochs.")
    min_resource: float | None = settings_.real(
        None, "Resource of the lowest rung, about; None takes the parameter's least.", above=0, none=True
    )
    max_resource: float | None = settings_.real(
        None, "Resource of the highest rung; None takes the parameter's greatest.", above=0, none=True
    )
    eta: float = settings_.real(
        3.0, "One of eta goes on, with eta times the resource.", at_least=1.5, aliases=("reduction_factor",)
    )
    brackets: int = settings_.integer(1, "Lowest rungs on which new configurations may start.", at_least=1)


class Asha(algorithm.Algorithm):
    """See the module."""

    name = "asha"
    summary = "Asynchronous successive halving: many short runs, the best go on."
    Settings: ClassVar[type[settings_.Settings]] = Settings
    batch_invariant = True
    repeats = True

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """The resource must be a parameter with room for two rungs."""
        given = problem.settings
        found = halving.resource_problems(problem, given.resource_name)
        if found:
            return found
        parameter = next(p for p in problem.space.parameters if p.name == given.resource_name)
        low, high = _range(parameter, given)
        least, most = _span(parameter)
        for name, value in (("min_resource", low), ("max_resource", high)):
            if not least <= value <= most or not _possible(parameter, value):
                message = f"{value:g} is no value of {parameter.name}, which goes from {least:g} to {most:g}"
                found.append(errors.Problem(f"{settings_.PATH}[{name}]", message))
        if low <= 0:
            message = f"the resource {parameter.name} starts at {low:g}; give a min_resource greater than 0"
            found.append(errors.Problem(f"{settings_.PATH}[min_resource]", message))
        if found:
            return found
        rungs = halving.levels(parameter, low, high, given.eta) if low < high else (high,)
        if len(rungs) < 2:
            message = (
                f"there is one rung only: from {low:g} to {high:g} the resource grows less than {given.eta:g} times"
            )
            found.append(errors.Problem(f"{settings_.PATH}[max_resource]", message))
        elif given.brackets > len(rungs):
            message = f"must be at most {len(rungs)}, the number of rungs"
            found.append(errors.Problem(f"{settings_.PATH}[brackets]", message))
        return found

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        given = problem.settings
        self.frame = halving.Frame(problem.space, given.resource_name)
        low, high = _range(self.frame.resource, given)
        self.levels = halving.levels(self.frame.resource, low, high, given.eta)

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """Promotions that are due, then new configurations; O(trials) a call."""
        standings = halving.Standings(self.frame, self.levels, history)
        self.learn(standings, history)
        items: list[algorithm.Proposal] = []
        for number in range(first, first + count):
            due = standings.promotion(self.problem.settings.eta)
            if due is None:
                generator = self.random(number)
                start = self._start(generator)
                configuration = self.new(standings, generator)
                if configuration is None:
                    return _none_left(items, standings)
                due = configuration, start
            standings.add(*due)
            amount = self.levels[due[1]]
            text = halving.text_of(self.frame.resource, amount)
            items.append(algorithm.Proposal(self.frame.point(due[0], amount), text=text))
        return algorithm.Proposals(tuple(items))

    def learn(self, standings: halving.Standings, history: histories.History) -> None:
        """Called before new configurations are asked for; nothing to learn here."""

    def new(self, standings: halving.Standings, generator: np.random.Generator) -> Floats | None:
        """A configuration that has not been tried; None when there is none left."""
        return standings.draw(generator)

    def _start(self, generator: np.random.Generator) -> int:
        """The rung of a new configuration."""
        eta, top = self.problem.settings.eta, len(self.levels) - 1
        shares = np.array([eta ** (top - b) / (top - b + 1) for b in range(self.problem.settings.brackets)])
        return int(np.searchsorted(np.cumsum(shares / shares.sum())[:-1], generator.random(), side="right"))


def _none_left(items: list[algorithm.Proposal], standings: halving.Standings) -> algorithm.Proposals:
    if standings.waiting:
        reason = "every configuration has been tried on its first rung; results decide who goes on"
        return algorithm.Proposals(tuple(items), wait=reason)
    return algorithm.Proposals(tuple(items), exhausted=True)


def _span(parameter: Parameter) -> tuple[float, float]:
    values = halving.numbers(parameter) or (parameter.low, parameter.top)
    return min(values), max(values)


def _range(parameter: Parameter, given: Any) -> tuple[float, float]:
    low, high = _span(parameter)
    return (
        low if given.min_resource is None else given.min_resource,
        high if given.max_resource is None else given.max_resource,
    )


def _possible(parameter: Parameter, value: float) -> bool:
    return value in halving.numbers(parameter) if parameter.listed else parameter.contains(value)
