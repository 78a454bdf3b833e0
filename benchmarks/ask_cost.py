"""CPU time of one ask and tell, by algorithm, number of parameters and length of the history.

    python benchmarks/ask_cost.py                       # ours
    python benchmarks/ask_cost.py --peers               # and Optuna's samplers, where Optuna is installed
    python benchmarks/ask_cost.py --only tpe,random --lengths 100,300,1000 --dimensions 10,40

The space is mixed: of ten parameters four are doubles (one logarithmic), three ints, one discrete, two categorical. The history
is filled with points from random search; after one ask that warms the caches, trials are asked for and told one by one, and
mean and slowest are printed in milliseconds of process time, on one thread.
"""

from __future__ import annotations

import argparse
import os
import platform
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from kuttab.algorithms import algorithm, history, registry, space
from kuttab.api import history as records
from kuttab.testing.algorithms import parameter

REPEATS = 30
DEFAULT = "random,sobol,grid,tpe,multivariate-tpe,bayesianoptimization,auto,cmaes,de"
KINDS = ("double", "log", "double", "int", "cat", "double", "int", "discrete", "int", "cat")


def mixed(dimensions: int, *, countable: bool = False) -> space.Space:
    """The space; for grid every double has a step."""
    specs = []
    for i in range(dimensions):
        kind = KINDS[i % len(KINDS)]
        if kind == "int":
            specs.append(parameter(f"p{i}", "int", min="1", max="100"))
        elif kind == "discrete":
            specs.append(parameter(f"p{i}", "discrete", choices=["16", "32", "64", "128", "256"]))
        elif kind == "cat":
            specs.append(parameter(f"p{i}", "categorical", choices=["a", "b", "c", "d"]))
        elif kind == "log" and not countable:
            specs.append(parameter(f"p{i}", "double", min="1e-5", max="0.1", distribution="logUniform"))
        else:
            specs.append(parameter(f"p{i}", "double", min="0", max="1", step="0.01" if countable else ""))
    return space.from_specs(specs)


def objective(units: np.ndarray) -> float:
    """A bowl with interactions."""
    centred = units - 0.4
    return float((centred**2).sum() + (centred[:-1] * centred[1:]).sum())


def ours(name: str, dimensions: int, length: int) -> np.ndarray:
    """Milliseconds of each of the last asks and tells."""
    kind = registry.load(name)
    domain = mixed(dimensions, countable=name == "grid")
    instance = kind(algorithm.Problem(domain, seed=1, settings=kind.Settings(), max_trials=length + REPEATS))
    log = history.History(domain)
    for number, codes in enumerate(domain.sample(np.random.default_rng(0), length)):
        value = objective(domain.encode(codes[None, :])[0])
        log.put(history.Trial(number, domain.point(codes), records.TrialState.SUCCEEDED, (value,)))
    instance.propose(log, length, 1)  # builds the caches that a running experiment has
    times = []
    for number in range(length, length + REPEATS):
        start = time.process_time()
        (item,) = instance.propose(log, number, 1).items
        middle = time.process_time()
        value = objective(domain.to_unit(item.parameters))
        again = time.process_time()
        log.put(history.Trial(number, item.parameters))
        log.put(history.Trial(number, item.parameters, records.TrialState.SUCCEEDED, (value,)))
        times.append((middle - start) + (time.process_time() - again))
    return np.array(times) * 1e3


def optuna(name: str, dimensions: int, length: int) -> np.ndarray:
    """The same with a sampler of Optuna's."""
    import warnings

    import optuna as peer

    warnings.simplefilter("ignore")
    peer.logging.set_verbosity(peer.logging.ERROR)
    domain = mixed(dimensions)
    of = peer.distributions
    spread = {}
    for p in domain.parameters:
        if p.choices:
            spread[p.name] = of.CategoricalDistribution(p.choices)
        elif p.type == "int":
            spread[p.name] = of.IntDistribution(int(p.low), int(p.high))
        else:
            spread[p.name] = of.FloatDistribution(p.low, p.high, log=p.log)
    samplers = {
        "optuna-tpe": lambda: peer.samplers.TPESampler(seed=1),
        "optuna-random": lambda: peer.samplers.RandomSampler(seed=1),
        "optuna-gp": lambda: peer.samplers.GPSampler(seed=1),
    }
    study = peer.create_study(sampler=samplers[name]())
    for codes in domain.sample(np.random.default_rng(0), length):
        point = dict(zip(domain.names, domain.point(codes), strict=True))
        value = objective(domain.encode(codes[None, :])[0])
        study.add_trial(peer.trial.create_trial(params=point, distributions=spread, value=value))
    study.tell(study.ask(spread), 0.0)
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        trial = study.ask(spread)
        middle = time.process_time()
        value = objective(domain.to_unit([trial.params[n] for n in domain.names]))
        again = time.process_time()
        study.tell(trial, value)
        times.append((middle - start) + (time.process_time() - again))
    return np.array(times) * 1e3


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default=DEFAULT)
    parser.add_argument("--lengths", default="100,300,1000")
    parser.add_argument("--dimensions", default="10,40")
    parser.add_argument(
        "--peers", action="store_true", help="measure Optuna's random, TPE and, with torch, GP sampler too"
    )
    options = parser.parse_args()
    names = options.only.split(",")
    if options.peers:
        names += ["optuna-random", "optuna-tpe", "optuna-gp"]
    lengths = [int(n) for n in options.lengths.split(",")]
    print(f"Python {platform.python_version()}, numpy {np.__version__}; mean / slowest of {REPEATS}, ms of CPU\n")
    print("| algorithm | parameters | " + " | ".join(f"{n} trials" for n in lengths) + " |")
    print("|---|---|" + "---|" * len(lengths))
    for dimensions in (int(n) for n in options.dimensions.split(",")):
        for name in names:
            cells = []
            for length in lengths:
                try:
                    times = (optuna if name.startswith("optuna-") else ours)(name, dimensions, length)
                    cells.append(f"{times.mean():.2f} / {times.max():.2f}")
                except ImportError as error:
                    cells.append(f"not installed: {error.name}")
            print(f"| {name} | {dimensions} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
