"""pbt: generations, exploit and explore, read from labels alone."""

from __future__ import annotations

import math
import pathlib
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kuttab.algorithms import algorithm, engine, pbt
from kuttab.algorithms import history as histories
from kuttab.algorithms import space as spaces
from kuttab.api import experiment, keys
from kuttab.api.history import TrialRecord, TrialState
from kuttab.testing.algorithms import Play, parameter

EXAMPLE = pathlib.Path(__file__).parents[4] / "shared" / "katib-examples" / "hp-tuning" / "simple-pbt.yaml"
GENERATION, PARENT = keys.LABEL_PBT_GENERATION, keys.LABEL_PBT_PARENT
SPACE = spaces.from_specs(
    [
        parameter("lr", "double", min="0.0001", max="0.02", step="0.0001"),
        parameter("n", "int", min="1", max="10"),
        parameter("c", "categorical", choices=["a", "b", "c"]),
    ]
)


def make(space: spaces.Space = SPACE, name: str = "pbt", **given_: str) -> algorithm.Problem:
    """A problem with a population of five."""
    defaults = {"suggestion_trial_dir": "/ckpt", "n_population": "5", "truncation_threshold": "0.4"}
    read, problems = pbt.Pbt.Settings.parse({**defaults, **given_})
    assert read is not None, problems
    return algorithm.Problem(space, settings=read, name=name, seed=3)


def search(trials: int, subject: algorithm.Problem | None = None, judge: object = None) -> Play:
    """A search, one at a time, with lr as the objective."""
    return Play(
        pbt.Pbt,
        subject or make(),
        judge or (lambda _, point: (TrialState.SUCCEEDED, (float(point[0]),), "")),  # type: ignore[arg-type]
    ).run(trials, 1)


def generation(play: Play, number: int) -> list[histories.Trial]:
    """Trials of a generation."""
    return [trial for trial in play.history if trial.labels[GENERATION] == str(number)]


def test_the_first_generation_has_no_parents() -> None:
    """Six results, one more than the population, are made before anything descends."""
    play = search(6)
    assert [trial.labels for trial in play.history] == [{GENERATION: "0"}] * 6
    follower = pbt.Pbt(play.problem).propose(play.history, 6, 1).items[0]
    assert follower.labels[GENERATION] == "1"
    assert follower.labels[PARENT] in {trial.name for trial in play.history}


def test_more_of_the_same_generation_while_results_are_missing() -> None:
    """Nothing waits: with everything pending, the first generation just grows."""
    play = search(0)
    for first in range(0, 20, 4):
        play.pend(pbt.Pbt(play.problem).propose(play.history, first, 4).items, first)
    assert len(generation(play, 0)) == 20


def test_losers_take_parameters_and_checkpoint_of_a_better_one() -> None:
    """Of six results with threshold 0.4, the two worst are replaced by copies of one of the two best; parent and parameters agree."""
    play = search(12)
    first = sorted(generation(play, 0), key=lambda trial: trial.values)
    by_name = {trial.name: trial for trial in first}
    best, worst = {t.name for t in first[:2]}, {t.name for t in first[-2:]}
    children = sorted(generation(play, 1), key=lambda trial: trial.number)
    assert len(children) == 6
    order = sorted(first, key=lambda trial: trial.number)
    for member, child in zip(order, children, strict=True):
        if member.name in worst:
            assert child.labels[PARENT] in best
            assert child.parameters == by_name[child.labels[PARENT]].parameters
        else:
            assert child.labels[PARENT] == member.name


def test_the_others_keep_their_checkpoint_and_change_every_parameter() -> None:
    """Explore: a number times 0.8 or 1.2 on its grid, an int by at least one, a list to its neighbour."""
    play = search(12, make(truncation_threshold="0"))
    by_name = {trial.name: trial for trial in generation(play, 0)}
    for child in generation(play, 1):
        (lr0, n0, c0), (lr, n, c) = by_name[child.labels[PARENT]].parameters, child.parameters
        wishes = [min(max(float(lr0) * factor, 0.0001), 0.02) for factor in (0.8, 1.2)]
        assert min(abs(float(lr) - wish) for wish in wishes) <= 0.000051 or abs(float(lr) - float(lr0)) < 0.00011
        assert type(n) is int
        assert n != n0 or n0 == 10
        assert c != c0


