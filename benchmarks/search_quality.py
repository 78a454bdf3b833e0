"""Search quality: kuttab's algorithms beside other libraries on tuning tables and functions, by budget, one or eight at a time.

    python benchmarks/search_quality.py run --peers auto,random --seeds 0-9       # runs what is not in the cache yet
    python benchmarks/search_quality.py report --output docs/benchmarks.md        # tables and plots from the cache

A run is one search of 100 trials by one peer on one problem with one seed in one mode; budgets of 30 and 50 are its first trials.
Each run is one line of JSON in the cache, one file a peer, so runs may be interrupted, continued, and shared out over processes and
environments. What is kept is, after every trial, the true value at the point that looked best so far: observations of tables are
noisy, regret is not. Kuttab's own runs are kept under the fingerprint of ``src/kuttab/algorithms``, so that a changed algorithm runs anew.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import judgement
import numpy as np
import peers
import quality_report
import suites

from kuttab.algorithms import space as spaces

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".kuttab" / "bench" / "search"
LENGTH = 100
MODES = {"sequential": 1, "batch": 8}
SETS = {"development": lambda: suites.suite(few=True), "held-out": judgement.suite}


@functools.cache
def fingerprint() -> str:
    """Eight hexadecimal digits that stand for the code of our algorithms."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "src" / "kuttab" / "algorithms").rglob("*.py")):
        if "stopping" not in path.parts:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


@functools.cache
def edition(name: str) -> str:
    """What a peer's runs are filed under: its version, and for ours the fingerprint of the code."""
    version = peers.version(name)
    return f"{version}-{fingerprint()}" if peers.PEERS[name][0] == "kuttab" and name != "random" else version


def reported(name: str, found: list[dict[str, Any]]) -> str:
    """The edition whose runs are shown: the present one, or when it has none the latest that has; empty without runs or peer."""
    editions = [record["edition"] for record in found if record["peer"] == name]
    return edition(name) if edition(name) in editions or not editions else editions[-1]


def run(name: str, problem: suites.Problem, seed: int, mode: str, length: int = LENGTH) -> dict[str, Any]:
    """One search; its record."""
    space = spaces.from_specs(problem.parameters)
    generator = np.random.default_rng([seed, LENGTH])
    start = time.process_time()
    peer = peers.make(name, space, seed, LENGTH, MODES[mode])
    curve: list[float] = []
    best, held, spent = np.inf, np.inf, 0.0
    while len(curve) < length:
        answers = peer.ask(min(MODES[mode], length - len(curve)))
        spent += time.process_time() - start
        if not answers:
            break
        values = []
        for token, codes in answers:
            point = dict(zip(space.names, space.point(codes), strict=True))
            value = problem.measure(point, generator)
            values.append((token, value))
            if value < best:
                best, held = value, problem.truth(point)
            curve.append(float(f"{held - problem.optimum:.6g}"))
        start = time.process_time()
        for token, value in values:
            peer.tell(token, value)
    curve += curve[-1:] * (length - len(curve))
    return {
        "peer": name,
        "edition": edition(name),
        "problem": problem.name,
        "seed": seed,
        "mode": mode,
        "cpu": round(spent, 3),
        "regret": curve,
    }


def key(record: dict[str, Any]) -> tuple[str, str, int, str, str]:
    return record["peer"], record["problem"], record["seed"], record["mode"], record["edition"]


def records(cache: Path) -> Iterator[dict[str, Any]]:
    """All runs of the cache; a line that was cut off by an interruption is left out."""
    for path in sorted(cache.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue


def carry_out(options: argparse.Namespace) -> None:
    """Run what is missing: seed by seed, so that an interruption leaves whole seeds."""
    options.cache.mkdir(parents=True, exist_ok=True)
    done = {key(record) for record in records(options.cache)}
    problems = [p for name in options.sets.split(",") for p in SETS[name]()]
    if options.problems:
        problems = [p for p in problems if any(part in p.name for part in options.problems.split(","))]
    problems = problems[:: options.every]
    low, _, high = options.seeds.partition("-")
    end = time.monotonic() + options.minutes * 60
    for seed in range(int(low), int(high or low) + 1):
        for mode in options.modes.split(","):
            for name in options.peers.split(","):
                for problem in problems:
                    if time.monotonic() > end:
                        print("time is up")
                        return
                    if (name, problem.name, seed, mode, edition(name)) in done:
                        continue
                    try:
                        record = run(name, problem, seed, mode, options.length)
                    except ImportError as error:
                        print(f"{name}: not installed ({error})")
                        break
                    except Exception:
                        print(
                            f"{name} failed on {problem.name}, seed {seed}, {mode}\n{traceback.format_exc(limit=-2)}",
                            flush=True,
                        )
                        continue
                    with (options.cache / f"{name}-{options.tag}.jsonl").open("a") as file:
                        file.write(json.dumps(record) + "\n")
                print(f"{time.strftime('%H:%M:%S')} {name} {mode} seed {seed}", flush=True)


def main() -> None:
    """Parse and act."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("action", choices=["run", "report"])
    parser.add_argument("--peers", default=",".join(peers.PEERS))
    parser.add_argument("--seeds", default="0-9", help="first-last")
    parser.add_argument("--modes", default="sequential,batch")
    parser.add_argument("--sets", default="development,held-out")
    parser.add_argument("--problems", default="", help="parts of names")
    parser.add_argument("--length", type=int, default=LENGTH, help="trials of a run; less for peers that take too long")
    parser.add_argument("--every", type=int, default=1, help="take every n-th problem")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop starting runs after so long")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--tag", default="0", help="name of the file beside the peer's, for several processes at once")
    parser.add_argument(
        "--output", type=Path, default=None, help="the page to write; without it the tables are printed"
    )
    options = parser.parse_args()
    if options.action == "run":
        carry_out(options)
        return
    made = {name: make() for name, make in SETS.items()}
    names = {name: [p.name for p in problems] for name, problems in made.items()}
    mixed = [p.name for problems in made.values() for p in problems if _categorical(p)]
    found = list(records(options.cache))
    current = {name: reported(name, found) for name in peers.PEERS}
    extra = [options.cache.parent / "ask_cost.json", options.cache.parent / "multi_fidelity.json"]
    quality_report.write(found, names, mixed, current, options.output, sys.stdout, extra)


def _categorical(problem: suites.Problem) -> bool:
    return any(spec.parameter_type == "categorical" for spec in problem.parameters)


if __name__ == "__main__":
    main()
