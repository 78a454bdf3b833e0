"""Names and labels of children: functions of (owner, slot, attempt), safe against what services send."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kuttab.api import experiment, keys, meta
from kuttab.base import ids

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", re.ASCII)
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)


def trial_name(subject: experiment.Experiment, slot: int | str) -> str:
    """``<experiment>-<8 characters>``: the same slot of the same experiment always gets the same name."""
    return f"{subject.name[:54]}-{ids.digest_name(subject.uid, slot)}"


def is_dns_label(text: str) -> bool:
    """Whether the text can name a trial, its workload and its pods."""
    return len(text) <= 63 and _DNS_LABEL.fullmatch(text) is not None


def label_problem(key: str, value: str) -> str:
    """What is wrong with a label that a suggestion service wants on a trial; empty when nothing is."""
    prefix, _, name = key.rpartition("/")
    if _LABEL_KEY.fullmatch(key) is None or len(name) > 63 or len(prefix) > 253:
        return f"label key {key[:80]!r} is not allowed by Kubernetes"
    if len(value) > 63 or _LABEL_VALUE.fullmatch(value) is None:
        return f"value of label {key} is not allowed by Kubernetes"
    if prefix in keys.RESERVED_LABEL_DOMAINS or key == keys.LABEL_OLD_EXPERIMENT:
        return f"label {key} is reserved"
    return ""


def trial_labels(subject: experiment.Experiment, given: Mapping[str, str] | None) -> dict[str, str]:
    """Labels of a trial: the assignment's, then the experiment's, then ours, which nobody can overwrite."""
    return {**(given or {}), **(subject.metadata.labels or {}), keys.LABEL_EXPERIMENT: subject.name}


def owner(of: meta.Object) -> meta.OwnerReference:
    """A controller's owner reference to an object."""
    return meta.OwnerReference(
        api_version=of.api_version,
        kind=of.kind,
        name=of.name,
        uid=of.uid,
        controller=True,
        block_owner_deletion=True,
    )


def owned_by(child: meta.Object, parent: meta.Object) -> bool:
    """Whether the child is controlled by exactly this object: by uid, never by name."""
    reference = child.metadata.controller
    return reference is not None and reference.uid == parent.uid
