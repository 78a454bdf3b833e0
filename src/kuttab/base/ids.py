"""Identifiers: random ones from an injected source, and names that are functions of what they name."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Callable

NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes, as Kubernetes' own generated names."""

NewUid = Callable[[], str]


def random_uid() -> str:
    """A fresh uid from the system's randomness."""
    return str(uuid.UUID(bytes=_random.take(16), version=4))


class _Random:
    """Bytes of the system's randomness, fetched in blocks: a call into the system for each uid costs more than all the rest."""

    def __init__(self) -> None:
        self._block = b""

    def take(self, count: int) -> bytes:
        """So many bytes, never given out before."""
        with _lock:
            if len(self._block) < count:
                self._block = os.urandom(4096)
            taken, self._block = self._block[:count], self._block[count:]
        return taken

    def forget(self) -> None:
        """Start anew, in a forked child, which must not give out what its parent does."""
        self._block = b""


_lock = threading.Lock()
_random = _Random()
os.register_at_fork(after_in_child=_random.forget)


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
