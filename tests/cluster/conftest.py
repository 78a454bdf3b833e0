"""Fixtures of the tests on a real Kubernetes: one cluster for the whole run, shared by all workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml

from cluster import cluster as clusters
from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.client import kube

CRDS = Path(__file__).parents[2] / "deploy" / "crds"
CRD = kinds.Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)


@pytest.fixture(scope="session")
def cluster(testrun_uid: str) -> Iterator[clusters.Cluster]:
    """The cluster, with our definitions; skips with the reason when there is none."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(clusters.using(testrun_uid))
        except clusters.MissingError as problem:
            pytest.skip(str(problem))
        asyncio.run(_install(found))
        yield found


@pytest.fixture
async def client(cluster: clusters.Cluster) -> AsyncIterator[kube.KubeClient]:
    """A client of the cluster."""
    async with kube.KubeClient.connect(cluster.kubeconfig) as opened:
        yield opened


async def _install(cluster: clusters.Cluster) -> None:
    """Create the definitions of ``deploy/crds`` and wait until they are served."""
    async with kube.KubeClient.connect(cluster.kubeconfig) as client:
        for path in sorted(CRDS.glob("*.yaml")):
            with contextlib.suppress(errors.AlreadyExistsError):
                await client.create(CRD.load(yaml.safe_load(path.read_text())))
        async with asyncio.timeout(30):
            async for event in client.watch(CRD):
                missing = [
                    kind for kind in (kinds.EXPERIMENT, kinds.SUGGESTION, kinds.TRIAL) if not await served(client, kind)
                ]
                if not missing and event.type:
                    return


async def served(client: kube.KubeClient, kind: kinds.Kind) -> bool:
    """Whether the server serves the kind by now."""
    try:
        found = await client.get(CRD, "", f"{kind.plural}.{kind.group}")
    except errors.NotFoundError:
        return False
    return _true(found, "Established") and await client.serves(kind)


def _true(found: meta.Object, type_: str) -> bool:
    return any(
        item["type"] == type_ and item["status"] == "True" for item in found.section("status").get("conditions", ())
    )
