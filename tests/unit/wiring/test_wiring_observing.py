"""Metric rows of a data folder: what a killed run left is brought to their log, and who reads beside the owner misses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator

import pytest

from kuttab.base import errors
from kuttab.observations import behind, sql
from kuttab.ports.observations import Row, TrialKey
from kuttab.testing import builders
from kuttab.wiring import control, meeting, observing, opening
from kuttab.wiring import settings as settings_

KEY = TrialKey("uid", "trial", "default")
ROWS = [Row("loss", "3"), Row("loss", "1")]


@pytest.fixture
def settings(tmp_path: pathlib.Path) -> settings_.Settings:
    """Of a folder that does not exist yet."""
    return settings_.Settings(tmp_path / "data")


def outbox_of(settings: settings_.Settings) -> int:
    """How many letters are in the file."""
    with contextlib.closing(sqlite3.connect(settings.objects_db)) as connection:
        found: int = connection.execute("SELECT count(*) FROM outbox").fetchone()[0]
        return found


async def killed(settings: settings_.Settings) -> None:
    """A run that ends, as by a kill, when objects were written and the rows that they follow from had not reached their log."""
    gate = behind.Gate()
    async with opening.store(settings, gate) as store, observing.owned(settings, gate) as rows:
        with contextlib.closing(sqlite3.connect(settings.data / "observations.db", isolation_level=None)) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            await rows.complete(KEY, "one", 0, ROWS)
            store.create(builders.trial("one"))
            await store.settle()
            store.abandon()
            for path in settings.data.glob("observations.db*"):
                path.unlink()  # what the orderly end of this block will write is not there either


async def test_the_next_command_brings_what_was_left(settings: settings_.Settings) -> None:
    """Whoever opens the folder, also for a moment: the rows are where everybody looks for them, and nothing is owed."""
    await killed(settings)
    assert outbox_of(settings) == 1
    async with opening.opened(settings), observing.beside(settings) as log:
        assert await log.read(KEY) == ROWS
    assert outbox_of(settings) == 0


async def test_what_cannot_be_brought_stays(settings: settings_.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log's database is away objects can be looked at and written, and the rows wait."""
    await killed(settings)

    async def away(self: sql.SqlObservations) -> None:
        raise errors.UnavailableError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(sql.SqlObservations, "open", away)
        patched.setattr(sql.SqlObservations, "_start", lambda self: None)
        async with opening.opened(settings) as objects:
            await objects.create(builders.config_map("one"))
            await objects.settle()
    assert outbox_of(settings) == 1
    async with opening.opened(settings):
        pass
    async with observing.observations(settings) as log:
        assert await log.read(KEY) == ROWS


@contextlib.asynccontextmanager
async def an_owner(settings: settings_.Settings) -> AsyncIterator[behind.Behind]:
    """Somebody who owns the folder, and has just taken the rows of a trial."""
    settings.data.mkdir()
    async with (
        observing.owned(settings, behind.Gate()) as rows,
        control.ControlServer(None, meeting.address(settings.data), rows.settle).serving(),  # type: ignore[arg-type]
    ):
        await rows.complete(KEY, "one", 0, ROWS)
        yield rows


async def read_beside(settings: settings_.Settings) -> list[Row]:
    """The rows, as another process reads them."""
    async with observing.beside(settings) as log:
        return await log.read(KEY)


async def test_a_reader_beside_the_owner_misses_nothing(
    settings: settings_.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that the owner gathers are in the log before it is read in another process."""
    monkeypatch.setattr(sql, "GATHER", 1e6)
    async with an_owner(settings):
        assert await asyncio.to_thread(asyncio.run, read_beside(settings)) == ROWS


async def test_an_owner_that_answers_nobody_is_not_waited_for_long(settings: settings_.Settings) -> None:
    """By then the rows are there unasked: an owner that reads in its own loop would wait for itself."""
    async with an_owner(settings):
        begun = time.monotonic()
        found: list[list[Row]] = []
        thread = threading.Thread(target=lambda: found.append(asyncio.run(read_beside(settings))))
        thread.start()
        thread.join()  # the loop stands still
        assert found == [ROWS]
        assert time.monotonic() - begun < 10
