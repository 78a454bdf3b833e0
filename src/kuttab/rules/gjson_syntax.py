"""Reads a GJSON expression into steps. Knows the syntax that :mod:`kuttab.rules.gjson` evaluates and refuses the rest by name."""

from __future__ import annotations

import json
from dataclasses import dataclass

MAX_LENGTH = 4096
MAX_NESTING = 16
_OPERATORS = ("!%", "!=", "<=", ">=", "==", "=", "<", ">", "%")
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class SyntaxProblem(ValueError):
    """An expression that cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Key:
    """A field's name, or an array's index."""

    name: str


@dataclass(frozen=True, slots=True)
class Glob:
    """The first field whose name fits the pattern."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Each:
    """``#``: an array's length, or each of its elements when something follows."""


@dataclass(frozen=True, slots=True)
class Query:
    """``#(path operator value)``; without an operator: whether the path exists."""

    path: Path
    operator: str
    value: str
    all: bool


@dataclass(frozen=True, slots=True)
class Several:
    """``[a,b]``: an array of what these paths find."""

    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class This:
    """``@this``: the value itself."""


Step = Key | Glob | Each | Query | Several | This
Path = tuple[tuple[Step, ...], ...]
"""Segments between pipes, each of steps between dots."""


def parse(expression: str) -> Path:
    """Read an expression; raises SyntaxProblem."""
    if not expression.strip():
        raise SyntaxProblem("is empty")
    if len(expression) > MAX_LENGTH:
        raise SyntaxProblem(f"has {len(expression)} characters; at most {MAX_LENGTH} are allowed")
    return _path(expression, 0)


def _path(text: str, depth: int) -> Path:
    if depth > MAX_NESTING:
        raise SyntaxProblem(f"is nested deeper than {MAX_NESTING} levels")
    segments: list[tuple[Step, ...]] = []
    steps: list[Step] = []
    at = 0
    while True:
        step, at = _step(text, at, depth)
        steps.append(step)
        if at == len(text):
            return (*segments, tuple(steps))
        if text[at] == "|":
            segments.append(tuple(steps))
            steps = []
        elif text[at] != ".":
            raise SyntaxProblem(f"has {text[at : at + 20]!r} where '.' or '|' was expected")
        at += 1
        if at == len(text):
            raise SyntaxProblem("ends in the middle: something must follow the last '.' or '|'")


def _step(text: str, at: int, depth: int) -> tuple[Step, int]:
    letter = text[at]
    if letter == "#":
        return _hash(text, at, depth)
    if letter == "[":
        end = _closing(text, at)
        inner = text[at + 1 : end]
        return Several(tuple(_path(part, depth + 1) for part in _commas(inner))), end + 1
    if letter == "@":
        name, end = _word(text, at + 1)
        if name != "this" or text[end : end + 1] == ":":
            raise SyntaxProblem(f"uses the modifier @{name[:20]}, which is not supported; @this is")
        return This(), end
    if letter in "{!":
        what = "an object multipath {...}" if letter == "{" else "a literal !..."
        raise SyntaxProblem(f"uses {what}, which is not supported")
    return _field(text, at)


def _hash(text: str, at: int, depth: int) -> tuple[Step, int]:
    at += 1
    if text[at : at + 1] != "(":
        return Each(), at
    end = _closing(text, at)
    every = text[end + 1 : end + 2] == "#"
    return _query(text[at + 1 : end], every, depth), end + 1 + every


def _query(inner: str, every: bool, depth: int) -> Query:
    at = _operator_at(inner)
    left = inner[:at].strip()
    path = _path(left, depth + 1) if left else ()
    if at == len(inner):
        if not left:
            raise SyntaxProblem("has an empty query #()")
        return Query(path, "", "", every)
    operator = next(o for o in _OPERATORS if inner.startswith(o, at))
    return Query(path, operator, _value(inner[at + len(operator) :].strip()), every)


def _operator_at(inner: str) -> int:
    """Where the operator begins, outside brackets, quotes and escapes; the length when there is none."""
    at = 0
    while at < len(inner):
        letter = inner[at]
        if letter == "\\":
            at += 1
        elif letter in _CLOSING:
            at = _closing(inner, at)
        elif letter in "=<>%" or (letter == "!" and inner[at + 1 : at + 2] in ("=", "%")):
            return at
        at += 1
    return len(inner)


def _value(text: str) -> str:
    if text.startswith("~"):
        raise SyntaxProblem("uses a tilde operator, which is not supported")
    if text.startswith('"'):
        try:
            value = json.loads(text)
        except ValueError:
            raise SyntaxProblem(f"compares with {text[:40]!r}, which is no JSON text") from None
        return str(value)
    if not text or not all(letter.isalnum() or letter in "+-._" for letter in text):
        raise SyntaxProblem(f"compares with {text[:40]!r}; write a text in double quotes, a number, true or false")
    return text


def _closing(text: str, start: int) -> int:
    """Position of the bracket that closes the one at ``start``; quotes and escapes are skipped."""
    stack: list[str] = []
    at = start
    quoted = False
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 1
        elif letter == '"':
            quoted = not quoted
        elif not quoted and letter in _CLOSING:
            stack.append(_CLOSING[letter])
        elif not quoted and letter in ")]}":
            if stack.pop() != letter:
                raise SyntaxProblem(f"has brackets that do not match at {text[start : start + 20]!r}")
            if not stack:
                return at
        at += 1
    raise SyntaxProblem(f"has a bracket that is never closed at {text[start : start + 20]!r}")


def _commas(inner: str) -> list[str]:
    parts = []
    start = at = 0
    while at < len(inner):
        if inner[at] == "\\":
            at += 1
        elif inner[at] in _CLOSING:
            at = _closing(inner, at)
        elif inner[at] == ",":
            parts.append(inner[start:at])
            start = at + 1
        at += 1
    parts.append(inner[start:])
    if not all(part.strip() for part in parts):
        raise SyntaxProblem("has an empty path between square brackets")
    return [part.strip() for part in parts]


def _word(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end += 1
    return text[at:end], end


def _field(text: str, at: int) -> tuple[Step, int]:
    """A field's name up to a dot or pipe, with escapes undone."""
    name: list[str] = []
    pattern: list[str] = []
    wild = False
    while at < len(text) and text[at] not in ".|":
        letter = text[at]
        if letter == "\\":
            at += 1
            if at == len(text):
                raise SyntaxProblem("ends in a backslash")
            pattern.append("\\")
            letter = text[at]
        elif letter in "*?":
            wild = True
        elif letter in '()[]{}"':
            raise SyntaxProblem(
                f"has {letter!r} in the field name {''.join(name)[:20]!r}; write \\{letter} if it is part of it"
            )
        name.append(letter)
        pattern.append(letter)
        at += 1
    if not name:
        raise SyntaxProblem("has an empty field name")
    return (Glob("".join(pattern)) if wild else Key("".join(name))), at
