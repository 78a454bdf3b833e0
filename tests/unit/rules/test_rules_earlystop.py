"""Early-stopping rules at the collector, against hand-worked tables."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuttab.api import suggestion
from kuttab.base import errors
from kuttab.rules import earlystop


def rule(name: str, value: str, comparison: str, start: int = 0) -> suggestion.EarlyStoppingRule:
    """A rule in one line."""
    return suggestion.EarlyStoppingRule(name=name, value=value, comparison=comparison, start_step=start)


def feed(rules: earlystop.RuleSet, reports: str) -> list[bool]:
    """``"acc=0.1 loss=3"`` -> the answers, one a report."""
    return [rules.observe(*report.split("=")) for report in reports.split()]


@pytest.mark.parametrize(
    ("direction", "comparison", "reports", "answers"),
    [
        # the best so far is compared: 0.6 stays the best although 0.1 follows
        ("maximize", "less", "m=0.6 m=0.1 m=0.2", [False, False, False]),
        ("maximize", "less", "m=0.4 m=0.6", [True, True]),
        ("minimize", "greater", "m=0.4 m=9", [False, False]),
        ("minimize", "greater", "m=0.6 m=0.1", [True, True]),
        # ties do not meet less or greater
        ("maximize", "less", "m=0.5", [False]),
        ("minimize", "greater", "m=0.5", [False]),
        ("minimize", "equal", "m=0.7 m=0.5 m=0.9", [False, True, True]),
        ("maximize", "equal", "m=0.50", [True]),
    ],
)
def test_the_objective_compares_its_best_value_so_far(
    direction: str, comparison: str, reports: str, answers: list[bool]
) -> None:
    """A rule on the objective compares the best value so far, strictly, in both directions."""
    assert feed(earlystop.RuleSet([rule("m", "0.5", comparison)], "m", direction), reports) == answers


def test_other_metrics_compare_their_current_value() -> None:
    """A rule on another metric compares the value just reported, not a best one."""
    rules = earlystop.RuleSet([rule("grad", "5", "greater")], "loss", "minimize")
    assert feed(rules, "grad=1 grad=4 grad=5 grad=6") == [False, False, False, True]


@pytest.mark.parametrize(
    ("start", "answers"),
    [
        (0, [True, True, True, True]),
        (1, [True, True, True, True]),
        (2, [False, True, True, True]),
        (4, [False, False, False, True]),
        (5, [False, False, False, False]),
    ],
)
def test_a_rule_waits_for_its_start_step(start: int, answers: list[bool]) -> None:
    """With start step n the n-th report is the first one compared; 0 and 1 compare at once."""
    rules = earlystop.RuleSet([rule("m", "1", "greater", start)], "m", "minimize")
    assert feed(rules, "m=3 m=3 m=3 m=3") == answers


def test_all_rules_must_be_met_each_for_good() -> None:
    """Rules are joined by AND over time: one that was met once stays met."""
    rules = earlystop.RuleSet([rule("a", "1", "greater"), rule("b", "1", "less", 2)], "m", "minimize")
    assert feed(rules, "a=2 a=0 b=0 other=7 b=0 b=5") == [False, False, False, False, True, True]
    assert rules.stopped


def test_two_rules_of_one_metric_count_reports_once() -> None:
    """Each rule of a metric has its own start step over one common count of reports."""
    rules = earlystop.RuleSet([rule("a", "1", "greater", 1), rule("a", "5", "less", 3)], "m", "minimize")
    assert feed(rules, "a=2 a=0 a=0") == [False, False, True]


def test_no_rules_stop_nothing() -> None:
    """An empty rule set never stops a trial."""
    rules = earlystop.RuleSet([], "m", "minimize")
    assert feed(rules, "m=1 m=nan") == [False, False]
    assert not rules.stopped


@pytest.mark.parametrize(
    "text",
    [
        "nan",
        "NaN",
        "",
        "unavailable",
        "1,5",
        "1_000",
        "１２",
        "0x1p3",
        "1.2.3",
        "+",
        "-",
        "e5",
        ".",
        "Genotype(normal=[])",
    ],
)
def test_a_value_that_is_no_number_is_counted_and_not_compared(text: str) -> None:
    """A report without a number never raises, never wins, and counts towards the start step."""
    rules = earlystop.RuleSet([rule("m", "1", "greater", 2)], "m", "minimize")
    assert rules.observe("m", text) is False
    assert rules.observe("m", "3") is True
    other = earlystop.RuleSet([rule("g", "1", "greater")], "m", "minimize")
    assert other.observe("g", text) is False


def test_start_step_reached_by_a_value_that_is_no_number_compares_the_best_so_far() -> None:
    """When the n-th objective report is no number, the best of those before it is compared."""
    rules = earlystop.RuleSet([rule("m", "1", "greater", 2)], "m", "minimize")
    assert feed(rules, "m=3 m=nan") == [False, True]


@pytest.mark.parametrize(
    ("direction", "comparison", "report", "stops"),
    [
        ("minimize", "greater", "inf", True),
        ("minimize", "greater", "1e400", True),
        ("minimize", "less", "-inf", False),
        ("maximize", "less", "-Infinity", True),
        ("maximize", "greater", "+inf", False),
    ],
)
def test_an_infinite_objective_is_only_ever_the_worst(
    direction: str, comparison: str, report: str, stops: bool
) -> None:
    """Infinity in the bad direction is a bad value; in the good direction it is no value at all."""
    assert earlystop.RuleSet([rule("m", "1", comparison)], "m", direction).observe("m", report) is stops


def test_every_problem_of_the_rules_is_named() -> None:
    """Rules that cannot be applied are refused at once, with all problems at their paths."""
    bad = [rule("", "x", "lesser", -1), rule("ok", "nan", "less")]
    with pytest.raises(errors.InvalidError) as caught:
        earlystop.RuleSet(bad, "m", "down")
    assert [problem.path for problem in caught.value.problems] == [
        "earlyStoppingRules[0].name",
        "earlyStoppingRules[0].value",
        "earlyStoppingRules[0].comparison",
        "earlyStoppingRules[0].startStep",
        "earlyStoppingRules[1].value",
        "objective.type",
    ]


def test_the_argument_form_is_read_back() -> None:
    """A rule survives the trip through the collector's command line."""
    subject = rule("Validation-accuracy", "-1.5e-3", "less", 4)
    assert earlystop.format_argument(subject) == "Validation-accuracy;-1.5e-3;less;4"
    assert earlystop.parse_argument(earlystop.format_argument(subject)) == subject


