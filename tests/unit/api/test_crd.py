"""CustomResourceDefinitions made from the types."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from kuttab.api import crd, descriptions, kinds

ROOT = pathlib.Path(__file__).parents[3]
EXAMPLES = ROOT.parent / "shared" / "katib-examples"
ALLOWED = {"type", "description", "properties", "items", "additionalProperties", "required", "nullable", "format"}
EXTENSIONS = {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of a schema with its path."""
    yield path, schema
    for name, node in schema.get("properties", {}).items():
        yield from nodes(node, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.kind)
def test_schemas_are_structural(kind: kinds.Kind) -> None:
    """Each node has a type and only what a structural schema may have; nothing is a list map."""
    for path, node in nodes(crd.schema(kind)):
        assert set(node) <= ALLOWED | EXTENSIONS, path
        assert ("type" in node) != ("x-kubernetes-int-or-string" in node), path
        assert not ("properties" in node and "additionalProperties" in node), path


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.kind)
def test_every_field_has_a_sentence(kind: kinds.Kind) -> None:
    """Every field of our own reads as a sentence in kubectl explain."""
    for path, node in nodes(crd.schema(kind)):
        if path.rpartition(".")[2] not in ("metadata", "") and not path.endswith("[]"):
            assert node.get("description", "").endswith("."), path


def test_descriptions_name_existing_fields() -> None:
    """No sentence is left over from a field that is gone."""
    models = {name: cls for kind in crd.KINDS for name, cls in crd._models(kind.cls).items()}
    for key in descriptions.FIELDS:
        name, _, field = key.partition(".")
        assert field in models[name].model_fields, key


def test_only_free_form_fields_are_open() -> None:
    """Unknown fields are kept where anything may stand, and nowhere else."""
    found = {
        path for path, node in nodes(crd.schema(kinds.EXPERIMENT)) if "x-kubernetes-preserve-unknown-fields" in node
    }
    http = ".spec.metricsCollectorSpec.source.httpGet.httpHeaders[]"
    assert found == {".spec.trialTemplate.trialSpec", ".spec.metricsCollectorSpec.collector.customCollector", http}
    found = {path for path, node in nodes(crd.schema(kinds.TRIAL)) if "x-kubernetes-preserve-unknown-fields" in node}
    assert ".spec.runSpec" in found


def test_definition() -> None:
    """Names, categories, columns and the status subresource are Katib's."""
    made = crd.definition(kinds.SUGGESTION)
    assert made["metadata"]["name"] == "suggestions.kubeflow.org"
    assert made["spec"]["names"]["categories"] == ["all", "kubeflow", "katib"]
    version = made["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]] == [
        "Type",
        "Status",
        "Requested",
        "Assigned",
        "Age",
    ]


def test_committed_files_are_fresh() -> None:
    """deploy/crds holds what the types say, and it reads back as the same data."""
    for kind, (name, text) in zip(crd.KINDS, crd.files().items(), strict=True):
        assert (ROOT / "deploy" / "crds" / name).read_text() == text, f"{name}: write deploy/crds again (make generate)"
        assert yaml.safe_load(text) == crd.definition(kind)


def test_write(tmp_path: pathlib.Path) -> None:
    """Writing makes the folder and one file a kind."""
    crd.write(tmp_path / "a" / "crds")
    assert sorted(path.name for path in (tmp_path / "a" / "crds").iterdir()) == sorted(crd.files())


def unknown(schema: dict[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """What an API server would refuse of a document: unknown fields, wrong types, missing fields."""
    kinds_of = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    if (value is None and schema.get("nullable")) or "x-kubernetes-int-or-string" in schema:
        return
    if not isinstance(value, kinds_of[schema["type"]]):
        yield f"{path}: no {schema['type']}"
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from unknown(schema["items"], item, f"{path}[{i}]")
    elif isinstance(value, dict) and "properties" in schema:
        for name, item in value.items():
            if name not in schema["properties"]:
                yield f"{path}.{name}: unknown"
            else:
                yield from unknown(schema["properties"][name], item, f"{path}.{name}")
        yield from (f"{path}.{name}: missing" for name in schema.get("required", ()) if name not in value)


@pytest.mark.skipif(not EXAMPLES.exists(), reason="Katib's example manifests are not beside this checkout")
def test_published_examples_fit() -> None:
    """Every published Experiment has only known fields of the right types."""
    schema = crd.schema(kinds.EXPERIMENT)
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        if path.parent.name != "support":
            assert list(unknown(schema, yaml.safe_load(path.read_text()))) == [], path.name


def test_misspelt_and_mistyped_fields_do_not_fit() -> None:
    """The schema is closed: a typo and a number as text are refused."""
    document = {"spec": {"maxTrailCount": 3, "parallelTrialCount": "3", "objective": {"goal": None}}}
    found = list(unknown(crd.schema(kinds.EXPERIMENT), document))
    assert found == [".spec.maxTrailCount: unknown", ".spec.parallelTrialCount: no integer"]
