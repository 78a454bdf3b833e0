"""Running the real program ``kuttab`` as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@dataclass
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass
class Shell:
    """Commands over one data folder."""

    data: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *arguments: object, **more: Any) -> subprocess.Popen[bytes]:
        """Start ``kuttab`` in a process group of its own."""
        environment = {**os.environ, "KUTTAB_HOME": str(self.data), "NO_COLOR": "1", "COLUMNS": "200"}
        environment.pop("KUTTAB_DEBUG", None)
        process = subprocess.Popen(
            [sys.executable, "-m", "kuttab", *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
            start_new_session=True, **more,
        )  # fmt: skip
        self.started.append(process)
        return process

    def close(self) -> None:
        """End what a failed test left behind."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            process.wait()

    def __call__(self, *arguments: object, timeout: float = 120, **more: Any) -> Done:
        """Run ``kuttab`` to its end."""
        process = self.start(*arguments, **more)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"kuttab {arguments} did not end in {timeout} s: {out!r} {err!r}") from None
        return Done(process.returncode, out.decode(), err.decode())

    def trials(self, name: str) -> list[Any]:
        """The trials of an experiment."""
        found: list[Any] = self("get", "trials", name, "-o", "json").json["items"]
        return found


def manifest(
    program: str,
    *,
    name: str = "e",
    arguments: list[str] | None = None,
    container: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """An experiment over x in 0..1 that runs a Python program given as text, with x as its only argument."""
    body: dict[str, Any] = {
        "objective": {"type": "minimize", "objectiveMetricName": "loss"},
        "algorithm": {"algorithmName": "random", "algorithmSettings": [{"name": "random_state", "value": "3"}]},
        "parallelTrialCount": 2,
        "maxTrialCount": 2,
        "parameters": [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}],
    }
    body.update(spec)
    command = {"command": ["python3", "-c", program, *(arguments or ["${trialParameters.x}"])]}
    body["trialTemplate"] = {
        "primaryContainerName": "main",
        "trialParameters": [{"name": "x", "reference": "x"}],
        "trialSpec": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{"name": "main", "image": "python", **command, **(container or {})}],
                    }
                },
            },
        },
    }
    return {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": name}, "spec": body}


def write(folder: Path, document: Any, name: str = "experiment.yaml") -> Path:
    """A manifest file."""
    path = folder / name
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))
    return path


def living(marker: str) -> list[int]:
    """Processes whose command line holds the marker."""
    return [
        process.info["pid"]
        for process in psutil.process_iter(["pid", "cmdline"])
        if marker in " ".join(process.info["cmdline"] or ()) and process.info["pid"] != os.getpid()
    ]
