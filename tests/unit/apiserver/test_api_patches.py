"""Patches over HTTP, and strategic merges as values."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kuttab.api import kinds, meta
from kuttab.apiserver import patches, strategic
from kuttab.base import errors
from served_api import EXPERIMENTS, MAPS, Served, config_map, experiment

JOBS = "/apis/batch/v1/namespaces/default/jobs"


def typed(media: str) -> dict[str, str]:
    """Headers of a patch."""
    return {"Content-Type": media}


async def patch(api: Served, path: str, body: Any, media: str = patches.MERGE_PATCH, code: int = 200) -> Any:
    """Send a patch."""
    return await api.json("PATCH", path, code, content=json.dumps(body), headers=typed(media))


async def test_merge_patch(api: Served) -> None:
    """Values are merged, null removes, and admission judges the outcome."""
    await api.json("POST", EXPERIMENTS, 201, json=experiment())
    made = await patch(api, f"{EXPERIMENTS}/e", {"spec": {"maxTrialCount": 5}, "metadata": {"labels": {"a": "b"}}})
    assert made["spec"]["maxTrialCount"] == 5
    made = await patch(api, f"{EXPERIMENTS}/e", {"metadata": {"labels": {"a": None}}})
    assert "labels" not in made["metadata"]
    status = await patch(api, f"{EXPERIMENTS}/e", {"spec": {"maxTrialCount": -5}}, code=422)
    assert status["details"]["causes"][0]["field"] == "spec.maxTrialCount"
    status = await patch(api, f"{EXPERIMENTS}/e", {"spec": {"maxTrailCount": 5}}, code=422)
    assert "unknown field" in status["message"]


async def test_whole_object_as_merge_patch(api: Served) -> None:
    """Katib's SDK sends all of what it read: made on the newest state it is taken, on an old one it is 409."""
    made = await api.json("POST", EXPERIMENTS, 201, json=experiment())
    made["spec"]["maxTrialCount"] = 7
    assert (await patch(api, f"{EXPERIMENTS}/e", made))["spec"]["maxTrialCount"] == 7
    await patch(api, f"{EXPERIMENTS}/e", {**made, "spec": {"maxTrialCount": 8}}, code=409)


async def test_json_patch(api: Served) -> None:
    """Operations are made in order, all or none."""
    await api.json("POST", MAPS, 201, json=config_map("m", a="1"))
    body = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/data/b", "value": "2"}]
    assert (await patch(api, f"{MAPS}/m", body, patches.JSON_PATCH))["data"] == {"a": "1", "b": "2"}
    body = [{"op": "remove", "path": "/data/a"}, {"op": "test", "path": "/data/b", "value": "3"}]
    await patch(api, f"{MAPS}/m", body, patches.JSON_PATCH, 422)
    assert (await api.json("GET", f"{MAPS}/m"))["data"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 400), (["x"], 400), ([{"op": "jump", "path": "/data"}], 400), ([{"op": "add"}], 400),
        ([{"op": "replace", "path": "data", "value": 1}], 400), ([{"op": "remove", "path": "/nothing"}], 422),
        ([{"op": "copy", "from": 3, "path": "/data"}], 400), ([{"op": "replace", "path": "", "value": 3}], 422),
        ([{"op": "replace", "path": "/metadata", "value": 3}], 422), ([{"op": "remove", "path": "/metadata"}], 422),
        ([{"op": "replace", "path": "/metadata/name", "value": "n"}], 422),
        ([{"op": "replace", "path": "/kind", "value": "Pod"}], 422), ([{"op": "add", "path": "/a/b/c", "value": 1}], 422),
        ([{"op": "add", "path": "/data/a", "value": 1}] * 10_001, 413),
    ],
)  # fmt: skip
async def test_bad_json_patches(api: Served, body: Any, code: int) -> None:
    """What is no patch is 400, what cannot be applied 422; the object stays as it was."""
    made = await api.json("POST", MAPS, 201, json=config_map("m", a="1"))
    await patch(api, f"{MAPS}/m", body, patches.JSON_PATCH, code)
    assert await api.json("GET", f"{MAPS}/m") == made


async def test_a_patch_cannot_blow_up(api: Served) -> None:
    """Copies that double a document again and again are stopped."""
    await api.json("POST", MAPS, 201, json=config_map("m", a="x" * 1000))
    body = [{"op": "copy", "from": "/data", "path": f"/data/c{number}"} for number in range(40)]
    await patch(api, f"{MAPS}/m", body, patches.JSON_PATCH, 413)


@pytest.mark.parametrize(
    ("path", "media"),
    [
        (EXPERIMENTS, patches.APPLY_PATCH), (JOBS, patches.APPLY_PATCH), (EXPERIMENTS, patches.STRATEGIC_PATCH),
        (JOBS, "application/json"), (JOBS, ""), (JOBS, "text/plain"),
    ],
)  # fmt: skip
async def test_patches_that_are_not_taken(api: Served, path: str, media: str) -> None:
    """Server-side apply, strategic merges of custom kinds and what is no patch are 415, with what to send instead."""
    status = await api.refused("PATCH", f"{path}/x", 415, "UnsupportedMediaType", content="{}", headers=typed(media))
    assert patches.MERGE_PATCH in status["message"]


