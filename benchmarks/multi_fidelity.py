"""Multi-fidelity searches on simulated workers: utilisation, and the time until a good configuration leads.

    python benchmarks/multi_fidelity.py --seeds 5

Workers ask for a trial whenever they are free; a trial runs for as many epochs as its configuration says, on a clock of its own:
the time of an epoch depends on the configuration, and one trial in ten meets a machine that is 2 to 20 times slower (Pareto tail).
Learning curves are power laws: after r of R epochs a configuration with final loss L stands at L + 0.6 (E - L) (r^-a - R^-a), where E
is the loss of an untrained model and the exponent a, between 0.4 and 1.4, is the configuration's own, so curves cross. Final losses
come from a mixed training space (``suites``) and, where ``bocode`` is installed, from pools of real networks of LCBench, whose
tables hold no curves.

*utilisation*: busy worker time over all worker time. *time to the best p %*: the time, in units of one full-length trial of median
speed, from which on the leader (the best value seen so far, at whatever resource) is a configuration whose final loss is among the
best p % of random ones.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import judgement
import numpy as np
import suites
import svg

from kuttab.algorithms import algorithm, history, registry, space
from kuttab.api import history as records

EPOCHS = 27
ROUNDS = 3.0
"""Length of a simulation in full-length trials of median speed."""

SHARES = (5.0, 1.0)
SEARCHES: dict[str, tuple[str, dict[str, str]]] = {
    "random": ("random", {}),
    "hyperband": ("hyperband", {"resource_name": "epochs", "r_l": str(EPOCHS), "eta": "3"}),
    "asha": ("asha", {"resource_name": "epochs", "eta": "3"}),
    "bohb": ("bohb", {"resource_name": "epochs", "eta": "3"}),
}


@dataclass
class World:
    """Final losses, curves and times of one problem."""

    problem: suites.Problem
    untrained: float

    def _own(self, values: dict[str, Any], salt: str) -> float:
        """A number in [0, 1) that belongs to a configuration."""
        text = salt + repr(sorted((k, v) for k, v in values.items() if k != "epochs"))
        return zlib.crc32(text.encode()) / 2**32

    def final(self, values: dict[str, Any]) -> float:
        return self.problem.truth(values)

    def loss(self, values: dict[str, Any], epochs: int) -> float:
        last = self.final(values)
        power = 0.4 + self._own(values, "power")
        return last + 0.6 * (self.untrained - last) * (epochs**-power - EPOCHS**-power)

    def seconds(self, values: dict[str, Any], epochs: int, generator: np.random.Generator) -> float:
        pace = float(np.exp(0.8 * (self._own(values, "pace") - 0.5)))
        slow = min(2.0 * (1 + generator.pareto(1.5)), 20.0) if generator.random() < 0.1 else 1.0
        return pace * slow * epochs * float(np.exp(0.1 * generator.standard_normal()))


def worlds() -> list[World]:
    made = [next(p for p in suites.mixed() if p.name == "training")]
    made += [p for p in judgement.pools() if p.group == "lcbench"][:2]
    out = []
    for problem in made:
        domain = space.from_specs(problem.parameters)
        rows = domain.sample(np.random.default_rng(1), 2000)
        finals = [problem.truth(dict(zip(domain.names, domain.point(row), strict=True))) for row in rows]
        out.append(World(problem, float(np.quantile(finals, 0.95))))
    return out


class Searcher:
    """Hands out configurations; begins anew, with another seed, where the method has come to its end."""

    def __init__(self, name: str, world: World, seed: int, workers: int) -> None:
        self._name, self._seed, self._workers = name, seed, workers
        epochs = [] if name == "random" else [suites.integer("epochs", 1, EPOCHS)]
        self._domain = space.from_specs([*world.problem.parameters, *epochs])
        self._begin()

    def _begin(self) -> None:
        algorithm_name, given = SEARCHES[self._name]
        kind = registry.load(algorithm_name)
        settings, problems = kind.Settings.parse(given)
        assert settings is not None, problems
        # Hyperband demands a parallelTrialCount of its widest rung; fewer workers then take turns.
        problem = algorithm.Problem(
            self._domain, seed=self._seed, settings=settings, parallel=max(self._workers, EPOCHS)
        )
        assert not kind.check(problem), kind.check(problem)
        self._algorithm, self._log = kind(problem), history.History(self._domain)

    def ask(self) -> tuple[Any, dict[str, Any], int] | None:
        """A token, the configuration and its epochs; None when results must come first."""
        number = self._log.next_number
        reply = self._algorithm.propose(self._log, number, 1)
        if not reply.items:
            if not reply.exhausted and reply.wait:
                return None
            self._seed += 1000
            self._begin()
            return self.ask()
        item = reply.items[0]
        values = dict(zip(self._domain.names, item.parameters, strict=True))
        text = item.text.get("epochs", values.get("epochs", EPOCHS))
        self._log.put(history.Trial(number, item.parameters, text=item.text))
        return (self._log, number), values, int(float(text))

    def tell(self, token: Any, value: float) -> None:
        log, number = token
        old = log[number]
        log.put(history.Trial(number, old.parameters, records.TrialState.SUCCEEDED, (value,), text=old.text))


def simulate(name: str, world: World, seed: int, workers: int) -> tuple[float, list[tuple[float, float]]]:
    """Utilisation, and the leader's final loss at each time it changes (times in full-length trials)."""
    generator = np.random.default_rng([seed, workers])
    searcher = Searcher(name, world, seed, workers)
    end, busy, free = ROUNDS * EPOCHS, 0.0, workers
    running: list[tuple[float, int, Any, float, float]] = []
    best, leaders, count, now = np.inf, [], 0, 0.0
    while True:
        while free and (found := searcher.ask()) is not None:
            token, values, epochs = found
            seconds = world.seconds(values, epochs, generator)
            busy += min(seconds, end - now)
            heapq.heappush(running, (now + seconds, count, token, world.loss(values, epochs), world.final(values)))
            free, count = free - 1, count + 1
        now, _, token, value, final = heapq.heappop(running)
        if now >= end:
            return min(busy / (workers * end), 1.0), leaders
        free += 1
        searcher.tell(token, value)
        if value < best:
            best = value
            leaders.append((now / EPOCHS, final))


