"""A result as one HTML page that needs nothing else: no network, no library, no file beside it.

Everything that comes from trials (names, values, messages, logs) is hostile until escaped, and the page forbids itself by its content
security policy to run any script but its own and to fetch anything at all.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kuttab.__about__ import __version__
from kuttab.api import conditions, experiment, keys
from kuttab.api.history import TrialState
from kuttab.rules import explaining
from kuttab.sdk import plots, plots_svg, report_style, tables
from kuttab.sdk.plots_marks import text_of

if TYPE_CHECKING:
    from kuttab.sdk import results

MOST_ROWS = 1000
"""Trials in the table, at most: the best half and the newest half."""

WIDE = frozenset({"history", "parallel", "slice", "curves"})
WIDTHS = (580, 1180)
"""Pixels of a plot that shares its row, and of one that has it alone."""

ORDER = ("history", "importance", "contour", "parallel", "slice", "edf", "timeline", "curves")
LOG_TAIL = 4000
"""Characters of a log that are shown: its end."""


def write(result: results.Result, path: str | os.PathLike[str], logs: Mapping[str, str] | None = None) -> None:
    """Write the page; ``logs`` are outputs of trials by name, shown with the failures."""
    Path(path).write_text(page(result, logs or {}), encoding="utf-8")


def page(result: results.Result, logs: Mapping[str, str]) -> str:
    """The whole page."""
    digest = base64.b64encode(hashlib.sha256(report_style.SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = [
        _head(result),
        _cards(result),
        _plots(result),
        _pareto(result),
        _failures(result, logs),
        _conditions(result),
    ]
    body += [_trials(result), f'<p class="dim">Written by kuttab {text_of(__version__)}.</p>']
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text_of(result.name)} - kuttab</title><style>{report_style.sheet()}</style></head>"
        f'<body><main>{"".join(body)}</main><div id="tip" hidden></div>'
        f"<script>{report_style.SCRIPT}</script></body></html>\n"
    )


def summary(result: results.Result) -> str:
    """A fragment for a notebook: what there is, the best trial, the history."""
    parts = [f"<p><b>{text_of(result.name)}</b> {_counts(result)}</p>"]
    if result.usable:
        best = result.best
        values = _rows((name, tables.plain(value)) for name, value in best.parameters.items())
        parts.append(f"<p>{text_of(result.metric)} <b>{best.value:.6g}</b> in {text_of(best.trial.name)}</p>")
        parts.append(f"<table>{values}</table>")
        parts.append(plots_svg.fragment(plots.plot_data("history", result), sheet=True))
    return f"<div>{''.join(parts)}</div>"


def _head(result: results.Result) -> str:
    subject = result.experiment
    last = subject.status.conditions[-1] if subject.status.conditions else None
    word = last.type if last is not None else "New"
    tone = {keys.SUCCEEDED: "good", keys.FAILED: "bad"}.get(word, "warn")
    algorithm = subject.spec.algorithm or experiment.AlgorithmSpec()
    way = "maximize" if result.maximize else "minimize"
    further = [f"{'maximize' if item.maximize else 'minimize'} {item.metric}" for item in result.objectives[1:]]
    parts = ", ".join([f"{way} {result.metric}", *further])
    said = f" &middot; {text_of(last.message)}" if last is not None and last.message else ""
    return (
        f'<h1>{text_of(result.name)} <span class="chip {tone}">{text_of(word)}</span></h1>'
        f'<p class="sub">{text_of(parts)} &middot; {text_of(algorithm.algorithm_name)}{said}</p>'
    )


def _cards(result: results.Result) -> str:
    cards = []
    if result.usable:
        best = result.best
        metrics = [(name, value) for name, value in best.metrics.items() if name != result.metric]
        cards.append(
            f'<div class="card"><h3>Best {text_of(result.metric)}</h3><div class="big">{best.value:.6g}</div>'
            f'<div class="dim">{text_of(best.trial.name)}</div><table>{_rows(metrics)}</table></div>'
        )
        values = _rows((name, tables.plain(value)) for name, value in best.parameters.items())
        cards.append(f'<div class="card"><h3>Best parameters</h3><table>{values}</table></div>')
    else:
        cards.append('<div class="card"><h3>Best</h3><div class="big dim">none yet</div></div>')
    started = [item.start for item in result.trials if item.start is not None]
    ended = [item.end for item in result.trials if item.end is not None]
    took = f"{(max(ended) - min(started)).total_seconds():.6g} s" if started and ended else "-"
    cards.append(
        f'<div class="card"><h3>Trials</h3><div class="big">{len(result.trials)}</div>'
        f'<div class="dim">{_counts(result)}</div><div class="dim">{took} from the first start to the last end</div></div>'
    )
    facts = [
        row
        for row in explaining.facts(result.experiment)
        if row[1] and row[0] not in ("Kind", "Best trial", "Name", "Trials")
    ]
    cards.append(f'<div class="card broad"><h3>Experiment</h3><table>{_rows(facts)}</table></div>')
    return f'<div class="cards">{"".join(cards)}</div>'


def _plots(result: results.Result) -> str:
    drawn, notes = [], []
    for kind in ORDER:
        data = plots.plot_data(kind, result)
        if not data.panels:
            notes.append(f"{data.title}: {data.note}")
            continue
        wide = " wide" if kind in WIDE else ""
        drawn.append(
            f'<div class="card{wide}" id="plot-{kind}">{plots_svg.fragment(data, width=WIDTHS[kind in WIDE])}</div>'
        )
    said = "".join(f'<p class="dim">{text_of(note)}</p>' for note in notes)
    return f'<h2>Plots</h2><div class="plots">{"".join(drawn)}</div>{said}'


def _pareto(result: results.Result) -> str:
    if len(result.objectives) < 2:
        return ""
    return f"<h2>Pareto front</h2>{_table(result, result.best_trials)}"


def _failures(result: results.Result, logs: Mapping[str, str]) -> str:
    failed = [item for item in result.trials if item.state in (TrialState.FAILED, TrialState.METRICS_UNAVAILABLE)]
    if not failed:
        return ""
    parts = [f"<h2>Failed trials ({len(failed)})</h2>"]
    for item in failed[-20:]:
        log = logs.get(item.name, "")
        tail = f"<pre>{text_of(log[-LOG_TAIL:])}</pre>" if log else ""
        reason = text_of(item.reason or item.state)
        parts.append(
            f'<details class="card"><summary>{text_of(item.name)} <span class="bad">{reason}</span></summary>'
            f"<p>{text_of(item.message)}</p>{tail}</details>"
        )
    if len(failed) > 20:
        parts.append(f'<p class="dim">The last 20 of {len(failed)} are shown.</p>')
    return "".join(parts)


def _conditions(result: results.Result) -> str:
    found = result.experiment.status.conditions or ()
    rows = "".join(
        f"<tr><td>{text_of(item.type)}</td><td class='{'good' if item.status == conditions.TRUE else 'dim'}'>"
        f"{text_of(item.status)}</td><td>{text_of(item.reason)}</td><td class='long'>{text_of(item.message)}</td>"
        f"<td>{text_of(item.last_transition_time or '')}</td></tr>"
        for item in found
    )
    head = "".join(f"<th>{name}</th>" for name in ("Condition", "Status", "Reason", "Message", "Since"))
    return f'<h2>Conditions</h2><div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _trials(result: results.Result) -> str:
    chosen: Sequence[results.TrialResult] = result.trials
    note = ""
    if len(chosen) > MOST_ROWS:
        sign = -1.0 if result.maximize else 1.0
        best = sorted(result.usable, key=lambda item: (sign * (item.value or 0.0), item.number))[: MOST_ROWS // 2]
        wanted = {item.number: item for item in (*best, *result.trials[-MOST_ROWS // 2 :])}
        chosen = [wanted[number] for number in sorted(wanted)]
        note = f'<p class="dim">The best and the newest {len(chosen)} of {len(result.trials)} trials are shown; all: kuttab export.</p>'
    return f"<h2>Trials</h2>{note}{_table(result, chosen)}"


def _table(result: results.Result, trials: Sequence[results.TrialResult]) -> str:
    names = list(dict.fromkeys(name for item in trials for name in item.metrics))
    head = ["#", "Trial", "State", *names, *result.parameters, "Seconds", "Reason"]
    cells = "".join(f'<th><button type="button">{text_of(name)}</button></th>' for name in head)
    rows = []
    for item in trials:
        tone = {TrialState.SUCCEEDED: "good", TrialState.FAILED: "bad", TrialState.METRICS_UNAVAILABLE: "bad"}.get(
            item.state, "dim"
        )
        values: list[Any] = [*(item.metrics.get(name, "") for name in names)]
        values += [item.parameters.get(name, "") for name in result.parameters]
        shown = "".join(f"<td>{text_of(_short(tables.plain(value)))}</td>" for value in values)
        took = "" if item.duration is None else f"{item.duration:.6g}"
        why = f"{item.reason} {item.message}".strip()
        rows.append(
            f'<tr><td>{item.number}</td><td>{text_of(item.name)}</td><td class="{tone}">{text_of(item.state)}</td>{shown}'
            f'<td>{took}</td><td class="long">{text_of(_short(why, 300))}</td></tr>'
        )
    body = "".join(rows)
    return f'<div class="scroll"><table class="sort"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def _rows(pairs: Iterable[tuple[str, Any]]) -> str:
    return "".join(
        f'<tr><td class="dim">{text_of(name)}</td><td>{text_of(_short(value, 200))}</td></tr>' for name, value in pairs
    )


def _counts(result: results.Result) -> str:
    return text_of(", ".join(f"{count} {state}" for state, count in result.counts().items()) or "no trials yet")


def _short(value: Any, most: int = 80) -> str:
    text = f"{value:.8g}" if isinstance(value, float) else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"
