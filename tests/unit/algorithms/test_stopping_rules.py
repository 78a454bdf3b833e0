"""Early-stopping rules, against tables worked by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuttab.algorithms.stopping import rule
from kuttab.algorithms.stopping.curves import Curve
from kuttab.api import experiment
from kuttab.api.history import TrialState
from kuttab.base import errors
from kuttab.rules import earlystop

NAN = math.nan
INF = math.inf


def curve(values: Sequence[float], state: TrialState = TrialState.SUCCEEDED) -> Curve:
    """A curve that reports once a step from 1."""
    return Curve.of(enumerate(values, 1), state)


def flipped(values: Sequence[float]) -> list[float]:
    """The same quality in the other direction."""
    return [-value for value in values]


def make(name: str, direction: str = "minimize", **settings: object) -> rule.StoppingRule:
    """A rule on the metric m."""
    given_ = [experiment.Setting(name=key, value=str(value)) for key, value in settings.items()]
    spec = experiment.AlgorithmSpec(algorithm_name=name, algorithm_settings=given_)
    return rule.make(spec, experiment.ObjectiveSpec(type=direction, objective_metric_name="m"))


def stops(subject: rule.StoppingRule, own: Sequence[float], others: Sequence[Curve]) -> list[bool]:
    """The decision at each report of a trial."""
    running = curve(own, TrialState.RUNNING)
    return [subject.decide(running, others, n).stop for n in range(1, len(own) + 1)]


MEDIAN_BARS = [
    # (curves, min trials, start step, bar for minimize): the first start_step values' means, then their median
    ([[4, 2], [6, 8], [1, 1]], 3, 2, 3.0),  # means 3, 7, 1
    ([[4, 2], [6, 8], [1, 1], [5, 5]], 3, 2, 4.0),  # means 3, 7, 1, 5: even count, the middle two are 3 and 5
    ([[4, 2, 100]], 1, 2, 3.0),  # later reports do not count
    ([[4], [6]], 1, 3, 5.0),  # shorter than start_step: what there is
    ([[1, 1], [1e9, 1e9], [2, 2]], 3, 1, 2.0),  # one diverged trial does not move a median
    ([[4, NAN], [6, 8], [INF, 1]], 3, 2, 4.0),  # means of the finite values 4, 7, 1
    ([[NAN, NAN], [6, 8], [1, 1]], 2, 2, 4.0),  # a curve without values is left out
    ([[NAN, NAN], [6, 8], [1, 1]], 3, 2, None),  # ... and then too few are left
    ([[], [6, 8]], 2, 2, None),  # an empty series divides nothing by zero
    ([[4, 2]], 2, 2, None),
    ([], 1, 1, None),
    ([[3, 3], [3, 3]], 2, 2, 3.0),
]


@pytest.mark.parametrize(("curves", "required", "start", "bar"), MEDIAN_BARS)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_medianstop_bar(
    direction: str, curves: list[list[float]], required: int, start: int, bar: float | None
) -> None:
    """The bar handed to a new trial is the true median of running averages, in both directions."""
    sign = 1 if direction == "minimize" else -1
    subject = make("medianstop", direction, min_trials_required=required, start_step=start)
    got = subject.rules([curve([sign * value for value in values]) for values in curves])
    if bar is None:
        assert got == []
        return
    assert len(got) == 1
    assert float(got[0].value) == sign * bar
    assert (got[0].name, got[0].start_step) == ("m", start)
    assert got[0].comparison == ("greater" if direction == "minimize" else "less")


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.KILLED, TrialState.RUNNING, TrialState.PENDING])
def test_medianstop_counts_only_trials_that_ended_well_or_early(state: TrialState) -> None:
    """Failed, killed and running trials make no bar; stopped ones do as far as they came."""
    subject = make("medianstop", min_trials_required=1, start_step=2)
    assert subject.rules([curve([1, 2, 3], state)]) == []
    assert subject.rules([curve([1], TrialState.EARLY_STOPPED)]) == []
    assert [r.value for r in subject.rules([curve([1, 2], TrialState.EARLY_STOPPED)])] == ["1.5"]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_medianstop_live_compares_at_the_same_step(direction: str) -> None:
    """Worked by hand: the bars of steps 1 to 4 are 5, 4, 4 and 4; the best value so far is held against them."""
    sign = 1 if direction == "minimize" else -1
    others = [curve([sign * v for v in values]) for values in ([9, 1, 1, 1], [5, 3, 4, 4], [5, 9, 4, 6])]
    # running averages: 9 5 3.67 3 | 5 4 4 4 | 5 7 6 6 -> medians 5 5 4 4
    subject = make("medianstop", direction, min_trials_required=3, start_step=2)
    assert stops(subject, [sign * v for v in (6, 6, 6, 6)], others) == [False, True, True, True]
    assert stops(subject, [sign * v for v in (6, 5, 5, 5)], others) == [False, False, True, True]  # a tie goes on
    assert stops(subject, [sign * v for v in (4, 9, 9, 9)], others) == [False] * 4  # the best counts
    assert stops(subject, [NAN, NAN, 1, 1], others) == [False, True, False, False]


def test_medianstop_live_leaves_out_what_cannot_be_compared() -> None:
    """A trial stopped before this step, a failed one and one that starts later make no bar here."""
    subject = make("medianstop", min_trials_required=1, start_step=1)
    early = curve([1, 1], TrialState.EARLY_STOPPED)
    failed = curve([1, 1, 1], TrialState.FAILED)
    late = Curve.of([(10, 1.0)])
    assert stops(subject, [5, 5, 5], [early, failed, late]) == [True, True, False]
    short = curve([1, 1])  # succeeded with two reports: its average stands
    assert stops(subject, [5, 5, 5], [short]) == [True, True, True]


def test_medianstop_compares_steps_and_not_reports() -> None:
    """A trial that reports every tenth step is compared with others at its step."""
    subject = make("medianstop", min_trials_required=1, start_step=1)
    other = Curve.of([(10, 4.0), (20, 2.0), (30, 0.0)])
    own = Curve.of([(20, 3.5), (30, 2.5)], TrialState.RUNNING)
    assert [subject.decide(own, [other], n).stop for n in (1, 2)] == [True, True]  # bars 3 and 2
    assert subject.decide(Curve.of([(20, 3.0)], TrialState.RUNNING), [other], 1).stop is False


def test_a_decision_says_why() -> None:
    """The reason names the metric, both numbers and what the bar is."""
    subject = make("medianstop", "maximize", min_trials_required=1, start_step=1)
    decision = subject.decide(curve([0.25], TrialState.RUNNING), [curve([0.5])], 1)
    assert decision.reason == "best m 0.25 after 1 reports is below 0.5, the median of running averages"


@pytest.mark.parametrize(
    ("percentile", "bar"),
    [(25, 2.0), (50, 3.0), (75, 4.0), (10, 1.4), (90, 4.6)],  # of 1 2 3 4 5: 1 + 4p
)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_percentile_bar(direction: str, percentile: float, bar: float) -> None:
    """The bar is the percentile of the others' best values, by linear interpolation, in both directions."""
    sign = 1 if direction == "minimize" else -1
    curves = [curve([sign * 9, sign * value, sign * 0]) for value in (5, 1, 4, 2, 3)]
    subject = make("percentile", direction, percentile=percentile, start_step=2)
    (got,) = subject.rules(curves)
    assert float(got.value) == pytest.approx(sign * bar)
    assert got.comparison == ("greater" if sign == 1 else "less")


