"""The environment that operators give to the replicas of a distributed job, with loopback in place of pod names.

Every port is a free one of this machine, never the manifest's: trials run side by side. Sources: the training operator's pod
environment of each kind (v1) and the torch policy of the trainer (v2).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kuttab.node import replica_rules
from kuttab.node.replica_rules import Group, Task

HOST = "127.0.0.1"
MPI_FOLDER = "/etc/mpi"
HOSTFILE = f"{MPI_FOLDER}/hostfile"
RSH_AGENT = f"{MPI_FOLDER}/kubexec.sh"
DISCOVER = f"{MPI_FOLDER}/discover_hosts.sh"

PortOf = Callable[[Task], int]
"""A port of a replica, the same at every call."""


def of(
    family: replica_rules.Family, spec: Mapping[str, Any], found: Sequence[Group], task: Task, port: PortOf
) -> dict[str, str]:
    """What one replica gets."""
    if family is replica_rules.TF:
        return tensorflow(found, task, port)
    if family is replica_rules.PYTORCH:
        return pytorch(spec, found, task, port)
    if family is replica_rules.XGBOOST:
        return xgboost(found, task, port)
    return mpi(task)


def tensorflow(found: Sequence[Group], task: Task, port: PortOf) -> dict[str, str]:
    """``TF_CONFIG``; nothing for a job of a single replica, as the operator does. An evaluator is no member of the cluster."""
    if len(replica_rules.tasks(found)) == 1:
        return {}
    cluster = {
        group.role.lower(): [f"{HOST}:{port((group.role, index))}" for index in range(group.count)]
        for group in found
        if group.count and group.role != "Evaluator"
    }
    config = {"cluster": cluster, "task": {"type": task[0].lower(), "index": task[1]}, "environment": "cloud"}
    return {"TF_CONFIG": json.dumps(config, separators=(",", ":"))}


def pytorch(spec: Mapping[str, Any], found: Sequence[Group], task: Task, port: PortOf) -> dict[str, str]:
    """Rank and rendezvous for ``torch.distributed`` and, as ``PET_*``, for torchrun."""
    count = len(replica_rules.tasks(found))
    each = str(spec.get("nprocPerNode") or (spec.get("elasticPolicy") or {}).get("nProcPerNode") or 1)
    env: dict[str, str] = {}
    if any(group.role == "Master" and group.count for group in found):
        rank = task[1] + (task[0] == "Worker")
        where, at = HOST, str(port(("Master", 0)))
        size = count * int(each) if each.isdecimal() else count
        env = {
            "MASTER_ADDR": where, "MASTER_PORT": at, "WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_RANK": "0",
            "PET_MASTER_ADDR": where, "PET_MASTER_PORT": at, "PET_NNODES": str(count), "PET_NODE_RANK": str(rank),
            "PET_NPROC_PER_NODE": each,
        }  # fmt: skip
    elastic = spec.get("elasticPolicy")
    return env | _elastic(elastic, found, port, each) if elastic is not None else env


def _elastic(policy: Mapping[str, Any], found: Sequence[Group], port: PortOf, each: str) -> dict[str, str]:
    workers = sum(group.count for group in found if group.role == "Worker")
    least, most = policy.get("minReplicas"), policy.get("maxReplicas")
    nodes = str(workers) if least is None and most is None else f"{least or workers}:{most or workers}"
    env = {
        "PET_RDZV_BACKEND": policy.get("rdzvBackend") or "c10d",
        "PET_RDZV_ENDPOINT": f"{HOST}:{port(('Worker', 0))}",
        "PET_NNODES": nodes,
        "PET_NPROC_PER_NODE": each,
    }
    if policy.get("rdzvId"):
        env["PET_RDZV_ID"] = policy["rdzvId"]
    if policy.get("maxRestarts") is not None:
        env["PET_MAX_RESTARTS"] = str(policy["maxRestarts"])
    if policy.get("rdzvConf"):
        env["PET_RDZV_CONF"] = ",".join(f"{pair.get('key')}={pair.get('value')}" for pair in policy["rdzvConf"])
    if policy.get("standalone"):
        env["PET_STANDALONE"] = ""
    return env


def xgboost(found: Sequence[Group], task: Task, port: PortOf) -> dict[str, str]:
    """Where the tracker (in the master) listens, and for LightGBM the workers.

    All workers share one port by the operator's contract, so each gets a loopback address of its own.
    """
    count = len(replica_rules.tasks(found))
    env = {
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port(("Master", 0))),
        "WORLD_SIZE": str(count),
        "RANK": str(task[1] + (task[0] == "Worker")),
    }
    if count > 1:
        env["WORKER_PORT"] = str(port(("Worker", 0)))
        env["WORKER_ADDRS"] = ",".join(f"127.0.{index // 250}.{index % 250 + 2}" for index in range(count - 1))
    return env


def mpi(task: Task) -> dict[str, str]:
    """The launcher's; workers get none."""
    if task[0] != "Launcher":
        return {}
    return {
        "OMPI_MCA_orte_default_hostfile": HOSTFILE,
        "OMPI_MCA_plm_rsh_agent": RSH_AGENT,
        "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
    }


def mpi_files(spec: Mapping[str, Any], found: Sequence[Group], task: Task) -> dict[str, str]:
    """The launcher's hostfile and scripts. Every worker is this machine, so its slots are added up."""
    if task[0] != "Launcher":
        return {}
    workers = sum(group.count for group in found if group.role == "Worker")
    slots = max(workers, 1) * (spec.get("slotsPerWorker") or 1)
    return {
        HOSTFILE: f"localhost slots={slots}\n",
        RSH_AGENT: '#!/bin/sh\n# The host is always this one.\nshift\nexec /bin/sh -c "$*"\n',
        DISCOVER: f"#!/bin/sh\necho localhost:{slots}\n",
    }


def torch_policy(nodes: int, each: str, index: int, port: int) -> dict[str, str]:
    """What the trainer's torch policy sets on a node of a TrainJob."""
    return {
        "PET_NNODES": str(nodes), "PET_NPROC_PER_NODE": each, "PET_NODE_RANK": str(index), "PET_MASTER_ADDR": HOST,
        "PET_MASTER_PORT": str(port),
    }  # fmt: skip
