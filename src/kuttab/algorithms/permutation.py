"""A shuffled order of 0 .. n-1 that needs no memory: a keyed Feistel network with cycle walking.

Good for shuffling a grid of 10^30 points; it is no cipher and promises no secrecy.
"""

from __future__ import annotations

import hashlib

_ROUNDS = 6


class Permutation:
    """A bijection on ``range(size)``, a function of (size, seed) alone."""

    def __init__(self, size: int, seed: int) -> None:
        if size < 1:
            raise ValueError("a permutation needs at least one element")
        self.size = size
        bits = max(2, (size - 1).bit_length())
        self._half = (bits + 1) // 2
        self._mask = (1 << self._half) - 1
        self._bytes = (self._half + 7) // 8
        self._keys = [f"{seed}:{round_}:".encode() for round_ in range(_ROUNDS)]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        """The element at a place; raises IndexError outside the range."""
        if not 0 <= index < self.size:
            raise IndexError(index)
        value = self._turn(index)
        while value >= self.size:  # at most four times the size is covered, so this ends after a few turns
            value = self._turn(value)
        return value

    def _turn(self, value: int) -> int:
        left, right = value >> self._half, value & self._mask
        for key in self._keys:
            digest = hashlib.shake_128(key + right.to_bytes(self._bytes, "little")).digest(self._bytes)
            left, right = right, left ^ (int.from_bytes(digest, "little") & self._mask)
        return left << self._half | right
