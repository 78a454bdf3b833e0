"""The client contract: get, list, selectors, watch."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from kuttab.api import experiment as experiments
from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.ports import objects as ports
from kuttab.testing import builders
from kuttab.testing.clients_base import PATIENCE, ClientSuite, following, names, relabelled, take, take_events, watching

SELECTIONS = [
    ("", "a b c d"),
    ("tier=web", "a b"),
    ("tier==web", "a b"),
    ("tier = web , size = l", "b"),
    ("tier!=web", "c d"),
    ("tier in (web,db)", "a b c"),
    ("tier notin (web)", "c d"),
    ("tier", "a b c"),
    ("!tier", "d"),
    ("tier in (web), size!=l", "a"),
    ("tier,!size", "a c"),
    ("size=", "d"),
    ("tier=nothing", ""),
    ("tier=web,tier=db", ""),
]


class ReadContract(ClientSuite):
    """Promises about reading objects."""

    async def test_get_of_nothing(self, client: ports.Objects, namespace: str) -> None:
        """NotFound, naming the object."""
        with pytest.raises(errors.NotFoundError, match="nobody"):
            await client.get(kinds.CONFIG_MAP, namespace, "nobody")

    async def test_list_is_in_order(self, client: ports.Objects, namespace: str) -> None:
        """A list is ordered by name and has a resourceVersion to watch from."""
        for name in ("b", "a.b", "c", "a"):
            await client.create(builders.config_map(name, namespace))
        found = await client.list(kinds.CONFIG_MAP, namespace)
        assert [name for name in names(found.items) if name != "kube-root-ca.crt"] == ["a", "a.b", "b", "c"]
        assert found.resource_version
        assert not found.continue_token

    async def test_list_of_one_namespace_or_all(self, client: ports.Objects, namespace: str) -> None:
        """A namespace's list shows nothing of another; ``None`` shows all, ordered by namespace and name."""
        await client.create(builders.namespace(namespace + "-b"))
        for where, name in ((namespace + "-b", "x"), (namespace, "y"), (namespace, "x")):
            await client.create(builders.experiment(name, where))
        assert names((await client.list(kinds.EXPERIMENT, namespace)).items) == ["x", "y"]
        everywhere = [
            (obj.namespace, obj.name)
            for obj in (await client.list(kinds.EXPERIMENT)).items
            if obj.namespace.startswith(namespace)
        ]
        assert everywhere == [(namespace, "x"), (namespace, "y"), (namespace + "-b", "x")]

    async def test_list_of_a_cluster_scoped_kind(self, client: ports.Objects, namespace: str) -> None:
        """Namespaces are in no namespace."""
        found = await client.list(kinds.NAMESPACE)
        assert namespace in names(found.items)
        assert {"default"} <= set(names(found.items))
        assert (await client.get(kinds.NAMESPACE, "", namespace)).namespace == ""

    async def test_pages_cover_everything_once(self, client: ports.Objects, namespace: str) -> None:
        """Pages of a limit follow each other without gap or repeat, and say how many are left."""
        wanted = [f"trial-{number:02}" for number in range(7)]
        for name in reversed(wanted):
            await client.create(builders.experiment(name, namespace))
        found: list[str] = []
        token = ""
        rests = []
        for _ in range(3):
            page = await client.list(kinds.EXPERIMENT, namespace, limit=3, continue_token=token)
            found += names(page.items)
            token = page.continue_token
            rests.append(page.remaining)
        assert found == wanted
        assert not token
        assert rests[2] is None
        assert all(rest in (None, left) for rest, left in zip(rests, (4, 1), strict=False))

    async def test_pages_are_of_one_revision(self, client: ports.Objects, namespace: str) -> None:
        """What is written while somebody pages is not seen by the pages that follow."""
        for number in range(4):
            await client.create(builders.experiment(f"t{number}", namespace))
        first = await client.list(kinds.EXPERIMENT, namespace, limit=2)
        await client.delete(kinds.EXPERIMENT, namespace, "t2")
        await client.update(relabelled(await client.get(kinds.EXPERIMENT, namespace, "t3"), new="1"))
        await client.create(builders.experiment("t9", namespace))
        rest = await client.list(kinds.EXPERIMENT, namespace, limit=9, continue_token=first.continue_token)
        assert names(rest.items) == ["t2", "t3"]
        assert not rest.items[1].metadata.labels
        assert rest.resource_version == first.resource_version

    @pytest.mark.parametrize("token", ["nonsense", "eyJ9", "W10", "WzEsMiwzXQ"])
    async def test_bad_tokens_are_refused(self, client: ports.Objects, namespace: str, token: str) -> None:
        """A continue token that is none: BadRequest (or Expired), never a wrong page."""
        with pytest.raises((errors.BadInputError, errors.ExpiredError)):
            await client.list(kinds.CONFIG_MAP, namespace, limit=1, continue_token=token)

    @pytest.mark.parametrize(("selector", "wanted"), SELECTIONS)
    async def test_label_selectors(self, client: ports.Objects, namespace: str, selector: str, wanted: str) -> None:
        """Equality and set-based selectors choose as Kubernetes does; an absent label fulfils negative conditions."""
        await self._four(client, namespace)
        found = await client.list(kinds.EXPERIMENT, namespace, labels=selector)
        assert " ".join(names(found.items)) == wanted

    async def test_selectors_and_pages(self, client: ports.Objects, namespace: str) -> None:
        """A selected list pages over the selected objects."""
        await self._four(client, namespace)
        first = await client.list(kinds.EXPERIMENT, namespace, labels="tier", limit=2)
        assert names(first.items) == ["a", "b"]
        rest = await client.list(
            kinds.EXPERIMENT, namespace, labels="tier", limit=2, continue_token=first.continue_token
        )
        assert names(rest.items) == ["c"]

    async def test_selectors_follow_changes(self, client: ports.Objects, namespace: str) -> None:
        """An object is found by the labels it has now, not by those it had."""
        made = await client.create(relabelled(builders.experiment("one", namespace), tier="old"))
        await client.update(relabelled(made, tier="new"))
        assert names((await client.list(kinds.EXPERIMENT, namespace, labels="tier=new")).items) == ["one"]
        assert not (await client.list(kinds.EXPERIMENT, namespace, labels="tier=old")).items
        await client.delete(kinds.EXPERIMENT, namespace, "one")
        assert not (await client.list(kinds.EXPERIMENT, namespace, labels="tier=new")).items

    @pytest.mark.parametrize(
        "selector", ["a=(", "a in b", "a in (b", "=", "a=b c=d", "a&b", "a in ()x", "-a=b", "a=b!"]
    )
    async def test_bad_label_selectors_are_refused(self, client: ports.Objects, namespace: str, selector: str) -> None:
        """A selector that cannot be read is BadRequest, never "everything"."""
        with pytest.raises(errors.BadInputError):
            await client.list(kinds.CONFIG_MAP, namespace, labels=selector)

    async def test_field_selectors(self, client: ports.Objects, namespace: str) -> None:
        """metadata.name and metadata.namespace select; ``!=`` excludes."""
        await self._four(client, namespace)
        assert names((await client.list(kinds.EXPERIMENT, namespace, fields="metadata.name=b")).items) == ["b"]
        others = await client.list(kinds.EXPERIMENT, namespace, fields="metadata.name!=b")
        assert names(others.items) == ["a", "c", "d"]
        mine = await client.list(kinds.EXPERIMENT, fields=f"metadata.namespace={namespace},metadata.name=c")
        assert names(mine.items) == ["c"]
        assert not (await client.list(kinds.EXPERIMENT, namespace, fields="metadata.namespace=other")).items

    async def test_phase_selector(self, client: ports.Objects, namespace: str) -> None:
        """status.phase selects namespaces (and pods, claims)."""
        found = await client.list(kinds.NAMESPACE, fields=f"status.phase=Active,metadata.name={namespace}")
        assert names(found.items) == [namespace]
        assert not (await client.list(kinds.NAMESPACE, fields=f"status.phase!=Active,metadata.name={namespace}")).items

    @pytest.mark.parametrize("selector", ["spec.maxTrialCount=1", "metadata.uid=1", "x", "metadata.name>a"])
    async def test_unsupported_fields_are_refused(self, client: ports.Objects, namespace: str, selector: str) -> None:
        """A field that cannot be selected on is BadRequest."""
        with pytest.raises(errors.BadInputError):
            await client.list(kinds.EXPERIMENT, namespace, fields=selector)

    async def _four(self, client: ports.Objects, namespace: str) -> None:
        all_labels = {"a": {"tier": "web"}, "b": {"tier": "web", "size": "l"}, "c": {"tier": "db"}, "d": {"size": ""}}
        for name, labels in all_labels.items():
            await client.create(relabelled(builders.experiment(name, namespace), **labels))


