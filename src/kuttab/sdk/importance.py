"""How much each parameter mattered, for an experiment's result. The arithmetic is in :mod:`kuttab.algorithms.importance`.

Loads numpy when it is asked, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kuttab.base import errors

if TYPE_CHECKING:
    from kuttab.sdk import results

LARGEST = 5000
"""Trials that are looked at, at most: the newest."""


def importance(result: results.Result, *, seed: int = 0) -> dict[str, float]:
    """The share of the objective's variance that each parameter explains alone, the greatest first; shares sum to 1.

    Only trials with a finite objective count, and only parameters of the space. The same seed gives the same shares. Raises
    BadInputError when there are too few trials, no parameter, or nothing varies.
    """
    import numpy as np  # noqa: PLC0415 - keeps numpy out of `import kuttab`

    from kuttab.algorithms import importance as forest  # noqa: PLC0415
    from kuttab.algorithms import space as spaces  # noqa: PLC0415

    space = spaces.from_specs(result.experiment.spec.parameters or ())
    rows, values = [], []
    for item in result.usable[-LARGEST:]:
        try:
            rows.append(space.codes([item.texts[name] for name in space.names]))
        except (KeyError, ValueError):
            continue  # not a point of this space: it says nothing about its parameters
        values.append(item.value)
    codes = np.array(rows).reshape(len(rows), len(space))
    choices = {index: len(p.choices) for index, p in enumerate(space.parameters) if p.categorical}
    found = None
    if len(space):
        found = forest.of_forest(space.encode(codes), codes, np.array(values, dtype=float), choices, seed)
    if found is None:
        raise errors.BadInputError(
            f"importance of {result.name}: needs at least four trials with different values of {result.metric} over at least "
            f"one parameter; there are {len(rows)} trials with a value"
        )
    shares = zip(space.names, found.shares, strict=True)
    return dict(sorted(shares, key=lambda pair: -pair[1]))
