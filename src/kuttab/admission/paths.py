"""Field paths: how a place in a document is written for people, ``spec.parameters[2].feasibleSpace.max``.

A map key that is no plain word stands in brackets, as in ``metadata.labels[app.kubernetes.io/name]``; what a ConfigMap holds comes
after a colon. Paths are for messages and for finding a line in a file, never for deciding anything.
"""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9_$-]+")
_STEP = re.compile(r"\.?([A-Za-z0-9_$-]+)|\[(.*?)\](?=[.\[]|$)", re.DOTALL)


def join(path: str, *steps: str | int) -> str:
    """The path of something below ``path``: text is a map key, a number an index from 0."""
    for step in steps:
        path = _child(path, step)
    return path


def _child(path: str, step: str | int) -> str:
    if not isinstance(step, str) or _PLAIN.fullmatch(step) is None:
        return f"{path}[{step}]"
    return path + step if not path or path.endswith(":") else f"{path}.{step}"


def within(path: str, above: str) -> bool:
    """Whether ``path`` is ``above`` or lies below it."""
    return path.startswith(above) and (len(path) == len(above) or not above or path[len(above)] in ".[:")


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
