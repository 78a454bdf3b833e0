"""Reports that come over HTTP: from the body of a request to the lines that a trial's report file gets.

A value that was reported for a step is known by metric and step, so that a request may be repeated: the same value again is no news, and
another value for the same step is refused. Nothing is read, written or judged here; what the lines mean is the collector's business.
"""

from __future__ import annotations

import decimal
import hashlib
import json
import math
import re
import urllib.parse
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from kuttab.base import errors
from kuttab.rules import metric_values

STEP: Final = "step"
"""The name that says when; stored as a metric of its own where it is declared as one."""
MOST_REPORTS: Final = 10_000
"""Reports in one request."""
MOST_VALUES: Final = 1_000
"""Values in one report."""
REMEMBERED: Final = 50_000
"""Values of a trial, the newest ones, by which a repetition is known; and as many keys of requests."""
_LONGEST_NAME: Final = 255
_LONGEST_SPELLING: Final = 60  # what the reader of lines takes at a glance
_SPELLING: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Report:
    """Values of one moment as they were spelled, the step among them. ``step`` is the same for ``3`` and ``3.0``; empty: none was given."""

    step: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request's values, by number; ``ignored`` are names of metrics that the experiment does not declare."""

    stored: int
    repeated: int
    ignored: Sequence[str]
    stop: bool


def parse(raw: bytes, *, as_json: bool = False) -> list[Report]:
    """The reports of a body: a form ``step=3&loss=0.1``, a JSON object of metric to number, or a JSON list of such.

    A body that begins like JSON is read as JSON even when it is called a form, as ``curl -d`` calls everything. Raises BadInputError for
    a body that cannot be read, InvalidError for values that are no numbers.
    """
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        raise errors.BadInputError("the body is no text in UTF-8") from None
    if not text:
        raise errors.BadInputError(
            "the request reports nothing; send names of metrics with numbers, and step with the number of the step"
        )
    if not as_json and text[0] not in "{[":
        return [_report(_form(text), "")]
    value = _json(text)
    if isinstance(value, list):
        if not 0 < len(value) <= MOST_REPORTS:
            raise errors.BadInputError(f"a list must hold 1 to {MOST_REPORTS} reports, not {len(value)}")
        return [_report(item, f"[{index}]") for index, item in enumerate(value)]
    return [_report(value, "")]


def declared(found: Iterable[Report], names: Sequence[str]) -> tuple[list[Report], list[str]]:
    """The reports without the metrics that are not declared, and the names of those; InvalidError when nothing is left."""
    known = frozenset(names)
    kept, ignored = [], dict.fromkeys(name for report in found for name in report.values if name not in known)
    for report in found:
        values = {name: text for name, text in report.values.items() if name in known}
        if values:
            kept.append(Report(report.step, values))
    ignored.pop(STEP, None)
    if not kept:
        given = ", ".join(repr(name[:40]) for name in list(ignored)[:5]) or "only a step"
        _refuse("", f"{given} is no metric of this experiment; its metrics are {', '.join(names)}")
    return kept, list(ignored)


def lines(found: Iterable[Report], *, as_json: bool) -> bytes:
    """What a report file gets: a line a report. A line of text begins anew, whatever stands before it."""
    if as_json:
        return "".join(json.dumps(dict(report.values)) + "\n" for report in found).encode()
    texts = (" ".join(f"{name}={text}" for name, text in report.values.items()) for report in found)
    return "".join(f"\n{text}\n" for text in texts).encode()


