"""Experiments on a real Kubernetes: containers of its node, the controllers as a process of ours."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shlex
import shutil
import signal
import subprocess
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cluster import cluster as clusters
from cluster import harness
from kuttab.api import experiment, keys, kinds, meta
from kuttab.base import errors
from kuttab.client import kube
from kuttab.ports import objects as ports
from kuttab.testing import builders, clients_base

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KILLS = 10
TRIALS = 16


@pytest.fixture
async def namespace(client: kube.KubeClient) -> AsyncIterator[str]:
    """A namespace of its own, whose pods may be created, and which goes afterwards."""
    name = f"world-{uuid.uuid4().hex[:8]}"
    await client.create(builders.namespace(name))
    account = kinds.load(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
    )
    await harness.until(client, account, lambda _: True)
    yield name
    await client.delete(kinds.NAMESPACE, "", name)


@pytest.fixture
def controllers(cluster: clusters.Cluster, namespace: str, tmp_path: Path) -> Iterator[harness.Controllers]:
    """The controllers of the test's namespace, not yet started."""
    if not cluster.node:
        pytest.skip(f"this cluster runs no containers for us: {cluster.no_node}")
    made = harness.Controllers(cluster.kubeconfig, namespace, tmp_path / "data")
    try:
        yield made
    finally:
        if made.running:
            made.end(signal.SIGKILL)


async def test_definitions_are_structural(client: kube.KubeClient) -> None:
    """The server accepts our definitions without complaint, and refuses a field of the wrong type by them."""
    for kind in harness.OURS:
        found = await client.get(harness.CRD, "", f"{kind.plural}.{kind.group}")
        states = {item["type"]: item["status"] for item in found.section("status")["conditions"]}
        assert states == {"NamesAccepted": "True", "Established": "True"}
    document = meta.dump(builders.experiment("typo", "default"))
    document["spec"]["maxTrialCount"] = "many"
    with pytest.raises(errors.InvalidError, match="maxTrialCount"):
        await client.create(meta.Resource.model_validate(document))


