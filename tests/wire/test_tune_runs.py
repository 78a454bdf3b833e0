"""``kuttab.tune`` as people call it: real workers, a real store."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import threading
import time
from typing import Any

import pytest

import kuttab
from kuttab import search
from kuttab.api.history import TrialState
from kuttab.base import errors

SPACE = {"x": search.double(-10, 10), "k": search.int(1, 4), "c": search.categorical([None, True, 3])}
LINE = {"x": search.double(0, 1)}

pytestmark = pytest.mark.slow


def tune(function: Any, space: Any = LINE, **more: Any) -> kuttab.Result:
    """With what every test wants."""
    return kuttab.tune(function, space, **{"algorithm": "random", "progress": False, **more})


def test_typed_parameters_and_metrics(tmp_path: pathlib.Path) -> None:
    """Parameters arrive with their Python types; every metric returned or reported is kept."""

    def objective(p: Any) -> dict[str, float]:
        assert isinstance(p["x"], float)
        assert isinstance(p.k, int)
        assert p["c"] in (None, True, 3)
        kuttab.report(loss=p.k)
        return {"accuracy": p["x"], "size": 3}

    result = tune(
        objective, SPACE, objective_metric="accuracy", direction="maximize", max_trials=8, parallel=2, data=tmp_path
    )
    assert result.counts() == {TrialState.SUCCEEDED: 8}
    assert result.best.value == max(trial.parameters["x"] for trial in result.trials)
    assert set(result.best.metrics) == {"accuracy", "size", "loss"}
    assert result.best.trial.curves()["loss"] == ((0, float(result.best.parameters["k"])),)


def test_seed_repeats_the_run(tmp_path: pathlib.Path) -> None:
    """The same seed gives the same parameters, another seed gives others."""
    runs = [
        [
            trial.parameters
            for trial in tune(lambda p: p["x"], max_trials=5, seed=seed, data=tmp_path, executor="thread").trials
        ]
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_outcome_classes(tmp_path: pathlib.Path) -> None:
    """Each way to fail has its class on the trial, its words in the message, and costs no other trial."""

    def objective(p: Any) -> Any:
        way = p["way"]
        if way == "raise":
            raise ValueError("boom")
        if way == "memory":
            raise MemoryError
        if way == "nan":
            return float("nan")
        if way == "none":
            return None
        if way == "text":
            return "abc"
        if way == "other":
            return {"loss": 1.0}
        if way == "exit":
            raise SystemExit(3)
        if way == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        if way == "hang":
            time.sleep(60)
        return 1.0

    ways = ["raise", "memory", "nan", "none", "text", "other", "exit", "segv", "hang", "good"]
    result = tune(
        objective,
        {"way": search.categorical(ways)},
        algorithm="grid",
        max_trials=10,
        parallel=2,
        trial_timeout=2,
        data=tmp_path,
    )
    found = {trial.parameters["way"]: trial for trial in result.trials}
    assert {way: trial.reason for way, trial in found.items()} == {
        "raise": "UserError", "memory": "OutOfMemory", "nan": "NonFinite", "none": "UserError", "text": "UserError",
        "other": "UserError", "exit": "UserError", "segv": "UserError", "hang": "DeadlineExceeded", "good": "",
    }  # fmt: skip
    assert "ValueError: boom\nTraceback (most recent call last):" in found["raise"].message
    assert "in objective" in found["raise"].message
    assert "longer than 2 s" in found["hang"].message
    assert "SIGSEGV" in found["segv"].message
    assert "without" in found["other"].message or "only loss" in found["other"].message
    assert result.best.value == 1.0


def test_output_of_trials_is_kept_apart(tmp_path: pathlib.Path) -> None:
    """What a trial prints, in Python or below it, is in its own log; a silent trial has none."""

    def objective(p: Any) -> float:
        if p["x"] > 0.3:
            print("python", p["x"])  # noqa: T201
            os.system(f"echo shell {p['x']}")
        elif p["x"] > 0.15:
            os.write(1, b"bytes")
        return float(p["x"])

    result = tune(objective, max_trials=12, parallel=2, data=tmp_path)
    for trial in result.trials:
        x, folder = trial.parameters["x"], tmp_path / "trials" / "default" / trial.name
        logs = [path.read_text() for path in folder.glob("*/*.log")]
        expected = [f"python {x}\nshell {x}\n"] if x > 0.3 else ["bytes"] if x > 0.15 else []
        assert logs == expected


def test_running_event_loop(tmp_path: pathlib.Path) -> None:
    """It works where an event loop runs already, as in a notebook."""

    async def cell() -> kuttab.Result:
        return tune(lambda p: p["x"], max_trials=3, data=tmp_path)

    assert len(asyncio.run(cell()).trials) == 3


def test_two_at_once_in_one_process(tmp_path: pathlib.Path) -> None:
    """Two calls over one data folder share a machine and end with their own budgets."""
    found: dict[int, kuttab.Result] = {}

    def call(number: int) -> None:
        found[number] = tune(lambda p: p["x"] + number, max_trials=10 + number, parallel=2, data=tmp_path)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(found[number].trials) for number in range(2)] == [10, 11]
    assert found[1].best.value >= 1


@pytest.mark.parametrize("executor", ["thread", "inline"])
def test_other_executors(tmp_path: pathlib.Path, executor: str) -> None:
    """Threads and the caller's own thread run what no process could take: an open lock, local state."""
    lock, seen = threading.Lock(), []

    def objective(p: Any) -> float:
        with lock:
            seen.append(threading.current_thread() is threading.main_thread())
        if p["x"] > 0.8:
            raise ValueError("high")
        kuttab.report(objective=p["x"])
        return float(p["x"])

    result = tune(objective, max_trials=6, data=tmp_path, executor=executor)
    assert seen == [executor == "inline"] * 6
    assert all((trial.reason == "UserError") == (trial.parameters["x"] > 0.8) for trial in result.trials)


