"""Labels by which the pods of a trial are found."""

from __future__ import annotations

import copy

from kuttab.api import keys
from kuttab.controllers import dressing
from kuttab.testing import builders

LABEL = {keys.LABEL_TRIAL: "t"}


def test_jobs() -> None:
    """The pod template of a Job gets the trial's label beside the user's, and the trial's own document is not touched."""
    document = builders.job_document()
    document["spec"]["template"]["metadata"] = {"labels": {"mine": "1"}, "annotations": {"a": "b"}}
    before = copy.deepcopy(document)
    dressed = dressing.dress(builders.trial("t"), document)
    assert dressed["spec"]["template"]["metadata"] == {"labels": {"mine": "1", **LABEL}, "annotations": {"a": "b"}}
    assert document == before


def test_replicas() -> None:
    """So does each replica of a training job; a template without metadata gets some."""
    template = {"spec": {"containers": [{"name": "main"}]}}
    replicas = {"Master": {"template": dict(template)}, "Worker": {"template": dict(template)}}
    document = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": {"pytorchReplicaSpecs": replicas}}
    dressed = dressing.dress(builders.trial("t"), document)
    for replica in dressed["spec"]["pytorchReplicaSpecs"].values():
        assert replica["template"]["metadata"]["labels"] == LABEL


def test_kinds_whose_pods_are_unknown() -> None:
    """A workload whose pods are described elsewhere stays as it is."""
    document = {"apiVersion": "example.com/v1", "kind": "Thing", "spec": {"template": {"spec": {}}}}
    assert dressing.dress(builders.trial("t"), document) == document
