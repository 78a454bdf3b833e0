"""What trials ask of a Kubernetes API server: ``python benchmarks/cluster_requests.py [--trials 1000] [--parallel 20] [--real]``.

Starts a real control plane of the programs that the cluster tests use, runs one random search, and prints the requests of the
controllers per trial, by verb and kind. Without ``--real`` the node is played (see ``played_node.py``): Jobs, Pods and their logs are
real objects and requests, but no container runs. With ``--real`` busybox runs in containers of a kubelet.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
sys.path.insert(0, str(Path(__file__).parent))

from played_node import NAME, PlayedNode  # noqa: E402

from cluster import cluster as clusters  # noqa: E402
from cluster import harness  # noqa: E402
from kuttab.api import keys, kinds, meta  # noqa: E402
from kuttab.client import kube  # noqa: E402
from kuttab.wiring import cluster as worlds  # noqa: E402
from kuttab.wiring import settings as settings_  # noqa: E402

TEMPLATE = {"primaryContainerName": "main", "trialParameters": [{"name": "x", "reference": "x"}]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--parallel", type=int, default=20)
    parser.add_argument("--real", action="store_true")
    args = parser.parse_args()
    try:
        with clusters.using(f"bench-{os.getpid()}", node=args.real) as cluster, tempfile.TemporaryDirectory() as data:
            asyncio.run(run(cluster, Path(data), args))
    except clusters.MissingError as problem:
        sys.exit(f"skipped: {problem}")


async def run(cluster: clusters.Cluster, data: Path, args: argparse.Namespace) -> None:
    async with kube.KubeClient.connect(cluster.kubeconfig) as other:
        await harness.install(cluster.kubeconfig)
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": "default"},
        }
        await harness.until(other, kinds.load(account), lambda _: True)
        if args.real:
            await measure(cluster, data, other, args)
            return
        folder = cluster.kubeconfig.parent
        async with PlayedNode(other, 0.5, (folder / "client.crt", folder / "client.key")).running():
            await measure(cluster, data, other, args)


async def measure(cluster: clusters.Cluster, data: Path, other: kube.KubeClient, args: argparse.Namespace) -> None:
    job = harness.job("echo loss=${trialParameters.x}")
    if not args.real:
        job["spec"]["template"]["spec"]["nodeName"] = NAME
    template = {**TEMPLATE, "trialSpec": job}
    budget = {"maxTrialCount": args.trials, "parallelTrialCount": args.parallel}
    wish = harness.search("bench", "default", "", trialTemplate=template, **budget)
    machine = settings_.Settings(data=data)
    async with worlds.opened(worlds.Settings(machine, cluster.kubeconfig)) as world:
        task = asyncio.ensure_future(world.manager.run())
        await world.manager.started.wait()
        before, begun, cpu = world.objects.wire.requests.copy(), time.monotonic(), time.process_time()
        subject = await other.create(wish)
        done = await harness.until(other, subject, harness.ended, patience=3600)
        seconds, spent = time.monotonic() - begun, time.process_time() - cpu
        counts = world.objects.wire.requests - before
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if not harness.true(done, keys.SUCCEEDED):
        sys.exit(f"the experiment did not succeed: {meta.dump(done)['status']}")
    report(args, counts, seconds, spent)


def report(args: argparse.Namespace, counts: dict[str, int], seconds: float, cpu: float) -> None:
    node = (
        "real containers" if args.real else "a played node: pods' status and logs are made up, everything else is real"
    )
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs; {node}")
    print(f"{args.trials} trials, {args.parallel} at a time: {seconds:.1f} s, {args.trials / seconds:.1f} trials/s")
    print(
        f"this process (controllers{'' if args.real else ' and played node'}): {1000 * cpu / args.trials:.1f} ms CPU per trial"
    )
    total = sum(counts.values())
    print(f"requests of the controllers: {total}, per trial {total / args.trials:.2f}")
    for label, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"  {count / args.trials:7.3f}  {label}")


if __name__ == "__main__":
    main()
