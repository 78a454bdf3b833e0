"""The observation log's contract where no server is needed; ``test_observations_servers`` has the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kuttab.observations import behind, memory, sql
from kuttab.testing.observations import ObservationsContract


class TestMemory(ObservationsContract):
    """In memory."""

    @pytest.fixture
    async def observations(self) -> AsyncIterator[memory.MemoryObservations]:
        """An empty log."""
        log = memory.MemoryObservations()
        yield log
        await log.close()


class TestSqlite(ObservationsContract):
    """In an SQLite file."""

    @pytest.fixture
    async def observations(self, tmp_path: Path) -> AsyncIterator[sql.SqlObservations]:
        """An empty file."""
        log = sql.SqlObservations(f"sqlite:///{tmp_path}/observations.db")
        yield log
        await log.close()


class TestSqliteInMemory(ObservationsContract):
    """In SQLite without a file."""

    @pytest.fixture
    async def observations(self) -> AsyncIterator[sql.SqlObservations]:
        """An empty database."""
        log = sql.SqlObservations("sqlite://")
        yield log
        await log.close()


class TestBehind(ObservationsContract):
    """A step behind an SQLite file."""

    @pytest.fixture
    async def observations(self, tmp_path: Path) -> AsyncIterator[behind.Behind]:
        """An empty file."""
        log = behind.Behind(sql.SqlObservations(f"sqlite:///{tmp_path}/observations.db"), behind.Gate())
        yield log
        await log.close()