async def test_patches_of_status(api: Served) -> None:
    """The status subresource takes patches; a metric collector of Katib stops trials so."""
    await api.json("POST", EXPERIMENTS, 201, json=experiment())
    made = await patch(api, f"{EXPERIMENTS}/e/status", {"status": {"trials": 2}, "spec": {"maxTrialCount": 9}})
    assert (made["status"]["trials"], made["spec"]["maxTrialCount"]) == (2, 2)


async def test_patches_at_once_are_all_made(api: Served) -> None:
    """A patch that names no version is made on whatever is newest: nothing is lost, nobody sees a conflict."""
    await api.json("POST", MAPS, 201, json=config_map("m"))
    bodies = [{"data": {f"k{number}": "v"}} for number in range(20)]
    await asyncio.gather(*(patch(api, f"{MAPS}/m", body) for body in bodies))
    assert len((await api.json("GET", f"{MAPS}/m"))["data"]) == 20


async def test_strategic_patch_of_a_job(api: Served) -> None:
    """Containers are merged by name: what is not named stays."""
    job = {
        "metadata": {"name": "j"},
        "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}},
    }
    await api.json("POST", JOBS, 201, json=job)
    body = {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "z"}]}}}}
    made = await patch(api, f"{JOBS}/j", body, patches.STRATEGIC_PATCH)
    containers = made["spec"]["template"]["spec"]["containers"]
    assert containers == [{"name": "a", "image": "x"}, {"name": "b", "image": "z"}]


MERGES: list[tuple[Any, Any, Any]] = [
    ({"a": 1, "b": {"c": 1}}, {"a": None, "b": {"d": 2}}, {"b": {"c": 1, "d": 2}}),
    ({"b": {"c": 1}}, {"b": {"$patch": "replace", "d": 2}}, {"b": {"d": 2}}),
    ({"b": {"c": 1}}, {"b": {"$patch": "delete"}}, {"b": {}}),
    ({"args": [1, 2]}, {"args": [3]}, {"args": [3]}),
    ({"finalizers": ["a"]}, {"finalizers": ["b", "a"]}, {"finalizers": ["a", "b"]}),
    ({"finalizers": ["a", "b"]}, {"$deleteFromPrimitiveList/finalizers": ["a"]}, {"finalizers": ["b"]}),
    (
        {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"env": [{"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]},
        {"env": [{"name": "B", "value": "2"}, {"name": "C", "value": "3"}]},
    ),
    (
        {"env": [{"name": "A"}, {"name": "B"}]},
        {"env": [{"name": "C"}], "$setElementOrder/env": [{"name": "C"}, {"name": "B"}, {"name": "A"}]},
        {"env": [{"name": "C"}, {"name": "B"}, {"name": "A"}]},
    ),
    ({"env": [{"name": "A"}]}, {"env": [{"$patch": "replace"}, {"name": "B"}]}, {"env": [{"name": "B"}]}),
    (
        {"volumes": [{"name": "v", "emptyDir": {}}]},
        {"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "m"}}]},
        {"volumes": [{"name": "v", "configMap": {"name": "m"}}]},
    ),
    (
        {"ports": [{"containerPort": 1, "name": "x"}]},
        {"ports": [{"containerPort": 1, "name": "y"}, {"containerPort": 2}]},
        {"ports": [{"containerPort": 1, "name": "y"}, {"containerPort": 2}]},
    ),
    ({"ports": [{"port": 1}]}, {"ports": [{"port": 2}]}, {"ports": [{"port": 1}, {"port": 2}]}),
    ({}, {"conditions": [{"type": "T", "status": "True"}]}, {"conditions": [{"type": "T", "status": "True"}]}),
]


@pytest.mark.parametrize(("original", "change", "wanted"), MERGES)
def test_strategic_merges(original: Any, change: Any, wanted: Any) -> None:
    """Each directive does what Kubernetes' conventions say, and the original is not touched."""
    before = json.dumps(original)
    assert strategic.merge(original, change) == wanted
    assert json.dumps(original) == before


@pytest.mark.parametrize(
    "change",
    [
        {"$patch": "explode"}, {"$unknown": 1}, {"env": ["x"]}, {"env": [{"value": "1"}]}, {"$retainKeys": "a"},
        {"$setElementOrder/env": "a", "env": [{"name": "A"}]},
    ],
)  # fmt: skip
def test_bad_strategic_merges(change: Any) -> None:
    """What is no directive is refused, never stored."""
    with pytest.raises(errors.BadInputError):
        strategic.merge({"env": [{"name": "A"}]}, change)


def test_merge_patch_of_the_rfc() -> None:
    """The examples of RFC 7386, appendix A, that are objects."""
    for target, change, wanted in [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]:
        assert patches.merged(target, change) == wanted


async def test_no_change_is_no_revision(api: Served) -> None:
    """A patch that changes nothing writes nothing."""
    made = await api.objects.create(
        meta.Resource(api_version="v1", kind="ConfigMap", metadata=meta.ObjectMeta(name="m", namespace="default"))
    )
    again = await patch(api, f"{MAPS}/m", {"metadata": {"name": "m"}})
    assert again["metadata"]["resourceVersion"] == made.metadata.resource_version
    assert kinds.of(made) == kinds.CONFIG_MAP