def code_after(kind: str, value: float | str, down: bool, **feasible: object) -> float | int | str:
    """A perturbed value."""
    (subject,) = spaces.from_specs([parameter("p", kind, **feasible)]).parameters
    return subject.typed(pbt._perturb(subject, subject.code(value), down, 0.5))


@pytest.mark.parametrize(
    ("kind", "feasible", "value", "down", "up"),
    [
        ("int", {"min": "1", "max": "10"}, 5, 4, 6),
        ("int", {"min": "1", "max": "10"}, 10, 8, 10),  # at a bound it stays an int
        ("int", {"min": "1", "max": "10"}, 1, 1, 2),
        ("int", {"min": "1", "max": "10"}, 2, 1, 3),  # 1.6 and 2.4 round back to 2: a whole step instead
        ("int", {"min": "0", "max": "10"}, 0, 0, 0),
        ("int", {"min": "-10", "max": "-1"}, -5, -4, -6),
        ("double", {"min": "0", "max": "1"}, 0.5, 0.4, 0.6),
        ("double", {"min": "0", "max": "1"}, 1.0, 0.8, 1.0),
        ("double", {"min": "0", "max": "1"}, 0.0, 0.5, 0.5),  # a factor cannot leave 0: drawn anew
        ("double", {"min": "0", "max": "1", "step": "0.25"}, 0.5, 0.25, 0.75),
        ("categorical", {"choices": ["a", "b", "c"]}, "a", "c", "b"),  # wraps at both ends
        ("categorical", {"choices": ["a", "b", "c"]}, "c", "b", "a"),
        ("discrete", {"choices": ["4", "2", "8"]}, "8", "4", "2"),
        ("categorical", {"choices": ["only"]}, "only", "only", "only"),
        ("int", {"min": "3", "max": "3"}, 3, 3, 3),
    ],
)
def test_perturbation_table(kind: str, feasible: dict[str, object], value: object, down: object, up: object) -> None:
    """Worked by hand, both directions, with the types kept."""
    for lower, expected in ((True, down), (False, up)):
        got = code_after(kind, value, lower, **feasible)  # type: ignore[arg-type]
        assert type(got) is type(expected)
        assert got == pytest.approx(expected) if isinstance(expected, float) else got == expected


def test_resampling_draws_each_parameter_with_the_probability() -> None:
    """Probability 0 changes nothing, 1 draws all anew, one half about half of them, each on its own."""
    before = SPACE.codes((0.01, 5, "a"))
    for chance, low, high in (("0", 0.0, 0.0), ("0.5", 0.35, 0.65), ("1", 0.95, 1.0)):
        subject = pbt.Pbt(make(resample_probability=chance))
        after = [subject._explore(before, subject.random(number)) for number in range(300)]
        changed = sum(codes[0] != before[0] for codes in after) / 300
        assert low <= changed <= high
        both = sum(codes[0] != before[0] and codes[1] != before[1] for codes in after) / 300
        assert both <= changed * (0.65 if chance == "0.5" else 1)


def test_a_killed_member_is_made_again_until_it_has_run() -> None:
    """Same parameters, generation and parent, a new name; as often as the machine is lost."""
    lost = {7, 8, 9}
    play = Play(
        pbt.Pbt,
        make(),
        lambda number, point: (
            (TrialState.KILLED, (), "") if number in lost else (TrialState.SUCCEEDED, (float(point[0]),), "")
        ),
    ).run(11, 1)
    trials = [play.history[number] for number in range(7, 11)]
    assert len({(t.parameters, t.labels[GENERATION], t.labels[PARENT]) for t in trials}) == 1
    assert len({t.name for t in trials}) == 4


