"""``kuttab run`` and its neighbours with real processes: examples, accidents, kills, bad input."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wire.shell import EXAMPLES, Shell, living, manifest, write

GOOD = "import sys; print(f'loss={float(sys.argv[1]):.4f}')"


@pytest.fixture
def kuttab(tmp_path: Path) -> Iterator[Shell]:
    """Commands over a fresh data folder."""
    shell = Shell(tmp_path / "data")
    yield shell
    shell.close()


def wait_for(condition: object, seconds: float = 30) -> None:
    """Wait until something that another process does has happened."""
    limit = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


def test_the_quickstart_runs_and_shows_the_best_trial(kuttab: Shell) -> None:
    """A pipe gets a line per trial, the top trials, and parameters ready to paste; the data is there afterwards."""
    done = kuttab("run", EXAMPLES / "quickstart.yaml")
    assert done.code == 0, done.err
    assert done.out.count("Succeeded") >= 30
    assert "# best trial: quickstart-" in done.out
    assert kuttab("get", "experiments").out.splitlines()[1].split()[:3] == ["quickstart", "Succeeded", "30/30"]
    assert kuttab("best", "quickstart", "-o", "args").out.startswith("--lr=0.0")
    best = kuttab("best", "quickstart", "-o", "json").json
    assert "epoch=10 loss=" in kuttab("logs", best["trial"], "--tail", "1").out


@pytest.mark.parametrize("name", ["file-collector", "article/experiment", "article/experiment-v1alpha2"])
def test_examples_run_to_their_end(kuttab: Shell, name: str) -> None:
    """Every example ends well as it is shipped."""
    options = ["--image", f"*={EXAMPLES / 'article' / 'image'}"] if name.startswith("article") else []
    done = kuttab("run", EXAMPLES / f"{name}.yaml", *options)
    assert done.code == 0, done.out + done.err
    assert "# best trial:" in done.out


@pytest.mark.slow
def test_a_real_training_improves(kuttab: Shell) -> None:
    """Scikit-learn's digits, offline: twelve real trainings reach a good accuracy in under a minute."""
    done = kuttab("run", EXAMPLES / "digits.yaml", "--json")
    assert done.code == 0, done.err
    best = done.json["experiment"]["status"]["currentOptimalTrial"]
    assert float(best["observation"]["metrics"][0]["max"]) > 0.9


def test_the_failing_example_ends_with_code_1_and_says_why(kuttab: Shell) -> None:
    """The experiment fails after exactly three failed trials; explain leads to the exit code and the log."""
    done = kuttab("run", EXAMPLES / "failing.yaml")
    assert done.code == 1
    assert "maxFailedTrialCount is 3" in done.out
    told = kuttab("explain", "failing").out
    assert "exited with code 3" in told
    name = told.split("kuttab logs ")[1].split()[0]
    assert "cannot find the training data" in kuttab("logs", name).out


def test_the_same_command_again_only_shows_a_finished_experiment(kuttab: Shell, tmp_path: Path) -> None:
    """Running a finished experiment again starts nothing; another one of that name is refused with what to do."""
    file = write(tmp_path, manifest(GOOD))
    first = kuttab("run", file, "--json")
    again = kuttab("run", file, "--json")
    assert again.code == 0
    assert [t["metadata"]["uid"] for t in again.json["trials"]] == [t["metadata"]["uid"] for t in first.json["trials"]]
    other = kuttab("run", write(tmp_path, manifest(GOOD + "; print(1)")))
    assert other.code == 2
    assert "kuttab delete e" in other.err


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_it_ends_exactly(kuttab: Shell, tmp_path: Path, seed: int) -> None:
    """kill -9 at random moments, then the same command: the exact budget, every slot once, no orphan process (D01, D05)."""
    marker = f"kuttab-kill-loop-{os.getpid()}-{seed}"
    program = f"import sys, time; time.sleep(0.4); print(f'loss={{float(sys.argv[1]):.4f}}') # {marker}"
    file = write(tmp_path, manifest(program, maxTrialCount=12))
    draw, kills = random.Random(seed), 0
    while True:
        process = kuttab.start("run", file, "--json")
        try:
            _, err = process.communicate(timeout=draw.uniform(0.5, 1.5) if kills < 8 else 120)
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
    assert kills >= 3
    assert process.returncode == 0, err
    trials = kuttab.trials("e")
    slots = sorted(int(t["metadata"]["annotations"]["kuttab.org/slot"]) for t in trials)
    assert slots == list(range(12))
    assert all(t["status"]["conditions"][-1]["type"] == "Succeeded" for t in trials)
    assert living(marker) == []


