"""Reads what people wrote for Katib's older versions: v1alpha2, v1alpha3 and the first v1beta1.

Converts documents to today's v1beta1 and nothing else: no defaults, no validation of what is not being converted. A Go template is
executed by :mod:`kuttab.api.gotemplate` with words in place of the trial's data; the words become placeholders in the parsed tree.
Parameter names keep their dashes (``--lr``), so results read as they did; placeholders are named without (``lr``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kuttab.api import gotemplate, keys, meta
from kuttab.base import errors

Parse = Callable[[str], meta.Json]
"""Reads YAML text; raises BadInputError."""
Lookup = Callable[[str, str, str], str | None]
"""ConfigMap namespace, name and key to its text, or None."""

CURRENT = "kubeflow.org/v1beta1"
OLD = ("kubeflow.org/v1alpha2", "kubeflow.org/v1alpha3")
_KINDS = ("Experiment", "Suggestion", "Trial")
_PRIMARY = {"TFJob": "tensorflow", "PyTorchJob": "pytorch"}
_NAS = {"enas": ("architecture", "nn_config"), "darts": ("algorithm-settings", "search-space", "num-layers")}
_OLD_LABELS = {
    "experiment": keys.LABEL_EXPERIMENT,
    "suggestion": keys.LABEL_SUGGESTION,
    "deployment": keys.LABEL_DEPLOYMENT,
}
_TEMPLATE = "spec.trialTemplate"


def is_old(document: Mapping[str, Any]) -> bool:
    """Whether the document needs :func:`convert`."""
    kind = document.get("kind")
    if kind not in _KINDS:
        return False
    if document.get("apiVersion") in OLD:
        return True
    if document.get("apiVersion") != CURRENT:
        return False
    spec = _object(document.get("spec"))
    if kind == "Experiment":
        return "goTemplate" in _object(spec.get("trialTemplate"))
    labels = _object(_object(document.get("metadata")).get("labels"))
    flat = isinstance(spec.get("algorithmName"), str) and kind == "Suggestion"
    return flat or (keys.LABEL_OLD_EXPERIMENT in labels and keys.LABEL_EXPERIMENT not in labels)


def convert(document: meta.Json, parse: Parse, lookup: Lookup | None = None) -> meta.Json:
    """The same object as v1beta1; a document that is not old comes back as it is.

    ``lookup`` is asked for templates that stand in a ConfigMap. Raises InvalidError with the field path of what cannot be converted.
    """
    if not is_old(document):
        return document
    made = {**document, "apiVersion": CURRENT}
    match document["kind"]:
        case "Experiment":
            made.pop("status", None)
            made["spec"] = _experiment(document, parse, lookup)
        case "Suggestion":
            made["spec"] = _suggestion(_object(document.get("spec")))
            made["metadata"] = _metadata(document)
        case _:
            made["metadata"] = _metadata(document)
            if "status" in document:
                made["status"] = _trial_status(_object(document["status"]))
    return made


def _object(value: Any) -> meta.Json:
    return value if isinstance(value, dict) else {}


def _metadata(document: meta.Json) -> meta.Json:
    metadata = dict(_object(document.get("metadata")))
    labels = metadata.get("labels")
    if isinstance(labels, dict):
        metadata["labels"] = {_OLD_LABELS.get(key, key): value for key, value in labels.items()}
    return metadata


def _suggestion(spec: meta.Json) -> meta.Json:
    made = {key: value for key, value in spec.items() if key != "algorithmName"}
    if "algorithmName" in spec:
        made = {"algorithm": {"algorithmName": spec["algorithmName"]}, **made}
    return made


def _trial_status(status: meta.Json) -> meta.Json:
    """Observations were one number a metric; today they are texts of three."""
    observation = _object(status.get("observation"))
    metrics = observation.get("metrics")
    if not isinstance(metrics, list) or not any("value" in _object(metric) for metric in metrics):
        return status
    made = []
    for metric in metrics:
        text = str(_object(metric).get("value", keys.UNAVAILABLE))
        made.append({"name": _object(metric).get("name", ""), "latest": text, "max": text, "min": text})
    return {**status, "observation": {**observation, "metrics": made}}


def _experiment(document: meta.Json, parse: Parse, lookup: Lookup | None) -> meta.Json:
    version = document["apiVersion"]
    spec = dict(_object(document.get("spec")))
    spec.pop("retainHistoricalData", None)
    if "algorithm" in spec:
        spec["algorithm"], stopping = _algorithm(_object(spec["algorithm"]))
        if stopping:
            spec["earlyStopping"] = stopping
    collector = _collector(spec.pop("metricsCollectorSpec", None))
    if collector is not None:
        spec["metricsCollectorSpec"] = collector
    if version == "kubeflow.org/v1alpha3" and "resumePolicy" not in spec:
        spec["resumePolicy"] = "LongRunning"
    if version in OLD or "goTemplate" in _object(spec.get("trialTemplate")):
        spec["trialTemplate"] = _Template(document, parse, lookup).convert()
    return spec


def _algorithm(algorithm: meta.Json) -> tuple[meta.Json, meta.Json]:
    """The algorithm without its early stopping, and that in today's form."""
    old = _object(algorithm.get("earlyStopping"))
    rest = {key: value for key, value in algorithm.items() if key != "earlyStopping"}
    if not old:
        return rest, {}
    stopping: meta.Json = {"algorithmName": old.get("earlyStoppingAlgorithmName", "")}
    if old.get("earlyStoppingSettings"):
        stopping["algorithmSettings"] = old["earlyStoppingSettings"]
    return rest, stopping


