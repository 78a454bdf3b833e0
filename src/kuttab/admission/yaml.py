"""Reading manifests: YAML or JSON text to plain JSON values, with the line of every field.

Made for text that nobody has checked: a size cap before anything is parsed, a depth and a node budget while it is (aliases count
with everything they stand for), no tags but text, no duplicate keys, no recursion. Plain words mean what they mean to kubectl
(:mod:`kuttab.admission.scalars`); where reading a file one way or the other would surprise, it is refused and the message says what to
write. It does not know what a manifest should contain, and it opens no file.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from kuttab.admission import paths, scalars
from kuttab.api import meta
from kuttab.base import errors

MAX_BYTES = 4 * 1024 * 1024
"""Size of a file; the largest object that a Kubernetes API server takes is about 1.5 MiB."""
MAX_DEPTH = 64
MAX_NODES = 100_000
"""Values in a file, each counted as often as an alias repeats it."""
MAX_TEXT = 2 * MAX_BYTES
"""Characters in all values, counted the same way."""
MAX_DOCUMENTS = 200

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR_TAGS = ("!", "tag:yaml.org,2002:str")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_JSON_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)

Place = tuple[int, int, Any]
"""Line and column from 1, then the places below: a dict by key, a list by index, or None."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file. ``index`` counts from 0."""

    value: meta.Json
    origin: str
    index: int = 0
    place: Place = field(default=(1, 1, None), repr=False, compare=False)

    def line_of(self, path: str) -> tuple[int, int]:
        """Line and column, from 1, of the field at that path, or of the nearest field above it that is in the file."""
        line, column, below = self.place
        node: Any = self.value
        for step in paths.steps(path):
            key: str | int | None = step
            if isinstance(below, list):
                key = _index(node, step, len(below))
            elif not isinstance(below, dict) or step not in below:
                key = None
            if key is None:
                break
            line, column, below = below[key]
            node = _child(node, key)
        return line, column

    def locate(self, problem: errors.Problem) -> errors.Problem:
        """The problem with its line and column filled in."""
        line, column = self.line_of(problem.path)
        return errors.Problem(problem.path, problem.message, problem.reason, line, column)


def load(text: bytes | str, origin: str = "") -> list[Document]:
    """Every object of a file, in order; empty documents are skipped.

    Raises InvalidError, with the line and column, when the text cannot be read, holds no object, or could be read in two ways.
    """
    source = _decoded(text, origin)
    if source.lstrip().startswith("{"):
        found = _load_json(source, origin)
        if found is not None:
            return found
    documents = [
        Document(value, origin, index, place)
        for index, (value, place) in enumerate(_Reader(source, origin).documents())
    ]
    if not documents:
        raise _refused(origin, "holds no object: it is empty or has only comments")
    return documents


def load_one(text: bytes | str, origin: str = "") -> meta.Json:
    """The single object of a text. Raises InvalidError also when there are several."""
    documents = load(text, origin)
    if len(documents) > 1:
        raise _refused(origin, f"holds {len(documents)} documents where one object is expected", documents[1].place)
    return documents[0].value


def _index(items: Any, step: str, length: int) -> int | None:
    """Which item of a list a step means: its number, or the one of that name."""
    if step.isdecimal() and len(step) < 10:
        return int(step) if int(step) < length else None
    named = enumerate(items[:length]) if isinstance(items, list) else ()
    return next((i for i, item in named if isinstance(item, dict) and item.get("name") == step), None)


def _child(node: Any, key: str | int) -> Any:
    """What is below, None when the value was changed since it was read."""
    if isinstance(node, dict):
        return node.get(key)
    return node[key] if isinstance(node, list) and isinstance(key, int) and key < len(node) else None


def _refused(origin: str, message: str, place: Place | None = None) -> errors.InvalidError:
    line, column = (place[0], place[1]) if place is not None else (None, None)
    return errors.InvalidError([errors.Problem("", message, line=line, column=column)], origin)


def _decoded(text: bytes | str, origin: str) -> str:
    if len(text) > MAX_BYTES:
        raise _refused(origin, f"is {len(text)} bytes long; at most {MAX_BYTES} are read")
    if isinstance(text, str):
        source = text
        broken = next((i for i, letter in enumerate(text) if "\ud800" <= letter <= "\udfff"), None)
        if broken is not None:
            raise _refused(origin, "has half of a surrogate pair", _place_of(text, broken))
    else:
        if text.startswith(_UTF16):
            raise _refused(origin, "is encoded as UTF-16; save it as UTF-8")
        try:
            source = text.decode("utf-8")
        except UnicodeDecodeError as error:
            where = _place_of(text[: error.start].decode("utf-8"), error.start)
            raise _refused(origin, "is no text in UTF-8; is it a manifest?", where) from error
    source = source.removeprefix("\ufeff")
    if "\0" in source:
        raise _refused(
            origin, "holds a NUL character; is it a binary or UTF-16 file?", _place_of(source, source.index("\0"))
        )
    return source