def test_percentile_live() -> None:
    """The best so far against the others' best by the same step, every interval reports from start_step on."""
    others = [curve([5, 1]), curve([4, 4]), curve([3, 3]), curve([NAN, 2]), curve([INF, NAN])]
    subject = make("percentile", percentile=50, start_step=1)
    # step 1: 5 4 3 -> 4; step 2: 1 4 3 2 -> 2.5
    assert stops(subject, [4, 4], others) == [False, True]
    assert stops(subject, [4.5, 2.5], others) == [True, False]
    assert stops(make("percentile", percentile=50, start_step=1, interval=2), [9, 9, 9], others) == [True, False, True]
    assert stops(make("percentile", min_trials_required=5, start_step=1), [9, 9], others) == [False, False]


@pytest.mark.parametrize(
    ("own", "settings", "expected"),
    [
        ([5, 4, 3, 3, 3, 3], {"patience": 2}, [0, 0, 0, 0, 1, 1]),
        ([5, 4, 3, 3, 2, 2], {"patience": 2}, [0, 0, 0, 0, 0, 0]),
        ([5, 4, 3, 2, 1, 0], {"patience": 2, "min_delta": 2}, [0, 0, 1, 1, 1, 1]),  # two reports gain exactly 2
        ([5, 4, 3, 2, 1, 0], {"patience": 3, "min_delta": 2}, [0, 0, 0, 0, 0, 0]),
        ([5, NAN, NAN, 5], {"patience": 2}, [0, 0, 1, 1]),
        ([NAN, NAN, NAN, 1], {"patience": 2}, [0, 0, 1, 0]),
        ([5, 6, 7, 8], {"patience": 1, "start_step": 4}, [0, 0, 0, 1]),
        ([INF, INF, 4, 4], {"patience": 1}, [0, 1, 0, 1]),
    ],
)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_patience(direction: str, own: list[float], settings: dict[str, float], expected: list[int]) -> None:
    """A trial stops when its best gained no more than min_delta over the last patience reports."""
    values = own if direction == "minimize" else flipped(own)
    subject = make("patience", direction, **settings)
    assert stops(subject, values, []) == [bool(x) for x in expected]
    assert subject.rules([curve(own)]) == []


