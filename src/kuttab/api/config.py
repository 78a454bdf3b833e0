"""KatibConfig: which program stands behind the name of an algorithm (config.kubeflow.org/v1beta1).

Fields that only a cluster can honour are kept as they are; what one machine does with an entry is said in the descriptions. Extensions
of kuttab: ``image`` may be left out where ``command`` is given, early-stopping services may name a command too, and
``timeoutSeconds``.
"""

from __future__ import annotations

from typing import ClassVar

import pydantic

from kuttab.api import meta


class ControllerConfig(meta.Model):
    """Settings of the controller process in a cluster; one machine has no use for them."""

    experiment_suggestion_name: str = ""
    metrics_addr: str = ""
    healthz_addr: str = ""
    inject_security_context: bool = False
    enable_grpc_probe_in_suggestion: bool | None = pydantic.Field(default=None, alias="enableGRPCProbeInSuggestion")
    trial_resources: list[str] | None = None
    webhook_port: int | None = None
    enable_leader_election: bool = False
    leader_election_id: str = pydantic.Field(default="", alias="leaderElectionID")


class CertGeneratorConfig(meta.Model):
    """Certificates of the webhooks in a cluster; one machine has no use for them."""

    enable: bool | None = None
    webhook_service_name: str = ""
    webhook_secret_name: str = ""


class InitConfig(meta.Model):
    """What the controller reads once at its start."""

    controller: ControllerConfig | None = None
    cert_generator: CertGeneratorConfig | None = None


class ServiceConfig(meta.Model):
    """A program that serves an algorithm: the fields of a container, and where it keeps state.

    One machine honours image, command, args, env, workingDir, volumeMountPath and timeoutSeconds.
    """

    algorithm_name: str = ""
    image: str = ""
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[meta.Json] | None = None
    env_from: list[meta.Json] | None = None
    working_dir: str = ""
    timeout_seconds: float | None = pydantic.Field(
        default=None, description="Longest time of one call in seconds; 60 when absent (extension)."
    )
    volume_mount_path: str = ""
    service_account_name: str = ""
    persistent_volume_claim_spec: meta.Json | None = None
    persistent_volume_spec: meta.Json | None = None
    persistent_volume_labels: dict[str, str] | None = None
    name: str = ""
    ports: list[meta.Json] | None = None
    resources: meta.Json | None = None
    resize_policy: list[meta.Json] | None = None
    restart_policy: str = ""
    volume_mounts: list[meta.Json] | None = None
    volume_devices: list[meta.Json] | None = None
    liveness_probe: meta.Json | None = None
    readiness_probe: meta.Json | None = None
    startup_probe: meta.Json | None = None
    lifecycle: meta.Json | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    image_pull_policy: str = ""
    security_context: meta.Json | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class CollectorConfig(meta.Model):
    """The image of a metrics collector in a cluster; on one machine metrics are read by kuttab itself."""

    kind: str = ""
    image: str = ""
    image_pull_policy: str = ""
    resources: meta.Json | None = None
    wait_all_processes: bool | None = None


class RuntimeConfig(meta.Model):
    """What is read whenever it is needed."""

    suggestions: list[ServiceConfig] | None = None
    early_stoppings: list[ServiceConfig] | None = None
    metrics_collectors: list[CollectorConfig] | None = None
    quota: meta.Json | None = None
    """What is asked before a trial's workload: url, or cpus, gpus, memory (extension)."""


class KatibConfig(meta.Kinded):
    """The configuration of an installation."""

    API_VERSION: ClassVar[str] = "config.kubeflow.org/v1beta1"
    KIND: ClassVar[str] = "KatibConfig"

    api_version: str = API_VERSION
    kind: str = KIND
    init: InitConfig | None = None
    runtime: RuntimeConfig | None = None


IGNORED_HERE = (
    "persistentVolumeClaimSpec", "persistentVolumeSpec", "persistentVolumeLabels", "ports", "resources", "resizePolicy",
    "livenessProbe", "readinessProbe", "startupProbe", "imagePullPolicy", "securityContext", "serviceAccountName", "name",
    "restartPolicy", "terminationMessagePath", "terminationMessagePolicy",
)  # fmt: skip
"""Fields of a service that say how a cluster runs its container; they mean nothing for a process of this machine."""

REFUSED_HERE = ("envFrom", "volumeMounts", "volumeDevices", "lifecycle", "stdin", "stdinOnce", "tty")
"""Fields of a service that would change what its program sees, and that one machine cannot honour."""
