"""Metrics out of pods that run elsewhere, in virtual time: logs that break, pods that go, retries, controllers that start anew."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flow.world import inline
from kuttab.api import conditions, keys, kinds, meta, trial
from kuttab.base import errors
from kuttab.client import embedded
from kuttab.controllers import measuring
from kuttab.controllers import trial as trial_controller
from kuttab.observations import memory
from kuttab.rules import trial_state
from kuttab.runtime import informer, manager
from kuttab.store import objects
from kuttab.testing import builders, virtual
from kuttab.wiring import cluster, plane, settings, suggesting

STAMP = "2026-01-01T00:00:{:02}.5Z {}\n"


@dataclass
class Container:
    """What a pod's container has written, and whether it has ended."""

    lines: list[str] = field(default_factory=list)
    ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, *texts: str) -> None:
        """Print lines."""
        self.lines += texts
        self.news.set()

    def text(self) -> bytes:
        """The log with times."""
        return "".join(STAMP.format(number, line) for number, line in enumerate(self.lines)).encode()


@dataclass
class Kubelet:
    """Hands out logs; ``faults`` are taken one a request: an error, or how many bytes come before the end (no error) or a break."""

    containers: dict[str, Container] = field(default_factory=dict)
    faults: list[Exception | int] = field(default_factory=list)
    requests: int = 0

    async def follow_log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool = True,
        times: bool = False,
        tail: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """See ports.pod_logs."""
        assert times
        self.requests += 1
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        found = self.containers.get(pod)
        if found is None:
            raise errors.NotFoundError(f"no pod {pod}")
        if isinstance(fault, int):
            yield found.text()[: abs(fault)]
            if fault < 0:
                raise errors.UnavailableError("broken")
            return
        if tail is not None:
            yield found.text().splitlines(keepends=True)[-1] if found.lines else b""
            return
        sent = 0
        while True:
            found.news.clear()
            yield found.text()[sent:]
            sent = len(found.text())
            if found.ended or not follow:
                return
            await found.news.wait()


@dataclass
class World:
    """A store, a kubelet, and controllers that can be ended and started."""

    client: embedded.EmbeddedClient
    kubelet: Kubelet = field(default_factory=Kubelet)
    rows: memory.MemoryObservations = field(default_factory=memory.MemoryObservations)

    @contextlib.asynccontextmanager
    async def controllers(self) -> AsyncIterator[None]:
        """With the control plane at work."""
        patience = trial_controller.Patience(grace=float("inf"), poll=30.0)
        parts = plane.Parts(
            self.client, self.rows, suggesting.InProcess(self.rows), plane.NoQuota(), virtual.VirtualClock(),
            [kinds.JOB], patience=patience,
        )  # fmt: skip
        planes = plane.ControlPlane(parts)
        pods = informer.Informer(self.client, kinds.POD, labels=keys.LABEL_TRIAL)
        measure = cluster.Measure(self.client, self.kubelet, self.rows, planes, pods)
        machine = manager.Manager(
            [*planes.informers.values(), pods],
            [*planes.controllers, measure.controller],
            [planes.events.run, measure.logic.run],
        )
        task = asyncio.ensure_future(machine.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def submit(self, **spec: Any) -> None:
        """Create the trial and wait for its Job."""
        await self.client.create(builders.trial("t", **spec))
        await self.until(lambda found: conditions.is_true(found.status.conditions, keys.RUNNING))

    async def pod(self, name: str, *lines: str, index: str = "") -> Container:
        """A pod of the trial that runs."""
        made = self.kubelet.containers[name] = Container(list(lines))
        labels = {keys.LABEL_TRIAL: "t", **({measuring.INDEX: index} if index else {})}
        document = {"spec": {"containers": [{"name": "training-container"}]}}
        metadata = builders.metadata(name, labels=labels)
        pod = meta.Resource.model_validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": meta.dump(metadata), **document}
        )
        await self.client.create(pod)
        await self.state(name, {"running": {}}, "Running")
        return made

    async def state(self, name: str, state: meta.Json, phase: str, restarts: int = 0) -> None:
        """Write a pod's status."""
        found = await self.client.get(kinds.POD, "default", name)
        container = {"name": "training-container", "state": state, "restartCount": restarts}
        await self.client.update_status(meta.evolve(found, status={"phase": phase, "containerStatuses": [container]}))

    async def end(self, name: str, code: int = 0) -> None:
        """A container ends."""
        self.kubelet.containers[name].ended = True
        self.kubelet.containers[name].news.set()
        await self.state(name, {"terminated": {"exitCode": code}}, "Failed" if code else "Succeeded")

    async def job(self, type_: str) -> None:
        """The Job ends."""
        found = await self.client.get(kinds.JOB, "default", "t")
        await self.client.update_status(meta.evolve(found, status={"conditions": [{"type": type_, "status": "True"}]}))

    async def until(self, true: Callable[[trial.Trial], bool], seconds: float = 600) -> trial.Trial:
        """The trial once it is so."""
        async with asyncio.timeout(seconds):
            while True:
                found = await self.client.get(kinds.TRIAL, "default", "t")
                assert isinstance(found, trial.Trial)
                if true(found):
                    return found
                await asyncio.sleep(0.1)

    async def verdict(self) -> tuple[str, str]:
        """The trial's end: its state and "min max latest" of loss."""
        found = await self.until(trial_state.finished)
        seen = found.status.observation
        values = " ".join(f"{item.min} {item.max} {item.latest}" for item in (seen.metrics or () if seen else ()))
        return str(trial_state.state(found.status.conditions)), values

    async def events(self) -> set[str]:
        """Reasons of the events so far."""
        await asyncio.sleep(1)
        return {str((item.model_extra or {})["reason"]) for item in (await self.client.list(kinds.EVENT)).items}


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[World]:
    """A fresh world."""
    options = objects.Options(commits="settle")
    async with objects.Store(None, clock=virtual.VirtualClock(), options=options) as store:
        yield World(embedded.EmbeddedClient(store))


