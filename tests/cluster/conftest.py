"""Fixtures of the tests on a real Kubernetes: one cluster for the whole run, shared by all workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from cluster import cluster as clusters
from cluster import harness
from kuttab.client import kube


@pytest.fixture(scope="session")
def cluster(testrun_uid: str) -> Iterator[clusters.Cluster]:
    """The cluster, with our definitions; skips with the reason when there is none."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(clusters.using(testrun_uid))
        except clusters.MissingError as problem:
            pytest.skip(str(problem))
        asyncio.run(harness.install(found.kubeconfig))
        yield found


@pytest.fixture
async def client(cluster: clusters.Cluster) -> AsyncIterator[kube.KubeClient]:
    """A client of the cluster."""
    async with kube.KubeClient.connect(cluster.kubeconfig) as opened:
        yield opened
