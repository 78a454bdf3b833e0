"""The two worlds of the typed client: a data folder of this machine, and an API server. See :class:`kuttab.sdk.client.Door`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kuttab.admission import fields, yaml
from kuttab.api import experiment, keys, kinds, legacy, meta, trial
from kuttab.base import errors
from kuttab.ports import objects as port
from kuttab.ports import observations as observation_port
from kuttab.sdk import results, search
from kuttab.wiring import collecting, control, following, machine, manifests, observing, opening, warming
from kuttab.wiring import settings as settings_

PAUSE = 0.1
TRIES = 50
"""Attempts, a pause apart, at a folder that is owned by a process without a socket."""

TAIL_BYTES = 4 * 1024 * 1024
"""Bytes of a log that are read, at most: its end."""


class Folder:
    """A data folder of this machine: through its owner's socket, or the files themselves when nobody runs it."""

    namespace: str | None = None

    def __init__(self, settings: settings_.Settings) -> None:
        self._settings = settings

    @contextlib.asynccontextmanager
    async def objects(self) -> AsyncIterator[Any]:
        """See the protocol."""
        async with contextlib.AsyncExitStack() as stack:
            yield await self._reach(stack)

    async def _reach(self, stack: contextlib.AsyncExitStack) -> Any:
        """The owner's objects or our own; an owner that is starting or stopping has no socket for a moment, so both are tried again."""
        for attempt in range(TRIES):
            remote = await stack.enter_async_context(control.reach(self._settings.data))
            if remote is not None:
                return remote
            try:
                return await stack.enter_async_context(opening.opened(self._settings))
            except errors.LockedError:
                if attempt == TRIES - 1:
                    raise
            await asyncio.sleep(PAUSE)
        raise AssertionError

    async def follow(self, subject: experiment.Experiment) -> AsyncGenerator[experiment.Experiment, None]:
        """See the protocol; runs the world in this process while nobody else does."""
        selector = f"metadata.name={subject.name}"
        while True:
            with contextlib.suppress(errors.UnavailableError):
                events = control.watch(self._settings.data, kinds.EXPERIMENT, subject.namespace, selector)
                async with contextlib.aclosing(_experiments(events, subject)) as changes:
                    async for latest in changes:
                        yield latest
            try:
                async with machine.running(self._settings) as world:
                    async for step in following.follow(world, subject):
                        yield step.experiment
                    for _ in range(TRIES):  # its counters may lag behind its end
                        yield await _latest(world.objects, subject)
                        await asyncio.sleep(PAUSE)
                    return
            except errors.LockedError:
                await asyncio.sleep(PAUSE)  # its owner is starting or stopping: the socket is not there for a moment

    async def prepare(self, document: meta.Json | experiment.Experiment) -> meta.Object:
        """See the protocol."""
        value = meta.dump(document) if isinstance(document, experiment.Experiment) else document
        return _placed(value, "default")

    async def read(self, path: Path) -> Sequence[meta.Object]:
        """See the protocol; programs beside the manifest are found, as ``kuttab run`` does it."""
        path = path.absolute()  # noqa: ASYNC240 - touches no disk
        found = manifests.check(manifests.read(path), self._settings, (), path.parent)
        return [*found.others, *found.experiments]

    async def warmed(
        self, subject: experiment.Experiment, given: Any, space: Mapping[str, search.Dimension] | None
    ) -> experiment.Experiment:
        """See the protocol."""
        async with self.objects() as objects:
            return (await warming.started_from(objects, subject, given, space))[0]

    async def own(self, subject: experiment.Experiment) -> None:
        """See the protocol."""
        async with self.objects() as objects:
            await warming.own(objects, subject)

    async def rows(self, key: observation_port.TrialKey, metric: str) -> Sequence[observation_port.Row]:
        """See the protocol."""
        async with observing.beside(self._settings) as log:
            return await log.read(key, metric=metric)

    def reader(self) -> results.ReadRows | None:
        """See the protocol."""
        return collecting.LazyRows(self._settings)

    async def log(self, subject: trial.Trial, tail: int | None) -> str:
        """See the protocol."""
        path = collecting.log_file(self._settings, subject.name)
        if path is None:
            raise errors.NotFoundError(f"trial {subject.name} has no log yet")
        return _last_lines(path, tail)

    async def deleted(self, subject: experiment.Experiment) -> None:
        """See the protocol."""
        async with control.reach(self._settings.data) as remote:
            if remote is not None:
                await _gone(self.objects, subject)
                return
        await machine.drain(self._settings, subject)

    async def close(self) -> None:
        """Nothing is kept open."""


