"""What the store knows of owners and children without asking the disk is never less than the truth."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kuttab.api import kinds, meta
from kuttab.base import clock, errors
from kuttab.store import families, log, objects
from kuttab.testing import builders


def make() -> objects.Store:
    """A store in memory."""
    return objects.Store(None, clock=clock.SystemClock(), options=objects.Options(commits="settle"))


def owned(name: str, *owners: meta.Object) -> meta.Object:
    """A ConfigMap owned by others."""
    wish = builders.config_map(name)
    references = [builders.owner(obj, controller=False) for obj in owners]
    return meta.evolve(wish, metadata=meta.evolve(wish.metadata, owner_references=references))


def truth(store: objects.Store, uid: str) -> set[str]:
    """Names of the objects that name an owner, by looking at all of them."""
    found = store.list(kinds.CONFIG_MAP, "default").items
    return {obj.name for obj in found if any(ref.uid == uid for ref in obj.metadata.owner_references or ())}


@pytest.mark.parametrize("seed", range(5))
async def test_every_child_is_known_whatever_happened(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any creations, deletions and changes of owners, and beyond all bounds, no living child is missing."""
    monkeypatch.setattr(families, "OWNERS", 12)
    monkeypatch.setattr(families, "CHILDREN", 4)
    dice = random.Random(seed)
    async with make() as store:
        there: dict[str, meta.Object] = {}
        unknown = 0
        for number in range(200):
            act = dice.random()
            if act < 0.5 or not there:
                name = f"c{number:03}"
                owners = dice.sample(sorted(there), min(len(there), dice.randint(0, 2)))
                there[name] = store.create(owned(name, *(there[one] for one in owners)))
            elif act < 0.75:
                name = dice.choice(sorted(there))
                other = there[dice.choice(sorted(there))]
                current = store.get(kinds.CONFIG_MAP, "default", name)
                fresh = meta.evolve(
                    current, metadata=meta.evolve(current.metadata, owner_references=[builders.owner(other)])
                )
                there[name] = store.update(fresh)
            else:
                name = dice.choice(sorted(there))
                del there[name]
                store.delete(kinds.CONFIG_MAP, "default", name)
            store._collector.stop()  # what follows from a deletion is another test's
            for obj in there.values():
                unknown += store.state._families.of(obj.uid) is None
                known = {key.name for key in store.state.dependents(obj.uid, None, 1000)}
                assert truth(store, obj.uid) <= known, (number, obj.name)
        assert unknown  # some were asked of the index, too


async def test_pages_go_on_after_a_key() -> None:
    """Batches of known children follow each other without gap or repetition."""
    async with make() as store:
        owner = store.create(builders.experiment("owner"))
        for number in range(7):
            store.create(owned(f"c{number}", owner))
        seen: list[str] = []
        after: log.Key | None = None
        while page := store.state.dependents(owner.uid, after, 3):
            assert len(page) <= 3
            seen += [key.name for key in page]
            after = page[-1]
        assert seen == [f"c{number}" for number in range(7)]


@pytest.mark.parametrize("trusted", [False, True])
async def test_only_a_trusted_object_is_stored_as_it_is(trusted: bool) -> None:
    """What others do to a document after they handed it over does not reach the store; values of controllers are not copied."""
    spec: dict[str, Any] = {"template": {"spec": {"containers": []}}}
    wish = meta.Resource(
        api_version="batch/v1", kind="Job", metadata=meta.ObjectMeta(name="j", namespace="default"), spec=spec
    )
    async with make() as store:
        made = store.create(wish, trusted=trusted)
        assert (made.section("spec") is spec) is trusted
        if not trusted:
            spec["template"]["spec"]["containers"].append("later")
            assert store.get(kinds.JOB, "default", "j").section("spec")["template"]["spec"]["containers"] == []


async def test_a_pods_status_may_let_its_finalizer_go() -> None:
    """As Kubernetes' pods/status, and for Pods alone: status and the end of a finalizer are one write; the spec stays."""
    async with make() as store:
        for kind, name in ((kinds.POD, "p"), (kinds.JOB, "j")):
            made = store.create(
                kind.load(
                    {
                        "apiVersion": kind.api_version,
                        "kind": kind.kind,
                        "metadata": {"name": name, "namespace": "default", "finalizers": ["kuttab.org/process"]},
                        "spec": {"containers": []},
                    }
                )
            )
            metadata = meta.evolve(made.metadata, finalizers=None, labels={"a": "b"})
            wish = meta.evolve(made, metadata=metadata, spec={"other": 1}, status={"phase": "Succeeded"})
            done = store.update_status(wish)
            assert done.section("status") == {"phase": "Succeeded"}
            assert done.section("spec") == {"containers": []}
            pod = kind == kinds.POD
            assert (done.metadata.finalizers, done.metadata.labels) == (
                (None, {"a": "b"}) if pod else (["kuttab.org/process"], None)
            )
        assert store.delete(kinds.POD, "default", "p") is None
        with pytest.raises(errors.NotFoundError):
            store.get(kinds.POD, "default", "p")
