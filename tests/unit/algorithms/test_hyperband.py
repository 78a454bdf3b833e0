"""hyperband, against brackets worked by hand."""

from __future__ import annotations

import itertools
import math
import pathlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kuttab.algorithms import algorithm, engine, hyperband
from kuttab.algorithms import history as histories
from kuttab.algorithms import space as spaces
from kuttab.api import experiment
from kuttab.api.history import TrialRecord, TrialState
from kuttab.testing.algorithms import Play, parameter

EXAMPLE = pathlib.Path(__file__).parents[4] / "shared" / "katib-examples" / "hp-tuning" / "hyperband.yaml"
SPACE = spaces.from_specs([parameter("x", "double", min="0", max="1"), parameter("epochs", "int", min="1", max="1")])


def problem(parallel: int = 9, space: spaces.Space = SPACE, **settings: str) -> algorithm.Problem:
    """A problem with the classic 9 and 3."""
    given_ = {"resource_name": "epochs", "r_l": "9", "eta": "3", **settings}
    read, problems = hyperband.Hyperband.Settings.parse(given_)
    assert read is not None, problems
    return algorithm.Problem(space, settings=read, parallel=parallel, name="hb")


def paths(subject: algorithm.Problem) -> list[str]:
    """Where the check finds problems."""
    return [p.path for p in hyperband.Hyperband.check(subject)]


@pytest.mark.parametrize(
    ("r_l", "eta", "rungs"),
    [
        # (s, size, resource) of every rung
        (9, 3, [(2, 9, 1), (2, 3, 3), (2, 1, 9), (1, 5, 3), (1, 2, 9), (0, 3, 9)]),
        (2, 2, [(1, 2, 1), (1, 1, 2), (0, 2, 2)]),
        (243, 3, [(5, 243, 1), (5, 81, 3), (5, 27, 9), (5, 9, 27), (5, 3, 81), (5, 1, 243)]),  # 3^5: no float noise
        (1, 3, [(0, 1, 1)]),
        (10, 3, [(2, 9, 1), (2, 3, 3), (2, 1, 10), (1, 5, 3), (1, 2, 10), (0, 3, 10)]),  # 1.1, 3.3 are cut
        (8, 2.5, [(2, 7, 1), (2, 3, 3), (2, 2, 8), (1, 4, 3), (1, 2, 8), (0, 3, 8)]),
    ],
)
def test_brackets_worked_by_hand(r_l: float, eta: float, rungs: list[tuple[int, int, int]]) -> None:
    """Sizes are ceil((s_max+1) eta^s / (s+1)) and the best 1/eta rounded up; resources are cut to whole numbers."""
    schedule = hyperband.Schedule(r_l, eta)
    assert [(p.s, p.size, p.resource) for p in schedule.rungs][: len(rungs)] == rungs


def test_a_whole_search_keeps_the_best_of_each_rung() -> None:
    """Played through with x as the objective: each rung holds the best third of the one before, then the end."""
    subject = problem()
    play = Play(hyperband.Hyperband, subject, lambda _, point: (TrialState.SUCCEEDED, (float(point[0]),), ""))
    play.run(1000, 9)
    assert play.exhausted
    points = [item.parameters for item in play.proposals]
    assert len(points) == 9 + 3 + 1 + 5 + 2 + 3
    assert [p[1] for p in points] == [1] * 9 + [3] * 3 + [9] + [3] * 5 + [9] * 2 + [9] * 3
    first = sorted(p[0] for p in points[:9])
    assert [p[0] for p in points[9:12]] == first[:3]
    assert points[12][0] == first[0]
    assert [p[0] for p in points[18:20]] == sorted(p[0] for p in points[13:18])[:2]
    assert len({p[0] for p in points[:9] + points[13:18] + points[20:]}) == 17  # the starters are all different


