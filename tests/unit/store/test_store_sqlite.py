"""The database file: what is refused, what is migrated, what a backup is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import pytest

from kuttab.api import kinds
from kuttab.base import clock, errors
from kuttab.client import embedded
from kuttab.store import log, objects, sqlite
from kuttab.testing import builders, clients_base


def store(path: Path, **options: object) -> objects.Store:
    """A store on a file."""
    return objects.Store(path, clock=clock.SystemClock(), options=objects.Options(**options))  # type: ignore[arg-type]


async def filled(path: Path, count: int = 50) -> None:
    """A cleanly closed database with some objects."""
    async with store(path) as opened:
        for number in range(count):
            opened.create(builders.trial(f"t{number:03}"))


def names(folder: Path) -> list[str]:
    """What a folder holds."""
    return sorted(found.name for found in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {found.name: found.read_bytes() for found in folder.iterdir() if found.is_file()}


def clear(folder: Path) -> None:
    """Remove a database and what SQLite put beside it."""
    for found in folder.glob("objects.db*"):
        found.unlink()


async def refused(path: Path, match: str) -> None:
    """Opening is refused with CorruptError, a path and advice; the file and its folder stay byte by byte."""
    before = contents(path.parent)
    with pytest.raises(errors.CorruptError, match=match) as caught:
        await store(path).open()
    assert str(path) in caught.value.message
    assert contents(path.parent) == before


async def test_a_new_store_has_two_namespaces(tmp_path: Path) -> None:
    """The first start makes default and kubeflow, both open for experiments; a deleted one does not come back."""
    async with store(tmp_path / "objects.db") as opened:
        found = opened.list(kinds.NAMESPACE).items
        assert [obj.name for obj in found] == ["default", "kubeflow"]
        assert all(obj.metadata.label("katib.kubeflow.org/metrics-collector-injection") == "enabled" for obj in found)
        opened.delete(kinds.NAMESPACE, "", "kubeflow")
        await clients_base.until_gone(embedded.EmbeddedClient(opened), found[1])
    async with store(tmp_path / "objects.db") as opened:
        assert [obj.name for obj in opened.list(kinds.NAMESPACE).items] == ["default"]


async def test_files_are_private(tmp_path: Path) -> None:
    """Nobody but the owner may read objects, which can hold secrets."""
    await filled(tmp_path / "objects.db", 1)
    assert (tmp_path / "objects.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\0" * 5000,
        b"SQLite format 3\0",
        b"SQLite format 3\0" + b"\0" * 84,
        os.urandom(20_000),
        b"%PDF-1.4" * 500,
    ],
    ids=["empty", "short", "zeros", "magic only", "empty header", "random", "pdf"],
)
async def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is not ours is never overwritten."""
    (tmp_path / "objects.db").write_bytes(content)
    await refused(tmp_path / "objects.db", "objects.db")


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    """A directory in place of the database is named as such."""
    (tmp_path / "objects.db").mkdir()
    await refused(tmp_path / "objects.db", "is a directory")


