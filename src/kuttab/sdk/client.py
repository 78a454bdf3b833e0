"""The typed client of experiments, the same for a data folder of this machine and for any API server.

Everything it does is a few reads and writes through a :class:`Door`; which door, the wiring decides. It keeps nothing: each answer is
what the store said. Errors are those of :mod:`kuttab.base.errors`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from kuttab.api import experiment as experiments
from kuttab.api import keys, kinds, meta
from kuttab.api import suggestion as suggestions
from kuttab.api import trial as trials_
from kuttab.base import errors
from kuttab.client import lookup
from kuttab.ports.observations import Row, TrialKey
from kuttab.rules import completion, trial_state
from kuttab.sdk import results, search

Given = experiments.Experiment | Mapping[str, Any]
"""An experiment as an object or as the document of a manifest."""

TRIES = 10
"""Attempts at an edit that others keep overtaking."""


class Door(Protocol):
    """What a client needs of a world."""

    namespace: str | None
    """Where names are looked for; None means everywhere."""

    def objects(self) -> AbstractAsyncContextManager[Any]:
        """The objects port, or as much of it as there is, for one operation."""
        ...

    def follow(self, subject: experiments.Experiment) -> AsyncGenerator[experiments.Experiment, None]:
        """The experiment now and after each change, until somebody stops asking. NotFoundError once it is deleted."""
        ...

    async def prepare(self, document: meta.Json | experiments.Experiment) -> meta.Object:
        """A document as an object to create. Raises InvalidError."""
        ...

    async def read(self, path: Path) -> Sequence[meta.Object]:
        """The objects of a manifest file."""
        ...

    async def warmed(
        self, subject: experiments.Experiment, given: Any, space: Mapping[str, search.Dimension] | None
    ) -> experiments.Experiment:
        """The experiment with earlier results stored for it."""
        ...

    async def own(self, subject: experiments.Experiment) -> None:
        """Let the earlier results of a stored experiment go when it goes."""
        ...

    async def rows(self, key: TrialKey, metric: str) -> Sequence[Row]:
        """Metric rows of a trial."""
        ...

    async def log(self, subject: trials_.Trial, tail: int | None) -> str:
        """What a trial printed."""
        ...

    def reader(self) -> results.ReadRows | None:
        """Metric rows for results that outlive the client; None when there are none."""
        ...

    async def deleted(self, subject: experiments.Experiment) -> None:
        """Return when what belongs to a deleted experiment is gone."""
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...


class AsyncClient:
    """Experiments of one world, for asynchronous programs. Use it with ``async with``, or call :meth:`close`."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let connections go."""
        await self._door.close()

    # Making.

    async def create(
        self,
        experiment: Given,
        *,
        warm_start: Any = None,
        space: Mapping[str, search.Dimension] | None = None,
    ) -> experiments.Experiment:
        """Create an experiment; it starts as soon as somebody runs the world (:meth:`wait` does, where nobody else).

        ``warm_start`` is a Result, the name of an experiment of this world, a CSV file or an Optuna study. Raises InvalidError with
        every problem, AlreadyExistsError.
        """
        subject = await self._door.prepare(
            experiment if isinstance(experiment, experiments.Experiment) else dict(experiment)
        )
        if not isinstance(subject, experiments.Experiment):
            raise errors.BadInputError(f"create takes an Experiment, got {subject.kind}; use apply for other kinds")
        if warm_start is not None:
            subject = await self._door.warmed(subject, warm_start, space)
        async with self._door.objects() as objects:
            made = _experiment(await objects.create(subject))
        if warm_start is not None:
            await self._door.own(made)
        return made

    async def apply(self, path: str | os.PathLike[str]) -> list[meta.Object]:
        """Create what a manifest file holds, or bring what is there to it: budgets, ``suspend`` and ``stop`` of experiments can change.

        Returns the objects as stored. Raises InvalidError for a change that is not possible, naming the field.
        """
        found = []
        for subject in await self._door.read(Path(path)):
            async with self._door.objects() as objects:
                found.append(await _apply(objects, subject))
        return found

    # Reading.

    async def get(self, name: str, namespace: str | None = None) -> experiments.Experiment:
        """An experiment. Raises NotFoundError, or BadInputError when several namespaces have one of that name."""
        async with self._door.objects() as objects:
            return _experiment(await self._find(objects, kinds.EXPERIMENT, name, namespace))

    async def trial(self, name: str, namespace: str | None = None) -> trials_.Trial:
        """A trial."""
        async with self._door.objects() as objects:
            return _trial(await self._find(objects, kinds.TRIAL, name, namespace))

    async def trials(self, name: str, namespace: str | None = None) -> list[trials_.Trial]:
        """The trials of an experiment, by slot."""
        async with self._door.objects() as objects:
            subject = _experiment(await self._find(objects, kinds.EXPERIMENT, name, namespace))
            return await _trials(objects, subject)

    async def suggestion(self, name: str, namespace: str | None = None) -> suggestions.Suggestion:
        """The dialogue of an experiment with its algorithm."""
        async with self._door.objects() as objects:
            found = await self._find(objects, kinds.SUGGESTION, name, namespace)
        assert isinstance(found, suggestions.Suggestion)
        return found

    async def result(
        self, name: str, namespace: str | None = None, *, space: Mapping[str, search.Dimension] | None = None
    ) -> results.Result:
        """What an experiment has come to so far; ``space`` gives categories back with their Python types."""
        async with self._door.objects() as objects:
            subject = _experiment(await self._find(objects, kinds.EXPERIMENT, name, namespace))
            found = await _trials(objects, subject)
        return results.Result.of(subject, found, space=space, read=self._door.reader())

    async def logs(self, trial: str, namespace: str | None = None, *, tail: int | None = None) -> str:
        """What a trial's program printed; ``tail`` is a number of lines from the end. NotFoundError when it printed nothing yet."""
        return await self._door.log(await self.trial(trial, namespace), tail)

    async def metrics(self, trial: str, metric: str = "", namespace: str | None = None) -> list[Row]:
        """What a trial reported, in the order of arrival: rows of metric, value as text, and time."""
        subject = await self.trial(trial, namespace)
        return [*await self._door.rows(TrialKey(subject.uid, subject.name, subject.namespace), metric)]

    async def wait(
        self,
        name: str,
        namespace: str | None = None,
        *,
        timeout: float | None = None,
        until: Callable[[experiments.Experiment], bool] | None = None,
    ) -> experiments.Experiment:
        """Return the experiment once it has ended, or once ``until`` says so. Raises DeadlineError after ``timeout`` seconds.

        On a data folder that nobody runs, this process runs it while it waits. NotFoundError when it is deleted meanwhile.
        """
        subject = await self.get(name, namespace)
        done = until or ended
        try:
            async with asyncio.timeout(timeout), contextlib.aclosing(self._door.follow(subject)) as changes:
                async for subject in changes:
                    if done(subject):
                        return subject
        except TimeoutError as problem:
            raise errors.DeadlineError(f"experiment {name} has not come so far within {timeout:g} s") from problem
        raise errors.UnavailableError(f"experiment {name} can no longer be followed")

    # Changing.

    async def edit(
        self,
        name: str,
        namespace: str | None = None,
        *,
        max_trials: int | None = None,
        parallel: int | None = None,
        max_failed: int | None = None,
    ) -> experiments.Experiment:
        """Change the budget: what is not given stays. A finished experiment with resumePolicy LongRunning goes on."""
        given = {"max_trial_count": max_trials, "parallel_trial_count": parallel, "max_failed_trial_count": max_failed}
        changes = {field: count for field, count in given.items() if count is not None}
        if not changes:
            raise errors.BadInputError("nothing to change: give max_trials, parallel or max_failed")
        return await self._edit(name, namespace, changes)

    async def stop(self, name: str, namespace: str | None = None) -> experiments.Experiment:
        """End an experiment now and keep what was found. BadInputError when it has ended already."""
        return await self._edit(name, namespace, {"stop": True}, open_only=True)

    async def pause(self, name: str, namespace: str | None = None) -> experiments.Experiment:
        """Start no new trials until :meth:`resume`; running ones go on. BadInputError when it has ended already."""
        return await self._edit(name, namespace, {"suspend": True}, open_only=True)

    async def resume(self, name: str, namespace: str | None = None) -> experiments.Experiment:
        """Take :meth:`pause` back; nothing happens to an experiment that is not paused."""
        return await self._edit(name, namespace, {"suspend": None})

    async def delete(self, name: str, namespace: str | None = None) -> None:
        """Delete an experiment with its trials, metrics and logs, and return when they are gone."""
        async with self._door.objects() as objects:
            subject = _experiment(await self._find(objects, kinds.EXPERIMENT, name, namespace))
            await objects.delete(kinds.EXPERIMENT, subject.namespace, subject.name, uid=subject.uid)
        await self._door.deleted(subject)

    # Last, since its name hides the type in what follows.

    async def list(self, namespace: str | None = None, *, labels: str = "") -> list[experiments.Experiment]:
        """Experiments, by namespace and name; ``labels`` is a selector of Kubernetes."""
        async with self._door.objects() as objects:
            page = await objects.list(kinds.EXPERIMENT, namespace or self._door.namespace, labels=labels)
        return [_experiment(item) for item in page.items]

    # Inside.

    async def _edit(
        self, name: str, namespace: str | None, changes: Mapping[str, Any], *, open_only: bool = False
    ) -> experiments.Experiment:
        for _ in range(TRIES):
            async with self._door.objects() as objects:
                subject = _experiment(await self._find(objects, kinds.EXPERIMENT, name, namespace))
                if open_only and completion.completed(subject):
                    raise errors.BadInputError(f"experiment {name} has ended already")
                if all(getattr(subject.spec, field) == value for field, value in changes.items()):
                    return subject
                try:
                    return _experiment(
                        await objects.update(meta.evolve(subject, spec=meta.evolve(subject.spec, **changes)))
                    )
                except errors.ConflictError:
                    continue
        raise errors.UnavailableError(f"experiment {name} is being changed by others all the time")

    async def _find(self, objects: Any, kind: kinds.Kind, name: str, namespace: str | None) -> meta.Object:
        """The object of that name; without a namespace the only one of that name anywhere."""
        place = namespace or self._door.namespace
        return await lookup.find(objects, kind, name, place, several="give namespace=")


