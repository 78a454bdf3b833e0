"""After a kill of the runtime: end what an earlier life left running, then tell its Pods so.

Before anything new is started, every process that carries this node's marker, and every process that an unfinished Pod names and whose
identity still holds, is ended with its group. Such Pods become Failed with reason NodeLost, which costs their job no retry.
Processes of other data folders, and strangers with a reused number, are not touched.
"""

from __future__ import annotations

from kuttab.api import keys, kinds, meta
from kuttab.base import errors, log
from kuttab.node import identity, pod_status, pods, processes
from kuttab.ports import objects as port

_log = log.get(__name__)
_ROUNDS = 20


async def recover(kubelet: pods.Kubelet) -> list[meta.Resource]:
    """End leftovers and settle the status of all Pods; returns the Pods as they are then.

    UnavailableError when a process cannot be ended: then nothing may be started.
    """
    kubelet.open()
    found = [
        pod for pod in (await kubelet.objects.list(kinds.POD)).items if isinstance(pod, meta.Resource) and _ours(pod)
    ]
    unfinished = [pod for pod in found if not pod_status.finished(pod)]
    await end_leftovers(kubelet, unfinished)
    return [await _settle(kubelet.objects, pod) for pod in found]


def _ours(pod: meta.Resource) -> bool:
    return pod_status.FINALIZER in (pod.metadata.finalizers or ()) or bool(
        pod.metadata.annotation(pod_status.ANNOTATION_ATTEMPT)
    )


async def end_leftovers(kubelet: pods.Kubelet, unfinished: list[meta.Resource]) -> None:
    """End processes until none is found any more: one may have started another meanwhile."""
    node = kubelet.processes.node
    for _ in range(_ROUNDS):
        living = dict(identity.marked(node))
        for pod in unfinished:
            for token in pod_status.tokens(pod):
                who = identity.Identity.parse(token)
                if who is not None and identity.alive(who, pod.uid):
                    living[who.pid] = pod.uid
        starts = {
            pid: found.started for pid in living if (found := identity.stat(pid)) is not None and not found.zombie
        }
        if not starts:
            return
        _log.info("ending_leftovers", node=node, processes=sorted(starts))
        await processes.end_strangers(starts, kubelet.settings.grace_seconds)
    raise errors.UnavailableError(f"processes of node {node} keep starting others; end them by hand: {sorted(starts)}")


async def _settle(objects: port.Objects, pod: meta.Resource) -> meta.Resource:
    """Write down that an unfinished Pod is lost, and let it go.

    One whose job says that it was being stopped early is left to its controller, which drains its metrics first.
    """
    if not pod_status.finished(pod) and not pod.deleting and await _stopping(objects, pod):
        return pod
    try:
        if not pod_status.finished(pod):
            status = pod_status.lost(pod, "the program that ran the node ended while the pod was running")
            written = await objects.update_status(meta.evolve(pod, status=status))
            assert isinstance(written, meta.Resource)
            pod = written
        return await pods.release(objects, pod)
    except errors.NotFoundError:
        return pod


async def _stopping(objects: port.Objects, pod: meta.Resource) -> bool:
    owner = pod.metadata.controller
    if owner is None or pod_status.phase(pod) == pod_status.PENDING:
        return False
    try:
        job = await objects.get(kinds.named(owner.api_version, owner.kind), pod.namespace, owner.name)
    except errors.NotFoundError:
        return False
    return job.uid == owner.uid and bool(job.metadata.annotation(keys.ANNOTATION_EARLY_STOPPED))
