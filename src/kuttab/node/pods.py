"""The kubelet of one machine: runs a Pod's containers as processes, follows their metrics and limits, and writes the Pod's status.

Order at a start: everything checked, the Pod's creation written so that it outlives this program (what it starts ends with the machine,
too), then the first process. Order at an end: processes gone, metrics drained with their final marker, then in one write the Pod's status
and the end of the finalizer that kept it. Whoever owns the Pod (a job controller) is told through ``on_change`` and calls
:meth:`Kubelet.advance`, which may be repeated after any error. It decides nothing about retries.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from kuttab.api import kinds, meta
from kuttab.api import trial as trials
from kuttab.base import clock as clocks
from kuttab.base import errors, ids, log
from kuttab.node import identity, meters, owners, pod_run, pod_status, prepare, processes, settings, volumes
from kuttab.ports import objects as port

_log = log.get(__name__)
_AWKWARD = re.compile(r"""[\s$'"`\\;&|<>()*?\[\]{}!#~]""")
"""Characters that a shell would take apart: paths are put into ``sh -c`` texts as they are."""


Door = Callable[[trials.Trial], Awaitable[Mapping[str, str]]]
"""The environment by which programs of a trial report their metrics themselves."""


class Kubelet:
    """Runs Pods. Use from one event loop; :meth:`tick` must be called by :meth:`run` while Pods run."""

    def __init__(
        self,
        objects: port.Objects,
        clock: clocks.Clock,
        node: settings.NodeSettings,
        open_meter: meters.OpenMeter,
        door: Door | None = None,
        report_url: Callable[[str], str] | None = None,
        new_uid: ids.NewUid = ids.random_uid,
    ) -> None:
        self.objects = objects
        self.settings = node
        self.processes = processes.Processes(identity.node_name(node.data_dir), dedicated=node.dedicated)
        self.runs: dict[str, pod_run.Run] = {}
        self._clock = clock
        self._open_meter = open_meter
        self._door = door
        self._report_url = report_url
        self.new_uid = new_uid
        self._wake = asyncio.Event()
        self._sampled = 0.0
        self._inherited: dict[str, str] = {}
        self._alias: Path | None = None
        self.data_dir = node.data_dir
        """The data folder by a path without characters that a shell would take apart, once :meth:`open` was called."""

    def open(self) -> None:
        """Make the data folder and start watching processes. Idempotent."""
        self.settings.data_dir.mkdir(0o700, parents=True, exist_ok=True)
        real = self.settings.data_dir.resolve()
        if self._alias is None and _AWKWARD.search(str(real)):
            self._alias = Path(tempfile.mkdtemp(prefix="kuttab-")) / "data"
            self._alias.symlink_to(real)
        self.data_dir = self._alias or real
        self._inherited = self.settings.inherited()
        self.processes.open()

    async def close(self) -> None:
        """End everything that runs, without writing a status: recovery does that, here or after the next start."""
        await asyncio.gather(*(self.end(run) for run in list(self.runs.values())))
        self.processes.close()
        if self._alias is not None:
            shutil.rmtree(self._alias.parent, ignore_errors=True)
            self._alias = None

    def now(self) -> str:
        """Wall time for a status."""
        return clocks.rfc3339(self._clock.now())

    async def start(self, pod: meta.Resource, plan: prepare.Plan, on_change: Callable[[], None]) -> pod_run.Run:
        """Start a Pod that has just been created.

        A Pod that cannot run at all is finished when this returns (reason ContainerCannotRun). UnavailableError: nothing was started,
        and the same call may be made again.
        """
        run = pod_run.Run(pod, plan, on_change, self.now())
        try:
            await self._prepare(run)
            await self.objects.settle(survives=port.Survives.KILL)  # the Pod, or the job that tells of it
            self.runs[pod.uid] = run
            await self._spawn_stage(run)
        except (errors.BadInputError, processes.CannotRunError) as error:
            self.runs[pod.uid] = run
            run.mark(pod_status.CANNOT_RUN, error.message)
            await self.advance(run)
            return run
        except errors.UnavailableError:
            await self.end(run)
            self.runs.pop(pod.uid, None)
            raise
        self._hold(run)
        self._wake.set()
        return run

    async def adopt(self, pod: meta.Resource, plan: prepare.Plan, reason: str, message: str) -> pod_run.Run:
        """Take up a Pod of an earlier life whose processes are gone, so that :meth:`advance` drains its metrics and ends it so."""
        run = pod_run.Run(pod, plan, _nothing, pod.section("status").get("startTime", self.now()))
        await self._prepare(run)
        run.stage = len(run.inits)
        run.mark(reason, message)
        return run

    def _hold(self, run: pod_run.Run) -> None:
        """Let :meth:`advance` write down that the run is running if it still is so in a moment."""

        def due() -> None:
            run.due = True
            run.on_change()

        run.hold = asyncio.get_running_loop().call_later(self.settings.hold_seconds, due)

    async def clear(self, plan: prepare.Plan) -> bool:
        """Remove what a start that nobody wrote down has left in the plan's folder, after a kill; whether there was anything."""
        if not os.path.lexists(plan.folder):  # noqa: ASYNC240 - one look at the disk
            return False
        await asyncio.to_thread(shutil.rmtree, plan.folder)
        return True

    async def _prepare(self, run: pod_run.Run) -> None:
        subject = run.plan.trial
        if self._door is not None and subject is not None and not meters.pulled(subject):
            run.plan = replace(run.plan, env={**await self._door(subject), **run.plan.env})
        if self._report_url is not None and subject is not None:
            run.plan = replace(run.plan, report_url=self._report_url(run.pod.uid))
        sources = await prepare.read_sources(self.objects, run.pod.namespace, run.pod.section("spec"))
        node = prepare.Node(self.data_dir, self.settings.images, self.settings.started_in, self._inherited)
        ready = prepare.containers(run.pod, run.plan, sources, node)
        for container, one in zip(run.containers, ready, strict=True):
            container.prepared = one
        self._attach_meter(run)

    def _attach_meter(self, run: pod_run.Run) -> None:
        subject, primary = run.plan.trial, run.plan.primary
        container = next((c for c in run.mains if c.state.name == primary), None)
        if subject is None or not primary:
            return
        if container is None or container.prepared is None:
            raise errors.BadInputError(
                f"no container is named {primary!r}, the trial's primaryContainerName;"
                f" there are {', '.join(c.state.name for c in run.mains)}"
            )
        mounts = container.prepared.mounts
        run.meter = self._open_meter(
            subject, run.pod.uid, container.prepared.command.log, lambda path: mounts.resolve(path) or Path(path)
        )

    async def _spawn_stage(self, run: pod_run.Run) -> None:
        """Start the next init container, or all containers when none is left."""
        group = [run.inits[run.stage]] if run.stage < len(run.inits) else [*run.mains, *run.extras]
        for container in group:
            assert container.prepared is not None
            child = self.processes.spawn(container.prepared.command, run.pod.uid, lambda _: run.on_change())
            container.child = child
            container.state = replace(container.state, started=self.now())

    async def advance(self, run: pod_run.Run) -> bool:
        """Move a run on as far as it goes now; True when it is finished and written. Repeat it after any error."""
        async with run.lock:
            if run.finished:
                return True
            for container in run.containers:
                self._note_exit(run, container)
            if run.live:
                self._hurry_extras(run)
                if run.due and not run.told:
                    await self._tell(run)
                return False
            if not run.reason and run.stage < len(run.inits):
                done = run.inits[run.stage].state.exit
                if done is not None and done.code == 0:
                    await self._clear(run)
                    run.stage += 1
                    if await self._continue(run):
                        return False
            await self._clear(run)
            await self._drain(run)
            await self._conclude(run)
            return True

    def _hurry_extras(self, run: pod_run.Run) -> None:
        """When only a Custom collector is left, give it some time to end by itself, then end it."""
        if any(c.live for c in (*run.inits, *run.mains)):
            return
        now = self._clock.monotonic()
        if run.extras_until is None:
            run.extras_until = now + self.settings.collector_seconds
            asyncio.get_running_loop().call_later(self.settings.collector_seconds, run.on_change)
        elif now >= run.extras_until:
            self.stop(run)

    async def _continue(self, run: pod_run.Run) -> bool:
        try:
            await self._spawn_stage(run)
        except processes.CannotRunError as error:
            run.mark(pod_status.CANNOT_RUN, error.message)
            return False
        await self._tell(run)
        return True

    async def enter(self, run: pod_run.Run) -> bool:
        """See that a run's Pod is written; False when it cannot be."""
        if not pod_status.written(run.pod):
            made = await owners.enter(self.objects, run.pod)
            if made is None:
                return False
            run.pod = made
        return True

    async def _tell(self, run: pod_run.Run) -> None:
        """Write down that the run is running."""
        if not await self.enter(run):
            run.mark(pod_status.NAME_TAKEN, f"there cannot be a pod {run.pod.name!r} now")
            self.stop(run)
            return
        for container in run.containers:
            if container.live and container.child is not None:
                container.state = replace(container.state, token=container.child.token)
        await self._write_status(run, self._document(run, pod_status.RUNNING))
        run.told = True

    def _note_exit(self, run: pod_run.Run, container: pod_run.Container) -> None:
        child, state = container.child, container.state
        if child is None or child.exit is None or state.exit is not None:
            return
        reason = run.reason if run.reason in (pod_status.OOM_KILLED, pod_status.LOG_TOO_LARGE) else ""
        if run.reason == pod_status.EARLY_STOPPED and state.name == run.plan.primary:
            reason = pod_status.EARLY_STOPPED
        message = run.message if reason else ""
        container.state = replace(
            state, token=child.token, exit=child.exit, finished=self.now(), reason=reason, message=message
        )

    def stop(self, run: pod_run.Run, *, grace: float | None = None) -> None:
        """Ask a run's processes to end, and kill them when the grace is over; ``on_change`` tells, :meth:`advance` finishes."""
        for container in run.containers:
            if container.child is not None:
                self.processes.stop(container.child, self._grace(run) if grace is None else grace)

    async def end(self, run: pod_run.Run) -> None:
        """End a run's processes now and wait until nothing is left of them."""
        children = [c.child for c in run.containers if c.child is not None]
        await asyncio.gather(*(self.processes.end(child, self._grace(run)) for child in children))

    def stop_early(self, trial_uid: str) -> bool:
        """Ask for the trial's run to be ended as if its early-stopping rules were met; False when it does not run here."""
        for run in self.runs.values():
            if run.plan.trial is not None and run.plan.trial.uid == trial_uid and run.live:
                run.met = True
                run.on_change()
                return True
        return False

    def _grace(self, run: pod_run.Run) -> float:
        given = run.pod.section("spec").get("terminationGracePeriodSeconds")
        most = self.settings.grace_seconds
        return min(most, given) if isinstance(given, int | float) and given >= 0 else most

    async def _clear(self, run: pod_run.Run) -> None:
        for container in run.containers:
            if container.child is not None and container.child.exit is not None:
                await self.processes.clear(container.child)

    async def _drain(self, run: pod_run.Run) -> None:
        """Store the rest of the metrics with the final marker, before anything says that the Pod has ended."""
        if run.reason == pod_status.LOG_TOO_LARGE:
            self._cut_logs(run)
        elif run.meter is not None and not run.drained:
            well = bool(run.exits) and not any(run.exits.values())
            clean = well and run.reason in ("", pod_status.EARLY_STOPPED)  # ... by itself, when it was told to stop
            try:
                await run.meter.finish(clean)
            except errors.UnavailableError:
                raise
            except errors.KuttabError as error:
                _log.warning("metrics_unreadable", pod=run.pod.name, problem=error)
        run.drained = True

    def _cut_logs(self, run: pod_run.Run) -> None:
        cap = self.settings.log_cap_bytes
        for container in run.containers:
            path = container.prepared.command.log if container.prepared else None
            if path is None or not path.exists() or path.stat().st_size <= cap:
                continue
            with contextlib.suppress(OSError), path.open("r+b") as file:
                file.truncate(cap)
                file.seek(0, os.SEEK_END)
                file.write(f"\n[kuttab: LogTooLarge: cut here at {cap} bytes; the program was ended]\n".encode())

    async def _conclude(self, run: pod_run.Run) -> None:
        if run.reason == pod_status.EARLY_STOPPED:
            phase, message = pod_status.SUCCEEDED, run.message
        elif run.reason:
            phase, message = pod_status.FAILED, run.message
        else:
            phase, message = pod_status.outcome([c.state for c in (*run.inits, *run.mains)])
        run.message = message
        if run.reason == pod_status.CANNOT_RUN:
            code = processes.Exit(pod_status.START_ERROR_CODE)
            for container in run.containers:
                if container.state.exit is None:
                    container.state = replace(container.state, exit=code, reason=run.reason, message=message)
        if run.hold is not None:
            run.hold.cancel()
        status = self._document(run, phase)
        if self._worth_writing(run, phase) and await self.enter(run):
            await self._write(run, lambda pod: self.objects.update_status(meta.evolve(released(pod), status=status)))
        else:
            run.pod = meta.evolve(run.pod, status=status)
        run.finished = True
        self.runs.pop(run.pod.uid, None)

    def _worth_writing(self, run: pod_run.Run, phase: str) -> bool:
        """Whether somebody would miss the Pod if it was not written; nobody does if it has succeeded in a moment, or if its job goes."""
        over = run.reason in (pod_status.DELETED, pod_status.NAME_TAKEN) or (
            run.plan.fleeting and phase == pod_status.SUCCEEDED
        )
        return pod_status.written(run.pod) or not over

    def _document(self, run: pod_run.Run, phase: str) -> meta.Json:
        return pod_status.document(
            phase,
            [c.state for c in (*run.mains, *run.extras)],
            [c.state for c in run.inits],
            start_time=run.started,
            reason=run.reason,
            message=run.message,
            restarts=pod_status.attempt(run.pod),
        )

    async def _write_status(self, run: pod_run.Run, status: meta.Json) -> None:
        """The node is the only writer of a Pod's status, so a conflict means other fields: read again and write the same."""
        await self._write(run, lambda pod: self.objects.update_status(meta.evolve(pod, status=status)))

    async def _write(self, run: pod_run.Run, action: Callable[[meta.Resource], Awaitable[meta.Object]]) -> None:
        for _ in range(5):
            try:
                written = await action(run.pod)
            except errors.ConflictError:
                found = await self.objects.get(kinds.POD, run.pod.namespace, run.pod.name)
                if found.uid != run.pod.uid:
                    return
                assert isinstance(found, meta.Resource)
                run.pod = found
            except errors.NotFoundError:
                return  # Deleted with force: there is nothing to write to.
            else:
                if isinstance(written, meta.Resource):
                    run.pod = written
                return
        raise errors.UnavailableError(f"pod {run.pod.name} is being changed too often to write its status")

    async def run(self) -> None:
        """Look after running Pods until cancelled; sleeps without a timer while there are none."""
        while True:
            if not self.runs:
                self._wake.clear()
                await self._wake.wait()
            await asyncio.sleep(self.settings.poll_seconds)
            await self.tick()

    async def tick(self) -> None:
        """One look at every run: metrics each time, memory and log sizes when it is time for them."""
        for run in list(self.runs.values()):
            await self._poll(run)
        now = self._clock.monotonic()
        if now - self._sampled >= self.settings.sample_seconds:
            self._sampled = now
            for run in list(self.runs.values()):
                self._sample(run)
            self.processes.reap_adopted()

    async def _poll(self, run: pod_run.Run) -> None:
        if run.meter is None or run.met or run.reason or not run.live:
            return
        async with run.lock:
            try:
                met = not run.drained and await run.meter.poll()
            except Exception as problem:  # one trial's files must not stop the others' metrics
                _log.warning("metrics_poll_failed", pod=run.pod.name, problem=problem)
                return
        if met:
            run.met = True
            run.on_change()

    def _sample(self, run: pod_run.Run) -> None:
        if run.reason or not run.live:
            return
        for container in run.containers:
            found = self._excess(container)
            if found is not None:
                run.mark(*found)
                self.stop(run, grace=0)
                return

    def _excess(self, container: pod_run.Container) -> tuple[str, str] | None:
        child, ready, cap = container.child, container.prepared, self.settings.log_cap_bytes
        if child is None or ready is None or not container.live:
            return None
        if volumes.size(ready.command.log) > cap:
            return pod_status.LOG_TOO_LARGE, f"the log of container {ready.name!r} grew beyond {cap} bytes"
        if ready.memory is not None and _exceeds(child, ready.memory):
            return pod_status.OOM_KILLED, f"container {ready.name!r} used more than its limit of {ready.memory} bytes"
        return None


def _nothing() -> None:
    return None


async def release(objects: port.Objects, pod: meta.Resource) -> meta.Resource:
    """Take the node's finalizer off a Pod whose processes are gone."""
    if pod_status.FINALIZER not in (pod.metadata.finalizers or ()):
        return pod
    written = await objects.update(released(pod))
    assert isinstance(written, meta.Resource)
    return written


def released(pod: meta.Resource) -> meta.Resource:
    """The Pod without the node's finalizer."""
    left = [name for name in pod.metadata.finalizers or () if name != pod_status.FINALIZER]
    return meta.evolve(pod, metadata=meta.evolve(pod.metadata, finalizers=left))


def _exceeds(child: processes.Child, limit: int) -> bool:
    """Whether a process and its descendants hold more memory; shared pages are divided only when the quick sum is over it."""
    members = child.members()
    if sum(map(identity.resident_bytes, members)) <= limit:
        return False
    return sum(map(identity.proportional_bytes, members)) > limit