@pytest.mark.parametrize(
    "text", ["", "a;1;less", "a;1;less;2;3", "a;1;less;-1", "a;1;less;x", "a;1;les;2", ";1;less;2", "a;;less;2"]
)
def test_a_broken_argument_is_refused(text: str) -> None:
    """Anything but four good parts is bad input."""
    with pytest.raises(errors.BadInputError):
        earlystop.parse_argument(text)


REPORTS = st.lists(
    st.tuples(
        st.sampled_from(["m", "a", "z"]),
        st.one_of(st.floats().map(repr), st.sampled_from(["", "nan", "x", "inf", "-inf"]), st.text(max_size=5)),
    ),
    max_size=12,
)


@given(REPORTS, st.integers(0, 12), st.sampled_from(["minimize", "maximize"]))
def test_a_collector_that_restarts_decides_as_if_it_had_not(
    reports: list[tuple[str, str]], cut: int, direction: str
) -> None:
    """State saved as JSON at any point and restored gives the same answers to the rest; nothing ever raises."""
    made = [rule("m", "0", "less" if direction == "maximize" else "greater", 2), rule("a", "1", "greater", 1)]
    straight = earlystop.RuleSet(made, "m", direction)
    expected = [straight.observe(*report) for report in reports]
    first = earlystop.RuleSet(made, "m", direction)
    answers = [first.observe(*report) for report in reports[:cut]]
    second = earlystop.RuleSet(made, "m", direction)
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert answers + [second.observe(*report) for report in reports[cut:]] == expected


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"open": [5], "seen": {"m": 0}, "best": None},
        {"open": [0, 0], "seen": {"m": 0}, "best": None},
        {"open": [True], "seen": {"m": 0}, "best": None},
        {"open": [0], "seen": {"x": 0}, "best": None},
        {"open": [0], "seen": {"m": -1}, "best": None},
        {"open": [0], "seen": {"m": 1}, "best": "nan"},
        {"open": [0], "seen": {"m": 1}, "best": 1.5},
        {"open": 0, "seen": [], "best": None},
    ],
)
def test_a_foreign_state_is_refused_and_changes_nothing(state: dict[str, object]) -> None:
    """A state that is not of these rules is reported as corrupt and the rules stay as they were."""
    rules = earlystop.RuleSet([rule("m", "1", "greater", 2)], "m", "minimize")
    rules.observe("m", "3")
    before = rules.state()
    with pytest.raises(errors.CorruptError):
        rules.restore(state)
    assert rules.state() == before
