"""Documents of a data folder, from its owner and from its files."""

from __future__ import annotations

import asyncio
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from kuttab.api import kinds, meta
from kuttab.base import clock, errors
from kuttab.store import lock
from kuttab.wiring import control, glancing, meeting, opening
from kuttab.wiring import settings as settings_

COUNT = meeting.PAGE + 3


@pytest.fixture
def settings(tmp_path: pathlib.Path) -> settings_.Settings:
    """Of a folder that does not exist yet."""
    return settings_.Settings(tmp_path / "data")


async def fill(objects: Any) -> None:
    """More ConfigMaps than one answer takes."""
    for number in range(COUNT):
        metadata = meta.ObjectMeta(name=f"m{number:04}", namespace="default", labels={"odd": str(number % 2)})
        await objects.create(meta.Resource(api_version="v1", kind="ConfigMap", metadata=metadata))


def look(settings: settings_.Settings, **wanted: Any) -> list[str]:
    """Names of ConfigMaps."""
    with glancing.reach(settings) as found:
        return [item["metadata"]["name"] for item in found.documents(kinds.CONFIG_MAP, "default", **wanted)]


async def test_owner_and_files_tell_the_same(settings: settings_.Settings) -> None:
    """While somebody owns the folder and after: all objects, some, by name, by label."""
    questions: list[dict[str, Any]] = [
        {},
        {"limit": COUNT - 1},
        {"limit": 2},
        {"name": "m0003"},
        {"name": "no"},
        {"labels": {"odd": "1"}},
    ]
    async with opening.opened(settings) as objects:
        await fill(objects)
        await objects.settle()  # how many are left is told of what is on disk
        async with control.ControlServer(objects, meeting.address(settings.data), objects.settle).serving():
            asked = [await asyncio.to_thread(look, settings, **question) for question in questions]
            async with control.reach(settings.data) as remote:
                assert remote is not None
                assert len((await remote.list(kinds.CONFIG_MAP)).items) == COUNT
                page = await remote.list(kinds.CONFIG_MAP, limit=COUNT - 1)
                assert (len(page.items), page.remaining) == (COUNT - 1, 1)
            with pytest.raises(errors.BadInputError):
                await asyncio.to_thread(look, settings, labels={"a(": "b"})
    assert [len(names) for names in asked] == [COUNT, COUNT - 1, 2, 1, 0, COUNT // 2]
    assert [look(settings, **question) for question in questions] == asked


def test_a_folder_without_a_store(settings: settings_.Settings) -> None:
    """Nothing is made by looking, and the message says how to begin."""
    with pytest.raises(errors.NotFoundError, match="kuttab run FILE"):
        look(settings)
    assert not settings.data.exists()


async def test_an_owner_that_answers_nobody(settings: settings_.Settings) -> None:
    """What somebody owns without answering is not read behind his back."""
    async with opening.opened(settings):
        pass
    with lock.Lock(settings.data, clock.SystemClock()), pytest.raises(errors.LockedError):
        look(settings)


def test_get_loads_no_machinery(settings: settings_.Settings) -> None:
    """The command that people type most stays quick: no event loop, no classes of objects, no numbers."""
    program = "import sys, kuttab.cli.getting; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "kuttab.store.glance" in loaded
    assert not {"asyncio", "pydantic", "yaml", "numpy", "grpc", "kuttab.api.trial", "kuttab.store.objects"} & set(
        loaded
    )
