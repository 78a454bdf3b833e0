"""One strict grammar for numbers in text, the one that Python, Go and every algorithm service read alike.

``1_000``, ``１``, ``" 1 "``, ``0x10``, ``1.``, ``NaN`` and ``1e999`` are numbers to some readers and not to others; none of
them is one here.
"""

from __future__ import annotations

import math
import re

_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
LONGEST = 64
EXACT = 2**53 - 1
"""The largest whole number that every reader keeps exactly."""


def real(text: str) -> float:
    """The number; raises ValueError with what is wrong."""
    if len(text) > LONGEST:
        raise ValueError(f"must be a decimal number of at most {LONGEST} characters")
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError("must be a finite decimal number such as 0.01 or 1e-5")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("is too large for a double")
    if number == 0 and re.search("[1-9]", text.lower().partition("e")[0]):
        raise ValueError("is too small for a double")
    return number


def whole(text: str) -> int:
    """The whole number; raises ValueError with what is wrong."""
    if len(text) > LONGEST or _WHOLE.fullmatch(text) is None:
        raise ValueError("must be a whole number such as 16, without point or exponent")
    number = int(text)
    if abs(number) > EXACT:
        raise ValueError(f"must lie between {-EXACT} and {EXACT}")
    return number
