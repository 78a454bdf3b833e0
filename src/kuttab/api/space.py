"""The search space as a manifest spells it: numbers are text, so that nothing is lost on the way."""

from __future__ import annotations

import enum

import pydantic

from kuttab.api import meta


class ParameterType(enum.StrEnum):
    """What a parameter is."""

    DOUBLE = "double"
    INT = "int"
    DISCRETE = "discrete"
    CATEGORICAL = "categorical"
    UNKNOWN = "unknown"


class Distribution(enum.StrEnum):
    """How a parameter is spread over its range."""

    UNIFORM = "uniform"
    LOG_UNIFORM = "logUniform"
    NORMAL = "normal"
    LOG_NORMAL = "logNormal"
    UNKNOWN = "unknown"


class FeasibleSpace(meta.Model):
    """Where a parameter's values lie; bounds are inclusive."""

    min: str = ""
    max: str = ""
    step: str = ""
    choices: list[str] | None = pydantic.Field(default=None, alias="list")
    distribution: str = ""


class ParameterSpec(meta.Model):
    """One parameter of the search space."""

    name: str = ""
    parameter_type: str = ""
    feasible_space: FeasibleSpace = FeasibleSpace()


class ParameterAssignment(meta.Model):
    """A value given to a parameter, as text."""

    name: str
    value: str


class GraphConfig(meta.Model):
    """The outline of a network in architecture search."""

    num_layers: int | None = None
    input_sizes: list[int] | None = None
    output_sizes: list[int] | None = None


class Operation(meta.Model):
    """An operation a network layer may perform, with its own parameters."""

    operation_type: str = ""
    parameters: list[ParameterSpec] | None = None


class NasConfig(meta.Model):
    """The search space of architecture search."""

    graph_config: GraphConfig = GraphConfig()
    operations: list[Operation] | None = None
