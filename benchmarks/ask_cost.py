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


Cells = dict[str, dict[str, list[float]]]
"""Name, then "parameters x trials", then mean, median and 99th percentile."""


def tables(cells: Cells) -> list[str]:
    """What was measured, and each goal with what became of it."""
    columns = sorted({tuple(int(n) for n in where.split("x")) for row in cells.values() for where in row})
    head = ["search", *(f"{d} parameters, {n} trials" for d, n in columns)]
    out = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * len(columns)]
    for name in sorted(cells, key=lambda name: (name.startswith("optuna"), name)):
        row = [cells[name].get(f"{d}x{n}") for d, n in columns]
        out.append(f"| {name} | " + " | ".join(f"{c[0]:.2f} / {c[2]:.2f}" if c else "-" for c in row) + " |")
    out += ["", "| pair | parameters | trials | share of its median | goal | |", "|---|---:|---:|---:|---:|---|"]
    for mine, theirs, goal in GOALS:
        for d, n in columns:
            own, other = (cells.get(name, {}).get(f"{d}x{n}") for name in (mine, theirs))
            if own and other:
                kept = "kept" if own[1] <= goal * other[1] else "**missed**"
                out.append(f"| {mine} : {theirs} | {d} | {n} | {own[1] / other[1]:.3f} | {goal:.2f} | {kept} |")
    return out


def keep(path: Path, name: str, where: str, times: np.ndarray) -> Cells:
    """Add a cell to the file of the results page, with the tables made anew; answers all cells."""
    cells: Cells = json.loads(path.read_text())["cells"] if path.exists() else {}
    found = [float(times.mean()), float(np.median(times)), float(np.percentile(times, 99))]
    cells.setdefault(name, {})[where] = [round(value, 4) for value in found]
    head = ["## Cost of asking", "", "```", "make bench-ask", "```", "", *(__doc__ or "").strip().split("\n\n")[2:], ""]
    versions = f"Python {platform.python_version()}, numpy {np.__version__}; mean / 99th percentile, ms of CPU."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "lines": [*head, versions, "", *tables(cells)]}))
    return cells


def main() -> None:
    """Measure, and print the tables in Markdown; cells already in the file stay, so that a measurement can be split."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default=DEFAULT)
    parser.add_argument("--lengths", default="100,300,1000")
    parser.add_argument("--dimensions", default="10,40")
    parser.add_argument("--seconds", type=float, default=20, help="CPU seconds after which a cell stops")
    parser.add_argument("--peers", action="store_true", help="Optuna's random, TPE and, with torch, GP sampler, too")
    parser.add_argument(
        "--output", type=Path, default=Path(".kuttab/bench/ask_cost.json"), help="file of the results page"
    )
    options = parser.parse_args()
    names = options.only.split(",")
    if options.peers:
        names += [n for n in ("optuna-random", "optuna-tpe", "optuna-gp") if n not in names]
    cells: Cells = {}
    for dimensions in (int(n) for n in options.dimensions.split(",")):
        for length in (int(n) for n in options.lengths.split(",")):
            for name in names:
                try:
                    times = measure(name, dimensions, length, options.seconds)
                except ImportError as error:
                    print(f"{name}: not installed ({error.name})")
                    continue
                cells = keep(options.output, name, f"{dimensions}x{length}", times)
                print(f"{name}, {dimensions} parameters, {length} trials: {times.mean():.2f} ms", flush=True)
    print("\n" + "\n".join(tables(cells)))


if __name__ == "__main__":
    main()
