"""Kubernetes' protobuf bodies: what kubectl's typed commands send, written here by the rules of the encoding."""

from __future__ import annotations

import pytest

from kuttab.apiserver import protobuf, statuses
from kuttab.base import errors
from served_api import MAPS, Served

HEADERS = {"Content-Type": protobuf.MEDIA}


def varint(value: int) -> bytes:
    """A whole number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: bytes | str | int) -> bytes:
    """A field with its tag."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def pair(number: int, key: str, value: bytes | str) -> bytes:
    """An entry of a map."""
    return field(number, field(1, key) + field(2, value))


def envelope(version: str, kind: str, raw: bytes) -> bytes:
    """A body."""
    return b"k8s\x00" + field(1, field(1, version) + field(2, kind)) + field(2, raw) + field(3, "") + field(4, "")


def metadata(name: str, *more: bytes) -> bytes:
    """Metadata as Go clients send it: empty fields included."""
    empty = b"".join(field(number, "") for number in (2, 3, 4, 5, 6))
    return field(1, field(1, name) + empty + field(7, 0) + field(8, b"") + b"".join(more))


async def test_a_config_map_is_created(api: Served) -> None:
    """``kubectl create configmap`` works: texts, binary data and labels arrive."""
    labels = pair(11, "team", "a") + field(14, "example.com/hold")
    raw = metadata("c", labels) + pair(2, "a", "ü") + pair(2, "b", "") + pair(3, "bin", b"\x00\xff")
    made = await api.json("POST", MAPS, 201, content=envelope("v1", "ConfigMap", raw), headers=HEADERS)
    assert made["data"] == {"a": "ü", "b": ""}
    assert made["binaryData"] == {"bin": "AP8="}
    assert made["metadata"]["labels"] == {"team": "a"}
    assert made["metadata"]["finalizers"] == ["example.com/hold"]


async def test_a_secret_and_a_namespace_are_created(api: Served) -> None:
    """Data of secrets is base64 on the other side; a namespace has its name."""
    raw = metadata("s") + pair(2, "p", "q") + field(3, "Opaque")
    path = "/api/v1/namespaces/default/secrets"
    made = await api.json("POST", path, 201, content=envelope("v1", "Secret", raw), headers=HEADERS)
    assert (made["data"], made["type"]) == ({"p": "cQ=="}, "Opaque")
    body = envelope("v1", "Namespace", metadata("n") + field(2, b"") + field(3, field(1, "")))
    made = await api.json("POST", "/api/v1/namespaces", 201, content=body, headers=HEADERS)
    assert made["status"] == {"phase": "Active"}


async def test_a_review_is_answered(api: Served) -> None:
    """``kubectl auth can-i`` works."""
    attributes = field(2, "create") + field(3, "kubeflow.org") + field(5, "experiments")
    raw = metadata("") + field(2, field(1, attributes)) + field(3, b"")
    body = envelope("authorization.k8s.io/v1", "SelfSubjectAccessReview", raw)
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    made = await api.json("POST", path, 201, content=body, headers=HEADERS)
    assert made["spec"]["resourceAttributes"] == {"verb": "create", "group": "kubeflow.org", "resource": "experiments"}
    assert made["status"]["allowed"] is True


def test_options_of_a_deletion() -> None:
    """Numbers, nested messages and lists of texts are read; times too."""
    raw = field(1, 30) + field(2, field(1, "u")) + field(3, 1) + field(4, "Orphan") + field(5, "All")
    assert protobuf.document(envelope("meta.k8s.io/v1", "DeleteOptions", raw)) == {
        "apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 30, "preconditions": {"uid": "u"},
        "orphanDependents": True, "propagationPolicy": "Orphan", "dryRun": ["All"],
    }  # fmt: skip
    owner = field(13, field(1, "Job") + field(3, "j") + field(4, "u") + field(5, "batch/v1") + field(6, 1))
    raw = metadata("c", field(8, field(1, 1767355200)), owner)
    found = protobuf.document(envelope("v1", "ConfigMap", raw))["metadata"]
    assert found["creationTimestamp"] == "2026-01-02T12:00:00Z"
    assert found["ownerReferences"] == [
        {"kind": "Job", "name": "j", "uid": "u", "apiVersion": "batch/v1", "controller": True}
    ]


def test_other_kinds_are_refused() -> None:
    """What is not read as protobuf says what to send instead."""
    with pytest.raises(statuses.HttpError, match="Pod is not read as protobuf") as caught:
        protobuf.document(envelope("v1", "Pod", b""))
    assert caught.value.code == 415


def test_every_cut_is_noticed_or_harmless() -> None:
    """A body that is cut off anywhere is refused, or was whole up to there; nothing else comes of it."""
    whole = envelope("v1", "ConfigMap", metadata("c", pair(11, "a", "b")) + pair(2, "k", "v" * 300))
    for end in range(len(whole)):
        try:
            protobuf.document(whole[:end])
        except (errors.BadInputError, statuses.HttpError):
            continue
        assert end >= len(whole) - 4  # only the empty fields at the end are missing
