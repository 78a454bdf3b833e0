"""What a search algorithm is. Read this before writing one.

The contract for authors
------------------------
* Subclass :class:`Algorithm`; give ``name``, ``summary`` and, when it has settings, a ``Settings`` class made of the fields
  of :mod:`kuttab.algorithms.settings`.
* ``check(problem)`` is called before an experiment starts and returns what cannot work, with the arithmetic and the field
  path. ``problem.settings`` has been read and its ranges checked by then.
* ``propose(history, first, count)`` proposes for the numbers ``first .. first + count - 1``. It may return fewer only with
  ``exhausted`` (nothing is left, ever) or ``wait`` (results must come first; the text says which).
* The answer is a function of (space, settings, seed, history, first, count). An instance may keep caches, but a fresh
  instance given the same history must answer the same. No clock, no global randomness, no I/O, no order of a set.
* Randomness comes from ``self.random(number)``: it depends on the seed and the number alone, so that asking for three at
  once or one after the other draws the same. Say ``batch_invariant = True`` when that makes the whole answer the same.
* ``history`` holds every trial, pending ones too; do not change it. Within a batch, treat the points you have just proposed
  as pending. Never propose a seen point while unseen ones are left: :mod:`kuttab.algorithms.distinct` does the bookkeeping.
* Numbers below 0 in the history are results from before the search (a warm start, ``history.before`` of them). They count
  towards an initial design. An algorithm whose plan they would upset says ``warm_start = False``.
* A failed trial is knowledge (``history.infeasible``), and NaN never reaches ``history.finished``.
* An algorithm for several objectives sets ``objectives`` and takes its settings class from
  :class:`kuttab.algorithms.settings.ObjectivesSettings`; ``problem.directions`` then has one entry per objective.
* Register the class under the entry point group ``kuttab.algorithms`` and run :mod:`kuttab.testing.algorithms` on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms import space as spaces
from kuttab.api.space import NasConfig
from kuttab.base import errors


@dataclass(frozen=True)
class Problem:
    """What is to be solved. ``directions``: 1 to minimise, -1 to maximise, one per objective.

    ``settings`` is an instance of the algorithm's ``Settings``; ``max_trials`` is None without a limit; ``name`` is the
    experiment's name; ``metrics`` are the objectives' names, in the order of ``directions``.
    """

    space: spaces.Space
    directions: tuple[int, ...] = (1,)
    seed: int = 0
    settings: Any = field(default_factory=settings_.Settings)
    max_trials: int | None = None
    parallel: int = 1
    nas: NasConfig | None = None
    name: str = ""
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """One point to try. ``parameters`` are typed and in the space's order.

    ``text`` holds assignments that are no parameters of the space, or that replace one (architecture search). ``labels``
    go on the trial; ``trial_name``, when given, is the trial's name.
    """

    parameters: spaces.Point
    labels: Mapping[str, str] = field(default_factory=dict)
    trial_name: str = ""
    text: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposals:
    """An answer. ``settings`` is state to keep and send back with the settings (hyperband)."""

    items: tuple[Proposal, ...] = ()
    exhausted: bool = False
    wait: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


class Algorithm:
    """Base of every search algorithm."""

    name: ClassVar[str]
    summary: ClassVar[str]
    Settings: ClassVar[type[settings_.Settings]] = settings_.Settings

    batch_invariant: ClassVar[bool] = False
    """Whether one batch of n equals n batches of one without results in between."""

    objectives: ClassVar[int] = 1
    """How many objectives it can take."""

    text_names: ClassVar[tuple[str, ...]] = ()
    """Names of the assignments it makes that are no parameters of the space (architecture search)."""

    warm_start: ClassVar[bool] = True
    """Whether results from before the search are of use to it."""

    repeats: ClassVar[bool] = False
    """Whether proposing a seen point is part of the method (rungs, populations, architecture search)."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.space = problem.space

    @classmethod
    def check(cls, problem: Problem) -> list[errors.Problem]:  # noqa: ARG003 - for subclasses
        """What makes the problem impossible for this algorithm; empty when it can be solved."""
        return []

    @classmethod
    def free(cls, problem: Problem) -> frozenset[str]:  # noqa: ARG003 - for subclasses
        """Names of the parameters whose proposed values may leave their range (a resource)."""
        return frozenset()

    def propose(self, history: histories.History, first: int, count: int) -> Proposals:
        """Points for the numbers ``first .. first + count - 1``; see the module's contract."""
        raise NotImplementedError

    def random(self, number: int, stream: int = 0) -> np.random.Generator:
        """The randomness of one number; ``stream`` (from 0) separates uses within it."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.problem.seed, number, stream))))


def require_parameters(problem: Problem) -> list[errors.Problem]:
    """The problem that a space without parameters is, for algorithms that need one."""
    if len(problem.space):
        return []
    return [errors.Problem("spec.parameters", "at least one parameter is needed", "FieldValueRequired")]
