"""API types to messages of the contract and back. Pure; sends and receives nothing.

What the contract cannot say is lost on the way: a goal of 0 and no goal are the same, uids and namespaces do not travel, and a metric has
one value (by its strategy) instead of three.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from kuttab.api import experiment, history, keys, meta, space, suggestion
from kuttab.api.history import TrialState
from kuttab.rpc import messages
from kuttab.rpc.messages import Message

_PARAMETER_TYPE: Final = {
    "double": "DOUBLE",
    "int": "INT",
    "discrete": "DISCRETE",
    "categorical": "CATEGORICAL",
}
_DISTRIBUTION: Final = {
    "uniform": "UNIFORM",
    "logUniform": "LOG_UNIFORM",
    "normal": "NORMAL",
    "logNormal": "LOG_NORMAL",
}
_CONDITION: Final = {
    TrialState.PENDING: "CREATED",
    TrialState.RUNNING: "RUNNING",
    TrialState.SUCCEEDED: "SUCCEEDED",
    TrialState.KILLED: "KILLED",
    TrialState.FAILED: "FAILED",
    TrialState.METRICS_UNAVAILABLE: "METRICSUNAVAILABLE",
    TrialState.EARLY_STOPPED: "EARLYSTOPPED",
}
_BLAMELESS: Final = frozenset({"Infrastructure", "Cancelled"})
"""Failures that say nothing about the parameters: the contract's word for such a trial is KILLED."""

_NUMBER: Final = re.compile(
    r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?|[+-]?(?:inf(?:inity)?|nan)", re.IGNORECASE
)

_TYPE_NUMBERS: Final = {ours: messages.PARAMETER_TYPE[theirs] for ours, theirs in _PARAMETER_TYPE.items()}
_TYPE_NAMES: Final = {number: ours for ours, number in _TYPE_NUMBERS.items()}
_DISTRIBUTION_NUMBERS: Final = {ours: messages.DISTRIBUTION[theirs] for ours, theirs in _DISTRIBUTION.items()}
_DISTRIBUTION_NAMES: Final = {number: ours for ours, number in _DISTRIBUTION_NUMBERS.items()}
_CONDITION_NUMBERS: Final = {state: messages.TRIAL_CONDITION[name] for state, name in _CONDITION.items()}
_STATES: Final = {number: state for state, number in _CONDITION_NUMBERS.items()}
_OBJECTIVE_NUMBERS: Final = {
    "minimize": messages.OBJECTIVE_TYPE["MINIMIZE"],
    "maximize": messages.OBJECTIVE_TYPE["MAXIMIZE"],
}
_OBJECTIVE_NAMES: Final = {number: name for name, number in _OBJECTIVE_NUMBERS.items()}
_COMPARISONS: Final = {number: name.lower() for name, number in messages.COMPARISON.items()}


def number(text: str) -> float | None:
    """The number that an ASCII text spells, ``inf`` and ``nan`` included; None when it is none."""
    text = text.strip()
    return float(text) if len(text) < 400 and _NUMBER.fullmatch(text) else None


# What a client sends.


def experiment_message(subject: experiment.Experiment) -> Message:
    """The Experiment message: name and specification. Settings are those of the experiment given."""
    spec = subject.spec
    made = messages.Experiment(name=subject.name)
    out = made.spec
    for parameter in spec.parameters or ():
        _add_parameter(out.parameter_specs.parameters, parameter)
    if spec.objective is not None:
        out.objective.CopyFrom(objective_message(spec.objective))
    if spec.algorithm is not None:
        out.algorithm.algorithm_name = spec.algorithm.algorithm_name
        add_settings(out.algorithm.algorithm_settings, spec.algorithm.algorithm_settings or ())
    if spec.early_stopping is not None:
        out.early_stopping.CopyFrom(stopping_message(spec.early_stopping))
    out.parallel_trial_count = spec.parallel_trial_count or 0
    out.max_trial_count = spec.max_trial_count or 0
    if spec.nas_config is not None:
        _fill_nas(out.nas_config, spec.nas_config)
    return made


def objective_message(objective: experiment.ObjectiveSpec) -> Message:
    """The ObjectiveSpec message; no goal is sent as 0."""
    return messages.ObjectiveSpec(
        type=_OBJECTIVE_NUMBERS.get(objective.type, 0),
        goal=objective.goal or 0.0,
        objective_metric_name=objective.objective_metric_name,
        additional_metric_names=objective.additional_metric_names or (),
    )