def settled(leaders: list[tuple[float, float]], threshold: float) -> float:
    """The time from which on the leader is good enough; infinite when it is not at the end."""
    time = np.inf
    for at, final in reversed(leaders):
        if final > threshold:
            break
        time = at
    return time


def main() -> None:
    """Run, print, and keep the tables for the results page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", default="8,64")
    parser.add_argument("--output", type=Path, default=None, help="where the results page finds the tables")
    options = parser.parse_args()
    times = ", ".join(f"time to best {share:g} %" for share in SHARES)
    lines = [
        f"{options.seeds} seeds; the median over seeds and, in brackets, how many seeds got there in {ROUNDS:g} full-length trials.",
        "",
    ]
    lines += [
        f"| problem | workers | search | utilisation | {times.replace(', ', ' | ')} |",
        "|---|---:|---|---:|---:|---:|",
    ]
    print("\n".join(lines), flush=True)
    grid = np.linspace(0.02, ROUNDS, 120)
    plots = {}
    for world in worlds():
        domain = space.from_specs(world.problem.parameters)
        rows = domain.sample(np.random.default_rng(2), 2000)
        finals = np.array([world.final(dict(zip(domain.names, domain.point(row), strict=True))) for row in rows])
        limits = [float(np.quantile(finals, share / 100)) for share in SHARES]
        for workers in (int(n) for n in options.workers.split(",")):
            series = {}
            for name in SEARCHES:
                runs = [simulate(name, world, seed, workers) for seed in range(options.seeds)]
                cells = []
                for limit in limits:
                    reached = [settled(leaders, limit) for _, leaders in runs]
                    middle = float(np.median(reached))
                    cells.append(f"{'-' if np.isinf(middle) else f'{middle:.2f}'} ({sum(np.isfinite(reached))})")
                used = float(np.mean([share for share, _ in runs]))
                lines.append(f"| {world.problem.name} | {workers} | {name} | {used:.1%} | " + " | ".join(cells) + " |")
                print(lines[-1], flush=True)
                series[name] = (grid.tolist(), _curve(runs, grid, world.problem.optimum, float(np.median(finals))))
            title = f"{world.problem.name}, {workers} workers"
            chart = svg.lines(
                title, "time in full-length trials", "leader's regret / median regret", series, bold=("asha", "bohb")
            )
            plots[f"rungs-{world.problem.name}-{workers}.svg"] = chart
    if options.output is not None:
        text = (__doc__ or "").strip().split("\n\n")[2:]
        pictures = [f"![{name}](benchmarks/{name})" for name in plots]
        head = ["## Multi-fidelity", "", "```", "make bench-rungs", "```", "", "\n\n".join(text), ""]
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps({"lines": [*head, *lines, "", *pictures], "plots": plots}))


def _curve(runs: list[Any], grid: np.ndarray, optimum: float, middle: float) -> list[float]:
    rows = []
    for _, leaders in runs:
        at = np.searchsorted([t for t, _ in leaders], grid, side="right") - 1
        rows.append([leaders[i][1] if i >= 0 else middle for i in at])
    return ((np.mean(rows, axis=0) - optimum) / (middle - optimum)).tolist()


if __name__ == "__main__":
    main()
