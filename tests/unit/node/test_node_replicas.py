"""Distributed jobs as real processes: TFJob, PyTorchJob, XGBoostJob, MPIJob, TrainJob."""

from __future__ import annotations

import json
import os
import signal

import pytest

from kuttab.api import kinds, meta
from kuttab.node import identity, owners, pod_status, replica_rules, settings
from kuttab.rules import workload as readings

CONTAINERS = {
    kinds.TF_JOB: "tensorflow",
    kinds.PYTORCH_JOB: "pytorch",
    kinds.XGBOOST_JOB: "xgboost",
    kinds.MPI_JOB: "mpi",
}


def container(kind, script, **more):
    """A container that runs a shell script."""
    return {"name": CONTAINERS[kind], "image": "any", "command": ["sh", "-c", script], **more}


def spec(kind, roles, run_policy=None, **more):
    """A job's spec: role to (count, script) or (count, script, restartPolicy)."""
    replicas = {}
    for role, (count, script, *restart) in roles.items():
        pod = {"containers": [container(kind, script)] if isinstance(script, str) else script}
        replicas[role] = {"replicas": count, "template": {"spec": pod}}
        if restart:
            replicas[role]["restartPolicy"] = restart[0]
    policy = {"runPolicy": run_policy} if run_policy else {}
    return {replica_rules.FAMILIES[kind].field: replicas, **policy, **more}


async def printed(machine, job="t"):
    """Role and index of a job's pods to what they printed."""
    found = {}
    for pod in await machine.pods(job):
        role, index = pod_status.task(pod)
        folder = next(machine.folder.glob(f"node/trials/default/{job}/*-{pod.name.rpartition('-')[2]}"))
        found[f"{role}-{index}"] = "".join(path.read_text() for path in sorted(folder.glob("*.log")))
    return found


def after_workers(machine, script, count=2):
    """Script of a master that goes on when that many workers have printed, and of the workers."""
    folder = machine.folder
    waiting = " && ".join(f"test -e {folder}/seen{rank}" for rank in range(1, count + 1))
    return f"{script}; until {waiting}; do sleep 0.02; done", f"{script}; touch {folder}/seen$RANK; sleep 60"


def conditions(job):
    """Condition type to status."""
    return {item["type"]: item["status"] for item in job.section("status").get("conditions") or ()}


async def test_pytorch_replicas_get_rank_and_rendezvous(machine):
    """The master is rank 0, workers follow, and all are told of one free port on loopback; torchrun's names say the same."""
    names = "MASTER_ADDR MASTER_PORT WORLD_SIZE RANK LOCAL_RANK PET_NNODES PET_NODE_RANK PET_NPROC_PER_NODE"
    master, worker = after_workers(machine, "echo " + " ".join(f"${name}" for name in names.split()))
    await machine.workload(kinds.PYTORCH_JOB, spec(kinds.PYTORCH_JOB, {"Master": (1, master), "Worker": (2, worker)}))
    assert (await machine.done(kind=kinds.PYTORCH_JOB))[:2] == ("Succeeded", "PyTorchJobSucceeded")
    words = {key: text.split() for key, text in (await printed(machine)).items()}
    port = words["Master-0"][1]
    assert 20000 <= int(port) < 32000
    assert words["Master-0"] == ["127.0.0.1", port, "3", "0", "0", "3", "0", "1"]
    assert words["Worker-0"] == ["127.0.0.1", port, "3", "1", "0", "3", "1", "1"]
    assert words["Worker-1"] == ["127.0.0.1", port, "3", "2", "0", "3", "2", "1"]


