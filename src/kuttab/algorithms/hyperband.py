"""``hyperband``: brackets of successive halving (Li et al., "Hyperband: A Novel Bandit-Based Approach", 2018).

With r_l the largest resource and s_max = floor(ln r_l / ln eta), brackets run from s = s_max down to 0. Bracket s starts
n = ceil((s_max+1) * eta^s / (s+1)) random configurations with resource r_l * eta^-s; each next rung keeps the best 1/eta
(rounded up) with eta times the resource. Resources are cut to whole numbers and may leave the parameter's range, as in Katib.

All sizes are known beforehand, so a trial's number alone says its bracket, rung and place, and everything else is read from the
history: a restart loses nothing. A rung starts when every trial of the one before has ended, however it ended. Failed trials are
not promoted; when too few are left, killed ones (which say nothing) and then new configurations fill the places. After the last
bracket the search is exhausted.

The answer also carries Katib's ten state settings, for others to read; they are never read back.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from kuttab.algorithms import algorithm, halving
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms.parameters import Floats
from kuttab.base import errors

MOST_TRIALS = 1_000_000
"""A schedule with more trials than this is refused."""

_STATE = "State, written by the algorithm for others to read and never read back."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(settings_.Settings):
    """Settings of hyperband; names and defaults are Katib's."""

    r_l: float = settings_.real(settings_.REQUIRED, "Largest resource of a trial.", at_least=1, at_most=1e12)
    resource_name: str = settings_.text(settings_.REQUIRED, "Parameter that is the resource, such as the epochs.")
    eta: float = settings_.real(3.0, "One of eta goes on, with eta times the resource; 0 or less means 3.")
    s_max: float = settings_.real(-1.0, _STATE)
    b_l: float = settings_.real(-1.0, _STATE)
    r: float = settings_.real(-1.0, _STATE)
    n: float = settings_.real(-1.0, _STATE)
    current_s: float = settings_.real(-2.0, _STATE)
    current_i: float = settings_.real(-1.0, _STATE)
    evaluating_trials: float = settings_.real(0.0, _STATE)

    @classmethod
    def parse(cls, given: Mapping[str, str], path: str = settings_.PATH) -> tuple[Self | None, list[errors.Problem]]:
        """Besides the ranges: eta must be greater than 1, or not positive (then it is 3)."""
        read, problems = super().parse(given, path)
        if read is None or read.eta > 1:
            return read, problems
        if read.eta > 0:
            message = f"must be greater than 1 (or 0 for the default 3), not {read.eta:g}"
            return None, [errors.Problem(f"{path}[eta]", message)]
        return dataclasses.replace(read, eta=3.0), []


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a number stands: bracket ``s``, rung ``i``, ``position`` on it; ``start`` and ``before`` are the first numbers of the rung
    and of the one before."""

    s: int
    i: int
    position: int
    start: int
    size: int
    before: int
    resource: int


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The sizes and resources of all brackets."""

    r_l: float
    eta: float

    @cached_property
    def s_max(self) -> int:
        """Number of the largest bracket."""
        return math.floor(math.log(self.r_l) / math.log(self.eta) + 1e-9)

    def first_size(self, s: int) -> int:
        """Configurations that bracket s starts with."""
        return _ceil((self.s_max + 1) * self.eta**s / (s + 1))

    def sizes(self, s: int) -> list[int]:
        """Trials on each rung of bracket s."""
        n = self.first_size(s)
        return [n, *(_ceil(_ceil(n * self.eta**-i) / self.eta) for i in range(s))]

    def resource(self, s: int, i: int) -> int:
        """Resource on rung i of bracket s: cut to a whole number."""
        return math.floor(self.r_l * self.eta ** (i - s) + 1e-9)

    @cached_property
    def rungs(self) -> list[Place]:
        """Every rung in order, as the place of its first trial."""
        found, start, before = [], 0, 0
        for s in range(self.s_max, -1, -1):
            for i, size in enumerate(self.sizes(s)):
                found.append(Place(s, i, 0, start, size, before, self.resource(s, i)))
                before, start = start, start + size
        return found

    @property
    def total(self) -> int:
        """Trials of all brackets together."""
        return self.rungs[-1].start + self.rungs[-1].size

    def place(self, number: int) -> Place | None:
        """Where a number stands; None after the last bracket."""
        for rung in self.rungs:
            if number < rung.start + rung.size:
                return dataclasses.replace(rung, position=number - rung.start)
        return None

    def state(self, next_number: int) -> dict[str, Any]:
        """Katib's state after everything before ``next_number`` was given out."""
        place = self.place(next_number)
        state: dict[str, Any] = {
            "s_max": self.s_max,
            "b_l": (self.s_max + 1) * self.r_l,
            "current_s": -1,
            "current_i": 0,
        }
        if place is None:
            return {**state, "n": 0, "r": 0, "evaluating_trials": 0}
        waits_for = place.start - place.before if place.i else 0
        return {
            **state,
            "n": self.first_size(place.s),
            "r": self.r_l * self.eta**-place.s,
            "current_s": place.s,
            "current_i": place.i,
            "evaluating_trials": waits_for,
        }