def test_threshold_target_is_the_same_live_and_as_a_bar() -> None:
    """From start_step on the best so far must have reached the target, strictly worse stops."""
    subject = make("threshold", "maximize", target="0.5", start_step=2)
    (got,) = subject.rules([])
    assert (got.name, got.value, got.comparison, got.start_step) == ("m", "0.5", "less", 2)
    assert stops(subject, [0.1, 0.5, 0.2], []) == [False, False, False]
    assert stops(subject, [0.1, 0.4, 0.6], []) == [False, True, False]


def test_threshold_limit_and_nan_look_at_the_value_itself() -> None:
    """A single value beyond the limit stops, a value that is no finite number stops at once unless switched off."""
    subject = make("threshold", limit="10", start_step=2)
    assert stops(subject, [99, 10, 11, 1], []) == [False, False, True, False]
    assert stops(subject, [NAN, 1, INF], []) == [True, False, True]
    assert stops(make("threshold", limit="10", stop_on_nan="false"), [NAN, 1], []) == [False, False]
    assert subject.rules([]) == []


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_rungs_keep_the_best_share(direction: str) -> None:
    """Worked by hand with eta 3 and rungs at 1, 3, 9: six at rung 1 keep two, three at rung 3 keep one."""
    sign = 1 if direction == "minimize" else -1
    others = [curve([sign * v for v in values], TrialState.RUNNING) for values in ([1, 1, 1], [2, 9, 2], [3], [4], [5])]
    subject = make("asha", direction, min_resource=1, eta=3)
    assert stops(subject, [sign * 2], others) == [False]  # a tie with the second
    assert stops(subject, [sign * 2.5], others) == [True]
    # at rung 3 there are the bests 1 and 2, and this one
    assert stops(subject, [sign * v for v in (1.5, 9, 9)], others) == [False, False, True]
    assert stops(subject, [sign * v for v in (1.5, 9, 1)], others) == [False, False, False]


def test_rungs_let_all_go_on_while_few_are_there() -> None:
    """Fewer than eta trials at a rung stop none; between rungs and at the end nothing is judged."""
    subject = make("asha", min_resource=2, eta=3, max_resource=6)
    assert stops(subject, [9, 9, 9], [curve([1, 1])]) == [False, False, False]
    many = [curve([1] * 20) for _ in range(9)]
    assert stops(subject, [9] * 20, many) == [False, True] + [False] * 18  # rung 2 only; 6 is the end
    assert stops(make("asha", min_resource=2, eta=3), [9] * 7, many) == [False, True, False, False, False, True, False]


def test_rungs_take_a_missing_value_for_the_worst() -> None:
    """NaN at a rung counts and loses; among nothing but NaN a trial without a value goes on."""
    subject = make("asha", eta=2)
    assert stops(subject, [NAN], [curve([1]), curve([2])]) == [True]
    assert stops(subject, [7], [curve([NAN]), curve([NAN])]) == [False]
    assert stops(subject, [NAN], [curve([NAN]), curve([NAN])]) == [False]
    assert subject.rules([curve([NAN]), curve([NAN])]) == []


def test_rungs_reached_in_one_jump_are_judged_once() -> None:
    """A report that passes several rungs is judged at the last of them, against those that got there."""
    subject = make("asha", eta=2)
    others = [Curve.of([(1, 1.0), (4, 5.0)]), Curve.of([(1, 1.0), (4, 6.0)]), Curve.of([(1, 1.0)])]
    jump = Curve.of([(5, 5.5)], TrialState.RUNNING)
    assert subject.decide(jump, others, 1).stop is True  # three at rung 4: the best has 1
    assert subject.decide(Curve.of([(5, 1.0)], TrialState.RUNNING), others, 1).stop is False


def test_rungs_bar_is_the_first_rung() -> None:
    """The bar of a new trial is what it needs among all at the first rung."""
    subject = make("asha", "maximize", min_resource=2, eta=2)
    (got,) = subject.rules([curve([0.1, 0.2]), curve([0.9, 0.1]), curve([0.3, 0.5]), curve([0.7])])
    # best at step 2: 0.2 0.9 0.5; with the new one four, so two go on: the second best is 0.5
    assert (got.value, got.comparison, got.start_step) == ("0.5", "less", 2)


def test_judge_skips_no_report() -> None:
    """Reports that came in a batch are judged one after the other; those judged before are not judged again."""
    subject = make("threshold", limit="10")
    own = curve([1, 50, 2], TrialState.RUNNING)
    assert rule.judge(subject, own, []).reason == "m 50 at report 2 is beyond the limit 10"
    assert rule.judge(subject, own, [], judged=2) == rule.GO_ON


