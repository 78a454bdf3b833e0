"""``kuttab.AsyncClient`` on a real Kubernetes: what it promises of any API server, with real controllers and containers."""

from __future__ import annotations

import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import kuttab
from cluster import cluster as clusters
from cluster import harness
from kuttab.api import kinds
from kuttab.base import errors
from kuttab.client import kube
from kuttab.testing import builders

pytestmark = pytest.mark.slow

SECONDS = 240.0


@pytest.fixture
async def namespace(client: kube.KubeClient) -> AsyncIterator[str]:
    """A namespace of its own, whose pods may be created, and which goes afterwards."""
    name = f"client-{uuid.uuid4().hex[:8]}"
    await client.create(builders.namespace(name))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
    await harness.until(client, kinds.load(account), lambda _: True)
    yield name
    await client.delete(kinds.NAMESPACE, "", name)


@pytest.fixture
def controllers(cluster: clusters.Cluster, namespace: str, tmp_path: Path) -> Iterator[harness.Controllers]:
    """The controllers of the test's namespace."""
    if not cluster.node:
        pytest.skip(f"this cluster runs no containers for us: {cluster.no_node}")
    made = harness.Controllers(cluster.kubeconfig, namespace, tmp_path / "data")
    made.start()
    try:
        yield made
    finally:
        if made.running:
            made.end(signal.SIGTERM)


async def test_changes_without_anybody_acting(cluster: clusters.Cluster, namespace: str) -> None:
    """Create, find, edit, pause, resume, stop and delete are writes that the server keeps, whoever runs experiments."""
    async with kuttab.AsyncClient(kubeconfig=cluster.kubeconfig, namespace=namespace) as client:
        made = await client.create(harness.search("held", namespace, "true", suspend=True))
        assert (await client.get("held")).uid == made.uid
        assert [item.name for item in await client.list()] == ["held"]
        assert (await client.edit("held", max_trials=9)).spec.max_trial_count == 9
        assert not (await client.resume("held")).spec.suspend
        assert (await client.pause("held")).spec.suspend
        assert (await client.wait("held", timeout=30, until=lambda item: bool(item.spec.suspend))).uid == made.uid
        assert (await client.stop("held")).spec.stop
        with pytest.raises(errors.AlreadyExistsError):
            await client.create(harness.search("held", namespace, "true"))
        await client.delete("held")
        with pytest.raises(errors.NotFoundError):
            await client.get("held")


async def test_an_experiment_and_one_that_starts_from_it(
    cluster: clusters.Cluster, client: kube.KubeClient, namespace: str, controllers: harness.Controllers
) -> None:
    """Containers run it to its end; result and logs are read; a second one starts from its results, which it owns."""
    program = "echo loss=${trialParameters.x}"
    async with kuttab.AsyncClient(kubeconfig=cluster.kubeconfig, namespace=namespace) as found:
        first = harness.search("first", namespace, program, maxTrialCount=3)
        document = first.model_dump(mode="json", by_alias=True, exclude_unset=True)
        document["spec"]["trialTemplate"]["retain"] = True
        await found.create(document)
        await found.wait("first", timeout=SECONDS)
        result = await found.result("first")
        assert result.best.value == min(trial.parameters["x"] for trial in result.trials)
        assert f"loss={result.best.trial.texts['x']}" in await found.logs(result.best.trial.name)
        settings = {"algorithmName": "tpe", "algorithmSettings": [{"name": "random_state", "value": "1"}]}
        second = harness.search("second", namespace, program, maxTrialCount=2, parallelTrialCount=2, algorithm=settings)
        made = await found.create(second, warm_start="first")
        assert made.spec.warm_start is not None
        kept = await client.get(kinds.CONFIG_MAP, namespace, made.spec.warm_start.config_map_name)
        assert [owner.uid for owner in kept.metadata.owner_references or ()] == [made.uid]
        ended = await found.wait("second", timeout=SECONDS)
        assert ended.status.trials_succeeded == 2, [item.message for item in ended.status.conditions or ()]
        await found.delete("second")
        with pytest.raises(errors.NotFoundError):
            await found.get("second")
