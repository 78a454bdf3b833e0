"""Suggestion: the search algorithm as the system sees it (kubeflow.org/v1beta1)."""

from __future__ import annotations

from typing import ClassVar

import pydantic

from kuttab.api import meta
from kuttab.api.conditions import Condition
from kuttab.api.experiment import AlgorithmSpec, Setting
from kuttab.api.space import ParameterAssignment


class EarlyStoppingRule(meta.Model):
    """A trial is stopped when all its rules hold; ``comparison`` is ``equal``, ``less`` or ``greater``."""

    name: str
    value: str
    comparison: str
    start_step: int = 0


class TrialAssignment(meta.Model):
    """One set of parameter values, named for the trial it becomes."""

    name: str = ""
    parameter_assignments: list[ParameterAssignment] | None = None
    early_stopping_rules: list[EarlyStoppingRule] | None = None
    labels: dict[str, str] | None = None
    slot: int = pydantic.Field(default=0, description="Number of the slot this assignment fills, from 0 (extension).")


class SuggestionSpec(meta.Model):
    """What the experiment controller asks for."""

    algorithm: AlgorithmSpec | None = None
    early_stopping: AlgorithmSpec | None = None
    requests: int = 0
    resume_policy: str = ""


class SuggestionStatus(meta.Model):
    """What the algorithm has answered. ``suggestions`` holds the newest entries and every one that has no trial yet."""

    start_time: str | None = None
    completion_time: str | None = None
    last_reconcile_time: str | None = None
    conditions: list[Condition] | None = None
    suggestion_count: int = 0
    suggestions: list[TrialAssignment] | None = None
    algorithm_settings: list[Setting] | None = None
    # Extension of kuttab.
    exhausted: bool | None = pydantic.Field(
        default=None, description="The algorithm has nothing left to propose (extension)."
    )


class Suggestion(meta.Kinded):
    """The dialogue with an algorithm."""

    API_VERSION: ClassVar[str] = "kubeflow.org/v1beta1"
    KIND: ClassVar[str] = "Suggestion"

    api_version: str = API_VERSION
    kind: str = KIND
    spec: SuggestionSpec = SuggestionSpec()
    status: SuggestionStatus = SuggestionStatus()
