"""What ``kuttab run`` shows while it runs: a live view on a terminal, one line per finished trial elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from kuttab.api import experiment, history
from kuttab.cli import render
from kuttab.wiring import settings as settings_

if TYPE_CHECKING:
    from kuttab.wiring import following

LAST = 6
"""Finished trials shown on a terminal."""


def make(subject: experiment.Experiment, settings: settings_.Settings, *, quiet: bool) -> Quiet:
    """The view that fits where the output goes."""
    if quiet:
        return Quiet()
    if sys.stdout.isatty():
        return Live(subject, settings)
    return Lines(subject, settings)


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""

    def update(self, step: following.Step) -> None:
        """Take in a step."""


def header(subject: experiment.Experiment, settings: settings_.Settings) -> list[str]:
    """Two lines that say what runs and where its results go."""
    spec = subject.spec
    objective = spec.objective or experiment.ObjectiveSpec()
    algorithm = spec.algorithm.algorithm_name if spec.algorithm is not None else ""
    goal = "" if objective.goal is None else f" (goal {objective.goal:g})"
    limit = f"{spec.max_trial_count} trials" if spec.max_trial_count is not None else "no limit of trials"
    return [
        f"Experiment {subject.name}: {objective.type} {render.clean(objective.objective_metric_name)}{goal}",
        f"Algorithm {algorithm}, {limit}, {spec.parallel_trial_count or 3} at a time. Data in {settings.data}",
    ]


def trial_line(record: history.TrialRecord, objective: experiment.ObjectiveSpec) -> str:
    """A finished trial on one line."""
    name = objective.objective_metric_name
    value = f"{render.clean(name)}={record.objective:.6g}" if record.objective is not None else record.reason
    values = " ".join(
        f"{render.clean(key)}={render.number(text)}" for key, text in zip(record.names, record.values, strict=True)
    )
    return f"{record.name}  {record.state:<18}  {value}  {values}".rstrip()


class Lines(Quiet):
    """A line per finished trial, for pipes and files."""

    def __init__(self, subject: experiment.Experiment, settings: settings_.Settings) -> None:
        self._subject = subject
        self._settings = settings
        self._done: set[str] = set()
        self._waiting = False

    def __enter__(self) -> Self:
        for line in header(self._subject, self._settings):
            typer.echo(line)
        return self

    def update(self, step: following.Step) -> None:
        """Print what finished."""
        objective = self._subject.spec.objective or experiment.ObjectiveSpec()
        limit = self._subject.spec.max_trial_count
        of = f"/{limit}" if limit is not None else ""
        for record in step.changed:
            if record.state.finished and record.name not in self._done:
                self._done.add(record.name)
                best = "  best so far" if step.best is not None and step.best.name == record.name else ""
                typer.echo(f"[{len(self._done)}{of}] {trial_line(record, objective)}{best}")
        waiting = 0 < step.queued == step.active
        if waiting and not self._waiting:
            typer.echo(
                f"All {step.queued} unfinished trials wait for resources; why: kuttab explain {self._subject.name}"
            )
        self._waiting = waiting


class Live(Quiet):
    """A live view: progress, best so far, what runs, what finished last."""

    def __init__(self, subject: experiment.Experiment, settings: settings_.Settings) -> None:
        from rich import console, live

        self._subject = subject
        self._settings = settings
        self._objective = subject.spec.objective or experiment.ObjectiveSpec()
        self._last: deque[history.TrialRecord] = deque(maxlen=LAST)
        self._started = time.monotonic()
        self._step: following.Step | None = None
        self._first_finished: int | None = None
        self._console = console.Console(highlight=False)
        self._live = live.Live(
            console=self._console, refresh_per_second=4, get_renderable=self._render, transient=False
        )

    def __enter__(self) -> Self:
        for line in header(self._subject, self._settings):
            self._console.print(line, markup=False)
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last view standing."""
        self._live.__exit__(kind, value, trace)

    def update(self, step: following.Step) -> None:
        """Take in a step; the view is drawn four times a second."""
        self._step = step
        if self._first_finished is None:
            self._first_finished = step.finished
        known = {record.name for record in self._last}
        self._last.extend(record for record in step.changed if record.state.finished and record.name not in known)

    def _render(self) -> Any:
        from rich import console, progress_bar, table, text

        step = self._step
        if step is None:
            return text.Text("starting ...")
        limit = self._subject.spec.max_trial_count
        grid = table.Table.grid(padding=(0, 1))
        bar = progress_bar.ProgressBar(
            total=limit or max(step.finished + step.active, 1), completed=step.finished, width=32
        )
        of = f"/{limit}" if limit is not None else ""
        status = step.experiment.status
        failed = status.trials_failed + status.trial_metrics_unavailable
        counts = f"{step.finished}{of} finished, {step.active - step.queued} running"
        counts += f", {step.queued} waiting for resources" if step.queued else ""
        counts += f", {failed} failed" if failed else ""
        grid.add_row(bar, text.Text(counts), text.Text(self._left(step, limit), style="dim"))
        lines: list[Any] = [grid]
        if step.best is not None:
            lines.append(text.Text("best  " + trial_line(step.best, self._objective), style="bold green"))
        lines += [
            text.Text(
                "      " + trial_line(record, self._objective), style="dim" if record.objective is not None else "red"
            )
            for record in self._last
        ]
        return console.Group(*lines)

    def _left(self, step: following.Step, limit: int | None) -> str:
        """Elapsed and left, from the pace of this run."""
        elapsed = time.monotonic() - self._started
        done = step.finished - (self._first_finished or 0)
        if limit is None or done <= 0 or step.finished >= limit:
            return render.span(elapsed)
        return f"{render.span(elapsed)}, about {render.span(elapsed / done * (limit - step.finished))} left"
