"""From a URL path to what it means: which kind, which namespace, which object, which subresource.

Knows the grammar of Kubernetes' paths and the kinds that are served; reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib import parse

from kuttab.api import kinds

SERVED: tuple[kinds.Kind, ...] = kinds.ALL
"""Kinds that have paths."""
CUSTOM_GROUPS = frozenset({"kubeflow.org", "trainer.kubeflow.org", "kuttab.org"})
"""Groups whose kinds are custom resources to a client; those of the others are built in."""

_BY_PLACE = {(kind.group, kind.version, kind.plural): kind for kind in SERVED}


@dataclass(frozen=True, slots=True)
class Target:
    """``namespace`` None means all namespaces, or a kind without; ``name`` empty means the collection."""

    kind: kinds.Kind
    namespace: str | None = None
    name: str = ""
    subresource: str = ""


def is_builtin(kind: kinds.Kind) -> bool:
    """Whether a client takes the kind for one of Kubernetes' own."""
    return kind.group not in CUSTOM_GROUPS


def versions() -> dict[str, list[str]]:
    """Group to its versions, the preferred one first; groups in order."""
    found: dict[str, list[str]] = {}
    for kind in SERVED:
        known = found.setdefault(kind.group, [])
        if kind.version not in known:
            known.append(kind.version)
    return dict(sorted(found.items()))


def of_version(group: str, version: str) -> list[kinds.Kind]:
    """Kinds of a group and version, in order of their plurals."""
    return sorted(
        (kind for kind in SERVED if (kind.group, kind.version) == (group, version)), key=lambda kind: kind.plural
    )


def segments(raw_path: bytes) -> list[str] | None:
    """The decoded steps of a path; None when it is no text. An encoded slash stays within its step."""
    try:
        steps = [parse.unquote_to_bytes(step).decode() for step in raw_path.split(b"/")]
    except UnicodeDecodeError:
        return None
    steps = steps[1:] if steps and not steps[0] else steps
    return steps[:-1] if len(steps) > 1 and not steps[-1] else steps


def parse_steps(group: str, version: str, steps: Iterable[str]) -> Target | None:
    """What the steps after ``/api/v1`` or ``/apis/GROUP/VERSION`` mean; None when there is no such path."""
    steps = list(steps)
    if not all(steps):
        return None
    namespace: str | None = None
    if len(steps) > 2 and steps[0] == "namespaces" and not (not group and steps[2] == "status"):
        namespace, steps = steps[1], steps[2:]
    if not 1 <= len(steps) <= 3:
        return None
    kind = _BY_PLACE.get((group, version, steps[0]))
    if kind is None:
        return None
    name, subresource = ([*steps[1:], "", ""])[:2]
    if namespace is not None and not kind.namespaced:
        return None
    if namespace is None and kind.namespaced and name:
        return None
    if subresource and subresource not in subresources(kind):
        return None
    return Target(kind, namespace, name, subresource)


def subresources(kind: kinds.Kind) -> list[str]:
    """What is served below an object of the kind."""
    return [*(["status"] if kind.status else []), *(["log"] if kind == kinds.POD else [])]
