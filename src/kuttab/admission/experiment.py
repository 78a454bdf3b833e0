"""Every rule of an Experiment, all problems at once.

Runs on defaulted objects whose types are right. The rules are those of Katib's admission and those that Katib leaves to fail at run
time; each lives with its part of the object, here is only the order.
"""

from __future__ import annotations

import math

from kuttab.admission import algorithm, budget, collector, metadata, objective, parameters, trial_template, warm_start
from kuttab.admission.limits import Catalogue, Namespace
from kuttab.admission.report import Report
from kuttab.api import experiment, keys, meta

MAX_GRID = 10**15
"""Points of a grid, computed by multiplication."""


def check_new(
    subject: experiment.Experiment,
    tree: meta.Json | None,
    report: Report,
    catalogue: Catalogue,
    *,
    namespace: Namespace,
    user: str,
) -> None:
    """Rules for creation. ``tree`` is the parsed template; problems and warnings go to the report."""
    metadata.check(subject.metadata, report, system=user in catalogue.limits.system_users)
    check_namespace(subject, namespace, report)
    check_spec(subject, tree, report, catalogue, user=user)


def check_spec(
    subject: experiment.Experiment, tree: meta.Json | None, report: Report, catalogue: Catalogue, *, user: str
) -> None:
    """Rules of the spec alone."""
    spec = subject.spec
    limits = catalogue.limits
    before = len(report.problems)
    budget.check(spec, report, limits)
    objective.check(spec.objective, report)
    algorithm.check(spec, report, catalogue)
    parameters.check(spec, report, limits)
    collector.check(spec.metrics_collector_spec, report, set(catalogue.collector_kinds()), limits)
    sound = len(report.problems) == before
    trial_template.check(subject, tree, report, catalogue, user)
    budget.warn(spec, report)
    warm_start.check(subject, subject.namespace or trial_template.DEFAULT_NAMESPACE, report, catalogue)
    if sound:
        report.extend(catalogue.check_algorithm(subject))
        check_size(spec, report)


def check_namespace(subject: experiment.Experiment, namespace: Namespace, report: Report) -> None:
    """The namespace must take experiments in, and must not be on its way out."""
    name = subject.namespace or trial_template.DEFAULT_NAMESPACE
    if namespace.labels.get(keys.LABEL_INJECTION) != "enabled":
        report.forbidden(
            "metadata.namespace",
            f"namespace {name} takes no experiments: it lacks the label {keys.LABEL_INJECTION}: enabled",
        )
    if namespace.terminating:
        report.forbidden("metadata.namespace", f"namespace {name} is being deleted")


def check_size(spec: experiment.ExperimentSpec, report: Report) -> None:
    """The space against the budget: a warning when it is smaller, a refusal for a grid that nobody could walk."""
    if not spec.parameters or any(parameter.parameter_type == "unknown" for parameter in spec.parameters):
        return
    points = parameters.cardinality(spec.parameters)
    if points is None:
        return
    if spec.algorithm is not None and spec.algorithm.algorithm_name == "grid" and points > MAX_GRID:
        report.refuse(
            "spec.parameters", f"the grid has {_short(points)} points; at most 10**15 make sense: use larger steps"
        )
    elif spec.max_trial_count is not None and points < spec.max_trial_count:
        report.warn(
            "spec.maxTrialCount",
            f"{spec.max_trial_count} trials are more than the {points} points of the space; "
            "an algorithm that repeats none ends the experiment when all are used",
        )


def _short(number: int) -> str:
    return f"about 10**{int(math.log10(number))}"
