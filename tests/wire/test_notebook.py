"""The notebook of the examples, run cell by cell as a kernel does: in one ``__main__`` with an event loop running."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

NOTEBOOK = pathlib.Path(__file__).parents[2] / "examples" / "tune.ipynb"

KERNEL = """
import asyncio, json, sys
async def kernel(cells):
    for cell in cells:
        exec(compile(cell, "cell", "exec"), globals())
asyncio.run(kernel(json.load(sys.stdin)))
print("trials", len(result.trials), best.value < 1.0, sorted({t.reason for t in partial.trials}))
"""


@pytest.mark.slow
def test_notebook_runs(tmp_path: pathlib.Path) -> None:
    """Every code cell runs inside of a running event loop, and the results are those that the text speaks of."""
    cells = [
        "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"
    ]
    environment = {**os.environ, "KUTTAB_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", KERNEL], input=json.dumps(cells), cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "trials 20 True ['', 'UserError']"


def test_notebook_is_stored_without_outputs() -> None:
    """What is committed holds no outputs, so that it changes only when somebody changes it."""
    assert all(not cell.get("outputs") for cell in json.loads(NOTEBOOK.read_text())["cells"])
