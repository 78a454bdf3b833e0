"""Small valid objects for tests: they pass admission, and every part can be replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kuttab.api import experiment as experiments
from kuttab.api import keys, kinds, meta
from kuttab.api import suggestion as suggestions
from kuttab.api import trial as trials


def owner(obj: meta.Object, *, controller: bool = True, block: bool = True) -> meta.OwnerReference:
    """A reference to an owner."""
    return meta.OwnerReference(
        api_version=obj.api_version,
        kind=obj.kind,
        name=obj.name,
        uid=obj.uid,
        controller=controller or None,
        block_owner_deletion=block or None,
    )


def metadata(
    name: str = "",
    namespace: str = "default",
    *,
    labels: Mapping[str, str] | None = None,
    owners: Sequence[meta.OwnerReference] = (),
    finalizers: Sequence[str] = (),
    generate_name: str = "",
) -> meta.ObjectMeta:
    """Metadata with only what is given."""
    return meta.evolve(
        meta.ObjectMeta(),
        name=name,
        generate_name=generate_name,
        namespace=namespace,
        labels=dict(labels or {}),
        owner_references=list(owners),
        finalizers=list(finalizers),
    )


def job_document(command: Sequence[str] = ("python3", "-c", "print('loss=0.5')"), **spec: Any) -> meta.Json:
    """A batch/v1 Job with one container called ``training-container``."""
    container = {"name": "training-container", "image": "docker.io/library/python:3", "command": list(command)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}, **spec},
    }


def experiment(name: str = "search", namespace: str = "default", **spec: Any) -> experiments.Experiment:
    """Minimise ``loss`` over one double with random search; ``spec`` replaces fields by their JSON names."""
    return experiments.Experiment.load(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Experiment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "objective": {"type": "minimize", "objectiveMetricName": "loss"},
                "algorithm": {"algorithmName": "random"},
                "parallelTrialCount": 2,
                "maxTrialCount": 4,
                "maxFailedTrialCount": 1,
                "parameters": [
                    {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.01", "max": "0.1"}}
                ],
                "trialTemplate": {
                    "primaryContainerName": "training-container",
                    "trialParameters": [{"name": "rate", "description": "Learning rate", "reference": "lr"}],
                    "trialSpec": job_document(("python3", "-c", "print('loss=${trialParameters.rate}')")),
                },
                **spec,
            },
        }
    )


def trial(
    name: str = "search-1", namespace: str = "default", *, of: meta.Object | None = None, **spec: Any
) -> trials.Trial:
    """One trial; ``of`` makes it the child of an experiment."""
    run = job_document()
    run["metadata"] = {"name": name, "namespace": namespace}
    loaded = trials.Trial.load(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Trial",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "objective": {"type": "minimize", "objectiveMetricName": "loss"},
                "parameterAssignments": [{"name": "lr", "value": "0.05"}],
                "primaryContainerName": "training-container",
                "successCondition": 'status.conditions.#(type=="Complete")#|#(status=="True")#',
                "failureCondition": 'status.conditions.#(type=="Failed")#|#(status=="True")#',
                "runSpec": run,
                **spec,
            },
        }
    )
    if of is None:
        return loaded
    labels = {keys.LABEL_EXPERIMENT: of.name}
    return meta.evolve(loaded, metadata=metadata(name, namespace, labels=labels, owners=[owner(of)]))


def suggestion(name: str = "search", namespace: str = "default", *, requests: int = 2) -> suggestions.Suggestion:
    """A suggestion that has been asked for some assignments."""
    return suggestions.Suggestion.load(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Suggestion",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"algorithm": {"algorithmName": "random"}, "requests": requests, "resumePolicy": "Never"},
        }
    )


def job(name: str = "search-1", namespace: str = "default", *, command: Sequence[str] = ("true",)) -> meta.Resource:
    """A Job of one container."""
    document = job_document(command)
    return meta.Resource.model_validate({**document, "metadata": {"name": name, "namespace": namespace}})


def config_map(name: str = "settings", namespace: str = "default", **data: str) -> meta.Resource:
    """A ConfigMap."""
    return meta.Resource.model_validate(
        {
            "apiVersion": kinds.CONFIG_MAP.api_version,
            "kind": kinds.CONFIG_MAP.kind,
            "metadata": {"name": name, "namespace": namespace},
            "data": data or {"key": "value"},
        }
    )


def namespace(name: str) -> meta.Resource:
    """A namespace that takes experiments."""
    return meta.Resource.model_validate(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {keys.LABEL_INJECTION: "enabled"}},
        }
    )
