"""A warm start with real parts: earlier results survive a kill, take nothing off the budget, and go with their experiment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import kuttab
from kuttab import search
from kuttab.base import errors
from wire import shell

pytestmark = pytest.mark.slow

SPACE = {"x": search.double(-10, 10), "y": search.double(-10, 10)}


def bowl(p: Any) -> float:
    """Least at (2, -3)."""
    return float((p["x"] - 2) ** 2 + (p["y"] + 3) ** 2)


def tune(data: Path, **more: Any) -> kuttab.Result:
    """A quick run in threads."""
    given = {"algorithm": "tpe", "executor": "thread", "progress": False, "data": data, **more}
    return kuttab.tune(bowl, SPACE, **given)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, kuttab.Result]:
    """A finished search, in its data folder."""
    data = tmp_path_factory.mktemp("first")
    return data, tune(data, name="first", algorithm="random", max_trials=25)


def test_every_kind_of_source_starts_the_same_search(first: tuple[Path, kuttab.Result], tmp_path: Path) -> None:
    """A result, a name and a CSV file lead to the same proposals, which differ from a cold start's, and the budget is exact."""
    data, result = first
    result.to_csv(tmp_path / "first.csv")
    runs = [
        [trial.parameters for trial in tune(data, max_trials=4, warm_start=source).trials]
        for source in (result, "first", str(tmp_path / "first.csv"), None)
    ]
    assert runs[0] == runs[1] == runs[2] != runs[3]
    assert [len(run) for run in runs] == [4] * 4


def test_rows_that_do_not_fit_are_told(first: tuple[Path, kuttab.Result], capsys: pytest.CaptureFixture[str]) -> None:
    """With a narrower space the rows outside are refused and counted; with nothing left the run does not start."""
    data, result = first
    narrow = {"x": search.double(-10, 0), "y": search.double(-10, 10)}
    kuttab.tune(bowl, narrow, algorithm="tpe", executor="thread", data=data, max_trials=1, warm_start=result)
    outside = sum(trial.parameters["x"] > 0 for trial in result.trials)
    assert f"{outside} are refused" in capsys.readouterr().out
    with pytest.raises(
        errors.BadInputError, match=r"no row of first can be used; .* has the parameter 'x', which this space lacks"
    ):
        kuttab.tune(bowl, {"z": search.double(0, 1)}, data=data, max_trials=1, progress=False, warm_start=result)
    settings = {"suggestion_trial_dir": "/d", "n_population": 5, "truncation_threshold": 0.2}
    with pytest.raises(errors.BadInputError, match=r"spec\.warmStart"):
        tune(data, max_trials=1, algorithm="pbt", settings=settings, warm_start=result)


PROGRAM = textwrap.dedent("""
    import os, sys, kuttab
    from kuttab import search
    data, source, die = sys.argv[1:]
    done = []
    def bowl(p):
        done.append(p)
        if len(done) == 3 and die == "die":
            os.kill(os.getpid(), 9)
        return (p["x"] - 2) ** 2 + (p["y"] + 3) ** 2
    space = {"x": search.double(-10, 10), "y": search.double(-10, 10)}
    warm = source or None
    result = kuttab.tune(bowl, space, algorithm="tpe", executor="thread", progress=False, data=data, max_trials=6, name="second",
                         resume=True, warm_start=warm)
    for trial in result.trials:
        print(trial.number, sorted(trial.parameters.items()))
""")


def run(data: Path, source: str, die: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(data), source, die],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_earlier_results_survive_a_kill(first: tuple[Path, kuttab.Result], tmp_path: Path) -> None:
    """Killed with -9 in the third trial and resumed without the source: the same trials as in a run that nobody killed."""
    table = tmp_path / "first.csv"
    first[1].to_csv(table)
    killed = run(tmp_path / "a", str(table), "die")
    assert killed.returncode == -signal.SIGKILL
    resumed = run(tmp_path / "a", "", "live")
    whole = run(tmp_path / "b", str(table), "live")
    assert resumed.returncode == whole.returncode == 0, resumed.stderr + whole.stderr
    assert resumed.stdout == whole.stdout
    assert resumed.stdout.count("\n") == 6


def test_earlier_results_go_with_their_experiment(first: tuple[Path, kuttab.Result], tmp_path: Path) -> None:
    """Deleting the experiment deletes the ConfigMap that held what it started from."""
    tune(tmp_path, name="second", max_trials=1, warm_start=first[1])
    command = shell.Shell(tmp_path)
    assert "second-prior-" in command("get", "configmaps", "-o", "name").out
    assert command("delete", "second", "--yes").code == 0
    assert "second-prior-" not in command("get", "configmaps", "-o", "name").out
    assert os.listdir(tmp_path)


def test_a_manifest_may_start_from_a_config_map(first: tuple[Path, kuttab.Result], tmp_path: Path) -> None:
    """spec.warmStart of a manifest is checked before anything runs: the ConfigMap must be there and readable."""
    document = shell.manifest("print('loss=1')", warmStart={"configMapName": "old"})
    done = shell.Shell(tmp_path)("run", shell.write(tmp_path, document))
    assert done.code == 2
    assert "spec.warmStart.configMapName" in done.err
    assert "create it before the experiment" in done.err
