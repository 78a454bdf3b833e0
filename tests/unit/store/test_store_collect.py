"""The garbage collector where the shipped contract does not look: more children than one batch, crashes, disks that are away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kuttab.api import kinds, meta
from kuttab.base import clock, errors
from kuttab.ports import objects as ports
from kuttab.store import collect, objects
from kuttab.testing import builders

MANY = 2 * collect._BATCH + 5


def make(path: Path | None) -> objects.Store:
    """A store on a file, or in memory."""
    return objects.Store(path, clock=clock.SystemClock(), options=objects.Options(commits="settle"))


async def quiet(store: objects.Store) -> None:
    """Let the collector work until it has nothing to do."""
    while not store._collector.idle:  # noqa: ASYNC110
        await asyncio.sleep(0)


def child(name: str, *owners: meta.Object, block: bool = True, **more: Any) -> meta.Object:
    """A ConfigMap owned by others."""
    wish = builders.config_map(name)
    references = [builders.owner(obj, controller=False, block=block) for obj in owners]
    return meta.evolve(wish, metadata=meta.evolve(wish.metadata, owner_references=references, **more))


def left(store: objects.Store) -> list[str]:
    """The ConfigMaps that are there."""
    return [obj.name for obj in store.list(kinds.CONFIG_MAP, "default").items]


@pytest.mark.parametrize("policy", list(ports.Propagation))
async def test_more_children_than_a_batch(policy: ports.Propagation) -> None:
    """However many children an owner has, all of them go, or under Orphan all of them stay without it."""
    async with make(None) as store:
        owner = store.create(builders.experiment("owner"))
        for number in range(MANY):
            store.create(child(f"c{number:03}", owner))
        await quiet(store)
        store.delete(kinds.EXPERIMENT, "default", "owner", propagation=policy)
        await quiet(store)
        assert store.list(kinds.EXPERIMENT).items == []
        if policy is ports.Propagation.ORPHAN:
            assert len(left(store)) == MANY
            assert not any(obj.metadata.owner_references for obj in store.list(kinds.CONFIG_MAP, "default").items)
        else:
            assert left(store) == []


async def test_a_foreground_owner_waits_for_a_blocking_child_behind_many_others() -> None:
    """Children that do not block do not hide the one that does, and its end lets the owner go."""
    async with make(None) as store:
        owner = store.create(builders.experiment("owner"))
        for number in range(collect._BATCH + 3):
            store.create(child(f"a{number:03}", owner, block=False, finalizers=["example.com/hold"]))
        store.create(child("z", owner, finalizers=["example.com/hold"]))
        store.delete(kinds.EXPERIMENT, "default", "owner", propagation=ports.Propagation.FOREGROUND)
        await quiet(store)
        assert store.get(kinds.EXPERIMENT, "default", "owner").deleting
        last = store.get(kinds.CONFIG_MAP, "default", "z")
        store.update(meta.evolve(last, metadata=meta.evolve(last.metadata, finalizers=[])))
        await quiet(store)
        assert store.list(kinds.EXPERIMENT).items == []


async def test_a_foreground_deletion_goes_down_the_tree() -> None:
    """A grandchild that holds keeps its parent, which keeps the owner; a child's own wish to orphan is respected."""
    async with make(None) as store:
        owner = store.create(builders.experiment("owner"))
        middle = store.create(child("middle", owner))
        store.create(child("leaf", middle, finalizers=["example.com/hold"]))
        loose = store.create(child("loose", owner, finalizers=["orphan"]))
        store.create(child("kept", loose))
        store.delete(kinds.EXPERIMENT, "default", "owner", propagation=ports.Propagation.FOREGROUND)
        await quiet(store)
        assert left(store) == ["kept", "leaf", "middle"]
        assert not store.get(kinds.CONFIG_MAP, "default", "kept").metadata.owner_references
        assert store.get(kinds.CONFIG_MAP, "default", "middle").metadata.finalizers == ["foregroundDeletion"]
        last = store.get(kinds.CONFIG_MAP, "default", "leaf")
        store.update(meta.evolve(last, metadata=meta.evolve(last.metadata, finalizers=[])))
        await quiet(store)
        assert left(store) == ["kept"]
        assert store.list(kinds.EXPERIMENT).items == []