async def test_master_decides_and_workers_end_with_it(machine):
    """When the master has succeeded, the job has, at once: workers that go on are ended and nothing is left running."""
    await machine.workload(
        kinds.PYTORCH_JOB, spec(kinds.PYTORCH_JOB, {"Master": (1, "true"), "Worker": (2, "sleep 60 & sleep 60")})
    )
    assert (await machine.done(kind=kinds.PYTORCH_JOB))[0] == "Succeeded"
    assert identity.marked(machine.kubelet.processes.node) == {}
    status = (await machine.get(kinds.PYTORCH_JOB, "t")).section("status")
    assert status["replicaStatuses"] == {"Master": {"succeeded": 1}, "Worker": {}}
    assert status["startTime"] <= status["completionTime"]
    assert conditions(await machine.get(kinds.PYTORCH_JOB, "t"))["Running"] == "False"


async def test_tf_config_names_every_replica_with_a_port_of_its_own(machine):
    """TF_CONFIG lists the cluster in lower case with distinct ports; an evaluator sees it but is no member."""
    script = 'echo "$TF_CONFIG"'
    roles = {"Chief": (1, script), "PS": (1, script), "Worker": (2, script), "Evaluator": (1, script)}
    await machine.workload(kinds.TF_JOB, spec(kinds.TF_JOB, roles))
    await machine.done(kind=kinds.TF_JOB)
    found = {key: json.loads(text) for key, text in (await printed(machine)).items() if text}
    cluster = found["Chief-0"]["cluster"]
    assert {role: len(hosts) for role, hosts in cluster.items()} == {"ps": 1, "chief": 1, "worker": 2}
    hosts = [host for some in cluster.values() for host in some]
    assert len(set(hosts)) == 4
    assert all(host.startswith("127.0.0.1:") for host in hosts)
    assert found["Chief-0"]["task"] == {"type": "chief", "index": 0}
    assert all(one["cluster"] == cluster for one in found.values())


async def test_tf_job_of_one_replica_is_local(machine):
    """A single worker gets no TF_CONFIG, as from the operator."""
    await machine.workload(kinds.TF_JOB, spec(kinds.TF_JOB, {"worker": (1, 'echo "config:${TF_CONFIG-none}"')}))
    assert (await machine.done(kind=kinds.TF_JOB))[0] == "Succeeded"
    assert await printed(machine) == {"Worker-0": "config:none\n"}


@pytest.mark.parametrize(("policy", "wanted"), [({}, "Succeeded"), ({"successPolicy": "AllWorkers"}, "Failed")])
async def test_tf_success_policy(machine, policy, wanted):
    """Without a chief worker 0 decides; with AllWorkers every worker must succeed."""
    script = 'case "$TF_CONFIG" in *\'"index":0}\'*) exit 0;; *) sleep 1; exit 1;; esac'
    await machine.workload(kinds.TF_JOB, spec(kinds.TF_JOB, {"Worker": (2, script)}, **policy))
    assert (await machine.done(kind=kinds.TF_JOB))[0] == wanted


async def test_xgboost_environment(machine):
    """The tracker's address, ranks, and for LightGBM one worker port with an address for each worker."""
    names = "MASTER_ADDR MASTER_PORT WORLD_SIZE RANK WORKER_PORT WORKER_ADDRS"
    master, worker = after_workers(machine, "echo " + " ".join(f"${name}" for name in names.split()))
    await machine.workload(kinds.XGBOOST_JOB, spec(kinds.XGBOOST_JOB, {"Master": (1, master), "Worker": (2, worker)}))
    assert (await machine.done(kind=kinds.XGBOOST_JOB))[0] == "Succeeded"
    words = {key: text.split() for key, text in (await printed(machine)).items()}
    _, port, *_, worker_port, addresses = words["Master-0"]
    assert port != worker_port
    assert addresses == "127.0.0.2,127.0.0.3"
    assert [words[key][3] for key in ("Master-0", "Worker-0", "Worker-1")] == ["0", "1", "2"]
    assert {tuple(w[:3] + w[4:]) for w in words.values()} == {("127.0.0.1", port, "3", worker_port, addresses)}


