"""Reports in bodies of requests: what is a value, what is a repetition, and what the report file gets."""

from __future__ import annotations

import json
import math
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuttab.base import errors
from kuttab.rules import metric_lines, reported


def one(raw: bytes | str, **more: bool) -> reported.Report:
    """The only report of a body."""
    [found] = reported.parse(raw.encode() if isinstance(raw, str) else raw, **more)
    return found


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ("loss=0.1", {"loss": "0.1"}),
        ("step=3&loss=0.10&acc=1e-3", {"step": "3", "loss": "0.10", "acc": "1e-3"}),
        ("loss=+0.5", {"loss": "+0.5"}),
        ("loss=1e+5", {"loss": "1e+5"}),
        ("loss=1e%2B5", {"loss": "1e+5"}),
        ("loss=7%0A", {"loss": "7"}),
        ("loss=5.", {"loss": "5.0"}),
        ("loss=NaN&acc=-Infinity", {"loss": "nan", "acc": "-inf"}),
        ("val%20loss=1", {"val loss": "1"}),
        ("loss=0." + "3" * 70, {"loss": repr(1 / 3)}),
        ('{"loss": 0.10, "step": 3}', {"loss": "0.10", "step": "3"}),
        ('{"loss": "0.1", "acc": true, "f1": NaN}', {"loss": "0.1", "acc": "1", "f1": "nan"}),
        (' \n[{"loss": 12345678901234567890123}]', {"loss": "12345678901234567890123"}),
    ],
)
def test_values_keep_their_spelling(body: str, values: dict[str, str]) -> None:
    """A form or JSON gives each number as it was spelled, or in a spelling that every reader takes."""
    assert one(body).values == values


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "reports nothing"),
        ("  \n", "reports nothing"),
        (b"\xff\xfe", "no text in UTF-8"),
        ("loss", "neither a form"),
        ("loss=1&", "neither a form"),
        ("&".join(f"m{i}=1" for i in range(1001)), "neither a form"),
        ("loss=1&loss=2", "'loss' is given twice"),
        ('{"loss": 1, "loss": 2}', "'loss' is given twice"),
        ("{", "is not JSON"),
        ('{"loss": 1} x', "is not JSON"),
        ("[" * 100_000, "nested too deep"),
        ("[]", "1 to 10000 reports, not 0"),
        (json.dumps([{"loss": 1}] * 10_001), "1 to 10000 reports, not 10001"),
    ],
)
def test_bodies_that_cannot_be_read(body: str | bytes, message: str) -> None:
    """What is no report, or could be read in two ways, is a bad request in one line that says why."""
    with pytest.raises(errors.BadInputError, match=message) as caught:
        one(body)
    assert not isinstance(caught.value, errors.InvalidError)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("loss=abc", "loss: 'abc' is not a number"),
        ("loss=", "loss: '' is not a number"),
        ("loss=1_000", "loss: '1_000' is not a number"),
        ("loss=50%25", "loss: '50%' is not a number"),
        ("loss=" + "9" * 80 + "x", r"loss: '9{56}\.\.\. is not a number"),
        ('{"loss": null}', "loss: null is not a number"),
        ('{"loss": [1]}', "loss: a list is not a number"),
        ('[{"loss": 1}, {"loss": {}}]', r"\[1\].loss: a map is not a number"),
        ("[1]", r"\[0\]: must be an object of metric to number, not 1"),
        ('["x"]', r"\[0\]: must be an object of metric to number, not 'x'"),
        ("step=3", "only a step"),
        ("{}", "reports no metric"),
        ("step=nan&loss=1", "step: nan is no step"),
        ("step=1e999&loss=1", "step: 1e999 is no step"),
        ("=1", "1 to 255 characters, not 0"),
        ("x" * 256 + "=1", "1 to 255 characters, not 256"),
        (json.dumps({f"m{i}": i for i in range(1001)}), "has 1001 values"),
    ],
)
def test_values_that_are_none(body: str, message: str) -> None:
    """What is no number of a metric is invalid, with its place."""
    with pytest.raises(errors.InvalidError, match=message):
        one(body)


def test_json_that_is_called_json_may_not_be_a_form() -> None:
    """With the media type of JSON a form is an error, while JSON that is called a form is read: curl -d calls everything so."""
    with pytest.raises(errors.BadInputError, match="is not JSON"):
        one("loss=1", as_json=True)
    assert one('{"loss": 1}') == one('{"loss": 1}', as_json=True)
    with pytest.raises(errors.InvalidError, match="must be an object"):
        one("3", as_json=True)


@pytest.mark.parametrize(
    ("spellings", "step"),
    [
        (("3", "3.0", "03", "+3", "0.3e1"), "3"),
        (("1700000000000000001",), "1700000000000000001"),
        (("0.5", ".5"), "0.5"),
        (("1e-99999999999999999999", "0", "-0", "0e7"), "0"),
        (("10", "1e1", "010.00"), "10"),
        (("1e300", "1000e297"), "1E+300"),
        ((), ""),
    ],
)
def test_a_step_is_the_same_however_it_is_spelled(spellings: tuple[str, ...], step: str) -> None:
    """Steps are compared as numbers, exactly."""
    found = {one(f"step={urllib.parse.quote(text)}&loss=1").step for text in spellings} or {one("loss=1").step}
    assert found == {step}