async def test_a_namespace_takes_more_than_a_batch_along_and_then_goes() -> None:
    """Everything in a deleted namespace is deleted, what has finalizers is waited for."""
    async with make(None) as store:
        store.create(builders.namespace("team"))
        for number in range(MANY):
            store.create(builders.config_map(f"c{number:03}", "team"))
        held = builders.config_map("held", "team")
        held = store.create(meta.evolve(held, metadata=meta.evolve(held.metadata, finalizers=["example.com/hold"])))
        store.delete(kinds.NAMESPACE, "", "team")
        await quiet(store)
        assert [obj.name for obj in store.list(kinds.CONFIG_MAP, "team").items] == ["held"]
        assert store.get(kinds.NAMESPACE, "", "team").deleting
        held = store.get(kinds.CONFIG_MAP, "team", "held")
        store.update(meta.evolve(held, metadata=meta.evolve(held.metadata, finalizers=[])))
        await quiet(store)
        with pytest.raises(errors.NotFoundError):
            store.get(kinds.NAMESPACE, "", "team")


@pytest.mark.slow
@pytest.mark.parametrize("policy", list(ports.Propagation))
async def test_s23_a_kill_between_any_two_steps_leaves_nothing_behind(
    tmp_path: Path, policy: ports.Propagation
) -> None:
    """A store that dies after any step of a collection ends it in its next life (S23, L4)."""
    for steps in range(12):
        path = tmp_path / f"{steps}.db"
        store = await make(path).open()
        owner = store.create(builders.experiment("owner"))
        middle = store.create(child("middle", owner))
        for number in range(5):
            store.create(child(f"leaf{number}", middle))
        await quiet(store)
        await store.settle()
        store.delete(kinds.EXPERIMENT, "default", "owner", propagation=policy)
        for _ in range(steps):
            await asyncio.sleep(0)
        await store.settle()
        store.abandon()
        async with make(path) as again:
            await quiet(again)
            assert again.list(kinds.EXPERIMENT).items == [], steps
            kept = ["leaf0", "leaf1", "leaf2", "leaf3", "leaf4", "middle"]
            assert left(again) == (kept if policy is ports.Propagation.ORPHAN else []), steps


async def test_a_full_backlog_makes_the_collector_wait_and_not_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store takes no writes the collector keeps its work and goes on afterwards."""
    monkeypatch.setattr(collect, "_PAUSE", 0.0)
    async with make(None) as store:
        owner = store.create(builders.experiment("owner"))
        store.create(child("c", owner))
        remove, refusals = store.remove, [errors.UnavailableError("the disk is full")] * 3

        def away(kind: kinds.Kind, current: meta.Object, propagation: ports.Propagation) -> meta.Object | None:
            if current.name == "c" and refusals:
                raise refusals.pop()
            return remove(kind, current, propagation)

        monkeypatch.setattr(store, "remove", away)
        store.delete(kinds.EXPERIMENT, "default", "owner")
        await quiet(store)
        assert refusals == []
        assert left(store) == []


async def test_what_cannot_be_deleted_is_told_and_stops_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that the store refuses to delete is given up; its sisters go."""
    async with make(None) as store:
        owner = store.create(builders.experiment("owner"))
        other = store.create(builders.experiment("other"))
        store.create(child("bad", owner))
        store.create(child("good", other))
        remove = store.remove

        def refuse(kind: kinds.Kind, current: meta.Object, propagation: ports.Propagation) -> meta.Object | None:
            if current.name == "bad":
                raise errors.InvalidError([errors.Problem("metadata", "is a mess")])
            return remove(kind, current, propagation)

        monkeypatch.setattr(store, "remove", refuse)
        store.delete(kinds.EXPERIMENT, "default", "owner")
        store.delete(kinds.EXPERIMENT, "default", "other")
        await quiet(store)
        assert left(store) == ["bad"]
