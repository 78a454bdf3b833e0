"""CPU time of one ask and tell, by algorithm, number of parameters and length of the history; beside Optuna's samplers with their ratios.

    python benchmarks/ask_cost.py                       # ours
    python benchmarks/ask_cost.py --peers               # and Optuna's samplers side by side, where Optuna (and torch) is installed
    python benchmarks/ask_cost.py --only tpe,random --lengths 100,300,1000 --dimensions 10,40

The space is mixed: of ten parameters four are doubles (one logarithmic), three ints, one discrete, two categorical. The history
is filled with points from random search; after one ask that warms the caches, trials are asked for and told one by one. Mean and
99th percentile are in milliseconds of process time on one thread. A cell stops early when it has taken its share of seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import suites

from kuttab.algorithms import algorithm, history, registry, space
from kuttab.api import history as records

DEFAULT = "random,sobol,grid,tpe,multivariate-tpe,bayesianoptimization,auto,cmaes,de"
KINDS = ("double", "log", "double", "int", "cat", "double", "int", "discrete", "int", "cat")
QUICK = ("random", "sobol", "grid")
"""Measured often enough for a 99th percentile."""

GOALS = (
    ("tpe", "optuna-tpe", 1 / 5),
    ("multivariate-tpe", "optuna-tpe", 1 / 5),
    ("bayesianoptimization", "optuna-gp", 1 / 3),
    ("auto", "optuna-gp", 1 / 3),
)
"""Ours, theirs, and the share of their time that ours may take."""

Step = Callable[[], float]
"""Ask for one trial and tell its result; answers the CPU seconds that took."""


def mixed(dimensions: int, *, countable: bool = False) -> space.Space:
    """The space; for grid every double has a step."""
    specs = []
    for i in range(dimensions):
        kind, name = KINDS[i % len(KINDS)], f"p{i}"
        if kind == "int":
            specs.append(suites.integer(name, 1, 100))
        elif kind == "discrete":
            specs.append(suites.listed(name, [16, 32, 64, 128, 256], "discrete"))
        elif kind == "cat":
            specs.append(suites.listed(name, ["a", "b", "c", "d"], "categorical"))
        elif kind == "log" and not countable:
            specs.append(suites.double(name, 1e-5, 0.1, log=True))
        else:
            specs.append(suites.double(name, 0, 1, step="0.01" if countable else ""))
    return space.from_specs(specs)


def objective(units: np.ndarray) -> float:
    """A bowl with interactions."""
    centred = units - 0.4
    return float((centred**2).sum() + (centred[:-1] * centred[1:]).sum())


def ours(name: str, dimensions: int, length: int) -> Step:
    """An algorithm of ours with a history."""
    kind = registry.load(name)
    domain = mixed(dimensions, countable=name == "grid")
    instance = kind(algorithm.Problem(domain, seed=1, settings=kind.Settings(), max_trials=length + 1000))
    log = history.History(domain)
    for number, codes in enumerate(domain.sample(np.random.default_rng(0), length)):
        value = objective(domain.encode(codes[None, :])[0])
        log.put(history.Trial(number, domain.point(codes), records.TrialState.SUCCEEDED, (value,)))

    def step() -> float:
        number = log.next_number
        start = time.process_time()
        (item,) = instance.propose(log, number, 1).items
        log.put(history.Trial(number, item.parameters))
        middle = time.process_time()
        value = objective(domain.to_unit(item.parameters))
        again = time.process_time()
        log.put(history.Trial(number, item.parameters, records.TrialState.SUCCEEDED, (value,)))
        return (middle - start) + (time.process_time() - again)

    return step


def optuna(name: str, dimensions: int, length: int) -> Step:
    """The same with a sampler of Optuna's."""
    import warnings

    import optuna as peer

    warnings.simplefilter("ignore")
    peer.logging.set_verbosity(peer.logging.ERROR)
    domain = mixed(dimensions)
    of = peer.distributions
    spread: dict[str, Any] = {}
    for p in domain.parameters:
        if p.categorical:
            spread[p.name] = of.CategoricalDistribution(list(range(len(p.choices))))
        elif p.choices or p.type == "int":
            spread[p.name] = of.IntDistribution(int(p.low), int(p.high))
        else:
            spread[p.name] = of.FloatDistribution(p.low, p.high, log=p.log)
    sampler = {
        "optuna-tpe": lambda: peer.samplers.TPESampler(seed=1),
        "optuna-random": lambda: peer.samplers.RandomSampler(seed=1),
        "optuna-gp": lambda: peer.samplers.GPSampler(seed=1),
    }[name]()
    study = peer.create_study(sampler=sampler)
    for codes in domain.sample(np.random.default_rng(0), length):
        values = [
            int(c) if spread[n].__class__ is not of.FloatDistribution else c
            for n, c in zip(domain.names, codes, strict=True)
        ]
        point = dict(zip(domain.names, values, strict=True))
        value = objective(domain.encode(codes[None, :])[0])
        study.add_trial(peer.trial.create_trial(params=point, distributions=spread, value=value))

    def step() -> float:
        start = time.process_time()
        trial = study.ask(spread)
        middle = time.process_time()
        codes = np.array([float(trial.params[n]) for n in domain.names])
        value = objective(domain.encode(codes[None, :])[0])
        again = time.process_time()
        study.tell(trial, value)
        return (middle - start) + (time.process_time() - again)

    return step


