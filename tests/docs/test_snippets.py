"""Every block of the README and the guides is run or read as it stands, or says why not."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import pytest

from docs import pages
from docs.pages import Block

HERE = pathlib.Path(__file__).parent
BIN = pathlib.Path(sys.executable).parent
DEFAULT_PORTS = ("6780", "6789", "8765")
"""Ports that the pages name; each run has its own instead."""


def runs(block: Block) -> bool:
    """Whether a page's program has the block."""
    return block.language in pages.RUN and block.word not in ("tested", "notest")


def missing(block: Block) -> str:
    """What the block needs that is not installed here."""
    if block.word != "needs":
        return ""
    there = shutil.which(block.rest) if block.language == "sh" else importlib.util.find_spec(block.rest)
    return "" if there else block.rest


WITH_PROGRAMS = [page for page in pages.PAGES if any(map(runs, pages.blocks(page)))]
LEFT_OUT = [block for block in pages.ALL if block.word in ("tested", "notest")]


def program(page: pathlib.Path) -> str:
    """The blocks of a page, one after the other, as one Python program."""
    parts = [f"import sys\nsys.path.insert(0, {str(HERE)!r})\nimport page_shell as _page\ndel sys.path[0]"]
    so_far = ""
    for block in pages.blocks(page):
        if block.file:
            parts.append(f"_page.write({block.file!r}, {block.text!r})")
        if not runs(block) or missing(block):
            continue
        if block.language == "sh":
            step = block.word if block.word in ("server", "trial") else "shell"
            parts.append(f"_page.{step}({block.text!r})")
        elif block.word == "server":
            parts.append(f"_page.program({so_far + block.text!r}, {free_ports(1)[0]})")
        else:
            parts.append(block.text)
            so_far += block.text
    text = "\n\n".join(parts)
    # The two default ports of `kuttab serve` are nowhere in its command.
    text = text.replace("kuttab serve", "kuttab serve --port 6780 --db-manager-port 6789")
    for default, port in zip(DEFAULT_PORTS, free_ports(len(DEFAULT_PORTS)), strict=True):
        text = re.sub(rf"\b{default}\b", str(port), text)
    return text


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_PROGRAMS, ids=lambda page: page.stem)
def test_blocks_run(page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The blocks of a page, one after the other in one folder, end without an error; its servers end in order."""
    script = tmp_path / "page.py"
    script.write_text(program(page))
    (tmp_path / "examples").symlink_to(pages.ROOT / "examples")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("KUTTAB_", "KUBECONFIG"))}
    environment |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ended with" not in done.stderr
    absent = sorted({missing(block) for block in pages.blocks(page) if runs(block)} - {""})
    if absent:
        pytest.skip(f"all but the blocks that need {', '.join(absent)}, which is not installed")


@pytest.mark.parametrize("block", LEFT_OUT, ids=str)
def test_what_is_left_out_says_why(block: Block) -> None:
    """A block is run by a test that knows the page or all of its examples, or a reason says what no test has."""
    if block.word == "notest":
        assert len(block.rest.split()) >= 3, f"{block}: write ```{block.language} notest: REASON"
        pytest.skip(f"{block}: {block.rest}")
    test = (pages.ROOT / block.rest).read_text()
    used = {pathlib.PurePath(path).stem for path in re.findall(r"examples/[\w./-]+", block.text)}
    assert block.page.name in test or (used and all(name in test for name in used)), f"{block}: {block.rest}"


def test_every_block_is_known() -> None:
    """No fence has a language or a word that nobody looks at, and none is overlooked."""
    for block in pages.ALL:
        assert block.language in (*pages.RUN, *pages.READ, *pages.OUTPUT), block
        words = {
            "python": ("server", "needs", "tested", "notest"),
            "sh": ("server", "trial", "needs", "tested", "notest"),
        }
        assert block.word in ("", *words.get(block.language, ())), block
        assert bool(block.rest) == (block.word in ("needs", "tested", "notest")), block
    fences = sum(len(re.findall(r"^```", page.read_text(), re.MULTILINE)) for page in pages.PAGES)
    assert fences == 2 * len(pages.ALL)
    assert {"README", "python", "serve"} <= {page.stem for page in WITH_PROGRAMS}
