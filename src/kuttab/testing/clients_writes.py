"""The client contract: create, update, status."""

from __future__ import annotations

import contextlib
import json

import pytest

from kuttab.api import experiment as experiments
from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.ports import objects as ports
from kuttab.testing import builders
from kuttab.testing.clients_base import ClientSuite, finalized, owned, relabelled


class WriteContract(ClientSuite):
    """Promises about creating and changing objects."""

    async def test_create_fills_in_what_the_system_owns(self, client: ports.Objects, namespace: str) -> None:
        """A created object has a uid, a resourceVersion, a creation time and generation 1, whatever the caller claimed."""
        wish = builders.experiment(namespace=namespace)
        claimed = meta.evolve(wish.metadata, uid="mine", generation=7, creation_timestamp="1999-01-01T00:00:00Z")
        made = await client.create(meta.evolve(wish, metadata=claimed))
        assert len(made.uid) == 36
        assert made.metadata.resource_version
        assert made.metadata.generation == 1
        assert made.metadata.creation_timestamp is not None
        assert not made.metadata.creation_timestamp.startswith("1999")

    async def test_create_keeps_the_document(self, client: ports.Objects, namespace: str) -> None:
        """Labels, annotations and content come back as they were given."""
        wish = builders.config_map(namespace=namespace, one="1", two="zwei äöü 😀\n")
        metadata = meta.evolve(wish.metadata, labels={"a": "b"}, annotations={"c": 'd"\\'})
        await client.create(meta.evolve(wish, metadata=metadata))
        found = await client.get(kinds.CONFIG_MAP, namespace, wish.name)
        assert found.section("data") == {"one": "1", "two": "zwei äöü 😀\n"}
        assert found.metadata.labels == {"a": "b"}
        assert found.metadata.annotations == {"c": 'd"\\'}

    async def test_create_returns_what_get_returns(self, client: ports.Objects, namespace: str) -> None:
        """The answer of a create is the stored object."""
        made = await client.create(builders.experiment(namespace=namespace))
        assert meta.dump(await client.get(kinds.EXPERIMENT, namespace, made.name)) == meta.dump(made)

    async def test_create_drops_status(self, client: ports.Objects, namespace: str) -> None:
        """Status of a kind with a status subresource cannot be smuggled in by create."""
        wish = builders.experiment(namespace=namespace)
        made = await client.create(meta.evolve(wish, status=experiments.ExperimentStatus(trials=5)))
        assert "status" not in meta.dump(made)

    async def test_create_twice_is_refused(self, client: ports.Objects, namespace: str) -> None:
        """A name is taken once: AlreadyExists."""
        await client.create(builders.config_map(namespace=namespace))
        with pytest.raises(errors.AlreadyExistsError):
            await client.create(builders.config_map(namespace=namespace))

    async def test_names_are_per_kind_and_namespace(self, client: ports.Objects, namespace: str) -> None:
        """The same name is free in another kind and in another namespace."""
        await client.create(builders.config_map("one", namespace))
        await client.create(builders.experiment("one", namespace))
        await client.create(builders.namespace(namespace + "-b"))
        await client.create(builders.config_map("one", namespace + "-b"))

    async def test_create_into_a_missing_namespace(self, client: ports.Objects, namespace: str) -> None:
        """NotFound, not a new namespace."""
        with pytest.raises(errors.NotFoundError):
            await client.create(builders.config_map(namespace=namespace + "-missing"))

    async def test_create_refuses_a_resource_version(self, client: ports.Objects, namespace: str) -> None:
        """An object to be created has no resourceVersion."""
        wish = builders.config_map(namespace=namespace)
        with pytest.raises(errors.KuttabError) as caught:
            await client.create(meta.evolve(wish, metadata=meta.evolve(wish.metadata, resource_version="1")))
        assert caught.value.http_code in (400, 422, 500)
        assert "resourceVersion" in caught.value.message

    @pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "dash-", "a..b", "a/b", "ä", "a b", "a" * 254])
    async def test_bad_names_are_refused(self, client: ports.Objects, namespace: str, name: str) -> None:
        """A name is a DNS-1123 subdomain; the error names the field."""
        with pytest.raises(errors.InvalidError, match=r"metadata\.name"):
            await client.create(builders.config_map(name, namespace))

    async def test_a_name_is_required(self, client: ports.Objects, namespace: str) -> None:
        """Neither name nor generateName: Invalid."""
        with pytest.raises(errors.InvalidError, match=r"metadata\.name"):
            await client.create(builders.config_map("", namespace))

    @pytest.mark.parametrize(
        "labels", [{"bad key": "x"}, {"a": "bad value"}, {"a": "x" * 64}, {"-a": "x"}, {"UP/a": "x"}, {"a/b/c": "x"}]
    )
    async def test_bad_labels_are_refused(self, client: ports.Objects, namespace: str, labels: dict[str, str]) -> None:
        """Labels follow Kubernetes' syntax; the error names the field."""
        with pytest.raises(errors.InvalidError, match=r"metadata\.labels"):
            await client.create(relabelled(builders.config_map(namespace=namespace), **labels))

    async def test_owner_references_must_be_whole(self, client: ports.Objects, namespace: str) -> None:
        """An owner without uid is refused, and so are two controllers."""
        owner = builders.owner(await client.create(builders.config_map("owner", namespace)))
        child = builders.config_map("child", namespace)
        with pytest.raises(errors.InvalidError, match="ownerReferences"):
            await client.create(owned(child, meta.evolve(owner, uid="")))
        other = builders.owner(await client.create(builders.config_map("other", namespace)))
        with pytest.raises(errors.InvalidError, match="ownerReferences"):
            await client.create(owned(child, owner, other))

    async def test_generate_name(self, client: ports.Objects, namespace: str) -> None:
        """generateName gives fresh names that begin with it, and a name of 63 characters at most from a long one."""
        wish = meta.evolve(
            builders.config_map(namespace=namespace), metadata=builders.metadata("", namespace, generate_name="run-")
        )
        first, second = await client.create(wish), await client.create(wish)
        assert first.name != second.name
        assert all(made.name.startswith("run-") and len(made.name) == 9 for made in (first, second))
        long = meta.evolve(wish, metadata=meta.evolve(wish.metadata, generate_name="x" * 80))
        assert len((await client.create(long)).name) == 63

    async def test_dry_run_create_has_no_effect(self, client: ports.Objects, namespace: str) -> None:
        """A dry run answers as the real thing would, and stores nothing."""
        wish = builders.experiment(namespace=namespace)
        answer = await client.create(wish, dry_run=True)
        assert answer.uid
        assert answer.metadata.generation == 1
        with pytest.raises(errors.NotFoundError):
            await client.get(kinds.EXPERIMENT, namespace, wish.name)
        await client.create(wish)
        with pytest.raises(errors.AlreadyExistsError):
            await client.create(wish, dry_run=True)

    async def test_too_large_objects_are_refused(self, client: ports.Objects, namespace: str) -> None:
        """An object far above 1.5 MiB is refused, on create and on update, and the old state stays."""
        with pytest.raises(errors.KuttabError) as caught:
            await client.create(builders.config_map("large", namespace, data="x" * 4_000_000))
        assert caught.value.http_code in (413, 422, 500)
        made = await client.create(builders.config_map("small", namespace))
        with pytest.raises(errors.KuttabError):
            await client.update(meta.evolve(made, data={"data": "x" * 4_000_000}))
        assert meta.dump(await client.get(kinds.CONFIG_MAP, namespace, "small")) == meta.dump(made)

    async def test_update_replaces(self, client: ports.Objects, namespace: str) -> None:
        """An update replaces content, labels and annotations; resourceVersion changes."""
        made = await client.create(relabelled(builders.config_map(namespace=namespace), a="1", b="2"))
        new = await client.update(relabelled(meta.evolve(made, data={"other": "1"}), a="3"))
        assert new.section("data") == {"other": "1"}
        assert new.metadata.labels == {"a": "3"}
        assert new.metadata.resource_version != made.metadata.resource_version
        assert meta.dump(await client.get(kinds.CONFIG_MAP, namespace, made.name)) == meta.dump(new)

    async def test_update_of_nothing(self, client: ports.Objects, namespace: str) -> None:
        """Updating what does not exist: NotFound (or Conflict), never a creation."""
        made = await client.create(builders.config_map(namespace=namespace))
        await client.delete(kinds.CONFIG_MAP, namespace, made.name)
        with pytest.raises((errors.NotFoundError, errors.ConflictError)):
            await client.update(made)
        with pytest.raises(errors.NotFoundError):
            await client.get(kinds.CONFIG_MAP, namespace, made.name)

    async def test_update_needs_the_version_it_decided_on(self, client: ports.Objects, namespace: str) -> None:
        """The second of two updates made on the same version is a Conflict, and the first one stays."""
        made = await client.create(builders.config_map(namespace=namespace))
        first = await client.update(meta.evolve(made, data={"winner": "first"}))
        with pytest.raises(errors.ConflictError):
            await client.update(meta.evolve(made, data={"winner": "second"}))
        assert meta.dump(await client.get(kinds.CONFIG_MAP, namespace, made.name)) == meta.dump(first)

    async def test_update_without_a_version_is_refused(self, client: ports.Objects, namespace: str) -> None:
        """No write is "last one wins": an update without resourceVersion is Invalid."""
        made = await client.create(builders.experiment(namespace=namespace))
        with pytest.raises(errors.InvalidError, match="resourceVersion"):
            await client.update(meta.evolve(made, metadata=meta.evolve(made.metadata, resource_version="")))

    async def test_update_of_a_recreated_object_is_a_conflict(self, client: ports.Objects, namespace: str) -> None:
        """An object of the same name with another uid is another object."""
        old = await client.create(builders.config_map(namespace=namespace))
        await client.delete(kinds.CONFIG_MAP, namespace, old.name)
        new = await client.create(builders.config_map(namespace=namespace))
        stale = meta.evolve(new, metadata=meta.evolve(new.metadata, uid=old.uid))
        with pytest.raises(errors.ConflictError):
            await client.update(stale)

    async def test_update_without_change_is_no_write(self, client: ports.Objects, namespace: str) -> None:
        """Writing what is there already keeps the resourceVersion."""
        made = await client.create(builders.experiment(namespace=namespace))
        assert (await client.update(made)).metadata.resource_version == made.metadata.resource_version
        done = await client.update_status(meta.evolve(made, status=experiments.ExperimentStatus(trials=1)))
        again = await client.update_status(done)
        assert again.metadata.resource_version == done.metadata.resource_version

    async def test_update_ignores_status(self, client: ports.Objects, namespace: str) -> None:
        """The main resource cannot change status."""
        made = await client.create(builders.experiment(namespace=namespace))
        done = await client.update_status(meta.evolve(made, status=experiments.ExperimentStatus(trials=1)))
        changed = meta.evolve(done, status=experiments.ExperimentStatus(trials=9))
        new = await client.update(relabelled(changed, a="b"))
        assert meta.dump(new)["status"] == {"trials": 1}

    async def test_update_keeps_what_the_system_owns(self, client: ports.Objects, namespace: str) -> None:
        """creationTimestamp and generation cannot be changed by a caller."""
        made = await client.create(builders.experiment(namespace=namespace))
        claimed = meta.evolve(
            made.metadata, generation=99, creation_timestamp="1999-01-01T00:00:00Z", labels={"a": "b"}
        )
        new = await client.update(meta.evolve(made, metadata=claimed))
        assert new.metadata.creation_timestamp == made.metadata.creation_timestamp
        assert new.metadata.generation == 1

    async def test_update_cannot_mark_for_deletion(self, client: ports.Objects, namespace: str) -> None:
        """A deletionTimestamp that a caller claims is refused or ignored: only a deletion deletes."""
        made = await client.create(builders.experiment(namespace=namespace))
        claimed = meta.evolve(made.metadata, deletion_timestamp="1999-01-01T00:00:00Z", labels={"a": "b"})
        with contextlib.suppress(errors.InvalidError):
            await client.update(meta.evolve(made, metadata=claimed))
        assert not (await client.get(kinds.EXPERIMENT, namespace, made.name)).deleting

    async def test_generation_counts_changes_of_spec(self, client: ports.Objects, namespace: str) -> None:
        """Spec changes raise the generation; labels and status do not."""
        made = await client.create(builders.experiment(namespace=namespace, maxTrialCount=4))
        assert made.metadata.generation == 1
        labelled = await client.update(relabelled(made, a="b"))
        assert labelled.metadata.generation == 1
        done = await client.update_status(meta.evolve(labelled, status=experiments.ExperimentStatus(trials=1)))
        assert done.metadata.generation == 1
        assert isinstance(done, experiments.Experiment)
        raised = await client.update(meta.evolve(done, spec=meta.evolve(done.spec, max_trial_count=5)))
        assert raised.metadata.generation == 2

    async def test_status_update_changes_status_alone(self, client: ports.Objects, namespace: str) -> None:
        """Spec, labels and finalizers given to update_status are ignored."""
        made = await client.create(builders.experiment(namespace=namespace, maxTrialCount=4))
        assert isinstance(made, experiments.Experiment)
        changed = finalized(
            relabelled(meta.evolve(made, spec=meta.evolve(made.spec, max_trial_count=9)), a="b"), "example.com/hold"
        )
        done = await client.update_status(meta.evolve(changed, status=experiments.ExperimentStatus(trials=3)))
        assert isinstance(done, experiments.Experiment)
        assert done.status.trials == 3
        assert done.spec.max_trial_count == 4
        assert not done.metadata.labels
        assert not done.metadata.finalizers

    async def test_status_update_needs_the_version_too(self, client: ports.Objects, namespace: str) -> None:
        """Status follows the same optimistic lock."""
        made = await client.create(builders.experiment(namespace=namespace))
        await client.update(relabelled(made, a="b"))
        with pytest.raises(errors.ConflictError):
            await client.update_status(meta.evolve(made, status=experiments.ExperimentStatus(trials=3)))

    async def test_kinds_without_status(self, client: ports.Objects, namespace: str) -> None:
        """A kind without a status subresource answers NotFound."""
        made = await client.create(builders.config_map(namespace=namespace))
        with pytest.raises(errors.NotFoundError):
            await client.update_status(made)

    async def test_dry_run_update_has_no_effect(self, client: ports.Objects, namespace: str) -> None:
        """A dry run of an update answers the new state and stores the old one."""
        made = await client.create(builders.config_map(namespace=namespace))
        answer = await client.update(meta.evolve(made, data={"new": "1"}), dry_run=True)
        assert answer.section("data") == {"new": "1"}
        assert meta.dump(await client.get(kinds.CONFIG_MAP, namespace, made.name)) == meta.dump(made)

    async def test_resource_versions_grow(self, client: ports.Objects, namespace: str) -> None:
        """Later writes have greater resourceVersions, over all kinds."""
        self.only_ours()
        one = await client.create(builders.config_map(namespace=namespace))
        two = await client.create(builders.experiment(namespace=namespace))
        three = await client.update(relabelled(one, a="b"))
        assert one.revision < two.revision < three.revision

    async def test_callers_cannot_reach_what_is_stored(self, client: ports.Objects, namespace: str) -> None:
        """Changing the value that was given to create does not change the stored object."""
        wish = builders.config_map(namespace=namespace, key="before")
        made = await client.create(wish)
        wish.section("data")["key"] = "after"
        assert (await client.get(kinds.CONFIG_MAP, namespace, made.name)).section("data") == {"key": "before"}

    async def test_hostile_text_stays_text(self, client: ports.Objects, namespace: str) -> None:
        """Quotes, SQL, control characters and non-characters come back byte by byte."""
        texts = ["'; DROP TABLE log; --", '"', "\\u0000", "\x01\x1f", "\u2028", "￾", "{{}}", "%s", "💥" * 100]
        data = {f"k{number}": text for number, text in enumerate(texts)}
        await client.create(builders.config_map(namespace=namespace, **data))
        found = await client.get(kinds.CONFIG_MAP, namespace, "settings")
        assert found.section("data") == data

    async def test_foreign_kinds_are_kept_whole(self, client: ports.Objects, namespace: str) -> None:
        """A kind that nobody registered is stored with every field, nested as it is."""
        if not self.foreign:
            pytest.skip("this server serves only kinds that it knows")
        document = {
            "apiVersion": "example.com/v1",
            "kind": "Gadget",
            "metadata": {"name": "one", "namespace": namespace},
            "spec": {"list": [1, 2.5, None, {"deep": [True]}], "null": None},
            "top": "level",
        }
        made = await client.create(kinds.load(json.loads(json.dumps(document))))
        found = meta.dump(await client.get(kinds.of(made), namespace, "one"))
        assert found["spec"] == document["spec"]
        assert found["top"] == "level"

    async def test_settled_writes_are_seen(self, client: ports.Objects, namespace: str) -> None:
        """settle returns for a written revision and for "everything so far"."""
        made = await client.create(builders.config_map(namespace=namespace))
        await client.settle(made.metadata.resource_version)
        await client.settle()
        assert (await client.get(kinds.CONFIG_MAP, namespace, made.name)).uid == made.uid