def test_a_rung_waits_until_the_one_before_has_ended_and_says_so() -> None:
    """Nothing of the next rung is proposed while a trial runs, not even within one answer."""
    subject = problem()
    play = Play(hyperband.Hyperband, subject, lambda _, point: (TrialState.SUCCEEDED, (float(point[0]),), ""))
    reply = hyperband.Hyperband(subject).propose(play.history, 0, 12)
    assert (len(reply.items), reply.exhausted) == (9, False)
    assert reply.wait == "rung 1 of bracket 2 waits for 9 trials of the rung before"
    play.pend(reply.items, 0)
    assert hyperband.Hyperband(subject).propose(play.history, 9, 3).wait.startswith("rung 1 of bracket 2 waits for 9")
    play.settle()
    assert len(hyperband.Hyperband(subject).propose(play.history, 9, 4).items) == 3


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.METRICS_UNAVAILABLE, TrialState.KILLED])
def test_failed_trials_never_block_a_rung(state: TrialState) -> None:
    """When seven of nine come to nothing the two others go on, and the third place is filled; so to the end."""
    subject = problem()

    def judge(number: int, point: spaces.Point) -> tuple[TrialState, tuple[float, ...], str]:
        return (state, (), "UserError") if 1 < number < 9 else (TrialState.SUCCEEDED, (float(point[0]),), "")

    play = Play(hyperband.Hyperband, subject, judge).run(1000, 9)
    assert len(play.proposals) == 23
    points = [item.parameters[0] for item in play.proposals]
    assert points[9:11] == sorted(points[:2])
    killed = state is TrialState.KILLED
    assert points[11] == points[2] if killed else points[11] not in points[:9]  # killed ones say nothing bad


def test_every_trial_failing_still_ends() -> None:
    """All failures: new configurations fill the rungs and the search ends after its last bracket."""
    play = Play(hyperband.Hyperband, problem(), lambda *_: (TrialState.FAILED, (), "UserError")).run(1000, 9)
    assert play.exhausted
    assert len({item.parameters for item in play.proposals}) == 23


def test_katibs_state_travels_with_the_answer() -> None:
    """The ten names in Katib's spelling, before, between and after rungs."""
    subject = problem()
    play = Play(hyperband.Hyperband, subject, lambda _, point: (TrialState.SUCCEEDED, (float(point[0]),), ""))
    states = []
    for trials in (9, 12, 13, 1000):
        play.run(trials, 9, check=lambda reply, *_: states.append(dict(reply.settings)))
    always = {"eta": "3", "s_max": "2", "r_l": "9", "b_l": "27", "resource_name": "epochs"}
    assert states[0] == {**always, "n": "9", "r": "1", "current_s": "2", "current_i": "1", "evaluating_trials": "9"}
    assert states[1] == {**always, "n": "9", "r": "1", "current_s": "2", "current_i": "2", "evaluating_trials": "3"}
    assert states[2] == {**always, "n": "5", "r": "3", "current_s": "1", "current_i": "0", "evaluating_trials": "0"}
    assert states[-1] == {**always, "n": "0", "r": "0", "current_s": "-1", "current_i": "0", "evaluating_trials": "0"}
    read, problems = hyperband.Hyperband.Settings.parse(states[1])  # sent back, it is accepted and changes nothing
    assert problems == []
    assert read is not None
    fed = algorithm.Problem(SPACE, settings=read, parallel=9, name="hb")
    empty = histories.History(SPACE)
    assert hyperband.Hyperband(fed).propose(empty, 0, 9) == hyperband.Hyperband(subject).propose(empty, 0, 9)


def test_too_little_parallelism_is_refused_with_the_arithmetic() -> None:
    """The first rung must fit: parallelTrialCount against ceil(eta^s_max)."""
    (found,) = hyperband.Hyperband.check(problem(parallel=8))
    assert found.path == "spec.parallelTrialCount"
    assert "at least 9" in found.message
    assert "3^2" in found.message
    assert "floor(ln 9 / ln 3)" in found.message
    assert paths(problem(parallel=9)) == []


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"r_l": "0"}, "r_l"),
        ({"r_l": "-3"}, "r_l"),
        ({"r_l": "inf"}, "r_l"),
        ({"eta": "1"}, "eta"),
        ({"eta": "0.5"}, "eta"),
        ({"eta": "two"}, "eta"),
        ({"reta": "3"}, "reta"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, str], path: str) -> None:
    """Ranges and names, where Katib's service would crash or ignore."""
    read, problems = hyperband.Hyperband.Settings.parse({"resource_name": "epochs", "r_l": "9", **settings})
    assert read is None
    assert [p.path for p in problems] == [f"spec.algorithm.algorithmSettings[{path}]"]


def test_required_settings_and_defaults() -> None:
    """r_l and resource_name are required; eta is 3, also when it is not positive."""
    _, problems = hyperband.Hyperband.Settings.parse({})
    assert [p.path for p in problems] == [
        f"spec.algorithm.algorithmSettings[{name}]" for name in ("r_l", "resource_name")
    ]
    for eta in ({}, {"eta": "0"}, {"eta": "-2"}):
        read, _ = hyperband.Hyperband.Settings.parse({"r_l": "9", "resource_name": "epochs", **eta})
        assert read is not None
        assert read.eta == 3


