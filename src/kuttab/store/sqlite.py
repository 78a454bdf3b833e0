"""The database file: create, check, migrate, connect, copy.

Promise: a file that is not ours, or not whole, is refused and left as it is; nothing is ever created over it. What the tables mean is
``log.py``'s matter.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from kuttab.base import errors

APPLICATION_ID: Final = 0x6B757474
"""The letters ``kutt`` at byte 68 of the file."""

_BUSY_SECONDS = 5.0
_CHECK_LIMIT = 64 << 20
"""Files above this size are checked page by page only after an unclean end; 170 MB take 0.4 s."""

Steps = Sequence[tuple[str, Sequence[str]]]

SCHEMA: Final[Steps] = (
    (
        "one log of revisions with an index of terms",
        (
            # next: 0 = current, otherwise the revision that replaced this row; a tombstone: its own revision, negative.
            """CREATE TABLE log (
                id INTEGER PRIMARY KEY, next INTEGER NOT NULL, op INTEGER NOT NULL,
                kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
                version TEXT NOT NULL, uid TEXT NOT NULL, pending INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL)""",
            # At most one current row a name: the uniqueness of names and the optimistic lock in one.
            "CREATE UNIQUE INDEX history ON log (kind, namespace, name, next)",
            "CREATE INDEX replaced ON log (next) WHERE next <> 0",
            "CREATE INDEX pending ON log (id) WHERE pending > 0 AND next = 0",
            # Labels, and owners under the key '@owner'. Rows may outlive what they say until compaction: readers check.
            """CREATE TABLE term (
                key TEXT NOT NULL, value TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
                until INTEGER, PRIMARY KEY (key, value, kind, namespace, name)) WITHOUT ROWID""",
            "CREATE INDEX obsolete ON term (until) WHERE until IS NOT NULL",
            "CREATE TABLE setting (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
            # Revisions that were shown but never became durable: whoever remembers one must list again.
            "CREATE TABLE gap (low INTEGER PRIMARY KEY, high INTEGER NOT NULL)",
            # A group of writes is one INSERT into this view: one statement, one transaction, one fsync.
            """CREATE VIEW entry AS SELECT id, next AS previous, op, kind, namespace, name, version, uid, pending, crc, body,
                '' AS added, '' AS removed FROM log""",
            """CREATE TRIGGER append INSTEAD OF INSERT ON entry WHEN NEW.id IS NOT NULL BEGIN
                UPDATE log SET next = NEW.id WHERE id = NEW.previous;
                INSERT INTO log VALUES (NEW.id, CASE NEW.op WHEN 3 THEN -NEW.id ELSE 0 END, NEW.op, NEW.kind, NEW.namespace, NEW.name,
                    NEW.version, NEW.uid, NEW.pending, NEW.crc, NEW.body);
                UPDATE term SET until = NEW.id WHERE (key, value, kind, namespace, name) IN
                    (SELECT value ->> 0, value ->> 1, NEW.kind, NEW.namespace, NEW.name FROM json_each(NEW.removed));
                INSERT OR REPLACE INTO term SELECT value ->> 0, value ->> 1, NEW.kind, NEW.namespace, NEW.name, NULL
                    FROM json_each(NEW.added);
            END""",
        ),
    ),
    (
        "what other databases are owed",
        (
            "CREATE TABLE outbox (number INTEGER PRIMARY KEY, crc INTEGER NOT NULL, body BLOB NOT NULL)",
            # Rows without an id are no entries; op says what they do. They are part of the group's one statement.
            """CREATE TRIGGER post INSTEAD OF INSERT ON entry WHEN NEW.op = 4 BEGIN
                INSERT OR REPLACE INTO outbox VALUES (NEW.previous, NEW.crc, NEW.body);
            END""",
            """CREATE TRIGGER deliver INSTEAD OF INSERT ON entry WHEN NEW.op = 5 BEGIN
                DELETE FROM outbox WHERE number IN (SELECT value FROM json_each(NEW.removed));
            END""",
        ),
    ),
)


def prepare(path: Path, *, accept_loss: bool = False, schema: Steps = SCHEMA) -> None:
    """Make sure that a healthy database of our schema is at ``path``: create it, or check and migrate what is there.

    CorruptError for anything else that is there, with the path and what to do; the file stays as it is. ``accept_loss`` opens a database
    whose write-ahead log is gone at the state of its last checkpoint.
    """
    if sqlite3.sqlite_version_info < (3, 38):
        raise errors.UnavailableError(
            f"SQLite {sqlite3.sqlite_version} is too old; 3.38 or newer is needed (Python 3.11 brings it)"
        )
    try:
        if not os.path.lexists(path):
            _create(path, schema)
        _check_header(path, schema)
        # The reader is closed last. A writer that is the last to leave moves the write-ahead log into the file and removes it: a kill
        # right after that would leave an unclean end without its log, which is what we refuse.
        with contextlib.closing(_reading(path)) as reading:
            _check_content(path, reading, accept_loss=accept_loss, schema=schema, limit=_CHECK_LIMIT)
            with contextlib.closing(connect(path)) as connection:
                connection.execute("BEGIN IMMEDIATE")  # a file or folder that cannot be written fails here
                connection.execute("ROLLBACK")
                migrate(connection, schema)
                _use_log(path, connection)
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error


def _use_log(path: Path, connection: sqlite3.Connection) -> None:
    """The database keeps a write-ahead log, whatever a failing disk or another program has made of that; changes nothing if it does."""
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise errors.UnavailableError(
            f"{path}: its file system allows no write-ahead log ({mode}); choose another data folder"
        )


def look(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, to a healthy database of ours, for the owner of its folder.

    Pages are checked only after an unclean end: whoever writes checks them all. CorruptError, UnavailableError.
    """
    try:
        if _check_header(path, SCHEMA) < len(SCHEMA):
            prepare(path)
        connection = _reading(path)
        try:
            _check_content(path, connection, accept_loss=False, schema=SCHEMA, limit=0)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error
    return connection


