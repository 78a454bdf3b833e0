"""Distributed jobs as trials of the real command: the example, a kill in the middle, a Ctrl-C, a refusal."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from wire.shell import EXAMPLES, Shell, living, manifest, write


def pytorch(marker: str, seconds: float, **spec: Any) -> dict[str, Any]:
    """An experiment of PyTorchJobs whose three processes carry a marker; the master ends after some seconds."""
    document = manifest("", **spec)

    def replica(script: str) -> dict[str, Any]:
        command = ["python3", "-S", "-c", script, "${trialParameters.x}", marker]
        pod = {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "pytorch", "image": "python", "command": command}],
        }
        return {"restartPolicy": "OnFailure", "template": {"spec": pod}}

    master = f"import sys, time; time.sleep({seconds}); print('loss=' + sys.argv[1])"
    worker = {**replica("import time; time.sleep(600)"), "replicas": 2}
    document["spec"]["trialTemplate"]["primaryContainerName"] = "pytorch"
    document["spec"]["trialTemplate"]["trialSpec"] = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "spec": {"pytorchReplicaSpecs": {"Master": replica(master), "Worker": worker}},
    }
    return document


def wait_for(condition: Any) -> None:
    """Wait until something that another process does has happened."""
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


@pytest.mark.slow
def test_the_distributed_example_runs_to_its_end(tmp_path: Path) -> None:
    """Master and workers of each trial find each other on loopback, two trials side by side."""
    shell = Shell(tmp_path / "data")
    done = shell("run", EXAMPLES / "distributed.yaml", "--quota", "slots:cpus=3", "--json")
    assert done.code == 0, done.err
    assert done.json["experiment"]["status"]["trialsSucceeded"] == 6
    best = done.json["experiment"]["status"]["currentOptimalTrial"]["bestTrialName"]
    assert shell("logs", best).out.count("epoch=") == 5


@pytest.mark.slow
def test_kill_9_in_the_middle_of_distributed_trials(tmp_path: Path) -> None:
    """The same command again ends what was left, runs unfinished trials again as whole groups, and keeps the exact budget."""
    marker = f"marker-{tmp_path.name}"
    file = write(tmp_path, pytorch(marker, 0.3, maxTrialCount=4, parallelTrialCount=2))
    shell = Shell(tmp_path / "data")
    process = shell.start("run", file)
    wait_for(lambda: len(living(marker)) >= 6)
    old = set(living(marker))
    process.kill()
    process.communicate()
    assert old & set(living(marker)), "the replicas outlive the runtime that was killed"
    done = shell("run", file, "--json")
    assert done.code == 0, done.err
    assert done.json["experiment"]["status"]["trialsSucceeded"] == 4
    assert len(done.json["trials"]) == 4
    assert living(marker) == []


@pytest.mark.slow
def test_ctrl_c_ends_every_replica(tmp_path: Path) -> None:
    """An interrupted run leaves no process behind."""
    marker = f"marker-{tmp_path.name}"
    file = write(tmp_path, pytorch(marker, 600, maxTrialCount=2, parallelTrialCount=1))
    process = Shell(tmp_path / "data").start("run", file)
    wait_for(lambda: len(living(marker)) >= 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert living(marker) == []


@pytest.mark.slow
def test_a_kind_that_needs_a_cluster_is_refused_with_what_can_be_used(tmp_path: Path) -> None:
    """Exit code 2 before anything is made, with the path, the reason and the kinds that run here."""
    document = manifest("")
    template = document["spec"]["trialTemplate"]
    template |= {"successCondition": "status.ok", "failureCondition": "status.bad"}
    template["trialSpec"] = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "spec": {"entrypoint": "x ${trialParameters.x}"},
    }
    done = Shell(tmp_path / "data")("run", write(tmp_path, document))
    assert done.code == 2
    assert (
        "spec.trialTemplate.trialSpec.kind: RayJob (ray.io/v1) is run by KubeRay, which is not on this machine"
        in done.err
    )
    assert "PyTorchJob" in done.err