@dataclass(slots=True)
class Seen:
    """What one attempt of a trial has reported, as far as a repetition could be met; use :meth:`fresh`, store, then :meth:`remember`."""

    remembered: int = REMEMBERED
    _values: OrderedDict[tuple[str, str], str] = field(default_factory=OrderedDict)
    _keys: OrderedDict[str, bytes] = field(default_factory=OrderedDict)

    def fresh(self, found: Sequence[Report], key: str = "") -> list[Report]:
        """Those values that are not stored yet. ``key`` names a request, for reports without a step.

        AlreadyExistsError for another value of a metric at the same step, and for a key that came with other values.
        """
        if key and (known := self._keys.get(key)) is not None:
            if known != _digest(found):
                raise errors.AlreadyExistsError("this Idempotency-Key came with other values before; use a new one")
            return []
        here: dict[tuple[str, str], str] = {}
        fresh = []
        for report in found:
            values = {name: text for name, text in report.values.items() if self._new(report.step, name, text, here)}
            if values:
                fresh.append(Report(report.step, values))
        return fresh

    def remember(self, found: Sequence[Report], key: str = "") -> None:
        """They are stored."""
        for report in found:
            if report.step:
                self._values.update({(report.step, name): text for name, text in report.values.items()})
        if key:
            self._keys[key] = _digest(found)
        while len(self._values) > self.remembered:
            self._values.popitem(last=False)
        while len(self._keys) > self.remembered:
            self._keys.popitem(last=False)

    def _new(self, step: str, name: str, text: str, here: dict[tuple[str, str], str]) -> bool:
        if not step:
            return True
        known = self._values.get((step, name), here.get((step, name)))
        if known is None:
            here[(step, name)] = text
            return True
        if not _same(known, text):
            raise errors.AlreadyExistsError(
                f"{name} of step {step} was reported as {known}, so it cannot be {text}; a step has one value of each metric"
            )
        return False


def _form(text: str) -> dict[str, str]:
    try:
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=MOST_VALUES)
    except ValueError:
        raise errors.BadInputError(
            "the body is neither a form of names and numbers (curl -d, one for each) nor JSON (curl --json)"
        ) from None
    # No number holds a blank: a form spells the plus of 1e+5 like one, and curl -d leaves it as it is.
    return _unique([(name, value.strip("\r\n\t").replace(" ", "+")) for name, value in pairs])


def _json(text: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_int=_Number, parse_float=_Number, parse_constant=_Number
        )
    except RecursionError:
        raise errors.BadInputError("the body is nested too deep") from None
    except ValueError as problem:
        raise errors.BadInputError(f"the body is not JSON: {problem}") from None


class _Number(str):
    """A JSON number in its own spelling."""

    __slots__ = ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise errors.BadInputError(f"{twice[:80]!r} is given twice in one report; send one report a step")
    return found


def _report(found: Any, place: str) -> Report:
    if not isinstance(found, dict):
        _refuse(place, f"must be an object of metric to number, not {_shown(found)}")
    if len(found) > MOST_VALUES:
        _refuse(place, f"has {len(found)} values; {MOST_VALUES} are the limit")
    values = {}
    for name, value in found.items():
        if not 0 < len(name) <= _LONGEST_NAME:
            _refuse(place, f"the name of a metric has 1 to {_LONGEST_NAME} characters, not {len(name)}")
        values[name] = _spelled(value, f"{place}.{name}".lstrip("."))
    if set(values) <= {STEP}:
        _refuse(place, "reports no metric" + ", only a step" * bool(values))
    return Report(_step(values[STEP], f"{place}.{STEP}".lstrip(".")) if STEP in values else "", values)


def _spelled(value: Any, place: str) -> str:
    """A number's text, as it was spelled where a reader of lines would read the same."""
    text = ("1" if value else "0") if isinstance(value, bool) else value.strip() if isinstance(value, str) else ""
    number = metric_values.number(text)
    if number is None:
        _refuse(place[:80], f"{_shown(value)} is not a number")
    return str(text) if len(text) <= _LONGEST_SPELLING and _SPELLING.fullmatch(text) else repr(number)


def _step(text: str, place: str) -> str:
    if metric_values.finite(text) is None:
        _refuse(place, f"{text} is no step; give a finite number")
    try:
        exact = decimal.Decimal(text).normalize()
    except decimal.DecimalException:  # an exponent beyond all measure: its number is zero
        exact = decimal.Decimal(0)
    exact = exact or decimal.Decimal(0)  # -0 is 0
    return f"{exact:f}" if abs(exact.adjusted()) < _LONGEST_SPELLING else str(exact)


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    first, second = float(one), float(other)
    return first == second or (math.isnan(first) and math.isnan(second))


def _digest(found: Sequence[Report]) -> bytes:
    text = json.dumps([[report.step, dict(report.values)] for report in found])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _shown(value: Any) -> str:
    text = (
        "null" if value is None else "a list" if isinstance(value, list) else "a map" if isinstance(value, dict) else ""
    )
    text = text or (str(value) if isinstance(value, _Number) else repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse(place: str, message: str) -> NoReturn:
    raise errors.InvalidError([errors.Problem(place, message)])
