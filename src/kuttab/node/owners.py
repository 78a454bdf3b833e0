"""What the job controllers of this node share: a job's Trial, and the Pods it makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kuttab.api import keys, kinds, meta, trial
from kuttab.base import errors, ids
from kuttab.node import pod_status
from kuttab.ports import objects as port
from kuttab.ports import observations as observation_port

LABEL_JOB = "job-name"
LABEL_CONTROLLER = "controller-uid"
_PREFIX = "batch.kubernetes.io/"


class TrialGoneError(errors.UnavailableError):
    """The Trial that owns a job does not exist any more: the job is about to go too."""

    reason = "TrialGone"


async def trial_of(objects: port.Objects, job: meta.Object) -> trial.Trial | None:
    """The Trial that controls a job; None for a job of its own. TrialGoneError when that very Trial is gone."""
    owner = job.metadata.controller
    if owner is None or owner.kind != trial.Trial.KIND or not owner.api_version.startswith("kubeflow.org/"):
        return None
    try:
        found = await objects.get(kinds.TRIAL, job.namespace, owner.name)
    except errors.NotFoundError:
        found = None
    if not isinstance(found, trial.Trial) or found.uid != owner.uid:
        raise TrialGoneError(f"trial {owner.name!r}, which owns {job.kind} {job.name!r}, is gone")
    return found


def trial_key(subject: trial.Trial) -> observation_port.TrialKey:
    """Whose metric rows."""
    return observation_port.TrialKey(subject.uid, subject.name, subject.namespace)


def pod_name(job: meta.Object, *parts: object) -> str:
    """The name of a pod: a function of the job's identity and what the pod is for."""
    return f"{job.name[:57]}-{ids.digest_name(job.uid, *parts, length=5)}"


def pod(
    job: meta.Object,
    template: Mapping[str, Any],
    subject: trial.Trial | None,
    *,
    name: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
) -> meta.Resource:
    """A Pod of a job, to be created: the template's spec, labels of template, job and Trial (in rising precedence)."""
    section = template.get("metadata") or {}
    all_labels = {**(section.get("labels") or {}), **labels}
    if subject is not None:
        all_labels |= trial_labels(subject)
    owner = meta.OwnerReference(
        api_version=job.api_version,
        kind=job.kind,
        name=job.name,
        uid=job.uid,
        controller=True,
        block_owner_deletion=True,
    )
    metadata = meta.ObjectMeta(
        name=name,
        namespace=job.namespace,
        labels=all_labels,
        annotations={**(section.get("annotations") or {}), **annotations},
        finalizers=[pod_status.FINALIZER],
        owner_references=[owner],
    )
    spec = {**template.get("spec", {}), "nodeName": "localhost"}
    return meta.Resource(api_version="v1", kind="Pod", metadata=metadata, spec=spec)  # type: ignore[call-arg]


def named(fresh: meta.Resource, uid: str) -> meta.Resource:
    """A Pod that may be written later, under this uid."""
    return meta.evolve(fresh, metadata=meta.evolve(fresh.metadata, uid=uid))


async def enter(objects: port.Objects, pod: meta.Resource) -> meta.Resource | None:
    """Write a named Pod, or find it written; None when that cannot be: its name is taken, or its namespace is gone or going."""
    assert isinstance(objects, port.GivenUids)
    try:
        made = await objects.enter(pod)
    except errors.AlreadyExistsError:
        made = await objects.get(kinds.POD, pod.namespace, pod.name)
    except (errors.NotFoundError, errors.ForbiddenError):
        return None
    return made if made.uid == pod.uid and isinstance(made, meta.Resource) else None


def trial_labels(subject: trial.Trial) -> dict[str, str]:
    """The labels that a Trial gives to all pods of its job."""
    return {**(subject.metadata.labels or {}), keys.LABEL_TRIAL: subject.name}


def job_labels(job: meta.Object) -> dict[str, str]:
    """The labels that a batch/v1 Job puts on its pods."""
    pairs = {LABEL_JOB: job.name, LABEL_CONTROLLER: job.uid}
    return {**pairs, **{_PREFIX + key: value for key, value in pairs.items()}}


async def create(objects: port.Objects, fresh: meta.Resource, job: meta.Object) -> meta.Resource | None:
    """Create a Pod, or find the one that an earlier try created; None when the name belongs to something else."""
    try:
        made = await objects.create(fresh)
    except errors.AlreadyExistsError:
        made = await objects.get(kinds.POD, fresh.namespace, fresh.name)
        owner = made.metadata.controller
        if owner is None or owner.uid != job.uid or pod_status.finished(made) or made.deleting:
            return None
    assert isinstance(made, meta.Resource)
    return made
