"""The contract of an object client, as tests that any implementation can run.

Subclass :class:`ClientContract` in a pytest module (with pytest-asyncio in auto mode) and give it ``client``, an asynchronous fixture that
yields an open client. Every test works in a namespace of its own, so a shared server is fine. ``strict = False`` leaves out what only our
own store promises; ``collects = False`` what needs a garbage collector; ``foreign = False`` kinds that a server does not know. The
promises are Kubernetes' own as of 1.20.
"""

from __future__ import annotations

from kuttab.testing.clients_deletion import DeletionContract
from kuttab.testing.clients_reads import ReadContract, WatchContract
from kuttab.testing.clients_writes import WriteContract


class ClientContract(WriteContract, ReadContract, WatchContract, DeletionContract):
    """Every promise of :class:`kuttab.ports.objects.Objects`."""
