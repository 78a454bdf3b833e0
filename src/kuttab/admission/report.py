"""Collects what is wrong with an object and what deserves a warning, so that a user sees everything at once.

Messages say what is expected and what to write; a value of the user is shown clipped and with control characters escaped, so that
no value can forge a line or flood a terminal.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from kuttab.base import errors

INVALID = "FieldValueInvalid"
REQUIRED = "FieldValueRequired"
UNSUPPORTED = "FieldValueNotSupported"
DUPLICATE = "FieldValueDuplicate"
FORBIDDEN = "FieldValueForbidden"
TOO_LONG = "FieldValueTooLong"
TOO_MANY = "FieldValueTooMany"

MAX_PROBLEMS = 100
"""Problems shown of one object; more are only counted."""
_SHOWN = 60


def show(value: object) -> str:
    """A user's value for a message: quoted, escaped, clipped."""
    text = value if isinstance(value, str) else str(value)
    printable = plain(text, _SHOWN)
    return f'"{printable}"' if isinstance(value, str) else printable


def plain(text: str, longest: int = 1000) -> str:
    """The text in one line: clipped, with everything that does not print escaped."""
    clipped = text if len(text) <= longest else text[:longest] + "..."
    if clipped.isprintable():
        return clipped
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in clipped)


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` when a known word is close to it, else nothing."""
    words = sorted(known)
    found = difflib.get_close_matches(word[:100], words, n=1, cutoff=0.6)
    if not found:
        lower = {name.lower(): name for name in words}
        found = [lower[word.lower()]] if word.lower() in lower else []
    return f"; did you mean {found[0]}?" if found else ""


class Report:
    """Problems and warnings found so far."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._problems: list[errors.Problem] = []
        self._more = 0

    @property
    def problems(self) -> list[errors.Problem]:
        """Every problem, in the order found; a last entry counts those that are not shown."""
        if not self._more:
            return list(self._problems)
        return [*self._problems, errors.Problem("", f"and {self._more} more problems")]

    def refuse(self, path: str, message: str, reason: str = INVALID) -> None:
        """Note a problem at a field path."""
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(errors.Problem(path, message, reason))
        else:
            self._more += 1

    def extend(self, problems: Iterable[errors.Problem]) -> None:
        """Note problems found elsewhere; one that is known already is left out."""
        for problem in problems:
            if problem not in self._problems:
                self.refuse(problem.path, problem.message, problem.reason)

    def warn(self, path: str, message: str) -> None:
        """Note something that is accepted and may still surprise."""
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(f"{path}: {message}" if path else message)

    def required(self, path: str, message: str = "must be given") -> None:
        """Note a missing field."""
        self.refuse(path, message, REQUIRED)

    def forbidden(self, path: str, message: str) -> None:
        """Note a field that must not be there."""
        self.refuse(path, message, FORBIDDEN)

    def duplicate(self, path: str, value: str) -> None:
        """Note a value that stands twice where each may stand once."""
        self.refuse(path, f"{show(value)} is there twice; keep one", DUPLICATE)

    def unsupported(self, path: str, value: str, allowed: Iterable[str]) -> None:
        """Note a word that is none of the allowed ones."""
        words = list(allowed)
        self.refuse(path, f"{show(value)} is not one of {', '.join(words)}{nearest(value, words)}", UNSUPPORTED)
