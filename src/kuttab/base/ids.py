"""Identifiers: random ones from an injected source, and names that are functions of what they name."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable

NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes, as Kubernetes' own generated names."""

NewUid = Callable[[], str]


def random_uid() -> str:
    """A fresh uid from the system's randomness."""
    return str(uuid.uuid4())


def digest_name(*parts: object, length: int = 8) -> str:
    """A short name that depends on nothing but ``parts``: the same parts give the same name in any process.

    8 characters of a 27-letter alphabet hold 38 bits.
    """
    raw = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    number = int.from_bytes(raw[:16], "big")
    letters = []
    for _ in range(length):
        number, index = divmod(number, len(NAME_ALPHABET))
        letters.append(NAME_ALPHABET[index])
    return "".join(letters)


def digest_seed(*parts: object) -> int:
    """A 63-bit seed that depends on nothing but ``parts``."""
    raw = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(raw[:8], "big") >> 1
