"""Looking into a store that nobody runs, without its machinery."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kuttab.api import kinds, meta
from kuttab.base import clock, errors
from kuttab.store import glance, objects
from kuttab.testing import builders


def config_map(name: str, namespace: str = "default", **labels: str) -> meta.Resource:
    """A ConfigMap with labels."""
    metadata = meta.ObjectMeta(name=name, namespace=namespace, labels=labels or None)
    return meta.Resource(api_version="v1", kind="ConfigMap", metadata=metadata, data={"a": "1"})


async def filled(path: Path, *, killed: bool = False) -> dict[str, meta.Json]:
    """A closed store with objects in two namespaces; one lost a label, one is gone. What is left, by namespace and name.

    With ``killed`` the files are as they were before the store was closed.
    """
    store = await objects.Store(path, clock=clock.SystemClock()).open()
    for number in range(7):
        store.create(config_map(f"m{number}", "kubeflow" if number == 6 else "default", team="a", odd=str(number % 2)))
    store.delete(kinds.CONFIG_MAP, "default", "m3")
    current = store.get(kinds.CONFIG_MAP, "default", "m2")
    store.update(meta.evolve(current, metadata=meta.evolve(current.metadata, labels={"odd": "0"})))
    store.create(builders.trial("t"))
    await store.settle()
    left = {f"{item.namespace}/{item.name}": meta.dump(item) for item in store.list(kinds.CONFIG_MAP).items}
    if killed:
        shutil.copytree(path.parent, path.parent / "then")
    await store.close()
    if killed:
        for file in (path.parent / "then").iterdir():
            file.replace(path.with_name(file.name))
    return left


async def test_documents_are_what_the_store_lists(tmp_path: Path) -> None:
    """Everything, a namespace, a name, labels, and the first few: in the store's order, as they are stored."""
    path = tmp_path / "objects.db"
    left = await filled(path)
    with glance.opened(path) as found:
        assert found.documents(kinds.CONFIG_MAP) == list(left.values())
        assert [one["metadata"]["name"] for one in found.documents(kinds.CONFIG_MAP, "kubeflow")] == ["m6"]
        assert found.documents(kinds.CONFIG_MAP, name="m4") == [left["default/m4"]]
        assert found.documents(kinds.CONFIG_MAP, "default", name="m3") == []
        marked = found.documents(kinds.CONFIG_MAP, labels={"team": "a", "odd": "0"})
        assert [one["metadata"]["name"] for one in marked] == ["m0", "m4", "m6"]
        assert found.documents(kinds.CONFIG_MAP, labels={"team": "a"}, limit=2) == [
            left["default/m0"],
            left["default/m1"],
        ]
        assert len(found.documents(kinds.NAMESPACE, "default")) == 2
        assert [one["kind"] for one in found.documents(kinds.TRIAL, limit=5)] == ["Trial"]


async def test_many_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on behind every chunk, with and without labels."""
    monkeypatch.setattr(glance, "_CHUNK", 2)
    path = tmp_path / "objects.db"
    left = await filled(path)
    with glance.opened(path) as found:
        assert found.documents(kinds.CONFIG_MAP) == list(left.values())
        assert len(found.documents(kinds.CONFIG_MAP, labels={"team": "a"})) == 5


async def test_looking_changes_nothing(tmp_path: Path) -> None:
    """After a crash the log is read with the file, and both stay as they are, for whoever opens the store next."""
    path = tmp_path / "objects.db"
    left = await filled(path, killed=True)
    log = path.with_name("objects.db-wal")
    before = path.read_bytes(), log.read_bytes()
    with glance.opened(path) as found:
        assert found.documents(kinds.CONFIG_MAP) == list(left.values())
    assert (path.read_bytes(), log.read_bytes()) == before


async def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    """A foreign file, and one whose log is gone, are refused with what to do."""
    other = tmp_path / "other.db"
    other.write_text("no database" * 20)
    with pytest.raises(errors.CorruptError, match="not a SQLite database"), glance.opened(other):
        pass
    path = tmp_path / "objects.db"
    await filled(path, killed=True)
    for name in ("objects.db-wal", "objects.db-shm"):
        path.with_name(name).unlink(missing_ok=True)
    with pytest.raises(errors.CorruptError, match="which is gone"), glance.opened(path):
        pass


async def test_damage_is_noticed(tmp_path: Path) -> None:
    """A body that is not what was written is an error that names the object."""
    path = tmp_path / "objects.db"
    await filled(path)
    text = path.read_bytes()
    assert b'"m4"' in text
    path.write_bytes(text.replace(b'"name":"m4"', b'"name":"mX"'))
    with glance.opened(path) as found, pytest.raises(errors.CorruptError, match="m4"):
        found.documents(kinds.CONFIG_MAP)
