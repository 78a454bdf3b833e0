"""Counts: how many trials, how many at once, how many may fail."""

from __future__ import annotations

from kuttab.admission.limits import Limits
from kuttab.admission.report import Report
from kuttab.api import experiment

_INT32 = 2**31 - 1
_MANY_KEPT = 1_000


def check(spec: experiment.ExperimentSpec, report: Report, limits: Limits) -> None:
    """Rules of the three counts."""
    highest, parallel, failed = spec.max_trial_count, spec.parallel_trial_count, spec.max_failed_trial_count
    if highest is not None:
        _check_range("spec.maxTrialCount", highest, 1, limits.max_trials, report)
    if parallel is not None:
        _check_range("spec.parallelTrialCount", parallel, 1, limits.max_parallel, report)
    if failed is not None:
        _check_range("spec.maxFailedTrialCount", failed, 0, _INT32, report)
    if highest is None:
        return
    for path, value in (("spec.maxFailedTrialCount", failed), ("spec.parallelTrialCount", parallel)):
        if value is not None and value > highest > 0:
            report.refuse(path, f"{value} is more than spec.maxTrialCount, which is {highest}; lower it or raise that")


def warn(spec: experiment.ExperimentSpec, report: Report) -> None:
    """Counts that are allowed and may surprise."""
    objective = spec.objective
    if spec.max_trial_count is None and (objective is None or objective.goal is None):
        report.warn("spec", "nothing bounds this experiment; set maxTrialCount or objective.goal")
    template = spec.trial_template
    if template is not None and template.retain and (spec.max_trial_count or _INT32) >= _MANY_KEPT:
        report.warn(
            "spec.trialTemplate.retain",
            f"keeps the workload of every trial, {spec.max_trial_count or 'without limit'}; deleting them is up to you",
        )


def _check_range(path: str, value: int, lowest: int, highest: int, report: Report) -> None:
    if value < lowest:
        report.refuse(path, f"{value} is too small; it must be at least {lowest}")
    elif value > highest:
        report.refuse(path, f"{value} is more than the {highest} allowed here")
