"""The store against a dictionary: random histories of writes, lists, watches, kills and restarts, shrunk by hypothesis when they differ."""

from __future__ import annotations

import asyncio
import copy
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest
from hypothesis import stateful
from hypothesis import strategies as st

from kuttab.api import kinds, meta
from kuttab.base import clock, errors
from kuttab.ports import objects as ports
from kuttab.store import objects, watch
from kuttab.testing import builders

NAMES = st.sampled_from(["a", "b", "c", "d.e", "f"])
SPACES = st.sampled_from(["default", "kubeflow"])
LABELS = st.dictionaries(st.sampled_from(["tier", "size"]), st.sampled_from(["x", "y", ""]), max_size=2)
SELECTORS = st.sampled_from(["", "tier=x", "tier!=x", "size", "!size", "tier=x,size=y", "tier in (x,y)"])


@dataclass
class Follower:
    """A client that keeps a copy of a selection up to date by listing and watching."""

    selector: str
    known: dict[tuple[str, str], meta.Object] = field(default_factory=dict)
    revision: str = ""
    watch: watch.Watch | None = None

    async def follow(self, store: objects.Store) -> None:
        """Read everything there is to read."""
        for _ in range(3):
            try:
                await self._drain(store)
            except errors.ExpiredError:
                found = store.list(kinds.CONFIG_MAP, labels=self.selector)
                self.known = {(obj.namespace, obj.name): obj for obj in found.items}
                self.revision, self.watch = found.resource_version, None
            else:
                return
        raise AssertionError("a fresh list is expired")

    async def _drain(self, store: objects.Store) -> None:
        if self.watch is None:
            self.watch = store.watch(kinds.CONFIG_MAP, labels=self.selector, resource_version=self.revision or "1")
        marker = store.get(kinds.CONFIG_MAP, "default", "marker")
        last = store.update(meta.evolve(marker, data={"at": str(store.revision)})).revision
        while (
            int(self.revision or 0) < last
        ):  # told by the marker's own event, or by a bookmark where it is not selected
            self._apply(await asyncio.wait_for(anext(self.watch), 60))

    def _apply(self, event: ports.WatchEvent) -> None:
        assert event.object.revision > int(self.revision or 0)
        self.revision = event.object.metadata.resource_version
        place = (event.object.namespace, event.object.name)
        if event.type is ports.EventType.DELETED:
            del self.known[place]
        elif event.type is ports.EventType.ADDED:
            assert place not in self.known
            self.known[place] = event.object
        elif event.type is ports.EventType.MODIFIED:
            assert place in self.known
            self.known[place] = event.object


