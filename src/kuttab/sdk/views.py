"""How ``kuttab.tune`` shows what happens: live on a terminal, short text in notebooks and pipes, or a callback of the user's.

A view is told of progress and of failures and prints; nothing depends on it.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kuttab.base import errors

EVERY_SECONDS = 2.0
"""Pause between two lines of text, unless there is a new best."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands, as callbacks get it: counts of trials (``total`` None without a limit), and the best one so far.

    ``best_value`` is None and ``best_parameters`` is empty while there is none. ``seconds`` since the call.
    """

    name: str
    finished: int
    running: int
    failed: int
    total: int | None
    best_value: float | None
    best_parameters: Mapping[str, Any]
    seconds: float


Callback = Callable[[Progress], object]


class View:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""

    def update(self, progress: Progress) -> None:
        """Take in where the run stands."""

    def failed(self, trial: str, reason: str, message: str) -> None:
        """A trial failed; called for the first one of each kind."""

    def note(self, text: str) -> None:
        """Something to know before the run starts."""


class Told(View):
    """A callback of the user's."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    def update(self, progress: Progress) -> None:
        """Tell it."""
        self._callback(progress)


class Text(View):
    """A line now and then: each new best, at most one in some seconds otherwise, and the last one."""

    def __init__(self) -> None:
        self._shown = 0.0
        self._best: float | None = None
        self._last = ""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The last line, if it was not printed yet."""
        if self._last:
            self._print(self._last)

    def update(self, progress: Progress) -> None:
        """Print a line if it is time."""
        line, now = line_of(progress), time.monotonic()
        better = progress.best_value is not None and progress.best_value != self._best
        if now - self._shown >= (0.2 if better else EVERY_SECONDS):
            self._shown, self._best, self._last = now, progress.best_value, ""
            self._print(line)
        else:
            self._last = line

    def failed(self, trial: str, reason: str, message: str) -> None:
        """Print what went wrong, with its traceback."""
        self._print(f"{trial} failed ({reason}): {message}")

    def note(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def _print(self, text: str) -> None:
        print(text, file=sys.stdout, flush=True)  # noqa: T201 - this is what it is for


class Live(View):
    """One line with a bar that is drawn over and over."""

    def __init__(self) -> None:
        from rich import console, live  # noqa: PLC0415 - heavy, and only on terminals

        self._progress: Progress | None = None
        self._console = console.Console(highlight=False)
        self._live = live.Live(console=self._console, refresh_per_second=4, get_renderable=self._render)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last view standing."""
        self._live.__exit__(kind, value, trace)

    def update(self, progress: Progress) -> None:
        """Take it in; it is drawn four times a second."""
        self._progress = progress

    def failed(self, trial: str, reason: str, message: str) -> None:
        """Print above the bar."""
        self._console.print(f"{trial} failed ({reason}): {message}", markup=False, style="red")

    def note(self, text: str) -> None:
        """Print above the bar."""
        self._console.print(text, markup=False)

    def _render(self) -> Any:
        from rich import progress_bar, table, text  # noqa: PLC0415

        found = self._progress
        if found is None:
            return text.Text("starting ...")
        total = found.total or max(1, found.finished + found.running)
        grid = table.Table.grid(padding=(0, 1))
        grid.add_row(
            progress_bar.ProgressBar(total=total, completed=found.finished, width=24), text.Text(line_of(found))
        )
        return grid


def make(wanted: bool | str | Callback) -> View:
    """The view for the ``progress`` argument: ``"auto"`` or True, False, or a callback. BadInputError for anything else."""
    if callable(wanted):
        return Told(wanted)
    if wanted is False:
        return View()
    if wanted is not True and wanted != "auto":
        raise errors.BadInputError(f"progress: expected 'auto', False or a function, got {wanted!r}")
    return Live() if sys.stdout is not None and sys.stdout.isatty() else Text()


def line_of(progress: Progress) -> str:
    """Progress on one line."""
    of = "" if progress.total is None else f"/{progress.total}"
    line = f"{progress.name}: {progress.finished}{of} trials in {_span(progress.seconds)}"
    if progress.failed:
        line += f", {progress.failed} failed"
    if progress.best_value is not None:
        values = ", ".join(f"{name}={_short(value)}" for name, value in progress.best_parameters.items())
        line += f", best {progress.best_value:.6g} at {values}"
    return line


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else str(value)[:40]


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