async def test_mpi_launcher_has_its_hostfile_and_workers_wait(machine):
    """The launcher finds hostfile, rsh agent and host discovery; workers without a command only wait, and end with it."""
    script = (
        "cat $OMPI_MCA_orte_default_hostfile; $OMPI_MCA_plm_rsh_agent host echo over there; /etc/mpi/discover_hosts.sh"
    )
    worker = [{"name": "mpi-worker", "image": "any"}]
    body = spec(kinds.MPI_JOB, {"Launcher": (1, script), "Worker": (2, worker)}, slotsPerWorker=2)
    await machine.workload(kinds.MPI_JOB, body)
    assert (await machine.done(kind=kinds.MPI_JOB))[0] == "Succeeded"
    assert (await printed(machine))["Launcher-0"] == "localhost slots=4\nover there\nlocalhost:4\n"
    assert identity.marked(machine.kubelet.processes.node) == {}
    labels = {pod.metadata.label("mpi-job-role"): pod.metadata.labels for pod in await machine.pods()}
    assert labels["launcher"]["training.kubeflow.org/job-role"] == "master"
    assert labels["worker"]["training.kubeflow.org/replica-type"] == "worker"
    assert "training.kubeflow.org/job-role" not in labels["worker"]


async def test_train_job_runs_its_nodes_with_the_torch_policy(machine):
    """A TrainJob is as many processes as nodes, told of by PET_*; it is complete when all are."""
    command = [
        "sh",
        "-c",
        "echo $PET_NNODES $PET_NPROC_PER_NODE $PET_NODE_RANK $PET_MASTER_ADDR $PET_MASTER_PORT $JOB_COMPLETION_INDEX",
    ]
    body = {
        "runtimeRef": {"name": "torch-distributed"},
        "trainer": {"numNodes": 2, "numProcPerNode": 4, "image": "any", "command": command},
    }
    await machine.workload(kinds.TRAIN_JOB, body)
    assert (await machine.done(kind=kinds.TRAIN_JOB))[:2] == ("Complete", "JobsCompleted")
    words = {key: text.split() for key, text in (await printed(machine)).items()}
    port = words["-0"][4]
    assert words == {"-0": ["2", "4", "0", "127.0.0.1", port, "0"], "-1": ["2", "4", "1", "127.0.0.1", port, "1"]}
    [status] = (await machine.get(kinds.TRAIN_JOB, "t")).section("status")["jobsStatus"]
    assert status == {"name": "node", "active": 0, "ready": 0, "failed": 0, "succeeded": 2, "suspended": 0}
    assert {pod.metadata.label("jobset.sigs.k8s.io/replicatedjob-name") for pod in await machine.pods()} == {"node"}


async def test_variables_of_the_operator_can_be_used_in_the_command(machine):
    """$(RANK) in args is what the operator sets, as on a cluster, also over a value of the manifest."""
    one = container(kinds.PYTORCH_JOB, "echo $0", args=["rank=$(RANK)"], env=[{"name": "RANK", "value": "mine"}])
    await machine.workload(kinds.PYTORCH_JOB, spec(kinds.PYTORCH_JOB, {"Master": (1, [one])}))
    assert (await machine.done(kind=kinds.PYTORCH_JOB))[0] == "Succeeded"
    assert await printed(machine) == {"Master-0": "rank=0\n"}


