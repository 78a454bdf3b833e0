"""The engine: experiments and records in, assignments out."""

from __future__ import annotations

import math
import random

import pytest

from kuttab.algorithms import engine
from kuttab.api import experiment as experiments
from kuttab.api.history import TrialRecord, TrialState
from kuttab.api.suggestion import TrialAssignment
from kuttab.base import errors

NAMES = ("lr", "layers")


def manifest(algorithm: str = "tpe", settings: dict[str, str] | None = None, **spec: object) -> experiments.Experiment:
    """An experiment with two parameters."""
    listed = [{"name": k, "value": v} for k, v in (settings or {}).items()]
    document = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "demo", "uid": "u-1"},
        "spec": {
            "objective": {"type": "maximize", "objectiveMetricName": "accuracy"},
            "algorithm": {"algorithmName": algorithm, "algorithmSettings": listed},
            "parameters": [
                {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.01", "max": "0.1"}},
                {"name": "layers", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "5"}},
            ],
            **spec,
        },
    }
    return experiments.Experiment.load(document)


def record(slot: int, values: tuple[str, ...], state: TrialState = TrialState.SUCCEEDED, **more: object) -> TrialRecord:
    """A record that succeeded unless told otherwise."""
    given = {"name": f"demo-{slot}", "objective": 0.5, "names": NAMES, **more}
    return TrialRecord(uid=f"t-{slot}", slot=slot, state=state, values=values, **given)  # type: ignore[arg-type]


def values_of(answer: engine.Answer) -> list[tuple[str, ...]]:
    """Texts of an answer, slot by slot."""
    return [tuple(item.value for item in a.parameter_assignments or ()) for a in answer.assignments]


def test_slots_are_filled_in_order_with_text() -> None:
    """Assignments carry their slots, parameters in the manifest's order, and values as text."""
    answer = engine.Session(manifest("random")).propose(4, 3)
    assert [a.slot for a in answer.assignments] == [4, 5, 6]
    for assignment in answer.assignments:
        names = [item.name for item in assignment.parameter_assignments or ()]
        texts = [item.value for item in assignment.parameter_assignments or ()]
        assert names == ["lr", "layers"]
        assert 0.01 <= float(texts[0]) <= 0.1
        assert texts[1] in "12345"


def test_seed_comes_from_the_setting_or_the_experiment() -> None:
    """random_state decides; without it the uid does, and another experiment gets other points."""
    first = values_of(engine.Session(manifest("random")).propose(0, 3))
    assert first == values_of(engine.Session(manifest("random")).propose(0, 3))
    other = manifest("random").model_copy(update={"metadata": manifest().metadata.model_copy(update={"uid": "u-2"})})
    assert first != values_of(engine.Session(other).propose(0, 3))
    seeded = manifest("random", {"random_state": "5"})
    moved = seeded.model_copy(update={"metadata": other.metadata})
    assert values_of(engine.Session(seeded).propose(0, 3)) == values_of(engine.Session(moved).propose(0, 3))


