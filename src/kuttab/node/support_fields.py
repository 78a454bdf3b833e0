"""Reading a manifest that may hold anything, and telling which of its fields are known, without effect, or refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kuttab.base import errors

NOT_OFFERED = "FieldValueNotSupported"
NO_EFFECT = "has no effect on one machine"
NOT_ENFORCED = "is not enforced on one machine"


def check(
    section: Mapping[str, Any], path: str, known: set[str], harmless: set[str], refused: Mapping[str, str]
) -> Iterator[errors.Problem]:
    """Problems of a section's keys: ``refused`` maps names to the reason, ``harmless`` ones have no effect."""
    for key in section:
        if key in refused and section[key] is not None:
            yield errors.Problem(f"{path}.{key}", f"is not offered on one machine: {refused[key]}", NOT_OFFERED)
        elif key not in known and key not in harmless and key not in refused:
            yield errors.Problem(f"{path}.{key}", "is not a known field", NOT_OFFERED)
    for key in ("containers", "initContainers", "volumes", "env", "envFrom", "volumeMounts"):
        value = section.get(key)
        if value is not None and not (isinstance(value, list) and all(isinstance(entry, Mapping) for entry in value)):
            yield errors.Problem(f"{path}.{key}", "must be a list of maps")


_UNITS = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip


def quantity(text: object) -> int | None:
    """A Kubernetes quantity of memory in bytes (``1Gi``, ``500M``, ``128974848``, ``129e6``); None when it is none."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text if text >= 0 else None
    if not isinstance(text, str) or not text.isascii() or "_" in text or text != text.strip():
        return None
    digits = text.rstrip("kKMGTPi")
    unit = text[len(digits) :]
    if not digits[-1:].isdigit():
        return None
    try:
        number = float(digits)
    except ValueError:
        return None
    if unit not in _UNITS or not 0 <= number < 2**63:
        return None
    return int(number * _UNITS[unit])


def as_map(value: Any) -> Mapping[str, Any]:
    """The value if it is a map, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: Any) -> list[Mapping[str, Any]]:
    """The maps of a list; nothing when it is none."""
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def whole(value: Any, path: str, *, least: int = 0, most: int = 2**31 - 1) -> Iterator[errors.Problem]:
    """A problem unless the value is absent, a placeholder, or a whole number within the limits."""
    if value is None or (isinstance(value, str) and "${" in value):
        return
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        above = f"{least} or more" if most >= 2**31 - 1 else f"from {least} to {most}"
        yield errors.Problem(path, f"{value!r} must be a whole number, {above}")