@pytest.mark.parametrize(
    ("restart", "script", "attempts", "end"),
    [
        ("Never", "exit 3", 1, ("Failed", "PyTorchJobFailed")),
        ("OnFailure", "exit 3", 3, ("Failed", "BackoffLimitExceeded")),
        ("ExitCode", "exit 3", 1, ("Failed", "PyTorchJobFailed")),
        ("ExitCode", "exit 130", 3, ("Failed", "BackoffLimitExceeded")),
        ("Always", "exit 3", 3, ("Failed", "BackoffLimitExceeded")),
    ],
)
async def test_replica_that_dies_is_restarted_by_its_policy(machine, restart, script, attempts, end):
    """Never fails the job, OnFailure and Always restart up to backoffLimit, ExitCode restarts only codes of signals."""
    roles = {"Master": (1, "sleep 60"), "Worker": (1, script, restart)}
    await machine.workload(kinds.PYTORCH_JOB, spec(kinds.PYTORCH_JOB, roles, {"backoffLimit": 2}))
    kind, reason, message = await machine.done(kind=kinds.PYTORCH_JOB)
    assert (kind, reason) == end
    assert "exited with code" in message
    workers = [pod for pod in await machine.pods() if pod_status.task(pod)[0] == "Worker"]
    assert len(workers) == attempts
    assert identity.marked(machine.kubelet.processes.node) == {}


async def test_replica_that_was_killed_comes_back_alone(machine):
    """With OnFailure a killed worker is a new pod with the same rank, the master never stops, and the job succeeds."""
    roles = {
        "Master": (1, "while ! test -e $HOME_OF_TEST/go; do sleep 0.05; done"),
        "Worker": (1, "echo rank $RANK; sleep 60"),
    }
    body = spec(kinds.PYTORCH_JOB, roles)
    body["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "HOME_OF_TEST", "value": str(machine.folder)}
    ]
    await machine.workload(kinds.PYTORCH_JOB, body)

    async def worker(number):
        found = [pod for pod in await machine.pods() if pod_status.task(pod)[0] == "Worker"]
        return found[number] if len(found) > number and pod_status.phase(found[number]) == "Running" else None

    first = await machine.until(lambda: worker(0))
    os.kill(identity.Identity.parse(pod_status.tokens(first)[0]).pid, signal.SIGKILL)
    await machine.until(lambda: worker(1))
    (machine.folder / "go").touch()
    assert (await machine.done(kind=kinds.PYTORCH_JOB))[0] == "Succeeded"
    status = (await machine.get(kinds.PYTORCH_JOB, "t")).section("status")
    assert status["replicaStatuses"]["Worker"] == {"failed": 1}
    assert [task for task, _ in map(pod_status.task, await machine.pods())].count("Master") == 1


async def test_workers_that_fail_because_the_master_left_change_nothing(machine):
    """A worker that dies when its master has ended well is no failure of the job."""
    roles = {"Master": (1, "exit 0"), "Worker": (1, "trap 'exit 7' TERM; sleep 60 & wait", "Never")}
    await machine.workload(kinds.PYTORCH_JOB, spec(kinds.PYTORCH_JOB, roles))
    assert (await machine.done(kind=kinds.PYTORCH_JOB))[0] == "Succeeded"


@pytest.mark.parametrize("kind", [kinds.MPI_JOB, kinds.TRAIN_JOB])
async def test_suspended_job_runs_nothing_until_it_is_resumed(machine, kind):
    """Suspended is a condition of its own: no process, no start time; resumed, the whole group starts anew and succeeds."""
    script = f"test -e {machine.folder}/go || sleep 60"
    if kind == kinds.MPI_JOB:
        body = spec(kind, {"Launcher": (1, script), "Worker": (1, "sleep 60")})
        suspended = {**body, "runPolicy": {"suspend": True}}
    else:
        body = {
            "runtimeRef": {"name": "torch-distributed"},
            "trainer": {"numNodes": 2, "command": ["sh", "-c", script]},
        }
        suspended = {**body, "suspend": True}
    await machine.workload(kind, body)
    await machine.running()
    job = await machine.get(kind, "t")
    await machine.objects.update(meta.evolve(job, spec=suspended))

    async def asleep():
        found = await machine.get(kind, "t")
        return found if conditions(found).get("Suspended") == "True" else None

    job = await machine.until(asleep)
    assert identity.marked(machine.kubelet.processes.node) == {}
    assert "startTime" not in job.section("status")
    (machine.folder / "go").touch()
    await machine.objects.update(meta.evolve(job, spec=body))
    assert (await machine.done(kind=kind))[0] in ("Succeeded", "Complete")
    assert conditions(await machine.get(kind, "t"))["Suspended"] == "False"


