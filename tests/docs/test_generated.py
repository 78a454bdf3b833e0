"""What is generated from the code is fresh, and documentation leads somewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *ROOT.glob("examples/**/README.md"),
]


def generator() -> Any:
    """The script tools/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "tools" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_generated_files_are_fresh() -> None:
    """Each holds exactly what ``make generate`` writes."""
    stale = [name for name, text in generator().files().items() if (ROOT / name).read_text() != text]
    assert stale == [], "run: make generate"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    """Every relative link and every picture exists."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    targets = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing = [target for target in targets if target and not (page.parent / target).exists()]
    assert missing == []


def test_make_alone_lists_the_targets() -> None:
    """Bare ``make`` shows each target that says what it does."""
    shown = subprocess.run(["make", "-s", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    told = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(line.split()[0] for line in shown.splitlines()) == sorted(told)
    assert {"quickstart", "test", "check", "fix", "bench", "generate"} <= set(told)
