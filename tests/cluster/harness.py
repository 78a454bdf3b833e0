"""Experiments of shell programs on the test cluster, and the program ``kuttab controller`` as a process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from cluster import cluster as clusters
from kuttab.api import experiment, keys, kinds, meta, trial
from kuttab.api.conditions import is_true
from kuttab.base import errors
from kuttab.client import kube
from kuttab.testing import clients_base

IMAGE = os.environ.get("KUBECONFIG_TEST_IMAGE") or clusters.IMAGE
PATIENCE = 300.0
CRDS = Path(__file__).parents[2] / "deploy" / "crds"
CRD = kinds.Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
OURS = (kinds.EXPERIMENT, kinds.SUGGESTION, kinds.TRIAL)


class Controllers:
    """The controllers of one namespace as a process of their own, over one data folder."""

    def __init__(self, kubeconfig: Path, namespace: str, data: Path) -> None:
        self._where = ["--kubeconfig", str(kubeconfig), "--namespace", namespace, "--data", str(data)]
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def start(self) -> None:
        """Start; returns at once."""
        self._starts += 1
        self._data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "kuttab", "controller", *self._where]
        with (self._data / "out").open("ab") as out, (self._data / "err").open("ab") as err:
            environment = {**os.environ, "KUTTAB_LOG": "WARNING"}
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment)

    def end(self, number: signal.Signals) -> int:
        """End it with a signal; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(30)
        self._process = None
        self._starts = (self._data / "out").read_text().count("running experiments")
        return code

    def again(self) -> subprocess.CompletedProcess[bytes]:
        """Try to run a second one; how that ended."""
        command = [sys.executable, "-m", "kuttab", "controller", *self._where]
        return subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)

    @property
    def running(self) -> bool:
        """Whether it was started and lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def at_work(self) -> bool:
        """Whether it has said that it runs experiments."""
        said = (self._data / "out").read_text().count("running experiments")
        return said == self._starts

    @property
    def complaints(self) -> str:
        """What it logged."""
        return (self._data / "err").read_text()


async def install(kubeconfig: Path) -> None:
    """Create the definitions of ``deploy/crds`` and wait until they are served."""
    async with kube.KubeClient.connect(kubeconfig) as client:
        for path in sorted(CRDS.glob("*.yaml")):
            with contextlib.suppress(errors.AlreadyExistsError):
                await client.create(CRD.load(yaml.safe_load(path.read_text())))
        async with asyncio.timeout(PATIENCE), clients_base.watching(client, CRD, None) as stream:
            async for _ in stream:
                if all([await _served(client, kind) for kind in OURS]):
                    return


async def _served(client: kube.KubeClient, kind: kinds.Kind) -> bool:
    found = await client.get(CRD, "", f"{kind.plural}.{kind.group}")
    states = {item["type"]: item["status"] for item in found.section("status").get("conditions", ())}
    return states.get("Established") == "True" and await client.serves(kind)


def job(program: str, *, name: str = "main", **pod: Any) -> meta.Json:
    """A Job that runs a shell program."""
    container: meta.Json = {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", program],
    }
    container |= pod.pop("container", {})
    body = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **pod}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"backoffLimit": 0, "template": {"spec": body}}}


def search(name: str, namespace: str, program: str, **spec: Any) -> experiment.Experiment:
    """A random search over x in 0..1 that runs a shell program; loss is to be small."""
    return experiment.Experiment.load(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Experiment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "objective": {"type": "minimize", "objectiveMetricName": "loss"},
                "algorithm": {"algorithmName": "random", "algorithmSettings": [{"name": "random_state", "value": "3"}]},
                "parallelTrialCount": 3,
                "maxTrialCount": 6,
                "parameters": [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}],
                "trialTemplate": {
                    "primaryContainerName": "main",
                    "trialParameters": [{"name": "x", "reference": "x"}],
                    "trialSpec": job(program),
                },
                **spec,
            },
        }
    )


def lone_trial(name: str, namespace: str, run: meta.Json, **spec: Any) -> trial.Trial:
    """A trial without experiment."""
    document = {**run, "metadata": {"name": name, "namespace": namespace}}
    return trial.Trial.load(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Trial",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "objective": {"type": "minimize", "objectiveMetricName": "loss"},
                "parameterAssignments": [],
                "primaryContainerName": "main",
                "runSpec": document,
                **spec,
            },
        }
    )


async def until(
    client: kube.KubeClient, obj: meta.Object, true: Callable[[meta.Object], bool], patience: float = PATIENCE
) -> meta.Object:
    """The object as soon as it is so."""
    kind, last = kinds.of(obj), obj
    fields = f"metadata.name={obj.name}"
    async with clients_base.watching(client, kind, obj.namespace, fields=fields) as stream:
        try:
            async with asyncio.timeout(patience):
                async for event in stream:
                    if event.object.name:
                        last = event.object
                        if true(last):
                            return last
        except TimeoutError:
            raise AssertionError(f"{kind.kind} {obj.name} did not get there: {meta.dump(last).get('status')}") from None
    raise AssertionError("the watch ended")


def ended(obj: meta.Object) -> bool:
    """Whether an experiment or a trial is over."""
    assert isinstance(obj, experiment.Experiment | trial.Trial)
    over = (keys.SUCCEEDED, keys.FAILED, keys.EARLY_STOPPED, keys.METRICS_UNAVAILABLE, keys.KILLED)
    return any(is_true(obj.status.conditions, type_) for type_ in over)


def true(obj: meta.Object, type_: str) -> bool:
    """Whether a condition of an experiment or trial is True."""
    assert isinstance(obj, experiment.Experiment | trial.Trial)
    return is_true(obj.status.conditions, type_)


def measured(obj: meta.Object, metric: str = "loss") -> tuple[str, str, str]:
    """(min, max, latest) of a trial's metric."""
    assert isinstance(obj, trial.Trial)
    found = obj.status.observation
    values = next((item for item in (found.metrics or () if found else ()) if item.name == metric), None)
    return (values.min, values.max, values.latest) if values is not None else ("", "", "")


async def trials_of(client: kube.KubeClient, subject: experiment.Experiment) -> list[trial.Trial]:
    """The experiment's trials, by slot."""
    page = await client.list(kinds.TRIAL, subject.namespace, labels=f"{keys.LABEL_EXPERIMENT}={subject.name}")
    found = [item for item in page.items if isinstance(item, trial.Trial)]
    return sorted(found, key=lambda item: int(item.metadata.annotation(keys.ANNOTATION_SLOT)))
