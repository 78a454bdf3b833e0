"""The client contract on a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cluster import cluster as clusters
from kuttab.client import kube
from kuttab.ports import objects as ports
from kuttab.testing import clients

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
