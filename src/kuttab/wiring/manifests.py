"""Manifests from files: read safely, convert old ones, set overrides, check. Nothing is stored here."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from kuttab.admission import chain, yaml
from kuttab.api import experiment, kinds, legacy, meta
from kuttab.base import errors
from kuttab.wiring import catalogue
from kuttab.wiring import settings as settings_

SIZE_LIMIT = 8 * 1024 * 1024
USER = "local"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The documents of one file: experiments, and the ConfigMaps and Namespaces they come with."""

    origin: str
    documents: Sequence[yaml.Document]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a manifest holds after admission."""

    experiments: list[experiment.Experiment] = field(default_factory=list)
    others: list[meta.Object] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """``Experiment/name`` of everything."""
        return [f"{item.kind}/{item.name or item.metadata.generate_name}" for item in (*self.experiments, *self.others)]


def read(file: Path, stream: IO[bytes] | None = None) -> Manifest:
    """Read a file, or a stream in its place. Raises BadInputError with the file's name and InvalidError with lines."""
    origin = "standard input" if stream is not None else str(file)
    try:
        if stream is None and file.is_dir():
            raise errors.BadInputError(f"{file} is a folder; name a file in it")
        text = stream.read(SIZE_LIMIT + 1) if stream is not None else _read(file)
    except OSError as problem:
        raise errors.BadInputError(f"{file}: cannot be read: {problem.strerror}") from problem
    if len(text) > SIZE_LIMIT:
        raise errors.BadInputError(f"{origin}: is larger than {SIZE_LIMIT // 1024 // 1024} MiB; that is no manifest")
    documents = yaml.load(text, origin)
    if not documents:
        raise errors.BadInputError(f"{origin}: is empty; it should hold an Experiment (kubeflow.org/v1beta1)")
    return Manifest(origin, documents)


def _read(file: Path) -> bytes:
    with file.open("rb") as source:
        return source.read(SIZE_LIMIT + 1)


def override(value: Any, assignments: Sequence[str]) -> Any:
    """The document with ``path.to.field=value`` set; the value is read as JSON when it is JSON, else as text."""
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        steps = path.split(".")
        if not equals or not all(steps):
            raise errors.BadInputError(f"--set {assignment}: write PATH=VALUE, e.g. --set spec.maxTrialCount=20")
        value = _put(value, steps, _value(text), assignment)
    return value


def at_home(value: meta.Json, folder: Path, images: Mapping[str, Any]) -> meta.Json:
    """The Experiment with ``workingDir`` set in every container that names none and whose image has no stand-in here."""

    def visit(node: Any) -> Any:
        if isinstance(node, list):
            return [visit(item) for item in node]
        if not isinstance(node, dict):
            return node
        changed = {key: visit(item) for key, item in node.items()}
        containers = changed.get("containers")
        if isinstance(containers, list):
            changed["containers"] = [
                {**item, "workingDir": str(folder)}
                if isinstance(item, dict)
                and "workingDir" not in item
                and not _stands_in(str(item.get("image", "")), images)
                else item
                for item in containers
            ]
        return changed

    spec = value.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("trialTemplate"), dict):
        return value
    template = spec["trialTemplate"]
    if not isinstance(template.get("trialSpec"), dict):
        return value
    return {**value, "spec": {**spec, "trialTemplate": {**template, "trialSpec": visit(template["trialSpec"])}}}


def _stands_in(image: str, images: Mapping[str, Any]) -> bool:
    return any(fnmatch.fnmatchcase(image, pattern) or image == pattern for pattern in images)


def _put(node: Any, steps: Sequence[str], new: Any, said: str) -> Any:
    if not steps:
        return new
    head, rest = steps[0], steps[1:]
    if isinstance(node, list):
        if not head.isdecimal() or int(head) >= len(node):
            raise errors.BadInputError(f"--set {said}: {head} is no index of a list of {len(node)}")
        return [*node[: int(head)], _put(node[int(head)], rest, new, said), *node[int(head) + 1 :]]
    if not isinstance(node, dict):
        raise errors.BadInputError(f"--set {said}: nothing can be set below {head}")
    return {**node, head: _put(node.get(head, {}) if rest else None, rest, new, said)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def check(
    manifest: Manifest, settings: settings_.Settings, overrides: Sequence[str] = (), folder: Path | None = None
) -> Checked:
    """Admit every document as a creation. Raises InvalidError with all problems, each with its line.

    With ``folder``, containers without a working directory get that one, so that programs beside the manifest are found.
    """
    found = Checked()
    maps = _config_maps(manifest)
    for document in manifest.documents:
        value = document.value
        if not isinstance(value.get("kind"), str):
            raise errors.BadInputError(
                f"{manifest.origin}: holds no Kubernetes object (apiVersion, kind, metadata, spec)"
            )
        if legacy.is_old(value):
            value = _converted(value, manifest.origin)
            found.warnings.append(f"{document.value.get('apiVersion')} was converted to kubeflow.org/v1beta1")
        if value["kind"] == experiment.Experiment.KIND:
            value = override(value, overrides)
            if folder is not None:
                value = at_home(value, folder, settings.images)
        value = _placed(value)
        try:
            admitted = chain.admit(
                value, operation="CREATE", user=USER, catalogue=catalogue.Catalogue(settings, config_maps=maps)
            )
        except errors.InvalidError as problem:
            raise errors.InvalidError(
                [document.locate(item) for item in problem.problems], manifest.origin
            ) from problem
        found.warnings.extend(admitted.warnings)
        if isinstance(admitted.object, experiment.Experiment):
            found.experiments.append(admitted.object)
        else:
            found.others.append(admitted.object)
    return found


def _converted(value: meta.Json, origin: str) -> meta.Json:
    def parse(text: str) -> meta.Json:
        documents = yaml.load(text, f"{origin} (template)")
        found = documents[0].value if documents else None
        return found if isinstance(found, dict) else {}

    return legacy.convert(value, parse)


def _placed(value: meta.Json) -> meta.Json:
    """With a namespace, as kubectl would add its context's."""
    kind = kinds.known(str(value.get("apiVersion", "")), str(value.get("kind", "")))
    metadata = value.get("metadata")
    if kind is not None and not kind.namespaced:
        return value
    if isinstance(metadata, dict) and not metadata.get("namespace"):
        return {**value, "metadata": {**metadata, "namespace": "default"}}
    return value


def _config_maps(manifest: Manifest) -> dict[tuple[str, str], dict[str, str]]:
    """ConfigMaps of the same file, for templates that refer to them."""
    found = {}
    for document in manifest.documents:
        value = document.value
        if value.get("kind") == "ConfigMap" and isinstance(value.get("metadata"), dict):
            metadata, data = value["metadata"], value.get("data")
            key = (str(metadata.get("namespace") or "default"), str(metadata.get("name", "")))
            found[key] = {k: v for k, v in data.items() if isinstance(v, str)} if isinstance(data, dict) else {}
    return found
