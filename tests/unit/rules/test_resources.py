"""What a workload asks for in all."""

from __future__ import annotations

import pytest

from kuttab.rules import resources


def container(**more):
    """A container with resources."""
    return {"name": "c", "resources": more}


def job(*containers, init=(), **spec):
    """A Job."""
    pod = {"containers": list(containers), "initContainers": list(init)}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}, **spec}}


def replicated(**counts):
    """An MPIJob whose replicas ask for half a core, 1Gi and a GPU each."""
    one = container(requests={"cpu": "500m"}, limits={"memory": "1Gi", "nvidia.com/gpu": 1})
    roles = {role: {"replicas": count, "template": {"spec": {"containers": [one]}}} for role, count in counts.items()}
    return {"kind": "MPIJob", "spec": {"mpiReplicaSpecs": roles}}


@pytest.mark.parametrize(
    ("workload", "amount"),
    [
        (job(container(requests={"cpu": "0.5", "memory": "1Gi"})), (0.5, 2**30, 0)),
        (job(container(limits={"cpu": 2, "memory": "1G"}, requests={"cpu": "250m"})), (0.25, 1e9, 0)),
        (job(container(limits={"cpu": 1}), container(limits={"cpu": 2})), (3, 0, 0)),
        (job(container(limits={"cpu": 1}), init=[container(limits={"cpu": 4}), container(limits={"cpu": 3})]), (4, 0, 0)),
        (job(container(limits={"cpu": 1}), parallelism=3), (3, 0, 0)),
        (job(container(limits={"cpu": 1}), parallelism=3, completions=2), (2, 0, 0)),
        (job(container(limits={"cpu": 1, "nvidia.com/gpu": "2", "amd.com/gpu": 1})), (1, 0, 3)),
        (job({"name": "c"}), (1, 0, 0)),
        (job({"name": "c"}, parallelism=3), (3, 0, 0)),
        (replicated(Launcher=1, Worker=2), (1.5, 3 * 2**30, 3)),
        ({"kind": "TrainJob", "spec": {"trainer": {"numNodes": 3, "resourcesPerNode": {"limits": {"cpu": 2}}}}}, (6, 0, 0)),
        ({"kind": "TrainJob", "spec": {"trainer": {}}}, (1, 0, 0)),
        ({"kind": "FunctionJob", "spec": {}}, (1, 0, 0)),
        ({"kind": "Job", "spec": None}, (1, 0, 0)),
        (job(container(limits={"cpu": "lots"})), (1, 0, 0)),
    ],
)  # fmt: skip
def test_what_all_replicas_ask_for(workload, amount):
    """Requests before limits, containers added, init containers at their largest, times replicas; a core each when nothing is said."""
    assert resources.of(workload) == resources.Amount(*amount)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), (2, 2), (0.5, 0.5), ("500m", 0.5), ("1e3", 1000), ("2Ki", 2048), ("1.5Gi", 1.5 * 2**30), ("3E", 3e18), (".5", 0.5),
     ("", None), ("x", None), ("-1", None), (-1, None), (True, None), (None, None), ("1 Gi", None), (float("nan"), None),
     ("1Gib", None), ("٣", None)],
)  # fmt: skip
def test_quantities(text, number):
    """Kubernetes' spellings; anything else is none."""
    assert resources.quantity(text) == (None if number is None else pytest.approx(number))


def test_what_is_lacking_is_told_with_numbers():
    """Only what does not fit is named, with what is needed and what there is; sums of tenths are no obstacle."""
    need, have = resources.Amount(4, 8 * 2**30, 1), resources.Amount(2.5, 16 * 2**30, 0)
    assert need.lacking(have) == ["4 CPUs of 2.5", "1 GPUs of 0"]
    assert resources.Amount(0.1 + 0.2).lacking(resources.Amount(0.3)) == []
