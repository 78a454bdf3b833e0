"""What may go wrong around ``kuttab.tune``: bad input, kills, interrupts, other processes, a full disk."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

import psutil
import pytest

import kuttab
from kuttab import search
from kuttab.base import errors

LINE = {"x": search.double(0, 1)}

pytestmark = pytest.mark.slow

HEAD = """
import json, os, pathlib, sys, time
import kuttab
from kuttab import search
data = sys.argv[1]
"""


def start(folder: pathlib.Path, body: str, *arguments: object, **more: Any) -> subprocess.Popen[str]:
    """Run a script in a process of its own."""
    path = folder / f"script-{time.monotonic_ns()}.py"
    path.write_text(HEAD + textwrap.dedent(body))
    words = [sys.executable, str(path), str(folder / "data"), *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, **more)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its exit code and what it printed."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def wait_for(condition: Any, seconds: float = 60) -> None:
    """Until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"function": 3}, "must be a function"),
        ({"function": lambda: 1}, "cannot be called with one argument"),
        ({"function": lambda p, lock: 1}, "cannot be called with one argument"),
        ({"space": {}}, "space: it is empty"),
        ({"space": {"x": 3}}, "parameter 'x'"),
        ({"algorithm": "rnadom"}, "random"),
        ({"settings": {"sede": 1}}, "sede"),
        ({"direction": "up"}, "direction"),
        ({"parallel": 0}, "parallel: expected a whole number from 1, got 0"),
        ({"max_trials": -1}, "max_trials"),
        ({"max_trials": None}, "it would never end"),
        ({"timeout": 0}, "timeout"),
        ({"goal": float("nan")}, "goal"),
        ({"executor": "gpu"}, "executor"),
        ({"retry": {"bad luck": 1}}, "retry"),
        ({"resume": True}, "resume"),
        ({"name": "Bad Name"}, "name"),
        ({"early_stopping": "medain"}, "median"),
        ({"progress": 3}, "progress"),
    ],
)
def test_bad_arguments(tmp_path: pathlib.Path, changes: dict[str, Any], message: str) -> None:
    """Every bad argument is one line that names it, before anything is started."""
    given: dict[str, Any] = {
        "function": lambda p: 1.0,
        "space": LINE,
        "algorithm": "random",
        "data": tmp_path,
        "progress": False,
    }
    given |= changes
    with pytest.raises(errors.BadInputError, match=message) as problem:
        kuttab.tune(given.pop("function"), given.pop("space"), **given)
    assert "\n" not in problem.value.message
    assert not list(tmp_path.glob("trials/*/*"))


def test_invalid_range() -> None:
    """A dimension whose range is upside down is refused where it is written."""
    with pytest.raises(errors.BadInputError, match=r"low 3\.0 is greater than high 1\.0"):
        search.double(3, 1)


def test_unpicklable_function(tmp_path: pathlib.Path) -> None:
    """A function that cannot go to another process is refused with the way out."""
    lock = __import__("threading").Lock()

    def objective(p: Any) -> float:
        with lock:
            return float(p["x"])

    with pytest.raises(errors.BadInputError, match="executor='thread'"):
        kuttab.tune(objective, LINE, data=tmp_path, progress=False)


def test_same_name_twice(tmp_path: pathlib.Path) -> None:
    """A name that is taken is refused, and so is going on with another search under it."""

    def run(space: Any = LINE, **more: Any) -> kuttab.Result:
        return kuttab.tune(
            lambda p: 1.0, space, max_trials=1, name="taken", data=tmp_path, progress=False, executor="thread", **more
        )

    run()
    with pytest.raises(errors.BadInputError, match="'taken' is there already; pass resume=True"):
        run()
    with pytest.raises(errors.BadInputError, match="space: experiment 'taken' was started with another one"):
        run({"y": search.double(0, 1)}, resume=True)
    for changes, word in (
        ({"goal": 0.5}, "goal"),
        ({"trial_timeout": 3}, "trial_timeout"),
        ({"seed": 9}, "seed"),
        ({"retry": {}}, "retry"),
    ):
        with pytest.raises(errors.BadInputError, match=f"{word}.*: experiment 'taken' was started with another one"):
            run(resume=True, **changes)
    assert len(run(resume=True).trials) == 1


def test_kill_and_resume(tmp_path: pathlib.Path) -> None:
    """A kill -9 of the whole process in the middle: no worker is left, and resume=True ends with the exact budget."""
    body = """
    def objective(p):
        with open(data + "-calls", "a") as file:
            print(os.getpid(), file=file)
        time.sleep(0.05)
        return p["x"]
    result = kuttab.tune(objective, {"x": search.double(0, 1)}, algorithm="random", max_trials=40, parallel=2, name="run", data=data,
                         resume=True, progress=False)
    print(json.dumps([[t.number, t.parameters["x"], t.value, t.state] for t in result.trials]))
    """
    calls = tmp_path / "data-calls"
    for wanted in (8, 20):
        process = start(tmp_path, body)
        wait_for(lambda wanted=wanted: calls.exists() and len(calls.read_text().split()) >= wanted)
        process.kill()
        process.communicate()
    workers = {int(word) for word in calls.read_text().split()}
    wait_for(lambda: not any(map(psutil.pid_exists, workers)), 10)
    code, out, err = finish(start(tmp_path, body))
    assert code == 0, err
    trials = json.loads(out)
    assert [number for number, *_ in trials] == list(range(40))
    assert all(state == "Succeeded" and x == value for _, x, value, state in trials)
    assert len({x for _, x, *_ in trials}) == 40


