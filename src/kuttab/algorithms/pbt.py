"""``pbt``: population based training (Jaderberg et al., "Population Based Training of Neural Networks", 2017), Katib's form.

Trials come in generations. The first is sampled; each later member descends from a member of the generation before: it goes on from
its checkpoint, with changed parameters. Of a generation's results, the worst share ``truncation_threshold`` is given up: its
descendants take parameters *and* checkpoint of a random member of the best share ("exploit"; a second copy of the same member
changes its parameters, or it would only repeat the first). All others keep their own checkpoint
and change their parameters ("explore"): each by a factor 0.8 or 1.2 (lists: to a neighbour), or, when ``resample_probability`` is
given, each drawn anew with that probability. A generation is complete when it has more than ``n_population`` results; until then
more of its members are made, so nothing waits for stragglers.

The generation and the trial whose checkpoint a trial starts from stand in the trial's labels; copying the folder is the job of
whoever runs trials. Nothing else is remembered: generations are read from the labels in the history.

A member that was killed, or lost its machine, is made again with the same parameters and parent. One that failed by itself is made
again once; after a second failure its parameters are taken to be the cause.
"""

from __future__ import annotations

import dataclasses
import hashlib
import posixpath
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np

from kuttab.algorithms import algorithm
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms.parameters import Floats, Parameter
from kuttab.api import keys
from kuttab.base import errors, ids

FACTORS = (0.8, 1.2)
ATTEMPTS = 2  # of the same parameters and parent, when they fail by themselves
STEPS = 8  # changes after which a copy may be like another one

_SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys")  # with everything below
_SHARED = ("home", "opt", "root", "run", "tmp", "usr", "var")  # they themselves


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(settings_.Settings):
    """Settings of pbt; names and defaults are Katib's."""

    suggestion_trial_dir: str = settings_.text(
        settings_.REQUIRED, "Folder in the trial that holds its checkpoint and is handed on."
    )
    n_population: int = settings_.integer(
        settings_.REQUIRED, "Results that a generation must exceed.", at_least=5, at_most=10_000
    )
    truncation_threshold: float = settings_.real(
        settings_.REQUIRED, "Share of a generation that is given up for copies of the best.", at_least=0, at_most=1
    )
    resample_probability: float | None = settings_.real(
        None, "Chance of drawing a parameter anew; None changes each by a factor.", at_least=0, at_most=1, none=True
    )

    @classmethod
    def parse(cls, given: Mapping[str, str], path: str = settings_.PATH) -> tuple[Self | None, list[errors.Problem]]:
        """Besides the ranges: the folder must be one that a trial may have for itself."""
        read, problems = super().parse(given, path)
        folder = given.get("suggestion_trial_dir", "").strip()
        message = _folder_problem(folder) if folder else ""
        if message:
            problems.append(errors.Problem(f"{path}[suggestion_trial_dir]", message))
        return (None if problems else read), problems


def _folder_problem(folder: str) -> str:
    if not folder.startswith("/") or ".." in folder.split("/") or "\0" in folder:
        return f"must be an absolute path without '..', not {folder!r}"
    parts = posixpath.normpath(folder).strip("/").split("/")
    if not parts[0] or parts[0] in _SYSTEM or (len(parts) == 1 and parts[0] in _SHARED):
        return f"{folder!r} belongs to the system; name a folder of the trial's own, such as /var/log/katib/checkpoints"
    return ""


@dataclasses.dataclass(frozen=True)
class Member:
    """A trial as PBT sees it; ``y`` is None without a result, less is better."""

    number: int
    name: str
    codes: Floats
    generation: int
    parent: str
    standing: int
    y: float | None

    @property
    def kind(self) -> tuple[bytes, int, str]:
        """What makes two members attempts at the same."""
        return self.codes.tobytes(), self.generation, self.parent


