"""What a workload's own conditions say about it: failure is looked at first, then success."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from kuttab.api import experiment, meta, trial
from kuttab.rules import gjson

_COMPLETE = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
_SUCCEEDED = 'status.conditions.#(type=="Succeeded")#|#(status=="True")#'
_FAILED = 'status.conditions.#(type=="Failed")#|#(status=="True")#'

_KUBEFLOW = ("TFJob", "PyTorchJob", "XGBoostJob", "MPIJob", "MXJob")


class Outcome(enum.StrEnum):
    """Where a workload stands."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Reading:
    """A workload's outcome with its own reason and message."""

    outcome: Outcome
    reason: str = ""
    message: str = ""


def conditions_of(spec: trial.TrialSpec | experiment.TrialTemplate, kind: str) -> tuple[str, str]:
    """The success and failure expressions: the trial's own when both are given, else those of the kind."""
    if spec.success_condition and spec.failure_condition:
        return spec.success_condition, spec.failure_condition
    return (_SUCCEEDED if kind in _KUBEFLOW else _COMPLETE), _FAILED


def suspended(workload: meta.Json) -> str:
    """Why a workload that exists runs nothing: its own condition Suspended, as every job kind writes it; empty when it is not so."""
    status = workload.get("status")
    items = status.get("conditions") if isinstance(status, dict) else None
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and item.get("type") == "Suspended" and item.get("status") == "True":
            kind, name = workload.get("kind"), (workload.get("metadata") or {}).get("name")
            return f"{kind} {name} is suspended; it goes on when suspend is set to false in its spec"
    return ""


def read(subject: trial.Trial, workload: meta.Json) -> Reading:
    """Evaluate both conditions on the workload as it is now."""
    success, failure = conditions_of(subject.spec, str(workload.get("kind", "")))
    found = gjson.match(failure, workload)
    if found is not None:
        return Reading(Outcome.FAILED, found.reason, found.message)
    found = gjson.match(success, workload)
    if found is not None:
        return Reading(Outcome.SUCCEEDED, found.reason, found.message)
    return Reading(Outcome.ACTIVE)
