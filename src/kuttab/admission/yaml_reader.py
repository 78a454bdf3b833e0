"""The YAML reader under :mod:`kuttab.admission.yaml`: values and places from parser events, within limits.

Keeps a stack of its own, so that depth and size are checked before they cost anything, and an alias is charged with everything it stands
for. It reads text that is known to be text; sizes of files, encodings and JSON are its caller's business.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from kuttab.admission import scalars
from kuttab.api import meta
from kuttab.base import errors

MAX_DEPTH = 64
MAX_NODES = 100_000
"""Values in a file, each counted as often as an alias repeats it."""
MAX_TEXT = 8 * 1024 * 1024
"""Characters in all values, counted the same way."""
MAX_DOCUMENTS = 200

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR_TAGS = ("!", "tag:yaml.org,2002:str")
_MAX_EVENTS = 5 * MAX_NODES

Place = tuple[int, int, Any]
"""Line and column from 1, then the places below: a dict by key, a list by index, or None."""


def refused(origin: str, message: str, place: Place | None = None) -> errors.InvalidError:
    """The refusal of a text."""
    line, column = (place[0], place[1]) if place is not None else (None, None)
    return errors.InvalidError([errors.Problem("", message, line=line, column=column)], origin)


def place_of(text: str, offset: int) -> Place:
    """The place of a character."""
    before = text[:offset]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1, None


def too_deep(origin: str, place: Place | None = None) -> errors.InvalidError:
    """The refusal of a text with too many levels."""
    return refused(origin, f"is nested deeper than {MAX_DEPTH} levels", place)


def too_many(origin: str, place: Place | None = None) -> errors.InvalidError:
    """The refusal of a text with too many values."""
    return refused(origin, f"holds more than {MAX_NODES} values, counting what aliases repeat", place)


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


class Reader:
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
            for number, event in enumerate(yaml.parse(self._source, Loader=_LOADER)):
                if number > _MAX_EVENTS:
                    raise too_many(self._origin, _mark(event))
                self._take(event)
                if not isinstance(event, yaml.DocumentEndEvent):
                    continue
                root, self._root = self._root, None
                self._anchors.clear()
                if root is None or root.value is None:
                    continue
                count += 1
                if count > MAX_DOCUMENTS:
                    raise refused(self._origin, f"holds more than {MAX_DOCUMENTS} documents", root.place)
                if not isinstance(root.value, dict):
                    raise refused(
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
            place = place_of(self._source, error.position)  # type: ignore[attr-defined]
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it does not parse"
        if "nesting depth" in said:
            return too_deep(self._origin, place)
        hint = "; indent with spaces, not tabs" if "cannot start any token" in said and "\t" in self._source else ""
        return refused(self._origin, f"cannot be read as YAML: {said}{hint}", place)

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
            raise too_deep(self._origin, place)
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise refused(self._origin, "a key must be a word, not a list or mapping", place)
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
            raise refused(self._origin, str(error), place) from error
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
                raise refused(self._origin, f"the key {word} is read as {shown} by YAML; put quotes round it", place)
        if word in top.value and word not in top.merged:
            raise refused(self._origin, f"the key {word!r} stands twice in one mapping; keep one", place)
        top.key = _MERGE if plain and word == "<<" else word
        top.key_place = place

    def _alias(self, event: Any) -> None:
        place = _mark(event)
        node = self._anchors.get(event.anchor)
        if node is None:
            raise refused(self._origin, f"the alias *{event.anchor} stands inside what it repeats, or before it", place)
        self._charge(node.nodes, node.text, place)
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise refused(self._origin, "a key must be written out, not repeated by an alias", place)
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
            raise refused(self._origin, "<< takes a mapping or a list of mappings", top.key_place)
        for mapping, place in sources:
            for key, value in mapping.items():
                if key in top.merged:
                    continue
                if key in top.value:
                    raise refused(
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
            raise too_many(self._origin, place)
        if self._text > MAX_TEXT:
            raise refused(self._origin, f"holds more than {MAX_TEXT} characters, counting what aliases repeat", place)

    def _bad_tag(self, tag: str, place: Place) -> errors.InvalidError:
        short = tag.replace("tag:yaml.org,2002:", "!!")[:60]
        return refused(self._origin, f"the tag {short} is not allowed; write the value plainly or in quotes", place)


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
