"""What of a workload can be honoured on one machine, field by field.

Every field of a workload is in one of three groups: honoured; *ignored* because it has no meaning with a single shared machine
(:func:`ignored` tells, for a warning); or refused (:func:`unsupported`), because running without it would be something else than
what was asked for. Nothing is dropped silently. Paths are relative to the workload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.node import replica_rules, support_fields, support_kinds, support_pods

quantity = support_fields.quantity

_ENGINES = {
    "argoproj.io": "Argo Workflows",
    "tekton.dev": "Tekton Pipelines",
    "batch.volcano.sh": "Volcano",
    "ray.io": "KubeRay",
    "jobset.x-k8s.io": "JobSet",
    "sparkoperator.k8s.io": "the Spark operator",
    "serving.kserve.io": "KServe",
}
_OFFERED = "Job, TFJob, PyTorchJob, XGBoostJob, MPIJob (kubeflow.org/v1), TrainJob (trainer.kubeflow.org/v1alpha1)"


def unsupported(workload: meta.Json) -> list[errors.Problem]:
    """Everything in a workload that cannot be honoured here; an empty list means that it can run."""
    api_version, kind_name = str(workload.get("apiVersion", "")), str(workload.get("kind", ""))
    kind = kinds.known(api_version, kind_name)
    if kind == kinds.FUNCTION_JOB:
        return []
    if kind is None or kind not in {kinds.JOB, kinds.TRAIN_JOB, kinds.DEPLOYMENT, *replica_rules.FAMILIES}:
        return [_foreign(api_version, kind_name)]
    spec = workload.get("spec")
    if not isinstance(spec, Mapping):
        return [errors.Problem("spec", "must be a map", "FieldValueRequired")]
    found = list(_check_kind(kind, spec))
    for path, template in templates(workload):
        pod = template.get("spec")
        if not isinstance(pod, Mapping):
            found.append(errors.Problem(f"{path}.spec", "must be a map", "FieldValueRequired"))
        else:
            found += support_pods.check(pod, f"{path}.spec", restarts=_restarts(kind))
    return found


def _check_kind(kind: kinds.Kind, spec: Mapping[str, Any]) -> Iterator[errors.Problem]:
    if kind == kinds.JOB:
        yield from support_kinds.check_job(spec)
    elif kind == kinds.TRAIN_JOB:
        yield from support_kinds.check_trainer(spec)
    elif kind in replica_rules.FAMILIES:
        yield from support_kinds.check_replicated(replica_rules.FAMILIES[kind], spec)


def _restarts(kind: kinds.Kind) -> tuple[str, ...]:
    """Restart policies of pods; those of a replica are overruled by the replica's own."""
    if kind == kinds.JOB:
        return ("Never", "OnFailure")
    return ("Always", "OnFailure", "Never")


def ignored(workload: meta.Json) -> list[errors.Problem]:
    """Fields that are accepted and have no effect here, for warnings; call it on a workload that :func:`unsupported` lets pass."""
    kind = kinds.known(str(workload.get("apiVersion", "")), str(workload.get("kind", "")))
    found: list[errors.Problem] = []
    if kind in replica_rules.FAMILIES:
        found += support_kinds.ignored_replicated(workload.get("spec") or {})
    elif kind == kinds.TRAIN_JOB:
        found += support_kinds.ignored_trainer(workload.get("spec") or {})
    for path, template in templates(workload):
        found += support_pods.ignored(template.get("spec") or {}, f"{path}.spec")
    return found


def templates(workload: meta.Json) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each pod template of a workload with its path; nothing for kinds that have none."""
    kind = kinds.known(str(workload.get("apiVersion", "")), str(workload.get("kind", "")))
    spec = workload.get("spec")
    if not isinstance(spec, Mapping):
        return
    if kind in (kinds.JOB, kinds.DEPLOYMENT):
        yield "spec.template", support_fields.as_map(spec.get("template"))
    elif kind in replica_rules.FAMILIES:
        field = replica_rules.FAMILIES[kind].field
        for name, replica in support_fields.as_map(spec.get(field)).items():
            template = support_fields.as_map(support_fields.as_map(replica).get("template"))
            yield f"spec.{field}.{name}.template", template


def _foreign(api_version: str, kind: str) -> errors.Problem:
    engine = _ENGINES.get(api_version.rpartition("/")[0])
    why = f"is run by {engine}, which is not on this machine" if engine else "has no controller on this machine"
    return errors.Problem(
        "kind",
        f"{kind or '(none)'} ({api_version or 'no apiVersion'}) {why}; use one of {_OFFERED}, or a cluster",
        support_fields.NOT_OFFERED,
    )