class Hyperband(algorithm.Algorithm):
    """See the module."""

    name = "hyperband"
    summary = "Brackets of successive halving."
    warm_start = False
    Settings: ClassVar[type[settings_.Settings]] = Settings
    batch_invariant = True
    repeats = True

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """The resource must be a parameter, and the first rung must fit the parallel trials."""
        given = problem.settings
        found = halving.resource_problems(problem, given.resource_name)
        schedule = Schedule(given.r_l, given.eta)
        needed = _ceil(given.eta**schedule.s_max)
        if problem.parallel < needed:
            message = (
                f"must be at least {needed} for hyperband: eta^s_max = {given.eta:g}^{schedule.s_max}, "
                f"where s_max = floor(ln r_l / ln eta) = floor(ln {given.r_l:g} / ln {given.eta:g}); "
                f"it is {problem.parallel}. Raise it, or lower r_l"
            )
            found.append(errors.Problem("spec.parallelTrialCount", message))
        if given.eta**schedule.s_max * (schedule.s_max + 1) > MOST_TRIALS:
            message = f"eta {given.eta:g} and r_l {given.r_l:g} ask for more than {MOST_TRIALS} trials"
            return [*found, errors.Problem(f"{settings_.PATH}[eta]", message)]
        parameter = next((p for p in problem.space.parameters if p.name == given.resource_name), None)
        if parameter is not None and parameter.listed and not found:
            missing = sorted({float(rung.resource) for rung in schedule.rungs} - set(halving.numbers(parameter)))
            if missing:
                amounts = ", ".join(f"{amount:g}" for amount in missing)
                message = f"the list of {parameter.name} lacks resources that the brackets use: {amounts}"
                index = problem.space.names.index(parameter.name)
                found.append(errors.Problem(f"spec.parameters[{index}].feasibleSpace.list", message))
        return found

    @classmethod
    def free(cls, problem: algorithm.Problem) -> frozenset[str]:
        """The resource is not clipped to its range."""
        return frozenset({problem.settings.resource_name})

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        given = problem.settings
        self.schedule = Schedule(given.r_l, given.eta)
        self.frame = halving.Frame(problem.space, given.resource_name)
        self._amounts = sorted({float(rung.resource) for rung in self.schedule.rungs})

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """What the places of these numbers are due; waits when a rung is not complete. O(trials) a call."""
        standings = halving.Standings(self.frame, self._amounts, history)
        items: list[algorithm.Proposal] = []
        wait, place = "", self.schedule.place(first)
        for number in range(first, first + count):
            place = self.schedule.place(number)
            if place is None:
                break
            if place.i:
                left = self._left(history, place, first, number)
                if left:
                    wait = f"rung {place.i} of bracket {place.s} waits for {left} trials of the rung before"
                    break
            configuration = self._configuration(history, standings, place, number)
            standings.add(configuration, self._amounts.index(place.resource))
            text = halving.text_of(self.frame.resource, place.resource)
            items.append(algorithm.Proposal(self.frame.point(configuration, place.resource), text=text))
        done = first + len(items)
        return algorithm.Proposals(
            tuple(items), exhausted=done >= self.schedule.total, wait=wait, settings=self._state(done)
        )

    def _left(self, history: histories.History, place: Place, first: int, number: int) -> int:
        """How many trials of the rung before have not ended: those that run, and those of this very batch."""
        before = range(place.before, place.start)
        running = sum(other in before for other in history.pending_numbers)
        return running + sum(other in before and other not in history for other in range(first, number))

    def _configuration(
        self, history: histories.History, standings: halving.Standings, place: Place, number: int
    ) -> Floats:
        if place.i:
            ranked = self._ranked(history, place)
            if place.position < len(ranked):
                return ranked[place.position]
        generator = self.random(number)
        drawn = standings.draw(generator)
        return self.frame.rest.sample(generator, 1)[0] if drawn is None else drawn

    def _ranked(self, history: histories.History, place: Place) -> list[Floats]:
        """Configurations of the rung before: those with a value, best first, then the killed ones."""
        numbers = history.numbers
        rows = np.flatnonzero((numbers >= place.before) & (numbers < place.start))
        finished = rows[np.isin(rows, history.finished)]
        order = finished[np.argsort(history.y[finished], kind="stable")]
        void = [row for row in rows if history[int(numbers[row])].standing == histories.VOID]
        rest, _ = self.frame.split(history.codes)
        return [rest[row] for row in [*order.tolist(), *void]]

    def _state(self, done: int) -> dict[str, str]:
        given = self.problem.settings
        state = {"eta": given.eta, "r_l": given.r_l, **self.schedule.state(done)}
        return {**{name: _text(value) for name, value in state.items()}, "resource_name": given.resource_name}


def _ceil(x: float) -> int:
    """The least whole number not below x, but for float noise."""
    return math.ceil(x - 1e-9)


def _text(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(float(number))