def test_a_failing_member_is_made_again_once() -> None:
    """After the second failure its parameters are taken to be the cause, and another member is made."""
    failing: set[object] = set()

    def judge(number: int, point: spaces.Point) -> tuple[TrialState, tuple[float, ...], str]:
        if number == 2:
            failing.add(point)
        return (
            (TrialState.FAILED, (), "UserError") if point in failing else (TrialState.SUCCEEDED, (float(point[0]),), "")
        )

    play = Play(pbt.Pbt, make(), judge).run(12, 1)
    tried = [trial.parameters in failing for trial in play.history]
    assert tried == [False, False, True, True] + [False] * 8
    assert len(generation(play, 0)) == 8  # six results and the two failures


def test_failures_of_one_member_do_not_hold_its_generation() -> None:
    """A fifth of all trials fails for good; generations follow each other all the same."""
    play = search(
        60,
        judge=lambda _, point: (
            (TrialState.FAILED, (), "OutOfMemory")
            if point[2] == "a" and int(point[1]) % 2
            else (TrialState.SUCCEEDED, (float(point[0]),), "")
        ),
    )
    assert max(int(trial.labels[GENERATION]) for trial in play.history) >= 4


def test_a_result_without_a_number_breaks_no_quantile() -> None:
    """NaN and missing objectives are no results."""
    play = search(
        30,
        judge=lambda number, point: (
            (TrialState.SUCCEEDED, (math.nan,), "")
            if number % 3 == 0
            else (TrialState.SUCCEEDED, (float(point[0]),), "")
        ),
    )
    assert max(int(trial.labels[GENERATION]) for trial in play.history) >= 2


def test_a_second_copy_of_a_winner_goes_its_own_way() -> None:
    """Whatever share is given up, no two members of a generation have the same parameters and the same parent."""
    play = search(40, make(n_population="9", truncation_threshold="0.5", resample_probability="0.5"))
    kinds = [(trial.parameters, trial.labels[PARENT]) for trial in generation(play, 1)]
    assert len(kinds) == len(set(kinds)) == 10


def test_every_member_gets_its_turn() -> None:
    """One of ten is given up: nine keep their own checkpoint, and the tenth descendant is the winner's second."""
    play = search(30, make(n_population="9", truncation_threshold="0.1"))
    assert len(generation(play, 1)) == 10
    parents = [trial.labels[PARENT] for trial in generation(play, 1)]
    loser = max(generation(play, 0), key=lambda trial: trial.values)
    assert loser.name not in parents
    assert len(set(parents)) == 9


def test_populations_improve_what_they_train() -> None:
    """On a toy whose progress depends on the schedule, the last generation is far better than the first."""
    score: dict[str, float] = {}
    subject = make(spaces.from_specs([parameter("lr", "double", min="0.001", max="1")]), n_population="8")
    history = histories.History(subject.space, (-1,))
    subject = algorithm.Problem(subject.space, (-1,), seed=1, settings=subject.settings, name="toy", parallel=4)
    instance = pbt.Pbt(subject)
    for number in range(90):
        (item,) = instance.propose(history, number, 1).items
        start = score.get(item.labels.get(PARENT, ""), 0.0)
        best = 0.5 / (1 + start)  # the right rate falls as training goes on
        gain = max(0.0, 1 - abs(math.log(float(item.parameters[0]) / best)))
        score[item.trial_name] = start + gain
        trial = histories.Trial(
            number, item.parameters, TrialState.SUCCEEDED, (start + gain,), labels=item.labels, name=item.trial_name
        )
        history.put(trial)
    first = [t.values[0] for t in history if t.labels[GENERATION] == "0"]
    last = [t.values[0] for t in history if t.labels[GENERATION] == "8"]
    assert min(last) > max(first)
    assert sum(last) / len(last) > 3.0


def test_names_are_dns_labels_and_functions_of_the_number() -> None:
    """<experiment>-<uuid>, the same in any process; shorter where 63 characters would not do."""
    empty = histories.History(SPACE)
    names = [item.trial_name for item in pbt.Pbt(make(name="simple-pbt")).propose(empty, 0, 50).items]
    assert len(set(names)) == 50
    assert all(
        re.fullmatch(r"simple-pbt-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", n) for n in names
    )
    long = [item.trial_name for item in pbt.Pbt(make(name="e" * 40)).propose(empty, 0, 50).items]
    assert len(set(long)) == 50
    assert all(len(name) <= 63 and re.fullmatch(r"e{40}-[a-z0-9]{8}", name) for name in long)
    assert len(pbt.Pbt(make(name="e" * 26)).propose(empty, 0, 1).items[0].trial_name) == 63