async def test_a_dangling_link_is_refused(tmp_path: Path) -> None:
    """A link to nothing is not filled with a new database."""
    (tmp_path / "objects.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(errors.CorruptError, match="link to nothing"):
        await store(tmp_path / "objects.db").open()
    assert not (tmp_path / "elsewhere.db").exists()


async def test_a_linked_database_works(tmp_path: Path) -> None:
    """The database may lie elsewhere, behind a link."""
    await filled(tmp_path / "real.db", 1)
    (tmp_path / "objects.db").symlink_to(tmp_path / "real.db")
    async with store(tmp_path / "objects.db") as opened:
        assert opened.get(kinds.TRIAL, "default", "t000")
    async with store(tmp_path / "objects.db") as opened:
        opened.abandon()
    async with store(tmp_path / "objects.db") as opened:
        assert opened.get(kinds.TRIAL, "default", "t000")


async def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    """Another program's SQLite file is not touched."""
    with contextlib.closing(sqlite3.connect(tmp_path / "objects.db")) as connection:
        connection.execute("CREATE TABLE theirs (a)")
        connection.commit()
    await refused(tmp_path / "objects.db", "another program")


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A database of a newer version is refused, also when the version is only in the write-ahead log."""
    await filled(tmp_path / "objects.db", 1)
    with contextlib.closing(sqlite3.connect(tmp_path / "objects.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    await refused(tmp_path / "objects.db", "schema 99")


async def test_a_truncated_database_is_refused(tmp_path: Path) -> None:
    """A database whose end is missing is refused."""
    await filled(tmp_path / "objects.db")
    size = (tmp_path / "objects.db").stat().st_size
    os.truncate(tmp_path / "objects.db", size - 3 * 4096)
    await refused(tmp_path / "objects.db", "damaged")


async def test_flipped_bytes_never_go_unnoticed(tmp_path: Path) -> None:
    """A flipped byte in any page is refused at start, or found when the object is read; or it lies in unused space and changes nothing."""
    whole = tmp_path / "whole.db"
    await filled(whole, 30)
    async with store(whole) as opened:
        wanted = opened.list(kinds.TRIAL).items
    content = whole.read_bytes()
    noticed = 0
    for offset in range(100, len(content), 2003):
        path = tmp_path / "objects.db"
        path.write_bytes(content[:offset] + bytes([content[offset] ^ 0x41]) + content[offset + 1 :])
        opened = store(path)
        try:
            await opened.open()
            assert opened.list(kinds.TRIAL).items == wanted
        except errors.CorruptError:
            noticed += 1
        finally:
            opened.abandon()
            clear(tmp_path)
    assert noticed > 15


OPEN = """
import asyncio, os, sys, pathlib
from kuttab.base import clock, errors
from kuttab.store import objects
if os.getuid() == 0:  # root may write everything
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    asyncio.run(objects.Store(pathlib.Path(sys.argv[1]), clock=clock.SystemClock()).open())
except errors.CorruptError as error:
    print("REFUSED", error.message)
"""


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o777), (0o444, 0o555), (0o666, 0o555), (0o000, 0o777)])
def test_a_read_only_database_is_refused(file: int, folder: int) -> None:
    """A database, or a folder, that may not be written is refused with the advice to change permissions."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        path = Path(name) / "objects.db"
        asyncio.run(filled(path, 1))
        path.chmod(file)
        Path(name).chmod(folder)
        done = subprocess.run(
            [sys.executable, "-c", OPEN, str(path)], capture_output=True, text=True, timeout=60, check=False
        )
        Path(name).chmod(0o777)
        assert "REFUSED" in done.stdout, done.stderr
        assert "permission" in done.stdout
        assert names(Path(name)) == ["objects.db"]


async def test_a_lost_write_ahead_log_is_noticed(tmp_path: Path) -> None:
    """A live database copied without its -wal file is refused, again and again, until the loss is accepted."""
    path = tmp_path / "objects.db"
    opened = await store(path).open()
    opened.create(builders.trial("one"))
    await opened.settle()
    copy = tmp_path / "copy" / "objects.db"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    await opened.close()
    for _ in range(2):
        await refused(copy, "-wal, which is gone")
    async with store(copy, accept_loss=True) as old:
        with pytest.raises(errors.NotFoundError):
            old.get(kinds.TRIAL, "default", "one")


async def test_a_copy_with_its_write_ahead_log_is_whole(tmp_path: Path) -> None:
    """Copying all files of a database at rest after a kill loses nothing."""
    path = tmp_path / "objects.db"
    opened = await store(path).open()
    opened.create(builders.trial("one"))
    await opened.settle()
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("objects.db", "objects.db-wal"):
        shutil.copy(tmp_path / name, copy / name)
    await opened.close()
    async with store(copy / "objects.db") as again:
        assert again.get(kinds.TRIAL, "default", "one")


async def test_backup_and_restore(tmp_path: Path) -> None:
    """A backup of a live store holds everything written before it, opens as a store, and never replaces a file."""
    async with store(tmp_path / "objects.db") as opened:
        made = opened.create(builders.trial("one"))
        await opened.backup(tmp_path / "saved.db")
        opened.create(builders.trial("two"))
        with pytest.raises(errors.BadInputError, match="exists"):
            await opened.backup(tmp_path / "saved.db")
        later = opened.revision
    assert names(tmp_path) == ["objects.db", "saved.db"]
    async with store(tmp_path / "saved.db") as restored:
        assert restored.get(kinds.TRIAL, "default", "one") == made
        assert [obj.name for obj in restored.list(kinds.TRIAL).items] == ["one"]
        # Revisions of the other future are never given out again, and whoever remembers one lists again.
        assert restored.create(builders.trial("three")).revision > later + 1_000_000
        with pytest.raises(errors.ExpiredError):
            await anext(restored.watch(kinds.TRIAL, resource_version=str(later)))


async def test_backup_into_nowhere(tmp_path: Path) -> None:
    """A backup that cannot be written is an error and leaves nothing behind."""
    async with store(tmp_path / "objects.db") as opened:
        with pytest.raises(errors.UnavailableError):
            await opened.backup(tmp_path / "missing" / "saved.db")
    async with objects.Store(None, clock=clock.SystemClock(), options=objects.Options(commits="settle")) as memory:
        with pytest.raises(errors.BadInputError, match="memory"):
            await memory.backup(tmp_path / "saved.db")


@pytest.mark.parametrize(
    "name", ["with space.db", "per%cent?#&.db", 'quote\'s "x".db', "ünï😀.db", "new\nline.db", "x" * 200 + ".db"]
)
async def test_odd_paths(tmp_path: Path, name: str) -> None:
    """Any file name works, through a kill too."""
    opened = await store(tmp_path / name).open()
    opened.create(builders.trial("one"))
    await opened.settle()
    opened.abandon()
    async with store(tmp_path / name) as again:
        assert again.get(kinds.TRIAL, "default", "one")


KNOWN = len(sqlite.SCHEMA)
MORE: sqlite.Steps = (
    *sqlite.SCHEMA,
    (
        "one step more",
        ("ALTER TABLE log ADD COLUMN extra TEXT", "UPDATE log SET extra = name", "CREATE TABLE more (a INTEGER)"),
    ),
    ("and another", ("INSERT INTO more VALUES (7)", "DROP INDEX pending")),
)


def shape(path: Path) -> tuple[int, list[str]]:
    """Schema version and the names of everything in the schema."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        return version, sorted(row[0] for row in connection.execute("SELECT name FROM sqlite_master"))


async def test_migration(tmp_path: Path) -> None:
    """An older schema is brought up step by step, and then refused by the older version."""
    path = tmp_path / "objects.db"
    await filled(path, 3)
    sqlite.prepare(path, schema=MORE)
    assert shape(path)[0] == KNOWN + 2
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM log WHERE extra = name").fetchone()[0] == 5
    await refused(path, f"schema {KNOWN + 2}")


KILLED = """
import sqlite3, sys, os, signal, pathlib
sys.path.insert(0, sys.argv[3])
from kuttab.store import sqlite
import test_store_sqlite as tests
at = int(sys.argv[2])
class Killer(sqlite3.Connection):
    count = 0
    def execute(self, *arguments):
        Killer.count += 1
        if Killer.count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*arguments)
