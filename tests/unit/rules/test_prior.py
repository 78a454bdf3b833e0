"""Results from before an experiment as text: exact, bounded, and refused where they are not what they should be."""

from __future__ import annotations

import json

import pytest

from kuttab.api.history import MetricValues, TrialRecord, TrialState
from kuttab.base import errors
from kuttab.rules import prior


def record(number: int, value: str, state: TrialState = TrialState.SUCCEEDED) -> TrialRecord:
    """A result over one parameter."""
    metrics = (MetricValues("loss", value, value, value),) if value else ()
    return TrialRecord(
        f"old-{number}",
        "",
        -1,
        state,
        ("lr",),
        (str(number),),
        prior.number(value),
        metrics,
        "" if value else "UserError",
    )


def test_what_is_written_is_read_again() -> None:
    """Names, states, reasons, values and metrics survive; the objective is the named metric's number."""
    records = [record(1, "0.5"), record(2, "nan"), record(3, "", TrialState.FAILED)]
    again = prior.read(prior.write(records), "loss")
    assert [repr(item) for item in again] == [repr(item) for item in records]
    assert prior.read(prior.write(records), "other")[0].objective is None


def test_the_same_results_give_the_same_text() -> None:
    """The text is a function of the results."""
    assert prior.write([record(1, "0.5")]) == prior.write([record(1, "0.5")])
    assert prior.read(prior.write([]), "loss") == []


@pytest.mark.parametrize("maximize", [False, True])
def test_too_many_results_are_thinned_to_the_best_and_others(maximize: bool) -> None:
    """Of five thousand results 2,000 stay, in order: the best thousand, and others from the whole range, failures among them."""
    records = [
        record(i, "" if i % 10 == 0 else str(i), TrialState.FAILED if i % 10 == 0 else TrialState.SUCCEEDED)
        for i in range(5000)
    ]
    kept = prior.bounded(records, maximize=maximize)
    assert len(kept) == prior.MOST
    numbers = [int(item.values[0]) for item in kept]
    assert numbers == sorted(numbers)
    usable = [n for n in (range(4999, 0, -1) if maximize else range(1, 5000)) if n % 10]
    assert set(usable[:1000]) <= set(numbers)
    assert any(item.state is TrialState.FAILED for item in kept)
    assert prior.bounded(records[:7], maximize=maximize) == records[:7]


def test_a_text_that_is_too_long_is_refused() -> None:
    """A ConfigMap holds a megabyte; the error says how much there is and what to do."""
    long = [TrialRecord(f"o{i}", "", -1, TrialState.FAILED, ("x",), ("y" * 1000,)) for i in range(1000)]
    with pytest.raises(errors.BadInputError, match="give fewer"):
        prior.write(long)


GOOD = {"parameters": ["lr"], "metrics": ["loss"], "trials": [["a", "Succeeded", "", ["1"], ["0.5"]]]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": [["a", "Running", "", ["1"], ["0.5"]]]}, r"trials\[0\]"),
        ({"trials": [["a", "Succeeded", "", ["1", "2"], ["0.5"]]]}, r"trials\[0\]"),
        ({"trials": [["a", "Succeeded", "", ["1"], []]]}, r"trials\[0\]"),
        ({"trials": [["a", "Succeeded", "", [1], ["0.5"]]]}, r"trials\[0\]"),
        ({"trials": [["a"]]}, r"trials\[0\]"),
        ({"trials": "no"}, "a list of at most"),
        ({"trials": [[]] * 2001}, "a list of at most"),
        ({"metrics": [1]}, "as kuttab writes it"),
        ({"parameters": None}, "as kuttab writes it"),
    ],
)
def test_a_wrong_text_is_refused_with_its_row(changes: dict[str, object], said: str) -> None:
    """What is no such text is refused, naming the place."""
    with pytest.raises(errors.BadInputError, match=said):
        prior.read(json.dumps({**GOOD, **changes}), "loss")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '"x"'])
def test_no_document_is_refused(text: str) -> None:
    """Text that is no JSON object is refused."""
    with pytest.raises(errors.BadInputError, match="as kuttab writes it"):
        prior.read(text, "loss")
