"""Earlier results: stored with an experiment as the ConfigMap that ``spec.warmStart`` names, and read for algorithms in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kuttab.api import experiment, history, kinds, meta
from kuttab.base import errors
from kuttab.ports import objects as object_port
from kuttab.rules import prior

if TYPE_CHECKING:
    from kuttab.sdk import exchange, search

Priors = Callable[[experiment.Experiment], Awaitable[Sequence[history.TrialRecord]]]
"""The results that an experiment starts from, in a fixed order."""


async def none(subject: experiment.Experiment) -> Sequence[history.TrialRecord]:
    """For worlds that keep no ConfigMaps: refuses an experiment that asks for a warm start."""
    if subject.spec.warm_start is not None:
        raise errors.RefusedError("spec.warmStart: earlier results cannot be read here; leave warmStart out")
    return ()


def problems_of_service(subject: experiment.Experiment) -> list[errors.Problem]:
    """What keeps an algorithm that is a service of its own from a warm start: its contract has no place for earlier results."""
    if subject.spec.warm_start is None:
        return []
    message = (
        "a suggestion service cannot be told earlier results: its contract has no place for them; leave warmStart out"
    )
    return [errors.Problem("spec.warmStart", message, "FieldValueForbidden")]


def from_objects(objects: object_port.Objects) -> Priors:
    """Reads them through an objects client. A ConfigMap that is missing is waited for: it may be created after the experiment."""

    async def read(subject: experiment.Experiment) -> Sequence[history.TrialRecord]:
        given = subject.spec.warm_start
        if given is None:
            return ()
        try:
            found = await objects.get(kinds.CONFIG_MAP, subject.namespace, given.config_map_name)
        except errors.NotFoundError as problem:
            raise errors.UnavailableError(
                f"spec.warmStart: waits for the ConfigMap {given.config_map_name}; create it in namespace {subject.namespace}"
            ) from problem
        text = found.section("data").get(prior.KEY, "")
        objective = subject.spec.objective or experiment.ObjectiveSpec()
        try:
            return prior.read(text, objective.objective_metric_name)
        except errors.BadInputError as problem:
            raise errors.RefusedError(f"ConfigMap {given.config_map_name}: {problem.message}") from problem

    return read


async def started_from(
    objects: Any, subject: experiment.Experiment, given: Any, space: Mapping[str, search.Dimension] | None = None
) -> tuple[experiment.Experiment, exchange.Prior]:
    """The experiment with its earlier results stored, to be created next; ``given`` is what :func:`exchange.source_of` takes.

    A name is that of an experiment of the same store. Raises BadInputError when nothing of it can be used.
    """
    from kuttab.sdk import exchange, results  # they bring the plots, which most runs never need

    if isinstance(given, str) and not given.lower().endswith(".csv"):
        from kuttab.wiring import reading  # it stands on the machine, which stands on this

        old = await reading.experiment_of(objects, given, None)
        given = results.Result.of(old, await reading.trials_of(objects, old))
    found = exchange.prior(subject, exchange.source_of(given), space)
    changed, config_map = exchange.attach(subject, found)
    with contextlib.suppress(errors.AlreadyExistsError):  # its name is a digest of its content
        await objects.create(config_map)
    return changed, found


async def own(objects: Any, subject: experiment.Experiment) -> None:
    """Let the earlier results of a stored experiment go when it goes."""
    given = subject.spec.warm_start
    if given is None or "-prior-" not in given.config_map_name:
        return
    owner = meta.OwnerReference(api_version=subject.api_version, kind=subject.kind, name=subject.name, uid=subject.uid)
    with contextlib.suppress(errors.NotFoundError, errors.ConflictError):
        found = await objects.get(kinds.CONFIG_MAP, subject.namespace, given.config_map_name)
        owners = [*(found.metadata.owner_references or ()), owner]
        await objects.update(meta.evolve(found, metadata=meta.evolve(found.metadata, owner_references=owners)))
