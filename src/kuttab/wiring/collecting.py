"""Results of stored experiments: objects, metric rows and logs of a data folder brought together for :class:`kuttab.sdk.results.Result`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from kuttab.api.history import TrialState
from kuttab.node import settings as node_settings
from kuttab.ports import observations as observation_port
from kuttab.sdk import results
from kuttab.wiring import observing, reading
from kuttab.wiring import settings as settings_

LOGS = 20
"""Failed trials whose logs are read, at most: the newest."""

LOG_TAIL = 8192
"""Bytes of a log that are read: its end."""


@contextlib.asynccontextmanager
async def rows(settings: settings_.Settings) -> AsyncIterator[results.ReadRows]:
    """A reader of metric rows for callers without a loop of their own (plots run in a worker thread); open while inside."""
    loop = asyncio.get_running_loop()
    async with observing.beside(settings) as log:

        def read(key: observation_port.TrialKey) -> Sequence[observation_port.Row]:
            return asyncio.run_coroutine_threadsafe(log.read(key), loop).result()

        yield read


class LazyRows:
    """A reader that opens the observation log each time it is asked, in a thread of its own: for results that outlive everything."""

    def __init__(self, settings: settings_.Settings) -> None:
        self._settings = settings

    def __call__(self, key: observation_port.TrialKey) -> Sequence[observation_port.Row]:
        """Rows in the order of arrival."""

        async def read() -> Sequence[observation_port.Row]:
            async with observing.beside(self._settings) as log:
                return await log.read(key)

        return in_thread(read)


def in_thread(
    read: Callable[[], Coroutine[Any, Any, Sequence[observation_port.Row]]],
) -> list[observation_port.Row]:
    """Run a coroutine in a thread of its own and wait for it: the caller's thread may have a loop that runs."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(asyncio.run(read()))
        except BaseException as problem:  # raised again where it was asked for
            found.append(problem)

    thread = threading.Thread(target=work, name="kuttab-rows", daemon=True)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return list(found[0])


async def result_of(
    objects: Any, name: str, namespace: str | None = None, read: results.ReadRows | None = None
) -> results.Result:
    """The result of an experiment. Raises NotFoundError, BadInputError when the name is in several namespaces."""
    subject = await reading.experiment_of(objects, name, namespace)
    return results.Result.of(subject, await reading.trials_of(objects, subject), read=read)


def log_file(settings: settings_.Settings, name: str) -> Path | None:
    """The newest attempt's log of a trial."""
    return node_settings.main_log(settings.trials, name)


def failure_logs(settings: settings_.Settings, result: results.Result) -> dict[str, str]:
    """The ends of the logs of trials that failed, by trial."""
    return dict(_logs(settings, result))


def _logs(settings: settings_.Settings, result: results.Result) -> Iterator[tuple[str, str]]:
    failed = [item for item in result.trials if item.state in (TrialState.FAILED, TrialState.METRICS_UNAVAILABLE)]
    for item in failed[-LOGS:]:
        path = log_file(settings, item.name)
        if path is None:
            continue
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - LOG_TAIL))
            yield item.name, file.read().decode(errors="replace")
