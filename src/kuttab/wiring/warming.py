"""Earlier results for algorithms in this process: from the ConfigMap that ``spec.warmStart`` names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from kuttab.api import experiment, history, kinds
from kuttab.base import errors
from kuttab.ports import objects as object_port
from kuttab.rules import prior

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
