"""Numbers and times as programs print them: one strict grammar for every place that reads a metric.

Python's own readers take too much (``1_000``, digits of other scripts, surrounding blanks, week dates), so a slip of a program
would silently become a value. Nothing here guesses: text is a number or a time, or it is not.
"""

from __future__ import annotations

import datetime
import functools
import math
from typing import Final

_NUMBER_CHARACTERS: Final = "0123456789+-.eE"
_NON_FINITE: Final = {
    sign + word: value * (-1.0 if sign == "-" else 1.0)
    for sign in ("", "+", "-")
    for word, value in (("nan", math.nan), ("inf", math.inf), ("infinity", math.inf))
}
_ZERO: Final = "0001-01-01T00:00:00.000000000"
NANOSECONDS: Final = 1_000_000_000


def number(text: str) -> float | None:
    """The number that ``text`` spells, or None.

    ASCII decimal with optional sign, fraction and exponent, or ``nan``, ``inf``, ``infinity`` in any case. ``1e400`` is a number
    and is infinite; ``1_000``, ``0x1p3``, ``1,5``, ``１２``, ``+`` and the empty text are none.
    """
    if not text.strip(_NUMBER_CHARACTERS):
        try:
            return float(text)
        except ValueError:
            return None
    return _NON_FINITE.get(text.lower()) if len(text) < 10 and text.isascii() else None


def finite(text: str) -> float | None:
    """The same, without what is infinite or no number."""
    value = number(text)
    return value if value is not None and math.isfinite(value) else None


def storable(text: str) -> str:
    """The text without what databases refuse: NUL and halves of surrogate pairs become U+FFFD."""
    if text.isascii():
        return str(text.replace("\0", "\ufffd") if "\0" in text else text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


@functools.lru_cache(maxsize=4096)
def stamp(text: str) -> str:
    """An RFC3339 time as UTC text of fixed width, ``2024-01-01T00:00:00.500000000``: equal order as text and as time.

    Fractions may have any length (cut to nanoseconds); zones are ``Z`` or ``+hh:mm``. Raises ValueError for anything else, and
    for a time that leaves the years 1 to 9999 in UTC.
    """
    if len(text) < 20 or not text.isascii() or text[10] not in "Tt":
        raise ValueError(f"{text[:40]!r} is no RFC3339 time")
    zone_at = len(text) - 1 if text[-1] in "Zz" else len(text) - 6
    day, clock, fraction, zone = text[:10], text[11:19], text[19:zone_at], text[zone_at:]
    if not (_digits(day, "-") and _digits(clock, ":") and _fraction(fraction) and _zone(zone)):
        raise ValueError(f"{text[:40]!r} is no RFC3339 time")
    moment = datetime.datetime.fromisoformat(f"{day}T{clock}")
    if len(zone) == 6:
        shift = datetime.timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
        try:
            moment = moment + shift if zone[0] == "-" else moment - shift
        except OverflowError:
            raise ValueError(f"{text!r} lies outside the years 1 to 9999") from None
    return f"{moment.isoformat()}.{fraction[1:10]:0<9}"


def time_of(fixed: str) -> str:
    """The RFC3339 text of a :func:`stamp`, without trailing zeros: ``2024-01-01T00:00:00.5Z``; empty stays empty."""
    if not fixed:
        return ""
    return (fixed[:19] if fixed.endswith(".000000000") else fixed.rstrip("0")) + "Z"


def canonical(text: str) -> str:
    """Any RFC3339 time in one spelling: UTC, trailing zeros cut. Empty for empty text and for Go's zero time; ValueError."""
    fixed = stamp(text) if text else ""
    return "" if fixed == _ZERO else time_of(fixed)


@functools.lru_cache(maxsize=1024)
def from_seconds(text: str) -> str:
    """RFC3339 of seconds since 1970, exact to the nanosecond: ``1.5`` is half a second past; ValueError outside years 1-9999."""
    value = finite(text)
    if value is None or abs(value) > 1e12:
        raise ValueError(f"{text[:40]!r} is no number of seconds since 1970")
    plain = "e" not in text and "E" not in text
    whole, _, fraction = text.lstrip("+-").partition(".") if plain else (f"{abs(value):.9f}").partition(".")
    nanoseconds = int(whole or "0") * NANOSECONDS + int(f"{fraction[:9]:0<9}")
    return from_nanoseconds(-nanoseconds if text.startswith("-") else nanoseconds)


def from_nanoseconds(nanoseconds: int) -> str:
    """RFC3339 of nanoseconds since 1970, in UTC; ValueError outside the years 1 to 9999."""
    seconds, fraction = divmod(nanoseconds, NANOSECONDS)
    try:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{nanoseconds} ns lies outside the years 1 to 9999") from None
    return time_of(f"{moment.isoformat()}.{fraction:09d}")


def _digits(text: str, separator: str) -> bool:
    return all(part.isdigit() for part in text.split(separator)) and text.count(separator) == 2


def _fraction(text: str) -> bool:
    return not text or (text[0] == "." and text[1:].isdigit())


def _zone(text: str) -> bool:
    if text in ("Z", "z"):
        return True
    return (
        len(text) == 6
        and text[0] in "+-"
        and text[3] == ":"
        and text[1:3].isdigit()
        and text[4:6].isdigit()
        and int(text[1:3]) < 24
        and int(text[4:6]) < 60
    )
