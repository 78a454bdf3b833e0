"""What can be set about a node."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kuttab.node import images


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Settings of one machine that runs workloads; times in seconds, sizes in bytes."""

    data_dir: Path
    """Folder of this node: below it ``trials/<namespace>/<job>/<attempt>`` (logs, results), ``claims``, ``checkpoints``."""
    images: images.Images = field(default_factory=dict)
    """What stands for container images; see :mod:`kuttab.node.images`."""
    grace_seconds: float = 5.0
    """Time between SIGTERM and SIGKILL; a pod's shorter ``terminationGracePeriodSeconds`` wins."""
    log_cap_bytes: int = 1 << 30
    """A container whose log grows beyond this is ended with reason LogTooLarge and its log cut."""
    poll_seconds: float = 0.25
    """Time between two looks at the metrics of all running trials; it bounds how late an early stop is."""
    hold_seconds: float = 0.05
    """How long a pod that was just started may run before that is written down: one that ends in a moment needs one write, not two."""
    sample_seconds: float = 1.0
    """Time between two looks at memory and log sizes."""
    collector_seconds: float = 10.0
    """How long a Custom collector may go on after the training has ended before it is ended too."""
    backoff_seconds: float = 0.2
    """Delay before the first retry of a failed attempt, doubled for each further one (Kubernetes: 10 s)."""
    backoff_most_seconds: float = 60.0
    started_in: Path = field(default_factory=Path.cwd)
    """Where the runtime was started: relative ``workingDir`` entries are below it."""
    environment: Mapping[str, str] | None = None
    """What every process inherits; None: the environment of the runtime itself."""
    extra_environment: Mapping[str, str] = field(default_factory=dict)
    """Added to that, such as the address of the observation log for programs that push metrics."""
    dedicated: bool = False
    """Whether this program does nothing but run the node, so that every orphaned process it adopts may be reaped."""

    def inherited(self) -> dict[str, str]:
        """The environment that containers start from.

        Python's output is unbuffered unless somebody says otherwise: a log file would hold metrics back until a buffer is full.
        The folder of the running interpreter is the last one of PATH, so that a shell finds a ``python`` on systems that have none.
        """
        base = os.environ if self.environment is None else self.environment
        return {"PYTHONUNBUFFERED": "1", **base, "PATH": _with_python(base.get("PATH", "")), **self.extra_environment}

    def folder(self, namespace: str, job: str) -> Path:
        """The folder of all attempts of a job."""
        return self.data_dir / "trials" / namespace / job


def _with_python(path: str) -> str:
    own = str(Path(sys.executable).parent)
    folders = [folder for folder in path.split(os.pathsep) if folder] or list(images.SYSTEM_PATH)
    return os.pathsep.join(folders if own in folders else [*folders, own])


def attempt_folder(attempt: int, pod: str) -> str:
    """The name of an attempt's folder: names sort in the order of attempts."""
    return f"{attempt:03d}-{pod.rpartition('-')[2]}"


PRIMARY = ".primary"
"""File in an attempt's folder that names the container whose metrics are read, where there are others; replicas that are not measured
have none."""


def main_log(trials: Path, name: str) -> Path | None:
    """The log of a trial's newest attempt, below the folder of all trials: its measured container's when that is known."""
    attempts = [attempt for folder in trials.glob(f"*/{name}") for attempt in folder.iterdir() if attempt.is_dir()]
    marked = [attempt for attempt in attempts if (attempt / PRIMARY).is_file()]
    files = [attempt / f"{(attempt / PRIMARY).read_text()}.log" for attempt in marked]
    found = [file for file in files if file.is_file()] or [file for one in attempts for file in one.glob("*.log")]
    return max(found, key=lambda file: (file.parent.name, file.stat().st_mtime_ns), default=None)


def logs(data_dir: Path, namespace: str, job: str) -> list[Path]:
    """The log files of a job, oldest attempt first; they outlive the job's objects."""
    return sorted((data_dir / "trials" / namespace / job).glob("*/*.log"))