def test_interrupt_returns_what_there_is(tmp_path: pathlib.Path) -> None:
    """Ctrl-C returns the trials so far at once, ends the workers, and the run goes on later."""
    body = """
    def objective(p):
        pathlib.Path(data + "-began").touch()
        if p["x"] > 0.5 and not pathlib.Path(data + "-fast").exists():
            time.sleep(60)
        return p["x"]
    result = kuttab.tune(objective, {"x": search.double(0, 1)}, algorithm="random", max_trials=12, parallel=2, name="run", data=data,
                         resume=True, progress=False)
    print(json.dumps([t.state for t in result.trials]))
    """
    process = start(tmp_path, body)
    wait_for((tmp_path / "data-began").exists)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code, out, err = finish(process)
    assert code == 0, err
    assert time.monotonic() - began < 20
    assert "Running" in json.loads(out) or "Pending" in json.loads(out)
    (tmp_path / "data-fast").touch()
    code, out, err = finish(start(tmp_path, body))
    assert code == 0, err
    assert json.loads(out) == ["Succeeded"] * 12


def test_second_process_is_told_who_owns_the_folder(tmp_path: pathlib.Path) -> None:
    """Two processes cannot use one data folder: the second gets one line that names the first; with another folder it works."""
    body = """
    def objective(p):
        pathlib.Path(data + "-began").touch()
        while not pathlib.Path(data + "-go").exists():
            time.sleep(0.02)
        return p["x"]
    kuttab.tune(objective, {"x": search.double(0, 1)}, max_trials=2, data=data, progress=False)
    """
    process = start(tmp_path, body)
    wait_for((tmp_path / "data-began").exists)
    with pytest.raises(errors.LockedError, match=str(process.pid)) as problem:
        kuttab.tune(lambda p: p["x"], LINE, max_trials=1, data=tmp_path / "data", progress=False)
    assert "\n" not in problem.value.message
    assert len(kuttab.tune(lambda p: p["x"], LINE, max_trials=2, data=tmp_path / "other", progress=False).trials) == 2
    (tmp_path / "data-go").touch()
    code, _, err = finish(process)
    assert code == 0, err


def test_from_the_command_line(tmp_path: pathlib.Path) -> None:
    """``python -c`` works, and the commands see what it did: experiments, trials, logs."""
    words = """
import kuttab
from kuttab import search
def f(p):
    print("seen", p["x"])
    return p["x"]
kuttab.tune(f, {"x": search.double(0, 1)}, max_trials=3, name="short", progress=False)
"""
    environment = {**os.environ, "KUTTAB_HOME": str(tmp_path), "NO_COLOR": "1", "COLUMNS": "200"}
    subprocess.run([sys.executable, "-c", words], check=True, env=environment, timeout=120)

    def shown(*arguments: str) -> str:
        command = [sys.executable, "-m", "kuttab", *arguments]
        return subprocess.run(command, check=True, env=environment, capture_output=True, text=True, timeout=60).stdout

    assert "short" in shown("get", "experiments")
    name = next(line.split()[0] for line in shown("get", "trials").splitlines() if line.startswith("short-"))
    assert "Succeeded" in shown("describe", "short")
    assert shown("logs", name).startswith("seen 0.")


def test_full_disk(tmp_path: pathlib.Path) -> None:
    """A disk that takes nothing more ends the call with one line; with room again the run goes on to its exact budget."""
    body = """
    import resource, signal
    from kuttab.base import errors
    from kuttab.wiring import tuning
    tuning._PATIENCE = 1.0
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    def objective(p):
        time.sleep(0.01)
        return p["x"]
    def full(progress):
        if progress.finished >= 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    def run(**more):
        return kuttab.tune(objective, {"x": search.double(0, 1)}, algorithm="random", max_trials=300, parallel=2, name="run",
                           data=data, **more)
    try:
        run(progress=full)
    except errors.UnavailableError as problem:
        print(problem.message)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    result = run(resume=True, progress=False)
    print(len(result.trials), {str(t.state) for t in result.trials})
    """
    code, out, err = finish(start(tmp_path, body))
    assert code == 0, err
    first, last = out.splitlines()
    assert "cannot be stored" in first
    assert "resume=True" in first
    assert last == "300 {'Succeeded'}"