def test_reports_lose_nothing(tmp_path: pathlib.Path) -> None:
    """Ten thousand reports of one trial are all stored, once, in order."""

    def objective(p: Any) -> None:
        for step in range(10_000):
            kuttab.report(step, objective=step)

    result = tune(objective, max_trials=1, data=tmp_path)
    curve = result.trials[0].curves()
    assert [value for _, value in curve["objective"]] == list(range(10_000))
    assert len(curve["step"]) == 10_000
    assert result.best.value == 9999


def test_early_stopping(tmp_path: pathlib.Path) -> None:
    """Trials worse than the median are stopped, by asking or by the next report, and end as EarlyStopped with what they reported."""

    def objective(p: Any) -> float:
        for step in range(1, 20):
            kuttab.report(step, objective=p["x"] * 100 + step)
            if p["polite"] and kuttab.should_stop():
                raise kuttab.EarlyStopped
        return float(p["x"])

    result = tune(
        objective, {**LINE, "polite": search.boolean()}, max_trials=24, data=tmp_path,
        early_stopping={"name": "median", "min_trials_required": 3, "start_step": 2},
    )  # fmt: skip
    stopped = [trial for trial in result.trials if trial.state is TrialState.EARLY_STOPPED]
    assert {trial.parameters["polite"] for trial in stopped} == {True, False}
    assert all(trial.value is not None and len(trial.curve) < 19 for trial in stopped)
    assert result.trials[0].state is TrialState.SUCCEEDED


def test_goal_and_timeout_end_the_run(tmp_path: pathlib.Path) -> None:
    """A run ends at its goal, and at its time, and says so."""
    reached = tune(lambda p: p["x"], goal=0.9, max_trials=1000, data=tmp_path)
    assert reached.best.value <= 0.9
    assert len(reached.trials) < 1000

    def slow(p: Any) -> float:
        time.sleep(0.2)
        return float(p["x"])

    late = tune(slow, max_trials=None, timeout=1.5, data=tmp_path)
    assert 1 <= len(late.trials) < 30
    assert {trial.state for trial in late.trials} <= {TrialState.SUCCEEDED, TrialState.KILLED}


