"""Text of assignments as Python values, by the parameter types of the experiment or by the space that the user wrote in Python.

What cannot be read stays text: a result must not fail for one odd value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kuttab.api import experiment, space
from kuttab.sdk import search

Read = Callable[[str], Any]
"""The value of a text; raises ValueError."""


def types_of(
    subject: experiment.Experiment, dimensions: Mapping[str, search.Dimension] | None = None
) -> dict[str, Read]:
    """How each parameter's text is read: by its dimension when there is one, else by its type in the manifest."""
    found: dict[str, Read] = {}
    for spec in subject.spec.parameters or ():
        dimension = (dimensions or {}).get(spec.name)
        found[spec.name] = dimension.read if dimension is not None else _BY_TYPE.get(spec.parameter_type, str)
    return found


def values(assignments: Mapping[str, str], types: Mapping[str, Read]) -> dict[str, Any]:
    """Python values by name, in the order of the assignments."""
    return {name: value(text, types.get(name, str)) for name, text in assignments.items()}


def value(text: str, read: Read) -> Any:
    """The value of one text; the text itself when it cannot be read."""
    try:
        return read(text)
    except ValueError:
        return text


def whole_or_float(text: str) -> int | float:
    """``16`` is an int, ``0.5`` and ``1e3`` are floats; raises ValueError."""
    try:
        return int(text)
    except ValueError:
        return float(text)


_BY_TYPE: dict[str, Read] = {
    space.ParameterType.DOUBLE: float,
    space.ParameterType.INT: whole_or_float,  # a resource may leave its grid
    space.ParameterType.DISCRETE: whole_or_float,
    space.ParameterType.CATEGORICAL: str,
}
