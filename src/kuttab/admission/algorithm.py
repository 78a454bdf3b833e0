"""Algorithm, early stopping and resume policy: names and shape of settings. What a setting means is the algorithm's own business."""

from __future__ import annotations

from collections.abc import Collection

from kuttab.admission import limits
from kuttab.admission.report import TOO_LONG, TOO_MANY, UNSUPPORTED, Report, nearest, show
from kuttab.api import experiment

MAX_SETTINGS = 100
MAX_SETTING_NAME = 128
MAX_SETTING_VALUE = 4096
MAX_SEED = 2**32 - 1
"""The largest seed that every numeric library takes."""


def check(spec: experiment.ExperimentSpec, report: Report, catalogue: limits.Catalogue) -> None:
    """All rules of ``spec.algorithm``, ``spec.earlyStopping`` and ``spec.resumePolicy`` that need no knowledge of the algorithm."""
    if spec.algorithm is None:
        report.required("spec.algorithm")
    else:
        _check(spec.algorithm, "spec.algorithm", "algorithm", catalogue.algorithm_names(), report)
    if spec.early_stopping is not None:
        path = "spec.earlyStopping"
        _check(spec.early_stopping, path, "early-stopping algorithm", catalogue.early_stopping_names(), report)
        _check_stoppable(spec, report, catalogue.limits)
    policies = [policy.value for policy in experiment.ResumePolicy]
    if spec.resume_policy and spec.resume_policy not in policies:
        report.unsupported("spec.resumePolicy", spec.resume_policy, policies)


def _check(algorithm: experiment.AlgorithmSpec, path: str, what: str, known: Collection[str], report: Report) -> None:
    name = algorithm.algorithm_name
    if not name:
        report.required(f"{path}.algorithmName", f"must be given; known: {', '.join(sorted(known))}")
    elif name not in known:
        hint = nearest(name, known) or f"; known: {', '.join(sorted(known))}"
        report.refuse(f"{path}.algorithmName", f"there is no {what} {show(name)}{hint}", UNSUPPORTED)
    settings = algorithm.algorithm_settings or []
    path = f"{path}.algorithmSettings"
    if len(settings) > MAX_SETTINGS:
        report.refuse(path, f"has {len(settings)} settings; at most {MAX_SETTINGS} are allowed", TOO_MANY)
        return
    seen: set[str] = set()
    for index, setting in enumerate(settings):
        if not setting.name:
            report.required(f"{path}[{index}].name")
        elif len(setting.name) > MAX_SETTING_NAME:
            report.refuse(f"{path}[{index}].name", f"is longer than {MAX_SETTING_NAME} characters", TOO_LONG)
        elif setting.name in seen:
            report.duplicate(f"{path}[{index}].name", setting.name)
        if len(setting.value) > MAX_SETTING_VALUE:
            report.refuse(f"{path}[{index}].value", f"is longer than {MAX_SETTING_VALUE} characters", TOO_LONG)
        elif setting.name == "random_state" and _too_large(setting.value):
            report.refuse(
                f"{path}[{index}].value", f"{show(setting.value)} is too large; at most {MAX_SEED} is allowed"
            )
        elif not setting.value.isprintable():
            report.refuse(f"{path}[{index}].value", f"{show(setting.value)} holds control characters")
        seen.add(setting.name)


def _check_stoppable(spec: experiment.ExperimentSpec, report: Report, caps: limits.Limits) -> None:
    collector = spec.metrics_collector_spec.collector if spec.metrics_collector_spec is not None else None
    kind = collector.kind if collector is not None else ""
    if kind and kind in [known.value for known in experiment.CollectorKind] and kind not in caps.stoppable_collectors:
        usable = " or ".join(sorted(caps.stoppable_collectors))
        report.refuse(
            "spec.earlyStopping",
            f"a trial whose collector is {kind} cannot be stopped early; use the collector {usable}",
        )


def _too_large(seed: str) -> bool:
    digits = seed.lstrip("0")
    return digits.isdecimal() and digits.isascii() and (len(digits) > 10 or int(digits) > MAX_SEED)
