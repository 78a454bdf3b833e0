"""Which names may be taken: a filter over keys, so that asking for a free name reads nothing.

A Bloom filter (Bloom, 1970): it never forgets a name it was given, and takes a free one for taken now and then, which costs one read.
Deleted names stay in it until the next start. Its memory does not grow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kuttab.store import log

_BITS: Final = 22
"""2^22 bits are 512 KiB: one free name in 1000 is taken for a taken one at 300,000 names."""
_MASK: Final = (1 << _BITS) - 1
_PROBES: Final = 3


class Names:
    """The keys given to it, and a few others by mistake."""

    def __init__(self, keys: Iterable[log.Key] = ()) -> None:
        self._bits = bytearray(1 << (_BITS - 3))
        for key in keys:
            self.add(key)

    def add(self, key: log.Key) -> None:
        """Remember a key."""
        number = hash(key)
        for _ in range(_PROBES):
            place = number & _MASK
            self._bits[place >> 3] |= 1 << (place & 7)
            number >>= _BITS - 2

    def may_have(self, key: log.Key) -> bool:
        """False only for a key that was never added."""
        number = hash(key)
        for _ in range(_PROBES):
            place = number & _MASK
            if not self._bits[place >> 3] & 1 << (place & 7):
                return False
            number >>= _BITS - 2
        return True
