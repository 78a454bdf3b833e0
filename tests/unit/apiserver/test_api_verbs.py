"""Create, get, list, update, delete over HTTP, with Kubernetes' rules."""

from __future__ import annotations

import gzip
import json

import pytest
import yaml

from kuttab.api import kinds, meta
from served_api import EXPERIMENTS, KUBEFLOW, MAPS, Served, config_map, experiment


async def test_an_object_lives(api: Served) -> None:
    """Created, read, replaced, deleted: each answer is the object as it is stored, deletion a Status."""
    made = await api.json("POST", MAPS, 201, json=config_map("m", a="1"))
    assert made["metadata"]["namespace"] == "default"
    assert await api.json("GET", f"{MAPS}/m") == made
    made["data"] = {"a": "2"}
    changed = await api.json("PUT", f"{MAPS}/m", json=made)
    assert changed["data"] == {"a": "2"}
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    gone = await api.json("DELETE", f"{MAPS}/m")
    assert (gone["status"], gone["details"]["uid"]) == ("Success", made["metadata"]["uid"])
    status = await api.refused("GET", f"{MAPS}/m", 404, "NotFound")
    assert status["message"] == 'configmaps "m" not found'
    assert status["details"] == {"name": "m", "kind": "configmaps"}


async def test_writes_are_durable_before_they_are_answered(api: Served) -> None:
    """Nothing that was answered waits for the disk."""
    await api.json("POST", MAPS, 201, json=config_map("m"))
    assert api.store.durable == api.store.revision


async def test_defaults_of_admission_are_answered(api: Served) -> None:
    """An Experiment comes back as admission completed it, its status dropped."""
    made = await api.json("POST", EXPERIMENTS, 201, json={**experiment(), "status": {"trials": 9}})
    assert made["spec"]["resumePolicy"] == "Never"
    assert "status" not in made
    assert made["metadata"]["generation"] == 1


async def test_all_problems_are_causes(api: Served) -> None:
    """A refusal lists every problem with its field, not only the first."""
    bad = experiment(maxTrialCount=-1, parallelTrialCount=0, objective={"type": "sideways", "objectiveMetricName": "l"})
    status = await api.refused("POST", EXPERIMENTS, 422, "Invalid", json=bad)
    fields = {cause["field"] for cause in status["details"]["causes"]}
    assert {"spec.maxTrialCount", "spec.parallelTrialCount", "spec.objective.type"} <= fields
    assert status["details"]["name"] == "e"


async def test_wrong_types_are_all_named(api: Served) -> None:
    """Types that do not fit are problems too, metadata among them."""
    bad = experiment(maxTrialCount="2")
    bad["metadata"]["labels"] = {"a": 1}
    status = await api.refused("POST", EXPERIMENTS, 422, "Invalid", json=bad)
    assert {cause["field"] for cause in status["details"]["causes"]} == {"spec.maxTrialCount", "metadata.labels.a"}


@pytest.mark.parametrize("mode", ["", "Strict"])
async def test_unknown_fields_are_refused(api: Served, mode: str) -> None:
    """A misspelt field is a refusal unless the client asked for less."""
    bad = experiment(maxTrailCount=3)
    path = EXPERIMENTS + (f"?fieldValidation={mode}" if mode else "")
    status = await api.refused("POST", path, 422, "Invalid", json=bad)
    assert "maxTrialCount" in status["details"]["causes"][0]["message"]


async def test_unknown_fields_warn_or_are_silent(api: Served) -> None:
    """Warn drops the field and says so in a header; Ignore says nothing."""
    answer = await api.http.post(EXPERIMENTS + "?fieldValidation=Warn", json=experiment(maxTrailCount=3))
    assert answer.status_code == 201
    assert answer.headers["warning"].startswith('299 - "spec.maxTrailCount: unknown field')
    assert "maxTrailCount" not in answer.json()["spec"]
    answer = await api.http.post(EXPERIMENTS + "?fieldValidation=Ignore", json=experiment("f", maxTrailCount=3))
    assert answer.status_code == 201
    assert "warning" not in answer.headers
    await api.refused("POST", EXPERIMENTS + "?fieldValidation=Maybe", 422, "Invalid", json=experiment("g"))


