"""Rules of ``spec.warmStart``: the ConfigMap it names is there and can be read. What the algorithm can use of it is not asked here."""

from __future__ import annotations

from kuttab.admission.limits import Catalogue
from kuttab.admission.report import Report
from kuttab.api import experiment
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
        prior.read(held[prior.KEY], objective.objective_metric_name)
    except errors.BadInputError as problem:
        report.refuse(PATH, f"ConfigMap {given.config_map_name}: {problem.message}")