def measure(name: str, dimensions: int, length: int, seconds: float) -> np.ndarray:
    """Milliseconds of each ask and tell after the first; raises ImportError when a library is missing."""
    step = (optuna if name.startswith("optuna-") else ours)(name, dimensions, length)
    step()  # builds the caches that a running search has
    times: list[float] = []
    while len(times) < (300 if name in QUICK else 30) and (sum(times) < seconds or len(times) < 2):
        times.append(step())
    return np.array(times) * 1e3


def ratios(means: dict[tuple[str, int, int], float]) -> list[str]:
    """Each goal with what was measured."""
    out = ["| pair | parameters | trials | share of its time | goal | |", "|---|---:|---:|---:|---:|---|"]
    for mine, theirs, goal in GOALS:
        for (name, dimensions, length), mean in means.items():
            other = means.get((theirs, dimensions, length))
            if name == mine and other:
                kept = "kept" if mean <= goal * other else "**missed**"
                out.append(
                    f"| {mine} : {theirs} | {dimensions} | {length} | {mean / other:.3f} | {goal:.2f} | {kept} |"
                )
    return out


def main() -> None:
    """Print the tables in Markdown, and keep them for the results page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default=DEFAULT)
    parser.add_argument("--lengths", default="100,300,1000")
    parser.add_argument("--dimensions", default="10,40")
    parser.add_argument("--seconds", type=float, default=20, help="CPU seconds after which a cell stops")
    parser.add_argument(
        "--peers", action="store_true", help="measure Optuna's random, TPE and, with torch, GP sampler too"
    )
    parser.add_argument("--output", type=Path, default=None, help="where the results page finds the tables")
    options = parser.parse_args()
    names = options.only.split(",")
    if options.peers:
        names += [n for n in ("optuna-random", "optuna-tpe", "optuna-gp") if n not in names]
    lengths = [int(n) for n in options.lengths.split(",")]
    lines = [
        f"Python {platform.python_version()}, numpy {np.__version__}; mean / 99th percentile, ms of CPU.",
        "",
        "| algorithm | parameters | " + " | ".join(f"{n} trials" for n in lengths) + " |",
        "|---|---:|" + "---:|" * len(lengths),
    ]
    print("\n".join(lines), flush=True)
    means: dict[tuple[str, int, int], float] = {}
    for dimensions in (int(n) for n in options.dimensions.split(",")):
        for name in names:
            cells = []
            for length in lengths:
                try:
                    times = measure(name, dimensions, length, options.seconds)
                    means[name, dimensions, length] = float(times.mean())
                    cells.append(f"{times.mean():.2f} / {np.percentile(times, 99):.2f}")
                except ImportError as error:
                    cells.append(f"not installed: {error.name}")
            lines.append(f"| {name} | {dimensions} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    if options.peers:
        found = ["", *ratios(means)]
        print("\n".join(found))
        lines += found
    if options.output is not None:
        head = [
            "## Cost of asking",
            "",
            "```",
            "make bench-ask",
            "```",
            "",
            *(__doc__ or "").strip().split("\n\n")[2:],
            "",
        ]
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps({"lines": head + lines}))


if __name__ == "__main__":
    main()
