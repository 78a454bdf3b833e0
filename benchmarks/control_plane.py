"""What the control plane costs: ``make bench``, or ``python benchmarks/control_plane.py [--trials 3000] [--nap]``.

1. No-op trials as processes against a bare ``subprocess`` loop over the same command at the same parallelism, in turns in one run.
2. CPU of the control plane per trial, first 500 against last 500, and memory growth, in one experiment of thousands of trials.
3. With ``--nap`` alone: no-op trials with and without the nap after the end of a child (``node/watchers.py``), in turns.
4. ``kuttab --help``, the time from ``kuttab run`` to the first trial's process, CPU of an idle runtime.

Each line ends with the target and whether it was met; figures of a loaded machine mislead, so the load is printed first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent import futures
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from kuttab.api import experiment, kinds
from kuttab.wiring import following, machine
from kuttab.wiring import settings as settings_

PARALLEL = 2
WINDOW = 500


def manifest(trials: int, command: list[str], name: str = "bench") -> dict[str, Any]:
    """An experiment over one double whose trials run a command."""
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random", "algorithmSettings": [{"name": "random_state", "value": "1"}]},
            "parallelTrialCount": PARALLEL,
            "maxTrialCount": trials,
            "maxFailedTrialCount": trials,
            "parameters": [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {
                        "backoffLimit": 0,
                        "template": {
                            "spec": {
                                "restartPolicy": "Never",
                                "containers": [{"name": "main", "image": "local", "command": command}],
                            }
                        },
                    },
                },
            },
        },
    }


async def run(root: Path, trials: int, command: list[str], watch: Any = None) -> float:
    """Seconds of wall time from an empty data folder to the experiment's end, start-up and shutdown included.

    The folder, made in ``root``, is left there: some file systems make files slowly for a minute after many were removed.
    """
    folder = Path(tempfile.mkdtemp(dir=root))
    started = time.perf_counter()
    async with machine.running(settings_.Settings(folder)) as world:
        subject = await world.objects.create(kinds.load(manifest(trials, command)))
        assert isinstance(subject, experiment.Experiment)
        async for step in following.follow(world, subject):
            if watch is not None:
                watch(step.finished)
    return time.perf_counter() - started


def bare(trials: int, command: list[str]) -> float:
    """Seconds of the same commands from a plain loop, output captured."""
    started = time.perf_counter()
    with futures.ThreadPoolExecutor(PARALLEL) as pool:
        done = pool.map(lambda _: subprocess.run(command, check=True, stdout=subprocess.PIPE), range(trials))
        assert len(list(done)) == trials
    return time.perf_counter() - started


def verdict(good: bool) -> str:
    return "met" if good else "MISSED"


def noop(root: Path, rounds: int) -> None:
    programs = {
        "python": [sys.executable, "-c", "import sys; print('loss=' + sys.argv[1])"],
        "echo": ["/bin/sh", "-c", "echo loss=$0"],
    }
    for name, program in programs.items():
        ours, theirs = [], []
        for _ in range(rounds):
            theirs.append(bare(300, [*program, "0.5"]))
            ours.append(asyncio.run(run(root, 300, [*program, "${trialParameters.x}"])))
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(
            f"300 no-op trials ({name}), {PARALLEL} at a time: kuttab {statistics.median(ours):.2f} s,"
            f" bare subprocess loop {statistics.median(theirs):.2f} s, ratio {ratio:.2f}"
            + (f" (target 2: {verdict(ratio <= 2)})" if name == "python" else " (no target: what is left is overhead)")
        )


def nap(root: Path, rounds: int) -> None:
    """What the shortest sleep before an end is told saves on a machine whose processors are all busy."""
    command = [sys.executable, "-c", "import sys; print('loss=' + sys.argv[1])", "${trialParameters.x}"]
    asyncio.run(run(root, PARALLEL, command))
    with_it, without = [], []
    for _ in range(rounds):
        with_it.append(asyncio.run(run(root, 300, command)))
        with mock.patch.object(os, "sched_getaffinity", return_value=range(10**6)):
            without.append(asyncio.run(run(root, 300, command)))
    ratio = statistics.median(with_it) / statistics.median(without)
    print(
        f"300 no-op trials, {PARALLEL} at a time: {statistics.median(with_it):.2f} s with the nap,"
        f" {statistics.median(without):.2f} s without, ratio {ratio:.2f}"
    )


def growth(root: Path, trials: int) -> None:
    process = psutil.Process()
    marks: dict[int, tuple[float, int]] = {}

    def watch(finished: int) -> None:
        for mark in (0, WINDOW, trials - WINDOW, trials):
            if finished >= mark and mark not in marks:
                marks[mark] = (time.process_time(), process.memory_info().rss)

    seconds = asyncio.run(run(root, trials, ["/bin/sh", "-c", "echo loss=$0", "${trialParameters.x}"], watch))
    first = (marks[WINDOW][0] - marks[0][0]) / WINDOW * 1000
    last = (marks[trials][0] - marks[trials - WINDOW][0]) / WINDOW * 1000
    memory = (marks[trials][1] - marks[WINDOW][1]) / (trials - WINDOW) / 1024
    print(f"{trials} trials in one experiment: {seconds:.1f} s, {trials / seconds:.0f} trials/s")
    print(
        f"  control-plane CPU per trial: first {WINDOW} {first:.2f} ms, last {WINDOW} {last:.2f} ms, ratio {last / first:.2f}"
        f" (target 1.2: {verdict(last / first <= 1.2)})"
    )
    print(f"  memory growth: {memory:.2f} KB a trial (target 2: {verdict(memory < 2)})")


def starts(root: Path, rounds: int) -> None:
    kuttab = [sys.executable, "-m", "kuttab"]

    def timed(command: list[str]) -> float:
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    spent = statistics.median(timed([*kuttab, "--help"]) for _ in range(rounds * 3))
    print(f"kuttab --help: {spent:.2f} s (target 0.3: {verdict(spent < 0.3)})")
    waits, idles = [], []
    for _ in range(rounds):
        wait, idle = first_process(kuttab, Path(tempfile.mkdtemp(dir=root)))
        waits.append(wait)
        idles.append(idle)
    wait, idle = statistics.median(waits), statistics.median(idles)
    print(f"kuttab run to the first trial's process: {wait:.2f} s (target 1: {verdict(wait < 1)})")
    print(
        f"CPU of a runtime that waits for a sleeping trial: {idle:.2f} % of a core (target 0.5: {verdict(idle < 0.5)})"
    )


def first_process(kuttab: list[str], folder: Path) -> tuple[float, float]:
    """Seconds until the first trial's process started; percent of a core used while its trials sleep."""
    import yaml

    script = f"f=`mktemp {folder}/s.XXXXXX`; date +%s.%N > $f; mv $f {folder}/started; sleep 60; echo loss=$0"
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(manifest(PARALLEL, ["/bin/sh", "-c", script, "${trialParameters.x}"])))
    begun = time.time()
    process = subprocess.Popen(
        [*kuttab, "run", str(file), "--data", str(folder / "data")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (folder / "started").exists():
            time.sleep(0.005)
        started = float((folder / "started").read_text())
        time.sleep(1.5)
        seen = psutil.Process(process.pid)
        before = seen.cpu_times()
        time.sleep(5)
        after = seen.cpu_times()
        idle = (after.user + after.system - before.user - before.system) / 5 * 100
    finally:
        process.terminate()
        process.wait()
    return started - begun, idle


def main() -> None:
    parser = argparse.ArgumentParser(description="What the control plane costs.")
    parser.add_argument("--trials", type=int, default=3000, help="size of the large experiment; 0 leaves it out")
    parser.add_argument(
        "--rounds", type=int, default=5, help="repetitions of the small measurements; medians are shown"
    )
    parser.add_argument("--nap", action="store_true", help="measure the nap after the end of a child and nothing else")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if options.nap:
            nap(root, options.rounds)
            return
        starts(root, options.rounds)
        noop(root, options.rounds)
        if options.trials:
            growth(root, options.trials)


if __name__ == "__main__":
    main()