@virtual.virtual
async def test_a_pods_output_is_the_trials_metrics() -> None:
    """What the pod printed is observed, in two requests; the trial waits for it even when the Job is known to be over first."""
    async with opened() as world, world.controllers():
        await world.submit()
        pod = await world.pod("p", "loss=3")
        await world.job("Complete")
        await asyncio.sleep(300)
        assert not trial_state.finished(await world.until(lambda _: True))
        pod.write("loss=1", "loss=2")
        await world.end("p")
        assert await world.verdict() == ("Succeeded", "1 3 2")
        assert world.kubelet.requests == 2


@virtual.virtual
async def test_logs_that_break() -> None:
    """Breaks, refusals and ends that come too early change nothing: the log is read again until it is whole."""
    faults: list[Exception | int] = [
        errors.BadInputError("container has not started"), -40, errors.UnavailableError("away"), 70, -5, errors.ForbiddenError("no"),
    ]  # fmt: skip
    async with opened() as world, world.controllers():
        world.kubelet.faults = faults
        await world.submit()
        pod = await world.pod("p", "loss=3", "loss=1")
        await asyncio.sleep(200)
        assert not faults
        pod.write("loss=2")
        await world.end("p")
        await world.job("Complete")
        assert await world.verdict() == ("Succeeded", "1 3 2")


@virtual.virtual
async def test_an_end_that_was_none() -> None:
    """A log whose stream ended properly just before the container did is compared with its last line, and read again."""
    async with opened() as world, world.controllers():
        await world.submit()
        pod = await world.pod("p", "loss=3")
        await asyncio.sleep(10)
        pod.ended = True
        pod.news.set()
        await asyncio.sleep(1)
        pod.write("loss=1")
        await world.end("p")
        await world.job("Complete")
        assert await world.verdict() == ("Succeeded", "1 3 1")


@virtual.virtual
async def test_only_the_attempt_that_succeeded_counts() -> None:
    """The rows of a pod that failed before do not, even when the Job's end is seen before the last pod."""
    async with opened() as world, world.controllers():
        await world.submit()
        await world.pod("first", "loss=0")
        await world.end("first", 1)
        await asyncio.sleep(60)
        await world.job("Complete")
        await world.pod("second", "loss=5")
        await world.end("second")
        assert await world.verdict() == ("Succeeded", "5 5 5")


@virtual.virtual
async def test_the_lowest_index_counts() -> None:
    """Of an indexed Job whose pods all succeed, the one with the lowest index is measured, whichever came last."""
    async with opened() as world, world.controllers():
        await world.submit()
        for index in ("1", "0", "2"):
            await world.pod(f"p{index}", f"loss={index}", index=index)
        await asyncio.sleep(10)
        for index in ("0", "2", "1"):
            await world.end(f"p{index}")
        await world.job("Complete")
        assert await world.verdict() == ("Succeeded", "0 0 0")


@virtual.virtual
async def test_workloads_that_nobody_watches() -> None:
    """A trial that somebody made by hand of a kind that is not watched ends without metrics instead of never, and people are told."""
    run = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "default"}}
    async with opened() as world, world.controllers():
        await world.submit(runSpec=run)
        thing = await world.client.get(kinds.named("example.com/v1", "Thing"), "default", "t")
        status = {"conditions": [{"type": "Complete", "status": "True"}]}
        await world.client.update_status(meta.evolve(thing, status=status))
        assert (await world.verdict())[0] == "MetricsUnavailable"
        assert "OutputRefused" in await world.events()


