"""A node over a real store, with a real control loop and real collectors."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kuttab.api import kinds
from kuttab.api import trial as trials
from kuttab.base import clock, errors
from kuttab.client import embedded
from kuttab.node import meters, pods, recovery, replica_rules, settings
from kuttab.observations import memory
from kuttab.runtime import informer
from kuttab.store import lifecycle
from kuttab.store import objects as stores
from kuttab.wiring import workloads

KINDS = (kinds.JOB, kinds.TRAIN_JOB, *replica_rules.FAMILIES)


class Events:
    """Keeps what is told."""

    def __init__(self):
        self.seen: list[tuple[str, str, str]] = []

    def record(self, about, reason, message, *, warning=False):
        """Keep it."""
        self.seen.append((about.name, reason, message))


class Machine:
    """One life of a node: store, kubelet, job controller, loop."""

    def __init__(self, folder: Path, observations=None, **changes):
        self.folder = folder
        self.settings = settings.NodeSettings(
            **{
                "data_dir": folder / "node",
                "grace_seconds": 1.0,
                "backoff_seconds": 0.02,
                "poll_seconds": 0.05,
                **changes,
            }
        )
        self.observations = observations or memory.MemoryObservations()
        self.events = Events()

    async def open(self):
        """Begin this life: recovery first."""
        self.clock = clock.SystemClock()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = await stores.Store(self.folder / "objects.db", clock=self.clock).open()
        self.objects = embedded.EmbeddedClient(self.store, trusted=True)
        self.store.observers.append(self._stored)
        opener = meters.opener(self.observations, self.settings.data_dir)
        self.kubelet = pods.Kubelet(self.objects, self.clock, self.settings, opener)
        informers = {kind: informer.Informer(self.objects, kind) for kind in KINDS}
        self.workloads = workloads.Workloads(self.kubelet, self.observations, self.events, self.clock, informers)
        self.workloads.remember(await recovery.recover(self.kubelet))
        pods_seen = informer.Informer(self.objects, kinds.POD)
        pods_seen.listen(self._pod_changed)
        running = (*informers.values(), pods_seen, *self.workloads.controllers, self.kubelet)
        self._tasks = [asyncio.create_task(part.run()) for part in running]
        return self

    def _stored(self, entry):
        """What the node writes is taken as it is: it must be just what its JSON text says."""
        assert lifecycle.decode(kinds.of(entry.object), entry.body) == entry.object

    def _pod_changed(self, old, new):
        owner = (new or old).metadata.controller
        if owner is not None and (new is None or new.deleting):
            for controller in self.workloads.controllers:
                if controller.name == owner.kind.lower():
                    controller.enqueue((new or old).namespace, owner.name)

    async def stop_loops(self):
        """Cut the loops."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self):
        """End this life cleanly."""
        await self.stop_loops()
        await self.kubelet.close()
        await self.store.close()

    async def crash(self):
        """End this life as a kill would: nothing more is done or written, processes live on."""
        await self.stop_loops()
        self.kubelet.processes.close()
        for child in self.kubelet.processes._children.values():
            if child.exit is None:
                child.popen.returncode = 0  # The processes live on; only this object must not complain.
        await self.store.settle()
        self.store.abandon()

    # What tests do.

    async def trial(self, name="t", **spec):
        """A Trial; spec fields by their JSON names."""
        spec = {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "primaryContainerName": "main",
            **spec,
        }
        labels = spec.pop("metadataLabels", {})
        made = trials.Trial.load(
            {
                "apiVersion": "kubeflow.org/v1beta1",
                "kind": "Trial",
                "metadata": {"name": name, "namespace": "default", "labels": labels},
                "spec": spec,
            }
        )
        return await self.objects.create(made)

    async def job(self, script="", name="t", owner=None, python=True, container=None, pod=None, template=None, **spec):
        """A Job whose container runs a script of Python or shell."""
        command = ["python", "-S", "-c", script] if python else ["sh", "-c", script]
        one = {"name": "main", "image": "any", "command": command, **(container or {})}
        body = {
            "template": {"spec": {"containers": [one], "restartPolicy": "Never", **(pod or {})}, **(template or {})},
            **spec,
        }
        return await self.workload(kinds.JOB, body, name, owner)

    async def workload(self, kind, spec, name="t", owner=None):
        """A job of any kind."""
        references = []
        if owner is not None:
            reference = {"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid}
            references = [{**reference, "controller": True, "blockOwnerDeletion": True}]
        metadata = {"name": name, "namespace": "default", "ownerReferences": references}
        document = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}
        return await self.objects.create(kinds.load(document))

    async def get(self, kind, name):
        """An object as it is now, or None."""
        try:
            return await self.objects.get(kind, "default", name)
        except errors.NotFoundError:
            return None

    async def pods(self, job="t"):
        """Pods of a job in order of their attempts."""
        found = (await self.objects.list(kinds.POD, "default", labels=f"job-name={job}")).items
        return sorted(found, key=lambda pod: int(pod.metadata.annotation("kuttab.org/attempt")))

    async def until(self, predicate, seconds=20.0):
        """Wait until an async predicate gives something true, and return that."""
        for _ in range(int(seconds * 100)):
            found = await predicate()
            if found:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"it did not happen in time; events: {self.events.seen}")

    async def done(self, name="t", kind=kinds.JOB):
        """The job once it is finished: (condition type, reason, message)."""

        async def look():
            found = await self.get(kind, name)
            for item in (found.section("status").get("conditions") or ()) if found is not None else ():
                if item["type"] in ("Complete", "Failed", "Succeeded") and item["status"] == "True":
                    return item["type"], item.get("reason", ""), item.get("message", "")
            return None

        return await self.until(look)

    async def running(self, name="t"):
        """The newest pod once it runs."""

        async def look():
            return next(
                (p for p in reversed(await self.pods(name)) if p.section("status").get("phase") == "Running"), None
            )

        return await self.until(look)

    def logs(self, job="t"):
        """Texts of a job's logs, oldest first."""
        return [path.read_text(errors="replace") for path in settings.logs(self.settings.data_dir, "default", job)]

    async def printed(self, text, job="t"):
        """Wait until the newest log holds a text; returns it."""

        async def look():
            texts = self.logs(job)
            return texts[-1] if texts and text in texts[-1] else None

        return await self.until(look)


@pytest.fixture
async def machine(tmp_path):
    """A node with a store of its own."""
    made = await Machine(tmp_path).open()
    yield made
    await made.close()


@pytest.fixture
def machines(tmp_path):
    """Make nodes: call it with settings; all over the same folder."""
    return lambda **changes: Machine(tmp_path, **changes)
