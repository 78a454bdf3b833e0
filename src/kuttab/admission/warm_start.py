"""Rules of ``spec.warmStart``: the ConfigMap it names is there, can be read, and speaks of the same parameters.

Whether the algorithm takes earlier results at all is its own business.
"""

from __future__ import annotations

from collections.abc import Sequence

from kuttab.admission.limits import Catalogue
from kuttab.admission.report import Report, show
from kuttab.api import experiment, history, space
from kuttab.base import errors
from kuttab.rules import prior

PATH = "spec.warmStart.configMapName"


def check(subject: experiment.Experiment, namespace: str, report: Report, catalogue: Catalogue) -> None:
    """Problems of the reference and of the text behind it."""
    given = subject.spec.warm_start
    if given is None:
        return
    if not given.config_map_name:
        report.refuse(
            PATH, "must name a ConfigMap of the experiment's namespace with earlier results", "FieldValueRequired"
        )
        return
    held = catalogue.config_map(namespace, given.config_map_name)
    if held is None or prior.KEY not in held:
        missing = "there is none of that name" if held is None else f"it has no key {prior.KEY}"
        report.refuse(
            PATH, f"ConfigMap {given.config_map_name} cannot be used: {missing}; create it before the experiment"
        )
        return
    objective = subject.spec.objective or experiment.ObjectiveSpec()
    try:
        records = prior.read(held[prior.KEY], objective.objective_metric_name)
    except errors.BadInputError as problem:
        report.refuse(PATH, f"ConfigMap {given.config_map_name}: {problem.message}")
        return
    _check_space(subject, records, report)


def _check_space(subject: experiment.Experiment, records: Sequence[history.TrialRecord], report: Report) -> None:
    """The parameters must be those of the space; results outside it are left out, which the user should know."""
    parameters = {item.name: item for item in subject.spec.parameters or ()}
    if not records or not parameters:
        return
    if set(records[0].names) != set(parameters):
        found, wanted = ", ".join(sorted(records[0].names)), ", ".join(sorted(parameters))
        report.refuse(PATH, f"the earlier results have the parameters {show(found)}, this space has {show(wanted)}")
        return
    outside = sum(
        not all(_inside(parameters[name].feasible_space, value) for name, value in record.assignments.items())
        for record in records
    )
    without = sum(record.state is not history.TrialState.FAILED and record.objective is None for record in records)
    if without:
        metric = subject.spec.objective.objective_metric_name if subject.spec.objective is not None else ""
        report.warn(
            PATH, f"{without} of {len(records)} earlier results have no value of {show(metric)} and count as failures"
        )
    if outside:
        report.warn(PATH, f"{outside} of {len(records)} earlier results lie outside this space and are left out")


def _inside(feasible: space.FeasibleSpace, value: str) -> bool:
    if feasible.choices:
        number = prior.number(value)
        return value in feasible.choices or any(
            number is not None and prior.number(choice) == number for choice in feasible.choices
        )
    low, number, high = prior.number(feasible.min), prior.number(value), prior.number(feasible.max)
    return low is not None and number is not None and high is not None and low <= number <= high
