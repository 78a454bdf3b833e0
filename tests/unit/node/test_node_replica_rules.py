"""Facts about distributed jobs as values: what is refused, who decides, what elastic jobs are told, ports."""

from __future__ import annotations

import socket

import pytest

from kuttab.node import loopback, replica_env, replica_rules, support


def job(kind, body, version="kubeflow.org/v1"):
    """A workload."""
    return {"apiVersion": version, "kind": kind, "spec": body}


def replica(name="pytorch", count=1, **more):
    """Replicas of one role."""
    pod = {"containers": [{"name": name, "image": "i", "command": ["true"]}]}
    return {"replicas": count, "template": {"spec": pod}, **more}


def pytorch(**more):
    """A good PyTorchJob with changes."""
    return job("PyTorchJob", {"pytorchReplicaSpecs": {"Master": replica(), "Worker": replica(count=2)}, **more})


def trainer(**more):
    """A good TrainJob with changes."""
    body = {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"image": "i", "numNodes": 2, "command": ["true"]}}
    return job("TrainJob", {**body, **more}, "trainer.kubeflow.org/v1alpha1")


SPECS = "spec.pytorchReplicaSpecs"


@pytest.mark.parametrize(
    ("workload", "path"),
    [
        (job("PyTorchJob", {}), SPECS),
        (job("PyTorchJob", {"pytorchReplicaSpecs": {"Master": replica("main")}}), f"{SPECS}.Master.template.spec.containers"),
        (job("PyTorchJob", {"pytorchReplicaSpecs": {"Boss": replica()}}), f"{SPECS}.Boss"),
        (job("PyTorchJob", {"pytorchReplicaSpecs": {"Worker": replica(), "worker": replica()}}), f"{SPECS}.worker"),
        (job("PyTorchJob", {"pytorchReplicaSpecs": {"Master": replica(count=2)}}), f"{SPECS}.Master.replicas"),
        (job("PyTorchJob", {"pytorchReplicaSpecs": {"Worker": replica(count="2")}}), f"{SPECS}.Worker.replicas"),
        (job("PyTorchJob", {"pytorchReplicaSpecs": {"Worker": replica(count=-1)}}), f"{SPECS}.Worker.replicas"),
        (job("PyTorchJob", {"pytorchReplicaSpecs": {"Worker": replica(count=200), "Master": replica(count=1)},
                            "runPolicy": {"managedBy": "kueue.x-k8s.io/multikueue"}}), "spec.runPolicy.managedBy"),
        (job("PyTorchJob", {"pytorchReplicaSpecs": {"Worker": replica(restartPolicy="Sometimes")}}), f"{SPECS}.Worker.restartPolicy"),
        (job("PyTorchJob", {"pytorchReplicaSpecs": {"Worker": replica(scale=1)}}), f"{SPECS}.Worker.scale"),
        (pytorch(runPolicy={"backoffLimit": -1}), "spec.runPolicy.backoffLimit"),
        (pytorch(runPolicy={"cleanPodPolicy": "Some"}), "spec.runPolicy.cleanPodPolicy"),
        (pytorch(runPolicy={"retries": 1}), "spec.runPolicy.retries"),
        (pytorch(elasticPolicy={"metrics": [{}]}), "spec.elasticPolicy.metrics"),
        (pytorch(elasticPolicy={"minReplicas": "1"}), "spec.elasticPolicy.minReplicas"),
        (pytorch(backoffLimit=1), "spec.backoffLimit"),
        (job("TFJob", {"tfReplicaSpecs": {"PS": replica("tensorflow")}}), "spec.tfReplicaSpecs"),
        (job("TFJob", {"tfReplicaSpecs": {"Worker": replica("tensorflow")}, "enableDynamicWorker": True}), "spec.enableDynamicWorker"),
        (job("TFJob", {"tfReplicaSpecs": {"Worker": replica("tensorflow")}, "successPolicy": "Most"}), "spec.successPolicy"),
        (job("XGBoostJob", {"xgbReplicaSpecs": {"Worker": replica("xgboost")}}), "spec.xgbReplicaSpecs"),
        (job("MPIJob", {"mpiReplicaSpecs": {"Worker": replica("mpi")}}), "spec.mpiReplicaSpecs"),
        (job("MPIJob", {"mpiReplicaSpecs": {"Launcher": replica("mpi", 0)}}), "spec.mpiReplicaSpecs.Launcher.replicas"),
        (job("MPIJob", {"mpiReplicaSpecs": {"Launcher": replica("mpi"), "Worker": replica("mpi", 300)}}), "spec.mpiReplicaSpecs"),
        (job("MPIJob", {"mpiReplicaSpecs": {"Launcher": replica("mpi")}, "slotsPerWorker": 0}), "spec.slotsPerWorker"),
        (job("MPIJob", {"mpiReplicaSpecs": {}}, "kubeflow.org/v2beta1"), "kind"),
        (job("RayJob", {}, "ray.io/v1"), "kind"),
        (job("PaddleJob", {}), "kind"),
        (trainer(runtimeRef={"name": "deepspeed-distributed"}), "spec.runtimeRef.name"),
        (trainer(runtimeRef=None), "spec.runtimeRef.name"),
        (trainer(trainer={"numNodes": 0}), "spec.trainer.numNodes"),
        (trainer(trainer={"numProcPerNode": 1.5}), "spec.trainer.numProcPerNode"),
        (trainer(trainer=None), "spec.trainer"),
        (trainer(trainer={"resourcesPerNode": {"limits": {"memory": "1 GB"}}}), "spec.trainer.resourcesPerNode.limits.memory"),
        (trainer(initializer={}), "spec.initializer"),
        (trainer(managedBy="kueue.x-k8s.io/multikueue"), "spec.managedBy"),
    ],
)  # fmt: skip
def test_what_a_distributed_job_cannot_have_is_refused_with_its_path(workload, path):
    """Every field that cannot be honoured, is unknown or has a wrong value is reported at its own path."""
    problems = support.unsupported(workload)
    assert path in [problem.path for problem in problems]
    assert all(problem.message for problem in problems)


