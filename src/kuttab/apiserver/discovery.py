"""Discovery: which groups, versions and kinds are served, in the plain and in the aggregated form. Constant for a server's life."""

from __future__ import annotations

import platform

from kuttab.api import kinds, meta
from kuttab.apiserver import forms, targets

AGGREGATED = "apidiscovery.k8s.io"
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_MAJOR, _MINOR = "1", "32"
DIALECT = f"{_MAJOR}.{_MINOR}.0"
"""The release of Kubernetes whose dialect is spoken."""

REVIEWS: dict[tuple[str, str], dict[str, str]] = {
    ("authorization.k8s.io", "v1"): {
        "selfsubjectaccessreviews": "SelfSubjectAccessReview",
        "selfsubjectrulesreviews": "SelfSubjectRulesReview",
    },
    ("authentication.k8s.io", "v1"): {"selfsubjectreviews": "SelfSubjectReview"},
}
"""Kinds that can only be created and are answered at once, by group and version: plural to kind."""


def version(ours: str) -> meta.Json:
    """The answer of ``/version``: the dialect, with our own version as its build."""
    return {
        "major": _MAJOR,
        "minor": _MINOR,
        "gitVersion": f"v{DIALECT}+kuttab.{ours}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": f"python{platform.python_version()}",
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


def wants_aggregated(accept: str) -> str:
    """The version of the aggregated form that is asked for first, empty for the plain form."""
    for clause in forms.clauses(accept):
        if clause.parameters.get("g") == AGGREGATED and clause.parameters.get("as") == "APIGroupDiscoveryList":
            if clause.parameters.get("v") in ("v2", "v2beta1"):
                return clause.parameters["v"]
        elif forms.is_json(clause.media) and "as" not in clause.parameters:
            return ""
    return ""


def aggregated_media(form: str) -> str:
    """The content type of the aggregated form."""
    return f"application/json;g={AGGREGATED};v={form};as=APIGroupDiscoveryList"


def api_versions(host: str) -> meta.Json:
    """The plain answer of ``/api``."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def groups() -> dict[str, list[str]]:
    """Group to versions of everything but the core."""
    found = {group: known for group, known in targets.versions().items() if group}
    for group, version_ in REVIEWS:
        found[group] = [version_]
    return dict(sorted(found.items()))


def group_list() -> meta.Json:
    """The plain answer of ``/apis``."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in groups()]}


def group(name: str) -> meta.Json | None:
    """The answer of ``/apis/GROUP``."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)} if name in groups() else None


def resource_list(group_: str, version_: str) -> meta.Json | None:
    """The answer of ``/api/v1`` and ``/apis/GROUP/VERSION``."""
    reviews = REVIEWS.get((group_, version_), {})
    served = targets.of_version(group_, version_)
    if not served and not reviews:
        return None
    resources = [entry for kind in served for entry in _entries(kind)]
    for plural, name in reviews.items():
        entry = {"name": plural, "singularName": name.lower(), "namespaced": False, "kind": name, "verbs": ["create"]}
        resources.append(entry)
    name = f"{group_}/{version_}" if group_ else version_
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


def aggregated(form: str, *, core: bool) -> meta.Json:
    """The aggregated answer of ``/api`` (``core``) or ``/apis``."""
    names = {"": ["v1"]} if core else groups()
    items = []
    for group_, versions in names.items():
        found = [
            {"version": version_, "resources": _aggregated(group_, version_), "freshness": "Current"}
            for version_ in versions
        ]
        metadata = {"name": group_, "creationTimestamp": None} if group_ else {"creationTimestamp": None}
        items.append({"metadata": metadata, "versions": found})
    head = {"kind": "APIGroupDiscoveryList", "apiVersion": f"{AGGREGATED}/{form}", "metadata": {}}
    return {**head, "items": items}


def _group(name: str) -> meta.Json:
    versions = [{"groupVersion": f"{name}/{one}", "version": one} for one in groups()[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _entries(kind: kinds.Kind) -> list[meta.Json]:
    entry: meta.Json = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(_VERBS),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    found = [entry]
    for name in targets.subresources(kind):
        below = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind}
        found.append({**below, "verbs": _sub_verbs(name)})
    return found


def _sub_verbs(name: str) -> list[str]:
    return ["get"] if name == "log" else ["get", "patch", "update"]


def _aggregated(group_: str, version_: str) -> list[meta.Json]:
    found = []
    for kind in targets.of_version(group_, version_):
        response = {"group": group_, "version": version_, "kind": kind.kind}
        entry: meta.Json = {
            "resource": kind.plural,
            "responseKind": response,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "singularResource": kind.singular,
            "verbs": list(_VERBS),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        below = [
            {"subresource": name, "responseKind": response, "verbs": _sub_verbs(name)}
            for name in targets.subresources(kind)
        ]
        found.append({**entry, "subresources": below} if below else entry)
    for plural, name in REVIEWS.get((group_, version_), {}).items():
        response = {"group": group_, "version": version_, "kind": name}
        entry = {"resource": plural, "responseKind": response, "scope": "Cluster", "singularResource": name.lower()}
        found.append({**entry, "verbs": ["create"]})
    return found
