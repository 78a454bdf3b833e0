"""The search space as algorithms see it: checked, typed, and one row of floats per point.

Built from the text of a manifest, which is checked here once more because algorithms are also called without admission
(gRPC, ask-and-tell). A point is a tuple of typed values, a row of codes, or a row of unit values; this file converts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kuttab.algorithms import codec
from kuttab.algorithms.parameters import WIDEST_INT, Floats, Parameter, Value
from kuttab.api import space as api
from kuttab.base import errors

Point = tuple[Value, ...]
"""Typed values in the order of the space's parameters."""

_INT = re.compile(r"[+-]?\d+\Z")


@dataclass(frozen=True)
class Space:
    """Parameters in the order of the manifest."""

    parameters: tuple[Parameter, ...] = ()

    def __len__(self) -> int:
        return len(self.parameters)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    @cached_property
    def cardinality(self) -> int | None:
        """The number of points, exact however large; None when uncountable. A space without parameters has one point."""
        product = 1
        for parameter in self.parameters:
            count = parameter.count
            if count is None:
                return None
            product *= count
        return product

    @cached_property
    def categorical(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Mask of the parameters without order."""
        return np.array([parameter.categorical for parameter in self.parameters], dtype=bool)

    @cached_property
    def counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Number of values of each parameter, 0 when uncountable (capped at 2^62)."""
        return np.array([min(p.count or 0, 2**62) for p in self.parameters], dtype=np.int64)

    # Rows of codes and of unit values.

    def encode(self, codes: Floats) -> Floats:
        """Codes (n, d) to unit values (n, d): a grid value maps to the middle of its cell's mass; what lies outside is clipped."""
        return self._codec.encode(codes)

    def decode(self, units: Floats) -> Floats:
        """Unit values (n, d) to codes (n, d): snapped to grids and lists, clipped to the bounds."""
        return self._codec.decode(units)

    @cached_property
    def _codec(self) -> codec.Codec:
        return codec.Codec(self.parameters)

    def snap(self, units: Floats) -> Floats:
        """Unit values moved to the middle of the cell they fall in."""
        return self.encode(self.decode(units))

    def codes(self, point: Sequence[Any]) -> Floats:
        """The row of codes (d,) of typed values; raises ValueError naming the parameter."""
        row = np.empty(len(self.parameters))
        for j, (parameter, value) in enumerate(zip(self.parameters, point, strict=True)):
            try:
                row[j] = parameter.code(value)
            except (ValueError, TypeError, OverflowError) as error:
                raise ValueError(f"{parameter.name}: {error}") from error
        return np.asarray(row + 0.0)

    def point(self, codes: Floats) -> Point:
        """The typed values of a row of codes."""
        return tuple(parameter.typed(code) for parameter, code in zip(self.parameters, codes.tolist(), strict=True))

    def to_unit(self, point: Sequence[Any]) -> Floats:
        """The unit values (d,) of typed values."""
        return np.asarray(self.encode(self.codes(point)[None, :])[0])

    def from_unit(self, units: Floats) -> Point:
        """The typed values of one row of unit values."""
        return self.point(self.decode(np.asarray(units, dtype=np.float64)[None, :])[0])

    def sample(self, generator: np.random.Generator, n: int) -> Floats:
        """Codes (n, d) drawn independently from the declared distributions."""
        return self.decode(generator.random((n, len(self.parameters))))

    def at(self, index: int) -> Floats:
        """The codes of point number ``index`` of a countable space; the last parameter varies fastest."""
        row = np.empty(len(self.parameters))
        for j in range(len(self.parameters) - 1, -1, -1):
            index, place = divmod(index, self.parameters[j].count or 1)
            row[j] = self.parameters[j].at(place)
        return np.asarray(row + 0.0)

    def contains(self, codes: Floats, free: Iterable[str] = ()) -> bool:
        """Whether a row of codes is a point of the space; parameters in ``free`` may have any value."""
        skip = set(free)
        return all(p.name in skip or p.contains(c) for p, c in zip(self.parameters, codes.tolist(), strict=True))

    def neighbours(self, codes: Floats) -> Floats:
        """Rows that differ in one parameter by one place (see :meth:`Parameter.neighbours`); (0, d) when there are none."""
        rows = []
        for j, parameter in enumerate(self.parameters):
            for code in parameter.neighbours(float(codes[j])):
                row = codes.copy()
                row[j] = code
                rows.append(row)
        return np.array(rows).reshape(len(rows), len(self.parameters))

    # Text.

    def parse(self, assignments: Mapping[str, str]) -> Point:
        """Typed values of text assignments.

        Raises ValueError for a missing, foreign or unreadable one; numbers outside the bounds are read as they are.
        """
        foreign = sorted(set(assignments) - set(self.names))
        missing = [name for name in self.names if name not in assignments]
        if foreign or missing:
            parts = [
                f"{what} parameter {', '.join(names)}"
                for what, names in (("unknown", foreign), ("missing", missing))
                if names
            ]
            raise ValueError("; ".join(parts))
        codes = self.codes([assignments[name] for name in self.names])
        return self.point(codes)

    def format(self, point: Sequence[Value]) -> dict[str, str]:
        """Text of typed values by name, as trials receive it."""
        return {p.name: p.format(value) for p, value in zip(self.parameters, point, strict=True)}


def from_specs(specs: Iterable[api.ParameterSpec], path: str = "spec.parameters") -> Space:
    """Check and read parameters; raises InvalidError with every problem and its field path."""
    problems: list[errors.Problem] = []
    parameters: list[Parameter] = []
    names: set[str] = set()
    for index, spec in enumerate(specs):
        at = f"{path}[{index}]"
        if not spec.name:
            problems.append(errors.Problem(f"{at}.name", "a parameter needs a name", "FieldValueRequired"))
        elif spec.name in names:
            problems.append(errors.Problem(f"{at}.name", f"{spec.name!r} is named twice", "FieldValueDuplicate"))
        names.add(spec.name)
        found: list[errors.Problem] = []
        parameter = _parameter(spec, at, found)
        problems += found
        if parameter is not None and not found:
            parameters.append(parameter)
    if problems:
        raise errors.InvalidError(problems, "search space")
    return Space(tuple(parameters))


def _parameter(spec: api.ParameterSpec, at: str, problems: list[errors.Problem]) -> Parameter | None:
    feasible = spec.feasible_space
    if spec.parameter_type in ("categorical", "discrete"):
        return _listed(spec, f"{at}.feasibleSpace", problems)
    if spec.parameter_type not in ("int", "double"):
        message = f"{spec.parameter_type!r} is no parameter type; use double, int, discrete or categorical"
        problems.append(errors.Problem(f"{at}.parameterType", message, "FieldValueNotSupported"))
        return None
    at = f"{at}.feasibleSpace"
    kind = api.ParameterType(spec.parameter_type)
    numbers = {}
    for field in ("min", "max", "step"):
        text = getattr(feasible, field)
        if not text and field == "step":
            numbers[field] = 1.0 if kind is api.ParameterType.INT else 0.0
            continue
        try:
            numbers[field] = _number(text, kind)
        except ValueError as error:
            problems.append(
                errors.Problem(f"{at}.{field}", str(error), "FieldValueInvalid" if text else "FieldValueRequired")
            )
    distribution = _distribution(feasible.distribution, at, problems)
    if problems:
        return None
    return _ranged(
        Parameter(spec.name, kind, numbers["min"], numbers["max"], numbers["step"], distribution),
        feasible,
        at,
        problems,
    )


def _ranged(parameter: Parameter, feasible: api.FeasibleSpace, at: str, problems: list[errors.Problem]) -> Parameter:
    if parameter.low > parameter.high:
        problems.append(errors.Problem(f"{at}.max", f"max {feasible.max} is below min {feasible.min}"))
    if not math.isfinite(parameter.high - parameter.low):
        problems.append(errors.Problem(f"{at}.max", "max - min must be a finite number"))
    if feasible.step and parameter.step <= 0:
        problems.append(errors.Problem(f"{at}.step", f"step {feasible.step} must be greater than 0"))
    if feasible.choices:
        problems.append(
            errors.Problem(f"{at}.list", "a list belongs to discrete and categorical parameters", "FieldValueForbidden")
        )
    if parameter.log and parameter.low <= 0:
        message = f"{parameter.distribution} needs min greater than 0, got {feasible.min}"
        problems.append(errors.Problem(f"{at}.min", message))
    return parameter


def _listed(spec: api.ParameterSpec, at: str, problems: list[errors.Problem]) -> Parameter | None:
    feasible = spec.feasible_space
    if not feasible.choices:
        problems.append(
            errors.Problem(f"{at}.list", f"a {spec.parameter_type} parameter needs a list", "FieldValueRequired")
        )
        return None
    if _distribution(feasible.distribution, at, problems) is not api.Distribution.UNIFORM:
        message = f"a {spec.parameter_type} parameter is always uniform; distributions are for int and double"
        problems.append(errors.Problem(f"{at}.distribution", message, "FieldValueForbidden"))
    choices = list(feasible.choices)
    for index, choice in enumerate(choices):
        if choice in choices[:index]:
            problems.append(errors.Problem(f"{at}.list[{index}]", f"{choice!r} is listed twice", "FieldValueDuplicate"))
    kind, numbers = api.ParameterType.CATEGORICAL, ()
    if spec.parameter_type == "discrete":
        ordered = _ordered(choices)
        if ordered is not None:
            kind, choices = api.ParameterType.DISCRETE, [text for _, text in ordered]
            return Parameter(
                spec.name,
                kind,
                0.0,
                len(choices) - 1.0,
                1.0,
                choices=tuple(choices),
                numbers=tuple(n for n, _ in ordered),
            )
    return Parameter(spec.name, kind, 0.0, len(choices) - 1.0, 1.0, choices=tuple(choices), numbers=numbers)


def _ordered(choices: list[str]) -> list[tuple[float, str]] | None:
    """A discrete list by its numbers; None when a text is no finite number, and the list then has no order."""
    try:
        numbers = [float(text) for text in choices]
    except ValueError:
        return None
    if not all(math.isfinite(number) for number in numbers):
        return None
    return sorted(zip(numbers, choices, strict=True))


def _number(text: str, kind: api.ParameterType) -> float:
    if not text:
        raise ValueError(f"{'an int' if kind is api.ParameterType.INT else 'a double'} parameter needs a number here")
    if kind is api.ParameterType.INT:
        if not _INT.match(text):
            raise ValueError(f"{text!r} is not an integer")
        if abs(int(text)) > WIDEST_INT:
            raise ValueError(f"{text} is too large: integers must lie within -2^53 and 2^53")
        return float(int(text))
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a finite number")
    return number


def _distribution(text: str, at: str, problems: list[errors.Problem]) -> api.Distribution:
    if text in ("", "unknown"):
        return api.Distribution.UNIFORM
    try:
        return api.Distribution(text)
    except ValueError:
        message = f"{text!r} is no distribution; use uniform, logUniform, normal or logNormal"
        problems.append(errors.Problem(f"{at}.distribution", message, "FieldValueNotSupported"))
        return api.Distribution.UNIFORM
