"""Strategic merge patch for built-in kinds, as far as ``kubectl apply``, ``edit`` and ``patch`` need it.

Lists of objects are merged by a key that the field's name decides; the directives ``$patch``, ``$setElementOrder``,
``$deleteFromPrimitiveList`` and ``$retainKeys`` are obeyed. Custom kinds have no such keys and never come here. Rules: the API conventions
"Strategic Merge Patch" of Kubernetes, and the ``patchMergeKey`` marks of its core, batch and apps types.
"""

from __future__ import annotations

from typing import Any

from kuttab.api import meta
from kuttab.base import errors

MERGE_KEYS: dict[str, str] = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""Field name to the key that tells the items of its list apart."""
_PORTS = ("containerPort", "port")
"""Items of ``ports`` are told apart by the first of these that they have: containers and services name it differently."""
SETS = frozenset({"finalizers"})
"""Lists of plain values that are merged as sets."""

_PATCH, _RETAIN = "$patch", "$retainKeys"
_ORDER, _DELETE = "$setElementOrder/", "$deleteFromPrimitiveList/"


def merge(original: meta.Json, patch: meta.Json) -> meta.Json:
    """The merged document; BadInputError for a directive that is none."""
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {key: _clean(value) for key, value in patch.items() if key != _PATCH}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise errors.BadInputError(f"the patch holds $patch: {str(directive)[:40]!r}; write replace, merge or delete")
    made = _retained(original, patch)
    for key, value in patch.items():
        if key in (_PATCH, _RETAIN) or key.startswith(_ORDER):
            continue
        if key.startswith(_DELETE):
            name, gone = key.removeprefix(_DELETE), _list(key, value)
            if name in made:
                made[name] = [item for item in _list(name, made[name]) if item not in gone]
        elif key.startswith("$"):
            raise errors.BadInputError(f"the patch holds the unknown directive {key[:80]!r}")
        elif value is None:
            made.pop(key, None)
        else:
            made[key] = _merged(key, made.get(key), value)
    for key in [key for key in patch if key.startswith(_ORDER)]:
        name = key.removeprefix(_ORDER)
        if isinstance(made.get(name), list):
            made[name] = _ordered(name, made[name], _list(key, patch[key]))
    return made


def _retained(original: meta.Json, patch: meta.Json) -> meta.Json:
    keep = patch.get(_RETAIN)
    if keep is None:
        return dict(original)
    names = _list(_RETAIN, keep)
    return {key: value for key, value in original.items() if key in names}


def _merged(field: str, old: Any, new: Any) -> Any:
    if isinstance(new, dict):
        return merge(old if isinstance(old, dict) else {}, new)
    if isinstance(new, list):
        if field in SETS and isinstance(old, list):
            return [*old, *(item for item in new if item not in old)]
        key = _key(field, new, old)
        if key:
            return _merged_items(field, key, old if isinstance(old, list) else [], new)
    return new


def _key(field: str, new: list[Any], old: Any) -> str:
    if field != "ports":
        return MERGE_KEYS.get(field, "")
    items = [item for item in [*new, *(old if isinstance(old, list) else [])] if isinstance(item, dict)]
    return next((key for key in _PORTS for item in items if key in item), "")


def _merged_items(field: str, key: str, old: list[Any], new: list[Any]) -> list[Any]:
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" and len(item) == 1 for item in new):
        return [_clean(item) for item in new if not (isinstance(item, dict) and item.get(_PATCH) == "replace")]
    made = list(old)
    for item in new:
        if not isinstance(item, dict) or key not in item:
            raise errors.BadInputError(f"the patch has an item of {field} without {key}, by which items are told apart")
        place = next((i for i, one in enumerate(made) if isinstance(one, dict) and one.get(key) == item[key]), None)
        if item.get(_PATCH) == "delete":
            made = [one for one in made if not (isinstance(one, dict) and one.get(key) == item[key])]
        elif place is None:
            made.append(merge({}, item))
        else:
            made[place] = merge(made[place], item)
    return made


def _ordered(field: str, items: list[Any], order: list[Any]) -> list[Any]:
    """Items in the order that the patch asks for; those it does not name stay behind the one they stood behind."""
    key = _key(field, items, order)

    def name(item: Any) -> Any:
        return item.get(key) if isinstance(item, dict) and key else item

    wanted = [name(item) for item in order]
    ranks = {str(value): number for number, value in enumerate(wanted)}
    placed: list[tuple[int, int, Any]] = []
    last = -1
    for number, item in enumerate(items):
        rank = ranks.get(str(name(item)))
        last = last if rank is None else rank
        placed.append((last, number, item))
    return [item for _, _, item in sorted(placed, key=lambda one: one[:2])]


def _clean(value: Any) -> Any:
    """Without directives."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items() if not key.startswith("$")}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise errors.BadInputError(f"{name[:80]} must be a list")
    return value