def stopping_message(spec: experiment.AlgorithmSpec) -> Message:
    """The EarlyStoppingSpec message."""
    made = messages.EarlyStoppingSpec(algorithm_name=spec.algorithm_name)
    add_settings(made.algorithm_settings, spec.algorithm_settings or ())
    return made


def add_settings(target: Message, settings: Iterable[experiment.Setting]) -> None:
    """Append settings to a repeated field."""
    for setting in settings:
        target.add(name=setting.name, value=setting.value)


def is_sent(record: history.TrialRecord) -> bool:
    """Whether services are told of a trial: not of one that ended without a value through no failure."""
    if record.state is TrialState.METRICS_UNAVAILABLE:
        return False
    return record.state is not TrialState.EARLY_STOPPED or record.objective is not None


def trial_message(
    record: history.TrialRecord, objective: experiment.ObjectiveSpec, encoded_objective: Message
) -> Message:
    """The Trial message of a record; ``encoded_objective`` is the objective's message, made once for all trials."""
    made = messages.Trial(name=record.name)
    made.spec.objective.CopyFrom(encoded_objective)
    add = made.spec.parameter_assignments.assignments.add
    for name, value in zip(record.names, record.values, strict=True):
        add(name=name, value=value)
    for key, value in record.labels.items():
        made.spec.labels[key] = value
    status = made.status
    status.start_time = record.start_time
    status.completion_time = record.completion_time
    blameless = record.state is TrialState.FAILED and record.reason in _BLAMELESS
    status.condition = _CONDITION_NUMBERS[TrialState.KILLED if blameless else record.state]
    for metric in record.metrics:
        value = metric_value(metric, objective.strategy(metric.name))
        if value:
            status.observation.metrics.add(name=metric.name, value=value)
    return made


def assignment_message(assignment: suggestion.TrialAssignment) -> Message:
    """The Trial message of an assignment that has no trial yet: one that was just created."""
    made = messages.Trial(name=assignment.name)
    for item in assignment.parameter_assignments or ():
        made.spec.parameter_assignments.assignments.add(name=item.name, value=item.value)
    for key, value in (assignment.labels or {}).items():
        made.spec.labels[key] = value
    return made


def metric_value(metric: history.MetricValues, strategy: str) -> str:
    """A metric's one value by strategy (the latest when min or max is not to be had); empty when there is none."""
    found = {"min": metric.min, "max": metric.max}.get(strategy, metric.latest)
    if found in ("", keys.UNAVAILABLE):
        found = metric.latest
    return "" if found == keys.UNAVAILABLE else found


def _add_parameter(target: Message, parameter: space.ParameterSpec) -> None:
    feasible = parameter.feasible_space
    made = target.add(name=parameter.name, parameter_type=_TYPE_NUMBERS.get(parameter.parameter_type, 0))
    out = made.feasible_space
    out.max, out.min, out.step = feasible.max, feasible.min, feasible.step
    out.list.extend(feasible.choices or ())
    out.distribution = _DISTRIBUTION_NUMBERS.get(feasible.distribution, 0)


def _fill_nas(out: Message, config: space.NasConfig) -> None:
    graph = config.graph_config
    out.graph_config.num_layers = graph.num_layers or 0
    out.graph_config.input_sizes.extend(graph.input_sizes or ())
    out.graph_config.output_sizes.extend(graph.output_sizes or ())
    for operation in config.operations or ():
        made = out.operations.operation.add(operation_type=operation.operation_type)
        for parameter in operation.parameters or ():
            _add_parameter(made.parameter_specs.parameters, parameter)


# What a server reads.


def experiment_of(message: Message) -> experiment.Experiment:
    """The experiment that a message describes; numbers of 0 are numbers not given."""
    spec = message.spec
    fields: dict[str, object] = {
        "parameters": [_parameter_of(item) for item in spec.parameter_specs.parameters] or None,
        "parallel_trial_count": spec.parallel_trial_count or None,
        "max_trial_count": spec.max_trial_count or None,
    }
    if spec.HasField("objective"):
        fields["objective"] = objective_of(spec.objective)
    if spec.HasField("algorithm"):
        fields["algorithm"] = _algorithm_of(spec.algorithm)
    if spec.early_stopping.algorithm_name:
        fields["early_stopping"] = _algorithm_of(spec.early_stopping)
    if spec.HasField("nas_config"):
        fields["nas_config"] = _nas_of(spec.nas_config)
    given = {name: value for name, value in fields.items() if value is not None}
    return experiment.Experiment(
        metadata=meta.ObjectMeta(name=message.name),
        spec=experiment.ExperimentSpec(**given),  # type: ignore[arg-type]
    )


