"""The machine behind ``kuttab.tune``: shared, stopped, broken."""

from __future__ import annotations

import asyncio
import pathlib
import threading

import pytest

from kuttab.api import experiment
from kuttab.base import errors
from kuttab.sdk import plans, search
from kuttab.wiring import background, settings

pytestmark = pytest.mark.slow


def subject() -> experiment.Experiment:
    """Some experiment."""
    plan = plans.Plan(
        space={"x": search.double(0, 1)}, objective_metric="loss", direction="minimize", goal=None, algorithm="random", settings={},
        early_stopping=None, max_trials=1, max_failed=None, parallel=1, timeout=None, trial_timeout=None, seed=0, retry={},
        executor="thread", reproducible=False,
    )  # fmt: skip
    return plan.experiment("any", "any")


def machines() -> int:
    """How many threads of machines there are."""
    return sum(thread.name == "kuttab-machine" for thread in threading.enumerate())


def test_shared_and_stopped(tmp_path: pathlib.Path) -> None:
    """One machine serves everybody who names its folder, however they spell it; the last one to leave stops it."""
    place = settings.Settings(tmp_path / "data")
    with background.world(place) as one:
        (tmp_path / "alias").symlink_to(tmp_path / "data")
        with background.world(settings.Settings(tmp_path / "alias")) as two:
            assert one is two
            assert machines() == 1
        assert machines() == 1
    assert machines() == 0


def test_broken_machine_says_why(tmp_path: pathlib.Path) -> None:
    """When the machine breaks, whoever waits gets its error, not a mere cancellation, and a new machine can be had."""
    place = settings.Settings(tmp_path / "data")

    async def forever() -> None:
        await asyncio.Event().wait()

    async def break_it(found: background.Background) -> None:
        def broken(old: object, new: object) -> None:
            raise RuntimeError("a listener is broken")

        found.machine.plane.experiments.listen(broken)
        await found.machine.objects.create(subject())

    def wait() -> None:
        with background.world(place) as found:
            waiting = found.submit(forever())
            found.call(break_it(found))
            found.result(waiting)

    with pytest.raises(errors.UnavailableError, match="a listener is broken"):
        wait()
    with background.world(place) as again:
        assert again.machine.objects.health == ""
    assert machines() == 0
