"""What the runs of a search-quality benchmark say: normalised regret, ranks, wins and losses. No files, no text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

BUDGETS = (30, 50, 100)
CAP = 2.0
"""Normalised regrets above this count as this, so that one hopeless problem does not outweigh all others."""

Run = tuple[str, int]
"""Problem and seed."""


@dataclass
class Results:
    """Curves of regret by mode, peer and run."""

    curves: dict[str, dict[str, dict[Run, np.ndarray]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    cpu: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def peers(self, mode: str) -> list[str]:
        return list(self.curves[mode])

    def only(self, problems: Collection[str]) -> Results:
        """The same on some problems."""
        out = Results(cpu=self.cpu)
        for mode, by_peer in self.curves.items():
            for peer, runs in by_peer.items():
                kept = {run: curve for run, curve in runs.items() if run[0] in problems}
                if kept:
                    out.curves[mode][peer] = kept
        return out

    def common(self, mode: str, peers: Sequence[str]) -> list[Run]:
        """Runs that every one of some peers has."""
        shared = set.intersection(*(set(self.curves[mode][peer]) for peer in peers)) if peers else set()
        return sorted(shared)

    def complete(self, mode: str) -> list[str]:
        """Peers that have at least one run of every problem of the yardstick."""
        wanted = {problem for problem, _ in self.curves[mode]["random"]}
        return [p for p, runs in self.curves[mode].items() if wanted <= {problem for problem, _ in runs}]


def collect(records: Iterable[Mapping[str, Any]], current: Mapping[str, str], composed: Collection[str]) -> Results:
    """The runs of the current editions. ``composed`` names problems with categorical parameters.

    The rule of Optuna's AutoSampler at these budgets is: its TPE where a parameter is categorical, its GP elsewhere. So its row is put
    together from the runs of the two.
    """
    out = Results()
    for record in records:
        peer = record["peer"]
        if record["edition"] != current.get(peer):
            continue
        run = record["problem"], record["seed"]
        curve = np.maximum(np.array(record["regret"], dtype=float), 0.0)
        out.curves[record["mode"]][peer][run] = curve
        out.cpu[record["mode"], peer].append(record["cpu"] / len(curve))
        if peer == ("optuna-tpe" if run[0] in composed else "optuna-gp"):
            out.curves[record["mode"]]["optuna-auto"][run] = curve
            out.cpu[record["mode"], "optuna-auto"].append(record["cpu"] / len(curve))
    return out


def yardstick(results: Results, mode: str, problem: str, budget: int) -> float:
    """Mean regret of random search."""
    found = [curve[budget - 1] for run, curve in results.curves[mode]["random"].items() if run[0] == problem]
    return max(float(np.mean(found)), 1e-12) if found else np.nan


def normalised(results: Results, mode: str, peer: str, budget: int, runs: Sequence[Run]) -> float:
    """Regret over random search's mean regret at the same budget, capped, averaged over seeds, then over problems."""
    by_problem: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        curve = results.curves[mode][peer][run]
        if len(curve) < budget:
            return np.nan
        by_problem[run[0]].append(min(curve[budget - 1] / yardstick(results, mode, run[0], budget), CAP))
    return float(np.mean([np.mean(values) for values in by_problem.values()])) if by_problem else np.nan


def ranks(results: Results, mode: str, peers: Sequence[str], budget: int, runs: Sequence[Run]) -> dict[str, float]:
    """Mean rank of each peer, 1 is best, ties share; over runs, each problem with the same weight."""
    by_problem: dict[str, list[np.ndarray]] = defaultdict(list)
    able = [peer for peer in peers if all(len(results.curves[mode][peer][run]) >= budget for run in runs)]
    for run in runs:
        values = [results.curves[mode][peer][run][budget - 1] for peer in able]
        by_problem[run[0]].append(stats.rankdata(np.round(values, 12)))
    if not by_problem:
        return {}
    means = np.mean([np.mean(rows, axis=0) for rows in by_problem.values()], axis=0)
    return dict(zip(able, means.tolist(), strict=True))


def duel(results: Results, mode: str, ours: str, theirs: str, budget: int) -> tuple[int, int, int, float, float, int]:
    """Problems won, tied and lost by mean regret over the shared seeds, both normalised regrets, and the number of runs."""
    runs = [r for r in results.common(mode, [ours, theirs]) if len(results.curves[mode][theirs][r]) >= budget]
    won = tied = lost = 0
    for problem in sorted({run[0] for run in runs}):
        a, b = (
            float(np.mean([results.curves[mode][peer][run][budget - 1] for run in runs if run[0] == problem]))
            for peer in (ours, theirs)
        )
        slack = 1e-9 + 0.01 * min(a, b)
        won, tied, lost = won + (a < b - slack), tied + (abs(a - b) <= slack), lost + (a > b + slack)
    pair = [normalised(results, mode, peer, budget, runs) for peer in (ours, theirs)]
    return won, tied, lost, pair[0], pair[1], len(runs)