def _collector(old: Any) -> meta.Json | None:
    """Today's collector: a cron job's template is dropped (its successor reads the same output), ``None`` became ``Push``."""
    if not isinstance(old, dict) or not old:
        return None
    made = {key: value for key, value in old.items() if key not in ("goTemplate", "retain")}
    collector = _object(made.get("collector"))
    if collector.get("kind") == "None":
        made["collector"] = {**collector, "kind": "Push"}
    return made or None


class _Template:
    """Converts the trial template of one Experiment."""

    def __init__(self, document: meta.Json, parse: Parse, lookup: Lookup | None) -> None:
        self._document = document
        self._parse = parse
        self._lookup = lookup
        self._spec = _object(document.get("spec"))
        self._old = _object(self._spec.get("trialTemplate"))

    def convert(self) -> meta.Json:
        """The new trialTemplate."""
        if "trialSpec" in self._old or "configMap" in self._old:
            return self._old
        text, path = self._text()
        names = self._parameter_names()
        words = _Words(text)
        tree = self._run(text, path, names, words)
        if not isinstance(tree, dict):
            raise _invalid(path, "must be the template of one Kubernetes object")
        primary = self._own_names(tree, words, path)
        used: set[str] = set()
        made: meta.Json = meta.map_texts(tree, lambda leaf: words.placeholders(leaf, used))
        parameters = [{"name": _clean(name), "reference": name} for name in names]
        parameters += [{"name": name, "reference": reference} for name, reference in _METADATA.values() if name in used]
        retain = self._old.get("retain", not self._old)
        return {
            **({"retain": retain} if retain else {}),
            "primaryContainerName": primary,
            "trialParameters": parameters,
            "trialSpec": made,
        }

    def _text(self) -> tuple[str, str]:
        source = _object(self._old.get("goTemplate"))
        raw = source.get("rawTemplate")
        if isinstance(raw, str) and raw:
            return raw, f"{_TEMPLATE}.goTemplate.rawTemplate"
        where = _object(source.get("templateSpec"))
        namespace = where.get("configMapNamespace") or _object(self._document.get("metadata")).get("namespace") or ""
        name = where.get("configMapName") or "trial-template"
        key = where.get("templatePath") or "defaultTrialTemplate.yaml"
        path = f"{_TEMPLATE}.goTemplate.templateSpec"
        text = self._lookup(namespace, name, key) if self._lookup is not None else None
        if text is None:
            raise _invalid(
                path, f"the template is key {key!r} of ConfigMap {name!r}, which is not at hand; add it to the file"
            )
        return text, path

    def _parameter_names(self) -> list[str]:
        parameters = self._spec.get("parameters")
        if isinstance(parameters, list) and parameters:
            names = [_object(parameter).get("name") for parameter in parameters]
        else:
            algorithm = str(_object(self._spec.get("algorithm")).get("algorithmName", ""))
            if self._spec.get("nasConfig") and algorithm not in _NAS:
                raise _invalid("spec.algorithm.algorithmName", f"{algorithm!r} no longer exists; use enas or darts")
            names = list(_NAS.get(algorithm, ()))
        found: dict[str, str] = {}
        for i, name in enumerate(names):
            path = f"spec.parameters[{i}].name"
            if not isinstance(name, str) or not _clean(name) or set(name) & set("{}\n"):
                raise _invalid(path, "must be a name with a letter or digit, without braces")
            if _clean(name) in found:
                raise _invalid(
                    path, f"{name!r} and {found[_clean(name)]!r} are the same without leading dashes; rename one"
                )
            found[_clean(name)] = name
        return list(found.values())

    def _run(self, text: str, path: str, names: list[str], words: _Words) -> Any:
        data = {
            "Experiment": str(_object(self._document.get("metadata")).get("name", "")),
            "Trial": words.trial,
            "NameSpace": words.namespace,
            "HyperParameters": [{"Name": name, "Value": words.value(_clean(name))} for name in names],
        }
        try:
            executed = gotemplate.execute(text, data)
        except gotemplate.TemplateProblem as problem:
            raise _invalid(path, f"line {problem.line}: {problem}") from None
        try:
            return self._parse(executed)
        except errors.BadInputError as error:
            raise _invalid(path, f"is not valid YAML once its loops are written out: {error.message}") from error

    def _own_names(self, tree: meta.Json, words: _Words, path: str) -> str:
        """Drop what is the trial's own from the tree; the name of the container that trains."""
        metadata = tree.get("metadata")
        if isinstance(metadata, dict):
            for key in ("name", "namespace"):
                metadata.pop(key, None)
            if not metadata:
                del tree["metadata"]
        kind = tree.get("kind")
        if kind in _PRIMARY:
            tree["apiVersion"] = "kubeflow.org/v1"
            return _PRIMARY[kind]
        containers = _object(_object(_object(tree.get("spec")).get("template")).get("spec")).get("containers")
        if kind != "Job" or not isinstance(containers, list) or not containers or not isinstance(containers[0], dict):
            raise _invalid(path, f"a template of kind {kind!r} cannot be converted; Job, TFJob and PyTorchJob can")
        name = containers[0].get("name")
        if not isinstance(name, str) or words.trial in name or words.namespace in name:
            name = containers[0]["name"] = "training-container"
        return name


