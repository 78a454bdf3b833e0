"""What Kubernetes does to an object between a request and the disk, as functions of values.

Which fields the system owns, when generation grows, what deletion means under finalizers. Nothing here reads or writes the store.
Rules as of the API server's generic registry (rest.BeforeCreate, rest.BeforeUpdate, rest.BeforeDelete, ValidateObjectMeta).
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

import pydantic

from kuttab.api import kinds, meta
from kuttab.base import errors, ids
from kuttab.ports import objects as ports
from kuttab.store import select

MAX_BYTES: Final = 1_572_864
"""Largest stored object: etcd's default request limit of 1.5 MiB."""

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"

_MAX_ANNOTATIONS = 262_144
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_GENERATED_BASE = 58
_GENERATED_SUFFIX = 5

O = TypeVar("O", bound=meta.Object)  # noqa: E741


def generated_name(base: str, uid: str) -> str:
    """The name that ``generateName`` gives to an object of that uid."""
    return base[:_GENERATED_BASE] + ids.digest_name(uid, length=_GENERATED_SUFFIX)


def created(kind: kinds.Kind, obj: meta.Object, *, uid: str, now: str, revision: int) -> meta.Object:
    """The object as it is first stored: system fields set, status dropped where it is a subresource."""
    name = obj.metadata.name or generated_name(obj.metadata.generate_name, uid)
    metadata = _tidy(
        meta.evolve(
            obj.metadata,
            name=name,
            uid=uid,
            resource_version=str(revision),
            generation=1 if has_generation(kind) else None,
            creation_timestamp=now,
            deletion_timestamp=None,
            deletion_grace_period_seconds=None,
            self_link=None,
        )
    )
    out = meta.evolve(typed(kind, obj), metadata=metadata)
    if kind == kinds.NAMESPACE:
        return meta.evolve(out, spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})
    return _with_status(out, None) if kind.status else out


def updated(kind: kinds.Kind, obj: meta.Object, current: meta.Object) -> meta.Object:
    """``current`` replaced by ``obj`` but for what belongs to the system and to status; still at the current revision."""
    obj = typed(kind, obj)
    mine = current.metadata
    metadata = _tidy(
        meta.evolve(
            obj.metadata,
            generate_name=mine.generate_name,
            uid=mine.uid,
            resource_version=mine.resource_version,
            generation=mine.generation or None,
            creation_timestamp=mine.creation_timestamp,
            deletion_timestamp=mine.deletion_timestamp,
            deletion_grace_period_seconds=mine.deletion_grace_period_seconds,
            self_link=mine.self_link,
        )
    )
    out = meta.evolve(obj, metadata=metadata)
    if kind == kinds.NAMESPACE:
        out = meta.evolve(out, spec=current.section("spec") or None)
    if kind.status:
        out = _with_status(out, current)
    if has_generation(kind) and not _same_content(out, current):
        out = meta.evolve(out, metadata=meta.evolve(metadata, generation=mine.generation + 1))
    return out


def status_updated(kind: kinds.Kind, obj: meta.Object, current: meta.Object) -> meta.Object:
    """``current`` with the status of ``obj``; still at the current revision.

    Nothing else of ``obj`` counts, but of a Pod its labels, annotations and finalizers, as with Kubernetes' pods/status.
    """
    obj = typed(kind, obj)
    if kind == kinds.POD:
        given = obj.metadata
        metadata = meta.evolve(
            current.metadata, labels=given.labels, annotations=given.annotations, finalizers=given.finalizers
        )
        current = meta.evolve(current, metadata=metadata)
    return _with_status(current, obj)


def deleting(kind: kinds.Kind, current: meta.Object, propagation: ports.Propagation, now: str) -> meta.Object:
    """``current`` with the finalizers of a propagation policy and its deletion marked.

    Marking lets generation grow, as in Kubernetes.
    """
    held = [name for name in current.metadata.finalizers or () if name not in (FOREGROUND, ORPHAN)]
    if propagation is ports.Propagation.FOREGROUND:
        held.append(FOREGROUND)
    elif propagation is ports.Propagation.ORPHAN:
        held.append(ORPHAN)
    metadata = meta.evolve(current.metadata, finalizers=held)
    if not current.deleting:
        metadata = meta.evolve(
            metadata,
            deletion_timestamp=now,
            deletion_grace_period_seconds=0,
            generation=metadata.generation + 1 if metadata.generation else None,
        )
    out = meta.evolve(current, metadata=metadata)
    if kind == kinds.NAMESPACE:
        out = meta.evolve(out, status={**current.section("status"), "phase": "Terminating"})
    return out


