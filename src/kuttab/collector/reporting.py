"""``kuttab.report`` from inside: how a running function or program hands out intermediate values and learns that it shall stop.

Light on purpose (it is loaded in every worker and every training program). Where values go is decided by who started the code: a worker's
reporter (set with :func:`entered`), else the file that the environment names, else nowhere, so that the same code runs by itself. It
stores nothing: that is the node's and its collectors' business.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from kuttab.base import errors

ENV_FILE = "KUTTAB_REPORT_FILE"
"""File to append reports to: one line a report, ``name=value name=value``."""
ENV_FORMAT = "KUTTAB_REPORT_FORMAT"
"""``JSON`` when each line is to be a JSON object; otherwise text."""
ENV_URL = "KUTTAB_REPORT_URL"
"""Where the same is taken over HTTP, for programs in other languages; nothing here uses it."""
ENV_PROBLEM = "KUTTAB_REPORT_PROBLEM"
"""Why reports of this program would not be read; ``report`` raises it instead of losing them."""
ENV_RULES = "KUTTAB_REPORT_RULES"
"""The trial's early-stopping rules as JSON, see :func:`rules_from`."""

Reading = tuple[str, str, int]
"""Metric, value as text, nanoseconds since 1970."""

SEND_SECONDS = 0.2
SEND_READINGS = 2000


class EarlyStopped(BaseException):
    """Ends a trial cleanly as stopped early: what was reported so far is its result.

    Raised by ``kuttab.report`` once the experiment's early-stopping rules are met and the function did not stop by itself; a function may
    also raise it. It is no ``Exception``, so that ``except Exception`` does not swallow it.
    """


class Rules(Protocol):
    """``kuttab.rules.earlystop.RuleSet``."""

    def observe(self, metric: str, value_text: str) -> bool:
        """Take one value; true once the trial is to be stopped."""
        ...


class Reporter:
    """Takes the reports of one attempt; ``send`` gets readings in order, in batches, at most every ``SEND_SECONDS``."""

    def __init__(self, send: Callable[[list[Reading]], None], rules: Rules | None = None) -> None:
        self._send = send
        self._rules = rules
        self._waiting: list[Reading] = []
        self._sent = 0.0
        self.stop = False
        """Whether the rules have been met."""
        self.seen: set[str] = set()
        """Metrics that were reported."""

    def report(self, values: Mapping[str, Any]) -> None:
        """Take values of one moment; EarlyStopped when the rules were met by an earlier report."""
        if self.stop:
            raise EarlyStopped
        now = time.time_ns()
        readings = [(name, text_of(name, value), now) for name, value in values.items()]
        self._waiting += readings
        self.seen.update(values)
        if self._rules is not None:
            for name, text, _ in readings:
                self.stop = self._rules.observe(name, text) or self.stop
        moment = time.monotonic()
        if moment - self._sent >= SEND_SECONDS or len(self._waiting) >= SEND_READINGS:
            self._sent = moment
            self.flush()

    def flush(self) -> None:
        """Hand over what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._send(waiting)

    def rest(self) -> list[Reading]:
        """What waits, taken out, to be handed over with the end."""
        waiting, self._waiting = self._waiting, []
        return waiting


_entered: contextvars.ContextVar[Reporter | None] = contextvars.ContextVar("kuttab_reporter", default=None)
_shared: list[Reporter] = []
"""The reporter of a process that runs one trial at a time, for threads that the trial starts."""


@contextlib.contextmanager
def entered(reporter: Reporter, *, shared: bool = False) -> Iterator[None]:
    """Reports inside go to ``reporter``; ``shared`` when nothing else runs in this process."""
    token = _entered.set(reporter)
    if shared:
        _shared.append(reporter)
    try:
        yield
    finally:
        _entered.reset(token)
        if shared:
            _shared.remove(reporter)


def current() -> Reporter | None:
    """The reporter of the running code, if anybody wants its reports."""
    found = _entered.get()
    if found is None and _shared:
        return _shared[-1]
    return found if found is not None else _by_environment()


def report(step: float | None = None, /, **metrics: Any) -> None:
    """Tell intermediate values of the running trial: curves, early stopping, and the result where nothing is returned.

    ``kuttab.report(accuracy=0.9)``, ``kuttab.report(epoch, loss=0.1, accuracy=0.9)``: values are finite numbers or NaN and infinities
    (anything that ``float`` takes); a step given is stored as the metric ``step``. Every call is stored exactly once, in order, also while
    the observation log is away; it takes some microseconds. Does nothing in code that kuttab did not start.

    Raises BadInputError for a value that is no number, and :class:`EarlyStopped` once an earlier report met the early-stopping
    rules: let it pass, or ask :func:`should_stop` after each report and return.
    """
    found = current()
    values = metrics if step is None else {**metrics, "step": step}
    if found is not None:
        found.report(values)
    else:
        for name, value in values.items():
            text_of(name, value)


def should_stop() -> bool:
    """Whether the early-stopping rules are met: tidy up and return (or raise :class:`EarlyStopped`). False outside of trials."""
    found = current()
    return found is not None and found.stop


def text_of(name: str, value: Any) -> str:
    """A metric's value as text that reads back as the same number; BadInputError for anything else."""
    if type(value) is float:
        return repr(value)
    if isinstance(value, bool | int):
        return str(int(value))
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return repr(float(value))
    except (TypeError, ValueError, OverflowError):
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        raise errors.BadInputError(f"metric {name!r}: {shown} is not a number") from None


