"""Success and failure conditions: the part of GJSON that conditions are written in, with a bound on the work.

Understood: keys with ``*`` and ``?`` wildcards and ``\\`` escapes, array indices, ``#`` (length, or map when followed by a dot),
queries ``#(path op value)`` (first) and ``#(...)#`` (all) with ``== = != < <= > >= % !%`` or none, ``|`` pipes, ``@this`` and
array multipaths ``[a,b]``. Refused with a message: other modifiers, object multipaths, literals, tilde operators, JSON lines. Language:
github.com/tidwall/gjson, SYNTAX.md. One difference: comparing a number with text that is no number is false (there the text
counts as 0).

A condition holds when its result is an object or a non-empty array (of which the first element counts).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kuttab.api import meta
from kuttab.base import errors
from kuttab.rules import gjson_syntax as syntax

MAX_STEPS = 200_000
"""Values looked at and pattern characters compared in one evaluation; beyond that the expression is refused."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a condition found: ``reason`` and ``message`` of the matching object, empty when it has none."""

    reason: str = ""
    message: str = ""


def check(expression: str) -> str:
    """What is wrong with an expression, or an empty text."""
    try:
        _compiled(expression)
    except syntax.SyntaxProblem as problem:
        return str(problem)
    return ""


def match(expression: str, document: meta.Json) -> Match | None:
    """Evaluate a condition on an object; None when it does not hold.

    Raises BadInputError for an expression that :func:`check` refuses and for one that needs more than MAX_STEPS steps.
    """
    found = find(expression, document)
    if isinstance(found, list):
        if not found:
            return None
        found = found[0]
    elif not isinstance(found, dict):
        return None
    if not isinstance(found, dict):
        return Match()
    reason, message = found.get("reason"), found.get("message")
    return Match(reason if isinstance(reason, str) else "", message if isinstance(message, str) else "")


def find(expression: str, document: Any) -> Any:
    """The value that an expression points at, None when there is none; raises as :func:`match`."""
    try:
        run = _compiled(expression)
    except syntax.SyntaxProblem as problem:
        raise errors.BadInputError(f"condition {expression[:80]!r}: {problem}") from None
    budget = _Budget(expression)
    found = run(document, budget)
    return None if found is _MISSING else found


class _Budget:
    """Counts steps down and stops a run that takes too many."""

    __slots__ = ("expression", "left")

    def __init__(self, expression: str) -> None:
        self.left = MAX_STEPS
        self.expression = expression

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise errors.BadInputError(
                f"condition {self.expression[:80]!r} takes more than {MAX_STEPS} steps; simplify it"
            )


_MISSING: Any = object()
_Run = Callable[[Any, _Budget], Any]


@functools.lru_cache(maxsize=256)
def _compiled(expression: str) -> _Run:
    return _compile_path(syntax.parse(expression))


def _compile_path(path: syntax.Path) -> _Run:
    segments = [_compile_steps(segment) for segment in path]
    if len(segments) == 1:
        return segments[0]

    def run(value: Any, budget: _Budget) -> Any:
        for segment in segments:
            value = segment(value, budget)
            if value is _MISSING:
                return value
        return value

    return run


def _compile_steps(steps: tuple[syntax.Step, ...]) -> _Run:
    """One function for steps joined by dots: the first applied, the rest on its result (on each element after ``#``)."""
    if not steps:
        return _this
    head = steps[0]
    rest = _compile_steps(steps[1:]) if len(steps) > 1 else None
    match head:
        case syntax.Key():
            run = _key(head.name)
        case syntax.Glob():
            run = _wildcard(head.pattern)
        case syntax.Each():
            return _length if rest is None else _mapped(_elements, rest)
        case syntax.Query():
            keep = _condition(head)
            if head.all:
                every = _filtered(keep)
                return every if rest is None else _mapped(every, rest)
            run = _first(keep)
        case syntax.Several():
            run = _several([_compile_path(path) for path in head.paths])
        case syntax.This():
            run = _this
    if rest is None:
        return run
    after = rest

    def chain(value: Any, budget: _Budget) -> Any:
        found = run(value, budget)
        return found if found is _MISSING else after(found, budget)

    return chain


