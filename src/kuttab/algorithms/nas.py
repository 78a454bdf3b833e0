"""What architecture searches share: the checks of a nasConfig, the list of operations it spans, and the text form of answers.

It knows no search strategy. An *operation* of the manifest with its parameters stands for every combination of their values;
combinations are numbered from 0 over the operations in order, the last parameter varying fastest.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from kuttab.api import space as api
from kuttab.base import errors

SKIP_CONNECTION: Final = "skip_connection"
"""The one operation that needs no parameters."""

MOST_OPERATIONS: Final = 10_000
"""More combinations than this are refused: no controller can tell them apart."""

MOST_LAYERS: Final = 100
"""Deeper networks are refused: the answer grows with the square of the depth."""

UNSAFE: Final = "quotes and backslashes cannot be handed to a trial program"

ParameterValue = str | int | float


@dataclass(frozen=True, slots=True)
class Choice:
    """One operation with one value for each of its parameters."""

    id: int
    type: str
    parameters: tuple[tuple[str, ParameterValue], ...]

    def describe(self) -> dict[str, Any]:
        """The entry of this operation in an answer."""
        return {"opt_id": self.id, "opt_type": self.type, "opt_params": dict(self.parameters)}


def unsafe(text: str) -> bool:
    """Whether a text would not survive :func:`quoted` and its reversal by a trial program."""
    return any(sign in text for sign in "'\"\\")


def quoted(value: Any) -> str:
    """JSON text with every double quote replaced by a single one, as trial programs of Katib expect (they reverse it)."""
    return json.dumps(value).replace('"', "'")


def unquoted(text: str) -> Any:
    """The value of a :func:`quoted` text; raises ValueError when it is none."""
    try:
        return json.loads(text.replace("'", '"'))
    except RecursionError:
        raise ValueError("the text is nested too deeply") from None


def problems(
    config: api.NasConfig | None, *, sizes: bool, free: Sequence[str] = (), path: str = "spec.nasConfig"
) -> list[errors.Problem]:
    """Everything wrong with a nasConfig.

    ``sizes`` asks for input and output sizes too; operations named in ``free`` need no parameters.
    """
    if config is None:
        return [errors.Problem(path, "architecture search needs a nasConfig", "FieldValueRequired")]
    found = _graph_problems(config.graph_config, sizes, f"{path}.graphConfig")
    if not config.operations:
        found.append(errors.Problem(f"{path}.operations", "give at least one operation", "FieldValueRequired"))
    total = 0
    for index, operation in enumerate(config.operations or ()):
        at = f"{path}.operations[{index}]"
        wrong = _operation_problems(operation, operation.operation_type in free, at)
        found += wrong
        if not wrong:
            total += math.prod(_count(parameter) for parameter in operation.parameters or ())
    if total > MOST_OPERATIONS:
        message = f"the operations span {total} combinations; at most {MOST_OPERATIONS} are possible"
        found.append(errors.Problem(f"{path}.operations", message))
    return found


def _graph_problems(graph: api.GraphConfig, sizes: bool, path: str) -> list[errors.Problem]:
    found = []
    if graph.num_layers is None:
        found.append(errors.Problem(f"{path}.numLayers", "give the number of layers", "FieldValueRequired"))
    elif not 1 <= graph.num_layers <= MOST_LAYERS:
        found.append(errors.Problem(f"{path}.numLayers", f"must be 1 to {MOST_LAYERS}, not {graph.num_layers}"))
    for name, given in (("inputSizes", graph.input_sizes), ("outputSizes", graph.output_sizes)):
        if sizes and not given:
            found.append(errors.Problem(f"{path}.{name}", "give at least one size", "FieldValueRequired"))
        if any(size < 1 for size in given or ()):
            found.append(errors.Problem(f"{path}.{name}", f"sizes must be at least 1, not {given}"))
    return found


def _operation_problems(operation: api.Operation, free: bool, path: str) -> list[errors.Problem]:
    found = []
    if not operation.operation_type:
        found.append(errors.Problem(f"{path}.operationType", "name the operation", "FieldValueRequired"))
    if not operation.parameters and not free:
        message = f"operation {operation.operation_type!r} needs at least one parameter"
        found.append(errors.Problem(f"{path}.parameters", message, "FieldValueRequired"))
    if unsafe(operation.operation_type):
        found.append(errors.Problem(f"{path}.operationType", UNSAFE))
    names: set[str] = set()
    for index, parameter in enumerate(operation.parameters or ()):
        at = f"{path}.parameters[{index}]"
        if not parameter.name:
            found.append(errors.Problem(f"{at}.name", "a parameter needs a name", "FieldValueRequired"))
        elif parameter.name in names:
            found.append(errors.Problem(f"{at}.name", f"{parameter.name!r} is named twice", "FieldValueDuplicate"))
        if unsafe(parameter.name):
            found.append(errors.Problem(f"{at}.name", UNSAFE))
        names.add(parameter.name)
        found += _parameter_problems(parameter, at)
    return found


def _parameter_problems(parameter: api.ParameterSpec, path: str) -> list[errors.Problem]:
    feasible, at = parameter.feasible_space, f"{path}.feasibleSpace"
    if parameter.parameter_type in ("categorical", "discrete"):
        if feasible.choices:
            return _text_problems(feasible.choices, f"{at}.list")
        return [
            errors.Problem(f"{at}.list", f"a {parameter.parameter_type} parameter needs a list", "FieldValueRequired")
        ]
    if parameter.parameter_type not in ("int", "double"):
        message = f"{parameter.parameter_type!r} is no parameter type; use double, int, discrete or categorical"
        return [errors.Problem(f"{path}.parameterType", message, "FieldValueNotSupported")]
    found = []
    numbers = {}
    for name in ("min", "max", "step"):
        text = getattr(feasible, name)
        if not text and name == "step" and parameter.parameter_type == "int":
            text = "1"
        number = _number(text, parameter.parameter_type)
        if math.isnan(number):
            reason = "FieldValueInvalid" if text else "FieldValueRequired"
            found.append(
                errors.Problem(f"{at}.{name}", f"must be a finite {parameter.parameter_type}, not {text!r}", reason)
            )
        numbers[name] = number
    if not found and numbers["step"] <= 0:
        found.append(errors.Problem(f"{at}.step", f"must be greater than 0, not {feasible.step}"))
    if not found and numbers["min"] > numbers["max"]:
        found.append(errors.Problem(f"{at}.max", f"max {feasible.max} is below min {feasible.min}"))
    return found


def _text_problems(texts: Sequence[str], path: str) -> list[errors.Problem]:
    return [errors.Problem(f"{path}[{index}]", UNSAFE) for index, text in enumerate(texts) if unsafe(text)]


def _number(text: str, kind: str) -> float:
    """The number of a bound; NaN when it is none of the kind."""
    try:
        number = float(int(text)) if kind == "int" else float(text)
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _count(parameter: api.ParameterSpec) -> int:
    """How many values a sound parameter has."""
    feasible = parameter.feasible_space
    if feasible.choices:
        return len(feasible.choices)
    if parameter.parameter_type == "int":
        return (int(feasible.max) - int(feasible.min)) // int(feasible.step or 1) + 1
    ratio = (float(feasible.max) - float(feasible.min)) / float(feasible.step)
    return math.floor(min(ratio, 1e18) * (1 + 1e-9) + 1e-9) + 1  # float noise neither loses nor adds the end point


def values(parameter: api.ParameterSpec) -> list[ParameterValue]:
    """The values of a sound parameter in order: texts of a list, whole numbers, or min, min+step, ... not beyond max."""
    feasible = parameter.feasible_space
    if feasible.choices:
        return list(feasible.choices)
    if parameter.parameter_type == "int":
        return list(range(int(feasible.min), int(feasible.max) + 1, int(feasible.step or 1)))
    low, high, step = float(feasible.min), float(feasible.max), float(feasible.step)
    return [float(f"{min(low + index * step, high):.12g}") for index in range(_count(parameter))]


def expand(config: api.NasConfig) -> list[Choice]:
    """Every operation with every combination of its parameter values; the config must be free of :func:`problems`."""
    choices: list[Choice] = []
    for operation in config.operations or ():
        names = [parameter.name for parameter in operation.parameters or ()]
        spans = [values(parameter) for parameter in operation.parameters or ()]
        for combination in itertools.product(*spans):
            pairs = tuple(zip(names, combination, strict=True))
            choices.append(Choice(len(choices), operation.operation_type, pairs))
    return choices
