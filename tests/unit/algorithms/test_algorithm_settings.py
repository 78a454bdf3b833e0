"""Settings of algorithms, from text."""

from __future__ import annotations

import dataclasses

import pytest

from kuttab.algorithms import registry, settings
from kuttab.base import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample(settings.Settings):
    """One setting of every kind."""

    size: int = settings.integer(3, "A size.", at_least=1, at_most=9, aliases=("n",))
    rate: float = settings.real(0.5, "A rate.", above=0, below=1)
    limit: float | None = settings.real(None, "A limit.", at_least=0, none=True)
    mode: str = settings.choice("fast", "A mode.", ("fast", "slow"))
    place: str = settings.text(settings.REQUIRED, "A place.")
    loud: bool = settings.flag(False, "Loudness.")


def test_text_becomes_typed_values() -> None:
    """Every kind is read, and what is not given has its default."""
    given = {"size": "4", "rate": "1e-1", "limit": "None", "mode": "slow", "place": "here", "loud": "True", "seed": "5"}
    values, problems = Sample.parse(given)
    assert problems == []
    assert values == Sample(size=4, rate=0.1, limit=None, mode="slow", place="here", loud=True, random_state=5)
    assert Sample.parse({"place": "x"})[0] == Sample(place="x")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("size", "0", "must be >= 1 and <= 9"),
        ("size", "10", "must be >= 1 and <= 9"),
        ("size", "3.0", "not an integer"),
        ("size", "1_0", "not an integer"),
        ("size", "", "not an integer"),
        ("rate", "0", "must be > 0 and < 1"),
        ("rate", "1", "must be > 0 and < 1"),
        ("rate", "nan", "not a finite number"),
        ("rate", "inf", "not a finite number"),
        ("rate", "much", "not a number"),
        ("mode", "medium", "one of fast, slow"),
        ("loud", "yes", "neither true nor false"),
        ("place", " ", "must not be empty"),
        ("rat", "1", "did you mean rate?"),
        ("zzz", "1", "known settings: "),
        ("random_state", "-1", "must be >= 0"),
    ],
)
def test_bad_text_is_refused_with_the_range(name: str, text: str, words: str) -> None:
    """The problem names the setting at its path and says what is allowed."""
    values, problems = Sample.parse({"place": "x", name: text})
    assert values is None
    assert [p.path for p in problems] == [f"spec.algorithm.algorithmSettings[{name}]"]
    assert words in problems[0].message


def test_all_problems_come_at_once() -> None:
    """Unknown, out of range and missing are reported together."""
    _, problems = Sample.parse({"size": "0", "zzz": "1"})
    assert {p.path.rpartition("[")[2] for p in problems} == {"size]", "zzz]", "place]"}


def test_old_spellings_work_and_are_warned_about() -> None:
    """An alias is read like the name, with a warning; both together are refused."""
    values, _ = Sample.parse({"place": "x", "n": "7"})
    assert values is not None
    assert values.size == 7
    assert Sample.warnings({"n": "7"}) == ["setting n is an old name; write size"]
    _, problems = Sample.parse({"place": "x", "n": "7", "size": "7"})
    assert problems[0].reason == "FieldValueDuplicate"


def test_description_has_everything_a_reader_needs() -> None:
    """Default, range, help and whether it is required."""
    table = {d.name: d for d in Sample.describe()}
    assert (table["size"].default, table["size"].range) == ("3", ">= 1 and <= 9")
    assert table["place"].required
    assert table["limit"].range == ">= 0, or None"
    assert table["loud"].default == "false"


def test_directions_of_further_objectives() -> None:
    """``metric:direction`` pairs; anything else is a ValueError."""
    parse = settings.ObjectivesSettings.parse
    values, _ = parse({"additional_objectives": "latency:minimize, recall:maximize"})
    assert values is not None
    assert values.directions() == [("latency", 1), ("recall", -1)]
    wrong, _ = parse({"additional_objectives": "latency"})
    assert wrong is not None
    with pytest.raises(ValueError, match="latency:minimize"):
        wrong.directions()


def test_unknown_algorithm_gets_a_hint() -> None:
    """A typo is answered with the nearest name."""
    with pytest.raises(errors.NotFoundError, match="did you mean random"):
        registry.load("randon")


def test_summaries_agree_with_the_classes() -> None:
    """The registry's lines, which load nothing, are those of the classes."""
    for name, line in registry.summaries():
        assert registry.load(name).name == name
        assert registry.load(name).summary == line