def test_good_distributed_jobs_pass_and_what_has_no_effect_is_told():
    """Complete jobs pass; what another machine would do is told as without effect."""
    elastic = {"minReplicas": 1, "maxReplicas": 2, "rdzvPort": 29400, "rdzvBackend": "c10d"}
    run = {"cleanPodPolicy": "None", "schedulingPolicy": {"minAvailable": 3}, "backoffLimit": 2}
    good = pytorch(elasticPolicy=elastic, runPolicy=run, nprocPerNode="auto")
    assert support.unsupported(good) == []
    assert [problem.path for problem in support.ignored(good)] == [
        "spec.runPolicy.schedulingPolicy", "spec.runPolicy.cleanPodPolicy", "spec.elasticPolicy.rdzvPort",
    ]  # fmt: skip
    assert support.unsupported(trainer()) == []
    small = trainer(
        trainer={"command": ["true"], "resourcesPerNode": {"limits": {"memory": "1Gi", "nvidia.com/gpu": 1}}}
    )
    assert support.unsupported(small) == []
    assert [problem.path for problem in support.ignored(small)] == [
        "spec.trainer.resourcesPerNode.limits[nvidia.com/gpu]"
    ]
    assert support.unsupported(pytorch(runPolicy={"backoffLimit": "${trialParameters.n}"})) == []


def groups(family, **counts):
    """Groups of a job."""
    return [replica_rules.Group(role, count, "Never", {}) for role, count in counts.items()]


