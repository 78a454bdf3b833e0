"""The client contract on a real API server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from cluster import cluster as clusters
from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.client import kube
from kuttab.ports import objects as ports
from kuttab.testing import builders, clients

pytestmark = pytest.mark.slow


class TestRealServer(clients.ClientContract):
    """Kubernetes itself."""

    strict = False
    foreign = False

    @pytest.fixture
    async def client(self, cluster: clusters.Cluster) -> AsyncIterator[ports.Objects]:
        """A client of the cluster."""
        async with kube.KubeClient.connect(cluster.kubeconfig) as opened:
            yield opened


async def test_patches(client: kube.KubeClient) -> None:
    """Beside the port: a merge patch changes what it names, a JSON patch that does not apply is refused, a subresource can be meant."""
    name = f"patched-{uuid.uuid4().hex[:8]}"
    await client.create(builders.experiment(name))
    try:
        await client.patch(
            kinds.EXPERIMENT, "default", name, {"metadata": {"labels": {"a": "1"}}, "status": {"trials": 9}}
        )
        found = await client.patch(kinds.EXPERIMENT, "default", name, {"status": {"trials": 2}}, subresource="status")
        assert found.metadata.labels == {"a": "1"}
        assert meta.dump(found)["status"] == {"trials": 2}
        test = [{"op": "test", "path": "/metadata/labels/a", "value": "2"}]
        with pytest.raises(errors.KuttabError):
            await client.patch(kinds.EXPERIMENT, "default", name, test, media=kube.JSON_PATCH)
    finally:
        await client.delete(kinds.EXPERIMENT, "default", name)


async def test_a_wrong_token(cluster: clusters.Cluster, tmp_path: Path) -> None:
    """A token that the server does not know is Forbidden, with the advice to renew the kubeconfig's credentials."""
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    for user in document["users"]:
        user["user"] = {"token": "nobody"}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    async with kube.KubeClient.connect(path) as other:
        with pytest.raises(errors.ForbiddenError, match="credentials"):
            await other.list(kinds.EXPERIMENT)


async def test_what_is_served(client: kube.KubeClient) -> None:
    """Discovery tells which kinds the server knows, and a kind that it does not know has no objects."""
    assert await client.serves(kinds.JOB)
    assert await client.serves(kinds.TRIAL)
    assert not await client.serves(kinds.PYTORCH_JOB)
    assert not await client.serves(kinds.TRAIN_JOB)
    with pytest.raises(errors.NotFoundError):
        await client.list(kinds.TRAIN_JOB)
