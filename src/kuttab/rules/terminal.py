"""Output that was meant for a terminal, as plain text: colour and cursor codes are taken out.

Written without patterns, so its time is linear in whatever a program prints. It interprets no cursor movement.
"""

from __future__ import annotations

from typing import Final

_PARAMETERS: Final = bytes(range(0x30, 0x40))
_INTERMEDIATES: Final = bytes(range(0x20, 0x30))


def plain(text: bytes) -> bytes:
    """``text`` without escape sequences; newlines always stay."""
    if b"\x1b" not in text:
        return text
    head, *parts = text.split(b"\x1b")
    kept = [head]
    in_string = False
    for part in parts:
        if in_string and part[:1] == b"\\":  # the end of a string that a BEL did not end
            in_string = False
            kept.append(part[1:])
        else:
            rest, in_string = _after_sequence(part)
            kept.append(rest)
    return b"".join(kept)


def _after_sequence(part: bytes) -> tuple[bytes, bool]:
    """What follows the sequence that ``part`` begins with (its ESC is gone), and whether its string is still open."""
    kind = part[:1]
    if kind == b"[":
        rest = part[1:].lstrip(_PARAMETERS).lstrip(_INTERMEDIATES)
        return (rest[1:] if b"@" <= rest[:1] <= b"~" else rest), False
    if kind in (b"]", b"P", b"X", b"^", b"_"):
        line, newline, after = part.partition(b"\n")
        _, bell, rest = line.partition(b"\x07")
        return (rest if bell else b"") + newline + after, not bell and not newline
    if kind in (b"(", b")", b"*", b"+", b"#", b"%"):
        return (part[2:] if part[1:2] != b"\n" else part[1:]), False
    return (part[1:] if b"0" <= kind <= b"~" else part), False
