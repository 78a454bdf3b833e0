"""Facts about the kinds of workload a trial can be: defaults, and where their pods are described.

Conditions and labels are those of Katib. The table holds what people run today; an operator can allow more kinds by name, and such
a kind has no defaults and nothing is known about its pods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kuttab.admission import paths
from kuttab.api import meta


def _condition(type_: str, status: str = "True") -> str:
    return f'status.conditions.#(type=="{type_}")#|#(status=="{status}")#'


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of workload. Empty conditions mean that the user must write them.

    ``replicas`` is the field of ``spec`` that maps replica names to pod templates.
    """

    success: str = ""
    failure: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    replicas: str = ""


_ROLE = (("training.kubeflow.org/job-role", "master"),)
_NODE = (("batch.kubernetes.io/job-completion-index", "0"), ("jobset.sigs.k8s.io/replicatedjob-name", "node"))


def _training(replicas: str) -> Workload:
    return Workload(_condition("Succeeded"), _condition("Failed"), _ROLE, replicas)


JOB = ("batch/v1", "Job")

KNOWN: dict[tuple[str, str], Workload] = {
    JOB: Workload(_condition("Complete"), _condition("Failed")),
    ("kubeflow.org/v1", "TFJob"): _training("tfReplicaSpecs"),
    ("kubeflow.org/v1", "PyTorchJob"): _training("pytorchReplicaSpecs"),
    ("kubeflow.org/v1", "XGBoostJob"): _training("xgbReplicaSpecs"),
    ("kubeflow.org/v1", "MPIJob"): _training("mpiReplicaSpecs"),
    ("kubeflow.org/v1", "PaddleJob"): Workload(replicas="paddleReplicaSpecs"),
    ("kubeflow.org/v1", "JAXJob"): Workload(replicas="jaxReplicaSpecs"),
    ("kubeflow.org/v1", "MXJob"): Workload(replicas="mxReplicaSpecs"),
    ("kubeflow.org/v2beta1", "MPIJob"): Workload(replicas="mpiReplicaSpecs"),
    ("trainer.kubeflow.org/v1alpha1", "TrainJob"): Workload(_condition("Complete"), _condition("Failed"), _NODE),
    ("jobset.x-k8s.io/v1alpha2", "JobSet"): Workload(),
    ("ray.io/v1", "RayJob"): Workload(),
    ("argoproj.io/v1alpha1", "Workflow"): Workload(),
    ("tekton.dev/v1", "PipelineRun"): Workload(),
    ("tekton.dev/v1beta1", "PipelineRun"): Workload(),
    ("kuttab.org/v1", "FunctionJob"): Workload(_condition("Complete"), _condition("Failed")),
}


def of(tree: meta.Json) -> Workload | None:
    """What is known about the kind of a template, or None."""
    key = (tree.get("apiVersion"), tree.get("kind"))
    return KNOWN.get(key) if all(isinstance(part, str) for part in key) else None  # type: ignore[arg-type]


def pod_templates(tree: meta.Json, prefix: str) -> Iterator[tuple[str, meta.Json]]:
    """Path and content of each pod template (``metadata`` and ``spec``) whose place in the kind is known."""
    known = of(tree)
    spec = tree.get("spec")
    if known is None or not isinstance(spec, dict):
        return
    root = paths.join(prefix, "spec")
    if is_job(tree):
        if isinstance(spec.get("template"), dict):
            yield paths.join(root, "template"), spec["template"]
        return
    replicas = spec.get(known.replicas) if known.replicas else None
    for name, replica in replicas.items() if isinstance(replicas, dict) else ():
        if isinstance(replica, dict) and isinstance(replica.get("template"), dict):
            yield paths.join(root, known.replicas, name, "template"), replica["template"]


def containers(pod: Any, path: str, *fields: str) -> Iterator[tuple[str, meta.Json]]:
    """Path and content of each container of a pod spec in those lists (default: ``containers``)."""
    for field in fields or ("containers",):
        listed = pod.get(field) if isinstance(pod, dict) else None
        for index, container in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(container, dict):
                yield f"{paths.join(path, field)}[{index}]", container


def is_job(tree: meta.Json) -> bool:
    """Whether the template is a batch/v1 Job."""
    return (tree.get("apiVersion"), tree.get("kind")) == JOB