def test_ctrl_c_keeps_everything_and_names_the_way_on(kuttab: Shell, tmp_path: Path) -> None:
    """One Ctrl-C ends the processes, exits with 130 and names the command that goes on; that one ends exactly."""
    marker = f"kuttab-interrupt-{os.getpid()}"
    program = f"import sys, time; time.sleep(0.3); print(f'loss={{float(sys.argv[1]):.4f}}', flush=True) # {marker}"
    process = kuttab.start("run", write(tmp_path, manifest(program, maxTrialCount=8)))
    wait_for(lambda: living(marker))
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"kuttab resume e" in err
    assert living(marker) == []
    done = kuttab("resume", "e")
    assert done.code == 0, done.err
    assert len(kuttab.trials("e")) == 8


EARLY = """
import asyncio, os, signal, sys
from kuttab.cli.main import main
from kuttab.client.embedded import EmbeddedClient
name = sys.argv.pop(1)
real = getattr(EmbeddedClient, name)
async def interrupted(self, *arguments, **more):
    if name == "settle" and more or name == "create" and arguments[0].kind != "Experiment":
        return await real(self, *arguments, **more)
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(60)
setattr(EmbeddedClient, name, interrupted)
main()
"""


@pytest.mark.parametrize(("when", "words"), [("create", "nothing has been started"), ("settle", "kuttab resume e")])
def test_a_ctrl_c_while_the_experiment_is_stored(tmp_path: Path, when: str, words: str) -> None:
    """Before it is there nothing is kept; after that it is, also when nobody has been told so yet."""
    command = [
        sys.executable,
        "-c",
        EARLY,
        when,
        "run",
        str(write(tmp_path, manifest(GOOD))),
        "--data",
        str(tmp_path / "d"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_ctrl_c_ends_every_process_at_once(kuttab: Shell, tmp_path: Path) -> None:
    """Even programs that ignore SIGTERM with a long grace period are gone when the command is."""
    marker = f"kuttab-impatient-{os.getpid()}"
    program = "import os, signal, time; signal.signal(15, signal.SIG_IGN); open('ready-' + str(os.getpid()), 'w'); "
    program += f"time.sleep(1000) # {marker}"
    document = manifest(program, container={"workingDir": str(tmp_path)})
    pod = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 600
    process = kuttab.start("run", write(tmp_path, document))
    wait_for(lambda: len(list(tmp_path.glob("ready-*"))) == 2)
    os.kill(process.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    wait_for(lambda: not living(marker))


def test_a_deleted_experiment_leaves_nothing(kuttab: Shell, tmp_path: Path) -> None:
    """Trials, metrics and log files go with the experiment; its name is free again."""
    file = write(tmp_path, manifest(GOOD))
    assert kuttab("run", file).code == 0
    assert list(kuttab.data.glob("trials/*/*/*/*.log"))
    assert kuttab("delete", "e", "--yes").code == 0
    assert list(kuttab.data.glob("trials/*/*")) == []
    assert kuttab("get", "trials").out == "No trials.\n"
    connection = sqlite3.connect(kuttab.data / "observations.db")
    assert connection.execute("SELECT count(*) FROM observation_logs").fetchone() == (0,)
    connection.close()
    assert kuttab("run", file).code == 0


def test_a_second_process_is_refused_and_short_commands_reach_the_first(kuttab: Shell, tmp_path: Path) -> None:
    """The data folder has one owner, named in the refusal; stop from another terminal ends the experiment with its best trial."""
    program = "import sys, time; print(f'loss={float(sys.argv[1]):.4f}', flush=True); time.sleep(0.05)"
    process = kuttab.start("run", write(tmp_path, manifest(program, maxTrialCount=100000)))
    wait_for(lambda: "trial/" in kuttab("get", "trials", "e", "-o", "name").out)
    second = kuttab("run", write(tmp_path, manifest(GOOD, name="f"), "f.yaml"))
    assert second.code == 2
    assert str(process.pid) in second.err
    assert kuttab("extend", "e", "--parallel", "1").code == 0
    assert kuttab("stop", "e").code == 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"stopped by its user" in out


def test_pause_and_resume_from_another_terminal(kuttab: Shell, tmp_path: Path) -> None:
    """Paused, no trial starts; resumed in the owner, it ends exactly."""
    gate = tmp_path / "open"  # the trials wait for this file, so the experiment cannot end before it was paused
    program = (
        "import os, sys, time\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.02)\n"
        "print(f'loss={float(sys.argv[1]):.4f}')"
    )
    process = kuttab.start("run", write(tmp_path, manifest(program, maxTrialCount=10)))
    wait_for(lambda: "trial/" in kuttab("get", "trials", "e", "-o", "name").out)
    assert kuttab("pause", "e").code == 0
    gate.touch()
    wait_for(lambda: "Suspended" in kuttab("get", "experiments").out)
    assert "paused" in kuttab("explain", "e").out
    assert len(kuttab.trials("e")) < 10
    assert kuttab("resume", "e").code == 0
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(kuttab.trials("e")) == 10


ACCIDENTS = {
    "no metric": ("print('hello')", "MetricsUnavailable", "was not found"),
    "exit code": ("import sys; sys.exit(7)", "Failed", "code 7"),
    "signal": ("import os; os.kill(os.getpid(), 11)", "Failed", "signal"),
    "10 MB line": ("print('x' * 10_000_000); print('loss=0.5')", "Succeeded", ""),
    "100 MB": ("[print('x' * 1000) for _ in range(100_000)]; print('loss=0.5')", "Succeeded", ""),
    "cut last line": (
        "import sys; sys.stdout.write('loss=0.98\\nloss=0.9'); sys.stdout.flush(); import os; os.kill(os.getpid(), 9)",
        "Failed",
        "",
    ),
    "not finite": ("print('loss=nan')", "Succeeded", ""),
    "grandchild": ("import subprocess; subprocess.Popen(['sleep', '30{pid}']); print('loss=0.5')", "Succeeded", ""),
}


@pytest.mark.parametrize("accident", list(ACCIDENTS))
def test_every_accident_of_a_program_has_its_named_outcome(kuttab: Shell, tmp_path: Path, accident: str) -> None:
    """Whatever the program does, its trial ends in the named state with a message, without a traceback or a left process."""
    program, state, text = ACCIDENTS[accident]
    program = program.replace("{pid}", str(os.getpid()))
    done = kuttab("run", write(tmp_path, manifest(program, maxTrialCount=1, parallelTrialCount=1)))
    assert "Traceback" not in done.err
    (trial,) = kuttab.trials("e")
    last = trial["status"]["conditions"][-1]
    assert last["type"] == state, last
    assert text in last["message"]
    assert living(f"sleep 30{os.getpid()}") == []


def test_a_hanging_program_that_ignores_sigterm_is_ended_at_its_deadline(kuttab: Shell, tmp_path: Path) -> None:
    """activeDeadlineSeconds ends the whole group, by force if need be (D23)."""
    marker = f"kuttab-hang-{os.getpid()}"
    program = f"import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000) # {marker}"
    document = manifest(program, maxTrialCount=1, parallelTrialCount=1)
    document["spec"]["trialTemplate"]["trialSpec"]["spec"]["activeDeadlineSeconds"] = 1
    kuttab("run", write(tmp_path, document))
    (trial,) = kuttab.trials("e")
    assert "DeadlineExceeded" in trial["status"]["conditions"][-1]["reason"]
    assert living(marker) == []


BAD_FILES = {
    "missing": (None, "cannot be read"),
    "empty": ("", "experiment.yaml"),
    "binary": ("\x00\x01\x02", "experiment.yaml"),
    "not yaml": ("a: [1, 2", "experiment.yaml:"),
    "not an experiment": ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {}\n", "Experiment"),
    "a list": ("- 1\n- 2\n", "experiment.yaml"),
    "a typo": ("TYPO", "did you mean maxTrialCount"),
    "an unknown algorithm": ("ALGORITHM", "did you mean random"),
}


@pytest.mark.parametrize("case", list(BAD_FILES))
def test_bad_files_get_a_clear_message_and_code_2(kuttab: Shell, tmp_path: Path, case: str) -> None:
    """The message names the file (and line) and the fix; no traceback, nothing stored."""
    text, said = BAD_FILES[case]
    document = manifest(GOOD)
    if text == "TYPO":
        document["spec"]["maxTrailCount"] = 3
    if text == "ALGORITHM":
        document["spec"]["algorithm"] = {"algorithmName": "randm"}
    file = tmp_path / "experiment.yaml"
    if text is not None:
        write(tmp_path, document if text.isupper() else text)
    for command in ("run", "validate"):
        done = kuttab(command, file)
        if case == "not an experiment" and command == "validate":
            assert done.code == 0
            continue
        assert done.code == 2, done.out
        assert said in done.err
        assert "Traceback" not in done.err


def test_a_missing_program_says_where_it_was_looked_for(kuttab: Shell, tmp_path: Path) -> None:
    """A command that does not exist fails the trial with its name and what to set."""
    done = kuttab(
        "run",
        write(
            tmp_path,
            manifest(
                GOOD,
                container={"command": ["no-such-program-here", "${trialParameters.x}"]},
                maxTrialCount=1,
                parallelTrialCount=1,
                maxFailedTrialCount=0,
            ),
        ),
    )
    assert done.code == 1, done.err
    assert "no-such-program-here" in kuttab("explain", "e").out


@pytest.mark.parametrize("damage", ["garbage", "newer"])
def test_a_damaged_database_is_refused_and_left_alone(kuttab: Shell, tmp_path: Path, damage: str) -> None:
    """Never started fresh over: the file stays as it is and the message names it (D14)."""
    file = write(tmp_path, manifest(GOOD))
    assert kuttab("run", file).code == 0
    database = kuttab.data / "objects.db"
    if damage == "garbage":
        database.write_bytes(b"this is no database" * 100)
    else:
        connection = sqlite3.connect(database)
        connection.execute("PRAGMA user_version = 9999")
        connection.close()
    before = database.read_bytes()
    done = kuttab("run", file)
    assert done.code == 2
    assert "objects.db" in done.err
    assert "Traceback" not in done.err
    assert database.read_bytes() == before


@pytest.mark.parametrize("way", ["the terminal is closed", "the reader is gone"])
def test_a_run_that_loses_its_terminal_or_reader_is_left_in_order(kuttab: Shell, tmp_path: Path, way: str) -> None:
    """SIGHUP and a closed pipe end the processes, keep the state and name the way on, without a traceback (D07)."""
    marker = f"kuttab-alone-{os.getpid()}"
    program = f"import sys, time; time.sleep(0.2); print(f'loss={{float(sys.argv[1]):.4f}}', flush=True) # {marker}"
    process = kuttab.start("run", write(tmp_path, manifest(program, maxTrialCount=8)))
    wait_for(lambda: living(marker))
    if way == "the terminal is closed":
        os.kill(process.pid, signal.SIGHUP)
    else:
        process.stdout.close()  # type: ignore[union-attr]
        process.stdout = None
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert b"kuttab resume e" in err
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err
    assert living(marker) == []
    assert kuttab("resume", "e").code == 0
    assert len(kuttab.trials("e")) == 8


def test_piped_into_head_it_ends_quietly(kuttab: Shell) -> None:
    """A reader that goes away is no error (D07)."""
    assert kuttab("algorithms").code == 0
    process = kuttab.start("algorithms")
    process.stdout.close()  # type: ignore[union-attr]
    process.stdout = None
    _, err = process.communicate(timeout=30)
    assert b"Traceback" not in err
