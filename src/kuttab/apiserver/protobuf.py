"""Bodies in Kubernetes' protobuf: the few small kinds that ``kubectl create`` and ``kubectl auth`` send that way.

kubectl's typed commands know no other encoding and do not fall back. Read here: ConfigMaps, Secrets, Namespaces, reviews and
DeleteOptions; field numbers are those of the published ``generated.proto`` files. Anything else is refused with what to send instead.
Nothing is ever answered in protobuf.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from kuttab.api import meta
from kuttab.apiserver import statuses
from kuttab.base import errors

MEDIA: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_MAX_DEPTH: Final = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message. ``form``: text, data, bool, int, time, texts, map (of texts), datamap, or message."""

    name: str
    form: str
    message: Message | None = None
    many: bool = False


Message = dict[int, Field]

_OWNER: Message = {
    5: Field("apiVersion", "text"), 1: Field("kind", "text"), 3: Field("name", "text"), 4: Field("uid", "text"),
    6: Field("controller", "bool"), 7: Field("blockOwnerDeletion", "bool"),
}  # fmt: skip
_META: Message = {
    1: Field("name", "text"), 2: Field("generateName", "text"), 3: Field("namespace", "text"), 4: Field("selfLink", "text"),
    5: Field("uid", "text"), 6: Field("resourceVersion", "text"), 7: Field("generation", "int"),
    8: Field("creationTimestamp", "time"), 9: Field("deletionTimestamp", "time"),
    10: Field("deletionGracePeriodSeconds", "int"), 11: Field("labels", "map"), 12: Field("annotations", "map"),
    13: Field("ownerReferences", "message", _OWNER, many=True), 14: Field("finalizers", "texts"),
}  # fmt: skip
_METADATA = Field("metadata", "message", _META)
_RESOURCE: Message = {
    1: Field("namespace", "text"), 2: Field("verb", "text"), 3: Field("group", "text"), 4: Field("version", "text"),
    5: Field("resource", "text"), 6: Field("subresource", "text"), 7: Field("name", "text"),
}  # fmt: skip
_ACCESS: Message = {
    1: Field("resourceAttributes", "message", _RESOURCE),
    2: Field("nonResourceAttributes", "message", {1: Field("path", "text"), 2: Field("verb", "text")}),
}
_PRECONDITIONS: Message = {1: Field("uid", "text"), 2: Field("resourceVersion", "text")}

KINDS: Final[dict[tuple[str, str], Message]] = {
    ("v1", "ConfigMap"): {
        1: _METADATA, 2: Field("data", "map"), 3: Field("binaryData", "datamap"), 4: Field("immutable", "bool"),
    },
    ("v1", "Secret"): {
        1: _METADATA, 2: Field("data", "datamap"), 3: Field("type", "text"), 4: Field("stringData", "map"),
        5: Field("immutable", "bool"),
    },
    ("v1", "Namespace"): {
        1: _METADATA, 2: Field("spec", "message", {1: Field("finalizers", "texts")}),
        3: Field("status", "message", {1: Field("phase", "text")}),
    },
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): {1: _METADATA, 2: Field("spec", "message", _ACCESS)},
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"): {
        1: _METADATA, 2: Field("spec", "message", {1: Field("namespace", "text")}),
    },
    ("authentication.k8s.io/v1", "SelfSubjectReview"): {1: _METADATA},
    ("v1", "DeleteOptions"): {
        1: Field("gracePeriodSeconds", "int"), 2: Field("preconditions", "message", _PRECONDITIONS),
        3: Field("orphanDependents", "bool"), 4: Field("propagationPolicy", "text"), 5: Field("dryRun", "texts"),
    },
}  # fmt: skip
"""apiVersion and kind to their fields; DeleteOptions come under the version of any group."""
_RAW: Final = 2
_ENVELOPE: Message = {
    1: Field("typeMeta", "message", {1: Field("apiVersion", "text"), 2: Field("kind", "text")}),
    _RAW: Field("raw", "data"),
}


def document(raw: bytes) -> meta.Json:
    """The object of a body; BadInputError for bytes that are none, HttpError 415 for a kind that is not read."""
    if not raw.startswith(_MAGIC):
        raise errors.BadInputError("the body is no Kubernetes protobuf, as its content type says")
    envelope = _message(raw[len(_MAGIC) :], _ENVELOPE, 0)
    if all(number != _RAW for number, _ in _entries(raw[len(_MAGIC) :])):
        raise _broken()
    head = envelope.get("typeMeta") or {}
    version, kind = str(head.get("apiVersion", "")), str(head.get("kind", ""))
    known = KINDS.get(("v1", kind) if kind == "DeleteOptions" else (version, kind))
    if known is None:
        raise statuses.bad_media(
            f"{kind[:80] or 'the body'} is not read as protobuf here; send application/json, as kubectl apply does"
        )
    content = base64.b64decode(envelope.get("raw", ""))
    return {"apiVersion": version, "kind": kind, **_message(content, known, 0)}


def _message(raw: bytes, fields: Message, depth: int) -> meta.Json:
    if depth > _MAX_DEPTH:
        raise _broken()
    made: meta.Json = {}
    for number, value in _entries(raw):
        field = fields.get(number)
        if field is None:
            continue
        if field.form in ("map", "datamap"):
            pair = _pair(value)
            made.setdefault(field.name, {})[_text(pair[0])] = (
                _text(pair[1]) if field.form == "map" else base64.b64encode(pair[1]).decode()
            )
        elif field.form == "texts":
            made.setdefault(field.name, []).append(_text(value))
        elif field.many:
            made.setdefault(field.name, []).append(_value(field, value, depth))
        else:
            found = _value(field, value, depth)
            if found not in ("", None) and not (field.name == "generation" and not found):
                made[field.name] = found
    return made


def _value(field: Field, value: bytes | int, depth: int) -> Any:
    if field.form in ("bool", "int"):
        if not isinstance(value, int):
            raise _broken()
        return bool(value) if field.form == "bool" else value - (1 << 64 if value >> 63 else 0)
    if not isinstance(value, bytes):
        raise _broken()
    if field.form == "text":
        return _text(value)
    if field.form == "data":
        return base64.b64encode(value).decode()
    if field.form == "time":
        return _time(value)
    return _message(value, field.message or {}, depth + 1)


def _entries(raw: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Field numbers with their bytes or whole number."""
    place = 0
    while place < len(raw):
        tag, place = _varint(raw, place)
        number, form = tag >> 3, tag & 7
        if form == _VARINT:
            value, place = _varint(raw, place)
            yield number, value
            continue
        if form == _BYTES:
            length, place = _varint(raw, place)
        elif form in (_FIXED64, _FIXED32):
            length = 8 if form == _FIXED64 else 4
        else:
            raise _broken()
        if not number or place + length > len(raw):
            raise _broken()
        yield number, raw[place : place + length]
        place += length


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(raw) and shift < 70:
        byte = raw[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value & ((1 << 64) - 1), place
    raise _broken()


def _pair(value: bytes | int) -> tuple[bytes, bytes]:
    found = dict(_entries(value)) if isinstance(value, bytes) else {}
    key, content = found.get(1, b""), found.get(2, b"")
    if not isinstance(key, bytes) or not isinstance(content, bytes):
        raise _broken()
    return key, content


def _text(value: bytes | int) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise _broken() from None
    raise _broken()


def _time(value: bytes) -> str | None:
    seconds = dict(_entries(value)).get(1)
    if not isinstance(seconds, int):
        return None
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None


def _broken() -> errors.BadInputError:
    return errors.BadInputError("the body is no protobuf message that can be read: it is cut off or malformed")
