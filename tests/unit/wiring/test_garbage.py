"""The interval of the garbage collector while machines run."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from kuttab.wiring import garbage


@pytest.fixture
def before() -> Iterator[tuple[int, int, int]]:
    """The interval of a fresh interpreter, for the length of a test."""
    kept = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield gc.get_threshold()
    gc.set_threshold(*kept)


def test_the_interval_comes_back_when_the_last_machine_ends(before: tuple[int, int, int]) -> None:
    """Two machines at once, ended in either order: longer while one runs, as before afterwards."""
    first, second = garbage.less_often(), garbage.less_often()
    first.__enter__()
    second.__enter__()
    assert gc.get_threshold() == (garbage.INTERVAL, *before[1:])
    first.__exit__(None, None, None)
    assert gc.get_threshold()[0] == garbage.INTERVAL
    second.__exit__(None, None, None)
    assert gc.get_threshold() == before


@pytest.mark.parametrize("own", [0, 50_000])
def test_a_programs_own_choice_stays(before: tuple[int, int, int], own: int) -> None:
    """A search that is switched off, or is rarer already, is left alone."""
    gc.set_threshold(own)
    with garbage.less_often():
        assert gc.get_threshold()[0] == own
    assert gc.get_threshold()[0] == own
