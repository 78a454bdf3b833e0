"""Trial: one run with one set of parameter values (kubeflow.org/v1beta1)."""

from __future__ import annotations

from typing import ClassVar

import pydantic

from kuttab.api import meta
from kuttab.api.conditions import Condition
from kuttab.api.experiment import MetricsCollectorSpec, ObjectiveSpec, Observation
from kuttab.api.space import ParameterAssignment
from kuttab.api.suggestion import EarlyStoppingRule


class TrialSpec(meta.Model):
    """What the experiment controller asks for."""

    objective: ObjectiveSpec | None = None
    parameter_assignments: list[ParameterAssignment] | None = None
    early_stopping_rules: list[EarlyStoppingRule] | None = None
    run_spec: meta.Json | None = None
    retain_run: bool = False
    metrics_collector: MetricsCollectorSpec | None = None
    primary_pod_labels: dict[str, str] | None = None
    primary_container_name: str = ""
    success_condition: str = ""
    failure_condition: str = ""
    labels: dict[str, str] | None = None
    # Extension of kuttab.
    stop: str = pydantic.Field(default="", description="End the trial now; the text is the reason (extension).")


class TrialStatus(meta.Model):
    """What has become of the run."""

    start_time: str | None = None
    completion_time: str | None = None
    last_reconcile_time: str | None = None
    conditions: list[Condition] | None = None
    observation: Observation | None = None


class Trial(meta.Kinded):
    """One run."""

    API_VERSION: ClassVar[str] = "kubeflow.org/v1beta1"
    KIND: ClassVar[str] = "Trial"

    api_version: str = API_VERSION
    kind: str = KIND
    spec: TrialSpec = TrialSpec()
    status: TrialStatus = TrialStatus()
