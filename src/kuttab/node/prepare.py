"""From a pod to commands that can be started: folders, environment, paths, programs.

All looking at the world that a start needs happens here, before anything is started, so that what is wrong with a pod is known
before it has an effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kuttab.api import experiment, keys, kinds, meta, trial
from kuttab.base import errors
from kuttab.collector import reporting
from kuttab.node import environ, images, meters, processes, settings, support, volumes
from kuttab.ports import objects as port

DB_MANAGER = "katib-db-manager.kubeflow:6789"
"""Katib's address of the observation log in a cluster; here this runtime's own stands for it where a pod reports by itself."""
PBT_DIRECTORY = "suggestion_trial_dir"
"""Setting of population-based training: where in the container a member finds its checkpoint."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One container, ready to start."""

    name: str
    command: processes.Command
    mounts: volumes.Mounts
    memory: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pod will run. ``primary`` is the container that is measured, empty when none is."""

    folder: Path
    owner: trial.Trial | None = None
    """The trial that this pod belongs to: a replica that is not measured writes its files below its own folder all the same."""
    trial: trial.Trial | None = None
    """The trial that is measured by this pod."""
    primary: str = ""
    alone: bool = False
    """Whether its job has no other pods beside it."""
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Container path to text of files that an operator would mount."""
    checkpoint: tuple[str, Path] | None = None
    fleeting: bool = False
    """Whether nobody misses the pod if it has succeeded before it was written."""
    report_url: str = ""
    """Where programs of the measured container may report over HTTP."""
    volumes_folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """What of the node's settings a preparation needs; ``inherited`` is the environment that every container starts from."""

    data_dir: Path
    images: images.Images
    started_in: Path
    inherited: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sources:
    """Data of the ConfigMaps that a pod refers to."""

    text: environ.ConfigMaps
    binary: Mapping[str, Any]


async def read_sources(objects: port.Objects, namespace: str, spec: Mapping[str, Any]) -> Sources:
    """Read every ConfigMap that a pod's spec names; those that do not exist are left out."""
    text, binary = {}, {}
    for name in environ.config_map_names(spec):
        try:
            found = await objects.get(kinds.CONFIG_MAP, namespace, name)
        except errors.NotFoundError:
            continue
        text[name] = found.section("data")
        binary[name] = found.section("binaryData")
    return Sources(text, binary)


async def read_checkpoint(
    objects: port.Objects, data_dir: Path, subject: trial.Trial | None
) -> tuple[str, Path] | None:
    """The checkpoint folder of a member of a population and where its container finds it; None for other trials."""
    if subject is None or not subject.metadata.label(keys.LABEL_PBT_GENERATION):
        return None
    experiment_name = subject.metadata.label(keys.LABEL_EXPERIMENT)
    try:
        found = await objects.get(kinds.EXPERIMENT, subject.namespace, experiment_name)
    except errors.NotFoundError:
        return None
    algorithm = meta.dump(found).get("spec", {}).get("algorithm", {})
    directory = next(
        (s.get("value", "") for s in algorithm.get("algorithmSettings") or () if s.get("name") == PBT_DIRECTORY), ""
    )
    if not directory:
        return None
    base = data_dir / "checkpoints" / subject.namespace
    parent = subject.metadata.label(keys.LABEL_PBT_PARENT)
    folder = await asyncio.to_thread(volumes.checkpoints, base, experiment_name, subject.name, parent)
    return volumes.normal(directory), folder


def containers(pod: meta.Resource, plan: Plan, sources: Sources, node: Node) -> list[Prepared]:
    """Prepare the pod's init containers and containers, creating their folders.

    CannotRunError, InvalidError and MissingConfigError as their causes say; UnavailableError when the disk is to blame.
    """
    spec = pod.section("spec")
    try:
        _make(plan.folder)
        entries = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ()), *extras(plan)]
        if plan.primary and not (plan.alone and len(entries) == 1):
            (plan.folder / settings.PRIMARY).write_text(plan.primary)
        folders: Mapping[str, Path] = {}
        if spec.get("volumes"):
            base = plan.volumes_folder or plan.folder / "volumes"
            claims = node.data_dir / "claims" / pod.namespace
            folders = volumes.make_volumes(spec["volumes"], base, claims, sources.text, sources.binary)
        return [_container(entry, pod, plan, folders, sources, node) for entry in entries]
    except OSError as error:
        raise processes.verdict(error, f"cannot prepare the folders of pod {pod.name}") from error


def _make(folder: Path) -> None:
    """The folder, which is the first one in a new folder most of the time."""
    with contextlib.suppress(OSError):
        os.mkdir(folder.parent, 0o700)
    folder.mkdir(0o700, parents=True, exist_ok=True)


def extras(plan: Plan) -> list[meta.Json]:
    """The container of a Custom collector, which runs beside the pod's own."""
    found = meters.custom_container(plan.trial) if plan.trial is not None and plan.primary else None
    return [] if found is None else [found]


