"""Registry of kinds: what a kind is called on the wire, where it lives, and which class reads it.

The classes are loaded when they are first asked for: whoever only needs names pays nothing for them.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kuttab.api import meta


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object. Two kinds are equal when group, version and kind are."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = field(default=True, compare=False)
    home: str = field(default="meta.Resource", compare=False)
    """Module of this package, and name of the class."""
    status: bool = field(default=True, compare=False)
    """Whether status is a subresource of its own."""
    short_names: tuple[str, ...] = field(default=(), compare=False)
    categories: tuple[str, ...] = field(default=(), compare=False)
    childless: bool = field(default=False, compare=False)
    """Whether objects of this kind never own others, so that nothing follows from their deletion."""
    _hash: int = field(init=False, repr=False, compare=False)
    """Kinds are looked up in maps all the time."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.group, self.version, self.kind, self.plural)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def cls(self) -> type[meta.Object]:
        """The class that reads it."""
        return _class(self.home)

    @property
    def api_version(self) -> str:
        """``group/version``, or ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """Lower-case kind."""
        return self.kind.lower()

    @property
    def list_kind(self) -> str:
        """Kind of a list of these."""
        return self.kind + "List"

    def load(self, document: Mapping[str, Any]) -> meta.Object:
        """Read a document of this kind; raises pydantic.ValidationError."""
        return self.cls.model_validate(document)

    def load_bytes(self, text: bytes | str) -> meta.Object:
        """Read JSON text of this kind; raises pydantic.ValidationError."""
        return self.cls.model_validate_json(text)


@functools.cache
def _class(home: str) -> type[meta.Object]:
    module, _, name = home.partition(".")
    found: type[meta.Object] = getattr(importlib.import_module(f"kuttab.api.{module}"), name)
    return found


_OURS = ("all", "kubeflow", "katib")

EXPERIMENT = Kind(
    "kubeflow.org", "v1beta1", "Experiment", "experiments", home="experiment.Experiment", categories=_OURS
)
SUGGESTION = Kind(
    "kubeflow.org", "v1beta1", "Suggestion", "suggestions", home="suggestion.Suggestion", categories=_OURS
)
TRIAL = Kind("kubeflow.org", "v1beta1", "Trial", "trials", home="trial.Trial", categories=_OURS)
JOB = Kind("batch", "v1", "Job", "jobs", categories=("all",))
POD = Kind("", "v1", "Pod", "pods", short_names=("po",), categories=("all",))
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps", short_names=("cm",), status=False)
SECRET = Kind("", "v1", "Secret", "secrets", status=False)
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False, short_names=("ns",))
SERVICE = Kind("", "v1", "Service", "services", short_names=("svc",), categories=("all",))
EVENT = Kind("", "v1", "Event", "events", short_names=("ev",), status=False)
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments", short_names=("deploy",), categories=("all",))
CLAIM = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short_names=("pvc",))
TF_JOB = Kind("kubeflow.org", "v1", "TFJob", "tfjobs")
PYTORCH_JOB = Kind("kubeflow.org", "v1", "PyTorchJob", "pytorchjobs")
XGBOOST_JOB = Kind("kubeflow.org", "v1", "XGBoostJob", "xgboostjobs")
MPI_JOB = Kind("kubeflow.org", "v1", "MPIJob", "mpijobs")
TRAIN_JOB = Kind("trainer.kubeflow.org", "v1alpha1", "TrainJob", "trainjobs")
FUNCTION_JOB = Kind("kuttab.org", "v1", "FunctionJob", "functionjobs", childless=True)
"""Ours: a Python function called in a warm worker process of this machine."""

ALL: tuple[Kind, ...] = (
    EXPERIMENT, SUGGESTION, TRIAL, JOB, POD, CONFIG_MAP, SECRET, NAMESPACE, SERVICE, EVENT, DEPLOYMENT, CLAIM,
    TF_JOB, PYTORCH_JOB, XGBOOST_JOB, MPI_JOB, TRAIN_JOB, FUNCTION_JOB,
)  # fmt: skip

_BY_GVK = {(kind.api_version, kind.kind): kind for kind in ALL}


def known(api_version: str, kind: str) -> Kind | None:
    """The registered kind, or None."""
    return _BY_GVK.get((api_version, kind))


def of(obj: meta.Object) -> Kind:
    """The kind of an object; one that is not registered gets the plural that most kinds have."""
    return named(obj.api_version, obj.kind)


def named(api_version: str, kind: str) -> Kind:
    """The registered kind, or one with a guessed plural for a foreign kind."""
    found = known(api_version, kind)
    if found is not None:
        return found
    group, _, version = api_version.rpartition("/")
    lower = kind.lower()
    plural = (
        lower + "es"
        if lower.endswith(("s", "x", "ch", "sh"))
        else lower[:-1] + "ies"
        if lower.endswith("y")
        else lower + "s"
    )
    return Kind(group, version, kind, plural)


def load(document: Mapping[str, Any]) -> meta.Object:
    """Read a document of any kind by its own apiVersion and kind; raises KeyError when these are missing."""
    return named(document["apiVersion"], document["kind"]).load(document)
