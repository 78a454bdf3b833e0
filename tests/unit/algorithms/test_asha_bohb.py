"""asha and bohb: promotions against a plain reference, no waiting, and a model that helps."""

from __future__ import annotations

import heapq
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuttab.algorithms import algorithm, asha, bohb, halving
from kuttab.algorithms import history as histories
from kuttab.algorithms import space as spaces
from kuttab.api import space as api
from kuttab.api.history import TrialState
from kuttab.testing.algorithms import parameter

X = parameter("x", "double", min="0", max="1")
EPOCHS = parameter("epochs", "int", min="1", max="9")


def make(
    specs: list[api.ParameterSpec] | None = None, kind: type[asha.Asha] = asha.Asha, seed: int = 0, **given_: str
) -> algorithm.Problem:
    """A problem over x and epochs 1..9."""
    read, problems = kind.Settings.parse({"resource_name": "epochs", **given_})
    assert read is not None, problems
    return algorithm.Problem(spaces.from_specs(specs or [X, EPOCHS]), settings=read, seed=seed)


def put(history: histories.History, number: int, x: float, epochs: int, y: float | None, state: TrialState) -> None:
    """A trial."""
    values = () if y is None else (y,)
    history.put(histories.Trial(number, (x, epochs), state, values, "UserError" if state is TrialState.FAILED else ""))


def build(*trials: tuple[float, int, float | None]) -> histories.History:
    """Trials (x, epochs, objective): None runs, NaN failed."""
    history = histories.History(make().space)
    for number, (x, epochs, y) in enumerate(trials):
        if y is None:
            put(history, number, x, epochs, None, TrialState.RUNNING)
        elif math.isnan(y):
            put(history, number, x, epochs, None, TrialState.FAILED)
        else:
            put(history, number, x, epochs, y, TrialState.SUCCEEDED)
    return history


def asked(history: histories.History, count: int = 1) -> list[spaces.Point]:
    """What is proposed next; x rounded, None for a new configuration."""
    items = asha.Asha(make()).propose(history, len(history), count).items
    known = {trial.parameters[0] for trial in history}
    return [(p.parameters[0] if p.parameters[0] in known else -1.0, p.parameters[1]) for p in items]


NEW = (-1.0, 1)


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ([], [NEW]),
        ([(0.1, 1, 5.0), (0.2, 1, 4.0)], [NEW]),  # two of three
        ([(0.1, 1, 5.0), (0.2, 1, 4.0), (0.3, 1, 6.0)], [(0.2, 3), NEW]),  # the best third, once
        ([(0.1, 1, 5.0), (0.2, 1, 4.0), (0.3, 1, None)], [NEW]),  # a running one has not ended
        ([(0.1, 1, 5.0), (0.2, 1, 4.0), (0.3, 1, math.nan)], [(0.2, 3), NEW]),  # a failed one has
        ([(0.1, 1, math.nan)] * 3, [NEW]),  # ... and is never promoted
        ([(0.1, 1, 5.0), (0.2, 1, 4.0), (0.3, 1, 6.0), (0.2, 3, None)], [NEW]),  # on its way already
        ([(0.1, 1, 5.0), (0.2, 1, 4.0), (0.3, 1, 6.0), (0.2, 3, math.nan)], [NEW]),  # failed up there: no second try
        ([(0.1, 1, 4.0), (0.2, 1, 4.0), (0.3, 1, 6.0)], [(0.1, 3), NEW]),  # of equals the earliest
        (
            [(0.1, 1, 1.0), (0.2, 1, 2.0), (0.3, 1, 3.0), (0.4, 1, 4.0), (0.5, 1, 5.0), (0.6, 1, 6.0)],
            [(0.1, 3), (0.2, 3), NEW],
        ),
        (
            [(0.1, 1, 1.0), (0.2, 1, 2.0), (0.3, 1, 3.0), (0.1, 3, 9.0), (0.2, 3, 8.0), (0.3, 3, 7.0)],
            [(0.3, 9), NEW],  # the highest rung first; the top is the end
        ),
        ([(0.1, 2, 1.0), (0.2, 2, 1.0), (0.3, 2, 1.0)], [NEW]),  # on no rung: does not count
    ],
)
def test_promotions_worked_by_hand(
    trials: list[tuple[float, int, float | None]], expected: list[tuple[float, int]]
) -> None:
    """With eta 3 and rungs 1, 3, 9."""
    assert asked(build(*trials), len(expected)) == expected