class Server:
    """An API server: ours (``kuttab serve``) or a cluster's."""

    def __init__(self, kube: Any, namespace: str | None, db_manager: str) -> None:
        self._kube = kube
        self.namespace = namespace
        self._db_manager = db_manager

    @contextlib.asynccontextmanager
    async def objects(self) -> AsyncIterator[Any]:
        """See the protocol."""
        yield self._kube

    async def follow(self, subject: experiment.Experiment) -> AsyncGenerator[experiment.Experiment, None]:
        """See the protocol."""
        while True:
            events = self._kube.watch(kinds.EXPERIMENT, subject.namespace, fields=f"metadata.name={subject.name}")
            try:
                async with contextlib.aclosing(_experiments(events, subject)) as changes:
                    async for latest in changes:
                        yield latest
            except errors.ExpiredError:
                continue  # history was compacted: begin again with what there is

    async def prepare(self, document: meta.Json | experiment.Experiment) -> meta.Object:
        """See the protocol; the server judges."""
        value = meta.dump(document) if isinstance(document, experiment.Experiment) else document
        return _placed(value, self.namespace or "default")

    async def read(self, path: Path) -> Sequence[meta.Object]:
        """See the protocol."""
        documents = [item.value for item in manifests.read(path).documents]
        found = [_placed(value, self.namespace or "default") for value in documents]
        return sorted(found, key=lambda item: isinstance(item, experiment.Experiment))

    async def warmed(
        self, subject: experiment.Experiment, given: Any, space: Mapping[str, search.Dimension] | None
    ) -> experiment.Experiment:
        """See the protocol."""
        return (await warming.started_from(self._kube, subject, given, space))[0]

    async def own(self, subject: experiment.Experiment) -> None:
        """See the protocol."""
        await warming.own(self._kube, subject)

    async def rows(self, key: observation_port.TrialKey, metric: str) -> Sequence[observation_port.Row]:
        """See the protocol."""
        from kuttab.rpc import dbmanager

        if not self._db_manager:
            raise errors.BadInputError(
                "db_manager: give the address of the db-manager, such as 127.0.0.1:6789, to the client; an API server keeps no "
                "metric rows, only min, max and latest in trial.status.observation"
            )
        asked = dbmanager.DbManagerClient(self._db_manager)
        try:
            return await asked.read(key.name, metric=metric)
        finally:
            await asked.close()

    def reader(self) -> results.ReadRows | None:
        """See the protocol."""
        return _RemoteRows(self._db_manager) if self._db_manager else None

    async def log(self, subject: trial.Trial, tail: int | None) -> str:
        """See the protocol."""
        selector = f"{keys.LABEL_TRIAL}={subject.name}"
        page = await self._kube.list(kinds.POD, subject.namespace, labels=selector)
        if not page.items:
            raise errors.NotFoundError(
                f"trial {subject.name} has no pod: it has not started, or it ended; trialTemplate.retain: true keeps pods of ended trials"
            )
        pod = max(page.items, key=lambda item: (item.metadata.creation_timestamp or "", item.name))
        pieces = self._kube.follow_log(
            subject.namespace, pod.name, subject.spec.primary_container_name, follow=False, tail=tail
        )
        return b"".join([piece async for piece in pieces]).decode(errors="replace")

    async def deleted(self, subject: experiment.Experiment) -> None:
        """See the protocol."""
        await _gone(self.objects, subject)

    async def close(self) -> None:
        """Close connections."""
        await self._kube.close()


class _RemoteRows:
    """Metric rows from a db-manager, for results."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __call__(self, key: observation_port.TrialKey) -> Sequence[observation_port.Row]:
        """Rows in the order of arrival."""
        from kuttab.rpc import dbmanager

        async def read() -> Sequence[observation_port.Row]:
            asked = dbmanager.DbManagerClient(self._address)
            try:
                return await asked.read(key.name)
            finally:
                await asked.close()

        return collecting.in_thread(read)


async def _latest(objects: Any, subject: experiment.Experiment) -> experiment.Experiment:
    found = await objects.get(kinds.EXPERIMENT, subject.namespace, subject.name)
    assert isinstance(found, experiment.Experiment)
    return found


async def _experiments(events: Any, subject: experiment.Experiment) -> AsyncGenerator[experiment.Experiment, None]:
    """The states of an experiment out of a watch; NotFoundError when it is deleted."""
    async with contextlib.aclosing(events) as found:
        async for event in found:
            latest = event.object
            if event.type == port.EventType.BOOKMARK or not isinstance(latest, experiment.Experiment):
                continue
            if event.type == port.EventType.DELETED or latest.uid != subject.uid:
                raise errors.NotFoundError(f"experiment {subject.name} was deleted")
            yield latest


async def _gone(reach: Any, subject: experiment.Experiment) -> None:
    """Look again, less and less often, until an experiment and its trials are gone."""
    pause = 0.05
    while True:
        async with reach() as objects:
            page = await objects.list(kinds.EXPERIMENT, subject.namespace, fields=f"metadata.name={subject.name}")
            labels = f"{keys.LABEL_EXPERIMENT}={subject.name}"
            left = await objects.list(kinds.TRIAL, subject.namespace, labels=labels, limit=1)
        if not any(item.uid == subject.uid for item in page.items) and not left.items:
            return
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 1.5)


def _placed(value: meta.Json, namespace: str) -> meta.Object:
    """A document as an object with a namespace; old versions are converted. Raises BadInputError, InvalidError."""
    if legacy.is_old(value):
        value = legacy.convert(value, _parse)
    if not isinstance(value.get("kind"), str) or not isinstance(value.get("apiVersion"), str):
        raise errors.BadInputError("no Kubernetes object: it needs apiVersion, kind, metadata and spec")
    metadata = value.get("metadata")
    kind = kinds.named(value["apiVersion"], value["kind"])
    if kind.namespaced and isinstance(metadata, dict) and not metadata.get("namespace"):
        value = {**value, "metadata": {**metadata, "namespace": namespace}}
    found, problems = fields.decode(value, kind)
    if problems or found is None:
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        raise errors.InvalidError(problems, f"{kind.kind} {name}".strip())
    return found


def _parse(text: str) -> meta.Json:
    documents = yaml.load(text, "template")
    found = documents[0].value if documents else None
    return found if isinstance(found, dict) else {}


def _last_lines(path: Path, tail: int | None) -> str:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
        text = file.read().decode(errors="replace")
    if tail is None:
        return text
    return "".join(text.splitlines(keepends=True)[-tail:]) if tail > 0 else ""
