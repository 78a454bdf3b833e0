"""Discovery, OpenAPI, health and reviews over HTTP."""

from __future__ import annotations

import pytest

from kuttab.apiserver import discovery, targets
from served_api import Served

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


async def test_version_names_the_dialect(api: Served) -> None:
    """Clients that look for Kubernetes' version find one, with ours as its build."""
    found = await api.json("GET", "/version")
    assert (found["major"], found["minor"]) == ("1", "32")
    assert found["gitVersion"].endswith("+kuttab.0.0.0")


async def test_every_kind_can_be_found(api: Served) -> None:
    """What is registered is listed under its group and version, with its scope, short names and categories."""
    groups = await api.json("GET", "/apis")
    places = {"v1": "/api/v1"}
    for group in groups["groups"]:
        assert await api.json("GET", f"/apis/{group['name']}") == {"kind": "APIGroup", "apiVersion": "v1", **group}
        places |= {item["groupVersion"]: f"/apis/{item['groupVersion']}" for item in group["versions"]}
    for kind in targets.SERVED:
        found = await api.json("GET", places[kind.api_version])
        entry = next(item for item in found["resources"] if item["name"] == kind.plural)
        assert (entry["kind"], entry["namespaced"]) == (kind.kind, kind.namespaced)
        assert tuple(entry.get("categories", ())) == kind.categories
        assert "watch" in entry["verbs"]


async def test_preferred_version_of_katib_is_v1beta1(api: Served) -> None:
    """A client that asks for experiments without a version gets Katib's."""
    found = await api.json("GET", "/apis/kubeflow.org")
    assert found["preferredVersion"]["version"] == "v1beta1"


@pytest.mark.parametrize("path", ["/api", "/apis"])
@pytest.mark.parametrize("form", ["v2", "v2beta1"])
async def test_aggregated_discovery(api: Served, path: str, form: str) -> None:
    """One request tells everything, in the form that was asked for."""
    accept = AGGREGATED.replace("v=v2", f"v={form}")
    answer = await api.http.get(path, headers={"Accept": accept})
    assert answer.headers["content-type"] == discovery.aggregated_media(form)
    found = answer.json()
    assert found["apiVersion"] == f"apidiscovery.k8s.io/{form}"
    names = {
        (item["metadata"].get("name", ""), version["version"], resource["resource"])
        for item in found["items"]
        for version in item["versions"]
        for resource in version["resources"]
    }
    core = path == "/api"
    wanted = {(k.group, k.version, k.plural) for k in targets.SERVED if core is not bool(k.group)}
    assert wanted <= names


async def test_plain_discovery_when_it_is_preferred(api: Served) -> None:
    """The order of the Accept header decides."""
    accept = ",".join(reversed(AGGREGATED.split(",")))
    answer = await api.http.get("/apis", headers={"Accept": accept})
    assert answer.json()["kind"] == "APIGroupList"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez"])
async def test_health_needs_no_token(api: Served, path: str) -> None:
    """A supervisor can ask without a secret."""
    answer = await api.http.get(path, headers={"Authorization": ""})
    assert (answer.status_code, answer.text) == (200, "ok")


async def test_openapi_has_a_document_for_every_version(api: Served) -> None:
    """The index leads to documents whose references all lead somewhere."""
    index = await api.json("GET", "/openapi/v3")
    assert "apis/kubeflow.org/v1beta1" in index["paths"]
    for entry in index["paths"].values():
        answer = await api.http.get(entry["serverRelativeURL"])
        document = answer.json()
        schemas = document["components"]["schemas"]
        for part in answer.text.split('"$ref":"#/components/schemas/')[1:]:
            assert part.partition('"')[0] in schemas
        identifiers = [
            operation["operationId"]
            for path in document["paths"].values()
            for method, operation in path.items()
            if method != "parameters"
        ]
        assert len(identifiers) == len(set(identifiers))


async def test_openapi_explains_our_fields(api: Served) -> None:
    """The schema of an Experiment is that of its CustomResourceDefinition, closed and with sentences."""
    document = await api.json("GET", "/openapi/v3/apis/kubeflow.org/v1beta1")
    found = document["components"]["schemas"]["org.kubeflow.v1beta1.Experiment"]
    assert found["x-kubernetes-group-version-kind"] == [
        {"group": "kubeflow.org", "version": "v1beta1", "kind": "Experiment"}
    ]
    spec = found["properties"]["spec"]
    assert "description" in spec["properties"]["maxTrialCount"]
    assert "x-kubernetes-preserve-unknown-fields" not in spec


async def test_openapi_of_version_2(api: Served) -> None:
    """Old clients find the schemas as JSON; those that take protobuf alone are told so."""
    answer = await api.http.get("/openapi/v2")
    found = answer.json()
    assert "org.kubeflow.v1beta1.Experiment" in found["definitions"]
    assert "#/components" not in answer.text
    accept = {"Accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
    await api.refused("GET", "/openapi/v2", 406, "NotAcceptable", headers=accept)


async def test_reviews(api: Served) -> None:
    """The one user may do everything, and is told so; a question that asks nothing is refused."""
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    question = {"spec": {"resourceAttributes": {"verb": "create", "resource": "experiments", "group": "kubeflow.org"}}}
    assert (await api.json("POST", path, 201, json=question))["status"]["allowed"] is True
    await api.refused("POST", path, 422, "Invalid", json={"spec": {}})
    await api.refused("POST", path, 400, "BadRequest", json={"spec": 3})
    await api.refused("GET", path, 405, "MethodNotAllowed")
    who = await api.json("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", 201, json={})
    assert who["status"]["userInfo"]["username"] == "kuttab"
    for part in ("metadata", "spec", "status"):
        await api.refused(
            "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", 400, "BadRequest", json={part: True}
        )
