"""Questions about the caller: may I, what may I, who am I. The one user of this machine may do everything that is served."""

from __future__ import annotations

from kuttab.api import meta
from kuttab.base import errors

USER = {"username": "kuttab", "groups": ["system:masters", "system:authenticated"]}


def answer(kind: str, api_version: str, document: meta.Json) -> meta.Json:
    """The review with its status; BadInputError for a body of another kind."""
    for name, wanted in (("apiVersion", api_version), ("kind", kind)):
        if document.get(name, wanted) != wanted:
            raise errors.BadInputError(f"the {name} of the body is {document[name]!r:.80}, this path is for {wanted}")
    parts = {name: document.get(name) for name in ("metadata", "spec", "status")}
    for name, part in parts.items():
        if part is not None and not isinstance(part, dict):
            raise errors.BadInputError(f"{name} must be a mapping")
    spec = parts["spec"] or {}
    made = {"kind": kind, "apiVersion": api_version, "metadata": {"creationTimestamp": None}}
    if kind == "SelfSubjectReview":
        return {**made, "status": {"userInfo": USER}}
    if kind == "SelfSubjectRulesReview":
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        urls = {"verbs": ["*"], "nonResourceURLs": ["*"]}
        return {
            **made,
            "spec": {},
            "status": {"resourceRules": [everything], "nonResourceRules": [urls], "incomplete": False},
        }
    if ("resourceAttributes" in spec) == ("nonResourceAttributes" in spec):
        problem = errors.Problem("spec", "exactly one of resourceAttributes and nonResourceAttributes must be given")
        raise errors.InvalidError([problem], kind)
    return {
        **made,
        "spec": spec,
        "status": {"allowed": True, "reason": "the one user of this machine may do everything"},
    }