def test_kubectl_explains(cluster: clusters.Cluster, tmp_path: Path) -> None:
    """``kubectl explain experiment.spec`` tells what each field is for."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed (apt-get install kubernetes-client)")
    command = [
        kubectl,
        "--kubeconfig",
        str(cluster.kubeconfig),
        "--cache-dir",
        str(tmp_path),
        "explain",
        "experiment.spec",
    ]
    for _ in range(30):  # the server publishes its OpenAPI a moment after a definition is established
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        if "maxTrialCount" in done.stdout:
            break
    assert "maxTrialCount" in done.stdout, done.stderr
    assert "How many trials run at the same time" in " ".join(done.stdout.split())


async def test_a_random_search(client: kube.KubeClient, namespace: str, controllers: harness.Controllers) -> None:
    """An experiment of shell programs runs to its end with the exact budget; metrics come from the pods' logs; SIGTERM ends in order.

    A second process over the same data folder is refused. Defaults are filled in, Jobs go, deleting it deletes its trials, and a bad
    experiment fails with the reason.
    """
    controllers.start()
    program = "echo starting; echo loss=0.9$RANDOM; echo loss=${trialParameters.x}"
    subject = await client.create(harness.search("e", namespace, program))
    bad = await client.create(harness.search("bad", namespace, program, algorithm={"algorithmName": "nonsense"}))
    done = await harness.until(client, subject, harness.ended)
    assert isinstance(done, experiment.Experiment)
    assert harness.true(done, keys.SUCCEEDED)
    assert (done.status.trials, done.status.trials_succeeded) == (6, 6)
    assert done.spec.resume_policy == "Never"
    trials = await harness.trials_of(client, done)
    for item in trials:
        assignment = (item.spec.parameter_assignments or [])[0]
        assert harness.measured(item)[2] == assignment.value
    await clients_base.until_gone(client, *(await client.list(kinds.JOB, namespace)).items)
    refused = await harness.until(client, bad, harness.ended)
    assert harness.true(refused, keys.FAILED)
    assert "nonsense" in str(meta.dump(refused)["status"])
    await client.delete(kinds.EXPERIMENT, namespace, "e")
    await clients_base.until_gone(client, done, *trials)
    second = controllers.again()
    assert second.returncode == 2
    assert b"is in use by process" in second.stderr
    assert controllers.end(signal.SIGTERM) == 0
    assert not controllers.complaints


async def test_the_guide(
    cluster: clusters.Cluster, client: kube.KubeClient, namespace: str, controllers: harness.Controllers, tmp_path: Path
) -> None:
    """The commands of docs/guides/kubernetes.md work as written, on an image that this node has."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed (apt-get install kubernetes-client)")
    text = (ROOT / "examples" / "kubernetes" / "experiment.yaml").read_text()
    manifest = tmp_path / "experiment.yaml"
    manifest.write_text(text.replace("docker.io/library/busybox:1.36", harness.IMAGE))
    controllers.start()
    guide = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()
    commands = [line for line in guide.splitlines() if line.startswith("kubectl ")]
    answers = []
    for line in commands:
        if " wait " in line:  # its own patience is not what we test
            subject = await client.get(kinds.EXPERIMENT, namespace, "parabola")
            await harness.until(client, subject, harness.ended)
        words = shlex.split(line, comments=True)
        words = [str(manifest) if word == "examples/kubernetes/experiment.yaml" else word for word in words]
        place = ["--kubeconfig", str(cluster.kubeconfig), "--cache-dir", str(tmp_path / "cache"), "-n", namespace]
        command = [kubectl, *place, *words[1:]]
        done = await asyncio.to_thread(
            subprocess.run, command, check=False, capture_output=True, text=True, timeout=120, cwd=ROOT
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        answers.append(done.stdout)
    assert len(commands) == 5
    assert answers[3].count("Succeeded") == 6
    assert "bestTrialName" in answers[4]


async def test_killed_ten_times(client: kube.KubeClient, namespace: str, controllers: harness.Controllers) -> None:
    """The controllers are killed (-9) ten times on the way: the budget is exact, no trial is lost or run twice, no metric is wrong."""
    wish = harness.search("e", namespace, "sleep 0.3; echo loss=${trialParameters.x}", maxTrialCount=TRIALS)
    subject = await client.create(wish)
    started: dict[str, set[str]] = defaultdict(set)
    active, most, kills = set[str](), 0, 0
    chance = random.Random(5)
    start = (await client.list(kinds.JOB, namespace)).resource_version
    wait = 1

    def note(event: ports.WatchEvent) -> None:
        nonlocal most
        obj = event.object
        started[obj.name].add(obj.uid)
        running = event.type is not ports.EventType.DELETED and not obj.section("status").get("conditions")
        (active.add if running else active.discard)(obj.name)
        most = max(most, len(active))

    async def harass() -> None:
        """Kill at every so many-th change of a Job after the controllers are at work, soon after it."""
        nonlocal kills, wait
        async with clients_base.watching(client, kinds.JOB, namespace, resource_version=start) as stream:
            async for event in stream:
                if event.type is ports.EventType.BOOKMARK:
                    continue
                note(event)
                wait -= 1 if controllers.at_work else 0
                if kills < KILLS and wait <= 0:
                    await asyncio.sleep(chance.random() * 0.2)
                    controllers.end(signal.SIGKILL)
                    kills, wait = kills + 1, chance.randint(1, 4)
                    controllers.start()

    controllers.start()
    watcher = asyncio.ensure_future(harass())
    try:
        done = await harness.until(client, subject, harness.ended)
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
    assert kills == KILLS
    assert isinstance(done, experiment.Experiment)
    assert harness.true(done, keys.SUCCEEDED)
    trials = await harness.trials_of(client, done)
    assert [int(item.metadata.annotation(keys.ANNOTATION_SLOT)) for item in trials] == list(range(TRIALS))
    assert all(harness.true(item, keys.SUCCEEDED) for item in trials)
    assert {name: len(uids) for name, uids in started.items()} == {item.name: 1 for item in trials}
    assert most <= 3
    for item in trials:
        assignment = (item.spec.parameter_assignments or [])[0]
        assert harness.measured(item) == (assignment.value,) * 3


async def test_early_stopping_and_restarts(
    client: kube.KubeClient, namespace: str, controllers: harness.Controllers
) -> None:
    """A rule ends a Job early, by what its pod printed so far; of a container that was started again only the last run counts.

    A trial that prints no objective has no metrics.
    """
    controllers.start()
    rule = {"name": "loss", "value": "0.5", "comparison": "greater", "startStep": 2}
    endless = harness.job("while :; do echo loss=0.7; sleep 0.2; done")
    early = await client.create(harness.lone_trial("early", namespace, endless, earlyStoppingRules=[rule]))
    again = harness.job(
        "[ -e /s/x ] || { touch /s/x; echo loss=9; exit 1; }; echo loss=1",
        restartPolicy="OnFailure",
        volumes=[{"name": "s", "emptyDir": {}}],
        container={"volumeMounts": [{"name": "s", "mountPath": "/s"}]},
    )
    again["spec"]["backoffLimit"] = 3
    restarted = await client.create(harness.lone_trial("again", namespace, again))
    silent = await client.create(harness.lone_trial("silent", namespace, harness.job("echo nothing")))
    assert harness.true(await harness.until(client, silent, harness.ended), keys.METRICS_UNAVAILABLE)
    stopped = await harness.until(client, early, harness.ended)
    assert harness.true(stopped, keys.EARLY_STOPPED)
    assert harness.measured(stopped) == ("0.7", "0.7", "0.7")
    assert harness.measured(await harness.until(client, restarted, harness.ended)) == ("1", "1", "1")
