"""``kuttab.report`` from inside."""

from __future__ import annotations

import json
import pathlib
import threading
from typing import Any

import pytest

from kuttab.base import errors
from kuttab.collector import reporting

RULES = {"rules": [["loss", "5", "greater", 2]], "objective": "loss", "direction": "minimize"}


def reporter(rules: dict[str, Any] | None = None) -> tuple[reporting.Reporter, list[reporting.Reading]]:
    """A reporter, and where its readings go."""
    sent: list[reporting.Reading] = []
    return reporting.Reporter(sent.extend, reporting.rules_from(rules)), sent


def test_nothing_happens_outside_of_trials() -> None:
    """Code that nobody started reports to nobody, but bad values are told."""
    reporting.report(1, loss=0.5)
    assert not reporting.should_stop()
    with pytest.raises(errors.BadInputError, match="metric 'loss': 'high' is not a number"):
        reporting.report(loss="high")


def test_order_and_steps() -> None:
    """Readings come in order, once, with the step as a metric."""
    found, sent = reporter()
    with reporting.entered(found):
        for step in range(3000):
            reporting.report(step, loss=step / 2)
    found.flush()
    assert [(name, text) for name, text, _ in sent[:4]] == [
        ("loss", "0.0"),
        ("step", "0"),
        ("loss", "0.5"),
        ("step", "1"),
    ]
    assert len(sent) == 6000


def test_rules_stop_then_raise() -> None:
    """The report that meets the rules returns, should_stop tells, and the next report raises."""
    found, sent = reporter(RULES)
    with reporting.entered(found):
        reporting.report(loss=9)
        assert not reporting.should_stop()
        reporting.report(loss=8)
        assert reporting.should_stop()
        with pytest.raises(reporting.EarlyStopped):
            reporting.report(loss=1)
    found.flush()
    assert [text for _, text, _ in sent] == ["9", "8"]


def test_early_stopped_passes_except_exception() -> None:
    """``except Exception`` in a training loop does not swallow the end."""
    assert not issubclass(reporting.EarlyStopped, Exception)


def test_threads_of_a_trial_report_to_it() -> None:
    """In a process of its own a trial's threads report to the trial; elsewhere only its own context does."""
    found, sent = reporter()
    for shared in (True, False):
        with reporting.entered(found, shared=shared):
            thread = threading.Thread(target=reporting.report, kwargs={"loss": 1})
            thread.start()
            thread.join()
    found.flush()
    assert len(sent) == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_file_of_the_environment(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    """A program appends a line a report to the file that its environment names; its rules never raise there."""
    path = tmp_path / "new" / "metrics"
    monkeypatch.setenv(reporting.ENV_FILE, str(path))
    monkeypatch.setenv(reporting.ENV_FORMAT, "JSON" if as_json else "TEXT")
    monkeypatch.setenv(reporting.ENV_RULES, json.dumps(RULES))
    for value in (9, 8, 7):
        reporting.report(loss=value, acc=0.5)
    assert reporting.should_stop()
    lines = [line for line in path.read_text().splitlines() if line]
    expected = '{"loss": "9", "acc": "0.5"}' if as_json else "loss=9 acc=0.5"
    assert lines[0] == expected
    assert len(lines) == 3


def test_collector_that_reads_no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no collector would read them, reports are refused with the reason."""
    monkeypatch.setenv(reporting.ENV_PROBLEM, "its metrics collector is Push")
    with pytest.raises(errors.BadInputError, match="cannot be used in this trial: its metrics collector is Push"):
        reporting.report(loss=1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (True, "1"),
        (0.1, "0.1"),
        (float("inf"), "inf"),
        (10**400, None),
        ("1", None),
        (None, None),
        ([], None),
    ],
)
def test_values(value: Any, text: str | None) -> None:
    """Numbers are written so that they read back as themselves; everything else is refused."""
    if text is None and value != 10**400:
        with pytest.raises(errors.BadInputError, match="is not a number"):
            reporting.text_of("m", value)
    else:
        assert reporting.text_of("m", value) == (text or str(10**400))