class Machine(stateful.RuleBasedStateMachine):
    """ConfigMaps and Experiments in two namespaces, on a file, with a tiny history and a tiny cache."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.store = self.runner.run(self._open())
        self.store.create(builders.config_map("marker"))
        self.model: dict[tuple[str, str], meta.Object] = {}
        self.followers = [Follower(""), Follower("tier=x"), Follower("!size")]
        self.runner.run(self.store.settle())
        self.saved = copy.copy(self.model)

    async def _open(self) -> objects.Store:
        options = objects.Options(commits="settle", keep_revisions=6, cache_objects=2, bookmark_seconds=0.0)
        return await objects.Store(
            Path(self.folder.name) / "objects.db", clock=clock.SystemClock(), options=options
        ).open()

    def teardown(self) -> None:
        """Whatever happened, the store closes and the file is whole."""
        self.runner.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    @stateful.rule(name=NAMES, namespace=SPACES, labels=LABELS)
    def create(self, name: str, namespace: str, labels: dict[str, str]) -> None:
        """Create, or be told that it exists."""
        wish = builders.config_map(name, namespace)
        wish = meta.evolve(wish, metadata=meta.evolve(wish.metadata, labels=labels))
        if (namespace, name) in self.model:
            with pytest.raises(errors.AlreadyExistsError):
                self.store.create(wish)
        else:
            made = self.store.create(wish)
            assert made.revision == self.store.revision
            self.model[namespace, name] = made

    @stateful.rule(name=NAMES, namespace=SPACES, labels=LABELS, text=st.sampled_from(["1", "2"]))
    def update(self, name: str, namespace: str, labels: dict[str, str], text: str) -> None:
        """Update what is there; an update that changes nothing is none; a stale one is refused."""
        old = self.model.get((namespace, name))
        if old is None:
            with pytest.raises(errors.NotFoundError):
                self.store.get(kinds.CONFIG_MAP, namespace, name)
            return
        wish = meta.evolve(old, data={"text": text}, metadata=meta.evolve(old.metadata, labels=labels))
        new = self.store.update(wish)
        same = old.section("data") == {"text": text} and (old.metadata.labels or {}) == labels
        assert (new.revision == old.revision) is same
        self.model[namespace, name] = new
        if not same:
            with pytest.raises(errors.ConflictError):
                self.store.update(wish)

    @stateful.rule(name=NAMES, namespace=SPACES)
    def delete(self, name: str, namespace: str) -> None:
        """Delete what is there."""
        if self.model.pop((namespace, name), None) is None:
            with pytest.raises(errors.NotFoundError):
                self.store.delete(kinds.CONFIG_MAP, namespace, name)
        else:
            assert self.store.delete(kinds.CONFIG_MAP, namespace, name) is None

    @stateful.rule()
    def settle(self) -> None:
        """Make everything so far durable."""
        self.runner.run(self.store.settle())
        self.saved = copy.copy(self.model)

    @stateful.rule()
    def crash(self) -> None:
        """Lose what was not settled, and nothing else."""
        self.store.abandon()
        self._forget_watches()
        self.model = copy.copy(self.saved)
        self.store = self.runner.run(self._open())

    @stateful.rule()
    def restart(self) -> None:
        """Lose nothing."""
        self.runner.run(self.store.close())
        self._forget_watches()
        self.store = self.runner.run(self._open())
        self.saved = copy.copy(self.model)

    @stateful.rule(
        selector=SELECTORS, namespace=st.one_of(st.none(), SPACES), limit=st.integers(0, 4), steps=st.integers(0, 3)
    )
    def lists(self, selector: str, namespace: str | None, limit: int, steps: int) -> None:
        """All pages of a list are the model at the first page, even when writes and commits come in between."""
        wanted = [
            self.model[place]
            for place in sorted(self.model)
            if namespace in (None, place[0]) and _selected(selector, self.model[place])
        ]
        found: list[meta.Object] = []
        token = ""
        while True:
            page = self.store.list(kinds.CONFIG_MAP, namespace, labels=selector, limit=limit, continue_token=token)
            found += page.items
            token = page.continue_token
            if page.remaining is not None:
                assert page.remaining == len(wanted) + 1 - len(found) or namespace == "kubeflow"
            if not token:
                break
            if steps:
                steps -= 1
                self.delete("a", "default")
            if steps == 1:
                self.settle()
        assert [obj for obj in found if obj.name != "marker"] == wanted

    @stateful.rule(number=st.integers(0, 2))
    def follow(self, number: int) -> None:
        """A follower's copy becomes the model's selection."""
        follower = self.followers[number]
        self.runner.run(follower.follow(self.store))
        known = {place: obj for place, obj in follower.known.items() if place[1] != "marker"}
        assert known == {place: obj for place, obj in self.model.items() if _selected(follower.selector, obj)}

    @stateful.invariant()
    def reads_agree(self) -> None:
        """Every point read gives the model's object."""
        for (namespace, name), obj in self.model.items():
            assert self.store.get(kinds.CONFIG_MAP, namespace, name) == obj

    def _forget_watches(self) -> None:
        for follower in self.followers:
            follower.watch = None


def _selected(selector: str, obj: meta.Object) -> bool:
    labels = obj.metadata.labels or {}
    return {
        "": True,
        "tier=x": labels.get("tier") == "x",
        "tier!=x": labels.get("tier") != "x",
        "size": "size" in labels,
        "!size": "size" not in labels,
        "tier=x,size=y": labels.get("tier") == "x" and labels.get("size") == "y",
        "tier in (x,y)": labels.get("tier") in ("x", "y"),
    }[selector]


@pytest.fixture(autouse=True)
def compact_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compaction looks for work at every few writes."""
    monkeypatch.setattr(objects, "_COMPACT_INTERVAL", 3)


TestModel = pytest.mark.slow(Machine.TestCase)
TestModel.settings = hypothesis.settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    derandomize=True,
)
