"""The garbage collector: what follows from a deletion.

Children whose owners are all gone are deleted; foreground deletion waits for blocking children; orphaning cuts children
loose; a namespace takes its contents along. It works in small steps as callbacks of the event loop, only while there is
work; every step finds its work through an index, and all work is found again after a crash. It never looks at all objects.
Rules as of Kubernetes' garbage collector (attemptToDeleteItem, processDeletingDependentsItem, orphanDependents).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.base import log as logs
from kuttab.ports import objects as ports
from kuttab.store import lifecycle, log, state

_LOG = logs.get(__name__)
_BATCH: Final = 32
_STEP: Final = 8
_PAUSE: Final = 0.1


class Host(Protocol):
    """The store, as its collector uses it."""

    @property
    def state(self) -> state.State:
        """What is there."""
        ...

    def remove(self, kind: kinds.Kind, current: meta.Object, propagation: ports.Propagation) -> meta.Object | None:
        """Delete without preconditions."""
        ...

    def replace(self, kind: kinds.Kind, current: meta.Object, new: meta.Object) -> meta.Object:
        """Write a new state of an object; it goes when it is being deleted and nothing holds it."""
        ...


class _Work(NamedTuple):
    """``child``: has this object an owner left? ``children``: ask that of all children of an owner. ``held``: can this object go now?
    ``orphan``: cut the children of this object loose."""

    task: str
    key: log.Key
    uid: str = ""
    after: log.Key | None = None


class Collector:
    """Pending consequences, worked off one after the other."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._work: dict[_Work, None] = {}
        self._held: dict[str, log.Key] = {}
        self._closing: set[str] = set()
        self._handle: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do now; objects may still wait for others' finalizers."""
        return not self._work

    def start(self, *, clean: bool) -> None:
        """Begin, with what an earlier run left; after an unclean end also look for children whose owners went unnoticed."""
        self._loop = asyncio.get_running_loop()
        for key in self._host.state.reader.pending():
            found = self._host.state.anything(key)
            if found is not None:
                self._hold(key, found[1])
        if not clean:
            for _, key in self._host.state.reader.orphans():
                self._add(_Work("child", key))
        self._schedule()

    def stop(self) -> None:
        """End; what is left is found again at the next start."""
        self._loop = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def notice(self, entry: log.Entry) -> None:
        """Look at an applied write and remember what follows from it."""
        owners = entry.object.metadata.owner_references
        if entry.op is log.Op.DELETED:
            if not kinds.of(entry.object).childless:
                self._add(_Work("children", entry.key, entry.object.uid))
            self._held.pop(entry.object.uid, None)
            if entry.key.kind == _NAMESPACE:
                self._closing.discard(entry.key.name)
            if entry.key.namespace in self._closing:
                self._add(_Work("held", log.Key(_NAMESPACE, "", entry.key.namespace)))
        elif owners and (entry.old is None or entry.old.metadata.owner_references != owners):
            self._add(_Work("child", entry.key))
        if entry.pending:
            self._hold(entry.key, entry.object)
        if self._held:
            for owner in (*(owners or ()), *((entry.old and entry.old.metadata.owner_references) or ())):
                if owner.uid in self._held:
                    self._add(_Work("held", self._held[owner.uid]))
        self._schedule()

    def _hold(self, key: log.Key, obj: meta.Object) -> None:
        if obj.uid not in self._held:
            self._held[obj.uid] = key
            if lifecycle.ORPHAN in (obj.metadata.finalizers or ()):
                self._add(_Work("orphan", key, obj.uid))
            elif key.kind != _NAMESPACE:
                self._add(_Work("children", key, obj.uid))
        if key.kind == _NAMESPACE:
            self._closing.add(key.name)
        self._add(_Work("held", key))

    def _add(self, work: _Work) -> None:
        self._work[work] = None

    def _schedule(self, pause: float = 0.0) -> None:
        if self._work and self._handle is None and self._loop is not None:
            self._handle = self._loop.call_later(pause, self._step) if pause else self._loop.call_soon(self._step)

    def _step(self) -> None:
        self._handle = None
        pause = 0.0
        for _ in range(min(_STEP, len(self._work))):
            work = next(iter(self._work))
            del self._work[work]
            try:
                self._do(work)
            except errors.UnavailableError as error:
                _LOG.info("store.collector.waits", error=error)
                self._add(work)
                pause = _PAUSE
                break
            except errors.KuttabError as error:
                _LOG.error("store.collector.gave_up", task=work.task, key="/".join(work.key), error=error)
        self._schedule(pause)

    def _do(self, work: _Work) -> None:
        if work.task == "child":
            self._judge(work.key)
        elif work.task == "children":
            self._each_child(work, self._judge)
        elif work.task == "orphan":
            if not self._each_child(work, lambda key: self._cut(key, {work.uid})):
                self._release(work.key, lifecycle.ORPHAN)
        else:
            self._look_at_held(work.key)

    def _each_child(self, work: _Work, act: Callable[[log.Key], None]) -> bool:
        """Act on one batch; whether there are more."""
        keys = self._host.state.dependents(work.uid, work.after, _BATCH)
        for key in keys:
            act(key)
        more = len(keys) >= _BATCH
        if more:
            self._add(work._replace(after=keys[-1]))
        return more

    def _judge(self, key: log.Key) -> None:
        """Delete a child whose owners are all gone; drop references to those that are gone while others live."""
        found = self._host.state.anything(key)
        if found is None or found[1].deleting or not found[1].metadata.owner_references:
            return
        kind, obj = found
        gone: set[str] = set()
        waiting: set[str] = set()
        for reference in obj.metadata.owner_references or ():
            owner = self._owner(reference, obj.namespace)
            if owner is None:
                gone.add(reference.uid)
            elif (
                reference.block_owner_deletion
                and owner.deleting
                and lifecycle.FOREGROUND in (owner.metadata.finalizers or ())
            ):
                waiting.add(reference.uid)
        if len(gone | waiting) < len({reference.uid for reference in obj.metadata.owner_references or ()}):
            if gone or waiting:
                self._cut(key, gone | waiting)
            return
        held = obj.metadata.finalizers or ()
        policy = ports.Propagation.BACKGROUND
        if lifecycle.ORPHAN in held:
            policy = ports.Propagation.ORPHAN
        elif lifecycle.FOREGROUND in held or (waiting and self._has_living_children(obj)):
            policy = ports.Propagation.FOREGROUND
        self._host.remove(kind, obj, policy)

    def _owner(self, reference: meta.OwnerReference, namespace: str) -> meta.Object | None:
        kind = kinds.named(reference.api_version, reference.kind)
        known = kinds.known(reference.api_version, reference.kind) is not None
        places = [namespace] if kind.namespaced else [""]
        if not known and namespace:
            places.append("")
        for place in places:
            found = self._host.state.anything(log.Key(log.kind_key(kind), place, reference.name))
            if found is not None and found[1].uid == reference.uid:
                return found[1]
        return None

    def _has_living_children(self, obj: meta.Object) -> bool:
        """Whether children keep an object from going; one that is itself being deleted does not count, or a circle would never end."""
        return any(not child.deleting for child in self._children(obj.uid))

    def _children(self, uid: str) -> list[meta.Object]:
        """Living objects of the first batch of children that has any."""
        after = None
        while True:
            keys = self._host.state.dependents(uid, after, _BATCH)
            found = [one[1] for one in map(self._host.state.anything, keys) if one is not None]
            if found or len(keys) < _BATCH:
                return found
            after = keys[-1]

    def _cut(self, key: log.Key, uids: set[str]) -> None:
        """Remove references to owners from a child."""
        found = self._host.state.anything(key)
        if found is None:
            return
        kind, obj = found
        kept = [reference for reference in obj.metadata.owner_references or () if reference.uid not in uids]
        self._host.replace(kind, obj, meta.evolve(obj, metadata=meta.evolve(obj.metadata, owner_references=kept)))

    def _look_at_held(self, key: log.Key) -> None:
        found = self._host.state.anything(key)
        if found is None or not lifecycle.needs_collector(*found):
            return
        kind, obj = found
        if kind == kinds.NAMESPACE:
            self._empty(kind, obj)
        elif lifecycle.FOREGROUND in (obj.metadata.finalizers or ()) and not self._blocked(obj.uid):
            self._release(key, lifecycle.FOREGROUND)

    def _blocked(self, uid: str) -> bool:
        after = None
        while True:
            keys = self._host.state.dependents(uid, after, _BATCH)
            for key in keys:
                found = self._host.state.anything(key)
                references = (found and found[1].metadata.owner_references) or ()
                if any(reference.uid == uid and reference.block_owner_deletion for reference in references):
                    return True
            if len(keys) < _BATCH:
                return False
            after = keys[-1]

    def _release(self, key: log.Key, finalizer: str) -> None:
        found = self._host.state.anything(key)
        if found is None:
            return
        kind, obj = found
        kept = [name for name in obj.metadata.finalizers or () if name != finalizer]
        self._host.replace(kind, obj, meta.evolve(obj, metadata=meta.evolve(obj.metadata, finalizers=kept)))

    def _empty(self, kind: kinds.Kind, namespace: meta.Object) -> None:
        """Delete a batch of what is in a namespace; when nothing is left, let it go."""
        seen, removed = False, 0
        for key in self._host.state.keys_in_namespace(namespace.name):
            found = self._host.state.anything(key)
            if found is None:
                continue
            seen = True
            if not found[1].deleting:
                self._host.remove(*found, ports.Propagation.BACKGROUND)
                removed += 1
                if removed == _BATCH:
                    self._add(_Work("held", log.Key(_NAMESPACE, "", namespace.name)))
                    return
        if not seen:
            self._host.replace(
                kind, namespace, meta.evolve(namespace, spec={**namespace.section("spec"), "finalizers": []})
            )


_NAMESPACE: Final = log.kind_key(kinds.NAMESPACE)
