"""Doubts about a metrics filter that compiles: groups that overlap or may be empty.

Reads the pattern's groups without running it on any text. A pattern is never refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import re2

_TOKEN = re.compile(
    r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\[:\w+:\]|\\.|[^\]])*\]|\(\?P?<(\w+)>|\(\?[^)(]*?[:)]|\(|\)", re.DOTALL
)


@dataclass(slots=True)
class _Group:
    name: str | None
    start: int
    end: int
    parent: _Group | None


def doubts(pattern: str) -> list[str]:
    """What may surprise about the groups of a pattern that RE2 takes."""
    groups = _groups(pattern)
    by_name = {group.name: group for group in groups if group.name}
    pair = [by_name["name"], by_name["value"]] if {"name", "value"} <= set(by_name) else groups[:2]
    if len(pair) < 2:
        return []
    name, value = pair
    found: list[str] = []
    if value.parent is not None and value.start >= name.start and value.end <= name.end:
        found.append("the group for the value lies inside the group for the name, so no name can equal a metric's")
    for what, group in (("name", name), ("value", value)):
        if _may_be_empty(pattern[group.start : group.end]):
            found.append(f"the group for the {what} can match empty text; such matches are never recorded")
    return found


def _may_be_empty(inside: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(f"(?:{inside})", options).fullmatch("") is not None
    except re2.error:
        return False


def _groups(pattern: str) -> list[_Group]:
    """Capturing groups in the order of their opening brackets; ``start`` and ``end`` enclose what is inside."""
    captures: list[_Group] = []
    stack: list[_Group] = []
    capturing: list[bool] = []
    for token in _TOKEN.finditer(pattern):
        text = token.group(0)
        if text == "(" or token.group(1):
            group = _Group(token.group(1), token.end(), len(pattern), stack[-1] if stack else None)
            captures.append(group)
            stack.append(group)
            capturing.append(True)
        elif text.startswith("(?") and text.endswith(":"):
            capturing.append(False)
        elif text == ")" and capturing and capturing.pop():
            stack.pop().end = token.start()
    return captures