def _place_of(text: str, offset: int) -> Place:
    before = text[:offset]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1, None


# JSON


def _load_json(source: str, origin: str) -> list[Document] | None:
    """The objects of JSON text, or None when it is YAML that begins with a brace."""
    _check_json_depth(source, origin)
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    documents: list[Document] = []
    offset = len(source) - len(source.lstrip())
    try:
        while offset < len(source):
            value, offset = decoder.raw_decode(source, offset)
            documents.append(Document(value, origin, len(documents)))
            offset += len(source[offset:]) - len(source[offset:].lstrip())
    except json.JSONDecodeError:
        return None
    except (ValueError, RecursionError) as error:
        raise _refused(origin, str(error)) from error
    for index, place in enumerate(_json_places(source, len(documents))):
        documents[index] = Document(documents[index].value, origin, index, place)
    for document in documents:
        if not isinstance(document.value, dict):
            raise _refused(origin, "holds a value that is no object", document.place)
        _check_budget(document.value, origin)
    return documents


def _json_places(source: str, count: int) -> list[Place]:
    """Places by reading the JSON as YAML; none when YAML cannot read it (escaped surrogate pairs, several objects)."""
    if count != 1:
        return []
    try:
        return [place for _, place in _Reader(source, "").documents()]
    except errors.InvalidError:
        return []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"holds the key {twice!r} twice in one object; keep one")
    return made


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON; write a finite number")


def _check_json_depth(source: str, origin: str) -> None:
    depth = 0
    for match in _JSON_MARKS.finditer(source):
        mark = match.group(0)
        if mark in ("{", "["):
            depth += 1
            if depth > MAX_DEPTH:
                raise _too_deep(origin, _place_of(source, match.start()))
        elif mark in ("}", "]"):
            depth -= 1


def _check_budget(value: Any, origin: str) -> None:
    nodes = 0
    rest = [value]
    while rest:
        node = rest.pop()
        nodes += 1
        if isinstance(node, dict):
            rest.extend(node.values())
        elif isinstance(node, list):
            rest.extend(node)
        elif isinstance(node, str) and any("\ud800" <= letter <= "\udfff" for letter in node):
            raise _refused(origin, "has half of a surrogate pair in a text")
        if nodes > MAX_NODES:
            raise _too_many(origin)


def _too_deep(origin: str, place: Place | None = None) -> errors.InvalidError:
    return _refused(origin, f"is nested deeper than {MAX_DEPTH} levels", place)


def _too_many(origin: str, place: Place | None = None) -> errors.InvalidError:
    return _refused(origin, f"holds more than {MAX_NODES} values, counting what aliases repeat", place)


# YAML


@dataclass(slots=True)
class _Frame:
    """A list or mapping being filled."""

    value: dict[str, Any] | list[Any]
    places: dict[str, Place] | list[Place]
    start: Place
    anchor: str | None
    key: str | None = None
    key_place: Place = (1, 1, None)
    merged: set[str] = field(default_factory=set)
    nodes: int = 1
    text: int = 0


@dataclass(frozen=True, slots=True)
class _Node:
    """A finished value and what it costs to repeat it."""

    value: Any
    place: Place
    nodes: int = 1
    text: int = 0


