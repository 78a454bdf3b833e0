"""The blocks of a page, and what its author says about running them. CONTRIBUTING.md tells authors the words.

A fence opens with a language and, after a blank, a word about the block:

* nothing: it is run (``python``, ``sh``) or read (``yaml``, ``json``); no language, or ``text``, is what a program printed;
* ``server``: a command, or the end of a program, that serves; it stays for the blocks after it, and is ended with the page;
* ``trial``: the program of a trial;
* ``needs: NAME``: run where a program (``sh``) or a module (``python``) of that name is installed;
* ``tested: FILE``: run by that test;
* ``notest: REASON``: needs something that no test has.
"""

from __future__ import annotations

import pathlib
import re
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
RUN, READ, OUTPUT = ("python", "sh"), ("yaml", "json"), ("", "text")
_FENCE = re.compile(r"^```(\w*)(?: (\w+)(?:: ?([^\n]*))?)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"# ([\w./-]+\.(?:yaml|json))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block. ``word`` and ``rest`` are what stands behind the language."""

    page: pathlib.Path
    line: int
    language: str
    word: str
    rest: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.stem}:{self.line}"

    @property
    def file(self) -> str:
        """The name that a manifest gives itself in its first line, for the commands after it; empty when it has none."""
        found = _NAME.match(self.text)
        return found[1] if found else ""


def blocks(page: pathlib.Path) -> list[Block]:
    """All of a page, in order."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2] or "", found[3] or "", found[4])
        for found in _FENCE.finditer(text)
    ]


ALL = [block for page in PAGES for block in blocks(page)]
