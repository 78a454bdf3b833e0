"""The table of hostile manifests over HTTP: rows 169 to 175 one by one, and every other row by agreement with the function."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml as plain_yaml

from kuttab.admission import chain
from kuttab.base import errors
from kuttab.wiring import catalogue, settings
from served_api import EXPERIMENTS, MAPS, Served, experiment
from unit.admission.manifests import identity, ownership, reading, running, space, workload
from unit.admission.manifests.cases import BASE, Case, changed

YAML = {"Content-Type": "application/yaml"}
CASES: list[Case] = [
    case
    for part in (identity, ownership, space, workload, running, reading)
    for case in part.ROWS.cases
    if case.old is None and case.text is None and case.strict and not case.catalogue
]


def text(**more: Any) -> str:
    """An experiment as YAML."""
    return plain_yaml.safe_dump(experiment("rows", **more))


async def post(api: Served, body: bytes | str, headers: dict[str, str] | None = None) -> Any:
    """Send a body as a new experiment."""
    content = body.encode() if isinstance(body, str) else body
    return await api.http.post(EXPERIMENTS, content=content, headers=headers or YAML)


async def refused(api: Served, body: bytes | str, headers: dict[str, str] | None = None) -> Any:
    """The Status of a body that is refused."""
    answer = await post(api, body, headers)
    assert answer.status_code in (400, 413, 422), answer.text
    assert answer.json()["kind"] == "Status"
    assert (await api.json("GET", EXPERIMENTS))["items"] == []
    return answer.json()


async def test_row_169_alias_bombs(api: Served) -> None:
    """Aliases that stand for a billion values are refused while they are counted, and others are served meanwhile."""
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    answer, _ = await asyncio.gather(refused(api, bomb), api.json("GET", MAPS))
    assert "aliases" in answer["message"]


async def test_row_170_tags_that_run_programs(api: Served, tmp_path: Path) -> None:
    """A tag is never obeyed."""
    canary = tmp_path / "canary"
    for tag in ("!!python/object/apply:os.system", "!!python/object/new:os.system"):
        await refused(api, f'a: {tag} ["touch {canary}"]\n')
    assert not canary.exists()


async def test_row_171_duplicate_keys(api: Served) -> None:
    """A key that is there twice is refused in YAML and in JSON, at any depth."""
    status = await refused(api, text() + "spec: {}\n")
    assert "spec" in status["message"]
    raw = json.dumps(experiment("rows")).replace('"maxTrialCount": 2', '"maxTrialCount": 2, "maxTrialCount": 3')
    status = await refused(api, raw, {"Content-Type": "application/json"})
    assert "maxTrialCount" in status["message"]


@pytest.mark.parametrize(
    ("word", "wanted"),
    [("12:30:45", "12:30:45"), ("0o17", 15), ("010", 8), ("1e3", 1000), ("no", False), ("2001-01-01", "2001-01-01"), ("y", True)],
)  # fmt: skip
async def test_row_172_plain_words(api: Served, word: str, wanted: Any) -> None:
    """A plain word means what it means to kubectl, or is refused as one that two readers take two ways."""
    body = f"apiVersion: batch/v1\nkind: Job\nmetadata: {{name: words}}\nspec:\n  a: {word}\n"
    answer = await api.http.post("/apis/batch/v1/namespaces/default/jobs", content=body, headers=YAML)
    if answer.status_code == 400:
        assert word in answer.json()["message"]
    else:
        assert answer.json()["spec"]["a"] == wanted


@pytest.mark.parametrize(
    ("name", "body", "accepted"),
    [
        ("UTF-16", text().encode("utf-16"), False),
        ("BOM", b"\xef\xbb\xbf" + text().encode(), True),
        ("CRLF", text().replace("\n", "\r\n").encode(), True),
        ("tabs", text().replace("  ", "\t").encode(), False),
        ("NUL", text().encode() + b"# \x00\n", False),
        ("two documents", f"{text()}---\n{text()}".encode(), False),
        ("empty", b"", False),
        ("comments", b"# nothing\n", False),
        ("a list", b"- a\n- b\n", False),
        ("large YAML", b"a: " + b"x" * 2_000_000, False),
        ("larger than any body", b"a: " + b"x" * 8_000_000, False),
    ],
)
async def test_row_173_encodings_and_shapes(api: Served, name: str, body: bytes, accepted: bool) -> None:
    """Each has its one verdict."""
    if accepted:
        assert (await post(api, body)).status_code == 201, name
    else:
        await refused(api, body)


async def test_row_174_requests_of_any_shape(api: Served) -> None:
    """Whatever comes, the answer is a 4xx Status and never a fault; compressed bodies are judged like others."""
    good = gzip.compress(json.dumps(experiment("rows")).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    bad = gzip.compress(json.dumps(experiment("rows", maxTrialCount=-1)).encode())
    await refused(api, bad, headers)
    for method in ("CONNECT", "DELETE", "TRACE", "PROPFIND"):
        answer = await api.http.request(method, f"{EXPERIMENTS}/rows")
        assert answer.status_code in (404, 405)
    for body in ("{}", "null", '{"kind":"AdmissionReview"}', '{"apiVersion":3}', '{"spec":[]}', '{"metadata":[]}'):
        await refused(api, body, {"Content-Type": "application/json"})
    for metadata in ('{"name":3}', '{"uid":{}}', '{"ownerReferences":[{}]}', '{"finalizers":"x"}', "[]", '"x"'):
        document = json.dumps({**experiment("rows"), "metadata": json.loads(metadata)})
        await refused(api, document, {"Content-Type": "application/json"})
    assert (await post(api, good, headers)).status_code == 201


async def test_row_175_the_same_twice(api: Served) -> None:
    """The same request has the same verdict, before and after its own update."""
    bad = text(parallelTrialCount=-1)
    verdicts = [await refused(api, bad) for _ in range(2)]
    assert verdicts[0] == verdicts[1]
    made = (await post(api, text())).json()
    again = await post(api, text())
    assert (again.status_code, again.json()["reason"]) == (409, "AlreadyExists")
    path = f"{EXPERIMENTS}/rows"
    first = await api.http.put(path, json={**made, "spec": {**made["spec"], "objective": {"type": "maximize"}}})
    second = await api.http.put(path, json={**made, "spec": {**made["spec"], "objective": {"type": "maximize"}}})
    assert first.status_code == 422
    assert first.json() == second.json()
    assert (await api.json("PUT", path, json=made))["metadata"]["resourceVersion"] == made["metadata"][
        "resourceVersion"
    ]


@pytest.mark.slow
async def test_every_row_has_one_verdict(api: Served, tmp_path: Path) -> None:
    """Over HTTP every manifest of the table gets the verdict, and the problems, that the function gives on this machine."""
    offered = catalogue.Catalogue(settings.Settings(data=tmp_path), config_maps={})
    for number, case in enumerate(CASES):
        document = case.document() if case.document is not None else changed(BASE, case.delta)
        if not isinstance(document, dict) or document.get("apiVersion") != "kubeflow.org/v1beta1":
            continue
        if document.get("kind") != "Experiment" or not isinstance(document.get("metadata"), dict):
            continue
        document = {**document, "metadata": {**document["metadata"], "namespace": "default"}}
        try:
            body = json.dumps(document, allow_nan=False).encode()
            chain.admit(document, catalogue=offered, user="tester")
            wanted = None
        except (ValueError, TypeError, RecursionError):
            continue  # no JSON: nothing to send
        except errors.InvalidError as error:
            wanted = {(problem.path, problem.message) for problem in error.problems}
        except errors.TooLargeError:
            wanted = set()
        answer = await api.http.post(
            f"{EXPERIMENTS}?dryRun=All", content=body, headers={"Content-Type": "application/json"}
        )
        status = answer.json()
        if wanted is None:
            assert answer.status_code in (201, 422), (case.id, status)
            if answer.status_code == 422:  # what the store alone refuses: names and labels
                fields = [cause["field"] for cause in status["details"]["causes"]]
                assert all(field.startswith("metadata.") for field in fields), (case.id, status)
            continue
        assert answer.status_code in (400, 413, 422), (number, case.id, status)
        if answer.status_code == 422:
            causes = {(cause.get("field", ""), cause["message"]) for cause in status["details"].get("causes", [])}
            assert causes == wanted, case.id