def connect(path: Path | None, *, query_only: bool = False) -> sqlite3.Connection:
    """An autocommit connection with our pragmas; ``None`` is a private database in memory. Raises sqlite3.Error."""
    if path is None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(connection, SCHEMA)
        return connection
    connection = sqlite3.connect(
        path.absolute().as_uri() + "?mode=rw",
        uri=True,
        isolation_level=None,
        timeout=_BUSY_SECONDS,
        check_same_thread=False,  # the writer's is used by whoever has the turn
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 2000")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        if query_only:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, schema: Steps) -> None:
    """Apply the steps that are missing, each in a transaction of its own: a kill at any point leaves a whole schema."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, (_, statements) in enumerate(schema[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number:d}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def log_of(path: Path) -> Path:
    """Where the write-ahead log of a database is. Synced, its commits are on disk: ``synchronous = FULL`` does that at the end of each."""
    real = path.resolve()
    return real.with_name(real.name + "-wal")


@contextlib.contextmanager
def patient(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Within, a lock that somebody else holds is waited for; before and after it is an error at once."""
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000:.0f}")
    try:
        yield connection
    finally:
        with contextlib.suppress(sqlite3.Error):  # a broken connection, which is given up, would hide what broke it
            connection.execute("PRAGMA busy_timeout = 0")


def copy(source: Path, target: Path) -> None:
    """A consistent copy of a live database, checked before it gets its name; refuses to replace a file. Blocks."""
    if os.path.lexists(target):
        raise errors.BadInputError(f"{target} exists already; a backup never replaces a file")
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with (
            contextlib.closing(connect(source, query_only=True)) as live,
            contextlib.closing(sqlite3.connect(partial)) as saved,
        ):
            live.backup(saved)
            # Whoever restores it goes back in time: revisions given out since must never be given out again.
            saved.execute("INSERT OR REPLACE INTO setting VALUES ('restored', 1), ('clean', 1)")
            saved.commit()
            saved.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            verdict = saved.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if verdict != "ok":
                raise errors.CorruptError(f"the copy of {source} is damaged: {verdict}")
        _sync(partial)
        os.link(partial, target)
        _sync(target.absolute().parent)
    except (sqlite3.Error, OSError) as error:
        raise translate(error, source) from error
    finally:
        for name in (partial.name, partial.name + "-wal", partial.name + "-shm"):
            partial.with_name(name).unlink(missing_ok=True)


