"""Rows 017 to 019: Trials and Suggestions are not written by users."""

from typing import Any

from kuttab.admission import limits
from unit.admission.manifests.cases import Case, Rows

ROWS = Rows()


def trial(**spec: Any) -> dict[str, Any]:
    """A trial with a forged owner and label."""
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Trial",
        "metadata": {
            "name": "x-1",
            "namespace": "team",
            "labels": {"katib.kubeflow.org/experiment": "sound"},
            "ownerReferences": [
                {
                    "apiVersion": "kubeflow.org/v1beta1",
                    "kind": "Experiment",
                    "name": "sound",
                    "uid": "forged",
                    "controller": True,
                }
            ],
        },
        "spec": {"primaryContainerName": "main", **spec},
    }


def suggestion(requests: int) -> dict[str, Any]:
    """A suggestion that asks for so many assignments."""
    metadata = {"name": "sound", "namespace": "team"}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Suggestion",
        "metadata": metadata,
        "spec": {"requests": requests},
    }


def case(
    row: str, title: str, expect: str, document: dict[str, Any], old: dict[str, Any] | None = None, **more: Any
) -> None:
    """A case whose stored object is given whole."""
    ROWS.cases.append(Case(row, title, expect, document=lambda: document, old=old, **more))


OWN = limits.SYSTEM_USER
case("017", "CREATE Trial by a user", "REJ", trial(), says="made by its experiment only")
case("017", "CREATE Trial by the controller", "OK", trial(), user=OWN)
case("017", "CREATE Suggestion by a user", "REJ", suggestion(1), says="made by its experiment only")
case(
    "018",
    "PATCH suggestion.spec.requests by a user",
    "REJ",
    suggestion(10**9),
    suggestion(3),
    at="spec.requests",
    says="written by its experiment only",
)
case("018", "PATCH suggestion.spec.requests by the controller", "OK", suggestion(4), suggestion(3), user=OWN)
case(
    "019",
    "UPDATE trial.spec by a user",
    "REJ",
    trial(retainRun=True),
    trial(),
    at="spec.retainRun",
    says="written by its experiment only",
)
case(
    "019",
    "UPDATE trial.spec by the controller",
    "REJ",
    trial(retainRun=True),
    trial(),
    at="spec.retainRun",
    says="cannot be changed",
    user=OWN,
)
case("019", "UPDATE trial.spec.stop by the controller", "OK", trial(stop="the experiment ended"), trial(), user=OWN)
case(
    "019",
    "UPDATE trial.spec.stop by a user",
    "REJ",
    trial(stop="x"),
    trial(),
    at="spec.stop",
    says="written by its experiment only",
)
NOTED = trial()
NOTED["metadata"] = {**NOTED["metadata"], "annotations": {"note": "looked at"}, "finalizers": []}
case("019", "UPDATE annotation by a user", "OK", NOTED, trial())
MOVED = trial()
MOVED["metadata"] = {**MOVED["metadata"], "labels": {"katib.kubeflow.org/experiment": "other"}, "ownerReferences": []}
case(
    "019",
    "UPDATE experiment label by a user",
    "REJ",
    MOVED,
    trial(),
    at="metadata.labels[katib.kubeflow.org/experiment]",
    says="set by the system",
)
case("019", "UPDATE owner by a user", "REJ", MOVED, trial(), at="metadata.ownerReferences", says="cannot be changed")
