"""The search space: names, bounds, steps, lists. Sizes are computed, never enumerated."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from kuttab.admission import numbers
from kuttab.admission.limits import Limits
from kuttab.admission.report import TOO_LONG, TOO_MANY, Report, show
from kuttab.api import experiment
from kuttab.api.space import Distribution, FeasibleSpace, NasConfig, ParameterSpec, ParameterType

MAX_VALUE = 4096
"""Characters of one choice."""
_NAME = re.compile(r"-{0,2}[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_RANGED = (ParameterType.DOUBLE, ParameterType.INT)
_POSITIVE = (Distribution.LOG_UNIFORM, Distribution.LOG_NORMAL)
_TYPES = [kind.value for kind in ParameterType if kind is not ParameterType.UNKNOWN]
_DISTRIBUTIONS = [kind.value for kind in Distribution if kind is not Distribution.UNKNOWN]


def check(spec: experiment.ExperimentSpec, report: Report, limits: Limits) -> None:
    """All rules of ``spec.parameters`` and ``spec.nasConfig``."""
    if spec.parameters and spec.nas_config is not None:
        report.refuse("spec", "has parameters and nasConfig; give one of the two")
    elif not spec.parameters and spec.nas_config is None:
        report.required("spec.parameters", "must be given (or nasConfig, for architecture search)")
    if spec.parameters:
        _check_list(spec.parameters, "spec.parameters", report, limits)
    if spec.nas_config is not None:
        _check_nas(spec.nas_config, report, limits)


def cardinality(parameters: list[ParameterSpec]) -> int | None:
    """How many different points the space has, None when there is no end to them (a double without step).

    Assumes parameters that :func:`check` accepts.
    """
    total = 1
    for parameter in parameters:
        space = parameter.feasible_space
        if parameter.parameter_type not in _RANGED:
            total *= len(space.choices or ())
            continue
        count = _whole_steps(space) if parameter.parameter_type == ParameterType.INT else _real_steps(space)
        if count is None:
            return None
        total *= count
    return total


def _whole_steps(space: FeasibleSpace) -> int:
    return (numbers.whole(space.max) - numbers.whole(space.min)) // numbers.whole(space.step or "1") + 1


def _real_steps(space: FeasibleSpace) -> int | None:
    width = numbers.real(space.max) - numbers.real(space.min)
    steps = width / numbers.real(space.step) if space.step else math.inf
    if width == 0 or not math.isfinite(steps):
        return 1 if width == 0 else None
    return int(steps * (1 + 1e-12)) + 1


def _check_nas(config: NasConfig, report: Report, limits: Limits) -> None:
    path = "spec.nasConfig"
    layers = config.graph_config.num_layers
    if layers is not None and not 0 < layers <= limits.max_parameters:
        report.refuse(f"{path}.graphConfig.numLayers", f"{layers} must lie between 1 and {limits.max_parameters}")
    for field, sizes in (
        ("inputSizes", config.graph_config.input_sizes),
        ("outputSizes", config.graph_config.output_sizes),
    ):
        for index, size in enumerate((sizes or [])[:100]):
            if size <= 0:
                report.refuse(f"{path}.graphConfig.{field}[{index}]", f"{size} must be more than 0")
    operations = config.operations or []
    if len(operations) > limits.max_parameters:
        report.refuse(f"{path}.operations", f"has more than {limits.max_parameters} entries", TOO_MANY)
        return
    seen: set[str] = set()
    for index, operation in enumerate(operations):
        place = f"{path}.operations[{index}]"
        if not operation.operation_type:
            report.required(f"{place}.operationType")
        elif operation.operation_type in seen:
            report.duplicate(f"{place}.operationType", operation.operation_type)
        seen.add(operation.operation_type)
        _check_list(operation.parameters or [], f"{place}.parameters", report, limits)


def _check_list(parameters: list[ParameterSpec], path: str, report: Report, limits: Limits) -> None:
    if len(parameters) > limits.max_parameters:
        report.refuse(path, f"has {len(parameters)} entries; at most {limits.max_parameters} are allowed", TOO_MANY)
        return
    seen: set[str] = set()
    for index, parameter in enumerate(parameters):
        place = f"{path}[{index}]"
        if not parameter.name:
            report.required(f"{place}.name")
        elif _NAME.fullmatch(parameter.name) is None:
            report.refuse(
                f"{place}.name",
                f"{show(parameter.name)} must consist of at most 63 ASCII letters, digits, '_', '.', '-', "
                "with at most two dashes in front",
            )
        elif parameter.name in seen:
            report.duplicate(f"{place}.name", parameter.name)
        seen.add(parameter.name)
        _check_parameter(parameter, place, report, limits)


def _check_parameter(parameter: ParameterSpec, place: str, report: Report, limits: Limits) -> None:
    space, path = parameter.feasible_space, f"{place}.feasibleSpace"
    kind = parameter.parameter_type
    if space.distribution == Distribution.UNKNOWN:
        report.warn(f"{path}.distribution", "unknown is read as uniform")
    elif space.distribution and space.distribution not in _DISTRIBUTIONS:
        report.unsupported(f"{path}.distribution", space.distribution, _DISTRIBUTIONS)
    if not kind:
        report.required(f"{place}.parameterType", f"must be one of {', '.join(_TYPES)}")
    elif kind == ParameterType.UNKNOWN:
        report.warn(f"{place}.parameterType", "unknown is only for suggestion services that know what to do with it")
    elif kind not in _TYPES:
        report.unsupported(f"{place}.parameterType", kind, _TYPES)
    elif kind in _RANGED:
        _check_range(parameter, path, report)
    else:
        _check_choices(kind, space, path, report, limits)


def _check_range(parameter: ParameterSpec, path: str, report: Report) -> None:
    space, kind = parameter.feasible_space, parameter.parameter_type
    if space.choices:
        report.forbidden(f"{path}.list", f"belongs to discrete and categorical parameters; {kind} takes min and max")
    read: Callable[[str], float] = numbers.whole if kind == ParameterType.INT else numbers.real
    low = _read(space.min, f"{path}.min", read, report)
    high = _read(space.max, f"{path}.max", read, report)
    step = _read(space.step, f"{path}.step", read, report) if space.step else None
    if step is not None and step <= 0:
        report.refuse(f"{path}.step", f"{show(space.step)} must be more than 0")
        step = None
    if low is not None and low <= 0 and space.distribution in _POSITIVE:
        report.refuse(f"{path}.min", f"{show(space.min)} must be more than 0 for the distribution {space.distribution}")
    if low is None or high is None:
        return
    if low > high:
        report.refuse(f"{path}.max", f"{show(space.max)} is less than min, which is {show(space.min)}")
    elif not math.isfinite(high - low):
        report.refuse(f"{path}.max", "max - min is too large for a double")
    elif low == high:
        report.warn(path, f"{parameter.name or 'the parameter'} is constant: min and max are both {space.min}")
    elif step is not None and step > high - low:
        report.warn(f"{path}.step", f"{space.step} is more than max - min, so {space.min} is the only value")


def _read(text: str, path: str, read: Callable[[str], float], report: Report) -> float | None:
    if not text:
        report.required(path)
        return None
    try:
        return read(text)
    except ValueError as error:
        report.refuse(path, f"{show(text)} {error}")
        return None


def _check_choices(kind: str, space: FeasibleSpace, path: str, report: Report, limits: Limits) -> None:
    for field in ("min", "max", "step"):
        if getattr(space, field):
            report.forbidden(f"{path}.{field}", f"belongs to int and double parameters; {kind} takes a list")
    if space.distribution in (*_POSITIVE, Distribution.NORMAL):
        report.forbidden(f"{path}.distribution", f"{space.distribution} belongs to int and double parameters")
    choices = space.choices or []
    if not choices:
        report.required(f"{path}.list", "must hold at least one value")
    if len(choices) > limits.max_choices:
        report.refuse(f"{path}.list", f"has {len(choices)} values; at most {limits.max_choices} are allowed", TOO_MANY)
        return
    seen: set[str | float] = set()
    for index, choice in enumerate(choices):
        place = f"{path}.list[{index}]"
        value: str | float = choice
        if len(choice) > MAX_VALUE:
            report.refuse(place, f"has {len(choice)} characters; at most {MAX_VALUE} are allowed", TOO_LONG)
            continue
        if "\0" in choice or any("\ud800" <= letter <= "\udfff" for letter in choice):
            report.refuse(
                place, f"{show(choice)} holds a NUL or half of a surrogate pair; no program could be given it"
            )
            continue
        if kind == ParameterType.DISCRETE:
            try:
                value = numbers.real(choice)
            except ValueError as error:
                report.refuse(place, f"{show(choice)} {error}")
                continue
        if value in seen:
            report.duplicate(place, choice)
        seen.add(value)
