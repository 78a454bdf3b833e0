"""Which elements of an argument list are program text that an interpreter will read.

``["sh", "-c", "python train.py"]`` and the like: a value put there would become part of a program, so templates treat such
elements more strictly. Nothing here parses the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "busybox"})
_CODE_FLAGS = {
    "python": ("-c",),
    "perl": ("-e", "-E"),
    "ruby": ("-e",),
    "node": ("-e", "--eval", "-p"),
    "Rscript": ("-e",),
}
_SHELL_CODE = re.compile(r"[-+][A-Za-z]*c[A-Za-z]*")
_VERSIONED = re.compile(r"(python|perl|ruby|node|Rscript)[0-9.]*")


def program_texts(argv: Sequence[str], *, has_command: bool = True) -> set[int]:
    """Positions of elements that are program text.

    An interpreter counts wherever it stands (``env``, ``timeout``, ``mpirun`` may come first). When the program is not known (no
    command, or a placeholder for it), an element after ``-c`` counts too.
    """
    found: set[int] = set()
    if argv and (not has_command or "${" in argv[0]):
        found |= {i + 1 for i in range(len(argv) - 1) if _SHELL_CODE.fullmatch(argv[i])}
    for i, word in enumerate(argv):
        name = word.rpartition("/")[2]
        if name in _SHELLS:
            found |= _shell_text(argv, i + 1)
            continue
        versioned = _VERSIONED.fullmatch(name)
        if versioned is not None:
            flags = _CODE_FLAGS[versioned.group(1)]
            found |= _flagged_text(argv, i + 1, flags)
    return found


def _shell_text(argv: Sequence[str], start: int) -> set[int]:
    """The first element after the options, when one of these asks for a command string."""
    code = False
    i = start
    while i < len(argv):
        word = argv[i]
        if word.rpartition("/")[2] in _SHELLS and i == start:
            start += 1  # busybox sh
        elif word in ("-o", "+o", "-O", "+O", "--rcfile", "--init-file"):
            i += 1
        elif word.startswith(("-", "+")) and len(word) > 1:
            code = code or _SHELL_CODE.fullmatch(word) is not None
        else:
            return {i} if code else set()
        i += 1
    return set()


def _flagged_text(argv: Sequence[str], start: int, flags: tuple[str, ...]) -> set[int]:
    """The element after a flag among the interpreter's own options (a script's options come after its name)."""
    for i in range(start, len(argv)):
        if argv[i] in flags or (len(argv[i]) == 3 and argv[i][0] == "-" and argv[i][0] + argv[i][2] in flags):
            return {i + 1} if i + 1 < len(argv) else set()
        if not argv[i].startswith("-"):
            return set()
    return set()
