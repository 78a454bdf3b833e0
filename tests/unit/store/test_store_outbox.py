"""The outbox: what entries rely on is in their file with them, for as long as it is owed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kuttab.base import clock, disk, errors
from kuttab.ports import outbox
from kuttab.ports.objects import Survives
from kuttab.store import log, objects, writer
from kuttab.testing import builders

PATIENCE = 30.0
KILL = Survives.KILL
FIRST, SECOND = outbox.Letter(3, b"first"), outbox.Letter(4, b"second")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests need not wait for the disk as long as people do."""
    monkeypatch.setattr(writer, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(writer, "_LONGEST_PAUSE", 0.01)


class Owing:
    """A reliance that owes what it is told to, and keeps what it was told of."""

    def __init__(self, *owes: outbox.Letter) -> None:
        self.owes = list(owes)
        self.left: Sequence[outbox.Letter] | None = None

    def found(self, letters: Sequence[outbox.Letter]) -> None:
        """See the protocol."""
        assert self.left is None, "told twice"
        self.left = letters

    def owed(self, patience: float) -> Sequence[outbox.Letter]:
        """See the protocol."""
        return list(self.owes)


def make(path: Path, reliance: outbox.Reliance | None) -> objects.Store:
    """A store on a file."""
    return objects.Store(path, clock=clock.SystemClock(), options=objects.Options(reliance=reliance))


def there(path: Path) -> dict[int, bytes]:
    """The outbox in the file, read by another connection."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT number, body FROM outbox"))


def trials(path: Path) -> list[str]:
    """Trials in the file, read by another connection."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM log WHERE kind LIKE '%Trial' ORDER BY id")]


@pytest.mark.parametrize("survives", list(Survives))
async def test_letters_go_with_the_next_group_and_leave_with_a_later_one(tmp_path: Path, survives: Survives) -> None:
    """Once each, whoever commits; nothing is written for letters alone."""
    path, owing = tmp_path / "objects.db", Owing()
    async with make(path, owing) as store:
        assert owing.left == []
        await store.settle()
        owing.owes = [FIRST, SECOND]
        await store.settle(survives=survives)
        assert there(path) == {}
        for number, (owes, wanted) in enumerate(
            [([FIRST], {3}), ([FIRST, SECOND], {3, 4}), ([SECOND], {4}), ([], set()), ([FIRST], {3})]
        ):
            owing.owes = owes
            store.create(builders.trial(f"t{number}"))
            await asyncio.wait_for(store.settle(survives=survives), PATIENCE)
            assert there(path).keys() == wanted
        owing.owes = []
    assert there(path) == {}, "an orderly end sweeps"


async def test_what_is_left_is_found_and_kept_until_it_has_arrived(tmp_path: Path) -> None:
    """A kill leaves letters: a store without a reliance keeps them, the next owner is told of them in order, before it commits."""
    path, owing = tmp_path / "objects.db", Owing(SECOND, FIRST)
    store = await make(path, owing).open()
    store.create(builders.trial("one"))
    await store.settle()
    store.abandon()
    assert there(path) == {3: b"first", 4: b"second"}
    async with make(path, None) as store:
        store.create(builders.trial("two"))
        await store.settle()
    assert there(path) == {3: b"first", 4: b"second"}
    again = Owing(FIRST, SECOND)
    async with make(path, again) as store:
        assert again.left == [FIRST, SECOND]
        store.create(builders.trial("three"))
        await store.settle()
        assert there(path).keys() == {3, 4}
    assert there(path).keys() == {3, 4}


async def test_many_letters_beside_a_full_group(tmp_path: Path) -> None:
    """As many as there may be, gone and new at once, with the most entries that a transaction takes."""
    path = tmp_path / "objects.db"
    owing = Owing(*(outbox.Letter(number, b"x") for number in range(outbox.MOST)))
    async with make(path, owing) as store:
        for turn in range(2):
            owing.owes = [outbox.Letter(turn * outbox.MOST + number, b"x") for number in range(outbox.MOST)]
            for number in range(log.GROUP):
                store.create(builders.trial(f"t{turn}-{number:03}"))
            await asyncio.wait_for(store.settle(), PATIENCE)
            assert there(path).keys() == {letter.number for letter in owing.owes}
    assert len(trials(path)) == 2 * log.GROUP


async def test_lost_letters_are_written_again_with_what_relies_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the letters are looked at like the entries, and those that are still owed are put back."""
    path, held = tmp_path / "objects.db", threading.Event()
    real, forgotten = disk.sync, []

    def forget(place: Path) -> None:
        assert held.wait(PATIENCE), "the fsync was never let go"
        if not forgotten:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("DELETE FROM log WHERE id > ?", (store.durable,))
                forgotten.append(connection.execute("DELETE FROM outbox").rowcount)
            raise OSError(5, "Input/output error")
        real(place)

    append = log.append

    def watched(connection: sqlite3.Connection, entries: Sequence[log.Entry], *more: Any) -> None:
        append(connection, entries, *more)
        assert not (forgotten and entries) or log.posted(connection) == {4}, (
            "first the letters, then what relies on them"
        )

    monkeypatch.setattr(log, "append", watched)
    owing = Owing(FIRST, SECOND)
    async with make(path, owing) as store:
        monkeypatch.setattr(disk, "sync", forget)
        store.create(builders.trial("one"))
        await store.settle(survives=KILL)
        owing.owes = [SECOND]
        held.set()
        await asyncio.wait_for(store.settle(), PATIENCE)
        assert forgotten == [2]
        assert (trials(path), there(path)) == (["one"], {4: b"second"})


@pytest.mark.parametrize("seed", range(4))
async def test_power_loss_never_leaves_an_entry_without_its_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever of the file is left at a power loss: each trial that is there has the letter that it relies on, or that had arrived."""
    path, left = tmp_path / "objects.db", tmp_path / "left"
    left.mkdir()
    real = disk.sync
    arrived: list[set[int]] = [set()]
    images: list[tuple[Path, set[int]]] = []

    def image(place: Path) -> None:  # all that was written up to here, synced or not: a prefix of the log
        folder = left / str(len(images))
        folder.mkdir()
        for name in ("objects.db", "objects.db-wal"):
            shutil.copy(tmp_path / name, folder / name)
        images.append((folder, set(arrived[0])))  # after the copy: what it lacks may have arrived meanwhile
        real(place)

    owing = Owing()
    store = await make(path, owing).open()
    monkeypatch.setattr(disk, "sync", image)
    for number in range(40):
        owing.owes = [*owing.owes, outbox.Letter(number + 1, b"rows")]
        store.create(builders.trial(f"t{number:03}"))
        if number % 3 == seed % 3:
            await store.settle(survives=KILL)
        if number % 7 == seed:
            arrived[0] |= {letter.number for letter in owing.owes}
            owing.owes = []
        if number % 5 == seed:
            await asyncio.sleep(0.03)
    store.abandon()
    images.append((tmp_path, arrived[0]))
    assert len(images) > 3
    for folder, known in images:
        wanted = {int(name[1:]) + 1 for name in trials(folder / "objects.db")}
        assert wanted <= known | there(folder / "objects.db").keys()


async def test_a_damaged_letter_is_damage(tmp_path: Path) -> None:
    """What is owed is checked like everything else that is read back."""
    path = tmp_path / "objects.db"
    store = await make(path, Owing(FIRST)).open()
    store.create(builders.trial("one"))
    await store.settle()
    store.abandon()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE outbox SET body = CAST('worst' AS BLOB)")
    with pytest.raises(errors.CorruptError, match="letter 3"):
        await make(path, Owing()).open()
