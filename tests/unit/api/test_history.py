"""Records of trials: packed inside, plain outside."""

from __future__ import annotations

import math
import pickle

import pytest

from kuttab.api.history import MetricValues, TrialRecord, TrialState

UIDS = [
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "00000000-0000-0000-0000-000000000001",
    "0F8FAD5B-D9CB-469F-A165-70867728950E",
    "0f8fad5bd9cb469fa16570867728950e0000",
    "____________________________________",
    " 0f8fad5b-d9cb-469f-a165-7086772895 ",
    "u1",
    "",
]
METRICS = [
    (),
    (MetricValues("loss", "0.50", "0.50", "0.50"),),
    (MetricValues("loss", "0.5", "0.9", "0.1"),),
    (MetricValues("loss", "", "", ""),),
    (MetricValues("loss", "0.5", "0.5", "0.5"), MetricValues("acc", "1", "1", "1")),
]


def record(uid: str = "u", metrics: tuple[MetricValues, ...] = (), objective: float | None = None) -> TrialRecord:
    """A finished trial."""
    return TrialRecord(
        "t-1", uid, 3, TrialState.SUCCEEDED, ("lr",), ("0.1",), objective, metrics, "", "s", "e", {"a": "b"}, True
    )


@pytest.mark.parametrize("uid", UIDS)
@pytest.mark.parametrize("metrics", METRICS)
def test_what_went_in_comes_out(uid: str, metrics: tuple[MetricValues, ...]) -> None:
    """Any uid in its own spelling and any metrics are given back as they were, also by a copy through pickle."""
    made = record(uid, metrics, 0.5)
    for one in (made, pickle.loads(pickle.dumps(made)), made.sharing(("lr",), 3)):
        assert (one.uid, one.metrics, one.objective, one.queued) == (uid, metrics, 0.5, True)
        assert one == made
        assert hash(one) == hash(made)
    assert made != record(uid + "x", metrics, 0.5)
    assert made != record(uid, (*metrics, MetricValues("more")), 0.5)
    assert repr(uid) in repr(made)


@pytest.mark.parametrize("text", ["0.50", "0", "-0", "1e400", "NaN", "0x1p3", "five", " 7 ", "1_0"])
@pytest.mark.parametrize("value", [None, 0.5, 0.0, -0.0, math.inf, 7.0, 10.0])
def test_an_objective_is_kept_exactly(text: str, value: float | None) -> None:
    """Whether or not the metric's text says the same number, and to the sign of nothing."""
    made = record("u", (MetricValues("loss", text, text, text),), value)
    assert repr(made.objective) == repr(value)
    assert made.metrics[0].latest == text


def test_a_record_equals_itself_whatever_its_objective() -> None:
    """NaN, too: a record that is put again is no change."""
    first, same = record(objective=math.nan), record(objective=math.nan)
    assert first == first.sharing(first.names, 3)
    assert first == same  # one NaN object, as it comes from one parse


def test_it_cannot_be_changed() -> None:
    """Neither set nor deleted."""
    made = record()
    with pytest.raises(AttributeError, match="cannot be changed"):
        made.name = "other"
    with pytest.raises(AttributeError, match="cannot be changed"):
        del made.name


def test_shared_objects_are_the_ones_given() -> None:
    """That is what it is for."""
    names, slot = tuple("lr"[i] for i in (0, 1)), int("3")
    shared = record().sharing(names, slot)
    assert shared.names is names
    assert shared.sharing(names, slot) is shared
