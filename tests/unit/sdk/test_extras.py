"""Without an extra, what needs it says in one line how to install it; everything else works."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

ENV = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])}

PROGRAM = textwrap.dedent("""
    import sys
    for name in ("pandas", "plotly", "matplotlib", "pyarrow", "optuna", "mlflow"):
        sys.modules[name] = None
    from kuttab.base import errors
    from unit.sdk import studies
    result = studies.result(8)
    result.to_csv("a.csv"), result.to_json("a.json"), result.save_plot("history", "a.svg"), result.save_report("a.html")
    from kuttab.sdk import tables
    for call in (
        result.to_pandas, lambda: result.plot("history"), lambda: result.save_plot("history", "a.png"),
        lambda: tables.write_parquet(result, "a.parquet"), result.to_optuna, lambda: result.to_mlflow("sqlite:///a.db"),
    ):
        try:
            call()
        except errors.BadInputError as problem:
            print(problem.message)
""")


@pytest.mark.slow
def test_each_missing_extra_is_named(tmp_path: object) -> None:
    """Six libraries that are not there: six lines that name six extras; CSV, JSON, SVG and the report need none of them."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=str(tmp_path), check=False, env=ENV
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split("kuttab[")[1].split("]")[0] for line in lines] == [
        "pandas",
        "plots",
        "plots",
        "parquet",
        "optuna",
        "mlflow",
    ]
