"""Clients of others against ``kuttab serve``: lightkube, and gRPC stubs compiled from the facts of Katib's contract alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import lightkube
import pytest
from lightkube import generic_resource
from lightkube.core.exceptions import ApiError
from lightkube.types import PatchType

import rpc_strangers
from wire import served, shell

GOOD = "import sys; print(f'loss={float(sys.argv[1]):.4f}')"

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[served.Server]:
    """A server of its own."""
    with served.running(tmp_path / "data") as running:
        yield running


def test_lightkube_drives_an_experiment(server: served.Server) -> None:
    """Create, watch to the end, list by label, patch, read a Status, delete: with its own kubeconfig reading and generic resources."""
    experiments = generic_resource.create_namespaced_resource("kubeflow.org", "v1beta1", "Experiment", "experiments")
    trials = generic_resource.create_namespaced_resource("kubeflow.org", "v1beta1", "Trial", "trials")
    client = lightkube.Client(
        config=lightkube.KubeConfig.from_file(str(server.kubeconfig)), namespace="default", trust_env=False
    )
    with contextlib.closing(client._client._client):  # lightkube has no close of its own
        drive(client, experiments, trials)


def drive(client: lightkube.Client, experiments: Any, trials: Any) -> None:
    """One experiment from its creation to its deletion."""
    made = client.create(experiments.from_dict(shell.manifest(GOOD, resumePolicy="LongRunning")))
    ended = None
    with contextlib.closing(client.watch(experiments, resource_version=made.metadata.resourceVersion)) as events:
        for _, item in events:
            if any(
                c["type"] == "Succeeded" and c["status"] == "True" for c in (item.status or {}).get("conditions", ())
            ):
                ended = item
                break
    assert ended is not None
    found = list(client.list(trials, labels={"katib.kubeflow.org/experiment": "e"}))
    assert sorted(item.metadata.name for item in found) == sorted(ended.status["succeededTrialList"])
    patched = client.patch(experiments, "e", {"spec": {"maxTrialCount": 3}}, patch_type=PatchType.MERGE)
    assert patched.spec["maxTrialCount"] == 3
    with pytest.raises(ApiError) as refusal:
        client.patch(experiments, "e", {"spec": {"parallelTrialCount": -1}}, patch_type=PatchType.MERGE)
    assert refusal.value.status.code == 422
    client.delete(experiments, "e")


def test_strangers_stubs_report_read_and_delete(server: served.Server, tmp_path: Path) -> None:
    """Rows come back once, in the order of time, with nanoseconds; an unknown trial is NOT_FOUND with a sentence."""
    server.kubectl("create", "-f", "-", text=shell.yaml.safe_dump(shell.manifest(GOOD)))
    server.kubectl("wait", "--for=condition=Succeeded", "experiment/e", "--timeout=60s")
    name = server.kubectl("get", "trials", "-o", "jsonpath={.items[0].metadata.name}")
    pb, stubs = rpc_strangers.compiled(tmp_path)
    with grpc.insecure_channel(server.said["dbManager"]) as channel:
        manager = stubs.DBManagerStub(channel)
        assert (
            len(manager.GetObservationLog(pb.GetObservationLogRequest(trial_name=name)).observation_log.metric_logs)
            == 1
        )
        rows = [
            pb.MetricLog(time_stamp=f"2026-01-01T00:00:0{i}.123456789Z", metric=pb.Metric(name="late", value=str(i)))
            for i in (2, 1)
        ]
        request = pb.ReportObservationLogRequest(trial_name=name, observation_log=pb.ObservationLog(metric_logs=rows))
        with pytest.raises(grpc.RpcError) as refusal:
            manager.ReportObservationLog(
                pb.ReportObservationLogRequest(trial_name="nobody", observation_log=request.observation_log)
            )
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        assert "nobody" in refusal.value.details()
        manager.DeleteObservationLog(pb.DeleteObservationLogRequest(trial_name=name))
        assert not manager.GetObservationLog(pb.GetObservationLogRequest(trial_name=name)).observation_log.metric_logs