_METADATA = {
    "trial": ("trialName", "${trialSpec.Name}"),
    "namespace": ("trialNamespace", "${trialSpec.Namespace}"),
}


class _Words:
    """Plain YAML words that stand for what is known only per trial, chosen so that the template does not hold them."""

    def __init__(self, text: str) -> None:
        stem = "kuttab-word"
        while stem in text:
            stem += "-x"
        self.trial = f"{stem}-trial"
        self.namespace = f"{stem}-namespace"
        self._value = f"{stem}-value-"
        self._names: list[str] = []
        self._pattern = re.compile(re.escape(stem) + r"-(trial|namespace|value-([0-9]+)-end)")

    def value(self, name: str) -> str:
        """The word for a parameter's value."""
        self._names.append(name)
        return f"{self._value}{len(self._names) - 1}-end"

    def placeholders(self, leaf: str, used: set[str]) -> str:
        """The leaf with placeholders for words; notes which metadata it uses."""

        def show(found: re.Match[str]) -> str:
            if found.group(2) is not None:
                return f"${{trialParameters.{self._names[int(found.group(2))]}}}"
            name = _METADATA[found.group(1)][0]
            used.add(name)
            return f"${{trialParameters.{name}}}"

        return self._pattern.sub(show, leaf)


def _clean(name: str) -> str:
    return name.lstrip("-")


def _invalid(path: str, message: str) -> errors.InvalidError:
    return errors.InvalidError([errors.Problem(path, message)])