@pytest.mark.parametrize(
    ("subject", "paths"),
    [
        (manifest("tpee"), ["spec.algorithm.algorithmName"]),
        (manifest(""), ["spec.algorithm.algorithmName"]),
        (
            manifest("tpe", {"gamma": "2", "n_startup_trials": "many", "gama": "1"}),
            [
                "spec.algorithm.algorithmSettings[gamma]",
                "spec.algorithm.algorithmSettings[n_startup_trials]",
                "spec.algorithm.algorithmSettings[gama]",
            ],
        ),
        (manifest("grid"), ["spec.parameters[0].feasibleSpace.step"]),
        (manifest("random", parameters=[]), ["spec.parameters"]),
        (
            manifest("tpe", {"gamma": "2"}, parameters=[{"name": "a", "parameterType": "int", "feasibleSpace": {}}]),
            [
                "spec.algorithm.algorithmSettings[gamma]",
                "spec.parameters[0].feasibleSpace.min",
                "spec.parameters[0].feasibleSpace.max",
            ],
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_paths(subject: experiments.Experiment, paths: list[str]) -> None:
    """Every problem is found at once, at its field path; a session refuses the same."""
    assert [problem.path for problem in engine.validate(subject)] == paths
    with pytest.raises(errors.InvalidError):
        engine.Session(subject)


def test_a_setting_given_twice_is_refused() -> None:
    """Two values for one name leave open which one counts."""
    subject = manifest("random", {"random_state": "1"})
    assert subject.spec.algorithm is not None
    doubled = subject.spec.algorithm.model_copy(
        update={"algorithm_settings": [*(subject.spec.algorithm.algorithm_settings or []) * 2]}
    )
    subject = subject.model_copy(update={"spec": subject.spec.model_copy(update={"algorithm": doubled})})
    assert [p.reason for p in engine.validate(subject)] == ["FieldValueDuplicate"]


def test_katibs_settings_are_accepted() -> None:
    """Settings of the contract, in every spelling, pass for the algorithms that know them."""
    for algorithm, settings in [
        ("random", {"random_state": "1"}),
        ("tpe", {"gamma": "0.25", "prior_weight": "1.1", "n_EI_candidates": "25", "random_state": "10"}),
        ("tpe", {"n_ei_candidates": "25", "n_startup_trials": "5", "seed": "1"}),
        ("multivariate-tpe", {"n_startup_trials": "5", "n_ei_candidates": "24", "random_state": "1"}),
    ]:
        assert engine.validate(manifest(algorithm, settings)) == []
    assert engine.warnings(manifest("tpe", {"seed": "1"})) == ["setting seed is an old name; write random_state"]


@pytest.mark.parametrize(
    ("bad", "outcome"),
    [
        (record(1, ("0.02", "3"), names=("lr", "depth")), engine.Outcome.FOREIGN_PARAMETERS),
        (record(1, ("0.02",), names=("lr",)), engine.Outcome.FOREIGN_PARAMETERS),
        (record(1, (), names=()), engine.Outcome.FOREIGN_PARAMETERS),
        (record(1, ("high", "3")), engine.Outcome.UNREADABLE_VALUE),
        (record(1, ("0.02", "3.5")), engine.Outcome.UNREADABLE_VALUE),
        (record(1, ("nan", "3")), engine.Outcome.UNREADABLE_VALUE),
        (record(1, ("0.5", "3")), engine.Outcome.OUT_OF_RANGE),
        (record(1, ("0.02", "99999999999999999999999")), engine.Outcome.OUT_OF_RANGE),
        (record(-1, ("0.02", "3")), engine.Outcome.NO_SLOT),
        (record(1, ("0.02", "3"), objective=None), engine.Outcome.NO_OBJECTIVE),
        (record(1, ("0.02", "3"), objective=math.nan), engine.Outcome.NOT_FINITE),
        (record(1, ("0.02", "3"), TrialState.METRICS_UNAVAILABLE, objective=None), engine.Outcome.NO_OBJECTIVE),
    ],
)
def test_unusable_records_have_a_named_outcome(bad: TrialRecord, outcome: engine.Outcome) -> None:
    """A record that does not fit is named, not raised, and the search goes on."""
    session = engine.Session(manifest("tpe"))
    findings = session.update([record(0, ("0.02", "3")), bad])
    assert [(f.trial, f.outcome) for f in findings] == [(bad.name, outcome)]
    assert len(session.propose(2, 2).assignments) == 2


def test_a_later_attempt_at_a_slot_wins_in_any_order() -> None:
    """Two trials of one slot: the one that started later counts, whichever is read first."""
    early = record(0, ("0.02", "3"), name="demo-a", start_time="2026-01-01T00:00:00Z", objective=0.1)
    late = record(0, ("0.02", "3"), name="demo-b", start_time="2026-01-02T00:00:00Z", objective=0.9)
    for order in ([early, late], [late, early]):
        session = engine.Session(manifest("tpe"))
        session.update(order)
        assert session.history[0].values == (0.9,)


def test_news_in_any_order_gives_the_same_answer() -> None:
    """A session fed step by step, out of order and with repeats answers like a new one that reads everything."""
    records = []
    for slot in range(30):
        state = TrialState.FAILED if slot % 7 == 0 else TrialState.SUCCEEDED
        objective = None if slot % 7 == 0 else slot / 30
        records.append(record(slot, (f"{0.01 + slot * 0.003:.3f}", str(slot % 5 + 1)), state, objective=objective))
    fed = engine.Session(manifest("multivariate-tpe"))
    shuffled = [*records, *records[:9]]
    random.Random(1).shuffle(shuffled)
    for item in shuffled:
        fed.update([item])
    fresh = engine.Session(manifest("multivariate-tpe"))
    fresh.update(records, complete=True)
    assert fed.propose(30, 4) == fresh.propose(30, 4)


def test_pending_assignments_are_avoided_until_they_have_records() -> None:
    """What was given out and has no trial yet counts as pending; a withdrawn one is forgotten."""
    spec = [{"name": "n", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "4"}}]
    session = engine.Session(manifest("grid", parameters=spec))
    given = session.propose(0, 3).assignments
    rest = session.propose(3, 3, given)
    assert len(rest.assignments) == 1
    assert rest.exhausted
    assert len({*values_of(rest), *(tuple(i.value for i in a.parameter_assignments or ()) for a in given)}) == 4
    assert session.propose(3, 3, given) == rest
    assert len(session.history) == 3
    withdrawn = session.propose(3, 3, given[:1])
    assert len(withdrawn.assignments) == 3
    session.update([record(1, ("1",), names=("n",))])
    assert session.history[1].values == (0.5,)


def test_foreign_pending_assignments_are_ignored() -> None:
    """A pending assignment that is no point of the space does not stop the search."""
    session = engine.Session(manifest("random"))
    assert len(session.propose(1, 2, [TrialAssignment(name="x", slot=0)]).assignments) == 2


def test_complete_news_forgets_deleted_trials() -> None:
    """A trial that is not among all records any more is forgotten."""
    session = engine.Session(manifest("tpe"))
    session.update([record(0, ("0.02", "3")), record(1, ("0.03", "3"))])
    session.update([record(1, ("0.03", "3"))], complete=True)
    assert session.history.numbers.tolist() == [1]


def test_budget_and_settings_can_change_on_the_way() -> None:
    """A raised budget or new setting is taken over with the history kept; a changed space is refused."""
    session = engine.Session(manifest("tpe"))
    session.update([record(0, ("0.02", "3"))])
    session.adopt(manifest("tpe", {"gamma": "0.3"}, maxTrialCount=99))
    assert session.problem.max_trials == 99
    assert len(session.history) == 1
    changed = manifest(
        "tpe", parameters=[{"name": "n", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "4"}}]
    )
    with pytest.raises(errors.InvalidError, match="cannot change"):
        session.adopt(changed)
    assert session.problem.max_trials == 99


def test_nothing_asked_is_nothing_given() -> None:
    """A request for no slots is answered with none."""
    assert engine.Session(manifest("random")).propose(0, 0) == engine.Answer([])