async def test_deadline_and_deletion_take_every_replica_along(machine):
    """activeDeadlineSeconds fails the job; a deleted job's replicas are ended; neither leaves a process."""
    roles = {"Master": (1, "sleep 60 & sleep 60"), "Worker": (1, "sleep 60")}
    await machine.workload(kinds.PYTORCH_JOB, spec(kinds.PYTORCH_JOB, roles, {"activeDeadlineSeconds": 1}))
    assert (await machine.done(kind=kinds.PYTORCH_JOB))[:2] == ("Failed", "DeadlineExceeded")
    await machine.workload(kinds.XGBOOST_JOB, spec(kinds.XGBOOST_JOB, roles), "other")
    await machine.running("other")
    await machine.objects.delete(kinds.XGBOOST_JOB, "default", "other")

    async def gone():
        return not await machine.pods("other")

    await machine.until(gone)
    assert identity.marked(machine.kubelet.processes.node) == {}


async def test_group_starts_anew_after_a_kill_of_the_runtime(machines):
    """Replicas of a killed runtime are ended by the next one, which starts the whole group again: no orphan, no half group."""
    life = await machines().open()
    script = f"echo $RANK $MASTER_PORT; test -e {life.folder}/go || sleep 60"
    roles = {"Master": (1, script), "Worker": (1, "exit 0")}
    await life.workload(kinds.PYTORCH_JOB, spec(kinds.PYTORCH_JOB, roles))

    async def half():
        states = {pod_status.task(pod)[0]: pod_status.phase(pod) for pod in await life.pods()}
        return states == {"Master": "Running", "Worker": "Succeeded"}

    await life.until(half)
    old = list(identity.marked(life.kubelet.processes.node))
    await life.crash()
    (life.folder / "go").touch()
    life = await machines().open()
    try:
        assert (await life.done(kind=kinds.PYTORCH_JOB))[0] == "Succeeded"
        assert all(found is None or found.zombie for found in map(identity.stat, old))
        tasks = [pod_status.task(pod)[0] for pod in await life.pods()]
        assert sorted(tasks) == ["Master", "Master", "Worker", "Worker"]
    finally:
        await life.close()


async def test_only_the_primary_replica_is_measured(machine):
    """Rows come from the pod with the primary labels, here the launcher, whatever the workers print."""
    subject = await machine.trial(primaryPodLabels={"mpi-job-role": "launcher"}, primaryContainerName="mpi")
    body = spec(kinds.MPI_JOB, {"Launcher": (1, "sleep 0.3; echo loss=0.25"), "Worker": (2, "echo loss=99; sleep 60")})
    await machine.workload(kinds.MPI_JOB, body, owner=subject)
    assert (await machine.done(kind=kinds.MPI_JOB))[0] == "Succeeded"
    summary = await machine.observations.summarize(owners.trial_key(subject))
    assert summary.complete
    assert {name: values.latest for name, values in summary.metrics.items()} == {"loss": "0.25"}


