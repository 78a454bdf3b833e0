"""Fills in what the user left out, exactly as Katib does, so that controllers never ask "and if it is absent?".

Pure and idempotent: the defaults of a defaulted experiment are itself. It judges nothing; an experiment that breaks rules gets the
defaults that still make sense.
"""

from __future__ import annotations

from kuttab.admission import workloads
from kuttab.api import experiment, meta
from kuttab.api.space import Distribution, FeasibleSpace, ParameterSpec

PARALLEL = 3
METRICS_FILE = "/var/log/katib/metrics.log"
EVENTS_FOLDER = "/var/log/katib/tfevent/"
METRICS_PATH = "/metrics"
METRICS_PORT = 8080


def apply(subject: experiment.Experiment, template: meta.Json | None = None) -> tuple[experiment.Experiment, list[str]]:
    """The experiment with every default, and warnings about defaults that may surprise.

    ``template`` is the parsed template when it is kept in a ConfigMap; conditions and pod labels follow its kind.
    """
    warnings: list[str] = []
    spec = subject.spec
    changes: dict[str, object] = {}
    if spec.parallel_trial_count is None:
        changes["parallel_trial_count"] = _parallel(spec.max_trial_count, warnings)
    if not spec.resume_policy:
        changes["resume_policy"] = experiment.ResumePolicy.NEVER.value
    sections = (
        ("objective", spec.objective, _objective(spec.objective)),
        ("trial_template", spec.trial_template, _template(spec.trial_template, template)),
        ("metrics_collector_spec", spec.metrics_collector_spec, _collector(spec.metrics_collector_spec)),
        ("parameters", spec.parameters, _parameters(spec.parameters)),
    )
    changes.update((name, new) for name, old, new in sections if new is not old)
    if not changes:
        return subject, warnings
    return meta.evolve(subject, spec=meta.evolve(spec, **changes)), warnings


def _parallel(max_trials: int | None, warnings: list[str]) -> int:
    if max_trials is None or not 0 < max_trials < PARALLEL:
        return PARALLEL
    warnings.append(
        f"spec.parallelTrialCount: defaults to {max_trials} here, since {PARALLEL} would be more than maxTrialCount"
    )
    return max_trials


def _objective(objective: experiment.ObjectiveSpec | None) -> experiment.ObjectiveSpec | None:
    if objective is None:
        return None
    given = list(objective.metric_strategies or ())
    named = {strategy.name for strategy in given}
    for metric in objective.metric_names:
        if metric and metric not in named:
            named.add(metric)
            given.append(experiment.MetricStrategy(name=metric, value=objective.strategy(metric)))
    if len(given) == len(objective.metric_strategies or ()):
        return objective
    return meta.evolve(objective, metric_strategies=given)


def _template(template: experiment.TrialTemplate | None, tree: meta.Json | None) -> experiment.TrialTemplate | None:
    if template is None:
        return None
    tree = template.trial_spec if template.trial_spec is not None else tree
    known = workloads.of(tree) if tree is not None else None
    if known is None:
        return template
    changes: dict[str, object] = {}
    if known.success and not template.success_condition:
        changes["success_condition"] = known.success
    if known.failure and not template.failure_condition:
        changes["failure_condition"] = known.failure
    if known.labels and not template.primary_pod_labels:
        changes["primary_pod_labels"] = dict(known.labels)
    return meta.evolve(template, **changes) if changes else template


def _collector(given: experiment.MetricsCollectorSpec | None) -> experiment.MetricsCollectorSpec:
    spec = given if given is not None else experiment.MetricsCollectorSpec()
    changes: dict[str, object] = {}
    collector = spec.collector
    if collector is None:
        collector = changes["collector"] = experiment.CollectorSpec(kind=experiment.CollectorKind.STDOUT.value)
    source = _source(collector.kind, spec.source)
    if source is not spec.source:
        changes["source"] = source
    return meta.evolve(spec, **changes) if changes else spec


def _source(kind: str, given: experiment.SourceSpec | None) -> experiment.SourceSpec | None:
    source = given if given is not None else experiment.SourceSpec()
    match kind:
        case experiment.CollectorKind.PROMETHEUS:
            http = source.http_get or experiment.HttpGet()
            changes: dict[str, object] = {}
            if not http.path:
                changes["path"] = METRICS_PATH
            if "port" not in http.model_fields_set:
                changes["port"] = METRICS_PORT
            return meta.evolve(source, http_get=meta.evolve(http, **changes)) if changes else given
        case experiment.CollectorKind.FILE:
            return _file_source(given, source, kind="File", path=METRICS_FILE, format="TEXT")
        case experiment.CollectorKind.TF_EVENT:
            return _file_source(given, source, kind="Directory", path=EVENTS_FOLDER)
        case _:
            return given


def _file_source(
    given: experiment.SourceSpec | None, source: experiment.SourceSpec, **wanted: str
) -> experiment.SourceSpec | None:
    place = source.file_system_path or experiment.FileSystemPath()
    changes = {name: value for name, value in wanted.items() if not getattr(place, name)}
    return meta.evolve(source, file_system_path=meta.evolve(place, **changes)) if changes else given


def _parameters(parameters: list[ParameterSpec] | None) -> list[ParameterSpec] | None:
    if not parameters or all(parameter.feasible_space.distribution for parameter in parameters):
        return parameters
    return [
        parameter
        if parameter.feasible_space.distribution
        else meta.evolve(parameter, feasible_space=_uniform(parameter))
        for parameter in parameters
    ]


def _uniform(parameter: ParameterSpec) -> FeasibleSpace:
    return meta.evolve(parameter.feasible_space, distribution=Distribution.UNIFORM.value)