class Pbt(algorithm.Algorithm):
    """See the module."""

    name = "pbt"
    summary = "Population based training: good trials hand on their checkpoint."
    warm_start = False
    Settings: ClassVar[type[settings_.Settings]] = Settings
    batch_invariant = True
    repeats = True

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """A space is needed."""
        return algorithm.require_parameters(problem)

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """Members to make again, then new ones of the current generation; O(trials) a call."""
        members = [_member(history, row) for row in range(len(history))]
        items = []
        for number in range(first, first + count):
            member = self._next(members, number)
            members.append(member)
            labels = {keys.LABEL_PBT_GENERATION: str(member.generation)}
            if member.parent:
                labels[keys.LABEL_PBT_PARENT] = member.parent
            items.append(algorithm.Proposal(self.space.point(member.codes), labels=labels, trial_name=member.name))
        return algorithm.Proposals(tuple(items))

    def _next(self, members: list[Member], number: int) -> Member:
        again = _due_again(members)
        name = self._name(number)
        if again is not None:
            return dataclasses.replace(again, number=number, name=name, standing=histories.PENDING, y=None)
        generation, pool = self._current(members)
        generator = self.random(number)
        codes, parent = self.space.sample(generator, 1)[0], ""
        if pool:
            codes, parent = self._descend(pool, _born(members, generation), generator)
            known = {m.kind for m in members}
            for _ in range(STEPS):  # two losers copy one winner: the second copy goes its own way
                if (codes.tobytes(), generation, parent) not in known:
                    break
                codes = self._explore(codes, generator)
        return Member(number, name, codes, generation, parent, histories.PENDING, None)

    def _current(self, members: list[Member]) -> tuple[int, list[Member]]:
        """The generation that is being made and the results of the one before, by number."""
        generation, pool = 0, list[Member]()
        while True:
            results = [m for m in members if m.generation == generation and m.y is not None]
            if len(results) <= self.problem.settings.n_population:
                return generation, pool
            generation, pool = generation + 1, sorted(results, key=lambda m: m.number)

    def _descend(self, pool: list[Member], index: int, generator: np.random.Generator) -> tuple[Floats, str]:
        """Parameters and parent of descendant number ``index``: the pool's members take turns."""
        member = pool[index % len(pool)]
        ranked = sorted(pool, key=lambda m: (m.y, m.number))
        share = int(len(pool) * self.problem.settings.truncation_threshold)
        if member in ranked[len(ranked) - share :]:
            better = ranked[int(generator.integers(share))]
            return better.codes, better.name
        return self._explore(member.codes, generator), member.name

    def _explore(self, codes: Floats, generator: np.random.Generator) -> Floats:
        chance = self.problem.settings.resample_probability
        fresh = self.space.sample(generator, 1)[0]
        out = codes.copy()
        for j, parameter in enumerate(self.space.parameters):
            draw = float(generator.random())
            if chance is not None:
                out[j] = fresh[j] if draw < chance else codes[j]
            else:
                out[j] = _perturb(parameter, float(codes[j]), draw < 0.5, float(fresh[j]))
        return out

    def _name(self, number: int) -> str:
        """``<experiment>-`` and a uuid made from the seed and the number; shorter where names would grow beyond 63."""
        experiment = self.problem.name or "pbt"
        digest = hashlib.sha256(f"{experiment}\x1f{self.problem.seed}\x1f{number}".encode()).hexdigest()
        uuid = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
        if len(experiment) + len(uuid) < 63:
            return f"{experiment}-{uuid}"
        return f"{experiment[:54].rstrip('-')}-{ids.digest_name(experiment, self.problem.seed, number)}"


def _member(history: histories.History, row: int) -> Member:
    trial = history[int(history.numbers[row])]
    text = trial.labels.get(keys.LABEL_PBT_GENERATION, "")
    generation = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    y = float(history.y[row]) if trial.standing == histories.FINISHED else None
    parent = trial.labels.get(keys.LABEL_PBT_PARENT, "")
    return Member(trial.number, trial.name, history.codes[row].copy(), generation, parent, trial.standing, y)


def _due_again(members: list[Member]) -> Member | None:
    """The earliest member whose last attempt was lost, or failed and may be tried once more."""
    last: dict[tuple[bytes, int, str], Member] = {}
    failures: dict[tuple[bytes, int, str], int] = {}
    for member in sorted(members, key=lambda m: m.number):
        last[member.kind] = member
        failures[member.kind] = failures.get(member.kind, 0) + (member.standing == histories.INFEASIBLE)
    for kind, member in last.items():
        if member.standing == histories.VOID or (member.standing == histories.INFEASIBLE and failures[kind] < ATTEMPTS):
            return member
    return None


def _born(members: list[Member], generation: int) -> int:
    """How many places of a generation are taken: attempts at the same place count once."""
    own = [m for m in members if m.generation == generation]
    failures: dict[tuple[bytes, int, str], int] = {}
    for member in own:
        if member.standing == histories.INFEASIBLE:
            failures[member.kind] = failures.get(member.kind, 0) + 1
    alive = sum(m.standing in (histories.FINISHED, histories.PENDING) for m in own)
    return alive + sum(count // ATTEMPTS for count in failures.values())


def _perturb(parameter: Parameter, code: float, down: bool, fresh: float) -> float:
    """A list's neighbour, wrapping at both ends; a number times 0.8 or 1.2, on its grid and clipped to its range."""
    if parameter.low == parameter.high:
        return code
    if parameter.listed:
        return float((code + (-1 if down else 1)) % len(parameter.choices))
    wish = min(max(code * FACTORS[0 if down else 1], parameter.low), parameter.high)
    if not parameter.step:
        return fresh if wish == code == 0 else wish
    last = (parameter.count or 1) - 1
    index, before = round((wish - parameter.low) / parameter.step), round((code - parameter.low) / parameter.step)
    if index == before:  # a grid coarser than the factor: one step, unless the bound is in the way
        index += 1 if wish > code else -1 if wish < code else 0
    return parameter.at(min(max(index, 0), last))
