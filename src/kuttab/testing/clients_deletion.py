"""The client contract: deletion, finalizers, owners, namespaces."""

from __future__ import annotations

import asyncio

import pytest

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.ports import objects as ports
from kuttab.testing import builders
from kuttab.testing.clients_base import (
    PATIENCE,
    ClientSuite,
    finalized,
    following,
    names,
    owned,
    relabelled,
    take,
    take_events,
    until_gone,
    watching,
)

HOLD = "example.com/hold"


class DeletionContract(ClientSuite):
    """Promises about deleting objects."""

    collects = True
    """False for a server that runs without a garbage collector."""

    async def test_delete(self, client: ports.Objects, namespace: str) -> None:
        """What is deleted is gone, and deleting it again is NotFound."""
        made = await client.create(builders.config_map(namespace=namespace))
        assert await client.delete(kinds.CONFIG_MAP, namespace, made.name) is None
        with pytest.raises(errors.NotFoundError):
            await client.get(kinds.CONFIG_MAP, namespace, made.name)
        with pytest.raises(errors.NotFoundError):
            await client.delete(kinds.CONFIG_MAP, namespace, made.name)
        assert made.name not in names((await client.list(kinds.CONFIG_MAP, namespace)).items)

    async def test_a_name_is_free_again(self, client: ports.Objects, namespace: str) -> None:
        """After deletion the same name makes a new object with a new uid."""
        old = await client.create(builders.config_map(namespace=namespace))
        await client.delete(kinds.CONFIG_MAP, namespace, old.name)
        new = await client.create(builders.config_map(namespace=namespace))
        assert new.uid != old.uid

    async def test_preconditions(self, client: ports.Objects, namespace: str) -> None:
        """A deletion meant for another uid or another version is a Conflict and deletes nothing."""
        made = await client.create(builders.config_map(namespace=namespace))
        new = await client.update(relabelled(made, a="b"))
        with pytest.raises(errors.ConflictError):
            await client.delete(kinds.CONFIG_MAP, namespace, made.name, uid="00000000-0000-0000-0000-000000000000")
        with pytest.raises(errors.ConflictError):
            await client.delete(kinds.CONFIG_MAP, namespace, made.name, resource_version=made.metadata.resource_version)
        version = new.metadata.resource_version
        gone = await client.delete(kinds.CONFIG_MAP, namespace, made.name, uid=new.uid, resource_version=version)
        assert gone is None

    async def test_finalizers_hold(self, client: ports.Objects, namespace: str) -> None:
        """A deleted object with finalizers stays, marked, until the last finalizer is removed."""
        made = await client.create(finalized(builders.experiment("one", namespace), HOLD, "example.com/other"))
        held = await client.delete(kinds.EXPERIMENT, namespace, "one")
        assert held is not None
        assert held.metadata.deletion_timestamp
        assert held.uid == made.uid
        less = await client.update(finalized(await client.get(kinds.EXPERIMENT, namespace, "one"), HOLD))
        assert less.deleting
        await client.update(finalized(less))
        with pytest.raises(errors.NotFoundError):
            await client.get(kinds.EXPERIMENT, namespace, "one")

    async def test_held_deletion_as_events(self, client: ports.Objects, namespace: str) -> None:
        """The mark is a MODIFIED event, the removal of the last finalizer the DELETED one."""
        async with following(client, kinds.EXPERIMENT, namespace) as stream:
            await client.create(finalized(builders.experiment("one", namespace), HOLD))
            held = await client.delete(kinds.EXPERIMENT, namespace, "one")
            assert held is not None
            await client.update(finalized(held))
            events = await take_events(stream, 3)
        assert [str(event.type) for event in events] == ["ADDED", "MODIFIED", "DELETED"]
        assert events[1].object.deleting

    async def test_deleting_again_changes_nothing(self, client: ports.Objects, namespace: str) -> None:
        """A second deletion of a held object keeps its first deletion time and writes nothing."""
        await client.create(finalized(builders.experiment("one", namespace), HOLD))
        first = await client.delete(kinds.EXPERIMENT, namespace, "one")
        second = await client.delete(kinds.EXPERIMENT, namespace, "one")
        assert first is not None
        assert second is not None
        assert meta.dump(first) == meta.dump(second)

    async def test_marking_raises_the_generation(self, client: ports.Objects, namespace: str) -> None:
        """The deletion mark counts as a change of what is wanted."""
        made = await client.create(finalized(builders.experiment("one", namespace), HOLD))
        held = await client.delete(kinds.EXPERIMENT, namespace, "one")
        assert held is not None
        assert held.metadata.generation == made.metadata.generation + 1

    async def test_no_new_finalizers_while_deleting(self, client: ports.Objects, namespace: str) -> None:
        """A deletion cannot be held by a finalizer that comes late."""
        await client.create(finalized(builders.experiment("one", namespace), HOLD))
        held = await client.delete(kinds.EXPERIMENT, namespace, "one")
        assert held is not None
        with pytest.raises(errors.InvalidError, match="finalizers"):
            await client.update(finalized(held, HOLD, "example.com/late"))

    async def test_a_deletion_cannot_be_taken_back(self, client: ports.Objects, namespace: str) -> None:
        """An update without the deletion mark keeps the mark."""
        await client.create(finalized(builders.experiment("one", namespace), HOLD))
        held = await client.delete(kinds.EXPERIMENT, namespace, "one")
        assert held is not None
        revived = meta.evolve(held, metadata=meta.evolve(held.metadata, deletion_timestamp=None, labels={"a": "b"}))
        assert (await client.update(revived)).deleting

    async def test_removing_finalizers_of_a_living_object(self, client: ports.Objects, namespace: str) -> None:
        """Without a deletion mark, an object without finalizers just lives on."""
        made = await client.create(finalized(builders.experiment("one", namespace), HOLD))
        await client.update(finalized(made))
        assert (await client.get(kinds.EXPERIMENT, namespace, "one")).uid == made.uid

    async def test_children_follow_their_owner(self, client: ports.Objects, namespace: str) -> None:
        """Deleting an owner deletes children and grandchildren of any kind; others stay."""
        self._collected()
        parent = await client.create(builders.experiment("parent", namespace))
        child = await client.create(builders.trial("child", namespace, of=parent))
        grandchild = await client.create(owned(builders.job("grandchild", namespace), builders.owner(child)))
        other = await client.create(builders.trial("other", namespace))
        await client.delete(kinds.EXPERIMENT, namespace, "parent")
        await until_gone(client, parent, child, grandchild)
        assert (await client.get(kinds.TRIAL, namespace, "other")).uid == other.uid

    async def test_a_child_with_another_owner_stays(self, client: ports.Objects, namespace: str) -> None:
        """A child goes when its last owner does; references to owners that are gone are removed."""
        self._collected()
        one = await client.create(builders.config_map("one", namespace))
        two = await client.create(builders.config_map("two", namespace))
        refs = [builders.owner(obj, controller=False) for obj in (one, two)]
        child = await client.create(owned(builders.config_map("child", namespace), *refs))
        async with following(client, kinds.CONFIG_MAP, namespace, fields="metadata.name=child") as stream:
            await client.delete(kinds.CONFIG_MAP, namespace, "one")
            events = await take_events(stream, 1)
            owners = events[0].object.metadata.owner_references or []
            assert [reference.uid for reference in owners] == [two.uid]
            await client.delete(kinds.CONFIG_MAP, namespace, "two")
            assert await take(stream, 1) == [("DELETED", child.name)]

    async def test_owners_are_known_by_uid(self, client: ports.Objects, namespace: str) -> None:
        """An object that names an owner of the right name and a wrong uid has no owner, and goes."""
        self._collected()
        owner = await client.create(builders.config_map("owner", namespace))
        wrong = meta.evolve(builders.owner(owner), uid="00000000-0000-0000-0000-000000000000")
        child = await client.create(owned(builders.config_map("child", namespace), wrong))
        await until_gone(client, child)
        assert await client.get(kinds.CONFIG_MAP, namespace, "owner") == owner

    async def test_an_owner_in_another_namespace_is_none(self, client: ports.Objects, namespace: str) -> None:
        """Ownership does not cross namespaces."""
        self._collected()
        await client.create(builders.namespace(namespace + "-b"))
        owner = await client.create(builders.config_map("owner", namespace))
        child = await client.create(owned(builders.config_map("child", namespace + "-b"), builders.owner(owner)))
        await until_gone(client, child)

    async def test_a_recreated_owner_is_another(self, client: ports.Objects, namespace: str) -> None:
        """Children of a deleted owner go even when an object of its name exists again."""
        self._collected()
        parent = await client.create(builders.experiment("parent", namespace))
        child = await client.create(builders.trial("child", namespace, of=parent))
        await client.delete(kinds.EXPERIMENT, namespace, "parent")
        await client.create(builders.experiment("parent", namespace))
        await until_gone(client, child)

    async def test_orphaned_children_stay(self, client: ports.Objects, namespace: str) -> None:
        """Orphan: the owner goes, its children lose the reference and live on."""
        self._collected()
        parent = await client.create(builders.experiment("parent", namespace))
        child = await client.create(builders.trial("child", namespace, of=parent))
        await client.delete(kinds.EXPERIMENT, namespace, "parent", propagation=ports.Propagation.ORPHAN)
        await until_gone(client, parent)
        left = await client.get(kinds.TRIAL, namespace, "child")
        assert left.uid == child.uid
        assert not left.metadata.owner_references

    async def test_foreground_waits_for_children(self, client: ports.Objects, namespace: str) -> None:
        """Foreground: the owner stays, marked, until its blocking children are gone."""
        self._collected()
        parent = await client.create(builders.experiment("parent", namespace))
        child = await client.create(finalized(builders.trial("child", namespace, of=parent), HOLD))
        async with following(client, kinds.TRIAL, namespace) as stream:
            held = await client.delete(kinds.EXPERIMENT, namespace, "parent", propagation=ports.Propagation.FOREGROUND)
            assert held is not None
            assert "foregroundDeletion" in (held.metadata.finalizers or ())
            events = await take_events(stream, 1)
            assert events[0].object.deleting
            assert (await client.get(kinds.EXPERIMENT, namespace, "parent")).deleting
            await client.update(finalized(events[0].object))
        await until_gone(client, child, parent)

    async def test_foreground_without_children(self, client: ports.Objects, namespace: str) -> None:
        """Foreground deletion of a childless object ends."""
        self._collected()
        made = await client.create(builders.experiment("parent", namespace))
        await client.delete(kinds.EXPERIMENT, namespace, "parent", propagation=ports.Propagation.FOREGROUND)
        await until_gone(client, made)

    async def test_foreground_reaches_grandchildren_first(self, client: ports.Objects, namespace: str) -> None:
        """Foreground: grandchildren go before children, children before the owner."""
        self._collected()
        parent = await client.create(builders.config_map("c-parent", namespace))
        child = await client.create(owned(builders.config_map("b-child", namespace), builders.owner(parent)))
        await client.create(owned(builders.config_map("a-grandchild", namespace), builders.owner(child)))
        start = await client.list(kinds.CONFIG_MAP, namespace)
        await client.delete(kinds.CONFIG_MAP, namespace, "c-parent", propagation=ports.Propagation.FOREGROUND)
        gone: list[str] = []
        async with watching(client, kinds.CONFIG_MAP, namespace, resource_version=start.resource_version) as stream:
            while len(gone) < 3:
                event = await asyncio.wait_for(anext(stream), PATIENCE)
                if event.type is ports.EventType.DELETED:
                    gone.append(event.object.name)
        assert gone == ["a-grandchild", "b-child", "c-parent"]

    async def test_owners_in_a_circle(self, client: ports.Objects, namespace: str) -> None:
        """Objects that own each other can be deleted, in the background and in the foreground."""
        self._collected()
        for policy in (ports.Propagation.BACKGROUND, ports.Propagation.FOREGROUND):
            one = await client.create(builders.config_map("one", namespace))
            two = await client.create(owned(builders.config_map("two", namespace), builders.owner(one)))
            await client.update(owned(one, builders.owner(two)))
            await client.delete(kinds.CONFIG_MAP, namespace, "one", propagation=policy)
            await until_gone(client, one, two)

    async def test_a_child_created_after_its_owner_went(self, client: ports.Objects, namespace: str) -> None:
        """A child that arrives late, for an owner that is gone, goes too."""
        self._collected()
        parent = await client.create(builders.experiment("parent", namespace))
        await client.delete(kinds.EXPERIMENT, namespace, "parent")
        await until_gone(client, await client.create(builders.trial("late", namespace, of=parent)))

    async def test_a_namespace_takes_its_contents_along(self, client: ports.Objects, namespace: str) -> None:
        """Deleting a namespace deletes everything in it, waits for finalizers, and takes nothing new meanwhile."""
        self.only_ours()
        made = await client.create(finalized(builders.experiment("one", namespace), HOLD))
        other = await client.create(builders.config_map("two", namespace))
        answer = await client.delete(kinds.NAMESPACE, "", namespace)
        assert answer is not None
        assert answer.section("status")["phase"] == "Terminating"
        await until_gone(client, other)
        with pytest.raises(errors.ForbiddenError):
            await client.create(builders.config_map("three", namespace))
        await client.update(finalized(await client.get(kinds.EXPERIMENT, namespace, "one")))
        await until_gone(client, made, answer)

    async def test_the_default_namespace_stays(self, client: ports.Objects) -> None:
        """The namespace ``default`` cannot be deleted."""
        with pytest.raises(errors.ForbiddenError):
            await client.delete(kinds.NAMESPACE, "", "default")

    def _collected(self) -> None:
        if not self.collects:
            pytest.skip("this server runs without a garbage collector")
