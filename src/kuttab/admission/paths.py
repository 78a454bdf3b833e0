"""Field paths: how a place in a document is written for people, ``spec.parameters[2].feasibleSpace.max``.

A map key that is no plain word stands in brackets, as in ``metadata.labels[app.kubernetes.io/name]``. Paths are for messages and for
finding a line in a file, never for deciding anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PLAIN = re.compile(r"[A-Za-z0-9_$-]+")
_STEP = re.compile(r"\.?([A-Za-z0-9_$-]+)|\[(.*?)\](?=[.\[]|$)", re.DOTALL)


def join(path: str, *steps: str | int) -> str:
    """The path of something below ``path``: text is a map key, a number an index from 0."""
    for step in steps:
        if not isinstance(step, str) or _PLAIN.fullmatch(step) is None:
            path = f"{path}[{step}]"
        else:
            path = f"{path}.{step}" if path else step
    return path


def of(steps: Iterable[str | int]) -> str:
    """The path made of those steps."""
    return join("", *steps)


def steps(path: str) -> list[str]:
    """The steps of a path, as text; whoever walks a list reads them as numbers. Text that is no path ends the walk."""
    found: list[str] = []
    place = 0
    while place < len(path):
        match = _STEP.match(path, place)
        if match is None:
            break
        found.append(match.group(1) if match.group(1) is not None else match.group(2))
        place = match.end()
    return found