def ended(subject: experiments.Experiment) -> bool:
    """Whether an experiment is over and nothing of it runs any more."""
    status = subject.status
    return completion.completed(subject) and not status.trials_running and not status.trials_pending


async def _apply(objects: Any, subject: meta.Object) -> meta.Object:
    found: meta.Object
    try:
        made: meta.Object = await objects.create(subject)
    except errors.AlreadyExistsError:
        for _ in range(TRIES):
            found = await objects.get(kinds.of(subject), subject.namespace, subject.name)
            wanted = _merged(found, subject)
            if wanted == found:
                return found
            try:
                changed: meta.Object = await objects.update(wanted)
            except errors.ConflictError:
                continue
            return changed
        raise errors.UnavailableError(
            f"{subject.kind} {subject.name} is being changed by others all the time"
        ) from None
    return made


def _merged(found: meta.Object, wanted: meta.Object) -> meta.Object:
    """What is stored with the spec (or data) that is wanted; an experiment keeps what its defaults filled in."""
    if isinstance(found, experiments.Experiment) and isinstance(wanted, experiments.Experiment):
        changes = {
            name: getattr(wanted.spec, name)
            for name in experiments.ExperimentSpec.model_fields
            if name in wanted.spec.model_fields_set or name in ("suspend", "stop")
        }
        return meta.evolve(found, spec=meta.evolve(found.spec, **changes))
    fields = {name: value for name, value in (wanted.model_extra or {}).items() if name != "status"}
    return meta.evolve(found, **fields)


async def _trials(objects: Any, subject: experiments.Experiment) -> list[trials_.Trial]:
    selector = f"{keys.LABEL_EXPERIMENT}={subject.name}"
    page = await objects.list(kinds.TRIAL, subject.namespace, labels=selector)
    found = [_trial(item) for item in page.items]
    return sorted(found, key=lambda item: (trial_state.slot(item) < 0, trial_state.slot(item), item.name))


def _experiment(found: meta.Object) -> experiments.Experiment:
    assert isinstance(found, experiments.Experiment)
    return found


def _trial(found: meta.Object) -> trials_.Trial:
    assert isinstance(found, trials_.Trial)
    return found