@given(st.lists(st.tuples(st.text(max_size=6), st.text("ab-", max_size=4), st.floats() | st.none()), max_size=20))
def test_foreign_labels_never_break_it(trials: list[tuple[str, str, float | None]]) -> None:
    """Whatever stands in the labels, proposals are points of the space in a sound generation."""
    history = histories.History(SPACE)
    for number, (text, parent, y) in enumerate(trials):
        labels = {GENERATION: text, PARENT: parent}
        state, values = (TrialState.RUNNING, ()) if y is None else (TrialState.SUCCEEDED, (y,))
        history.put(histories.Trial(number, (0.01, 3, "a"), state, values, labels=labels, name=f"t{number}"))
    for item in pbt.Pbt(make()).propose(history, len(history), 3).items:
        assert SPACE.contains(SPACE.codes(item.parameters))
        assert int(item.labels[GENERATION]) >= 0


@pytest.mark.parametrize(
    ("given_", "path"),
    [
        ({"n_population": "4"}, "n_population"),
        ({"n_population": "1000000000"}, "n_population"),
        ({"truncation_threshold": "1.01"}, "truncation_threshold"),
        ({"resample_probability": "often"}, "resample_probability"),
        ({"resample_probability": "-0.1"}, "resample_probability"),
        ({"suggestion_trial_dir": "checkpoints"}, "suggestion_trial_dir"),
        ({"suggestion_trial_dir": "/"}, "suggestion_trial_dir"),
        ({"suggestion_trial_dir": "//"}, "suggestion_trial_dir"),
        ({"suggestion_trial_dir": "/etc"}, "suggestion_trial_dir"),
        ({"suggestion_trial_dir": "/proc/1"}, "suggestion_trial_dir"),
        ({"suggestion_trial_dir": "/a/../etc"}, "suggestion_trial_dir"),
        ({"suggestion_trial_dir": "/./usr/"}, "suggestion_trial_dir"),
        ({"population": "5"}, "population"),
    ],
)
def test_bad_settings_are_refused(given_: dict[str, str], path: str) -> None:
    """Ranges, names, and folders that belong to the system."""
    defaults = {"suggestion_trial_dir": "/ckpt", "n_population": "5", "truncation_threshold": "0.4"}
    read, problems = pbt.Pbt.Settings.parse({**defaults, **given_})
    assert read is None
    assert [p.path for p in problems] == [f"spec.algorithm.algorithmSettings[{path}]"]


def test_required_settings_are_all_named() -> None:
    """The three that have no default."""
    _, problems = pbt.Pbt.Settings.parse({})
    assert [p.path.split("[")[1][:-1] for p in problems] == [
        "suggestion_trial_dir",
        "n_population",
        "truncation_threshold",
    ]


@pytest.mark.skipif(not EXAMPLE.exists(), reason="Katib's example manifests are not beside the checkout")
def test_katibs_example_through_the_engine() -> None:
    """The published manifest: records with labels go in, labelled assignments come out, a restart changes nothing."""
    loaded = experiment.Experiment.load(yaml.safe_load(EXAMPLE.read_text()))
    session = engine.Session(loaded)
    records = []
    for slot in range(44):
        (given_,) = session.propose(slot, 1).assignments
        texts = {item.name: item.value for item in given_.parameter_assignments or ()}
        assert 0.0001 <= float(texts["lr"]) <= 0.02
        labels = given_.labels or {}
        assert labels[GENERATION] == ("0" if slot < 41 else "1")
        record = TrialRecord(
            given_.name,
            f"u{slot}",
            slot,
            TrialState.SUCCEEDED,
            tuple(texts),
            tuple(texts.values()),
            slot / 100,
            labels=labels,
        )
        records.append(record)
        session.update([record])
    fresh = engine.Session(loaded)
    fresh.update(reversed(records))
    assert fresh.propose(44, 2) == session.propose(44, 2)
