"""The manifests, configurations and messages that the guides show are taken by what reads them."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import yaml

from docs import pages
from docs.pages import Block
from kuttab.api import kinds, meta, trial
from kuttab.base import errors
from kuttab.client import quota_http, quota_wire
from kuttab.wiring import config, manifests
from kuttab.wiring import settings as settings_

DOCUMENTS = [block for block in pages.ALL if block.language in pages.READ]
BASE = pages.ROOT / "examples" / "early-stopping.yaml"
"""A parameter ``epochs`` is added to it, for what is shown of rungs."""


def merged(into: Any, more: Any) -> Any:
    """Maps are merged, everything else is replaced."""
    if not isinstance(into, dict) or not isinstance(more, dict):
        return more
    return {**into, **{key: merged(into.get(key), value) for key, value in more.items()}}


def whole(part: dict[str, Any]) -> dict[str, Any]:
    """An experiment with this part of its spec."""
    base = yaml.safe_load(BASE.read_text())
    spec = base["spec"]
    spec["parameters"].append({"name": "epochs", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "27"}})
    template = spec["trialTemplate"]
    template["trialParameters"].append({"name": "epochs", "reference": "epochs"})
    template["trialSpec"]["spec"]["template"]["spec"]["containers"][0]["command"].append("${trialParameters.epochs}")
    if "algorithm" in part.get("spec", {}):
        del spec["algorithm"]
    return {**base, "spec": merged(spec, part["spec"])}


def read_quota(document: dict[str, Any]) -> None:
    """A question has the form of what is asked, an answer is understood."""
    if "verb" in document:
        metadata = meta.ObjectMeta(name="t", namespace="default", uid="u")
        workload = meta.Resource(api_version="batch/v1", kind="Job", metadata=metadata, spec={"template": {"spec": {}}})
        asked = quota_http.question(trial.Trial(metadata=metadata), workload)
        shape = {key: set(value) if isinstance(value, dict) else value for key, value in asked.items()}
        assert shape == {key: set(value) if isinstance(value, dict) else value for key, value in document.items()}
    else:
        decision, deadline = quota_http.read(quota_wire.Answer(200, document))
        assert decision.reason == document["reason"]
        assert deadline == document["deadlineSeconds"]


@pytest.mark.parametrize("block", DOCUMENTS, ids=str)
def test_documents_are_read(block: Block, tmp_path: pathlib.Path) -> None:
    """Experiments and parts of them are valid, configurations and messages are understood."""
    document = json.loads(block.text) if block.language == "json" else yaml.safe_load(block.text)
    file = tmp_path / "document.yaml"
    file.write_text(block.text)
    where = settings_.Settings(tmp_path / "data")
    if block.language == "json":
        read_quota(document)
    elif document.get("kind") == "KatibConfig":
        found = config.read(file, {})
        assert found.algorithms or found.early_stoppings or found.quota
    elif "images" in document:
        assert settings_.read_images(file, where.data).keys() == document["images"].keys()
    else:
        if document.get("kind") != kinds.EXPERIMENT.kind:
            assert set(document) == {"spec"}, f"{block}: a part of an experiment begins with spec:"
            file.write_text(yaml.safe_dump(whole(document)))
        assert manifests.check(manifests.read(file), where).warnings == []


def test_a_wrong_part_is_noticed(tmp_path: pathlib.Path) -> None:
    """What is shown is judged, not only parsed."""
    file = tmp_path / "document.yaml"
    file.write_text(yaml.safe_dump(whole({"spec": {"earlyStopping": {"algorithmName": "medianstopp"}}})))
    with pytest.raises(errors.InvalidError, match="medianstop"):
        manifests.check(manifests.read(file), settings_.Settings(tmp_path / "data"))
