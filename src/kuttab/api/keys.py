"""Every label, annotation, finalizer and condition reason, each with a sentence."""

from __future__ import annotations

# Labels of Katib.
LABEL_EXPERIMENT = "katib.kubeflow.org/experiment"  # the experiment a trial belongs to
LABEL_SUGGESTION = "katib.kubeflow.org/suggestion"  # the suggestion a service pod belongs to
LABEL_DEPLOYMENT = "katib.kubeflow.org/deployment"  # the deployment a service pod belongs to
LABEL_TRIAL = "katib.kubeflow.org/trial"  # the trial a pod belongs to
LABEL_INJECTION = "katib.kubeflow.org/metrics-collector-injection"  # "enabled" on namespaces that take experiments
LABEL_COMPONENT = "katib.kubeflow.org/component"  # which part of the system an object is
LABEL_OLD_EXPERIMENT = "experiment"  # the spelling before v1beta1
LABEL_PBT_GENERATION = "pbt.suggestion.katib.kubeflow.org/generation"  # generation of a population member, from 0
LABEL_PBT_PARENT = "pbt.suggestion.katib.kubeflow.org/parent"  # trial whose checkpoint a member starts from
RESERVED_LABEL_DOMAINS = ("katib.kubeflow.org", "kuttab.org")  # users may not set labels of these domains

# Ours.
ANNOTATION_SLOT = "kuttab.org/slot"  # number of the slot a trial fills, from 0
ANNOTATION_TEMPLATE = (
    "kuttab.org/template"  # the ConfigMap template an experiment started with: it stays for the whole run
)
ANNOTATION_EARLY_STOPPED = "kuttab.org/early-stopped"  # on a workload: the metric whose rule ended it early

# Finalizers.
FINALIZER_EXPERIMENT = "update-prometheus-metrics"  # holds a deleted experiment until its counters are updated
FINALIZER_TRIAL = "clean-metrics-in-db"  # holds a deleted trial until its metric rows are gone

# Condition types.
CREATED = "Created"
RUNNING = "Running"
RESTARTING = "Restarting"
SUCCEEDED = "Succeeded"
FAILED = "Failed"
KILLED = "Killed"
EARLY_STOPPED = "EarlyStopped"
METRICS_UNAVAILABLE = "MetricsUnavailable"
DEPLOYMENT_READY = "DeploymentReady"
QUEUED = "Queued"  # ours: the trial waits for quota
SUSPENDED = "Suspended"  # ours: the experiment is paused by spec.suspend
TEMPLATE_CHANGED = "TemplateChanged"  # ours: the ConfigMap of the template changed since the experiment started

# Reasons of experiment conditions.
EXPERIMENT_CREATED = "ExperimentCreated"
EXPERIMENT_RUNNING = "ExperimentRunning"
EXPERIMENT_RESTARTING = "ExperimentRestarting"
EXPERIMENT_GOAL_REACHED = "ExperimentGoalReached"
EXPERIMENT_MAX_TRIALS_REACHED = "ExperimentMaxTrialsReached"
EXPERIMENT_SUGGESTION_END_REACHED = "ExperimentSuggestionEndReached"
EXPERIMENT_STOPPED = "ExperimentStopped"  # ours: ended by spec.stop
EXPERIMENT_FAILED = "ExperimentFailed"

# Reasons of suggestion conditions.
SUGGESTION_CREATED = "SuggestionCreated"
SUGGESTION_RUNNING = "SuggestionRunning"
SUGGESTION_DEPLOYMENT_READY = "DeploymentReady"
SUGGESTION_DEPLOYMENT_NOT_READY = "DeploymentNotReady"
SUGGESTION_FAILED = "SuggestionFailed"
SUGGESTION_SUCCEEDED = "Suggestion is succeeded"
SUGGESTION_EXPERIMENT_SUCCEEDED = "Experiment is succeeded"
SUGGESTION_EXPERIMENT_RESTARTING = "Experiment is restarting"

# Reasons of trial conditions.
TRIAL_CREATED = "TrialCreated"
TRIAL_RUNNING = "TrialRunning"
TRIAL_SUCCEEDED = "TrialSucceeded"
TRIAL_FAILED = "TrialFailed"
TRIAL_EARLY_STOPPED = "TrialEarlyStopped"
TRIAL_METRICS_UNAVAILABLE = "MetricsUnavailable"
QUOTA_WAIT = "QuotaWait"  # ours, of Queued: no quota has admitted the trial yet
WORKLOAD_SUSPENDED = "WorkloadSuspended"  # ours, of Queued: the workload exists and is suspended
TRIAL_KILLED = "TrialKilled"  # ours: ended because the experiment ended or its budget shrank

UNAVAILABLE = "unavailable"  # value of a metric that was never reported
ENV_TRIAL_NAME = "KATIB_TRIAL_NAME"
ENV_SUGGESTION_PORT = "KATIB_SUGGESTION_PORT"
ENV_EARLY_STOPPING_PORT = "KATIB_EARLY_STOPPING_PORT"  # ours: the same for a service of early-stopping rules
ENV_DB_MANAGER_IP = "KATIB_DB_MANAGER_SERVICE_IP"
ENV_DB_MANAGER_PORT = "KATIB_DB_MANAGER_SERVICE_PORT"
ENV_DB_MANAGER_NAMESPACE = "KATIB_DB_MANAGER_SERVICE_NAMESPACE"  # empty: the address is IP:PORT, without a namespace
ENV_DB_MANAGER = "KATIB_DB_MANAGER_ADDRESS"  # ours: host:port where a trial's program may report its metrics
ENV_TRIAL_TOKEN = "KUTTAB_TRIAL_TOKEN"  # noqa: S105  # ours: the name of a variable; proves that a caller is the trial