async def test_dry_run_changes_nothing(api: Served) -> None:
    """dryRun=All judges and answers, and that is all."""
    made = await api.json("POST", EXPERIMENTS + "?dryRun=All", 201, json=experiment())
    assert "resourceVersion" not in made["metadata"]
    await api.refused("GET", f"{EXPERIMENTS}/e", 404, "NotFound")
    stored = await api.json("POST", MAPS, 201, json=config_map("m", a="1"))
    tried = await api.json("PUT", f"{MAPS}/m?dryRun=All", json={**stored, "data": {"a": "2"}})
    assert tried["data"] == {"a": "2"}
    await api.json("DELETE", f"{MAPS}/m?dryRun=All")
    await api.json("DELETE", f"{MAPS}?dryRun=All")
    assert await api.json("GET", f"{MAPS}/m") == stored
    await api.refused("POST", MAPS + "?dryRun=some", 422, "Invalid", json=config_map("n"))


async def test_yaml_and_gzip_bodies(api: Served) -> None:
    """A body may be YAML, and may be compressed."""
    text = yaml.safe_dump(experiment("why")).encode()
    await api.json("POST", EXPERIMENTS, 201, content=text, headers={"Content-Type": "application/yaml"})
    packed = gzip.compress(json.dumps(experiment("z")).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    await api.json("POST", EXPERIMENTS, 201, content=packed, headers=headers)
    found = await api.json("GET", EXPERIMENTS)
    assert [item["metadata"]["name"] for item in found["items"]] == ["why", "z"]


async def test_what_the_url_says_counts(api: Served) -> None:
    """A body for another namespace, name or kind is refused; what it leaves out the URL gives."""
    await api.refused("POST", MAPS, 400, "BadRequest", json={**config_map("m"), "metadata": {"namespace": "kubeflow"}})
    await api.refused("POST", EXPERIMENTS, 400, "BadRequest", json=config_map("m"))
    await api.refused("POST", EXPERIMENTS, 400, "BadRequest", json={"metadata": {"name": "e"}, "spec": {}})
    await api.json("POST", MAPS, 201, json={"metadata": {"name": "bare"}})  # built-in kinds are known by their path
    await api.refused("PUT", f"{MAPS}/other", 400, "BadRequest", json=config_map("bare"))
    await api.refused("POST", "/api/v1/configmaps", 405, "MethodNotAllowed", json=config_map("m"))
    old = {**experiment(), "apiVersion": "kubeflow.org/v1alpha3"}
    await api.refused("POST", EXPERIMENTS, 400, "BadRequest", json=old)


async def test_names_are_generated(api: Served) -> None:
    """generateName gives a name of its own to each object."""
    body = {"metadata": {"generateName": "m-"}}
    names = {(await api.json("POST", MAPS, 201, json=body))["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("m-") for name in names)


async def test_conflicts(api: Served) -> None:
    """A second object of the name, and a replacement made on an old state, are 409."""
    made = await api.json("POST", EXPERIMENTS, 201, json=experiment())
    await api.refused("POST", EXPERIMENTS, 409, "AlreadyExists", json=experiment())
    fresh = json.loads(json.dumps(made))
    fresh["metadata"]["labels"] = {"a": "b"}
    await api.json("PUT", f"{EXPERIMENTS}/e", json=fresh)
    await api.refused("PUT", f"{EXPERIMENTS}/e", 409, "Conflict", json=made)
    blind = experiment()
    await api.refused("PUT", f"{EXPERIMENTS}/e", 422, "Invalid", json=blind)
    await api.json("POST", MAPS, 201, json=config_map("m"))
    await api.json("PUT", f"{MAPS}/m", json=config_map("m", a="1"))  # built-in kinds may be replaced blindly


async def test_status_is_its_own(api: Served) -> None:
    """The status subresource changes status alone, the object's path everything else."""
    made = await api.json("POST", EXPERIMENTS, 201, json=experiment())
    made["status"] = {"trials": 3}
    made["metadata"]["labels"] = {"not": "this"}
    tried = await api.json("PUT", f"{EXPERIMENTS}/e/status?dryRun=All", json=made)
    assert tried["status"]["trials"] == 3
    assert "status" not in await api.json("GET", f"{EXPERIMENTS}/e/status")
    changed = await api.json("PUT", f"{EXPERIMENTS}/e/status", json=made)
    assert changed["status"]["trials"] == 3
    assert "labels" not in changed["metadata"]
    changed["status"]["trials"] = 4
    assert (await api.json("PUT", f"{EXPERIMENTS}/e", json=changed))["status"]["trials"] == 3
    bad = {**changed, "status": {"trials": "four"}}
    await api.refused("PUT", f"{EXPERIMENTS}/e/status", 422, "Invalid", json=bad)
    await api.refused("PUT", f"{EXPERIMENTS}/e/status?dryRun=All", 422, "Invalid", json=bad)
    await api.refused("GET", f"{MAPS}/m/status", 404, "NotFound")


async def test_lists_are_lists(api: Served) -> None:
    """A list has its kind, a resourceVersion and items in order, of one namespace or all."""
    for namespace, name in (("kubeflow", "a"), ("default", "b"), ("default", "a")):
        await api.json("POST", f"{KUBEFLOW}/namespaces/{namespace}/experiments", 201, json=experiment(name))
    found = await api.json("GET", f"{KUBEFLOW}/experiments")
    assert (found["kind"], found["apiVersion"]) == ("ExperimentList", "kubeflow.org/v1beta1")
    places = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in found["items"]]
    assert places == [("default", "a"), ("default", "b"), ("kubeflow", "a")]
    gets = [await api.json("GET", f"{KUBEFLOW}/namespaces/{space}/experiments/{name}") for space, name in places]
    assert found["items"] == gets
    assert int(found["metadata"]["resourceVersion"]) > 0
    assert len((await api.json("GET", EXPERIMENTS))["items"]) == 2
    everywhere = await api.json("GET", "/api/v1/namespaces")
    assert [item["metadata"]["name"] for item in everywhere["items"]] == ["default", "kubeflow"]


async def test_pages_follow_each_other(api: Served) -> None:
    """limit and continue walk a collection of one revision, longer than the steps in which it is read."""
    for number in range(230):
        await api.objects.create(
            meta.Resource(
                api_version="v1", kind="ConfigMap", metadata=meta.ObjectMeta(name=f"m{number:03}", namespace="default")
            )
        )
    await api.objects.settle()
    first = await api.json("GET", f"{MAPS}?limit=150")
    assert (len(first["items"]), first["metadata"]["remainingItemCount"]) == (150, 80)
    await api.objects.delete(kinds.CONFIG_MAP, "default", "m200")
    token = first["metadata"]["continue"]
    rest = await api.json("GET", MAPS, params={"limit": 150, "continue": token})
    names = [item["metadata"]["name"] for item in first["items"] + rest["items"]]
    assert names == [f"m{number:03}" for number in range(230)]
    assert "continue" not in rest["metadata"]
    assert len((await api.json("GET", MAPS))["items"]) == 229


async def test_selectors_select(api: Served) -> None:
    """Labels and fields select, for lists and for deletions."""
    for name, tier in (("a", "web"), ("b", "web"), ("c", "db")):
        body = config_map(name)
        body["metadata"]["labels"] = {"tier": tier}
        await api.json("POST", MAPS, 201, json=body)
    found = await api.json("GET", MAPS, params={"labelSelector": "tier in (web)"})
    assert [item["metadata"]["name"] for item in found["items"]] == ["a", "b"]
    found = await api.json("GET", MAPS, params={"fieldSelector": "metadata.name=c"})
    assert [item["metadata"]["name"] for item in found["items"]] == ["c"]
    gone = await api.json("DELETE", MAPS, params={"labelSelector": "tier=web"})
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "b"]
    assert [item["metadata"]["name"] for item in (await api.json("GET", MAPS))["items"]] == ["c"]


async def test_reads_know_their_revision(api: Served) -> None:
    """A read that must not be older than what a client has seen is never older; one from the future says so."""
    made = await api.json("POST", MAPS, 201, json=config_map("m"))
    version = int(made["metadata"]["resourceVersion"])
    for query in (
        f"resourceVersion={version}",
        "resourceVersion=0",
        f"resourceVersion={version}&resourceVersionMatch=Exact",
    ):
        assert len((await api.json("GET", f"{MAPS}?{query}"))["items"]) == 1
    await api.refused("GET", f"{MAPS}?resourceVersion={version + 50}", 504, "Timeout")
    await api.refused("GET", f"{MAPS}/m?resourceVersion={version + 50}", 504, "Timeout")
    await api.json("POST", MAPS, 201, json=config_map("n"))
    path = f"{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact"
    await api.refused("GET", path, 410, "Expired")


async def test_deletion_options(api: Served) -> None:
    """Preconditions, propagation and finalizers are obeyed; contradictions are refused."""
    body = config_map("m")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    made = await api.json("POST", MAPS, 201, json=body)
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "another"}}
    await api.refused("DELETE", f"{MAPS}/m", 409, "Conflict", json=options)
    await api.refused("DELETE", f"{MAPS}/m?dryRun=All", 409, "Conflict", json=options)
    await api.refused("DELETE", f"{MAPS}/m?propagationPolicy=Sideways", 422, "Invalid")
    contradiction = {"orphanDependents": True, "propagationPolicy": "Orphan"}
    await api.refused("DELETE", f"{MAPS}/m", 422, "Invalid", json=contradiction)
    await api.refused("DELETE", f"{MAPS}/m", 422, "Invalid", json={"gracePeriodSeconds": "soon"})
    await api.refused("DELETE", f"{MAPS}/m", 400, "BadRequest", json={"kind": "Pod"})
    options["preconditions"] = {"uid": made["metadata"]["uid"]}
    held = await api.json("DELETE", f"{MAPS}/m", json={**options, "propagationPolicy": "Foreground"})
    assert held["metadata"]["deletionTimestamp"]
    assert "foregroundDeletion" in held["metadata"]["finalizers"]