@pytest.mark.parametrize(
    ("name", "settings", "paths"),
    [
        ("medianstop", {"min_trials_required": "0", "start_step": "0"}, ["min_trials_required", "start_step"]),
        ("medianstop", {"min_trials_required": "x", "foo": "1"}, ["min_trials_required", "foo"]),
        ("medianstop", {"random_state": "1"}, ["random_state"]),
        ("medianstop", {"min_trials_required": "13"}, ["min_trials_required"]),
        ("percentile", {"percentile": "100"}, ["percentile"]),
        ("patience", {"patience": "0", "min_delta": "-1"}, ["patience", "min_delta"]),
        ("asha", {"eta": "1"}, ["eta"]),
        ("asha", {"min_resource": "4", "max_resource": "4"}, ["max_resource"]),
    ],
)
def test_bad_settings_are_refused_all_at_once(name: str, settings: dict[str, str], paths: list[str]) -> None:
    """Unknown names, wrong types, ranges and rules that can never act are named by their field path."""
    given_ = [experiment.Setting(name=key, value=value) for key, value in settings.items()]
    found = rule.check(experiment.AlgorithmSpec(algorithm_name=name, algorithm_settings=given_), max_trials=12)
    assert [p.path for p in found] == [f"spec.earlyStopping.algorithmSettings[{path}]" for path in paths]


def test_a_threshold_that_stops_nothing_is_refused() -> None:
    """Without target, limit and stop_on_nan the rule would be silent for ever."""
    given_ = [experiment.Setting(name="stop_on_nan", value="false")]
    found = rule.check(experiment.AlgorithmSpec(algorithm_name="threshold", algorithm_settings=given_))
    assert [p.path for p in found] == ["spec.earlyStopping.algorithmSettings"]


def test_unknown_names_and_directions_are_refused() -> None:
    """An unknown rule names the nearest one; a direction that is none is refused with the other problems."""
    (problem,) = rule.check(experiment.AlgorithmSpec(algorithm_name="medianstp"))
    assert problem.path == "spec.earlyStopping.algorithmName"
    assert "did you mean medianstop" in problem.message
    with pytest.raises(errors.InvalidError, match=r"spec\.objective\.type"):
        make("medianstop", "sideways")
    doubled = [experiment.Setting(name="start_step", value="2")] * 2
    (problem,) = rule.check(experiment.AlgorithmSpec(algorithm_name="medianstop", algorithm_settings=doubled))
    assert problem.path == "spec.earlyStopping.algorithmSettings[1].name"


def test_every_rule_is_described() -> None:
    """Each name loads, its one line is the same in both places, and every setting has a help text."""
    assert rule.names() == ["asha", "medianstop", "patience", "percentile", "threshold"]
    for name, line in rule.summaries():
        kind = rule.load(name)
        assert (kind.name, kind.summary) == (name, line)
        described = kind.Settings.describe()
        assert described
        assert all(setting.help for setting in described)
        assert "random_state" not in [setting.name for setting in described]


SERIES = st.lists(st.one_of(st.floats(-5, 5), st.sampled_from([NAN, INF, -INF])), max_size=8)
ENDED = st.tuples(SERIES, st.sampled_from(list(TrialState)))


@given(st.sampled_from(rule.names()), st.sampled_from(["minimize", "maximize"]), SERIES, st.lists(ENDED, max_size=6))
def test_any_curves_give_a_decision_and_sound_bars(
    name: str, direction: str, own: list[float], others: list[tuple[list[float], TrialState]]
) -> None:
    """No curve makes a rule raise; its bars are always applicable by a collector; the mirror image decides alike."""
    subject = make(name, direction)
    mirror = make(name, "maximize" if direction == "minimize" else "minimize")
    curves = [curve(values, state) for values, state in others]
    mirrored = [curve(flipped(values), state) for values, state in others]
    assert stops(subject, own, curves) == stops(mirror, flipped(own), mirrored)
    bars = subject.rules(curves)
    assert earlystop.check(bars) == []
    assert [float(bar.value) for bar in bars] == [-float(bar.value) for bar in mirror.rules(mirrored)]


@given(SERIES, st.lists(SERIES, min_size=1, max_size=5))
def test_the_collector_and_the_live_form_agree_at_the_start_step(own: list[float], others: list[list[float]]) -> None:
    """What a collector stops by medianstop's bar at start_step, the live form stops there too, and nothing else."""
    subject = make("medianstop", min_trials_required=1, start_step=3)
    curves = [curve(values) for values in others]
    bars = subject.rules(curves)
    finite = [value for value in own[:3] if math.isfinite(value)]
    if len(own) < 3 or not finite or INF in own[:3]:
        return
    watch = earlystop.RuleSet(bars, "m", "minimize")
    answers = [watch.observe("m", repr(value)) for value in own[:3]]
    assert answers == stops(subject, own[:3], curves)
