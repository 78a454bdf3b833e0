"""The whole control plane in one loop, in virtual time, over a real store in memory, with a node that only pretends to run things.

Every call that the control plane makes through a port is numbered; a plan may crash it before the call, after its effect, or lose its
reply. A crash ends all controllers; :meth:`World.run` starts new ones on the same store, as a new process would.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from flow import invariants
from kuttab.api import conditions, experiment, keys, kinds, meta, suggestion, trial
from kuttab.base import errors
from kuttab.client.embedded import EmbeddedClient
from kuttab.observations.memory import MemoryObservations
from kuttab.ports.observations import Row, TrialKey
from kuttab.rules import completion, trial_state
from kuttab.runtime.manager import Manager
from kuttab.store.objects import Options, Store
from kuttab.testing.virtual import VirtualClock
from kuttab.wiring import plane as planes
from kuttab.wiring import suggesting


class CrashError(BaseException):
    """The process dies here."""


@dataclass(frozen=True)
class Call:
    """A call through a port."""

    number: int
    port: str
    verb: str
    subject: str

    def __str__(self) -> str:
        return f"{self.port}.{self.verb}({self.subject})"


BEFORE, AFTER, LOST = "before", "after", "lost"
Plan = Callable[[Call], str | None]


class Wire:
    """Numbers the calls through all ports and does what the plan says."""

    READS = frozenset({"get", "list", "summarize", "read", "position"})

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.heard: Callable[[str, tuple[Any, ...], dict[str, Any]], None] = lambda verb, args, options: None
        """Told of every call on the objects."""
        self.plan: Plan = lambda call: None
        self._numbers = itertools.count()

    def port(self, name: str, target: Any) -> Any:
        """The target with its calls on the wire."""
        return _Port(self, name, target)

    async def call(self, port: str, verb: str, subject: str, effect: Callable[[], Awaitable[Any]]) -> Any:
        """Make one call."""
        call = Call(next(self._numbers), port, verb, subject)
        self.calls.append(call)
        act = self.plan(call)
        if act == BEFORE:
            raise CrashError(str(call))
        result = await effect()
        if act == AFTER:
            raise CrashError(str(call))
        if act == LOST:
            raise errors.DeadlineError(f"the reply to {call} was lost")
        return result


class _Port:
    def __init__(self, wire: Wire, name: str, target: Any) -> None:
        self._wire, self._name, self._target = wire, name, target

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self._target, verb)
        if verb == "watch":
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self._name == "objects":
                self._wire.heard(verb, args, kwargs)
            return await self._wire.call(self._name, verb, _subject(args), lambda: method(*args, **kwargs))

        return call


def _subject(args: tuple[Any, ...]) -> str:
    names = []
    for arg in args:
        if isinstance(arg, meta.Object):
            names.append(f"{arg.kind}/{arg.name}")
        elif isinstance(arg, kinds.Kind):
            names.append(arg.kind)
        elif isinstance(arg, TrialKey):
            names.append(arg.name)
        elif isinstance(arg, str):
            names.append(arg)
    return " ".join(names)


Outcome = dict[str, Any]
"""What a run of a trial comes to: ``rows`` (metric, value), ``seconds``, ``failed`` (reason), ``late`` (seconds after the end that the
rows come), ``stopped`` (the metric whose rule ended it)."""


@dataclass
class World:
    """Store, rows, a pretending node, and as many control planes in turn as crash."""

    behave: Callable[[dict[str, str]], Outcome]
    wire: Wire = field(default_factory=Wire)
    observations: MemoryObservations = field(default_factory=MemoryObservations)
    quota: Any = field(default_factory=planes.NoQuota)
    suggestions: Callable[[Any], Any] = lambda rows: suggesting.InProcess(rows, offload=inline)
    crashes: int = 0

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[World]:
        """With the store open and the invariants watched at every commit."""
        uids = itertools.count(1)
        store = Store(
            None,
            clock=VirtualClock(),
            new_uid=lambda: f"00000000-0000-0000-0000-{next(uids):012d}",
            options=Options(commits="settle"),
        )
        async with store:
            self.store = store
            self.client = EmbeddedClient(store)
            self.checker = invariants.Checker()
            self.checker.attach(store)
            self.wire.heard = self.checker.called
            async with asyncio.TaskGroup() as group:
                node = group.create_task(self._node())
                try:
                    yield self
                finally:
                    node.cancel()
            await self._rows_are_exact()

    async def _rows_are_exact(self) -> None:
        """S16: what was acknowledged is stored once, although the node reports everything twice; rows of deleted trials are gone."""
        kept = {item.uid for item in self.trials()}
        for key, rows in self.checker.rows.items():
            found = await self.observations.read(key)
            assert found == (rows if key.uid in kept else []), f"S16: rows of {key.name}"
        assert self.checker.broken == [], self.checker.broken

    def plane(self) -> tuple[planes.ControlPlane, Manager]:
        """A fresh control plane, as a new process would have."""
        rows = self.wire.port("observations", self.observations)
        parts = planes.Parts(
            self.wire.port("objects", EmbeddedClient(self.store, trusted=True)),
            rows,
            self.wire.port("suggestions", self.suggestions(rows)),
            self.quota,
            VirtualClock(),
        )
        plane = planes.ControlPlane(parts)
        return plane, Manager(list(plane.informers.values()), plane.controllers, [plane.events.run])

    async def run(self, until: Callable[[], bool], seconds: float = 3600) -> None:
        """Run control planes until the condition holds, starting a new one after each crash."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + seconds
        while True:
            _, manager = self.plane()
            task = asyncio.ensure_future(manager.run())
            try:
                while not task.done() and not until():
                    if loop.time() > limit:
                        raise AssertionError(f"not done after {seconds} virtual seconds: {self.story()}")
                    await asyncio.wait({task}, timeout=0.25)
                if not task.done():
                    return
                problem = task.exception()
                if not _is_crash(problem):
                    raise AssertionError("the control plane broke") from problem
                self.crashes += 1
            finally:
                if not task.done():
                    task.cancel()
                with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
                    await task

    async def submit(self, document: dict[str, Any]) -> experiment.Experiment:
        """Store an experiment."""
        stored = await self.client.create(kinds.load(document))
        assert isinstance(stored, experiment.Experiment)
        return stored

    def experiment(self, name: str = "e") -> experiment.Experiment:
        """The experiment as stored."""
        found = self.store.get(kinds.EXPERIMENT, "default", name)
        assert isinstance(found, experiment.Experiment)
        return found

    def suggestion(self, name: str = "e") -> suggestion.Suggestion:
        """The suggestion as stored."""
        found = self.store.get(kinds.SUGGESTION, "default", name)
        assert isinstance(found, suggestion.Suggestion)
        return found

    def trials(self) -> list[trial.Trial]:
        """Every trial as stored, by slot."""
        items = [item for item in self.store.list(kinds.TRIAL).items if isinstance(item, trial.Trial)]
        return sorted(items, key=trial_state.slot)

    def ended(self, name: str = "e") -> bool:
        """Whether the experiment and all its trials are over and their jobs gone."""
        subject = self.experiment(name)
        if not completion.completed(subject) or not all(trial_state.finished(item) for item in self.trials()):
            return False
        if subject.spec.resume_policy == "Never" and not any(
            c.type in (keys.SUCCEEDED, keys.FAILED) and c.status == "True"
            for c in self.suggestion(name).status.conditions or ()
        ):
            return False
        return not self.store.list(kinds.JOB).items and subject.status.trials == len(self.trials())

    def story(self) -> str:
        """Where everything stands, for failure messages."""
        lines = [f"{c.type}={c.status} {c.reason}" for c in self.experiment().status.conditions or ()]
        lines += [f"{t.name} {trial_state.state(t.status.conditions)}" for t in self.trials()]
        return "; ".join(lines)

    async def _node(self) -> None:
        """Complete every Job after the seconds its behaviour wants, rows first, as the real node does."""
        running: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            async for event in self.client.watch(kinds.JOB):
                job = event.object
                if event.type == "BOOKMARK":
                    continue
                if event.type == "DELETED" or job.deleting:
                    if job.uid in running:
                        running.pop(job.uid).cancel()
                    if event.type != "DELETED":
                        group.create_task(self._release(job))
                elif job.uid not in running and not conditions_of(job):
                    running[job.uid] = group.create_task(self._execute(job))

    async def _execute(self, job: meta.Object) -> None:
        owner = job.metadata.controller
        assert owner is not None
        arguments = job.section("spec")["template"]["spec"]["containers"][0]["command"][1:]
        values = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
        outcome = self.behave(values)
        await asyncio.sleep(outcome.get("seconds", 1.0))
        key = TrialKey(owner.uid, owner.name, job.namespace)
        rows = [Row(metric, value) for metric, value in outcome.get("rows", ())]
        late = outcome.get("late", 0.0)
        if not late:
            await self._store(key, job, rows)
        reason = outcome.get("failed")
        done = {"type": "Failed" if reason else "Complete", "status": "True", "reason": reason or ""}
        with contextlib.suppress(errors.NotFoundError, errors.ConflictError):
            found = await self.client.get(kinds.JOB, job.namespace, job.name)
            if found.uid == job.uid:
                if outcome.get("stopped"):
                    marks = {keys.ANNOTATION_EARLY_STOPPED: outcome["stopped"]}
                    found = await self.client.update(
                        meta.evolve(found, metadata=meta.evolve(found.metadata, annotations=marks))
                    )
                await self.client.update_status(meta.evolve(found, status={"conditions": [done]}))
        if late:
            await asyncio.sleep(late)
            await self._store(key, job, rows)

    async def _store(self, key: TrialKey, job: meta.Object, rows: list[Row]) -> None:
        """Bring rows to the store, each twice."""
        await self.observations.report(key, job.uid, 0, rows)
        await self.observations.complete(key, job.uid, 0, rows)
        self.checker.measured(key, rows)

    async def _release(self, job: meta.Object) -> None:
        """What the garbage collector does with a foreground deletion once the pods are gone: the store does it itself."""


