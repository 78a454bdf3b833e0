"""Functions called in this very process: in threads, or wherever the caller wants (its own thread, for a debugger).

The price of it: nothing can be killed. A function over its time, or cancelled, is left alone until its next report, which ends it; and
what it prints goes where this process prints.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kuttab.collector import reporting
from kuttab.node import function_pool, function_worker

Execute = Callable[[Callable[[], None]], None]
"""Runs a piece of work somewhere, now or soon, without waiting for it."""


def in_thread(work: Callable[[], None]) -> None:
    """A thread of its own for each piece of work."""
    threading.Thread(target=work, name="kuttab-trial", daemon=True).start()


class Local:
    """Implements ``function_pool.Runner`` for one function."""

    def __init__(self, function: function_worker.Function, execute: Execute = in_thread) -> None:
        self._function = function
        self._execute = execute

    def start(self, task: Mapping[str, Any], heard: function_pool.Heard) -> function_pool.Handle:
        """Call the function for a task."""
        call = _Call(self._function, task, heard)
        self._execute(call.run)
        return call


class _Call:
    def __init__(self, function: function_worker.Function, task: Mapping[str, Any], heard: function_pool.Heard) -> None:
        self._function = function
        self._task = task
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._reporter = reporting.Reporter(self._send, reporting.rules_from(task.get("rules")))
        self._dead = False

    def run(self) -> None:
        """Call it, in whichever thread this is."""
        if self._dead:
            return
        with reporting.entered(self._reporter):
            end = function_worker.call(self._function, self._task["values"], self._task["objective"], self._reporter)
        end["readings"] = [*self._reporter.rest(), *end.get("readings", ())]
        self._tell(end)

    def kill(self) -> None:
        """It cannot be killed: nobody listens any more, and its next report ends it."""
        self._dead = True
        self._reporter.stop = True

    def _send(self, readings: list[reporting.Reading]) -> None:
        self._tell({"readings": readings})

    def _tell(self, message: dict[str, Any]) -> None:
        if not self._dead and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, message)

    def _deliver(self, message: dict[str, Any]) -> None:
        if not self._dead:
            self._heard(message)
