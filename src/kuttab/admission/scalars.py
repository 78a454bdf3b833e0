"""What a plain (unquoted) YAML word means: exactly what it means to kubectl.

kubectl reads YAML 1.1 by its own rules and then turns it into JSON, so ``010`` is 8, ``1e3`` is 1000, ``no`` is false and ``12:30:45``
stays text, while Python's YAML readers answer 45045 or ``'1e3'``. The rules here were found by asking kubectl (a test asks it again
when it is installed). Words that have no JSON form (``.nan``, ``.inf``) are refused.
"""

from __future__ import annotations

import decimal
import functools
import math
import re

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NOT_JSON = re.compile(r"\.(?:nan|NaN|NAN)|[-+]?\.(?:inf|Inf|INF)")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|([1-9][0-9]*|0))")
_BASES = (16, 2, 8, 10)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INT64 = 2**63
_UINT64 = 2**64
_EXACT = 2**53
_JSON_EXPONENT = 1e21
_LONGEST_NUMBER = 400

Scalar = str | int | float | bool | None


@functools.lru_cache(maxsize=4096)
def resolve(word: str) -> Scalar:
    """The value of a plain word. Raises ValueError for one that JSON cannot hold."""
    if word in _WORDS:
        return _WORDS[word]
    first = word[0]
    if not (first.isdigit() or first in "+-.") or len(word) > _LONGEST_NUMBER:
        return word
    if _NOT_JSON.fullmatch(word):
        raise ValueError(f"{word} has no JSON form; write a finite number, or put quotes round it")
    return _number(word)


def _number(word: str) -> Scalar:
    plain = word if word.startswith(".") else word.replace("_", "")
    integer = _INTEGER.fullmatch(plain)
    if integer is not None:
        sign, *digits = integer.groups()
        magnitude = next(int(text, base) for text, base in zip(digits, _BASES, strict=True) if text is not None)
        value = -magnitude if sign == "-" else magnitude
        if -_INT64 <= value < _INT64:
            return value
        if not sign and value < _UINT64:
            return _as_json(float(value))
    if _FLOAT.fullmatch(plain) is None:
        return word
    number = float(plain)
    return _as_json(number) if math.isfinite(number) else word


def _as_json(number: float) -> int | float:
    """A float as it comes back after having been written as JSON: whole numbers lose their point below 1e21."""
    if not number.is_integer() or abs(number) >= _JSON_EXPONENT:
        return number
    return int(number) if abs(number) < _EXACT else int(decimal.Decimal(repr(number)))