async def inline(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call here and now: a thread would let virtual time run away."""
    return function(*args, **kwargs)


def conditions_of(job: meta.Object) -> list[Any]:
    """A job's conditions."""
    found = job.section("status")
    return list(found.get("conditions") or ()) if isinstance(found, dict) else []


def _is_crash(problem: BaseException | None) -> bool:
    if isinstance(problem, BaseExceptionGroup):
        return problem.subgroup(CrashError) is not None
    return isinstance(problem, CrashError)


def manifest(name: str = "e", **spec: Any) -> dict[str, Any]:
    """An experiment over x in 0..1 (grid of 0.05) that minimises loss."""
    body: dict[str, Any] = {
        "objective": {"type": "minimize", "objectiveMetricName": "loss"},
        "algorithm": {"algorithmName": "random", "algorithmSettings": [{"name": "random_state", "value": "7"}]},
        "parallelTrialCount": 2,
        "maxTrialCount": 4,
        "resumePolicy": "Never",
        "parameters": [
            {
                "name": "x",
                "parameterType": "double",
                "feasibleSpace": {"min": "0", "max": "1", "step": "0.05", "distribution": "uniform"},
            }
        ],
        "trialTemplate": {
            "primaryContainerName": "c",
            "trialParameters": [{"name": "x", "reference": "x"}],
            "successCondition": 'status.conditions.#(type=="Complete")#|#(status=="True")#',
            "failureCondition": 'status.conditions.#(type=="Failed")#|#(status=="True")#',
            "trialSpec": {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "spec": {
                    "template": {
                        "spec": {
                            "containers": [{"name": "c", "image": "i", "command": ["p", "--x=${trialParameters.x}"]}]
                        }
                    }
                },
            },
        },
    }
    body.update(spec)
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {key: value for key, value in body.items() if value is not None},
    }


def quadratic(values: dict[str, str]) -> Outcome:
    """Loss (x - 0.3)^2, reported twice, the better one last."""
    loss = (float(values["x"]) - 0.3) ** 2
    return {"rows": [("loss", repr(loss + 1)), ("loss", repr(loss))], "seconds": 1.0 + float(values["x"])}


def is_true(obj: Any, type_: str) -> bool:
    """Whether an object has the condition."""
    return conditions.is_true(obj.status.conditions, type_)


__all__ = ["AFTER", "BEFORE", "LOST", "Call", "CrashError", "World", "is_true", "keys", "manifest", "quadratic"]
