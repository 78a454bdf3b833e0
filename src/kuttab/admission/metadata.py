"""Names, labels and annotations: syntax as Kubernetes has it, and what is reserved for the system."""

from __future__ import annotations

import re

from kuttab.admission import paths
from kuttab.admission.report import TOO_LONG, Report, show
from kuttab.api import keys, meta

MAX_NAME = 40
"""Katib's limit. The names of children add at most 23 characters, so that they fit the 63 of a label."""
MAX_ANNOTATIONS = 256 * 1024
_GENERATED = 5

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_PREFIX = re.compile(r"[a-z][-a-z0-9]*")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_WORD = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def check(metadata: meta.ObjectMeta, report: Report, old: meta.ObjectMeta | None = None, *, system: bool) -> None:
    """All rules of an experiment's metadata. With ``old``, what was there before is not judged again."""
    if old is None:
        _check_name(metadata, report)
        if metadata.namespace and (len(metadata.namespace) > 63 or not _NAMESPACE.fullmatch(metadata.namespace)):
            report.refuse("metadata.namespace", f"{show(metadata.namespace)} is no name of a namespace")
    before = {**(old.labels or {})} if old is not None else {}
    for key, value in (metadata.labels or {}).items():
        if before.get(key) == value:
            continue
        path = paths.join("metadata.labels", key)
        check_label(key, value, path, report)
        _check_reserved(key, path, report, system=system)
    before = {**(old.annotations or {})} if old is not None else {}
    annotations = metadata.annotations or {}
    for key, value in annotations.items():
        if before.get(key) == value:
            continue
        path = paths.join("metadata.annotations", key)
        _check_key(key, path, report)
        _check_reserved(key, path, report, system=system)
    size = sum(len(key.encode()) + len(value.encode(errors="replace")) for key, value in annotations.items())
    if size > MAX_ANNOTATIONS:
        report.refuse("metadata.annotations", f"hold {size} bytes; at most {MAX_ANNOTATIONS} are allowed", TOO_LONG)


def _check_name(metadata: meta.ObjectMeta, report: Report) -> None:
    if not metadata.name:
        _check_prefix(metadata.generate_name, report)
        return
    if len(metadata.name) > MAX_NAME:
        report.refuse(
            "metadata.name",
            f"{show(metadata.name)} has {len(metadata.name)} characters; at most {MAX_NAME} leave room for the names of trials",
            TOO_LONG,
        )
    elif _NAME.fullmatch(metadata.name) is None:
        report.refuse(
            "metadata.name",
            f"{show(metadata.name)} must consist of lower-case letters, digits and '-', start with a letter and end with a "
            "letter or digit",
        )


def _check_prefix(prefix: str, report: Report) -> None:
    if not prefix:
        report.required("metadata.name", "must be given (or metadata.generateName)")
    elif _PREFIX.fullmatch(prefix) is None:
        report.refuse(
            "metadata.generateName",
            f"{show(prefix)} must consist of lower-case letters, digits and '-', and start with a letter",
        )
    elif len(prefix) + _GENERATED > MAX_NAME:
        report.refuse(
            "metadata.generateName", f"has {len(prefix)} characters; at most {MAX_NAME - _GENERATED} fit", TOO_LONG
        )


def check_label(key: str, value: str, path: str, report: Report) -> None:
    """Syntax of a label."""
    _check_key(key, path, report)
    if value and (len(value) > 63 or _WORD.fullmatch(value) is None):
        report.refuse(
            path,
            f"{show(value)} is no label value: at most 63 letters, digits, '-', '_', '.', starting and ending with a letter or digit",
        )


def _check_key(key: str, path: str, report: Report) -> None:
    domain, slash, word = key.rpartition("/")
    fits = len(word) <= 63 and _WORD.fullmatch(word) is not None
    if slash:
        fits = fits and len(domain) <= 253 and _DOMAIN.fullmatch(domain.lower()) is not None
    if not fits:
        report.refuse(
            path, f"{show(key)} is no key: write name or domain.example/name, the name with at most 63 characters"
        )


def reserved(key: str) -> bool:
    """Whether a label or annotation key belongs to the system."""
    domain = key.rpartition("/")[0]
    return any(domain == name or domain.endswith(f".{name}") for name in keys.RESERVED_LABEL_DOMAINS)


def _check_reserved(key: str, path: str, report: Report, *, system: bool) -> None:
    if not system and reserved(key):
        report.forbidden(path, f"keys of {key.rpartition('/')[0]} are set by the system; use a domain of your own")
