"""The contract of search algorithms as a test class: inherit it, name your class, run pytest.

::

    from kuttab.testing.algorithms import AlgorithmContract

    class TestMine(AlgorithmContract):
        algorithm = mine.Mine
        settings = {"some_setting": "3"}

It plays whole searches against a cheap function, with failures, NaN, restarts and any order of arrival, and compares the
answers. It needs pytest and starts a short Python process.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from kuttab.algorithms import algorithm as algorithms
from kuttab.algorithms import history as histories
from kuttab.algorithms import space as spaces
from kuttab.api import space as api
from kuttab.api.history import TrialState

Judge = Callable[[int, spaces.Point], tuple[TrialState, tuple[float, ...], str]]
"""Number and point to how the trial ended: state, objectives, reason."""


def parameter(name: str, kind: str, **feasible: Any) -> api.ParameterSpec:
    """A parameter in short: ``parameter("lr", "double", min="0.1", max="1")``; a list is called ``choices``."""
    return api.ParameterSpec(name=name, parameter_type=kind, feasible_space=api.FeasibleSpace(**feasible))


MIXED = [
    parameter("rate", "double", min="1e-5", max="0.1", distribution="logUniform"),
    parameter("momentum", "double", min="0", max="0.99"),
    parameter("layers", "int", min="1", max="12"),
    parameter("width", "discrete", choices=["16", "32", "64", "128"]),
    parameter("kind", "categorical", choices=["relu", "tanh", "gelu"]),
    parameter("drop", "double", min="0", max="0.5", step="0.05"),
]
"""A parameter of every type."""

SMALL = [parameter("a", "int", min="1", max="4"), parameter("b", "categorical", choices=["x", "y"])]
"""Eight points."""


def value_of(space: spaces.Space, point: spaces.Point) -> float:
    """A smooth objective with its minimum inside the space; categories count by their place."""
    if not len(space):
        return 0.0
    units = space.to_unit(point)
    return float(((units - 0.35) ** 2).sum())


@dataclass
class Play:
    """A search under way: asks, judges, tells."""

    kind: type[algorithms.Algorithm]
    problem: algorithms.Problem
    judge: Judge

    def __post_init__(self) -> None:
        self.history = histories.History(self.problem.space, self.problem.directions)
        self.proposals: list[algorithms.Proposal] = []
        self.exhausted = False

    def run(
        self, trials: int, batch: int, *, check: Callable[[algorithms.Proposals, int, int], None] | None = None
    ) -> Play:
        """Ask for ``batch`` at a time until so many trials exist or nothing is left; results follow at once."""
        instance = self.kind(self.problem)
        while len(self.proposals) < trials and not self.exhausted:
            first, count = len(self.proposals), min(batch, trials - len(self.proposals))
            reply = instance.propose(self.history, first, count)
            if check is not None:
                check(reply, first, count)
            assert len(reply.items) <= count, "more proposals than asked for"
            short = len(reply.items) < count
            assert not short or reply.exhausted or reply.wait, "fewer proposals than asked for, and no reason"
            self.exhausted = reply.exhausted
            self.pend(reply.items, first)
            assert reply.items or self.exhausted or len(self.history.pending), "waits although nothing is under way"
            self.settle()
        return self

    def pend(self, items: Sequence[algorithms.Proposal], first: int) -> None:
        """Put proposals into the history as pending trials."""
        for number, item in enumerate(items, start=first):
            self.proposals.append(item)
            trial = histories.Trial(
                number, item.parameters, labels=item.labels, text=item.text, name=_name(item, number)
            )
            self.history.put(trial)

    def settle(self) -> None:
        """Judge every pending trial."""
        for number in sorted(self.history.pending_numbers):
            trial = self.history[number]
            state, values, reason = self.judge(number, trial.parameters)
            self.history.put(
                histories.Trial(
                    number, trial.parameters, state, values, reason, (), trial.labels, trial.text, trial.name
                )
            )


def _name(item: algorithms.Proposal, number: int) -> str:
    return item.trial_name or f"trial-{number}"


class AlgorithmContract:
    """What every search algorithm promises. Set ``algorithm``; the rest has defaults."""

    algorithm: ClassVar[type[algorithms.Algorithm]]
    settings: ClassVar[Mapping[str, str]] = {}
    """Settings by name, as text."""
    specs: ClassVar[Sequence[api.ParameterSpec]] = MIXED
    """A space that the algorithm takes."""
    small: ClassVar[Sequence[api.ParameterSpec]] = SMALL
    """A space of few points that the algorithm takes; empty when it takes none such."""
    nas: ClassVar[api.NasConfig | None] = None
    trials: ClassVar[int] = 40
    """Length of the searches."""
    parallel: ClassVar[int] = 4

    def problem(self, specs: Sequence[api.ParameterSpec] | None = None, **changes: Any) -> algorithms.Problem:
        """The problem to solve; it must pass ``check``."""
        given, problems = self.algorithm.Settings.parse(self.settings)
        assert given is not None, problems
        space = spaces.from_specs(self.specs if specs is None else specs)
        values: dict[str, Any] = {
            "space": space,
            "seed": 7,
            "settings": given,
            "max_trials": self.trials,
            "parallel": self.parallel,
            "nas": self.nas,
            "name": "contract",
            "metrics": ("objective",),
        }
        problem = algorithms.Problem(**{**values, **changes})
        assert self.algorithm.check(problem) == []
        return problem

    def good(self, problem: algorithms.Problem) -> Judge:
        """Every trial succeeds."""
        return lambda _, point: (TrialState.SUCCEEDED, (value_of(problem.space, point),), "")

    def play(self, problem: algorithms.Problem, judge: Judge | None = None) -> Play:
        """A search to run."""
        return Play(self.algorithm, problem, judge or self.good(problem))

    def test_proposals_are_typed_points_of_the_space(self) -> None:
        """Every proposal is a point of the space, with values of the declared types that survive being text."""
        problem = self.problem()
        free = self.algorithm.free(problem)
        for item in self.play(problem).run(self.trials, self.parallel).proposals:
            codes = problem.space.codes(item.parameters)
            assert problem.space.contains(codes, free), item
            for spec, value in zip(problem.space.parameters, item.parameters, strict=True):
                assert type(value) is {"int": int, "double": float}.get(str(spec.type), str), (spec.name, value)
            assert problem.space.parse(problem.space.format(item.parameters)) == item.parameters
            assert set(item.text) <= set(self.algorithm.text_names)

    def test_restart_after_every_ask_changes_nothing(self) -> None:
        """An instance made for the question answers like the one that has been there all along."""
        problem = self.problem()
        play = self.play(problem)

        def check(reply: algorithms.Proposals, first: int, count: int) -> None:
            assert self.algorithm(problem).propose(play.history, first, count) == reply

        play.run(self.trials, self.parallel, check=check)

    def test_order_of_arrival_changes_nothing(self) -> None:
        """The same trials, told in another order, give the same answer."""
        problem = self.problem()
        play = self.play(problem).run(self.trials // 2, self.parallel)
        backwards = histories.History(problem.space, problem.directions)
        for trial in reversed(list(play.history)):
            backwards.put(trial)
        first = len(play.proposals)
        expected = self.algorithm(problem).propose(play.history, first, 2)
        assert self.algorithm(problem).propose(backwards, first, 2) == expected

    def test_asking_twice_answers_the_same(self) -> None:
        """A question changes neither the history nor the next answer."""
        problem = self.problem()
        play = self.play(problem).run(self.trials // 2, self.parallel)
        instance = self.algorithm(problem)
        version, first = play.history.version, len(play.proposals)
        assert instance.propose(play.history, first, 2) == instance.propose(play.history, first, 2)
        assert play.history.version == version

    def test_other_processes_answer_the_same(self) -> None:
        """The answers do not depend on the process or on PYTHONHASHSEED."""
        here = transcript(self.algorithm, self.problem(), self.trials // 2, self.parallel)
        place = f"{type(self).__module__}:{type(self).__qualname__}"
        source = getattr(sys.modules[type(self).__module__], "__file__", "")
        hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", _REPLAY, source or "", place]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == json.loads(json.dumps(here))

    def test_batches_split_as_promised(self) -> None:
        """Where it is promised, one question for six equals six questions for one."""
        if not self.algorithm.batch_invariant:
            pytest.skip(f"{self.algorithm.name} learns within a batch")
        problem = self.problem()
        together = self.algorithm(problem).propose(histories.History(problem.space), 0, 6).items
        play = self.play(problem)
        for number in range(6):
            play.pend(self.algorithm(problem).propose(play.history, number, 1).items, number)
        assert tuple(play.proposals) == together

    def test_seed_decides(self) -> None:
        """The same seed gives the same points, another seed others."""
        if not len(self.specs):
            pytest.skip("no parameters")
        first = self.play(self.problem()).run(8, self.parallel).proposals
        again = self.play(self.problem()).run(8, self.parallel).proposals
        other = self.play(self.problem(seed=8)).run(8, self.parallel).proposals
        assert first == again
        assert [item.parameters for item in first] != [item.parameters for item in other]

    def test_points_are_distinct_with_everything_pending(self) -> None:
        """Without any result, no point is proposed twice."""
        if self.algorithm.repeats:
            pytest.skip(f"{self.algorithm.name} repeats points by design")
        problem = self.problem()
        play = self.play(problem)
        for first in range(0, 12, 3):
            play.pend(self.algorithm(problem).propose(play.history, first, 3).items, first)
        points = [item.parameters for item in play.proposals]
        assert len(points) == 12
        assert len(set(points)) == 12

    def test_points_are_distinct_in_a_whole_search(self) -> None:
        """With results, too."""
        if self.algorithm.repeats:
            pytest.skip(f"{self.algorithm.name} repeats points by design")
        points = [item.parameters for item in self.play(self.problem()).run(self.trials, self.parallel).proposals]
        assert len(set(points)) == len(points)

    def test_small_space_is_used_up_and_then_ends(self) -> None:
        """Every point of a small space is proposed once; then the answer says at once that nothing is left."""
        if self.algorithm.repeats or not self.small:
            pytest.skip(f"{self.algorithm.name} takes no small space, or repeats points by design")
        problem = self.problem(self.small)
        total = problem.space.cardinality
        assert total is not None
        play = self.play(problem).run(10 * total, 3)
        assert play.exhausted
        assert len({item.parameters for item in play.proposals}) == len(play.proposals) == total
        reply = self.algorithm(problem).propose(play.history, total, 2)
        assert reply == algorithms.Proposals(exhausted=True)

    @pytest.mark.parametrize(
        ("state", "values", "reason"),
        [
            (TrialState.FAILED, (), "UserError"),
            (TrialState.FAILED, (), "OutOfMemory"),
            (TrialState.FAILED, (), "Infrastructure"),
            (TrialState.KILLED, (), ""),
            (TrialState.METRICS_UNAVAILABLE, (), ""),
            (TrialState.EARLY_STOPPED, (), ""),
            (TrialState.SUCCEEDED, (math.nan,), ""),
            (TrialState.SUCCEEDED, (math.inf,), ""),
            (TrialState.SUCCEEDED, (-math.inf,), ""),
            (TrialState.SUCCEEDED, (1e308,), ""),
            (TrialState.SUCCEEDED, (0.0,), ""),
        ],
    )
    def test_bad_trials_do_not_break_it(self, state: TrialState, values: tuple[float, ...], reason: str) -> None:
        """It goes on when half of the trials, or all, end in any bad way: inside the space and without warnings."""
        problem = self.problem()
        for every in (1, 2):
            good = self.good(problem)

            def judge(number: int, point: spaces.Point, every: int = every, good: Judge = good) -> Any:
                return (state, values, reason) if number % every == 0 else good(number, point)

            play = self.play(problem, judge).run(min(self.trials, 24), self.parallel)
            assert play.proposals
            for item in play.proposals:
                codes = problem.space.codes(item.parameters)
                assert problem.space.contains(codes, self.algorithm.free(problem))

    def test_maximising_mirrors_minimising(self) -> None:
        """Maximising the negative proposes the same points as minimising."""
        least = self.problem()
        most = self.problem(directions=(-1,))
        minimised = self.play(least).run(self.trials // 2, self.parallel)
        good = self.good(most)

        def judge(number: int, point: spaces.Point) -> Any:
            state, (value,), reason = good(number, point)
            return state, (-value,), reason

        maximised = self.play(most, judge).run(self.trials // 2, self.parallel)
        assert minimised.proposals == maximised.proposals

    def test_names_itself(self) -> None:
        """It has a name, a line about itself, and a help text for every setting."""
        assert self.algorithm.name
        assert self.algorithm.summary.endswith(".")
        assert all(setting.help for setting in self.algorithm.Settings.describe())


def transcript(
    kind: type[algorithms.Algorithm], problem: algorithms.Problem, trials: int, batch: int
) -> list[dict[str, Any]]:
    """A whole search as plain data."""

    def judge(_: int, point: spaces.Point) -> Any:
        return TrialState.SUCCEEDED, (value_of(problem.space, point),), ""

    play = Play(kind, problem, judge).run(trials, batch)
    return [
        {
            "parameters": [repr(value) for value in item.parameters],
            "labels": dict(item.labels),
            "text": dict(item.text),
            "name": item.trial_name,
        }
        for item in play.proposals
    ]


_REPLAY = """
import importlib, importlib.util, json, sys
source, place = sys.argv[1:]
name, _, path = place.partition(":")
try:
    module = importlib.import_module(name)
except ImportError:
    spec = importlib.util.spec_from_file_location(name, source)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
found = module
for part in path.split("."):
    found = getattr(found, part)
case = found()
from kuttab.testing import algorithms
print(json.dumps(algorithms.transcript(case.algorithm, case.problem(), case.trials // 2, case.parallel)))
"""