def _container(
    entry: Mapping[str, Any],
    pod: meta.Resource,
    plan: Plan,
    folders: Mapping[str, Path],
    sources: Sources,
    node: Node,
) -> Prepared:
    name = entry["name"]
    image = images.find(node.images, entry.get("image", ""))
    # As on a cluster, what a controller sets stands after what the manifest declares, and is seen by $(NAME) in the command.
    declared = {**environ.variables(entry, pod, sources.text), **plan.env}
    if name == plan.primary and plan.trial is not None:
        declared[keys.ENV_TRIAL_NAME] = plan.trial.name
    mounts = volumes.Mounts(_mounts(entry, plan, folders, declared))

    address = plan.env.get(keys.ENV_DB_MANAGER, "")

    def translate(text: str) -> str:
        if address:
            text = text.replace(DB_MANAGER, address)
        return images.below_root(image, mounts.rewrite(text))

    env = {**node.inherited, "HOSTNAME": pod.name, **image.env}
    env |= {key: translate(value) for key, value in declared.items()}
    if name == plan.primary and plan.trial is not None:
        env |= _reporting(plan.trial, plan.folder / f"{name}.log", mounts)
        if plan.report_url:
            env[reporting.ENV_URL] = plan.report_url
    argv = [translate(environ.expand(word, declared)) for word in _argv(entry, image)]
    mounts.make()
    cwd = volumes.workdir(entry.get("workingDir") or image.workdir, mounts, image.root, node.started_in, plan.folder)
    # The file itself as first word: Python finds its home by that word, not by what was executed.
    argv[0] = images.program(image, argv[0], env, cwd)
    command = processes.Command(argv, env, cwd, plan.folder / f"{name}.log")
    limits = (entry.get("resources") or {}).get("limits") or {}
    return Prepared(name, command, mounts, support.quantity(limits.get("memory")))


def _reporting(subject: trial.Trial, log: Path, mounts: volumes.Mounts) -> dict[str, str]:
    """Where ``kuttab.report`` in a program finds its collector; or why there is none for it."""
    kind, spec = meters.kind(subject), subject.spec.metrics_collector
    objective = subject.spec.objective or experiment.ObjectiveSpec()
    source = spec.source if spec is not None else None
    if kind not in (experiment.CollectorKind.STDOUT, experiment.CollectorKind.FILE):
        return {reporting.ENV_PROBLEM: f"its metrics collector is {kind}; use that, or the collector StdOut"}
    if source is not None and source.filter is not None and source.filter.metrics_format:
        return {
            reporting.ENV_PROBLEM: "its collector reads lines by a filter of its own; print lines that fit the filter"
        }
    found = {reporting.ENV_FILE: str(log)}
    if kind == experiment.CollectorKind.FILE:
        path = meters.files(subject)[0]
        found[reporting.ENV_FILE] = str(mounts.resolve(path) or path)
        place = source.file_system_path if source is not None else None
        found[reporting.ENV_FORMAT] = (place.format if place is not None else "") or "TEXT"
    if subject.spec.early_stopping_rules:
        rules = [[r.name, r.value, r.comparison, r.start_step] for r in subject.spec.early_stopping_rules]
        told = {"rules": rules, "objective": objective.objective_metric_name, "direction": objective.type}
        found[reporting.ENV_RULES] = json.dumps(told)
    return found


def _argv(entry: Mapping[str, Any], image: images.Image) -> Sequence[str]:
    words = [*(entry.get("command") or image.command), *(entry.get("args") or ())]
    if not (entry.get("command") or image.command):
        raise processes.CannotRunError(
            f"container {entry['name']!r} has no command, and the images setting gives none for image"
            f" {entry.get('image', '')!r}; add command to the container, or images[{entry.get('image', '')!r}].command"
        )
    return words


def _mounts(
    entry: Mapping[str, Any], plan: Plan, folders: Mapping[str, Path], declared: Mapping[str, str]
) -> list[volumes.Mount]:
    found = []
    for path, text in plan.files.items():
        host = plan.folder / "files" / path.lstrip("/")
        host.parent.mkdir(0o700, parents=True, exist_ok=True)
        host.unlink(missing_ok=True)
        host.write_text(text)
        host.chmod(0o555 if text.startswith("#!") else 0o444)
        found.append(volumes.Mount(path, host))
    owner = plan.trial or plan.owner
    if owner is not None:
        path, is_folder = meters.files(owner)
        collector = volumes.collector(path, is_folder, plan.folder)
        if collector is not None:
            found.append(collector)
        if plan.checkpoint is not None:
            found.append(volumes.Mount(*plan.checkpoint))
    # A mount that the user declares wins over one of ours at the same path.
    return [*found, *volumes.declared(entry, folders, declared)]
