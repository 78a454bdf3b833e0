"""The example of a third party's algorithm works as its README says."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "custom_algorithm"


def install(target: Path, value: str | None = None) -> dict[str, str]:
    """An environment in which the package's metadata is found, written from its pyproject.toml as an installer would."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value or place}" for name, place in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(EXAMPLE), *sys.path])}


def python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program in that environment."""
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_an_installed_algorithm_is_selectable_by_name(tmp_path: Path) -> None:
    """The entry point makes it known, listed, and usable by ask and tell with its own settings."""
    code = """
from kuttab.algorithms import registry
from kuttab.sdk import optimizer, search
assert "climb" in registry.names()
assert ("climb", "Steps from the best point so far.") in registry.summaries()
opt = optimizer.Optimizer({"x": search.double(0, 1), "n": search.int(1, 9)}, algorithm="climb", reach=0.1)
for _ in range(40):
    for trial in opt.ask():
        opt.tell(trial, (trial.parameters["x"] - 0.7) ** 2 + (trial.parameters["n"] - 3) ** 2)
assert opt.best.value < 0.01, opt.best
"""
    done = python(code, install(tmp_path))
    assert done.returncode == 0, done.stderr


def test_a_broken_package_is_named(tmp_path: Path) -> None:
    """An entry point that cannot be loaded is a clear error about that name, and all others still work."""
    code = """
from kuttab.algorithms import registry
from kuttab.base import errors
registry.load("random")
assert "climb" in dict(registry.summaries())["climb"]
try:
    registry.load("climb")
except errors.BadInputError as error:
    print(error)
"""
    for place, words in (("nowhere:Climb", "cannot be loaded"), ("json:JSONDecoder", "no subclass")):
        target = tmp_path / words.replace(" ", "")
        target.mkdir()
        done = python(code, install(target, place))
        assert done.returncode == 0, done.stderr
        assert "'climb'" in done.stdout
        assert words in done.stdout


def test_the_example_passes_the_contract() -> None:
    """The shipped contract suite passes for the example, run as its README says."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLE), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