def test_a_repetition_stores_nothing() -> None:
    """A metric's value at a step counts once, in whatever request it comes again; other metrics of the step are news."""
    seen = reported.Seen()
    first = reported.parse(b"step=1&loss=0.5")
    assert seen.fresh(first) == first
    seen.remember(first)
    assert seen.fresh(reported.parse(b"step=1.0&loss=.5")) == []
    more = reported.parse(b'[{"step":1,"loss":0.5,"acc":1},{"step":2,"loss":0.5},{"step":2,"loss":0.50}]')
    assert [dict(report.values) for report in seen.fresh(more)] == [{"acc": "1"}, {"step": "2", "loss": "0.5"}]
    nan = reported.parse(b"step=9&loss=nan")
    seen.remember(nan)
    assert seen.fresh(nan) == []


def test_what_was_not_stored_is_no_repetition() -> None:
    """Asking changes nothing: only what was remembered is known."""
    seen = reported.Seen()
    found = reported.parse(b"step=1&loss=0.5")
    assert seen.fresh(found, "k") == seen.fresh(found, "k") == found


def test_a_step_has_one_value() -> None:
    """Another value at the same step is refused, in one request and in two, and nothing of the request is new."""
    seen = reported.Seen()
    with pytest.raises(errors.AlreadyExistsError, match=r"loss of step 1 was reported as 2, so it cannot be 3"):
        seen.fresh(reported.parse(b'[{"step":1,"loss":2},{"step":1,"loss":3}]'))
    seen.remember(reported.parse(b"step=1&loss=2"))
    with pytest.raises(errors.AlreadyExistsError):
        seen.fresh(reported.parse(b"step=1&loss=nan"))


def test_without_a_step_a_key_tells_a_repetition() -> None:
    """Reports without a step count each time; under one Idempotency-Key once; a key with other values is refused."""
    seen = reported.Seen()
    found = reported.parse(b"loss=1")
    seen.remember(found)
    assert seen.fresh(found) == found
    seen.remember(found, "a")
    assert seen.fresh(found, "a") == []
    assert seen.fresh(found, "b") == found
    with pytest.raises(errors.AlreadyExistsError, match="Idempotency-Key"):
        seen.fresh(reported.parse(b"loss=2"), "a")


def test_memory_is_bounded() -> None:
    """Only the newest values and keys are remembered."""
    seen = reported.Seen(remembered=10)
    for step in range(100):
        seen.remember(reported.parse(f"step={step}&loss=1".encode()), str(step))
    assert [seen.fresh(reported.parse(f"step={step}&loss=1".encode())) == [] for step in (0, 94, 95, 99)] == [
        False, False, True, True,
    ]  # fmt: skip
    assert seen.fresh(reported.parse(b"loss=7"), "0")
    with pytest.raises(errors.AlreadyExistsError):
        seen.fresh(reported.parse(b"loss=7"), "99")


def test_undeclared_metrics_are_named() -> None:
    """Metrics that nobody declared are left out by name, a step silently; a request of nothing else is refused."""
    kept, ignored = reported.declared(reported.parse(b"step=1&loss=2&lr=3"), ["loss", "acc"])
    assert ([dict(report.values) for report in kept], ignored) == ([{"loss": "2"}], ["lr"])
    kept, ignored = reported.declared(reported.parse(b"step=1&loss=2"), ["loss", "step"])
    assert ([dict(report.values) for report in kept], ignored) == ([{"step": "1", "loss": "2"}], [])
    with pytest.raises(errors.InvalidError, match=r"'los' is no metric of this experiment; its metrics are loss, acc"):
        reported.declared(reported.parse(b"step=1&los=2"), ["loss", "acc"])


_NUMBERS = st.floats(allow_nan=True, allow_infinity=True).map(repr) | st.integers().map(str)


@given(
    st.lists(st.fixed_dictionaries({"loss": _NUMBERS}, optional={"val_loss": _NUMBERS, "acc|1": _NUMBERS}), min_size=1)
)
def test_lines_read_back_the_same(rows: list[dict[str, str]]) -> None:
    """What is written into a file of text or JSON, behind whatever a program has begun to print, is read as it was reported."""
    found = [reported.Report("", row) for row in reported_values(rows)]
    expected = [pair for report in found for pair in sorted(report.values.items())]
    for as_json in (False, True):
        reader = metric_lines.LineReader(["loss", "val_loss", "acc|1"], format="JSON" if as_json else "TEXT")
        start = b"" if as_json else b"begun and not ended loss"
        read = reader.feed(start + reported.lines(found, as_json=as_json))
        assert sorted((row.metric, row.value) for row in read) == sorted(expected)
        assert reader.counters.malformed == 0


def reported_values(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows as a body spells them."""
    body = json.dumps(rows)
    return [dict(report.values) for report in reported.parse(body.encode())]


@given(st.binary(max_size=300))
def test_any_bytes_are_reports_or_refused(raw: bytes) -> None:
    """Whatever comes is either finite or infinite numbers, or an error for its sender."""
    try:
        found = reported.parse(raw)
    except errors.BadInputError as problem:
        assert 0 < len(problem.message) < 500  # noqa: PT017
        return
    for report in found:
        assert all(isinstance(float(text), float) for text in report.values.values())
        assert not report.step or math.isfinite(float(report.step))
