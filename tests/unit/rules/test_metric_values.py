"""Numbers and times of programs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuttab.rules import metric_values

NO_NUMBERS = [
    "", " ", "+", "-", ".", "e5", "1e", "1e+", "1_000", "1,5", "１２", "٣", "0x1p3", "0x10", "0b1", "1.2.3", "--1", "1-2", "1 ",
    " 1", "1\n", "0.5%", "true", "None", "nano", "in", "infinit", "ｎａｎ", "1e5.5", "\ufeff1", "1\x00", "NaN ", "−1", "unavailable",
]  # fmt: skip
FINITE = {
    "1": 1.0, "-0": -0.0, "+1": 1.0, ".98": 0.98, "1.": 1.0, "-7.53e-05": -7.53e-05, "1E0": 1.0, "1e-400": 0.0, "007": 7.0,
    "9" * 300: float("9" * 300), "0." + "3" * 5000: 1 / 3,
}  # fmt: skip
NON_FINITE = ["nan", "NaN", "-nan", "inf", "-inf", "+Inf", "Infinity", "-INFINITY", "1e400", "-1e400", "9" * 5000]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_f06_what_is_no_number(text: str) -> None:
    """F06: text that only resembles a number is none, whatever Python's float() thinks."""
    assert metric_values.number(text) is None


@pytest.mark.parametrize(("text", "value"), FINITE.items())
def test_f06_finite_numbers(text: str, value: float) -> None:
    """F06: decimal ASCII with sign, fraction and exponent is read, of any length."""
    assert metric_values.finite(text) == value


@pytest.mark.parametrize("text", NON_FINITE)
def test_f06_non_finite_numbers(text: str) -> None:
    """F06: NaN, infinities and overflow are numbers, but never finite ones."""
    value = metric_values.number(text)
    assert value is not None
    assert not math.isfinite(value)
    assert metric_values.finite(text) is None


@given(st.floats())
def test_every_float_of_python_is_read_back(value: float) -> None:
    """Whatever repr() of a float prints is read as that float."""
    read = metric_values.number(repr(value))
    assert read == value or (read is not None and math.isnan(read) and math.isnan(value))


@given(st.text(max_size=8))
def test_a_number_is_what_float_reads_and_nothing_else(text: str) -> None:
    """The grammar is a part of Python's, never more."""
    value = metric_values.number(text)
    if value is not None:
        assert math.isnan(value) or value == float(text)
        assert text.isascii()
        assert "_" not in text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("2024-01-01T00:00:00.500Z", "2024-01-01T00:00:00.5Z"),
        ("2024-01-01t00:00:00z", "2024-01-01T00:00:00Z"),
        ("2024-01-01T00:00:00.123456789123Z", "2024-01-01T00:00:00.123456789Z"),
        ("2024-01-01T05:30:00+05:30", "2024-01-01T00:00:00Z"),
        ("2023-12-31T19:00:00-05:00", "2024-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00Z", ""),
        ("", ""),
    ],
)
def test_f13_times(text: str, canonical: str) -> None:
    """F13: every RFC3339 time has one spelling in UTC; Go's zero time means none."""
    assert metric_values.canonical(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01", "2024-01-01T00:00:00", "20240101T000000Z", "2024-W01-1T00:00:00Z", "2024-13-01T00:00:00Z", "now",
        "2024-01-01T24:00:01Z", "2024-01-01T00:00:00,5Z", "2024-01-01T00:00:00.Zx", "2024-01-01T00:00:00+25:00",
        "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2024-01-01T00:00:00+0100", "２０２４-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_f13_no_times(text: str) -> None:
    """F13: anything else raises ValueError, times outside the years 1 to 9999 included."""
    with pytest.raises(ValueError, match=r"time|seconds|years|month|hour|range"):
        metric_values.canonical(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1.5", "1970-01-01T00:00:01.5Z"),
        ("0", "1970-01-01T00:00:00Z"),
        ("1700000000.123456789", "2023-11-14T22:13:20.123456789Z"),
        ("1.7e9", "2023-11-14T22:13:20Z"),
        ("-1.5", "1969-12-31T23:59:58.5Z"),
    ],
)
def test_f13_seconds_since_1970(text: str, time: str) -> None:
    """F13: a fraction is a fraction of a second (Katib takes .5 as 5 ns), exact to nine digits."""
    assert metric_values.from_seconds(text) == time


@pytest.mark.parametrize("text", ["1e13", "nan", "1e400", "x", "-1e11", "300000000000"])
def test_f13_seconds_that_are_no_time(text: str) -> None:
    """F13: seconds that name no moment of the years 1 to 9999 raise ValueError."""
    with pytest.raises(ValueError, match=r"time|seconds|years|month|hour|range"):
        metric_values.from_seconds(text)


@given(st.datetimes(), st.datetimes())
def test_stamps_sort_like_times(one, two) -> None:
    """The fixed-width spelling orders as text exactly like the times themselves."""
    spelled = [metric_values.stamp(f"{moment.isoformat()}Z") for moment in (one, two)]
    assert (spelled[0] < spelled[1]) == (one < two)
    assert metric_values.stamp(metric_values.time_of(spelled[0])) == spelled[0]
