"""Experiment: one search, from its space to its best trial (kubeflow.org/v1beta1)."""

from __future__ import annotations

import enum
from typing import ClassVar

import pydantic

from kuttab.api import meta
from kuttab.api.conditions import Condition
from kuttab.api.space import NasConfig, ParameterAssignment, ParameterSpec


class ObjectiveType(enum.StrEnum):
    """Which way is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class ResumePolicy(enum.StrEnum):
    """Whether, and with which state, a finished experiment can go on."""

    NEVER = "Never"
    LONG_RUNNING = "LongRunning"
    FROM_VOLUME = "FromVolume"


class CollectorKind(enum.StrEnum):
    """Where a trial's metrics come from."""

    STDOUT = "StdOut"
    FILE = "File"
    TF_EVENT = "TensorFlowEvent"
    PROMETHEUS = "PrometheusMetric"
    CUSTOM = "Custom"
    PUSH = "Push"


class MetricStrategy(meta.Model):
    """How a metric's series becomes one value: ``min``, ``max`` or ``latest``."""

    name: str
    value: str


class ObjectiveSpec(meta.Model):
    """What is optimised."""

    type: str = ""
    goal: float | None = None
    objective_metric_name: str = ""
    additional_metric_names: list[str] | None = None
    metric_strategies: list[MetricStrategy] | None = None

    @property
    def metric_names(self) -> list[str]:
        """Objective first, then the additional ones."""
        return [self.objective_metric_name, *(self.additional_metric_names or ())]

    def strategy(self, metric: str) -> str:
        """The strategy of a metric, by direction when none is given."""
        given = next((s.value for s in self.metric_strategies or () if s.name == metric), "")
        default = {"minimize": "min", "maximize": "max"}
        return given or default.get(self.type, "latest")


class Setting(meta.Model):
    """A named setting of an algorithm; the value is text."""

    name: str
    value: str


class AlgorithmSpec(meta.Model):
    """Which algorithm, with which settings."""

    algorithm_name: str = ""
    algorithm_settings: list[Setting] | None = None


class TrialParameter(meta.Model):
    """A placeholder of the trial template and what fills it."""

    name: str = ""
    description: str = ""
    reference: str = ""


class ConfigMapSource(meta.Model):
    """A template kept in a ConfigMap."""

    config_map_name: str = ""
    config_map_namespace: str = ""
    template_path: str = ""


class TrialTemplate(meta.Model):
    """How a trial's workload is made."""

    retain: bool = False
    trial_spec: meta.Json | None = None
    config_map: ConfigMapSource | None = None
    trial_parameters: list[TrialParameter] | None = None
    primary_pod_labels: dict[str, str] | None = None
    primary_container_name: str = ""
    success_condition: str = ""
    failure_condition: str = ""


class CollectorSpec(meta.Model):
    """The kind of collector, and the container of a custom one."""

    kind: str = ""
    custom_collector: meta.Json | None = None


class FileSystemPath(meta.Model):
    """A file or folder in which metrics appear."""

    path: str = ""
    kind: str = ""
    format: str = ""


class FilterSpec(meta.Model):
    """Patterns (RE2) whose first two groups are a metric's name and value."""

    metrics_format: list[str] | None = None


class HttpGet(meta.Model):
    """An end point to scrape; the port is a number or text."""

    path: str = ""
    port: int | str = 0
    host: str = ""
    scheme: str = ""
    http_headers: list[meta.Json] | None = None


class SourceSpec(meta.Model):
    """Where the collector reads."""

    file_system_path: FileSystemPath | None = None
    filter: FilterSpec | None = None
    http_get: HttpGet | None = None


class MetricsCollectorSpec(meta.Model):
    """How metrics get out of a trial."""

    collector: CollectorSpec | None = None
    source: SourceSpec | None = None


class WarmStart(meta.Model):
    """Results from before the experiment, which its algorithm starts from (extension of kuttab)."""

    config_map_name: str = pydantic.Field(
        default="",
        description="ConfigMap of the experiment's namespace with earlier results under trials.json (extension).",
    )


class ExperimentSpec(meta.Model):
    """What the user asks for."""

    parameters: list[ParameterSpec] | None = None
    objective: ObjectiveSpec | None = None
    algorithm: AlgorithmSpec | None = None
    early_stopping: AlgorithmSpec | None = None
    trial_template: TrialTemplate | None = None
    parallel_trial_count: int | None = None
    max_trial_count: int | None = None
    max_failed_trial_count: int | None = None
    metrics_collector_spec: MetricsCollectorSpec | None = None
    nas_config: NasConfig | None = None
    resume_policy: str = ""
    # Extensions of kuttab; absent means Katib's behaviour.
    suspend: bool | None = pydantic.Field(default=None, description="Start no new trials while true (extension).")
    stop: bool | None = pydantic.Field(
        default=None, description="End the experiment now and keep what was found (extension)."
    )
    warm_start: WarmStart | None = pydantic.Field(
        default=None, description="Earlier results that the algorithm starts from; they spend no budget (extension)."
    )
    reproducible: bool | None = pydantic.Field(
        default=None,
        description="Proposal i sees the results of trials 0 .. i - parallelTrialCount and of no others, so that one seed gives "
        "one sequence of parameters whatever the timing (extension).",
    )
    ask_ahead: int | None = pydantic.Field(
        default=None,
        description="Assignments to ask for beyond the free slots, for algorithms that do not learn from results (extension).",
    )


class Metric(meta.Model):
    """One metric of an observation, as text in the program's own spelling; ``unavailable`` when nothing fits."""

    name: str
    latest: str = ""
    max: str = ""
    min: str = ""


class Observation(meta.Model):
    """What a trial measured."""

    metrics: list[Metric] | None = None


class OptimalTrial(meta.Model):
    """The best trial so far."""

    best_trial_name: str = ""
    parameter_assignments: list[ParameterAssignment] | None = None
    observation: Observation = Observation()


class ExperimentStatus(meta.Model):
    """What has become of the experiment. Lists hold the newest names up to a cap; counters count all."""

    start_time: str | None = None
    completion_time: str | None = None
    last_reconcile_time: str | None = None
    conditions: list[Condition] | None = None
    current_optimal_trial: OptimalTrial | None = None
    trials: int = 0
    trials_succeeded: int = 0
    trials_failed: int = 0
    trials_killed: int = 0
    trials_pending: int = 0
    trials_running: int = 0
    trials_early_stopped: int = 0
    trial_metrics_unavailable: int = 0
    succeeded_trial_list: list[str] | None = None
    failed_trial_list: list[str] | None = None
    killed_trial_list: list[str] | None = None
    pending_trial_list: list[str] | None = None
    running_trial_list: list[str] | None = None
    early_stopped_trial_list: list[str] | None = None
    metrics_unavailable_trial_list: list[str] | None = None
    # Extensions of kuttab.
    slots: int = pydantic.Field(
        default=0, description="Slots whose trial has been created: the budget's journal (extension)."
    )
    restarts: int = pydantic.Field(default=0, description="How often a raised budget restarted it (extension).")


class Experiment(meta.Kinded):
    """One search."""

    API_VERSION: ClassVar[str] = "kubeflow.org/v1beta1"
    KIND: ClassVar[str] = "Experiment"

    api_version: str = API_VERSION
    kind: str = KIND
    spec: ExperimentSpec = ExperimentSpec()
    status: ExperimentStatus = ExperimentStatus()
