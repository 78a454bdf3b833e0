"""Patches: from a stored document and a patch to the document that is wanted.

JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386) and, for built-in kinds, strategic merge patch (:mod:`.strategic`). Values in, values
out: the stored document is not changed. Server-side apply is refused, not half done.
"""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import jsonpointer

from kuttab.api import kinds, meta
from kuttab.apiserver import bodies, statuses, strategic, targets
from kuttab.base import errors, json_text

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
_OPERATIONS = {
    "add": ("path", "value"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "from"),
    "copy": ("path", "from"),
    "test": ("path", "value"),
}
MAX_OPERATIONS = 10_000
"""Operations in one JSON patch: Kubernetes' own limit."""
MAX_COPIED = bodies.MAX_BYTES
"""Bytes that the copy operations of one JSON patch may make: a few of them can double a document again and again."""


def accepted(kind: kinds.Kind) -> list[str]:
    """Media types of patches that a kind takes."""
    return [JSON_PATCH, MERGE_PATCH, *([STRATEGIC_PATCH] if targets.is_builtin(kind) else [])]


def check_media(kind: kinds.Kind, media: str) -> None:
    """HttpError 415 for a patch that the kind does not take."""
    known = accepted(kind)
    if media in known:
        return
    if media.startswith("application/apply-patch+"):
        what = "server-side apply is not offered here; leave out --server-side, or"
    elif media == STRATEGIC_PATCH:
        what = f"{kind.plural}.{kind.group} is a custom resource and takes no strategic merge patch;"
    else:
        what = f"the body of the media type {media[:80]!r} is no patch that is read here;"
    raise statuses.bad_media(f"{what} send one of {', '.join(known)}")


def apply(document: meta.Json, patch: Any, media: str) -> meta.Json:
    """The patched document; BadInputError for a bad patch, InvalidError for one that cannot be applied."""
    if media == JSON_PATCH:
        made = _json_patched(document, patch)
    elif not isinstance(patch, dict):
        raise errors.BadInputError("a merge patch must be one object")
    elif media == STRATEGIC_PATCH:
        made = strategic.merge(document, patch)
    else:
        made = merged(document, patch)
    if not isinstance(made, dict):
        raise errors.InvalidError([errors.Problem("", "the patched object is no object any more")], "patch")
    return made


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386: maps are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), value)
    return made


def _json_patched(document: meta.Json, patch: Any) -> Any:
    if not isinstance(patch, list):
        raise errors.BadInputError("a JSON patch must be a list of operations")
    if len(patch) > MAX_OPERATIONS:
        raise statuses.too_large(f"the patch has {len(patch)} operations, at most {MAX_OPERATIONS} are applied")
    made: Any = copy.deepcopy(document)
    copied = 0
    for number, operation in enumerate(patch):
        _check_operation(number, operation)
        try:
            if operation["op"] == "copy":
                copied += len(json_text.dumps(jsonpointer.resolve_pointer(made, operation["from"])))
                if copied > MAX_COPIED:
                    raise statuses.too_large(f"the patch copies more than {MAX_COPIED} bytes")
            made = jsonpatch.JsonPatch([operation]).apply(made, in_place=True)
        except jsonpatch.JsonPatchTestFailed:
            raise _impossible(number, f"the test of {operation['path']!r:.120} failed") from None
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, AttributeError):
            raise _impossible(number, f"cannot {operation['op']} at {operation['path']!r:.120}") from None
    return made


def _check_operation(number: int, operation: Any) -> None:
    """BadInputError unless it has the form of an operation of RFC 6902."""
    word = operation.get("op") if isinstance(operation, dict) else None
    needs = _OPERATIONS.get(word) if isinstance(word, str) else None
    if needs is None:
        raise errors.BadInputError(f"patch[{number}] must be an operation with an op of {', '.join(_OPERATIONS)}")
    for name in needs:
        value = operation.get(name)
        if name == "value" and name in operation:
            continue
        if not isinstance(value, str) or (value and not value.startswith("/")):
            shown = "value" if name == "value" else f"{name}, a path like /spec/replicas"
            raise errors.BadInputError(f"patch[{number}]: {word} needs {shown}")


def _impossible(number: int, what: str) -> errors.InvalidError:
    return errors.InvalidError([errors.Problem(f"[{number}]", what)], "patch")
