"""The public surface: its names, what importing it costs, its types."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

import kuttab

PUBLIC = [
    "AsyncClient", "Client", "EarlyStopped", "Optimizer", "Progress", "Result", "__version__", "report", "search", "should_stop", "tune",
]  # fmt: skip

SCRIPT = """
from collections.abc import Mapping
from typing import Any

import kuttab
from kuttab import search


def objective(p: Mapping[str, Any]) -> float:
    kuttab.report(1, loss=0.5)
    if kuttab.should_stop():
        raise kuttab.EarlyStopped
    return float(p["x"])


def told(progress: kuttab.Progress) -> None:
    print(progress.finished, progress.best_value)


space = {"x": search.double(0, 1), "k": search.int(1, 3), "c": search.categorical(["a", None]), "b": search.boolean()}
result: kuttab.Result = kuttab.tune(
    objective, space, objective_metric="loss", direction="minimize", goal=0.0, algorithm="auto", settings={"a": 1},
    max_trials=None, parallel=2, max_failed=3, timeout=1.5, trial_timeout=2, seed=None, early_stopping={"name": "median"},
    reproducible=True, retry={"oom": 1}, executor="thread", metrics=["size"], name="n", data="folder", resume=True, progress=told,
)
best: float = result.best.value
parameters: dict[str, Any] = result.best.parameters
optimizer = kuttab.Optimizer(space, seed=1)
for trial in optimizer.ask(2):
    optimizer.tell(trial, 0.5)
version: str = kuttab.__version__
clients: tuple[type[kuttab.Client], type[kuttab.AsyncClient]] = (kuttab.Client, kuttab.AsyncClient)
"""


def test_names() -> None:
    """These are all; each is there, and nothing else is taken for one."""
    assert sorted(kuttab.__all__) == PUBLIC
    assert all(getattr(kuttab, name) is not None for name in PUBLIC)
    assert set(PUBLIC) <= set(dir(kuttab))
    with pytest.raises(AttributeError, match="no attribute 'tunes'"):
        _ = kuttab.tunes


def test_import_loads_nothing_heavy() -> None:
    """``import kuttab`` loads none of the libraries and rooms; names come when they are used."""
    words = "import sys, kuttab; print([n for n in ('numpy', 'pydantic', 'sqlalchemy', 'asyncio', 'kuttab.sdk') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_is_enough() -> None:
    """The docstring of tune names every argument."""
    names = kuttab.tune.__code__.co_varnames[
        : kuttab.tune.__code__.co_argcount + kuttab.tune.__code__.co_kwonlyargcount
    ]
    assert all(name in (kuttab.tune.__doc__ or "") for name in names)


@pytest.mark.slow
def test_a_users_script_is_typed(tmp_path: pathlib.Path) -> None:
    """mypy --strict passes on a script that uses every name, and finds a wrong argument."""
    pytest.importorskip("mypy")
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(SCRIPT)
    bad.write_text(SCRIPT.replace("parallel=2", 'parallel="2"'))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(tmp_path / "cache")]
    fine = subprocess.run([*command, str(good)], capture_output=True, text=True, check=False)
    assert fine.returncode == 0, fine.stdout
    wrong = subprocess.run([*command, str(bad)], capture_output=True, text=True, check=False)
    assert 'Argument "parallel" to "tune" has incompatible type "str"' in wrong.stdout