class WatchContract(ClientSuite):
    """Promises about watching objects."""

    async def test_watch_from_now_begins_with_what_exists(self, client: ports.Objects, namespace: str) -> None:
        """Without a resourceVersion, existing objects come first as ADDED, then what happens."""
        await client.create(builders.experiment("a", namespace))
        async with watching(client, kinds.EXPERIMENT, namespace) as stream:
            assert await take(stream, 1) == [("ADDED", "a")]
            await client.create(builders.experiment("b", namespace))
            assert await take(stream, 1) == [("ADDED", "b")]

    async def test_watch_tells_everything_in_order(self, client: ports.Objects, namespace: str) -> None:
        """Each write is one event, in the order of resourceVersions, with the object after it."""
        start = await client.list(kinds.EXPERIMENT, namespace)
        async with watching(client, kinds.EXPERIMENT, namespace, resource_version=start.resource_version) as stream:
            made = await client.create(builders.experiment("a", namespace))
            changed = await client.update(relabelled(made, x="1"))
            done = await client.update_status(meta.evolve(changed, status=experiments.ExperimentStatus(trials=1)))
            await client.delete(kinds.EXPERIMENT, namespace, "a")
            events = await take_events(stream, 4)
        assert [str(event.type) for event in events] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
        assert [meta.dump(event.object) for event in events[:3]] == [meta.dump(obj) for obj in (made, changed, done)]
        assert events[3].object.uid == made.uid
        assert events[3].object.metadata.resource_version != done.metadata.resource_version

    async def test_watch_continues_where_a_list_ended(self, client: ports.Objects, namespace: str) -> None:
        """Nothing between a list and a later watch from its resourceVersion is lost or repeated."""
        await client.create(builders.experiment("before", namespace))
        start = await client.list(kinds.EXPERIMENT, namespace)
        await client.create(builders.experiment("between", namespace))
        await client.delete(kinds.EXPERIMENT, namespace, "before")
        async with watching(client, kinds.EXPERIMENT, namespace, resource_version=start.resource_version) as stream:
            assert await take(stream, 2) == [("ADDED", "between"), ("DELETED", "before")]
            await client.create(builders.experiment("after", namespace))
            assert await take(stream, 1) == [("ADDED", "after")]

    async def test_watch_continues_from_an_event(self, client: ports.Objects, namespace: str) -> None:
        """A watch can be broken off and taken up again at the last event's resourceVersion."""
        start = await client.list(kinds.EXPERIMENT, namespace)
        for name in ("a", "b", "c"):
            await client.create(builders.experiment(name, namespace))
        async with watching(client, kinds.EXPERIMENT, namespace, resource_version=start.resource_version) as stream:
            event = (await take_events(stream, 2))[1]
        at = event.object.metadata.resource_version
        async with watching(client, kinds.EXPERIMENT, namespace, resource_version=at) as stream:
            assert await take(stream, 1) == [("ADDED", "c")]

    async def test_watch_sees_only_its_namespace_and_kind(self, client: ports.Objects, namespace: str) -> None:
        """Nothing of one namespace or kind shows in another's watch."""
        await client.create(builders.namespace(namespace + "-b"))
        async with following(client, kinds.EXPERIMENT, namespace) as stream:
            await client.create(builders.experiment("other", namespace + "-b"))
            await client.create(builders.trial("trial", namespace))
            await client.create(builders.experiment("mine", namespace))
            assert await take(stream, 1) == [("ADDED", "mine")]

    async def test_watch_of_all_namespaces(self, client: ports.Objects, namespace: str) -> None:
        """``None`` watches every namespace."""
        start = await client.list(kinds.EXPERIMENT)
        await client.create(builders.namespace(namespace + "-b"))
        await client.create(builders.experiment("one", namespace))
        await client.create(builders.experiment("two", namespace + "-b"))
        async with watching(client, kinds.EXPERIMENT, None, resource_version=start.resource_version) as stream:
            # A server that others use, too, shows their objects as well.
            ours = (event async for event in stream if event.object.namespace in (namespace, namespace + "-b"))
            async with contextlib.aclosing(ours):
                assert await take(ours, 2) == [("ADDED", "one"), ("ADDED", "two")]

    async def test_selected_watch(self, client: ports.Objects, namespace: str) -> None:
        """Entering a selection is ADDED, leaving it DELETED, and what never was in it does not show."""
        start = await client.list(kinds.EXPERIMENT, namespace)
        await self._in_and_out(client, namespace)
        async with watching(
            client, kinds.EXPERIMENT, namespace, labels="tier=web", resource_version=start.resource_version
        ) as stream:
            wanted = [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b"), ("DELETED", "b")]
            assert await take(stream, 5) == wanted
            await self._in_and_out(client, namespace)
            assert await take(stream, 5) == wanted

    async def test_leaving_a_selection_shows_the_last_selected_state(
        self, client: ports.Objects, namespace: str
    ) -> None:
        """The DELETED event of an object that left carries its last selected state at the new resourceVersion."""
        self.only_ours()
        async with following(client, kinds.EXPERIMENT, namespace, labels="tier=web") as stream:
            made = await client.create(relabelled(builders.experiment("a", namespace), tier="web"))
            left = await client.update(relabelled(made, tier="db"))
            event = (await take_events(stream, 2))[1]
        assert event.object.metadata.labels == {"tier": "web"}
        assert event.object.metadata.resource_version == left.metadata.resource_version

    async def test_watch_by_name(self, client: ports.Objects, namespace: str) -> None:
        """One object can be watched by a field selector."""
        async with following(client, kinds.EXPERIMENT, namespace, fields="metadata.name=b") as stream:
            for name in ("a", "b"):
                await client.create(builders.experiment(name, namespace))
            await client.delete(kinds.EXPERIMENT, namespace, "b")
            assert await take(stream, 2) == [("ADDED", "b"), ("DELETED", "b")]

    async def test_many_watchers_see_the_same(self, client: ports.Objects, namespace: str) -> None:
        """Watchers do not take events from each other."""
        start = (await client.list(kinds.EXPERIMENT, namespace)).resource_version

        async def see() -> list[tuple[str, str]]:
            async with watching(client, kinds.EXPERIMENT, namespace, resource_version=start) as stream:
                return await take(stream, 10)

        watchers = [asyncio.ensure_future(see()) for _ in range(5)]
        for number in range(10):
            await client.create(builders.experiment(f"t{number}", namespace))
        wanted = [("ADDED", f"t{number}") for number in range(10)]
        assert await asyncio.gather(*watchers) == [wanted] * 5

    async def test_watch_from_an_impossible_revision(self, client: ports.Objects, namespace: str) -> None:
        """A revision that this store never gave out is Expired: the client must list again."""
        self.only_ours()
        with pytest.raises(errors.ExpiredError):
            async with watching(client, kinds.EXPERIMENT, namespace, resource_version="999999999999") as stream:
                await asyncio.wait_for(anext(stream), PATIENCE)

    async def test_bad_watches_are_refused(self, client: ports.Objects, namespace: str) -> None:
        """A bad selector or resourceVersion is BadRequest."""
        for labels, revision in (("a=(", ""), ("", "abc"), ("", "-1")):
            with pytest.raises(errors.BadInputError):
                async with watching(
                    client, kinds.EXPERIMENT, namespace, labels=labels, resource_version=revision
                ) as stream:
                    await asyncio.wait_for(anext(stream), PATIENCE)

    async def test_bookmarks_carry_only_a_revision(self, client: ports.Objects, namespace: str) -> None:
        """After what existed, a bookmark says how far the watcher has come."""
        self.only_ours()
        await client.create(builders.experiment("a", namespace))
        async with watching(client, kinds.EXPERIMENT, namespace) as stream:
            first = await asyncio.wait_for(anext(stream), PATIENCE)
            second = await asyncio.wait_for(anext(stream), PATIENCE)
        assert (first.type, second.type) == (ports.EventType.ADDED, ports.EventType.BOOKMARK)
        assert second.object.revision >= first.object.revision
        assert meta.dump(second.object)["metadata"] == {"resourceVersion": second.object.metadata.resource_version}

    async def _in_and_out(self, client: ports.Objects, namespace: str) -> None:
        made = await client.create(relabelled(builders.experiment("a", namespace), tier="web"))
        made = await client.update(relabelled(made, tier="web", x="1"))
        made = await client.update(relabelled(made, tier="db"))
        await client.update(relabelled(made, tier="db", x="2"))
        await client.delete(kinds.EXPERIMENT, namespace, "a")
        other = await client.create(relabelled(builders.experiment("b", namespace), tier="db"))
        await client.update(relabelled(other, tier="web"))
        await client.delete(kinds.EXPERIMENT, namespace, "b")