def held(kind: kinds.Kind, obj: meta.Object) -> bool:
    """Whether finalizers keep an object that is being deleted."""
    return bool(obj.metadata.finalizers) or (kind == kinds.NAMESPACE and bool(obj.section("spec").get("finalizers")))


def needs_collector(kind: kinds.Kind, obj: meta.Object) -> bool:
    """Whether the deletion of an object waits for the collector."""
    return obj.deleting and (
        kind == kinds.NAMESPACE or not {FOREGROUND, ORPHAN}.isdisjoint(obj.metadata.finalizers or ())
    )


def at_revision(obj: O, revision: int) -> O:
    """The object with its resourceVersion set."""
    return meta.at_revision(obj, revision)


def has_generation(kind: kinds.Kind) -> bool:
    """Whether a kind counts its generations; those of the core group do not."""
    return bool(kind.group)


def typed(kind: kinds.Kind, obj: meta.Object) -> meta.Object:
    """The object as an instance of its kind's class; InvalidError when it is none."""
    return obj if type(obj) is kind.cls else decode(kind, meta.dump_bytes(obj))


def encode(obj: meta.Object, subject: str) -> bytes:
    """The stored form; TooLargeError above 1.5 MiB."""
    body = meta.dump_bytes(obj)
    if len(body) > MAX_BYTES:
        raise errors.TooLargeError(f"{subject} is {len(body)} bytes as JSON, the limit is {MAX_BYTES}; make it smaller")
    return body


def decode(kind: kinds.Kind, body: bytes) -> meta.Object:
    """The object of a stored form; InvalidError names every field that does not fit the kind."""
    try:
        return kind.load_bytes(body)
    except pydantic.ValidationError as error:
        problems = [errors.Problem(".".join(str(step) for step in one["loc"]), one["msg"]) for one in error.errors()]
        raise errors.InvalidError(problems, kind.kind) from error


def check_create(kind: kinds.Kind, obj: meta.Object) -> None:
    """Refuse what no API server takes; InvalidError with all problems, BadInputError for a resourceVersion."""
    metadata = obj.metadata
    if metadata.resource_version:
        raise errors.BadInputError("metadata.resourceVersion must not be set on an object to be created; remove it")
    problems = []
    if not metadata.name and not metadata.generate_name:
        problems.append(errors.Problem("metadata.name", "name or generateName is required", "FieldValueRequired"))
    if metadata.name:
        problems += _name_problems(kind, "metadata.name", metadata.name)
    elif metadata.generate_name:
        problems += _name_problems(kind, "metadata.generateName", generated_name(metadata.generate_name, ""))
    if kind.namespaced and not metadata.namespace:
        problems.append(
            errors.Problem("metadata.namespace", f"a {kind.kind} lives in a namespace; name it", "FieldValueRequired")
        )
    if not kind.namespaced and metadata.namespace:
        problems.append(
            errors.Problem(
                "metadata.namespace", f"a {kind.kind} lives in no namespace; remove it", "FieldValueForbidden"
            )
        )
    problems += metadata_problems(metadata)
    if problems:
        raise errors.InvalidError(problems, f"{kind.kind} {metadata.name or metadata.generate_name!r}")


def check_update(kind: kinds.Kind, obj: meta.Object, current: meta.Object) -> None:
    """The optimistic lock, and what may not change: ConflictError, InvalidError."""
    metadata, mine = obj.metadata, current.metadata
    if not metadata.resource_version:
        problem = errors.Problem(
            "metadata.resourceVersion",
            "must be specified for an update; read the object, change it, write it",
            "FieldValueInvalid",
        )
        raise errors.InvalidError([problem], f"{kind.kind} {metadata.name!r}")
    check_preconditions(kind, current, metadata.uid, metadata.resource_version)
    problems = []
    if metadata.labels is not mine.labels or metadata.finalizers is not mine.finalizers:
        problems += metadata_problems(metadata)
    if current.deleting:
        problems += [
            errors.Problem(
                "metadata.finalizers",
                f"no new finalizers can be added if the object is being deleted: {name!r}",
                "FieldValueForbidden",
            )
            for name in metadata.finalizers or ()
            if name not in (mine.finalizers or ())
        ]
    if problems:
        raise errors.InvalidError(problems, f"{kind.kind} {metadata.name!r}")


