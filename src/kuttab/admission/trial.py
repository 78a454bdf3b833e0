"""Trials and Suggestions are written by the controllers alone; users read them, delete them, and may annotate them."""

from __future__ import annotations

from kuttab.admission import metadata, paths
from kuttab.admission.report import Report
from kuttab.api import meta, suggestion, trial

Owned = trial.Trial | suggestion.Suggestion
_FREE_FIELDS = ("stop",)


def check(subject: Owned, old: Owned | None, report: Report, *, user: str, system: bool) -> None:
    """Rules for creating (``old`` is None) or changing one."""
    kind = subject.kind
    if old is None:
        if not system:
            report.forbidden(
                "",
                f"a {kind} is made by its experiment only; user {user or 'unknown'} may create an Experiment instead",
            )
        return
    before, after = meta.dump(old.spec), meta.dump(subject.spec)
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    for name in changed:
        path = paths.join("spec", name)
        if not system:
            report.forbidden(path, f"the spec of a {kind} is written by its experiment only")
        elif isinstance(subject, trial.Trial) and name not in _FREE_FIELDS:
            report.forbidden(path, "the spec of a Trial cannot be changed after its creation")
    if not system:
        _check_bonds(subject.metadata, old.metadata, report)


def _check_bonds(after: meta.ObjectMeta, before: meta.ObjectMeta, report: Report) -> None:
    """A user changes neither the owner nor the labels by which the system finds the object."""
    if after.owner_references != before.owner_references:
        report.forbidden("metadata.ownerReferences", "cannot be changed")
    for field, new, old in (
        ("labels", after.labels or {}, before.labels or {}),
        ("annotations", after.annotations or {}, before.annotations or {}),
    ):
        for key in sorted({*new, *old}):
            if metadata.reserved(key) and new.get(key) != old.get(key):
                report.forbidden(paths.join("metadata", field, key), "is set by the system and cannot be changed")
