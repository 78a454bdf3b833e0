"""Curves of the objective, against plain recomputation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuttab.algorithms.stopping.curves import Curve

NAN = math.nan
INF = math.inf


def test_a_curve_answers_by_report_and_by_step() -> None:
    """Averages, best values and step look-ups of a small curve worked by hand."""
    curve = Curve.of([(2, 4.0), (4, NAN), (8, 1.0), (16, 7.0)])
    assert [curve.average(n) for n in (1, 2, 3, 4, 9)] == [4.0, 4.0, 2.5, 4.0, 4.0]
    assert [curve.best(n, maximize=False) for n in (1, 2, 3, 4, 9)] == [4.0, 4.0, 1.0, 1.0, 1.0]
    assert [curve.best(n, maximize=True) for n in (1, 2, 3, 4)] == [4.0, 4.0, 4.0, 7.0]
    assert [curve.reports_until(step) for step in (1, 2, 7.9, 8, 99)] == [0, 1, 2, 3, 4]
    assert [curve.reports_to(step) for step in (1, 2, 3, 8, 16, 17)] == [1, 1, 2, 3, 4, 0]
    assert [curve.step(n) for n in (0, 1, 4)] == [0.0, 2.0, 16.0]


def test_an_empty_curve_and_one_without_numbers_have_no_values() -> None:
    """No finite value means NaN, never a division by zero."""
    for curve in (Curve(), Curve.of([(1, NAN), (2, INF), (3, -INF)])):
        assert math.isnan(curve.average(3))
        assert math.isnan(curve.best(3, maximize=True))
        assert math.isnan(curve.best(3, maximize=False))
        assert math.isnan(curve.average(0))
        assert math.isnan(curve.best(0, maximize=True))


def test_reports_without_a_step_count_up() -> None:
    """The next whole number is the step of a report that has none, or one that is no number."""
    curve = Curve()
    for step in (None, None, 10, None, NAN):
        curve.add(1.0, step)
    assert curve.steps == (1.0, 2.0, 10.0, 11.0, 12.0)


def test_a_step_that_goes_back_replaces_what_follows() -> None:
    """A restarted attempt reports again from where it restarted; the same step again corrects the last report."""
    curve = Curve.of([(1, 1.0), (2, 2.0), (3, 3.0), (2, 20.0)])
    assert (curve.steps, curve.values) == ((1.0, 2.0), (1.0, 20.0))
    assert curve.best(2, maximize=True) == 20.0
    curve.add(5.0, 2)
    assert (curve.values, curve.average(2)) == ((1.0, 5.0), 3.0)


def test_the_average_of_equal_values_is_that_value() -> None:
    """No rounding comes into a constant curve, so that ties stay ties."""
    curve = Curve.of((step, 0.1) for step in range(1, 1000))
    assert all(curve.average(n) == 0.1 for n in range(1, 1000))


def test_an_average_does_not_overflow() -> None:
    """Values near the largest float have a finite average."""
    assert Curve.of([(1, 1.7e308), (2, 1.7e308), (3, -1.7e308)]).average(3) == pytest.approx(1.7e308 / 3)


@given(st.lists(st.floats(width=32), max_size=20))
def test_prefixes_equal_plain_recomputation(values: list[float]) -> None:
    """Whatever is reported, every prefix has the mean, the least and the greatest of its finite values."""
    curve = Curve.of(enumerate(values, 1))
    for n in range(1, len(values) + 1):
        finite = [value for value in values[:n] if math.isfinite(value)]
        if not finite:
            assert math.isnan(curve.average(n))
            continue
        scale = max(abs(value) for value in finite)
        assert curve.average(n) == pytest.approx(math.fsum(finite) / len(finite), rel=1e-9, abs=1e-12 * scale)
        assert curve.best(n, maximize=False) == min(finite)
        assert curve.best(n, maximize=True) == max(finite)