def translate(error: Exception, path: Path | None) -> errors.KuttabError:
    """Our error for one of SQLite's or the system's; the message names the file and what to do."""
    where = path or "the database in memory"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if isinstance(error, PermissionError) or code in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    ):
        return errors.CorruptError(
            f"{where} cannot be written ({error}); give this user write permission on it and its folder"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(where, str(error))
    if code == sqlite3.SQLITE_FULL:
        return errors.UnavailableError(f"{where}: the disk is full ({error}); free some space")
    if code == sqlite3.SQLITE_BUSY:
        return errors.UnavailableError(f"{where} is locked by another program ({error}); end it")
    return errors.UnavailableError(f"{where}: {type(error).__name__}: {error}")


def damaged(where: object, what: str) -> errors.CorruptError:
    """The error of a database that cannot be trusted."""
    return errors.CorruptError(
        f"{where} is damaged ({what}); it was left as it is. Restore a backup in its place, or salvage what can be "
        f"read into a new file with: sqlite3 '{where}' .recover | sqlite3 salvaged.db"
    )


def _create(path: Path, schema: Steps) -> None:
    """Build under another name, then rename: a kill leaves either nothing or a whole database."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
        migrate(connection, schema)
        connection.execute("INSERT INTO setting VALUES ('clean', 1)")
        connection.execute("PRAGMA journal_mode = WAL")
    _sync(fresh)
    fresh.rename(path)
    _sync(path.absolute().parent)


def _check_header(path: Path, schema: Steps) -> int:
    """Decide from the first bytes alone, so that a foreign file is not even opened by SQLite; the version of its schema."""
    if path.is_dir():
        raise errors.CorruptError(f"{path} is a directory, not a database; move it away or choose another data folder")
    if not path.exists():
        raise errors.CorruptError(f"{path} is a link to nothing; remove it or restore what it points to")
    with path.open("r+b") as file:  # PermissionError for a file that cannot be written
        head = file.read(100)
    if not os.access(path.resolve().parent, os.W_OK):
        raise PermissionError(errno.EACCES, "the folder cannot be written", str(path.resolve().parent))
    if not head:
        raise errors.CorruptError(f"{path} is empty; restore a backup, or remove it to start without objects")
    if len(head) < 100 or not head.startswith(b"SQLite format 3\0"):
        raise errors.CorruptError(
            f"{path} is not a SQLite database; it was left as it is. Move it away, or choose another data folder"
        )
    if int.from_bytes(head[68:72], "big") != APPLICATION_ID:
        raise errors.CorruptError(
            f"{path} is a database of another program; it was left as it is. Choose another data folder"
        )
    version = int.from_bytes(head[60:64], "big")
    _check_version(path, version, schema)
    return version


def _check_version(path: Path, version: int, schema: Steps) -> None:
    if version > len(schema):
        raise errors.CorruptError(
            f"{path} has schema {version}, this kuttab knows {len(schema)}; it was left as it is. Use the newer kuttab that wrote it"
        )


def _has_log(path: Path) -> bool:
    return log_of(path).exists()


def _reading(path: Path) -> sqlite3.Connection:
    """A read-only connection: it never moves the write-ahead log into the file, and without a log makes not even lock files."""
    uri = path.absolute().as_uri() + ("?mode=ro" if _has_log(path) else "?immutable=1")
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)


def _check_content(path: Path, connection: sqlite3.Connection, *, accept_loss: bool, schema: Steps, limit: int) -> None:
    """Look whether everything is there; at the pages themselves when the file has at most ``limit`` bytes or the last end was unclean."""
    _check_version(path, connection.execute("PRAGMA user_version").fetchone()[0], schema)
    clean = next(iter(connection.execute("SELECT value FROM setting WHERE name = 'clean'")), (0,))[0]
    if not clean and not _has_log(path) and not accept_loss:
        accept = "UPDATE setting SET value = 2 WHERE name = 'clean'"
        raise errors.CorruptError(
            f"{path}: its newest changes were in {path.name}-wal, which is gone. Put that file back, or restore a backup. "
            "If another SQLite program has moved the changes into the database, or if you can do without them, say so with: "
            f"sqlite3 '{path}' \"{accept}\""
        )
    if path.stat().st_size <= limit or not clean:
        for (verdict,) in connection.execute("PRAGMA integrity_check(1)"):
            if verdict != "ok":
                raise damaged(path, verdict)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing; raises sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
