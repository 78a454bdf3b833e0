"""A search space as the Gaussian process sees it, and the way back to codes."""

from __future__ import annotations

import numpy as np

from kuttab.algorithms import codec
from kuttab.algorithms import space as spaces
from kuttab.algorithms.gp_kernel import Array, Domain
from kuttab.algorithms.parameters import Parameter

MOST_LEVELS = 64
"""Parameters with more values than this are searched as if continuous, then rounded."""


class View:
    """Rows of the process for a space: unit values, but the index of the choice for categorical parameters."""

    def __init__(self, space: spaces.Space) -> None:
        self.space = space
        self.domain = Domain(
            tuple(_levels(p) for p in space.parameters),
            tuple(len(p.choices) if p.categorical else 0 for p in space.parameters),
        )

    def rows(self, codes: Array) -> Array:
        """Codes (n, d) to rows (n, d)."""
        out = self.space.encode(codes)
        mask = self.domain.categorical
        out[:, mask] = codes[:, mask]
        return out

    def codes(self, rows: Array) -> Array:
        """Rows to codes, on the grids and inside the bounds."""
        mask = self.domain.categorical
        out = self.space.decode(np.where(mask, 0.5, rows))
        out[:, mask] = rows[:, mask]
        return out


def _levels(parameter: Parameter) -> Array | None:
    if parameter.categorical:
        return None
    count = parameter.count
    if count is None or count > MOST_LEVELS:
        return None
    places = np.array([[parameter.at(i)] for i in range(count)])
    return codec.Codec([parameter]).encode(places)[:, 0]
