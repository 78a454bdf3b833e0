"""Reading manifests: YAML or JSON text to plain JSON values, with the line of every field.

Made for text that nobody has checked: a size cap before anything is parsed, a depth and a node budget while it is (aliases count
with everything they stand for), no tags but text, no duplicate keys, no recursion. Plain words mean what they mean to kubectl
(:mod:`kuttab.admission.scalars`); where reading a file one way or the other would surprise, it is refused and the message says what to
write. It does not know what a manifest should contain, and it opens no file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from kuttab.admission import paths, yaml_reader
from kuttab.api import meta
from kuttab.base import errors

Place = yaml_reader.Place

MAX_BYTES = 4 * 1024 * 1024
"""Size of a file; the largest object that a Kubernetes API server takes is about 1.5 MiB."""
MAX_DEPTH = yaml_reader.MAX_DEPTH
MAX_NODES = yaml_reader.MAX_NODES
MAX_DOCUMENTS = yaml_reader.MAX_DOCUMENTS

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_JSON_MARKS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_BLANKS = re.compile(r"[ \t\r\n]*")


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
        for index, (value, place) in enumerate(yaml_reader.Reader(source, origin).documents())
    ]
    if not documents:
        raise yaml_reader.refused(origin, "holds no object: it is empty or has only comments")
    return documents


def load_one(text: bytes | str, origin: str = "") -> meta.Json:
    """The single object of a text. Raises InvalidError also when there are several."""
    documents = load(text, origin)
    if len(documents) > 1:
        raise yaml_reader.refused(
            origin, f"holds {len(documents)} documents where one object is expected", documents[1].place
        )
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


def _decoded(text: bytes | str, origin: str) -> str:
    if len(text) > MAX_BYTES:
        raise yaml_reader.refused(origin, f"is {len(text)} bytes long; at most {MAX_BYTES} are read")
    if isinstance(text, str):
        source = text
        broken = next((i for i, letter in enumerate(text) if "\ud800" <= letter <= "\udfff"), None)
        if broken is not None:
            raise yaml_reader.refused(origin, "has half of a surrogate pair", yaml_reader.place_of(text, broken))
    else:
        if text.startswith(_UTF16):
            raise yaml_reader.refused(origin, "is encoded as UTF-16; save it as UTF-8")
        try:
            source = text.decode("utf-8")
        except UnicodeDecodeError as error:
            where = yaml_reader.place_of(text[: error.start].decode("utf-8"), error.start)
            raise yaml_reader.refused(origin, "is no text in UTF-8; is it a manifest?", where) from error
    source = source.removeprefix("\ufeff")
    if "\0" in source:
        raise yaml_reader.refused(
            origin,
            "holds a NUL character; is it a binary or UTF-16 file?",
            yaml_reader.place_of(source, source.index("\0")),
        )
    return source


def _load_json(source: str, origin: str) -> list[Document] | None:
    """The objects of JSON text, or None when it is YAML that begins with a brace."""
    _check_json_depth(source, origin)
    decoder = json.JSONDecoder(object_pairs_hook=unique_keys, parse_constant=_no_constant)
    documents: list[Document] = []
    offset = _after_blanks(source, 0)
    try:
        while offset < len(source) and len(documents) <= MAX_DOCUMENTS:
            value, offset = decoder.raw_decode(source, offset)
            documents.append(Document(value, origin, len(documents)))
            offset = _after_blanks(source, offset)
    except json.JSONDecodeError:
        return None
    except (ValueError, RecursionError) as error:
        raise yaml_reader.refused(origin, str(error)) from error
    if len(documents) > MAX_DOCUMENTS:
        raise yaml_reader.refused(origin, f"holds more than {MAX_DOCUMENTS} documents")
    for index, place in enumerate(_json_places(source, len(documents))):
        documents[index] = Document(documents[index].value, origin, index, place)
    for document in documents:
        if not isinstance(document.value, dict):
            raise yaml_reader.refused(origin, "holds a value that is no object", document.place)
        _check_budget(document.value, origin)
    return documents


def _after_blanks(source: str, offset: int) -> int:
    blanks = _BLANKS.match(source, offset)
    return blanks.end() if blanks is not None else offset


def _json_places(source: str, count: int) -> list[Place]:
    """Places by reading the JSON as YAML; none when YAML cannot read it (escaped surrogate pairs, several objects)."""
    if count != 1:
        return []
    try:
        return [place for _, place in yaml_reader.Reader(source, "").documents()]
    except errors.InvalidError:
        return []


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The hook that makes JSON's reader refuse an object with the same key twice; raises ValueError naming it."""
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"holds the key {twice[:80]!r} twice in one object; keep one")
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
                raise yaml_reader.too_deep(origin, yaml_reader.place_of(source, match.start()))
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
            raise yaml_reader.refused(origin, "has half of a surrogate pair in a text")
        if nodes > MAX_NODES:
            raise yaml_reader.too_many(origin)
