"""What hyperband, asha and bohb share: a resource parameter, configurations without it, and how far each has come.

A *configuration* is a point without its resource. It is tried with little resource first; the good ones are tried again with
more, as new trials with the same configuration. All of it is read from the history: a trial's resource says on which rung it
stands, so nothing has to be remembered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from kuttab.algorithms import algorithm, distinct, permutation
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms import space as spaces
from kuttab.algorithms.parameters import Floats, Parameter
from kuttab.api.space import ParameterType
from kuttab.base import errors

Key = bytes
"""A configuration as bytes: equal for equal configurations, in every process."""


def resource_problems(problem: algorithm.Problem, name: str) -> list[errors.Problem]:
    """What is wrong with the choice of the resource parameter; empty when it can be one."""
    at = f"{settings_.PATH}[resource_name]"
    parameter = next((p for p in problem.space.parameters if p.name == name), None)
    if parameter is None:
        known = ", ".join(problem.space.names) or "none"
        return [errors.Problem(at, f"{name!r} is no parameter; the value must be one of: {known}")]
    if parameter.listed and not numbers(parameter):
        return [errors.Problem(at, f"{name!r} has values that are no numbers, so it cannot be a resource")]
    if len(problem.space) < 2:
        return [errors.Problem("spec.parameters", "a parameter besides the resource is needed", "FieldValueRequired")]
    return []


def numbers(parameter: Parameter) -> tuple[float, ...]:
    """The list of a parameter as numbers, in its own order; empty when it has no list or a text is no finite number."""
    try:
        found = tuple(float(choice) for choice in parameter.choices)
    except ValueError:
        return ()
    return found if all(math.isfinite(number) for number in found) else ()


class Frame:
    """A space taken apart into the resource and the rest."""

    def __init__(self, space: spaces.Space, resource: str) -> None:
        self.space = space
        self.column = space.names.index(resource)
        self.resource = space.parameters[self.column]
        rest = tuple(p for j, p in enumerate(space.parameters) if j != self.column)
        self.rest = spaces.Space(rest)

    def split(self, codes: Floats) -> tuple[Floats, Floats]:
        """Configurations (n, d-1) and resource codes (n,)."""
        return np.ascontiguousarray(np.delete(codes, self.column, axis=1)), codes[:, self.column]

    def point(self, configuration: Floats, resource: float) -> spaces.Point:
        """The typed values of a configuration with a resource, given as a number."""
        return self.space.point(np.insert(configuration, self.column, self.code(resource)))

    def code(self, resource: float) -> float:
        """The code of a resource given as a number; raises ValueError when a list does not hold it."""
        if self.resource.listed:
            return float(numbers(self.resource).index(resource))
        return float(resource)


def key_of(configuration: Floats) -> Key:
    """The key of a row of codes."""
    return configuration.tobytes()


@dataclass
class Rung:
    """The trials with one amount of resource. ``ended`` counts those that are over and say something."""

    ended: int = 0
    pending: int = 0
    results: list[tuple[float, int, Key]] = field(default_factory=list)  # (objective, number, configuration)
    known: set[Key] = field(default_factory=set)

    def best(self, count: int) -> list[Key]:
        """The best configurations that have a value, best first; of equals the earliest."""
        return [key for _, _, key in sorted(self.results)[:count]]


class Standings:
    """Who stands where, read from a history in one pass; :meth:`add` follows a batch that is being proposed."""

    def __init__(self, frame: Frame, levels: Sequence[float], history: histories.History) -> None:
        self.frame = frame
        self.levels = tuple(levels)
        self.rungs = [Rung() for _ in self.levels]
        self.configurations: dict[Key, Floats] = {}
        place = {frame.code(level): index for index, level in enumerate(self.levels)}
        rest, resources = frame.split(history.codes)
        standing = np.full(len(history), histories.VOID)
        for kind, rows in (
            (histories.FINISHED, history.finished),
            (histories.INFEASIBLE, history.infeasible),
            (histories.PENDING, history.pending),
        ):
            standing[rows] = kind
        values, numbers_ = history.y.tolist(), history.numbers.tolist()
        for row, (kind, resource) in enumerate(zip(standing.tolist(), resources.tolist(), strict=True)):
            if kind == histories.VOID:
                continue
            key = key_of(rest[row])
            self.configurations[key] = rest[row]
            if resource not in place:
                continue
            rung = self.rungs[place[resource]]
            rung.known.add(key)
            if kind == histories.PENDING:
                rung.pending += 1
            else:
                rung.ended += 1
            if kind == histories.FINISHED:
                rung.results.append((values[row], numbers_[row], key))

    def add(self, configuration: Floats, index: int) -> None:
        """A proposal of the running batch."""
        key = key_of(configuration)
        self.configurations[key] = configuration
        self.rungs[index].known.add(key)
        self.rungs[index].pending += 1

    @property
    def waiting(self) -> bool:
        """Whether any trial has no result yet."""
        return any(rung.pending for rung in self.rungs)

    def promotion(self, eta: float) -> tuple[Floats, int] | None:
        """The configuration to go on with and the rung it goes to, from the highest rung down; None when none is due.

        Of n ended trials on a rung the best n/eta, rounded down, go on as soon as they are known to be among them.
        """
        for index in range(len(self.rungs) - 2, -1, -1):
            rung, above = self.rungs[index], self.rungs[index + 1]
            for key in rung.best(math.floor(rung.ended / eta)):
                if key not in above.known:
                    return self.configurations[key], index + 1
        return None

    def fresh(self, configuration: Floats) -> bool:
        """Whether no trial has this configuration, with whatever resource."""
        return key_of(configuration) not in self.configurations

    def draw(self, generator: np.random.Generator) -> Floats | None:
        """An unseen configuration by the declared distributions; None when there is none left."""
        rest = self.frame.rest
        total = rest.cardinality
        if total is None or len(self.configurations) < total:
            for _ in range(distinct.TRIES):
                configuration: Floats = rest.sample(generator, 1)[0]
                if self.fresh(configuration):
                    return configuration
        return next((c for c in self._walk(generator) if self.fresh(c)), None)

    def _walk(self, generator: np.random.Generator) -> Iterator[Floats]:
        """Every configuration of a countable space in a shuffled order, far enough to meet an unseen one."""
        rest, total = self.frame.rest, self.frame.rest.cardinality
        if total is None:
            yield rest.sample(generator, 1)[0]
            return
        order = permutation.Permutation(total, int(generator.integers(2**63)))
        for place in range(min(total, len(self.configurations) + 1)):
            yield rest.at(order[place])


def levels(parameter: Parameter, low: float, high: float, eta: float) -> tuple[float, ...]:
    """Amounts of resource from about ``low`` to exactly ``high``, each about eta times the one before.

    They count down from ``high``, so that the last step is a whole one: 1..100 by 3 gives 1, 4, 11, 33, 100. Whole numbers for an
    int, grid points for a step, entries of a list (the greatest not above the wish).
    """
    count = math.floor(math.log(high / low) / math.log(eta) + 1e-9)
    found: list[float] = []
    for k in range(count, -1, -1):
        wish = high * eta**-k
        if parameter.listed:
            fitting = [number for number in numbers(parameter) if low <= number <= wish * (1 + 1e-9)]
            amount = max(fitting, default=low)
        elif parameter.step:
            index = round((wish - parameter.low) / parameter.step)
            amount = parameter.at(min(max(index, 0), (parameter.count or 1) - 1))
            amount = max(amount, low) if k else high
        else:
            amount = wish if k else high
        if not found or amount > found[-1]:
            found.append(amount)
    return tuple(found)


def text_of(parameter: Parameter, amount: float) -> dict[str, str]:
    """The override that writes a whole amount of a double without ``.0``, as programs that count with it expect."""
    if parameter.type is ParameterType.DOUBLE and amount == int(amount):
        return {parameter.name: str(int(amount))}
    return {}
