"""Label and field selectors, in Kubernetes' spelling.

Parsing is strict: what an API server refuses is refused here, with the position and the fix. No other query language will be added; whoever
needs more lists and filters.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kuttab.api import kinds, meta
from kuttab.base import errors

_TOKEN = re.compile(r"\s*(?:(?P<word>[A-Za-z0-9._/-]+)|(?P<mark>==|!=|=|!|,|\(|\)))")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@functools.lru_cache(maxsize=512)  # the same few keys are on every object
def label_key_problem(key: str) -> str:
    """What is wrong with a label key, annotation key or finalizer name; empty when nothing is."""
    prefix, slash, name = key.rpartition("/")
    if slash and not _PREFIX.fullmatch(prefix):
        return f"prefix {prefix!r} must be a lower-case DNS name of at most 253 characters"
    if not _NAME.fullmatch(name):
        return (
            f"name {name!r} must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit"
        )
    return ""


def label_value_problem(value: str) -> str:
    """What is wrong with a label value; empty when nothing is."""
    if value and not _NAME.fullmatch(value):
        return f"value {value!r} must be empty or 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit"
    return ""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one label: the value is (``wanted``) or is not one of ``values``; ``values=None`` asks for presence alone."""

    key: str
    values: frozenset[str] | None
    wanted: bool

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels fulfil it; an absent label fulfils every negative condition."""
        if self.key not in labels:
            return not self.wanted
        return self.wanted if self.values is None else (labels[self.key] in self.values) is self.wanted


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One condition on one field: it equals, or does not equal, a text."""

    field: str
    value: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed pair of label and field selector; the empty one matches everything."""

    labels: tuple[Term, ...] = ()
    fields: tuple[FieldTerm, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)

    def matches(self, obj: meta.Object) -> bool:
        """Whether an object is selected."""
        found = obj.metadata.labels or {}
        return all(term.matches(found) for term in self.labels) and all(
            (_field(obj, term.field) == term.value) is term.wanted for term in self.fields
        )

    @property
    def equalities(self) -> list[tuple[str, str]]:
        """The (key, value) pairs that every selected object has as labels: what an index can answer."""
        return [
            (term.key, next(iter(term.values)))
            for term in self.labels
            if term.wanted and term.values and len(term.values) == 1
        ]

    def exact(self, field: str) -> str | None:
        """The one value that a field must have, if the selector says so."""
        return next((term.value for term in self.fields if term.field == field and term.wanted), None)


EVERYTHING = Selector()


@functools.lru_cache(maxsize=256)
def parse(kind: kinds.Kind, labels: str = "", fields: str = "") -> Selector:
    """Read both selectors; BadInputError names the selector, the position and what was expected."""
    if not labels and not fields:
        return EVERYTHING
    return Selector(tuple(_Parser(labels).terms()), tuple(_field_terms(kind, fields)))


class _Parser:
    """Recursive descent over the tokens of a label selector."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._tokens: list[tuple[str, bool, int]] = []
        while self._position < len(text.rstrip()):
            found = _TOKEN.match(text, self._position)
            if found is None:
                raise self._error(f"unexpected {text[self._position :].lstrip()[0]!r}", self._position)
            self._tokens.append(
                (found["word"] or found["mark"], bool(found["word"]), found.start(found.lastgroup or 0))
            )
            self._position = found.end()
        self._next = 0

    def terms(self) -> list[Term]:
        out: list[Term] = []
        while self._next < len(self._tokens):
            if out:
                self._expect(",")
            out.append(self._term())
        return out

    def _term(self) -> Term:
        if self._peek() == "!":
            self._next += 1
            return Term(self._key(), None, wanted=False)
        key = self._key()
        mark = self._peek()
        if mark in ("", ","):
            return Term(key, None, wanted=True)
        self._next += 1
        if mark in ("=", "==", "!="):
            return Term(key, frozenset((self._value(),)), wanted=mark != "!=")
        if mark in ("in", "notin"):
            return Term(key, self._values(), wanted=mark == "in")
        raise self._error(f"expected one of =, ==, !=, in, notin after {key!r}, got {mark!r}", self._at(self._next - 1))

    def _values(self) -> frozenset[str]:
        self._expect("(")
        out = {self._value()}
        while self._peek() == ",":
            self._next += 1
            out.add(self._value())
        self._expect(")")
        return frozenset(out)

    def _key(self) -> str:
        at = self._at(self._next)
        key, is_word = self._take()
        if not is_word:
            raise self._error(f"expected a label key, got {key or 'the end'!r}", at)
        problem = label_key_problem(key)
        if problem:
            raise self._error(f"bad label key {key!r}: {problem}", at)
        return key

    def _value(self) -> str:
        if self._next >= len(self._tokens) or not self._tokens[self._next][1]:
            return ""
        at = self._at(self._next)
        value, _ = self._take()
        problem = label_value_problem(value)
        if problem:
            raise self._error(problem, at)
        return value

    def _peek(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def _take(self) -> tuple[str, bool]:
        if self._next >= len(self._tokens):
            return "", False
        text, is_word, _ = self._tokens[self._next]
        self._next += 1
        return text, is_word

    def _at(self, index: int) -> int:
        return self._tokens[index][2] if index < len(self._tokens) else len(self._text)

    def _expect(self, mark: str) -> None:
        at = self._at(self._next)
        found, _ = self._take()
        if found != mark:
            raise self._error(f"expected {mark!r}, got {found or 'the end'!r}", at)

    def _error(self, what: str, at: int) -> errors.BadInputError:
        return errors.BadInputError(
            f"label selector {self._text!r}, column {at + 1}: {what}; write it like app=web,tier in (a,b),!old"
        )


def _name(obj: meta.Object) -> str:
    return obj.metadata.name


def _namespace(obj: meta.Object) -> str:
    return obj.metadata.namespace


_METADATA: dict[str, Callable[[meta.Object], str]] = {"metadata.name": _name, "metadata.namespace": _namespace}
_BY_KIND: dict[kinds.Kind, tuple[str, ...]] = {
    kinds.POD: ("status.phase", "spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName"),
    kinds.NAMESPACE: ("status.phase",),
    kinds.CLAIM: ("status.phase",),
    kinds.JOB: ("status.successful",),
    kinds.SECRET: ("type",),
    kinds.EVENT: (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "reason", "type",
    ),
}  # fmt: skip


def _field_terms(kind: kinds.Kind, text: str) -> list[FieldTerm]:
    out = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        found = re.fullmatch(r"([A-Za-z.]+)\s*(==|=|!=)\s*(\S*)", part)
        if found is None:
            raise errors.BadInputError(
                f"field selector {text!r}: cannot read {part!r}; write it like metadata.name=web"
            )
        field, mark, value = found.groups()
        known = (*_METADATA, *_BY_KIND.get(kind, ()))
        if field not in known:
            raise errors.BadInputError(
                f"field selector {text!r}: {kind.kind} does not support {field!r}, only {', '.join(known)}"
            )
        out.append(FieldTerm(field, value, mark != "!="))
    return out


def _field(obj: meta.Object, path: str) -> str:
    read = _METADATA.get(path)
    if read is not None:
        return read(obj)
    node: Any = obj.model_extra or {}
    for step in path.split("."):
        node = node.get(step) if isinstance(node, dict) else None
    return "" if node is None else str(node)
