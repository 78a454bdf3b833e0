"""The columns behind a search's trials."""

from __future__ import annotations

import math
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuttab.algorithms import history as histories
from kuttab.algorithms import space as spaces
from kuttab.api.history import TrialState
from kuttab.testing.algorithms import MIXED, SMALL, parameter

SPACE = spaces.from_specs(SMALL)


def trial(
    number: int, state: TrialState = TrialState.SUCCEEDED, values: tuple[float, ...] = (1.0,), **more: object
) -> histories.Trial:
    """A trial at a point of the small space that follows from its number."""
    return histories.Trial(number, SPACE.point(SPACE.at(number % 8)), state, values, **more)  # type: ignore[arg-type]


def test_rows_run_by_number_whatever_the_order_of_arrival() -> None:
    """Trials told backwards make the same arrays."""
    forward, backward = histories.History(SPACE), histories.History(SPACE)
    for number in range(20):
        forward.put(trial(number, values=(float(number),)))
        backward.put(trial(19 - number, values=(float(19 - number),)))
    assert list(forward) == list(backward)
    assert np.array_equal(forward.X, backward.X)
    assert np.array_equal(forward.y, backward.y)


@pytest.mark.parametrize(
    ("state", "values", "reason", "standing"),
    [
        (TrialState.PENDING, (), "", histories.PENDING),
        (TrialState.RUNNING, (), "", histories.PENDING),
        (TrialState.SUCCEEDED, (1.0,), "", histories.FINISHED),
        (TrialState.EARLY_STOPPED, (1.0,), "", histories.FINISHED),
        (TrialState.SUCCEEDED, (math.nan,), "", histories.INFEASIBLE),
        (TrialState.SUCCEEDED, (math.inf,), "", histories.INFEASIBLE),
        (TrialState.SUCCEEDED, (), "", histories.INFEASIBLE),
        (TrialState.EARLY_STOPPED, (), "", histories.VOID),
        (TrialState.METRICS_UNAVAILABLE, (), "", histories.INFEASIBLE),
        (TrialState.FAILED, (), "", histories.INFEASIBLE),
        (TrialState.FAILED, (), "UserError", histories.INFEASIBLE),
        (TrialState.FAILED, (), "OutOfMemory", histories.INFEASIBLE),
        (TrialState.FAILED, (), "DeadlineExceeded", histories.INFEASIBLE),
        (TrialState.FAILED, (), "Infrastructure", histories.VOID),
        (TrialState.FAILED, (), "Cancelled", histories.VOID),
        (TrialState.KILLED, (), "", histories.VOID),
    ],
)
def test_failures_are_told_apart(state: TrialState, values: tuple[float, ...], reason: str, standing: int) -> None:
    """What the parameters are to blame for is infeasible; a broken machine or a killed trial says nothing."""
    log = histories.History(SPACE)
    log.put(trial(0, state, values, reason=reason))
    assert log[0].standing == standing
    views = {histories.PENDING: log.pending, histories.FINISHED: log.finished, histories.INFEASIBLE: log.infeasible}
    for name, rows in views.items():
        assert rows.tolist() == ([0] if name == standing else [])


def test_objectives_are_turned_and_turned_back() -> None:
    """Inside less is better; a trial reads back as it was told."""
    log = histories.History(SPACE, (-1, 1))
    log.put(trial(0, values=(3.0, 2.0)))
    log.put(trial(1, values=(5.0, 9.0)))
    assert log.Y.tolist() == [[-3.0, 2.0], [-5.0, 9.0]]
    assert log[1].values == (5.0, 9.0)
    best = log.best()
    assert best is not None
    assert best.number == 1


def test_repeated_news_is_no_news() -> None:
    """Putting an equal trial changes neither the log nor its version; a changed one does."""
    log = histories.History(SPACE)
    assert log.put(trial(3, TrialState.RUNNING, ()))
    version = log.version
    assert not log.put(trial(3, TrialState.RUNNING, ()))
    assert log.version == version
    assert log.put(trial(3))
    assert log.version > version
    assert not log.put(trial(3))


def test_nan_is_told_from_nothing() -> None:
    """A trial told NaN reads back NaN, one without a value reads back without."""
    log = histories.History(SPACE)
    log.put(trial(0, values=(math.nan,)))
    log.put(trial(1, TrialState.FAILED, ()))
    assert math.isnan(log[0].values[0])
    assert log[1].values == ()


@pytest.mark.parametrize(
    "bad",
    [
        histories.Trial(0, (1, "w")),
        histories.Trial(0, (1,)),
        histories.Trial(0, (1, "x"), values=(1.0, 2.0)),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_no_trace(bad: histories.Trial) -> None:
    """A foreign value, a wrong length: ValueError, and the log is as before."""
    log = histories.History(SPACE)
    with pytest.raises(ValueError):  # noqa: PT011 - the kinds of mistake differ, the promise is the type
        log.put(bad)
    assert len(log) == 0
    assert log.version == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["put", "finish", "fail", "remove"]), st.floats(-5, 5)),
        max_size=60,
    )
)
@settings(deadline=None, max_examples=60)
def test_it_is_a_dictionary_with_arrays(steps: list[tuple[int, str, float]]) -> None:
    """After any puts and removals every view agrees with a plain dictionary."""
    log, model = histories.History(SPACE), dict[int, histories.Trial]()
    log.seen(SPACE.at(0))  # makes the key table, so that it is kept up to date
    for number, verb, value in steps:
        if verb == "remove":
            log.remove(number)
            model.pop(number, None)
            continue
        state = {"put": TrialState.PENDING, "finish": TrialState.SUCCEEDED, "fail": TrialState.FAILED}[verb]
        item = trial(number, state, (value,) if verb == "finish" else (), name=f"t{number}")
        log.put(item)
        model[number] = item
    assert list(log) == [model[number] for number in sorted(model)]
    assert log.pending_numbers == {n for n, t in model.items() if t.state is TrialState.PENDING}
    assert log.numbers[log.finished].tolist() == sorted(n for n, t in model.items() if t.values)
    assert log.distinct == len({t.parameters for t in model.values()})
    for index in range(8):
        assert log.seen(SPACE.at(index)) == any(t.parameters == SPACE.point(SPACE.at(index)) for t in model.values())
    assert log.next_number == max(model, default=-1) + 1


def test_twenty_thousand_trials_are_small() -> None:
    """A finished trial of ten parameters takes less than 400 bytes, the table of seen points included."""
    specs = [*MIXED, *(parameter(f"x{i}", "double", min="0", max="1") for i in range(4))]
    space = spaces.from_specs(specs)
    points = [space.point(row) for row in space.sample(np.random.default_rng(0), 2000)]
    tracemalloc.start()
    log = histories.History(space)
    log.seen(space.codes(points[0]))
    for number, point in enumerate(points):
        log.put(histories.Trial(number, point, TrialState.SUCCEEDED, (1.0,)))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(points) < 400, sys.version