def objective_of(message: Message) -> experiment.ObjectiveSpec:
    """The objective that a message describes; a goal of 0 is no goal."""
    goal = message.goal if message.goal and math.isfinite(message.goal) else None
    return experiment.ObjectiveSpec(
        type=_OBJECTIVE_NAMES.get(message.type, ""),
        goal=goal,
        objective_metric_name=message.objective_metric_name,
        additional_metric_names=list(message.additional_metric_names) or None,
    )


def stopping_of(message: Message) -> experiment.AlgorithmSpec:
    """The early-stopping algorithm that a message describes."""
    return _algorithm_of(message)


def record_of(message: Message, slot: int, objective: experiment.ObjectiveSpec) -> history.TrialRecord:
    """The trial that a message describes; it has no uid, and fills the slot given."""
    assignments = message.spec.parameter_assignments.assignments
    status = message.status
    metrics = tuple(
        history.MetricValues(name=item.name, latest=item.value, max=item.value, min=item.value)
        for item in status.observation.metrics
    )
    value = next((item.latest for item in metrics if item.name == objective.objective_metric_name), "")
    return history.TrialRecord(
        name=message.name,
        uid="",
        slot=slot,
        state=_STATES.get(status.condition, TrialState.RUNNING),
        names=tuple(item.name for item in assignments),
        values=tuple(item.value for item in assignments),
        objective=number(value),
        metrics=metrics,
        start_time=status.start_time,
        completion_time=status.completion_time,
        labels=dict(message.spec.labels),
    )


def reply_message(assignments: Iterable[suggestion.TrialAssignment], settings: Mapping[str, str]) -> Message:
    """The GetSuggestionsReply message."""
    made = messages.GetSuggestionsReply()
    for assignment in assignments:
        out = made.parameter_assignments.add(trial_name=assignment.name)
        for item in assignment.parameter_assignments or ():
            out.assignments.add(name=item.name, value=item.value)
        for key, value in (assignment.labels or {}).items():
            out.labels[key] = value
    for name, value in settings.items():
        made.algorithm.algorithm_settings.add(name=name, value=value)
    return made


def rule_of(message: Message) -> suggestion.EarlyStoppingRule:
    """The early-stopping rule that a message describes; an unknown comparison is taken as equal, as Katib does."""
    comparison = _COMPARISONS.get(message.comparison, "")
    if comparison == "unknown_comparison":
        comparison = "equal"
    return suggestion.EarlyStoppingRule(
        name=message.name, value=message.value, comparison=comparison, start_step=message.start_step
    )


def add_rule(target: Message, rule: suggestion.EarlyStoppingRule) -> None:
    """Append a rule to a repeated field."""
    comparison = messages.COMPARISON[rule.comparison.upper()]
    target.add(name=rule.name, value=rule.value, comparison=comparison, start_step=rule.start_step)


def _parameter_of(message: Message) -> space.ParameterSpec:
    feasible = message.feasible_space
    return space.ParameterSpec(
        name=message.name,
        parameter_type=_TYPE_NAMES.get(message.parameter_type, "unknown"),
        feasible_space=space.FeasibleSpace(
            min=feasible.min,
            max=feasible.max,
            step=feasible.step,
            list=list(feasible.list) or None,
            distribution=_DISTRIBUTION_NAMES.get(feasible.distribution, ""),
        ),
    )


def _algorithm_of(message: Message) -> experiment.AlgorithmSpec:
    settings = [experiment.Setting(name=item.name, value=item.value) for item in message.algorithm_settings]
    return experiment.AlgorithmSpec(algorithm_name=message.algorithm_name, algorithm_settings=settings or None)


def _nas_of(message: Message) -> space.NasConfig:
    graph = message.graph_config
    operations = [
        space.Operation(
            operation_type=item.operation_type,
            parameters=[_parameter_of(parameter) for parameter in item.parameter_specs.parameters] or None,
        )
        for item in message.operations.operation
    ]
    return space.NasConfig(
        graph_config=space.GraphConfig(
            num_layers=graph.num_layers or None,
            input_sizes=list(graph.input_sizes) or None,
            output_sizes=list(graph.output_sizes) or None,
        ),
        operations=operations or None,
    )