def _this(value: Any, _: _Budget) -> Any:
    return value


def _key(name: str) -> _Run:
    index = int(name) if name.isascii() and name.isdigit() and len(name) < 10 else None

    def run(value: Any, budget: _Budget) -> Any:
        budget.spend(1)
        if isinstance(value, dict):
            return value.get(name, _MISSING)
        if index is not None and isinstance(value, list) and index < len(value):
            return value[index]
        return _MISSING

    return run


def _wildcard(pattern: str) -> _Run:
    def run(value: Any, budget: _Budget) -> Any:
        if isinstance(value, dict):
            for key, item in value.items():
                if _like(key, pattern, budget):
                    return item
        return _MISSING

    return run


def _elements(value: Any, budget: _Budget) -> Any:
    if not isinstance(value, list):
        return _MISSING
    budget.spend(len(value))
    return value


def _length(value: Any, budget: _Budget) -> Any:
    found = _elements(value, budget)
    return found if found is _MISSING else len(found)


def _mapped(source: _Run, rest: _Run) -> _Run:
    def run(value: Any, budget: _Budget) -> Any:
        items = source(value, budget)
        if items is _MISSING:
            return items
        found = (rest(item, budget) for item in items)
        return [item for item in found if item is not _MISSING]

    return run


def _filtered(keep: Callable[[Any, _Budget], bool]) -> _Run:
    def run(value: Any, budget: _Budget) -> Any:
        items = _elements(value, budget)
        return items if items is _MISSING else [item for item in items if keep(item, budget)]

    return run


def _first(keep: Callable[[Any, _Budget], bool]) -> _Run:
    def run(value: Any, budget: _Budget) -> Any:
        items = _elements(value, budget)
        if items is not _MISSING:
            for item in items:
                if keep(item, budget):
                    return item
        return _MISSING

    return run


def _several(paths: list[_Run]) -> _Run:
    def run(value: Any, budget: _Budget) -> Any:
        found = (path(value, budget) for path in paths)
        return [item for item in found if item is not _MISSING]

    return run


def _condition(query: syntax.Query) -> Callable[[Any, _Budget], bool]:
    path = _compile_path(query.path) if query.path else None
    operator, text = query.operator, query.value
    number = _number(text)

    def keep(item: Any, budget: _Budget) -> bool:
        value = item if path is None else path(item, budget) if isinstance(item, dict | list) else _MISSING
        if value is _MISSING:
            return False
        if not operator:
            return True
        if isinstance(value, str):
            budget.spend(1 + len(value) // 64)
            return (
                _like(value, text, budget) is (operator == "%") if "%" in operator else _compare(value, operator, text)
            )
        if isinstance(value, bool):
            return text in ("true", "false") and _compare(value, operator, text == "true")
        if isinstance(value, int | float):
            return number is not None and _compare(value, operator, number)
        return False

    return keep


def _number(text: str) -> float | None:
    try:
        return float(text) if text.isascii() and "_" not in text and text == text.strip() else None
    except ValueError:
        return None


def _compare(left: Any, operator: str, right: Any) -> bool:
    match operator:
        case "==" | "=":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case ">=":
            return bool(left >= right)
        case _:
            return False


def _like(text: str, pattern: str, budget: _Budget) -> bool:
    """Whether text matches a pattern of ``*``, ``?`` and escapes: at most len(text) * len(pattern) steps, all counted."""
    at = place = 0
    star, mark = -1, 0
    while at < len(text):
        budget.spend(1)
        letter = pattern[place] if place < len(pattern) else ""
        if letter == "*":
            star, mark, place = place, at, place + 1
            continue
        escaped = letter == "\\" and place + 1 < len(pattern)
        wanted = pattern[place + 1] if escaped else letter
        if wanted and (wanted == text[at] or (letter == "?" and not escaped)):
            at, place = at + 1, place + (2 if escaped else 1)
        elif star >= 0:
            mark += 1
            at, place = mark, star + 1
        else:
            return False
    return all(letter == "*" for letter in pattern[place:])
