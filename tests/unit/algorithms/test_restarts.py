"""Long searches with a costly model: a restart after any ask changes nothing."""

from __future__ import annotations

import pytest

from kuttab.algorithms import algorithm as algorithms
from kuttab.algorithms import history as histories
from kuttab.algorithms import registry
from kuttab.algorithms import space as spaces
from kuttab.api.history import TrialState
from kuttab.testing.algorithms import MIXED, value_of


@pytest.mark.slow
def test_restart_after_every_ask_for_a_hundred_trials() -> None:
    """A fresh instance with the same trials answers like the old one; every tenth time the history is rebuilt, too, backwards."""
    space = spaces.from_specs([MIXED[0], MIXED[2], MIXED[4]])  # a double, an int, a choice
    kind = registry.load("auto")
    problem = algorithms.Problem(space, seed=5, settings=kind.Settings(), max_trials=100)
    lasting, log = kind(problem), histories.History(space)
    for number in range(100):
        reply = lasting.propose(log, number, 1)
        past = log
        if number % 10 == 9:
            past = histories.History(space)
            for trial in reversed(list(log)):
                past.put(trial)
        assert kind(problem).propose(past, number, 1) == reply
        point = reply.items[0].parameters
        failed = number % 30 == 20
        end = (
            (TrialState.FAILED, (), "OutOfMemory") if failed else (TrialState.SUCCEEDED, (value_of(space, point),), "")
        )
        log.put(histories.Trial(number, point, *end))
