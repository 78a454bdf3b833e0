"""The search space in Python: ``search.double(1e-5, 0.1, log=True)`` and its siblings.

A :class:`Dimension` is plain data. It becomes a parameter of a manifest, and it turns an algorithm's value back into the
Python value the user listed: a boolean is a bool, a category keeps its type. Loads no numeric library.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kuttab.api import space as api
from kuttab.base import errors


@dataclass(frozen=True)
class Dimension:
    """One parameter without its name. ``values`` are the Python values behind ``texts``, for lists."""

    type: str
    min: str = ""
    max: str = ""
    step: str = ""
    distribution: str = ""
    texts: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()

    def spec(self, name: str) -> api.ParameterSpec:
        """The parameter of a manifest."""
        given = {"min": self.min, "max": self.max, "step": self.step, "distribution": self.distribution}
        feasible: dict[str, Any] = {key: value for key, value in given.items() if value}
        if self.texts:
            feasible["choices"] = [*self.texts]
        return api.ParameterSpec(name=name, parameter_type=self.type, feasible_space=api.FeasibleSpace(**feasible))

    def read(self, text: str) -> Any:
        """The Python value of an assignment's text; raises ValueError when it is none of this dimension's."""
        if self.texts:
            try:
                return self.values[self.texts.index(text)]
            except ValueError:
                raise ValueError(f"{text!r} is none of {', '.join(self.texts)}") from None
        return builtins.int(text) if self.type == "int" else float(text)

    def write(self, value: Any) -> str:
        """The text of a Python value; raises ValueError when it is none of this dimension's."""
        if self.texts:
            for text, known in zip(self.texts, self.values, strict=True):
                if known == value and isinstance(known, bool) == isinstance(value, bool):
                    return text
            raise ValueError(f"{value!r} is none of {', '.join(map(repr, self.values))}")
        if isinstance(value, bool) or not isinstance(value, builtins.int | float):
            raise ValueError(f"{value!r} is not a number")
        if self.type == "int":
            if value != builtins.int(value):
                raise ValueError(f"{value!r} is not an integer")
            return str(builtins.int(value))
        return repr(float(value))


def double(low: float, high: float, *, log: bool = False, normal: bool = False, step: float | None = None) -> Dimension:
    """A floating point number from ``low`` to ``high``, both included.

    ``log`` spreads it over the logarithms, ``normal`` gathers it around the middle (standard deviation (high - low) / 6);
    both together do so on the logarithms. ``step`` restricts it to low, low + step, ... Raises BadInputError.
    """
    return _ranged("double", float(low), float(high), None if step is None else float(step), log, normal)


def int(  # noqa: A001 - read as search.int
    low: builtins.int, high: builtins.int, *, log: bool = False, normal: bool = False, step: builtins.int = 1
) -> Dimension:
    """A whole number from ``low`` to ``high``, both included; the options are those of :func:`double`."""
    bounds: tuple[Any, ...] = (low, high, step)
    for value in bounds:
        if isinstance(value, bool) or not math.isfinite(value) or value != builtins.int(value):
            raise errors.BadInputError(f"search.int takes whole numbers, got {value!r}")
    return _ranged("int", builtins.int(low), builtins.int(high), builtins.int(step), log, normal)


def discrete(values: Iterable[float]) -> Dimension:
    """One of several numbers whose order and distance matter, such as ``[16, 32, 64]``. Raises BadInputError."""
    listed: tuple[Any, ...] = tuple(values)
    for value in listed:
        if isinstance(value, bool) or not isinstance(value, builtins.int | float) or not math.isfinite(value):
            raise errors.BadInputError(
                f"search.discrete takes finite numbers, got {value!r}; use categorical for other things"
            )
    return _listed("discrete", listed, tuple(repr(value) for value in listed))


def categorical(choices: Iterable[Hashable]) -> Dimension:
    """One of several things without order; each keeps its Python type. Raises BadInputError."""
    listed = tuple(choices)
    texts = tuple(str(choice) for choice in listed)
    if len(set(texts)) < len(texts):
        texts = tuple(repr(choice) for choice in listed)
    return _listed("categorical", listed, texts)


def boolean() -> Dimension:
    """True or False; the text of an assignment is ``true`` or ``false``."""
    return _listed("categorical", (False, True), ("false", "true"))


def specs(space: Mapping[str, Dimension]) -> list[api.ParameterSpec]:
    """The parameters of a manifest, in the order of the mapping. Raises BadInputError naming what is no dimension."""
    for name, dimension in space.items():
        if not isinstance(dimension, Dimension):
            raise errors.BadInputError(
                f"parameter {name!r}: expected search.double, int, discrete, categorical or boolean, got {dimension!r}"
            )
    return [dimension.spec(name) for name, dimension in space.items()]


def _ranged(kind: str, low: float, high: float, step: float | None, log: bool, normal: bool) -> Dimension:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise errors.BadInputError(f"search.{kind}: bounds must be finite, got {low!r} and {high!r}")
    if low > high:
        raise errors.BadInputError(f"search.{kind}: low {low!r} is greater than high {high!r}")
    if log and low <= 0:
        raise errors.BadInputError(f"search.{kind}: log needs low greater than 0, got {low!r}")
    if step is not None and not step > 0:
        raise errors.BadInputError(f"search.{kind}: step must be greater than 0, got {step!r}")
    distribution = {(True, True): "logNormal", (True, False): "logUniform", (False, True): "normal"}.get(
        (log, normal), ""
    )
    shown = "" if step is None or (kind == "int" and step == 1) else repr(step)
    return Dimension(kind, repr(low), repr(high), shown, distribution)


def _listed(kind: str, values: tuple[Any, ...], texts: tuple[str, ...]) -> Dimension:
    if not values:
        raise errors.BadInputError(f"search.{kind} needs at least one value")
    if len(set(texts)) < len(texts):
        raise errors.BadInputError(f"search.{kind}: a value is listed twice in {list(values)!r}")
    return Dimension(kind, texts=texts, values=values)