class _Reader:
    """Builds values from parser events with a stack of its own, so that depth and size are checked before they cost anything."""

    def __init__(self, source: str, origin: str) -> None:
        self._source = source
        self._origin = origin
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Node] = {}
        self._nodes = 0
        self._text = 0
        self._root: _Node | None = None

    def documents(self) -> Iterator[tuple[meta.Json, Place]]:
        """Each document that is not empty."""
        count = 0
        try:
            for event in yaml.parse(self._source, Loader=_LOADER):
                self._take(event)
                if not isinstance(event, yaml.DocumentEndEvent):
                    continue
                root, self._root = self._root, None
                self._anchors.clear()
                if root is None or root.value is None:
                    continue
                count += 1
                if count > MAX_DOCUMENTS:
                    raise _refused(self._origin, f"holds more than {MAX_DOCUMENTS} documents", root.place)
                if not isinstance(root.value, dict):
                    raise _refused(
                        self._origin,
                        f"holds {_kind(root.value)} where an object with apiVersion and kind belongs",
                        root.place,
                    )
                yield root.value, root.place
        except yaml.YAMLError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: yaml.YAMLError) -> errors.InvalidError:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = (mark.line + 1, mark.column + 1, None) if mark is not None else None
        if place is None and getattr(error, "position", None) is not None:
            place = _place_of(self._source, error.position)  # type: ignore[attr-defined]
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it does not parse"
        if "nesting depth" in said:
            return _too_deep(self._origin, place)
        hint = "; indent with spaces, not tabs" if "cannot start any token" in said and "\t" in self._source else ""
        return _refused(self._origin, f"cannot be read as YAML: {said}{hint}", place)

    def _take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.AliasEvent():
                self._alias(event)
            case _:
                return

    def _open(self, event: Any) -> None:
        place = _mark(event)
        if event.tag is not None and not event.implicit:
            raise self._bad_tag(event.tag, place)
        if len(self._stack) >= MAX_DEPTH:
            raise _too_deep(self._origin, place)
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise _refused(self._origin, "a key must be a word, not a list or mapping", place)
        if isinstance(event, yaml.MappingStartEvent):
            self._stack.append(_Frame({}, {}, place, event.anchor))
        else:
            self._stack.append(_Frame([], [], place, event.anchor))
        self._charge(1, 0, place)

    def _close(self) -> None:
        frame = self._stack.pop()
        line, column, _ = frame.start
        node = _Node(frame.value, (line, column, frame.places), frame.nodes, frame.text)
        self._finish(node, frame.anchor)

    def _scalar(self, event: Any) -> None:
        place = _mark(event)
        top = self._stack[-1] if self._stack else None
        plain = event.implicit[0] and event.tag is None
        if event.tag is not None and event.tag not in _STR_TAGS:
            raise self._bad_tag(event.tag, place)
        try:
            value = scalars.resolve(event.value) if plain else event.value
        except ValueError as error:
            raise _refused(self._origin, str(error), place) from error
        self._charge(1, len(event.value), place)
        if top is not None and isinstance(top.value, dict) and top.key is None:
            if event.anchor is not None:
                self._anchors[event.anchor] = _Node(value, place, 1, len(event.value))
            self._key(top, value, event.value, plain=plain, place=place)
            top.text += len(event.value)
            return
        self._finish(_Node(value, place, 1, len(event.value)), event.anchor)

    def _key(self, top: _Frame, value: Any, word: str, *, plain: bool, place: Place) -> None:
        if not isinstance(value, str):
            shown = _key_text(value)
            if shown != word:
                raise _refused(self._origin, f"the key {word} is read as {shown} by YAML; put quotes round it", place)
        if word in top.value and word not in top.merged:
            raise _refused(self._origin, f"the key {word!r} stands twice in one mapping; keep one", place)
        top.key = _MERGE if plain and word == "<<" else word
        top.key_place = place

    def _alias(self, event: Any) -> None:
        place = _mark(event)
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _refused(
                self._origin, f"the alias *{event.anchor} stands inside what it repeats, or before it", place
            )
        self._charge(node.nodes, node.text, place)
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise _refused(self._origin, "a key must be written out, not repeated by an alias", place)
        value = copy.deepcopy(node.value) if isinstance(node.value, dict | list) else node.value
        self._finish(_Node(value, node.place, node.nodes, node.text), None)

    def _finish(self, node: _Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self._root = node
            return
        top = self._stack[-1]
        top.nodes += node.nodes
        top.text += node.text
        if isinstance(top.value, list):
            top.value.append(node.value)
            top.places.append(node.place)  # type: ignore[union-attr]
            return
        key, top.key = top.key, None
        assert key is not None
        if key is _MERGE:
            self._merge(top, node)
            return
        top.value[key] = node.value
        top.merged.discard(key)
        line, column, _ = top.key_place
        top.places[key] = (line, column, node.place[2])  # type: ignore[call-overload]

    def _merge(self, top: _Frame, node: _Node) -> None:
        assert isinstance(top.value, dict)
        assert isinstance(top.places, dict)
        sources = [(node.value, node.place)] if isinstance(node.value, dict) else None
        if isinstance(node.value, list) and all(isinstance(item, dict) for item in node.value):
            sources = list(zip(node.value, node.place[2], strict=True))
        if sources is None:
            raise _refused(self._origin, "<< takes a mapping or a list of mappings", top.key_place)
        for mapping, place in sources:
            for key, value in mapping.items():
                if key in top.merged:
                    continue
                if key in top.value:
                    raise _refused(
                        self._origin,
                        f"<< stands after the key {key!r}, which it holds too; readers differ on which wins: put << first",
                        top.key_place,
                    )
                top.value[key] = value
                top.places[key] = place[2][key]
                top.merged.add(key)

    def _charge(self, nodes: int, text: int, place: Place) -> None:
        self._nodes += nodes
        self._text += text
        if self._nodes > MAX_NODES:
            raise _too_many(self._origin, place)
        if self._text > MAX_TEXT:
            raise _refused(self._origin, f"holds more than {MAX_TEXT} characters, counting what aliases repeat", place)

    def _bad_tag(self, tag: str, place: Place) -> errors.InvalidError:
        short = tag.replace("tag:yaml.org,2002:", "!!")[:60]
        return _refused(self._origin, f"the tag {short} is not allowed; write the value plainly or in quotes", place)


_MERGE = "\x00<<"
"""Stands for the merge key while its value is read; no key can hold NUL."""


def _mark(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1, None


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a single word"


def _key_text(value: Any) -> str:
    """A key that is no text, as kubectl would spell it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