def check_preconditions(kind: kinds.Kind, current: meta.Object, uid: str, resource_version: str) -> None:
    """ConflictError unless the object is the one, and the version, that the caller means."""
    who = f"{kind.plural} {current.name!r}"
    if uid and uid != current.uid:
        raise errors.ConflictError(
            f"{who}: uid is {current.uid}, the request is for {uid}; it was deleted and created anew, read it again"
        )
    if resource_version and resource_version != current.metadata.resource_version:
        raise errors.ConflictError(
            f"{who}: the object has been modified (it is at {current.metadata.resource_version}, the request was made on "
            f"{resource_version}); read it again and apply your changes to the latest version"
        )


def metadata_problems(metadata: meta.ObjectMeta) -> list[errors.Problem]:
    """What is wrong with labels, annotations, finalizers and owners."""
    problems = []
    for key, value in (metadata.labels or {}).items():
        wrong = select.label_key_problem(key) or select.label_value_problem(value)
        if wrong:
            problems.append(errors.Problem(f"metadata.labels[{key}]", wrong))
    for key in metadata.annotations or ():
        wrong = select.label_key_problem(key.lower())
        if wrong:
            problems.append(errors.Problem(f"metadata.annotations[{key}]", wrong))
    if sum(len(key) + len(value) for key, value in (metadata.annotations or {}).items()) > _MAX_ANNOTATIONS:
        problems.append(
            errors.Problem("metadata.annotations", f"must have at most {_MAX_ANNOTATIONS} bytes", "FieldValueTooLong")
        )
    for number, name in enumerate(metadata.finalizers or ()):
        wrong = select.label_key_problem(name)
        if wrong:
            problems.append(errors.Problem(f"metadata.finalizers[{number}]", wrong))
    owners = metadata.owner_references or ()
    for number, owner in enumerate(owners):
        problems += [
            errors.Problem(f"metadata.ownerReferences[{number}].{field}", "must not be empty", "FieldValueInvalid")
            for field, value in (
                ("apiVersion", owner.api_version),
                ("kind", owner.kind),
                ("name", owner.name),
                ("uid", owner.uid),
            )
            if not value
        ]
    if sum(bool(owner.controller) for owner in owners) > 1:
        problems.append(errors.Problem("metadata.ownerReferences", "only one owner can have controller set to true"))
    if {FOREGROUND, ORPHAN} <= set(metadata.finalizers or ()):
        problems.append(errors.Problem("metadata.finalizers", f"cannot have both {ORPHAN} and {FOREGROUND}"))
    return problems


def _name_problems(kind: kinds.Kind, path: str, name: str) -> list[errors.Problem]:
    short = kind in (kinds.NAMESPACE, kinds.SERVICE)
    rule, longest = (_LABEL, 63) if short else (_SUBDOMAIN, 253)
    if len(name) <= longest and rule.fullmatch(name):
        return []
    dots = "" if short else " or '.'"
    shown = name if len(name) <= 80 else name[:77] + "..."
    return [
        errors.Problem(
            path,
            f"{shown!r} must be at most {longest} lower-case letters, digits, '-'{dots}, and begin and end with a letter or digit",
        )
    ]


def _tidy(metadata: meta.ObjectMeta) -> meta.ObjectMeta:
    """Without empty maps and lists, which Kubernetes does not store."""
    empty = [
        name
        for name in ("labels", "annotations", "finalizers", "owner_references", "managed_fields")
        if name in metadata.model_fields_set and not getattr(metadata, name)
    ]
    return meta.evolve(metadata, **dict.fromkeys(empty)) if empty else metadata


def _with_status(obj: meta.Object, source: meta.Object | None) -> meta.Object:
    if isinstance(obj, meta.Resource):
        return meta.evolve(obj, status=(source.model_extra or {}).get("status") if source is not None else None)
    if "status" not in type(obj).model_fields:
        return obj
    if source is not None and "status" in source.model_fields_set:
        return meta.evolve(obj, status=getattr(source, "status"))  # noqa: B009 - only typed kinds have it
    return meta.evolve(obj, status=None) if "status" in obj.model_fields_set else obj


def _same_content(one: meta.Object, other: meta.Object) -> bool:
    """Whether everything but identity, metadata and status is equal."""
    skip = ("api_version", "kind", "metadata", "status")
    if any(getattr(one, name) != getattr(other, name) for name in type(one).model_fields if name not in skip):
        return False
    mine, its = one.model_extra or {}, other.model_extra or {}
    return all(mine.get(name) == its.get(name) for name in mine.keys() | its.keys() if name != "status")