connection = sqlite3.connect(sys.argv[1], isolation_level=None, factory=Killer)
sqlite.migrate(connection, tests.MORE)
connection.close()
"""


@pytest.mark.slow
def test_a_migration_killed_at_any_statement_is_atomic(tmp_path: Path) -> None:
    """After a kill before each statement of a migration the database is at a whole step, and migrates on."""
    path = tmp_path / "objects.db"
    asyncio.run(filled(path, 2))
    whole = path.read_bytes()
    shapes = set()
    for at in range(1, 15):
        clear(tmp_path)
        path.write_bytes(whole)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(path), str(at), str(Path(__file__).parent)],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        version, parts = shape(path)
        shapes.add(version)
        assert ("more" in parts) == (version > KNOWN)
        assert ("pending" in parts) == (version < KNOWN + 2)
        sqlite.prepare(path, schema=MORE)
        assert shape(path)[0] == KNOWN + 2
    assert shapes == {KNOWN, KNOWN + 1, KNOWN + 2}


async def test_creation_killed_half_way_starts_over(tmp_path: Path) -> None:
    """A kill during the first start leaves only a file of another name, which the next start replaces."""
    (tmp_path / "objects.db.new").write_bytes(b"half")
    await filled(tmp_path / "objects.db", 1)
    assert names(tmp_path) == ["objects.db"]


async def test_a_missing_folder(tmp_path: Path) -> None:
    """A folder that does not exist is an error that names the path."""
    with pytest.raises(errors.UnavailableError, match=r"missing/objects\.db"):
        await store(tmp_path / "missing" / "objects.db").open()


async def test_rows_that_do_not_fit_their_kind_are_damage(tmp_path: Path) -> None:
    """A stored body that its kind cannot read is reported as damage, with the object's name."""
    path = tmp_path / "objects.db"
    await filled(path, 1)
    body = b'{"apiVersion":"kubeflow.org/v1beta1","kind":"Trial","metadata":{"name":5}}'
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE log SET body = ?, crc = ? WHERE kind LIKE '%Trial'", (body, zlib.crc32(body)))
        connection.commit()
    async with store(path) as opened:
        with pytest.raises(errors.CorruptError, match="t000"):
            opened.get(kinds.TRIAL, "default", "t000")


def test_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite without the functions we need is named at start, not found out later."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 30, 0))
    with pytest.raises(errors.UnavailableError, match="too old"):
        sqlite.prepare(tmp_path / "objects.db")


def test_groups_of_every_size(tmp_path: Path) -> None:
    """A group of any size up to the largest is written whole."""
    sqlite.prepare(tmp_path / "objects.db")
    with contextlib.closing(sqlite.connect(tmp_path / "objects.db")) as connection:
        revision = 0
        for size in (1, 2, 8, 9, 63, 64, 65, 255, 256):
            group = []
            for _ in range(size):
                revision += 1
                obj = builders.config_map(f"c{revision}")
                group.append(log.Entry(revision, log.Op.ADDED, log.Key("/ConfigMap", "default", obj.name), obj, b"{}"))
            log.append(connection, group)
        assert connection.execute("SELECT count(*) FROM log").fetchone()[0] == revision
