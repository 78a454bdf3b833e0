"""Every Python block of the README and the guides runs as it stands."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: pathlib.Path) -> list[str]:
    """Its Python blocks; one that begins with ```` ```python notest ```` needs something that no test has, and is left out."""
    return _BLOCK.findall(page.read_text())


WITH_BLOCKS = [page for page in PAGES if blocks(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: page.stem)
def test_blocks_run(page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The blocks of a page, one after the other in one program, end without an error."""
    script = tmp_path / "page.py"
    script.write_text("\n\n".join(blocks(page)))
    environment = {key: value for key, value in os.environ.items() if key != "KUTTAB_HOME"}
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


def test_some_are_found() -> None:
    """The README and the Python guide have blocks: the pattern finds them."""
    assert {"README", "python"} <= {page.stem for page in WITH_BLOCKS}
