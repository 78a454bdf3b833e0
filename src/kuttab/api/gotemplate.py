"""The few constructs of Go's text/template that old trial templates use, executed.

Understood: ``{{.Field}}`` (also ``$.Field`` from the top), ``{{with .Field}}``, ``{{range .Field}}``, ``{{end}}``, comments, and the
trim marks ``{{-`` and ``-}}``. Everything else (if, else, functions, pipes, variables, definitions) is refused with its line,
never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_OUTPUT = 1_000_000
_SPACE = " \t\r\n"
_ACTION = re.compile(r"\{\{(-(?=[ \t\r\n.])[ \t\r\n]*)?((?:/\*.*?\*/|[^{}]*?))([ \t\r\n]+-|-)?\}\}", re.DOTALL)
_FIELD = re.compile(r"\$?(?:\.[A-Za-z_][A-Za-z0-9_]*)+|\.|\$")
_BLOCK = re.compile(r"(with|range)\s+(\S+)")


class TemplateProblem(ValueError):
    """A construct that is not understood, or data that is not there; ``line`` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class _Show:
    field: str
    line: int


@dataclass(frozen=True, slots=True)
class _Block:
    word: str
    field: str
    line: int
    body: list[_Text | _Show | _Block]


_Node = _Text | _Show | _Block


class _Output:
    """Collects text up to a limit."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._room = MAX_OUTPUT

    def add(self, text: str, line: int) -> None:
        self._room -= len(text)
        if self._room < 0:
            raise TemplateProblem(line, f"the output is larger than {MAX_OUTPUT} characters")
        self.parts.append(text)


def execute(text: str, data: Mapping[str, Any]) -> str:
    """The template's output for data made of mappings, sequences and texts; raises TemplateProblem."""
    written = _Output()
    _write(_parse(text), data, data, written)
    return "".join(written.parts)


def _parse(text: str) -> list[_Node]:
    nodes: list[_Node] = []
    open_blocks: list[tuple[list[_Node], str, int]] = []
    current = nodes
    at = 0
    trim = False
    while True:
        start = text.find("{{", at)
        literal = text[at:] if start < 0 else text[at:start]
        literal = literal.lstrip(_SPACE) if trim else literal
        if start < 0:
            current.append(_Text(literal, text.count("\n") + 1))
            break
        line = text.count("\n", 0, start) + 1
        action = _ACTION.match(text, start)
        if action is None:
            raise TemplateProblem(line, f"{text[start : start + 30]!r} is not understood or not closed")
        current.append(_Text(literal.rstrip(_SPACE) if action.group(1) else literal, line))
        trim, at = action.group(3) is not None, action.end()
        body = action.group(2).strip()
        block = _BLOCK.fullmatch(body)
        if block is not None and _FIELD.fullmatch(block.group(2)):
            made = _Block(block.group(1), block.group(2), line, [])
            current.append(made)
            open_blocks.append((current, block.group(1), line))
            current = made.body
        elif body == "end":
            if not open_blocks:
                raise TemplateProblem(line, "{{end}} ends nothing")
            current = open_blocks.pop()[0]
        elif _FIELD.fullmatch(body):
            current.append(_Show(body, line))
        elif not body.startswith("/*"):
            raise TemplateProblem(
                line, f"{{{{{body}}}}} is not understood; only fields, with, range and end can be converted"
            )
    if open_blocks:
        _, word, line = open_blocks[-1]
        raise TemplateProblem(line, f"{{{{{word}}}}} is never ended")
    return nodes


def _write(nodes: Sequence[_Node], dot: Any, top: Any, written: _Output) -> None:
    for node in nodes:
        if isinstance(node, _Text):
            written.add(node.text, node.line)
            continue
        value = _read(node.field, dot, top, node.line)
        if isinstance(node, _Show):
            if not isinstance(value, str):
                raise TemplateProblem(node.line, f"{{{{{node.field}}}}} is no text; go through it with range")
            written.add(value, node.line)
        elif node.word == "with":
            if value:
                _write(node.body, value, top, written)
        else:
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise TemplateProblem(node.line, f"range needs a list, and {node.field} is none")
            for item in value:
                _write(node.body, item, top, written)


def _read(field: str, dot: Any, top: Any, line: int) -> Any:
    value = top if field.startswith("$") else dot
    for name in field.lstrip("$").split(".")[1:]:
        if not name:
            continue
        if not isinstance(value, Mapping) or name not in value:
            known = ", ".join(f".{key}" for key in value) if isinstance(value, Mapping) else "a value without fields"
            raise TemplateProblem(line, f"there is no .{name} here; there is {known}")
        value = value[name]
    return value