def test_a_killed_promotion_is_made_again() -> None:
    """A trial whose machine was lost says nothing, so its configuration is still due."""
    history = build((0.1, 1, 5.0), (0.2, 1, 4.0), (0.3, 1, 6.0))
    put(history, 3, 0.2, 3, None, TrialState.KILLED)
    assert asked(history) == [(0.2, 3)]


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from([1, 3, 9]), st.integers(0, 5) | st.none()), max_size=30))
def test_promotions_equal_a_plain_reference(trials: list[tuple[int, int, int | None]]) -> None:
    """For any history the proposal is what the definition says, written once more in the plainest way."""
    rows = [(x / 10, epochs, None if y is None else float(y)) for x, epochs, y in trials]
    expected: tuple[float, int] = NEW
    for low, high in ((3, 9), (1, 3)):
        ended = sorted((y, i, x) for i, (x, e, y) in enumerate(rows) if e == low and y is not None)
        due = [x for _, _, x in ended[: len(ended) // 3] if all((x, high) != (r[0], r[1]) for r in rows)]
        if due:
            expected = (due[0], high)
            break
    assert asked(build(*rows)) == [expected]


@pytest.mark.parametrize(
    ("spec", "low", "high", "eta", "expected"),
    [
        (parameter("epochs", "int", min="1", max="100"), 1, 100, 3, [1, 4, 11, 33, 100]),
        (parameter("epochs", "int", min="1", max="81"), 1, 81, 3, [1, 3, 9, 27, 81]),
        (parameter("epochs", "int", min="1", max="243"), 1, 243, 3, [1, 3, 9, 27, 81, 243]),
        (parameter("epochs", "int", min="0", max="100", step="10"), 10, 100, 3, [10, 30, 100]),
        (parameter("epochs", "double", min="0.1", max="1"), 0.1, 1, 2, [0.125, 0.25, 0.5, 1]),
        (parameter("epochs", "discrete", choices=["1", "2", "5", "20", "50"]), 1, 50, 3, [1, 5, 50]),
        (parameter("epochs", "int", min="1", max="3"), 1, 3, 1.5, [1, 2, 3]),
    ],
)
def test_rungs_count_down_from_the_most(
    spec: api.ParameterSpec, low: float, high: float, eta: float, expected: list[float]
) -> None:
    """The last step is a whole one; every amount is a value of the parameter."""
    (resource,) = spaces.from_specs([spec]).parameters
    assert halving.levels(resource, low, high, eta) == tuple(expected)


@pytest.mark.parametrize(
    ("given_", "path"),
    [
        ({"resource_name": "epoch"}, "resource_name"),
        ({"min_resource": "10"}, "min_resource"),
        ({"max_resource": "10"}, "max_resource"),
        ({"max_resource": "2.5"}, "max_resource"),
        ({"min_resource": "5"}, "max_resource"),  # 5..9 is less than threefold
        ({"brackets": "4"}, "brackets"),
    ],
)
def test_impossible_combinations_are_refused(given_: dict[str, str], path: str) -> None:
    """Resources outside the parameter, one rung only, more brackets than rungs."""
    found = [p.path for p in asha.Asha.check(make(**given_))]
    assert found[:1] == [f"spec.algorithm.algorithmSettings[{path}]"]


def test_a_resource_that_starts_at_zero_needs_a_least_amount() -> None:
    """Nothing can be multiplied from 0."""
    specs = [X, parameter("epochs", "int", min="0", max="9")]
    assert [p.path for p in asha.Asha.check(make(specs))] == ["spec.algorithm.algorithmSettings[min_resource]"]
    assert asha.Asha.check(make(specs, min_resource="1")) == []


def test_a_small_space_waits_and_then_ends() -> None:
    """Three configurations: after them results must come first; when nothing can follow, the search is exhausted."""
    subject = make([parameter("c", "categorical", choices=["a", "b", "c"]), EPOCHS])
    history = histories.History(subject.space)
    first = asha.Asha(subject).propose(history, 0, 5)
    assert [p.parameters[1] for p in first.items] == [1, 1, 1]
    assert first.wait
    assert not first.exhausted
    for number, item in enumerate(first.items):
        history.put(histories.Trial(number, item.parameters, TrialState.SUCCEEDED, (float(number),)))
    second = asha.Asha(subject).propose(history, 3, 2)
    assert [p.parameters for p in second.items] == [(first.items[0].parameters[0], 3)]
    history.put(histories.Trial(3, second.items[0].parameters, TrialState.SUCCEEDED, (1.0,)))
    assert asha.Asha(subject).propose(history, 4, 2).exhausted


def test_brackets_start_with_hyperbands_shares() -> None:
    """New configurations start on the lowest rungs in proportion to eta^(top-b) / (top-b+1)."""
    subject = make(brackets="3")
    items = asha.Asha(subject).propose(histories.History(subject.space), 0, 3000).items
    counts = np.array([sum(p.parameters[1] == epochs for p in items) for epochs in (1, 3, 9)])
    shares = np.array([9 / 3, 3 / 2, 1])
    expected = 3000 * shares / shares.sum()
    assert (((counts - expected) ** 2) / expected).sum() < 18.4  # chi-square, 2 degrees, 1e-4


def simulate(
    kind: type[asha.Asha], workers: int, budget: float, seed: int, eta: str = "3"
) -> tuple[float, float, float]:
    """Virtual workers with heavy-tailed speeds on a curve that epochs improve: utilisation, best true value, resource spent."""
    specs = [parameter(name, "double", min="0", max="1") for name in "abcd"]
    specs += [parameter("kind", "categorical", choices=["p", "q", "r"]), parameter("epochs", "int", min="1", max="27")]
    subject = make(specs, kind, seed, eta=eta)
    source = random.Random(seed)
    history = histories.History(subject.space)
    instance = kind(subject)
    running: list[tuple[float, int]] = []
    busy = now = spent = 0.0
    best = math.inf
    while now < budget:
        free = workers - len(running)
        first = history.next_number
        reply = instance.propose(history, first, free)
        for number, item in enumerate(reply.items, first):
            history.put(histories.Trial(number, item.parameters))
            time = item.parameters[-1] * source.paretovariate(1.5)
            heapq.heappush(running, (now + time, number))
        assert running
        then, number = heapq.heappop(running)
        busy += (len(running) + 1) * (min(then, budget) - now)
        now = then
        point = history[number].parameters
        *numbers, word, epochs = point
        true = sum((u - 0.7) ** 2 for u in numbers) + {"p": 0.0, "q": 0.1, "r": 0.3}[word]
        value = true + 0.5 * epochs**-0.7 + source.gauss(0, 0.02)
        history.put(histories.Trial(number, point, TrialState.SUCCEEDED, (value,)))
        spent += epochs
        if epochs == 27:
            best = min(best, true)
    return busy / (workers * min(now, budget)), best, spent


@pytest.mark.slow
@pytest.mark.parametrize("kind", [asha.Asha, bohb.Bohb])
def test_workers_are_never_idle(kind: type[asha.Asha]) -> None:
    """With 64 workers and heavy-tailed run times, utilisation stays above 95 %."""
    utilisation, best, _ = simulate(kind, 64, 60.0, seed=1)
    assert utilisation > 0.95
    assert math.isfinite(best)


@pytest.mark.slow
def test_the_model_finds_better_configurations_than_chance() -> None:
    """At equal simulated time and workers, bohb's best full runs are better than asha's on average of several seeds."""
    pairs = [[simulate(kind, 16, 120.0, seed)[1] for kind in (asha.Asha, bohb.Bohb)] for seed in range(12)]
    chance, model = np.mean(pairs, axis=0)
    assert model < 0.75 * chance


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([1, 3, 9]), st.floats(-1e9, 1e9) | st.none()), max_size=25))
def test_bohb_proposes_new_points_from_any_history(trials: list[tuple[float, int, float | None]]) -> None:
    """Whatever the history, new configurations are inside the space and unseen."""
    history = build(*trials)
    items = bohb.Bohb(make(kind=bohb.Bohb)).propose(history, len(history), 4).items
    assert len(items) == 4
    known = {trial.parameters[0] for trial in history}
    for item in items:
        x, epochs = item.parameters
        assert 0 <= float(x) <= 1
        assert epochs == 1 or x in known
