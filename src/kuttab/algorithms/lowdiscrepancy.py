"""A scrambled Sobol sequence in the unit cube, addressed by index: the initial designs and the ``sobol`` algorithm use it.

Direction numbers of Joe and Kuo (2008) as SciPy ships them, up to 21,201 dimensions. Scrambled by a random lower-triangular
matrix and a digital shift per dimension (Matousek 1998), which keep the sequence's uniformity and make every single point
uniform. The scrambling depends on the seed alone; the engine's position is a cache.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from kuttab.algorithms.parameters import Floats

_BITS = 30


class Sobol:
    """Point ``index`` (from 0) of the sequence for a dimension and a seed."""

    def __init__(self, dimensions: int, seed: int) -> None:
        self._engine = qmc.Sobol(max(dimensions, 1), scramble=False, bits=_BITS)
        self._next = 0
        self._dimensions = dimensions
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 0x50B01))))
        shape = (max(dimensions, 1), _BITS, _BITS)
        lower = np.tril((generator.random(shape) < 0.5).astype(np.int64), -1) + np.eye(_BITS, dtype=np.int64)
        weights = 1 << np.arange(_BITS - 1, -1, -1, dtype=np.int64)
        # Column c of the matrix as one number: what a set bit c of the input adds (modulo 2) to the output.
        self._columns: NDArray[np.int64] = np.einsum("dij,i->dj", lower, weights)
        self._weights = weights
        self._shift = (generator.random(max(dimensions, 1)) * (1 << _BITS)).astype(np.int64)

    def points(self, first: int, count: int) -> Floats:
        """Points ``first .. first + count - 1`` (count, dimensions), each strictly inside the unit cube."""
        if first != self._next:
            if first < self._next:
                self._engine.reset()
                self._next = 0
            if first > self._next:
                self._engine.fast_forward(first - self._next)
        # SciPy warns when the first draw is no power of two, so the first point is drawn alone.
        drawn = [self._engine.random(1)] if not first and count > 1 else []
        drawn.append(self._engine.random(count - len(drawn)))
        raw = (np.vstack(drawn) * (1 << _BITS)).astype(np.int64)
        self._next = first + count
        bits = (raw[:, :, None] & self._weights) != 0
        mixed = np.bitwise_xor.reduce(np.where(bits, self._columns, 0), axis=2) ^ self._shift
        return np.asarray((mixed[:, : self._dimensions] + 0.5) / (1 << _BITS))

    def point(self, index: int) -> Floats:
        """One point (dimensions,)."""
        return np.asarray(self.points(index, 1)[0])
