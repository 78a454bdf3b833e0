"""The embedded object store: Kubernetes' rules over one SQLite log.

A write is applied at once in the loop thread (checked, given its revision, shown to readers and watchers) and reaches the disk in order,
in groups, behind it. Whoever is about to have an effect outside the store calls ``settle`` first: a crash loses only a suffix of what was
written, and nothing outside ever depended on it. An effect that ends with the machine needs less than one that outlives it. One process
and one event loop use a store; ``lock.py`` keeps others out.

It does no admission and knows no user: ``client/embedded.py`` adds these.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Self

from kuttab.api import keys, kinds, meta
from kuttab.base import clock as clocks
from kuttab.base import errors, ids
from kuttab.ports import objects as ports
from kuttab.store import broadcast, collect, lifecycle, log, overlay, select, settling, sqlite, watch, writer
from kuttab.store import options as options_
from kuttab.store import state as states

_GENERATE_TRIES: Final = 8
_COMPACT_INTERVAL: Final = 64
FIRST_NAMESPACES: Final = ("default", "kubeflow")
"""Namespaces of a new store; both take experiments."""
Options = options_.Options
_DEFAULTS: Final = Options()


class Store:
    """Objects on this machine. Open it, use it from one event loop, close it."""

    state: states.State
    """What is there, for readers of this room."""

    def __init__(
        self,
        path: Path | None,
        *,
        clock: clocks.Clock,
        new_uid: ids.NewUid = ids.random_uid,
        options: Options = _DEFAULTS,
    ) -> None:
        """``path`` is the database file; None keeps everything in memory (with ``commits="settle"``). Does nothing yet."""
        if path is None and options.commits == "thread":
            raise errors.BadInputError('a store in memory has no writer thread; use Options(commits="settle")')
        self.path = path
        self.broadcaster = broadcast.Broadcaster()
        self.bookmark_seconds = options.bookmark_seconds
        self.observers: builtins.list[Callable[[log.Entry], None]] = []
        """Called with every applied write, in order, before the writer's caller goes on; must not write."""
        self._clock = clock
        self._new_uid = new_uid
        self._options = options
        self._collector = collect.Collector(self)
        self._settling = {level: settling.Waiters() for level in ports.Survives}
        self._writes = options.keep_revisions  # the first write looks for what earlier runs left
        self._phase: Literal["new", "open", "closed"] = "new"
        self._connection: sqlite3.Connection
        self._writer: writer.Writer

    # Life.

    async def open(self) -> Self:
        """Open or create the database; CorruptError when what is there is not a healthy database of ours."""
        if self._phase != "new":
            raise errors.UnavailableError("a store is opened once; make a new one")
        if self.path is not None:
            sqlite.prepare(self.path, accept_loss=self._options.accept_loss)
        try:
            self._connection = sqlite.connect(self.path)
            start = log.start(self._connection)
        except sqlite3.Error as error:
            raise sqlite.translate(error, self.path) from error
        cache = overlay.Cache(self._options.cache_objects, self._options.cache_bytes)
        self.state = states.State(log.Reader(self._connection, self.path), start, cache, self.path)
        if self._options.reliance is not None:
            self._options.reliance.found(self.state.reader.letters())
        self._writer = self._make_writer()
        self._phase = "open"
        self._collector.start(clean=start.clean)
        if self.revision == 0:
            labels = {keys.LABEL_INJECTION: "enabled"}
            for name in FIRST_NAMESPACES:
                self.create(
                    meta.Resource(
                        api_version="v1", kind="Namespace", metadata=meta.ObjectMeta(name=name, labels=labels)
                    )
                )
            await self.settle()
        return self

    async def close(self, patience: float = 10.0) -> None:
        """Write what is left and close; UnavailableError when the disk did not take it within ``patience`` seconds."""
        if self._phase != "open":
            return
        problem: errors.KuttabError | None = None
        try:
            await asyncio.wait_for(self.settle(), patience)
        except TimeoutError:
            why = self.health or "the disk is too slow"
            problem = errors.UnavailableError(f"{self.backlog} changes could not be written to {self.path}: {why}")
        except errors.KuttabError as error:
            problem = error
        else:
            self._writer.sweep()
        self._end(clean=problem is None and self._collector.idle)
        if problem is not None:
            raise problem

    def abandon(self) -> None:
        """Stop as a kill would: what is not on disk is lost. For tests of exactly that."""
        if self._phase == "open":
            self._end(clean=False)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def backup(self, target: Path) -> None:
        """A checked copy of everything written so far, as a database that a store can open; BadInputError when the file exists."""
        if self.path is None:
            raise errors.BadInputError("a store in memory cannot be copied to a file")
        await self.settle()
        await asyncio.to_thread(sqlite.copy, self.path, target)

    @property
    def revision(self) -> int:
        """The newest revision."""
        return self.state.revision

    @property
    def durable(self) -> int:
        """Everything up to this revision is on disk."""
        return self._writer.durable

    @property
    def compacted(self) -> int:
        """Revisions before this one cannot be read any more."""
        return self.state.compacted

    @property
    def backlog(self) -> int:
        """Writes that wait for the disk."""
        return len(self.state.overlay)

    @property
    def health(self) -> str:
        """Why the disk takes nothing at the moment; empty when it does."""
        return self._writer.fatal.message if self._writer.fatal else self._writer.failure

    # Reads.

    def get(self, kind: kinds.Kind, namespace: str, name: str) -> meta.Object:
        """The object; NotFoundError."""
        self._check_open()
        return self._current(kind, log.Key(log.kind_key(kind), namespace if kind.namespaced else "", name))

    def list(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ports.ObjectList:
        """Objects in (namespace, name) order, all of one revision; BadInputError, ExpiredError."""
        self._check_open()
        if limit < 0:
            raise errors.BadInputError(f"limit is {limit}; it must not be negative")
        return self.page(_scope(kind, namespace, labels, fields), limit, continue_token)

    def bodies(self, kind: kinds.Kind, namespace: str | None, limit: int, token: str) -> states.Page[bytes]:
        """A page of a kind as JSON text, as it is stored; BadInputError, ExpiredError."""
        self._check_open()
        return self.state.bodies(_scope(kind, namespace, "", ""), limit, token)

    def page(self, scope: broadcast.Scope, limit: int, token: str) -> ports.ObjectList:
        """One page of a scope."""
        return self.state.page(scope, limit, token)

    def watch(
        self,
        kind: kinds.Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
    ) -> watch.Watch:
        """Everything after a revision, for ever; without one, what exists comes first. BadInputError; ExpiredError while iterating."""
        self._check_open()
        return watch.Watch(self, _scope(kind, namespace, labels, fields), revision_of(resource_version) or None)

    def replay(self, scope: broadcast.Scope, revision: int, limit: int) -> tuple[builtins.list[ports.WatchEvent], int]:
        """Past events of a scope."""
        self._check_open()
        return self.state.replay(scope, revision, limit)

    # Writes.

    # ``trusted`` says that the object is a value of the right types that its caller keeps no hold of, as everything that controllers
    # make; it is stored as it is. Of anybody else's object the store keeps what its JSON text says.

    def create(self, obj: meta.Object, *, dry_run: bool = False, trusted: bool = False, uid: str = "") -> meta.Object:
        """The stored object, under a new uid if none was given out; AlreadyExistsError, InvalidError, NotFoundError for its namespace."""
        self._check_writable()
        kind = kinds.of(obj)
        lifecycle.check_create(kind, obj)
        self._check_namespace(kind, obj)
        for attempt in range(_GENERATE_TRIES):
            new = lifecycle.created(kind, obj, uid=uid or self._new_uid(), now=self._now(), revision=self.revision + 1)
            key = _key(kind, new)
            if self.state.current(kind, key) is None:
                return self._apply(log.Op.ADDED, kind, key, new, None, dry_run=dry_run, trusted=trusted)
            if obj.metadata.name or attempt + 1 == _GENERATE_TRIES:
                break
        raise errors.AlreadyExistsError(
            f"{kind.plural} {new.name!r} already exists in {new.namespace or 'the cluster'}"
        )

    def update(self, obj: meta.Object, *, dry_run: bool = False, trusted: bool = False) -> meta.Object:
        """Replace everything but status and what the system owns; nothing happens when nothing changes. ConflictError, InvalidError."""
        kind, current = self._for_write(obj)
        lifecycle.check_update(kind, obj, current)
        new = lifecycle.updated(kind, obj, current)
        return self.replace(kind, current, new, dry_run=dry_run, trusted=trusted)

    def update_status(self, obj: meta.Object, *, dry_run: bool = False, trusted: bool = False) -> meta.Object:
        """Replace status alone; same rules."""
        kind, current = self._for_write(obj)
        if not kind.status:
            raise errors.NotFoundError(f"{kind.plural} have no status of their own; update the object")
        lifecycle.check_update(kind, obj, current)
        new = lifecycle.status_updated(kind, obj, current)
        return self.replace(kind, current, new, dry_run=dry_run, trusted=trusted)

    def delete(
        self,
        kind: kinds.Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: ports.Propagation = ports.Propagation.BACKGROUND,
    ) -> meta.Object | None:
        """Delete, with preconditions: the object while something holds it, None when it is gone; NotFoundError, ConflictError."""
        self._check_writable()
        current = self.get(kind, namespace, name)
        lifecycle.check_preconditions(kind, current, uid, resource_version)
        if kind == kinds.NAMESPACE and name == "default":
            raise errors.ForbiddenError("the namespace 'default' cannot be deleted")
        return self.remove(kind, current, propagation)

    def remove(self, kind: kinds.Kind, current: meta.Object, propagation: ports.Propagation) -> meta.Object | None:
        """Delete without preconditions."""
        new = lifecycle.deleting(kind, current, propagation, self._now())
        if lifecycle.held(kind, new):
            return self.replace(kind, current, new)
        self.replace(kind, current, new)
        return None

    def replace(
        self, kind: kinds.Kind, current: meta.Object, new: meta.Object, *, dry_run: bool = False, trusted: bool = True
    ) -> meta.Object:
        """Write a new state of an object; it goes when it is being deleted and nothing holds it any more."""
        self._check_writable()
        key = _key(kind, current)
        gone = new.deleting and not lifecycle.held(kind, new)
        if not gone and _equal(new, current):
            return current
        op = log.Op.DELETED if gone else log.Op.MODIFIED
        new = lifecycle.at_revision(new, self.revision + 1)
        return self._apply(op, kind, key, new, current, dry_run=dry_run, trusted=trusted)

    # Durability.

    async def settle(self, revision: int = 0, *, survives: ports.Survives = ports.Survives.POWER_LOSS) -> None:
        """Return when everything up to a revision (0: everything so far) survives that much; CorruptError when it never will."""
        self._check_open()
        wanted = revision or self.revision
        if revision:
            self.state.check_known(revision)
        if self._reached(survives) < wanted:
            await self._writer.flush(keep=survives is ports.Survives.KILL)
        self._saved()
        if self._reached(survives) >= wanted:
            return
        if self._writer.fatal is not None:
            raise self._writer.fatal
        await self._settling[survives].add(wanted)

    def _reached(self, survives: ports.Survives) -> int:
        return self._writer.kept if survives is ports.Survives.KILL else self._writer.durable

    async def room(self) -> None:
        """Return when a write is welcome: at once, unless the disk lags far behind; UnavailableError when it refuses."""
        if self.backlog * 2 > self._options.backlog:
            self._check_writable()
            await self.settle(self.state.overlay.middle)

    # Inside.

    def _apply(
        self,
        op: log.Op,
        kind: kinds.Kind,
        key: log.Key,
        new: meta.Object,
        old: meta.Object | None,
        *,
        dry_run: bool,
        trusted: bool,
    ) -> meta.Object:
        body = lifecycle.encode(new, f"{kind.kind} {key.name!r}")
        stored = new if trusted else lifecycle.decode(kind, body)
        if dry_run:
            return lifecycle.at_revision(stored, old.revision) if old is not None else _without_revision(stored)
        pending = op is not log.Op.DELETED and lifecycle.needs_collector(kind, stored)
        entry = log.Entry(new.revision, op, key, stored, body, old, old.revision if old is not None else 0, pending)
        self.state.add(entry)
        self._writer.submit(entry)
        self.broadcaster.publish(entry)
        self._collector.notice(entry)
        self._compact()
        for observer in self.observers:
            observer(entry)
        return stored

    def _compact(self) -> None:
        """Once in a while let go of what only old revisions can see; it is removed along with later writes."""
        self._writes += 1
        if self._writes < max(self._options.keep_revisions, _COMPACT_INTERVAL):
            return
        self._writes = 0
        revision = self.state.reader.compactable(self._options.keep_revisions)
        if revision > self.state.compacted:
            self.state.compacted = revision  # first nobody may ask for it, then it goes
            self._writer.compact(revision)

    def _for_write(self, obj: meta.Object) -> tuple[kinds.Kind, meta.Object]:
        self._check_writable()
        kind = kinds.of(obj)
        return kind, self._current(kind, _key(kind, obj))

    def _current(self, kind: kinds.Kind, key: log.Key) -> meta.Object:
        found = self.state.current(kind, key)
        if found is None:
            where = f" in namespace {key.namespace!r}" if key.namespace else ""
            raise errors.NotFoundError(f"{kind.plural} {key.name!r} not found{where}")
        return found

    def _check_namespace(self, kind: kinds.Kind, obj: meta.Object) -> None:
        if not kind.namespaced:
            return
        found = self.state.current(kinds.NAMESPACE, log.Key(log.kind_key(kinds.NAMESPACE), "", obj.namespace))
        if found is None:
            raise errors.NotFoundError(f"namespaces {obj.namespace!r} not found; create it first")
        if found.deleting:
            raise errors.ForbiddenError(
                f"namespace {obj.namespace!r} is being deleted, nothing new can be created in it"
            )

    def _check_open(self) -> None:
        if self._phase != "open":
            raise errors.UnavailableError("the object store is not open")

    def _check_writable(self) -> None:
        self._check_open()
        if self._writer.fatal is not None:
            raise self._writer.fatal
        if self._full():
            self._writer.relieve()
            self._saved()
            if self._full():
                raise errors.UnavailableError(
                    f"{self.backlog} changes wait for the disk ({self.health or 'it is too slow'}); try again later"
                )

    def _full(self) -> bool:
        return self.backlog >= self._options.backlog or self.state.overlay.size >= self._options.backlog_bytes

    def _now(self) -> str:
        return clocks.rfc3339(self._clock.now())

    def _saved(self) -> None:
        """The writer has come further, or its health has changed."""
        if self._phase != "open":
            return
        self.state.overlay.trim(self._writer.durable)
        for survives, waiters in self._settling.items():
            waiters.reached(self._reached(survives))
            if self._writer.fatal is not None:
                waiters.fail(self._writer.fatal)

    def _make_writer(self) -> writer.Writer:
        if self.path is None:
            return writer.InlineWriter(None, lambda: self._connection, self.revision)
        path, connect = self.path, self._options.connect
        if self._options.commits == "settle":
            return writer.InlineWriter(path, lambda: connect(path), self.revision)
        loop = asyncio.get_running_loop()

        def notify() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                loop.call_soon_threadsafe(self._saved)

        return writer.ThreadWriter(path, lambda: connect(path), self.revision, notify, self._options.reliance)

    def _end(self, *, clean: bool) -> None:
        self._phase = "closed"
        self._collector.stop()
        self._writer.stop()
        if self.path is not None:
            with contextlib.suppress(sqlite3.Error):  # a disk that takes nothing: the next start finds an unclean end
                log.finish(self._connection, clean=clean)
        self._connection.close()
        self.broadcaster.close()
        problem = errors.UnavailableError("the object store was closed before the write was on disk")
        for waiters in self._settling.values():
            waiters.fail(problem)


def _key(kind: kinds.Kind, obj: meta.Object) -> log.Key:
    return log.Key(log.kind_key(kind), obj.namespace if kind.namespaced else "", obj.name)


def _scope(kind: kinds.Kind, namespace: str | None, labels: str, fields: str) -> broadcast.Scope:
    return broadcast.Scope(kind, namespace if kind.namespaced else None, select.parse(kind, labels, fields))


def revision_of(text: str) -> int:
    """A resourceVersion as a number, 0 for none; BadInputError."""
    if text and not (text.isascii() and text.isdecimal()):
        raise errors.BadInputError(
            f"resourceVersion {text[:80]!r} is not one of this store; take it from an object or a list"
        )
    return int(text or 0)


def _equal(new: meta.Object, current: meta.Object) -> bool:
    """Whether two states are the same document; equality of models alone does not tell an unset field from a default."""
    return new == current and meta.dump(new) == meta.dump(current)


def _without_revision(obj: meta.Object) -> meta.Object:
    return meta.evolve(obj, metadata=meta.evolve(obj.metadata, resource_version=""))