@pytest.mark.parametrize(
    ("family", "counts", "spec", "decide"),
    [
        (replica_rules.TF, {"PS": 1, "Chief": 1, "Worker": 2}, {}, [("Chief", 0)]),
        (replica_rules.TF, {"Worker": 2}, {}, [("Worker", 0)]),
        (replica_rules.TF, {"Worker": 2}, {"successPolicy": "AllWorkers"}, [("Worker", 0), ("Worker", 1)]),
        (replica_rules.PYTORCH, {"Master": 1, "Worker": 2}, {}, [("Master", 0)]),
        (replica_rules.PYTORCH, {"Worker": 2}, {}, [("Worker", 0), ("Worker", 1)]),
        (replica_rules.XGBOOST, {"Master": 1, "Worker": 2}, {}, [("Master", 0)]),
        (replica_rules.MPI, {"Worker": 2, "Launcher": 1}, {}, [("Launcher", 0)]),
    ],
)
def test_who_decides(family, counts, spec, decide):
    """The replicas whose success is the job's, kind by kind."""
    assert replica_rules.deciding(family, spec, groups(family, **counts)) == decide


def test_elastic_workers_are_told_of_their_rendezvous():
    """Without a master there is no rank; torchrun gets end point, backend, the range of nodes and what else was set."""
    policy = {
        "minReplicas": 1, "maxReplicas": 4, "maxRestarts": 3, "nProcPerNode": 2, "rdzvId": "r", "standalone": True,
        "rdzvConf": [{"key": "timeout", "value": "60"}],
    }  # fmt: skip
    found = groups(replica_rules.PYTORCH, Worker=2)
    env = replica_env.of(replica_rules.PYTORCH, {"elasticPolicy": policy}, found, ("Worker", 1), lambda task: 20100)
    assert env == {
        "PET_RDZV_BACKEND": "c10d", "PET_RDZV_ENDPOINT": "127.0.0.1:20100", "PET_NNODES": "1:4", "PET_NPROC_PER_NODE": "2",
        "PET_RDZV_ID": "r", "PET_MAX_RESTARTS": "3", "PET_RDZV_CONF": "timeout=60", "PET_STANDALONE": "",
    }  # fmt: skip


def test_processes_per_node_count_into_the_world():
    """WORLD_SIZE is nodes times processes per node; ``auto`` is left to torchrun."""
    found = groups(replica_rules.PYTORCH, Master=1, Worker=1)
    for each, size in (("4", "8"), ("auto", "2")):
        env = replica_env.of(replica_rules.PYTORCH, {"nprocPerNode": each}, found, ("Worker", 0), lambda task: 1)
        assert (env["WORLD_SIZE"], env["PET_NPROC_PER_NODE"], env["PET_NNODES"]) == (size, each, "2")


def test_restarting_and_running_exclude_each_other_and_an_end_ends_running():
    """Conditions follow the operators' rules, and setting the same again changes nothing."""
    status = replica_rules.with_condition({}, "Created", "True", "r", "m", "1")
    status = replica_rules.with_condition(status, "Running", "True", "r", "m", "2")
    status = replica_rules.with_condition(status, "Restarting", "True", "r", "m", "3")
    assert [item["type"] for item in status["conditions"]] == ["Created", "Restarting"]
    status = replica_rules.with_condition(status, "Running", "True", "r", "m", "4")
    assert replica_rules.with_condition(status, "Running", "True", "r", "m", "5") == status
    status = replica_rules.with_condition(status, "Failed", "True", "r", "m", "6")
    assert [(item["type"], item["status"], item["lastTransitionTime"]) for item in status["conditions"]] == [
        ("Created", "True", "1"), ("Running", "False", "6"), ("Failed", "True", "6"),
    ]  # fmt: skip


def test_ports_are_free_and_not_given_twice_soon():
    """A port in use is passed over, and two calls never give the same."""
    with socket.socket() as taken:
        ports = loopback.Ports(start=100)
        first = ports.take()
        taken.bind(("127.0.0.1", first + 1))
        taken.listen()
        later = [ports.take() for _ in range(20)]
    assert first + 1 not in later
    assert len({first, *later}) == 21
    assert all(loopback.FIRST <= port < loopback.LAST for port in later)