def test_resume_raises_the_budget(tmp_path: pathlib.Path) -> None:
    """A finished experiment goes on with a larger budget, keeps its trials, and answers at once without one."""
    first = tune(lambda p: p["x"], max_trials=4, name="mine", data=tmp_path)
    again = tune(lambda p: p["x"], max_trials=4, name="mine", data=tmp_path, resume=True)
    more = tune(lambda p: p["x"], max_trials=7, name="mine", data=tmp_path, resume=True)
    assert again.trials == first.trials
    assert more.trials[:4] == first.trials
    assert len(more.trials) == 7


def test_progress_callback(tmp_path: pathlib.Path) -> None:
    """A callback hears of counts and the best so far, in the caller's thread, up to the end."""
    heard: list[kuttab.Progress] = []
    tune(lambda p: p["x"], max_trials=5, name="told", data=tmp_path, progress=heard.append)
    assert (heard[-1].name, heard[-1].finished, heard[-1].total) == ("told", 5, 5)
    assert heard[-1].best_parameters["x"] == heard[-1].best_value


def test_text_progress_shows_the_first_failure(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal a few lines tell what happens; the first failure comes with its traceback."""

    def objective(p: Any) -> float:
        raise RuntimeError("no luck")

    result = tune(objective, max_trials=3, data=tmp_path, progress="auto")
    out = capsys.readouterr().out
    assert out.count("RuntimeError: no luck") == 2  # the line, and the end of the traceback
    assert "3/3 trials" in out
    with pytest.raises(errors.NotFoundError, match="no luck"):
        _ = result.best


def test_retry_keeps_parameters_and_budget(tmp_path: pathlib.Path) -> None:
    """A worker killed from outside is replaced and its trial run again with the same parameters, as often as asked for."""
    marks = tmp_path / "marks"
    marks.mkdir()

    def objective(p: Any) -> float:
        mark = marks / repr(p["x"])
        with mark.open("a") as file:
            file.write("x")
        if len(mark.read_text()) <= 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(p["x"])

    result = tune(objective, max_trials=4, parallel=2, data=tmp_path / "data")
    assert result.counts() == {TrialState.SUCCEEDED: 4}
    assert {path.name: path.read_text() for path in marks.iterdir()} == {
        repr(trial.parameters["x"]): "xxx" for trial in result.trials
    }


def test_hundred_killed_workers(tmp_path: pathlib.Path) -> None:
    """A hundred workers killed with -9 in one run: every trial ends well in the end, nothing is lost."""
    count = tmp_path / "count"

    def objective(p: Any) -> float:
        with count.open("ab") as file:
            file.write(b"x")
        if count.stat().st_size <= 100:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(p["x"])

    result = tune(objective, max_trials=5, parallel=2, retry={"infrastructure": 200}, data=tmp_path / "data")
    assert result.counts() == {TrialState.SUCCEEDED: 5}
    assert count.stat().st_size == 105


def test_infrastructure_failure_without_retry(tmp_path: pathlib.Path) -> None:
    """Without retries a killed worker fails its trial as Infrastructure."""

    def objective(p: Any) -> float:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0.0

    result = tune(objective, max_trials=2, retry={}, data=tmp_path)
    assert [trial.reason for trial in result.trials] == ["Infrastructure"] * 2


def test_reproducible_under_random_delays(tmp_path: pathlib.Path) -> None:
    """With reproducible=True a learning algorithm proposes the same parameters, in parallel and whatever the timing."""

    def run(label: str) -> list[dict[str, Any]]:
        def objective(p: Any) -> float:
            time.sleep(int.from_bytes(os.urandom(1), "big") / 3000)
            return float((p["x"] - 0.3) ** 2)

        result = tune(
            objective,
            algorithm="tpe",
            max_trials=24,
            parallel=4,
            reproducible=True,
            name=label,
            data=tmp_path,
            executor="thread",
        )
        return [trial.parameters for trial in result.trials]

    assert run("one") == run("two")