async def test_replicas_write_their_files_below_their_own_folders(machine):
    """A replica that is not measured is kept from the machine's own folders too, and only the measured one's log is the trial's."""
    source = {"fileSystemPath": {"path": "/logs-of-this-test/out/loss.log", "kind": "File", "format": "TEXT"}}
    subject = await machine.trial(
        primaryPodLabels={"training.kubeflow.org/replica-type": "worker"},
        primaryContainerName="tensorflow",
        metricsCollector={"collector": {"kind": "File"}, "source": source},
    )
    script = "mkdir -p /logs-of-this-test/out; echo $TF_CONFIG; echo loss=0.5 > /logs-of-this-test/out/loss.log; "
    waiting = f"touch {machine.folder}/seen-$HOSTNAME; until test $(ls {machine.folder} | grep -c seen-) = 2; do sleep 0.02; done"
    await machine.workload(kinds.TF_JOB, spec(kinds.TF_JOB, {"Worker": (2, script + waiting)}), owner=subject)
    assert (await machine.done(kind=kinds.TF_JOB))[0] == "Succeeded"
    assert not (machine.folder.parents[-1] / "logs-of-this-test").exists()
    assert len(list(machine.folder.glob("node/trials/default/t/*/logs-of-this-test/out/loss.log"))) == 2
    summary = await machine.observations.summarize(owners.trial_key(subject))
    assert {name: values.latest for name, values in summary.metrics.items()} == {"loss": "0.5"}
    log = settings.main_log(machine.settings.data_dir / "trials", "t")
    assert json.loads(log.read_text())["task"] == {"type": "worker", "index": 0}


async def test_trial_whose_primary_labels_fit_no_replica_fails_with_them(machine):
    """No pod to measure is told at once, with the labels."""
    subject = await machine.trial(primaryPodLabels={"role": "none"}, primaryContainerName="pytorch")
    await machine.workload(kinds.PYTORCH_JOB, spec(kinds.PYTORCH_JOB, {"Master": (1, "true")}), owner=subject)
    kind, reason, message = await machine.done(kind=kinds.PYTORCH_JOB)
    assert (kind, reason) == ("Failed", "NoPrimaryPod")
    assert "role=none" in message


@pytest.mark.parametrize("kind", list(replica_rules.FAMILIES))
async def test_conditions_fit_katibs_expressions(machine, kind):
    """The default success and failure expressions of Katib read the statuses that are written here."""
    family = replica_rules.FAMILIES[kind]
    subject = await machine.trial(primaryContainerName=CONTAINERS[kind])
    role = family.needed[0]
    for name, script, outcome in (
        ("good", "true", readings.Outcome.SUCCEEDED),
        ("bad", "false", readings.Outcome.FAILED),
    ):
        await machine.workload(kind, spec(kind, {role: (1, script, "Never")}), name)
        await machine.done(name, kind=kind)
        assert readings.read(subject, meta.dump(await machine.get(kind, name))).outcome is outcome


async def test_job_expires_after_its_end(machine):
    """ttlSecondsAfterFinished deletes a finished job of these kinds as well."""
    body = spec(kinds.XGBOOST_JOB, {"Master": (1, "true")}, {"ttlSecondsAfterFinished": 0})
    await machine.workload(kinds.XGBOOST_JOB, body)

    async def gone():
        return await machine.get(kinds.XGBOOST_JOB, "t") is None

    await machine.until(gone)


async def test_early_stopping_ends_the_whole_group(machine):
    """When the rules are met by the measured replica, every replica is ended, the job has succeeded and says why."""
    rule = [{"name": "loss", "value": "0.5", "comparison": "greater", "startStep": 2}]
    subject = await machine.trial(primaryContainerName="pytorch", earlyStoppingRules=rule)
    roles = {
        "Master": (1, "sleep 60 & echo loss=0.9; echo loss=0.8; echo loss=0.7; sleep 60"),
        "Worker": (2, "sleep 60"),
    }
    await machine.workload(kinds.PYTORCH_JOB, spec(kinds.PYTORCH_JOB, roles), owner=subject)
    assert (await machine.done(kind=kinds.PYTORCH_JOB))[0] == "Succeeded"
    job = await machine.get(kinds.PYTORCH_JOB, "t")
    assert job.metadata.annotation("kuttab.org/early-stopped") == "loss"
    assert {pod.section("status")["reason"] for pod in await machine.pods()} == {"EarlyStopped"}
    assert identity.marked(machine.kubelet.processes.node) == {}
    assert (await machine.observations.summarize(owners.trial_key(subject))).metrics["loss"].count == 3