def test_the_resource_must_be_a_parameter() -> None:
    """A foreign name, words in a list, missing amounts in a list and a lonely resource are refused."""
    x = parameter("x", "double", min="0", max="1")
    assert paths(problem(resource_name="epoch")) == ["spec.algorithm.algorithmSettings[resource_name]"]
    words = spaces.from_specs([x, parameter("epochs", "categorical", choices=["few", "many"])])
    assert paths(problem(space=words)) == ["spec.algorithm.algorithmSettings[resource_name]"]
    some = spaces.from_specs([x, parameter("epochs", "discrete", choices=["1", "9"])])
    (found,) = hyperband.Hyperband.check(problem(space=some))
    assert found.path == "spec.parameters[1].feasibleSpace.list"
    assert found.message.endswith(": 3")
    alone = spaces.from_specs([parameter("epochs", "int", min="1", max="9")])
    assert paths(problem(space=alone)) == ["spec.parameters"]


def test_an_endless_schedule_is_refused_at_once() -> None:
    """Settings that ask for millions of trials are refused, whatever the parallelism."""
    assert "spec.algorithm.algorithmSettings[eta]" in paths(problem(r_l="1e12", eta="2", parallel=2**40))


@pytest.mark.parametrize("kind", ["discrete", "categorical"])
def test_a_list_can_be_the_resource(kind: str) -> None:
    """Amounts are written as the list spells them."""
    space = spaces.from_specs(
        [parameter("epochs", kind, choices=["9", "3.0", "1"]), parameter("x", "double", min="0", max="1")]
    )
    subject = problem(space=space)
    assert paths(subject) == []
    play = Play(hyperband.Hyperband, subject, lambda _, point: (TrialState.SUCCEEDED, (float(point[1]),), ""))
    play.run(1000, 9)
    assert [item.parameters[0] for item in play.proposals[8:13]] == ["1", "3.0", "3.0", "3.0", "9"]


def test_a_double_resource_is_written_whole() -> None:
    """Programs that count epochs get 3 and not 3.0, and the text is read back."""
    document = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "hb"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "parallelTrialCount": 9,
            "algorithm": {
                "algorithmName": "hyperband",
                "algorithmSettings": [{"name": "r_l", "value": "9"}, {"name": "resource_name", "value": "epochs"}],
            },
            "parameters": [
                {"name": "epochs", "parameterType": "double", "feasibleSpace": {"min": "1", "max": "2"}},
                {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}},
            ],
        },
    }
    session = engine.Session(experiment.Experiment.load(document))
    for slot in range(9):
        (given_,) = session.propose(slot, 1).assignments
        texts = {item.name: item.value for item in given_.parameter_assignments or ()}
        assert texts["epochs"] == "1"
        record = TrialRecord(
            f"t{slot}", f"u{slot}", slot, TrialState.SUCCEEDED, tuple(texts), tuple(texts.values()), 0.5
        )
        assert session.update([record]) == []
    texts = {i.name: i.value for i in session.propose(9, 1).assignments[0].parameter_assignments or ()}
    assert texts["epochs"] == "3"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="Katib's example manifests are not beside the checkout")
def test_katibs_example_runs_to_its_end() -> None:
    """The published manifest: two trials with one epoch, one with two (outside its own range), two with two."""
    session = engine.Session(experiment.Experiment.load(yaml.safe_load(EXAMPLE.read_text())))
    epochs = []
    for slot in range(5):
        (given_,) = session.propose(slot, 1).assignments
        texts = {item.name: item.value for item in given_.parameter_assignments or ()}
        epochs.append(texts["num-epochs"])
        record = TrialRecord(
            f"t{slot}", f"u{slot}", slot, TrialState.SUCCEEDED, tuple(texts), tuple(texts.values()), 0.5
        )
        assert session.update([record]) == []
    assert epochs == ["1", "1", "2", "2", "2"]
    assert session.propose(5, 1).exhausted


@given(st.floats(1, 300), st.floats(1.6, 9))
def test_any_schedule_is_sound(r_l: float, eta: float) -> None:
    """Rungs never grow, resources never shrink within a bracket and stay within 1 and r_l; numbers find their places."""
    schedule = hyperband.Schedule(r_l, eta)
    for s in range(schedule.s_max + 1):
        sizes = schedule.sizes(s)
        assert all(a >= b >= 1 for a, b in itertools.pairwise(sizes))
        resources = [schedule.resource(s, i) for i in range(s + 1)]
        assert resources == sorted(resources)
        assert resources[0] >= 1
        assert resources[-1] == math.floor(r_l + 1e-9)
    last = schedule.place(schedule.total - 1)
    assert last is not None
    assert (last.s, last.position) == (0, last.size - 1)
    assert schedule.place(schedule.total) is None
