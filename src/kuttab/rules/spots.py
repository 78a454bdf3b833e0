"""Where placeholders stand in a template tree, and what may be put there. Reads trees; changes nothing and judges no value."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kuttab.api import experiment, meta
from kuttab.base import errors
from kuttab.rules import argv

ROOT = "spec.trialTemplate"
MAX_DEPTH = 64
MAX_BYTES = 256 * 1024

PLACEHOLDER = re.compile(r"\$\{(trialParameters|trialSpec)\.([^{}\n]+)\}")
INDEXED = re.compile(r"(Annotations|Labels)\[(.+)\]")
_COUNTS = frozenset(
    {"replicas", "numNodes", "numProcPerNode", "nprocPerNode", "slotsPerWorker", "parallelism", "completions"}
)
_SELF_SERVING = ("kuttab.org/v1", "FunctionJob")
"""A workload that reads the trial's assignments itself, so that no placeholder is needed."""


class Place(enum.Enum):
    """What kind of position a leaf is in."""

    ARGUMENT = "an argument"
    PROGRAM = "program text"
    ENVIRONMENT = "an environment value"
    PARAMETER = "a workflow parameter"
    COUNT = "a count"
    QUANTITY = "a resource quantity"
    FORBIDDEN = "no place for a value"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text of the tree that holds ``${``: where it is, what holds it, and what may be put there."""

    parent: Any
    key: str | int
    path: str
    text: str
    place: Place


def too_deep(tree: Any) -> bool:
    """Whether the tree has more levels than MAX_DEPTH; never recurses."""
    level = [tree]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                below.extend(node.values())
            elif isinstance(node, list):
                below.extend(node)
        if not below:
            return False
        level = below
    return True


def _bytes(tree: Any) -> int:
    """A cheap lower bound of the JSON size."""
    total = 0
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            total += 2 + sum(len(str(key)) + 4 for key in node)
            stack.extend(node.values())
        elif isinstance(node, list):
            total += 2 + len(node)
            stack.extend(node)
        else:
            total += len(node) + 2 if isinstance(node, str) else 4
    return total


def size_problem(template: experiment.TrialTemplate, tree: meta.Json) -> errors.Problem | None:
    """The problem of a template that is too deep or too large, if it is."""
    prefix = prefix_of(template)
    if too_deep(tree):
        return errors.Problem(prefix, f"is nested deeper than {MAX_DEPTH} levels")
    if _bytes(tree) > MAX_BYTES:
        return errors.Problem(
            prefix, f"is larger than {MAX_BYTES // 1024} KiB; put large data into a ConfigMap or the image"
        )
    return None


def prefix_of(template: experiment.TrialTemplate) -> str:
    """Field path under which problems of the tree are reported."""
    return f"{ROOT}.trialSpec" if template.trial_spec is not None else f"{ROOT}.configMap:"


def join(path: str, key: str | int) -> str:
    """Field path of a child."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    step = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f"[{key}]"
    return f"{path}{step}" if path.endswith(":") or step.startswith("[") else f"{path}.{step}"


def texts(tree: Any, prefix: str = "") -> Iterator[tuple[Any, str | int, str, str]]:
    """Every text that holds ``${`` as (parent, key, path, text), in document order; a map key has no parent."""
    stack: list[tuple[Any, str | int, str, Any]] = [(None, "", prefix, tree)]
    while stack:
        parent, key, path, node = stack.pop()
        if isinstance(node, str):
            if "${" in node:
                yield parent, key, path, node
        elif isinstance(node, dict):
            for name in node:
                if isinstance(name, str) and "${" in name:
                    yield None, name, join(path, name), name
            stack.extend((node, name, join(path, str(name)), value) for name, value in reversed(node.items()))
        elif isinstance(node, list):
            stack.extend((node, i, join(path, i), node[i]) for i in range(len(node) - 1, -1, -1))


def leaves(tree: Any, prefix: str) -> list[Leaf]:
    """Every leaf that holds a placeholder, with its place."""
    places = _places(tree)
    return [
        Leaf(
            parent,
            key,
            path,
            text,
            Place.FORBIDDEN if parent is None else places.get((id(parent), key), Place.FORBIDDEN),
        )
        for parent, key, path, text in texts(tree, prefix)
        if PLACEHOLDER.search(text)
    ]


def _places(tree: Any) -> dict[tuple[int, str | int], Place]:
    """Where values may stand, by (identity of the holder, key)."""
    places: dict[tuple[int, str | int], Place] = {}
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        if not isinstance(node, dict):
            continue
        stack.extend(node.values())
        _place_arguments(node, places)
        for key, value in node.items():
            if key == "env" and isinstance(value, list):
                places.update({(id(e), "value"): Place.ENVIRONMENT for e in value if isinstance(e, dict)})
            elif key in ("parameters", "params") and isinstance(value, list):
                places.update({(id(e), "value"): Place.PARAMETER for e in value if isinstance(e, dict)})
            elif key in ("limits", "requests") and isinstance(value, dict):
                places.update({(id(value), name): Place.QUANTITY for name in value})
            elif key in _COUNTS:
                places[id(node), key] = Place.COUNT
    return places


def _place_arguments(node: meta.Json, places: dict[tuple[int, str | int], Place]) -> None:
    line: list[tuple[int, int, str]] = []
    for key in ("command", "args", "arguments"):
        items = node.get(key)
        if isinstance(items, list):
            line += [(id(items), i, item) for i, item in enumerate(items) if isinstance(item, str)]
    texts = argv.program_texts([item for _, _, item in line], has_command=bool(node.get("command")))
    for number, (holder, i, _) in enumerate(line):
        places[holder, i] = Place.PROGRAM if number in texts else Place.ARGUMENT


def metadata_value(reference: str, tree: meta.Json, name: str, namespace: str) -> str | None:
    """The value of what stands between ``${trialSpec.`` and ``}``; None when there is none."""
    fixed = {
        "Name": name,
        "Namespace": namespace,
        "Kind": str(tree.get("kind", "")),
        "APIVersion": str(tree.get("apiVersion", "")),
    }
    if reference in fixed:
        return fixed[reference]
    indexed = INDEXED.fullmatch(reference)
    if indexed is None:
        return None
    metadata = tree.get("metadata")
    mapping = (metadata.get(indexed.group(1).lower()) if isinstance(metadata, dict) else None) or {}
    value = mapping.get(indexed.group(2)) if isinstance(mapping, dict) else None
    return value if isinstance(value, str) else None


def metadata_reference(reference: str) -> str | None:
    """What stands between ``${trialSpec.`` and ``}`` when the whole reference is such a one."""
    found = PLACEHOLDER.fullmatch(reference)
    return found.group(2) if found is not None and found.group(1) == "trialSpec" else None


def self_serving(tree: meta.Json) -> bool:
    """Whether the workload reads the assignments itself."""
    return (tree.get("apiVersion"), tree.get("kind")) == _SELF_SERVING


def advice(leaf: Leaf) -> str:
    """What to do instead of a placeholder in a forbidden place."""
    if leaf.parent is None:
        return "a placeholder cannot be a map key"
    return (
        "no value may be put here; placeholders may stand in elements of command and args, in env values, "
        "in parameters of workflows, and as whole replica counts and resource quantities"
    )


def names(tree: Any) -> set[str]:
    """Names of all ``${trialParameters.<name>}`` in the tree, wherever they are."""
    found: set[str] = set()
    for _, _, _, text in texts(tree):
        found.update(name for kind, name in PLACEHOLDER.findall(text) if kind == "trialParameters")
    return found
