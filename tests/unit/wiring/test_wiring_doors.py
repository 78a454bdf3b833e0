"""How fast one trial may report."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kuttab.wiring import doors


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> datetime:
        """Not asked for."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Where the hand points."""
        return self.time


def test_f16_a_flood_of_reports_is_slowed_to_a_rate_and_others_are_not() -> None:
    """F16: a burst goes through at once, what is beyond it is answered at the rate, and each trial has its own account."""
    clock = Hand()
    pace = doors.Pace(clock)
    assert [pace.wait("a") for _ in range(2000)] == [0.0] * 2000
    waits = [pace.wait("a") for _ in range(1000)]
    assert waits[0] == pytest.approx(1 / doors.RATE)
    assert waits[-1] == pytest.approx(1000 / doors.RATE)
    assert pace.wait("b") == 0
    clock.time = 3
    assert pace.wait("a") == 0
    clock.time = 1000
    assert [pace.wait("a") for _ in range(2001)][-2:] == [0.0, pytest.approx(1 / doors.RATE)]


def test_a_trial_that_has_ended_is_forgotten() -> None:
    """Nothing is kept of it."""
    pace = doors.Pace(Hand())
    for _ in range(3000):
        pace.wait("a")
    pace.forget("a")
    pace.forget("a")
    assert pace.wait("a") == 0
