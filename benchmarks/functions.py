"""Trials at the speed of functions: no-op functions a second, here and in peers; what a report costs; memory of a long experiment.

    python benchmarks/functions.py             ratios, medians of five
    python benchmarks/functions.py --large     20,000 trials in one experiment: time, memory, first page
    python benchmarks/functions.py --reports   cost of kuttab.report
    python benchmarks/functions.py --idle      idle time that reproducible=True costs, simulated

Every measurement runs in a process of its own, peers in turn with us, so that a busy machine is busy for all. Slower peers run
fewer trials: their rate hardly depends on the number. Everything runs two trials at a time, random search, with results on disk as each
does it by default (Optuna: SQLite storage; Syne Tune and Ray Tune: their local folders). Peers that do not install are skipped, with
the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import io
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

PEERS = {"kuttab": 2000, "optuna": 400, "ray": 60, "syne-tune": 12}
"""Trials of each."""


def nothing(p: Any) -> float:
    return float(p["x"])


def run_kuttab(trials: int, folder: str) -> float:
    import kuttab
    from kuttab import search

    start = time.perf_counter()
    result = kuttab.tune(
        nothing,
        {"x": search.double(0, 1)},
        algorithm="random",
        max_trials=trials,
        parallel=2,
        data=folder,
        progress=False,
    )
    seconds = time.perf_counter() - start
    assert len(result.trials) == trials
    assert all(trial.usable for trial in result.trials)
    return seconds


def run_optuna(trials: int, folder: str) -> float:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    start = time.perf_counter()
    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=trials, n_jobs=2)
    seconds = time.perf_counter() - start
    assert len(study.trials) == trials
    return seconds


def run_ray(trials: int, folder: str) -> float:
    import os

    os.environ["RAY_DEDUP_LOGS"] = "0"
    import ray
    from ray import tune

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    start = time.perf_counter()  # the cluster's start is not counted
    tuner = tune.Tuner(
        lambda config: {"objective": config["x"]},
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=2, metric="objective", mode="min"),
        run_config=tune.RunConfig(storage_path=folder, verbose=0),
    )
    results = tuner.fit()
    seconds = time.perf_counter() - start
    assert len(results) == trials
    return seconds


def run_syne_tune(trials: int, folder: str) -> float:
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.config_space import uniform
    from syne_tune.optimizer.baselines import RandomSearch

    script = pathlib.Path(folder) / "train.py"
    script.write_text(
        "import argparse\nfrom syne_tune import Reporter\np = argparse.ArgumentParser()\np.add_argument('--x', type=float)\n"
        "p.add_argument('--st_checkpoint_dir', default='')\nReporter()(objective=p.parse_known_args()[0].x)\n"
    )
    start = time.perf_counter()
    tuner = Tuner(
        trial_backend=LocalBackend(entry_point=str(script)),
        scheduler=RandomSearch({"x": uniform(0, 1)}, metrics=["objective"]),
        stop_criterion=StoppingCriterion(max_num_trials_finished=trials),
        n_workers=2,
        sleep_time=0.01,
        save_tuner=False,
        tuner_name="bench",
    )
    tuner.run()
    return time.perf_counter() - start


RUNS = {"kuttab": run_kuttab, "optuna": run_optuna, "ray": run_ray, "syne-tune": run_syne_tune}


def measured(name: str, trials: int) -> tuple[float | None, str]:
    """Trials a second of one run, or why there is none."""
    command = [sys.executable, __file__, "--child", name, "--trials", str(trials)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except subprocess.TimeoutExpired:
        return None, "took more than 15 minutes"
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or ["no reason"])[-1][:200]
    return trials / json.loads(done.stdout.splitlines()[-1])["seconds"], ""


def compare(repeats: int, names: list[str]) -> None:
    rates: dict[str, list[float]] = {name: [] for name in names}
    skipped: dict[str, str] = {}
    for _ in range(repeats):
        for name in names:
            if name in skipped:
                continue
            rate, why = measured(name, PEERS[name])
            if rate is None:
                skipped[name] = why
            else:
                rates[name].append(rate)
    ours = statistics.median(rates["kuttab"])
    print(f"{'':12}{'trials/s':>10}{'spread':>16}{'ratio':>8}")
    for name in names:
        if name in skipped:
            print(f"{name:12}skipped: {skipped[name]}")
            continue
        rate = statistics.median(rates[name])
        spread = f"{min(rates[name]):.1f}-{max(rates[name]):.1f}"
        print(f"{name:12}{rate:10.1f}{spread:>16}{ours / rate:8.1f}")


def large(trials: int = 20_000) -> None:
    """One long experiment: its time, the memory it takes for each trial, and the first page of its trials."""
    import psutil

    import kuttab
    from kuttab import search

    process, seen = psutil.Process(), {}

    def look(progress: kuttab.Progress) -> None:
        seen[progress.finished] = process.memory_info().rss

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = kuttab.tune(
            nothing,
            {"x": search.double(0, 1)},
            algorithm="random",
            max_trials=trials,
            parallel=2,
            data=folder,
            progress=look,
        )
        seconds = time.perf_counter() - start
        first = min(number for number in seen if number >= trials // 2)  # caches of fixed size are full by then
        last = max(seen)
        growth = (seen[last] - seen[first]) / (last - first)
        print(
            f"{len(result.trials)} trials in {seconds:.0f} s, {trials / seconds:.0f}/s; {growth:.0f} bytes a trial (from {first} to {last})"
        )
        page = [sys.executable, "-m", "kuttab", "get", "trials", "--data", folder, "--limit", "100"]
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run(page, capture_output=True, check=True)
            times.append(time.perf_counter() - start)
        print(f"kuttab get trials --limit 100: {statistics.median(times) * 1000:.0f} ms, with the start of the program")


def reports(count: int = 10_000) -> None:
    """What a call of report costs the function."""
    import kuttab
    from kuttab import search

    def objective(p: Any) -> float:
        times = []
        for step in range(count):
            start = time.perf_counter()
            kuttab.report(step, loss=p["x"])
            times.append(time.perf_counter() - start)
        return statistics.fmean(times) * 1e6

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        result = kuttab.tune(objective, {"x": search.double(0, 1)}, algorithm="random", max_trials=5, data=folder)
        stored = {len(trial.curves()["loss"]) for trial in result.trials}
    mean = statistics.median(trial.value or 0.0 for trial in result.trials)
    print(f"kuttab.report: {mean:.1f} us a call on average; stored of {count}: {sorted(stored)}")


def idle(trials: int = 1000, runs: int = 10) -> None:
    """How much longer a reproducible run takes by waiting alone: simulated, with the rule that the controllers use."""
    ways = {
        "all the same": lambda _: 1.0,
        "uniform 0.5-1.5": lambda source: source.uniform(0.5, 1.5),
        "exponential": lambda source: source.expovariate(1),
    }
    print(f"{'length of trials':18}" + "".join(f"{f'parallel {parallel}':>14}" for parallel in (2, 4, 8)))
    for name, draw in ways.items():
        ratios = []
        for parallel in (2, 4, 8):
            spent = [0.0, 0.0]
            for seed in range(runs):
                source = random.Random(seed)
                lengths = [draw(source) for _ in range(trials)]
                for lagged in (False, True):
                    spent[lagged] += simulated(lengths, parallel, lagged=lagged)
            ratios.append(spent[True] / spent[False])
        print(f"{name:18}" + "".join(f"{ratio:14.2f}" for ratio in ratios))


def simulated(lengths: list[float], parallel: int, *, lagged: bool) -> float:
    """When the last of these trials ends."""
    from kuttab.api.history import TrialRecord, TrialState
    from kuttab.rules import lag, ledger

    account, now, slot = ledger.Ledger("uid", maximize=False), 0.0, 0
    running: list[tuple[float, int]] = []
    while slot < len(lengths) or running:
        while slot < len(lengths) and len(running) < parallel and (not lagged or lag.ready(account, slot, parallel)):
            account.put(TrialRecord(f"t{slot}", f"u{slot}", slot, TrialState.RUNNING))
            heapq.heappush(running, (now + lengths[slot], slot))
            slot += 1
        now, ended = heapq.heappop(running)
        account.put(TrialRecord(f"t{ended}", f"u{ended}", ended, TrialState.SUCCEEDED))
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--only", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--child", choices=list(PEERS))
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--reports", action="store_true")
    parser.add_argument("--idle", action="store_true")
    given = parser.parse_args()
    if given.child:
        with tempfile.TemporaryDirectory() as folder:
            seconds = RUNS[given.child](given.trials, folder)
            print(json.dumps({"seconds": seconds}))
        return
    if given.large:
        large()
    if given.reports:
        reports()
    if given.idle:
        idle()
    if not (given.large or given.reports or given.idle):
        compare(given.repeats, sorted({"kuttab", *given.only}, key=list(PEERS).index))


if __name__ == "__main__":
    main()
