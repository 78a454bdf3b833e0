"""The log a step behind: what is taken at once, what waits at the gate, what a refusing database does."""

from __future__ import annotations

import asyncio
import pathlib
import threading

import pytest

from kuttab.base import errors
from kuttab.observations import behind, sql
from kuttab.ports.observations import Row, TrialKey

KEY = TrialKey("uid", "trial", "default")


async def test_gate_opens_when_rows_are_on_disk(tmp_path: pathlib.Path) -> None:
    """An end is answered at once; whoever waits at the gate goes on after the commit, and then the rows are in the file."""
    gate, path = behind.Gate(), tmp_path / "rows.db"
    log = behind.Behind(sql.SqlObservations(sql.file_url(path)), gate)
    await log.open()
    summary = await log.complete(KEY, "one", 0, [Row("loss", "3"), Row("loss", "1")])
    assert summary.complete
    assert (summary.metrics["loss"].min, summary.metrics["loss"].latest) == ("1", "1")
    assert await log.summarize(KEY) == summary
    await asyncio.to_thread(gate.wait, 10)
    other = sql.SqlObservations(sql.file_url(path))
    assert await other.summarize(KEY) == summary
    await other.close()
    await log.close()


def test_gate_refuses_after_its_patience() -> None:
    """What is taken and not stored keeps the gate shut: slow and refused are told apart; a later entry does not count."""
    gate = behind.Gate()
    first = gate.enter()
    with pytest.raises(errors.DeadlineError, match="slow"):
        gate.wait(0.01)
    gate.refuse("disk full")
    with pytest.raises(errors.UnavailableError, match="metric rows wait for their database: disk full"):
        gate.wait(10)
    gate.problem = ""
    waiting = threading.Thread(target=gate.wait, args=(10,))
    waiting.start()
    later = gate.enter()
    gate.leave(first)
    waiting.join(10)
    gate.leave(later)
    gate.wait(0)
    assert gate.problem == ""


class _Refusing(sql.SqlObservations):
    """A log that is away for its first tries."""

    def __init__(self, url: str, failures: int) -> None:
        super().__init__(url)
        self.failures = failures

    def begin_complete(self, trial, source, checked, committed):  # type: ignore[no-untyped-def]
        """Fail some times."""
        if self.failures:
            self.failures -= 1
            future = asyncio.get_running_loop().create_future()
            future.set_exception(errors.UnavailableError("away"))
            return future
        return super().begin_complete(trial, source, checked, committed)


async def test_refused_rows_are_tried_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away gets the rows when it is back; the gate stays shut until then; closing waits for it."""
    monkeypatch.setattr(behind, "_FIRST_PAUSE", 0.0)
    gate, url = behind.Gate(), sql.file_url(tmp_path / "rows.db")
    log = behind.Behind(_Refusing(url, 3), gate)
    await log.complete(KEY, "one", 0, [Row("loss", "1")])
    with pytest.raises(errors.UnavailableError):
        gate.wait(0)
    await log.close()
    gate.wait(0)
    other = sql.SqlObservations(url)
    assert [row.value for row in await other.read(KEY)] == ["1"]
    await other.close()


async def test_memory_answers_only_what_it_knows(tmp_path: pathlib.Path) -> None:
    """After rows of another source the log itself is asked, so that nothing is answered from an old memory."""
    log = behind.Behind(sql.SqlObservations(sql.file_url(tmp_path / "rows.db")), behind.Gate())
    await log.complete(KEY, "one", 0, [Row("loss", "1")])
    await log.fence(KEY, "two")
    await log.report(KEY, "two", 0, [Row("loss", "7")])
    summary = await log.complete(KEY, "two", 1, [Row("loss", "8")])
    assert (summary.metrics["loss"].min, summary.metrics["loss"].count) == ("7", 2)
    await log.delete(KEY)
    assert not (await log.summarize(KEY)).metrics
    await log.close()
