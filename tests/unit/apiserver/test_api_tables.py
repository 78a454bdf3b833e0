"""Tables and metadata over HTTP: what ``kubectl get`` prints."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from kuttab.api import kinds, meta
from kuttab.apiserver import forms, statuses, tables, targets
from served_api import EXPERIMENTS, KUBEFLOW, MAPS, Served, config_map, experiment

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
NOW = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)


def rows(table: Any) -> list[list[Any]]:
    """The cells of a table."""
    return [row["cells"] for row in table["rows"]]


async def test_katibs_columns(api: Served) -> None:
    """Experiments show their last condition, as Katib's CustomResourceDefinition prints it."""
    made = await api.json("POST", EXPERIMENTS, 201, json=experiment())
    table = await api.json("GET", EXPERIMENTS, headers=TABLE)
    assert rows(table)[0][:3] == ["e", None, None]
    conditions = [{"type": "Created", "status": "True"}, {"type": "Running", "status": "True"}]
    await api.json("PUT", f"{EXPERIMENTS}/e/status", json={**made, "status": {"conditions": conditions}})
    table = await api.json("GET", f"{EXPERIMENTS}/e", headers=TABLE)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert rows(table)[0][:3] == ["e", "Running", "True"]
    assert rows(table)[0][3].endswith("s")
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    suggestions = await api.json("GET", f"{KUBEFLOW}/suggestions", headers=TABLE)
    names = [column["name"] for column in suggestions["columnDefinitions"]]
    assert names == ["Name", "Type", "Status", "Requested", "Assigned", "Age"]


async def test_what_a_row_carries(api: Served) -> None:
    """includeObject chooses nothing, metadata or the object; pages work as for objects."""
    for name in ("a", "b"):
        await api.json("POST", MAPS, 201, json=config_map(name, k="v"))
    for include, wanted in (("None", False), ("Object", True)):
        table = await api.json("GET", f"{MAPS}?includeObject={include}", headers=TABLE)
        assert ("object" in table["rows"][0]) is wanted
    assert table["rows"][0]["object"]["data"] == {"k": "v"}
    await api.refused("GET", f"{MAPS}?includeObject=All", 422, "Invalid", headers=TABLE)
    table = await api.json("GET", f"{MAPS}?limit=1", headers=TABLE)
    assert (len(table["rows"]), bool(table["metadata"]["continue"])) == (1, True)


async def test_metadata_alone(api: Served) -> None:
    """Controllers that need only metadata get only that."""
    await api.json("POST", MAPS, 201, json=config_map("a", k="v"))
    accept = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    found = await api.json("GET", f"{MAPS}/a", headers=accept)
    assert (found["kind"], "data" in found) == ("PartialObjectMetadata", False)
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    found = await api.json("GET", MAPS, headers=accept)
    assert found["kind"] == "PartialObjectMetadataList"
    assert found["items"][0]["metadata"]["name"] == "a"
    await api.refused("GET", f"{MAPS}/a", 406, "NotAcceptable", headers=accept)


@pytest.mark.parametrize("kind", targets.SERVED, ids=lambda kind: kind.plural)
def test_a_table_of_anything(kind: kinds.Kind) -> None:
    """Built-in kinds are stored as they come: whatever their fields hold, a table of them has a cell for each column."""
    values: list[Any] = [None, 3, "text", [], [3], {}, {"a": 1}, True]
    for value in values:
        extra = {
            "spec": value,
            "status": value,
            "data": value,
            "involvedObject": value,
            "type": value,
            "lastTimestamp": value,
        }
        inner = {key: {"conditions": value, "containerStatuses": value, "containers": value, "ports": value, "template": value,
                       "startTime": value, "completionTime": value, "completions": value} for key in ("spec", "status")}  # fmt: skip
        for document in (extra, {**extra, **inner}):
            found = {key: item for key, item in document.items() if item is not None}
            obj = meta.Resource.model_validate({"apiVersion": kind.api_version, "kind": kind.kind, **found})
            table = tables.table(kind, [obj], NOW, "Object")
            assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])


