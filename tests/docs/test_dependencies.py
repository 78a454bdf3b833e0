"""What an installation brings is decided here: a package more is a choice, not an accident."""

from __future__ import annotations

import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).parents[2]
CORE = {
    "alembic", "cloudpickle", "cmaes", "google-re2", "grpcio", "grpcio-health-checking", "jsonpatch", "numpy", "psutil", "pydantic",
    "pyyaml", "rich", "scipy", "sqlalchemy", "starlette", "structlog", "typer", "uvicorn",
}  # fmt: skip
"""Everything that ``pip install kuttab`` names: what the core cannot do without, each permissive and well kept."""


def test_core_dependencies_are_those_that_were_chosen() -> None:
    """A plain installation brings these packages, and none beside them but their own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0].lower() for line in project["dependencies"]]
    assert sorted(names) == sorted(CORE)