@virtual.virtual
async def test_pods_that_go() -> None:
    """Of a pod that was deleted under its reader, what came counts; when nothing could be read, people are told why."""
    async with opened() as world, world.controllers():
        await world.submit()
        pod = await world.pod("p", "loss=3")
        await asyncio.sleep(10)
        pod.write("loss=1")
        await asyncio.sleep(10)
        del world.kubelet.containers["p"]
        pod.ended = True
        pod.news.set()
        await world.client.delete(kinds.POD, "default", "p")
        await world.job("Complete")
        assert await world.verdict() == ("Succeeded", "1 3 1")
    async with opened() as world, world.controllers():
        await world.submit()
        await world.job("Complete")
        assert (await world.verdict())[0] == "MetricsUnavailable"
        assert "OutputLost" in await world.events()


@virtual.virtual
async def test_controllers_that_start_anew() -> None:
    """Ended at any moment, controllers that start again read the log again and store nothing twice."""
    for moment in range(4):
        async with opened() as world:
            async with world.controllers():
                await world.submit()
                pod = await world.pod("p", "loss=3", "loss=1")
                await asyncio.sleep(10 if moment else 0)
                if moment > 1:
                    pod.write("loss=2")
                    await world.end("p")
                if moment > 2:
                    await world.job("Complete")
            async with world.controllers():
                if moment <= 1:
                    pod.write("loss=2")
                    await world.end("p")
                if moment <= 2:
                    await world.job("Complete")
                assert await world.verdict() == ("Succeeded", "1 3 2")
            subject = await world.until(lambda _: True)
            key = plane.observation_port.TrialKey(subject.uid, "t", "default")
            assert [row.value for row in await world.rows.read(key)] == ["3", "1", "2"]


@virtual.virtual
async def test_a_rule_ends_the_job() -> None:
    """When a rule is met the Job is marked and given a deadline that has passed; what was printed so far is observed."""
    rule = {"name": "loss", "value": "2", "comparison": "greater", "startStep": 2}
    async with opened() as world, world.controllers():
        await world.submit(earlyStoppingRules=[rule])
        pod = await world.pod("p", "loss=4")
        await asyncio.sleep(10)
        pod.write("loss=3")
        await asyncio.sleep(10)
        job = await world.client.get(kinds.JOB, "default", "t")
        assert job.metadata.annotation(keys.ANNOTATION_EARLY_STOPPED) == "loss"
        assert job.section("spec")["activeDeadlineSeconds"] == 1
        await world.job("Failed")
        assert await world.verdict() == ("EarlyStopped", "3 4 3")


@virtual.virtual
async def test_a_failed_trial_needs_no_metrics() -> None:
    """A Job that failed ends its trial at once, whatever its log says or hides."""
    async with opened() as world, world.controllers():
        world.kubelet.faults = [errors.UnavailableError("away")] * 5
        await world.submit()
        await world.pod("p", "loss=3")
        await world.job("Failed")
        assert (await world.verdict())[0] == "Failed"


@virtual.virtual
async def test_a_collector_that_needs_the_sidecar() -> None:
    """A trial that somebody made by hand with a collector that cannot work here ends without metrics, and people are told why."""
    async with opened() as world, world.controllers():
        await world.submit(metricsCollector={"collector": {"kind": "File"}})
        await world.pod("p", "loss=3")
        await world.end("p")
        await world.job("Complete")
        assert (await world.verdict())[0] == "MetricsUnavailable"
        assert "OutputRefused" in await world.events()


@virtual.virtual
async def test_admission_in_the_controllers() -> None:
    """Where nothing stands before the store, an experiment gets its defaults when it is first seen; a bad one fails with every reason."""
    admit = cluster.admission(settings.Settings(Path("nowhere")), [kinds.JOB])
    async with opened() as world:
        rows, time = world.rows, virtual.VirtualClock()
        given = suggesting.InProcess(rows, offload=inline)
        parts = plane.Parts(world.client, rows, given, plane.NoQuota(), time, [kinds.JOB], admit)
        planes = plane.ControlPlane(parts)
        machine = manager.Manager(list(planes.informers.values()), planes.controllers, [planes.events.run])
        task = asyncio.ensure_future(machine.run())
        bad = {"algorithm": {"algorithmName": "nonsense"}, "metricsCollectorSpec": {"collector": {"kind": "File"}}}
        await world.client.create(builders.experiment("good"))
        await world.client.create(builders.experiment("bad", **bad))
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        found = {item.name: meta.dump(item) for item in (await world.client.list(kinds.EXPERIMENT)).items}
        assert found["good"]["spec"]["resumePolicy"] == "Never"
        assert found["good"]["spec"]["metricsCollectorSpec"] == {"collector": {"kind": "StdOut"}}
        assert found["good"]["metadata"]["finalizers"]
        end = found["bad"]["status"]["conditions"][-1]
        assert (end["type"], end["status"]) == ("Failed", "True")
        assert "nonsense" in end["message"]
        assert "File" in end["message"]
        assert [item.name for item in (await world.client.list(kinds.SUGGESTION)).items] == ["good"]
