"""The same client for programs without an event loop, and for notebooks, which have one that is busy.

It owns a thread with a loop of its own; every call runs there and the caller waits. Calls from several threads are fine.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Self, TypeVar

from kuttab.api import experiment as experiments
from kuttab.api import meta
from kuttab.api import suggestion as suggestions
from kuttab.api import trial as trials_
from kuttab.base import errors
from kuttab.ports.observations import Row
from kuttab.sdk import client, results, search

T = TypeVar("T")


class Client:
    """Experiments of one world. Use it with ``with``, or call :meth:`close`; see :class:`AsyncClient` for each method."""

    def __init__(self, inner: Callable[[], client.AsyncClient]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="kuttab-client", daemon=True)
        self._thread.start()
        self._closed = False
        try:
            self._inner = self._call(_made(inner))
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let connections and the thread go; more calls do nothing."""
        if not self._closed:
            self._call(self._inner.close())
            self._stop()

    def create(
        self, experiment: client.Given, *, warm_start: Any = None, space: Mapping[str, search.Dimension] | None = None
    ) -> experiments.Experiment:
        """Create an experiment; it starts as soon as somebody runs the world (:meth:`wait` does, where nobody else)."""
        return self._call(self._inner.create(experiment, warm_start=warm_start, space=space))

    def apply(self, path: str | os.PathLike[str]) -> list[meta.Object]:
        """Create what a manifest file holds, or change what is there to it."""
        return self._call(self._inner.apply(path))

    def get(self, name: str, namespace: str | None = None) -> experiments.Experiment:
        """An experiment."""
        return self._call(self._inner.get(name, namespace))

    def trial(self, name: str, namespace: str | None = None) -> trials_.Trial:
        """A trial."""
        return self._call(self._inner.trial(name, namespace))

    def trials(self, name: str, namespace: str | None = None) -> list[trials_.Trial]:
        """The trials of an experiment, by slot."""
        return self._call(self._inner.trials(name, namespace))

    def suggestion(self, name: str, namespace: str | None = None) -> suggestions.Suggestion:
        """The dialogue of an experiment with its algorithm."""
        return self._call(self._inner.suggestion(name, namespace))

    def result(
        self, name: str, namespace: str | None = None, *, space: Mapping[str, search.Dimension] | None = None
    ) -> results.Result:
        """What an experiment has come to so far."""
        return self._call(self._inner.result(name, namespace, space=space))

    def logs(self, trial: str, namespace: str | None = None, *, tail: int | None = None) -> str:
        """What a trial's program printed."""
        return self._call(self._inner.logs(trial, namespace, tail=tail))

    def metrics(self, trial: str, metric: str = "", namespace: str | None = None) -> list[Row]:
        """What a trial reported, in the order of arrival."""
        return self._call(self._inner.metrics(trial, metric, namespace))

    def wait(
        self,
        name: str,
        namespace: str | None = None,
        *,
        timeout: float | None = None,
        until: Callable[[experiments.Experiment], bool] | None = None,
    ) -> experiments.Experiment:
        """Return the experiment once it has ended, or once ``until`` says so; DeadlineError after ``timeout`` seconds."""
        return self._call(self._inner.wait(name, namespace, timeout=timeout, until=until))

    def edit(
        self,
        name: str,
        namespace: str | None = None,
        *,
        max_trials: int | None = None,
        parallel: int | None = None,
        max_failed: int | None = None,
    ) -> experiments.Experiment:
        """Change the budget: what is not given stays."""
        return self._call(
            self._inner.edit(name, namespace, max_trials=max_trials, parallel=parallel, max_failed=max_failed)
        )

    def stop(self, name: str, namespace: str | None = None) -> experiments.Experiment:
        """End an experiment now and keep what was found."""
        return self._call(self._inner.stop(name, namespace))

    def pause(self, name: str, namespace: str | None = None) -> experiments.Experiment:
        """Start no new trials until :meth:`resume`."""
        return self._call(self._inner.pause(name, namespace))

    def resume(self, name: str, namespace: str | None = None) -> experiments.Experiment:
        """Take :meth:`pause` back."""
        return self._call(self._inner.resume(name, namespace))

    def delete(self, name: str, namespace: str | None = None) -> None:
        """Delete an experiment with its trials, metrics and logs."""
        self._call(self._inner.delete(name, namespace))

    def list(self, namespace: str | None = None, *, labels: str = "") -> list[experiments.Experiment]:
        """Experiments, by namespace and name."""
        return self._call(self._inner.list(namespace, labels=labels))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise errors.BadInputError("this client has been closed; make another one")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _stop(self) -> None:
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _work(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


async def _made(inner: Callable[[], client.AsyncClient]) -> client.AsyncClient:
    return inner()
