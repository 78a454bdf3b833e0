"""Repairs documents that published clients are known to send wrong, each with a warning that names the right spelling."""

from __future__ import annotations

from kuttab.api import meta

_LISTED = ("categorical", "discrete")


def repair(document: meta.Json) -> tuple[meta.Json, list[str]]:
    """The document with known slips put right, and a warning for each. The given document is not changed.

    ``search.categorical`` of kubeflow-katib 0.18 and 0.19 puts the list of values into ``distribution``.
    """
    spec = document.get("spec")
    parameters = spec.get("parameters") if isinstance(spec, dict) else None
    if not isinstance(parameters, list):
        return document, []
    warnings: list[str] = []
    repaired = []
    for index, parameter in enumerate(parameters):
        space = parameter.get("feasibleSpace") if isinstance(parameter, dict) else None
        if not isinstance(space, dict) or not _slipped(parameter.get("parameterType"), space):
            repaired.append(parameter)
            continue
        moved = {key: value for key, value in space.items() if key != "distribution"}
        moved["list"] = space["distribution"]
        repaired.append({**parameter, "feasibleSpace": moved})
        warnings.append(
            f"spec.parameters[{index}].feasibleSpace.distribution: holds a list of values, as an old client sends it; "
            "it is read as list"
        )
    if not warnings:
        return document, []
    return {**document, "spec": {**document["spec"], "parameters": repaired}}, warnings


def _slipped(kind: object, space: meta.Json) -> bool:
    return kind in _LISTED and isinstance(space.get("distribution"), list) and not space.get("list")