@pytest.mark.parametrize(
    ("kind", "document", "wanted"),
    [
        (
            kinds.POD,
            {"spec": {"containers": [{}, {}]},
             "status": {"phase": "Running", "containerStatuses": [{"ready": True, "restartCount": 2}, {"ready": False}]}},
            ["", "1/2", "Running", "2"],
        ),
        (kinds.POD, {"status": {"phase": "Failed", "reason": "OOMKilled"}}, ["", "0/0", "OOMKilled", "0"]),
        (
            kinds.JOB,
            {"spec": {"completions": 3},
             "status": {"succeeded": 3, "startTime": "2026-01-02T11:00:00Z", "completionTime": "2026-01-02T11:01:05Z",
                        "conditions": [{"type": "Complete", "status": "True"}]}},
            ["", "Complete", "3/3", "65s"],
        ),
        (kinds.JOB, {"spec": {}}, ["", "Running", "0/1", ""]),
        (kinds.CONFIG_MAP, {"data": {"a": "", "b": ""}}, ["", 2]),
        (kinds.SECRET, {}, ["", "Opaque", 0]),
        (kinds.SERVICE, {"spec": {"ports": [{"port": 80}]}}, ["", "ClusterIP", "<none>", "80/TCP"]),
        (
            kinds.EVENT,
            {"lastTimestamp": "2026-01-02T11:58:00Z", "type": "Normal", "reason": "R", "message": "M",
             "involvedObject": {"kind": "Trial", "name": "t"}},
            ["", "2m", "Normal", "R", "trial/t", "M"],
        ),
        (kinds.DEPLOYMENT, {"spec": {"replicas": 2}, "status": {"readyReplicas": 1}}, ["", "1/2", 0, 0]),
        (kinds.NAMESPACE, {"status": {"phase": "Active"}}, ["", "Active"]),
        (kinds.PYTORCH_JOB, {"status": {"conditions": [{"type": "Created", "status": "True"},
                                                       {"type": "Running", "status": "False"}]}}, ["", "Created"]),
    ],
)  # fmt: skip
def test_built_in_columns(kind: kinds.Kind, document: Any, wanted: list[Any]) -> None:
    """The cells say what Kubernetes' own printers say."""
    obj = meta.Resource.model_validate({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {}, **document})
    cells = tables.table(kind, [obj], NOW)["rows"][0]["cells"]
    assert cells[: len(wanted)] == [
        tables.NONE if cell == "" and place == 0 else cell for place, cell in enumerate(wanted)
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (121, "2m1s"), (599, "9m59s"), (600, "10m"),
     (10799, "179m"), (10800, "3h"), (10860, "3h1m"), (28799, "7h59m"), (28800, "8h"), (172799, "47h"), (172800, "2d"),
     (176400, "2d1h"), (691200, "8d"), (63072000, "2y"), (63158400, "2y1d"), (252288000, "8y")],
)  # fmt: skip
def test_durations(seconds: int, text: str) -> None:
    """Ages read as kubectl's do: at most two units, coarser with time."""
    assert tables.duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [(None, "<unknown>"), (3, "<unknown>"), ("soon", "<invalid>"), ("2026-01-02T12:00:00", "<invalid>")],
)
def test_ages_of_nonsense(text: Any, wanted: str) -> None:
    """What is no time is said to be none."""
    assert tables.age(text, NOW) == wanted


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", forms.Form.WHOLE), ("*/*", forms.Form.WHOLE), ("application/json", forms.Form.WHOLE),
        ("application/vnd.kubernetes.protobuf,application/json", forms.Form.WHOLE),
        ("application/json;as=Table;v=v1;g=meta.k8s.io", forms.Form.TABLE),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", forms.Form.WHOLE),
        ("application/json;q=0.1, application/json;as=Table;v=v1;g=meta.k8s.io", forms.Form.TABLE),
        ("text/html;q=x,*/*;q=0.1", forms.Form.WHOLE), ("APPLICATION/JSON", forms.Form.WHOLE),
    ],
)  # fmt: skip
def test_forms(accept: str, form: forms.Form) -> None:
    """The first form that is asked for and written here is chosen."""
    assert forms.choose(accept) is form


@pytest.mark.parametrize(
    "accept", ["text/html", "application/vnd.kubernetes.protobuf", "application/json;as=Picture", "image/png;q=1"]
)
def test_forms_that_are_not_written(accept: str) -> None:
    """A client that takes nothing of ours is told so."""
    with pytest.raises(statuses.HttpError) as caught:
        forms.choose(accept)
    assert caught.value.code == 406
