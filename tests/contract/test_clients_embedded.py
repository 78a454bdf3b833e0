"""The client contract on the embedded store: with its writer thread, with commits at settle, and in memory."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kuttab.base import clock
from kuttab.client import embedded, faults
from kuttab.ports import objects as ports
from kuttab.store import objects
from kuttab.testing import clients


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where the system has one: these tests are not about the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


class TestThread(clients.ClientContract):
    """A database file and a writer thread."""

    @pytest.fixture
    async def client(self, folder: Path) -> AsyncIterator[ports.Objects]:
        """A client over a fresh store."""
        async with objects.Store(folder / "objects.db", clock=clock.SystemClock()) as store:
            yield embedded.EmbeddedClient(store)


class TestMemory(clients.ClientContract):
    """Everything in memory, nothing committed before somebody settles, behind a faulty client without faults."""

    @pytest.fixture
    async def client(self) -> AsyncIterator[ports.Objects]:
        """A client over a fresh store."""
        options = objects.Options(commits="settle")
        async with objects.Store(None, clock=clock.SystemClock(), options=options) as store:
            yield faults.FaultyClient(embedded.EmbeddedClient(store))


class TestCommitted(clients.ClientContract):
    """Every write is on disk before the next one: reads come from the database, not from what waits."""

    @pytest.fixture
    async def client(self, folder: Path) -> AsyncIterator[ports.Objects]:
        """A client over a fresh store without cache."""
        options = objects.Options(commits="settle", backlog=1, cache_objects=0)
        async with objects.Store(folder / "objects.db", clock=clock.SystemClock(), options=options) as store:
            yield embedded.EmbeddedClient(store)