def rules_from(found: Mapping[str, Any] | None) -> Rules | None:
    """The rules in ``{"rules": [[name, value, comparison, start step], ...], "objective": NAME, "direction": WAY}``; None for none."""
    if not found or not found.get("rules"):
        return None
    suggestion = importlib.import_module("kuttab.api.suggestion")  # heavy, and seldom needed
    earlystop = importlib.import_module("kuttab.rules.earlystop")
    rules = [
        suggestion.EarlyStoppingRule(name=name, value=value, comparison=comparison, start_step=start)
        for name, value, comparison, start in found["rules"]
    ]
    made: Rules = earlystop.RuleSet(rules, found["objective"], found["direction"])
    return made


class _FileReporter(Reporter):
    """Appends each report to a file as one line, in one write, so that nothing is lost when the program is killed."""

    def __init__(self, path: str, *, as_json: bool, rules: Rules | None) -> None:
        super().__init__(self._append, rules)
        self._json = as_json
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.owner = os.getpid()

    def report(self, values: Mapping[str, Any]) -> None:
        """See the base; nothing waits, and nothing is raised: who started the program ends it."""
        stop, self.stop = self.stop, False
        super().report(values)
        self.stop = self.stop or stop
        self.flush()

    def _append(self, readings: Sequence[Reading]) -> None:
        if self._json:
            line = json.dumps({name: text for name, text, _ in readings})
        else:
            line = " ".join(f"{name}={text}" for name, text, _ in readings)
        left = ("\n" + line + "\n").encode() if not self._json else (line + "\n").encode()
        while left:
            left = left[os.write(self._file, left) :]


_files: dict[str, _FileReporter] = {}


def _by_environment() -> Reporter | None:
    path = os.environ.get(ENV_FILE, "")
    if not path:
        if problem := os.environ.get(ENV_PROBLEM, ""):
            raise errors.BadInputError(f"kuttab.report cannot be used in this trial: {problem}")
        return None
    found = _files.get(path)
    if found is None:
        text = os.environ.get(ENV_RULES, "")
        rules = rules_from(json.loads(text)) if text else None
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        found = _files[path] = _FileReporter(path, as_json=os.environ.get(ENV_FORMAT) == "JSON", rules=rules)
    return found