async def test_secrets_take_texts(api: Served) -> None:
    """stringData of a Secret becomes data, as in Kubernetes."""
    path = "/api/v1/namespaces/default/secrets"
    body = {"metadata": {"name": "s"}, "stringData": {"a": "é"}, "data": {"b": "Yg=="}}
    made = await api.json("POST", path, 201, json=body)
    assert made["data"] == {"a": "w6k=", "b": "Yg=="}
    assert "stringData" not in made
    await api.refused("POST", path, 422, "Invalid", json={"metadata": {"name": "t"}, "stringData": {"a": 1}})


async def test_namespaces_hold_their_objects(api: Served) -> None:
    """Nothing is created in a namespace that is not there, and a deleted one takes what is in it along."""
    path = "/api/v1/namespaces/team/configmaps"
    await api.refused("POST", path, 404, "NotFound", json=config_map("m"))
    await api.json("POST", "/api/v1/namespaces", 201, json={"metadata": {"name": "team"}})
    await api.json("POST", path, 201, json=config_map("m"))
    await api.json("DELETE", "/api/v1/namespaces/team")
    await api.refused("DELETE", "/api/v1/namespaces/default", 403, "Forbidden")


async def test_empty_parameters(api: Served) -> None:
    """An empty text or number is one that was not given, wherever it stands; an empty flag is set."""
    read = "labelSelector=&fieldSelector=&limit=&continue=&resourceVersion=&resourceVersionMatch=&timeoutSeconds=&includeObject=&pretty="
    write = "dryRun=&fieldManager=&fieldValidation=&pretty="
    made = await api.json("POST", f"{MAPS}?{write}", 201, json=config_map("m", a="1"))
    assert (await api.json("GET", f"{MAPS}?{read}"))["items"] == [made]
    assert await api.json("GET", f"{MAPS}/m?resourceVersion=&pretty") == made
    made["data"] = {"a": "2"}
    assert (await api.json("PUT", f"{MAPS}/m?{write}", json=made))["data"] == {"a": "2"}
    answer = await api.http.get(
        f"{MAPS}?{read.replace('timeoutSeconds=', 'timeoutSeconds=1')}&watch&allowWatchBookmarks"
    )
    first = json.loads(answer.text.splitlines()[0])
    assert (first["type"], first["object"]["data"]) == ("ADDED", {"a": "2"})
    status = await api.refused("DELETE", f"{MAPS}/m?orphanDependents=&propagationPolicy=Orphan", 422, "Invalid")
    assert "orphanDependents" in status["message"]
    await api.json("DELETE", f"{MAPS}/m?dryRun=&gracePeriodSeconds=&propagationPolicy=")
    await api.refused("GET", f"{MAPS}/m", 404, "NotFound")
