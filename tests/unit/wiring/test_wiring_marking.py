"""SetTrialStatus in a cluster: which trials are marked, and which requests are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kuttab.api import keys, kinds, meta, trial
from kuttab.api.conditions import is_true
from kuttab.base import clock, errors
from kuttab.client.embedded import EmbeddedClient
from kuttab.store.objects import Options, Store
from kuttab.testing import builders
from kuttab.testing.virtual import VirtualClock
from kuttab.wiring import marking

RULES = [{"name": "loss", "value": "0.5", "comparison": "greater", "startStep": 4}]


@pytest.fixture
async def objects() -> AsyncIterator[EmbeddedClient]:
    """A client of a store in memory with the namespace ``default``."""
    async with Store(None, clock=VirtualClock(), options=Options(commits="settle")) as store:
        yield EmbeddedClient(store, None, "tester")


async def found(objects: EmbeddedClient, name: str = "search-1") -> trial.Trial:
    """The trial as it is stored."""
    current = await objects.get(kinds.TRIAL, "default", name)
    assert isinstance(current, trial.Trial)
    return current


async def test_a_trial_with_rules_is_marked_once(objects: EmbeddedClient) -> None:
    """The condition is Katib's; a second request changes nothing."""
    await objects.create(builders.trial(earlyStoppingRules=RULES))
    marker = marking.Marker(objects, "default", clock.SystemClock())
    await marker.stop("search-1", None)
    first = await found(objects)
    assert is_true(first.status.conditions, keys.EARLY_STOPPED)
    await marker.stop("search-1", None)
    assert (await found(objects)).metadata.resource_version == first.metadata.resource_version


async def test_other_trials_are_refused(objects: EmbeddedClient) -> None:
    """No such trial, one of another namespace, and one that no rule watches: nothing happens to them."""
    await objects.create(builders.trial())
    marker = marking.Marker(objects, "default", clock.SystemClock())
    with pytest.raises(errors.NotFoundError):
        await marker.stop("nobody", None)
    with pytest.raises(errors.NotFoundError):
        await marking.Marker(objects, "elsewhere", clock.SystemClock()).stop("search-1", None)
    with pytest.raises(errors.ForbiddenError, match="no early-stopping rules"):
        await marker.stop("search-1", None)
    assert not (await found(objects)).status.conditions


async def test_a_change_between_reading_and_writing_is_read_again(objects: EmbeddedClient) -> None:
    """A conflict is no failure: the condition joins what somebody else has written."""
    await objects.create(builders.trial(earlyStoppingRules=RULES))

    class Busy:
        def __init__(self) -> None:
            self.reads = 0

        async def get(self, kind: kinds.Kind, namespace: str, name: str) -> meta.Object:
            current = await objects.get(kind, namespace, name)
            self.reads += 1
            if self.reads == 1:
                assert isinstance(current, trial.Trial)
                status = trial.TrialStatus(start_time="2026-01-01T00:00:00Z")
                await objects.update_status(meta.evolve(current, status=status))
            return current

        def __getattr__(self, name: str) -> object:
            return getattr(objects, name)

    await marking.Marker(Busy(), "default", clock.SystemClock()).stop("search-1", None)  # type: ignore[arg-type]
    status = (await found(objects)).status
    assert is_true(status.conditions, keys.EARLY_STOPPED)
    assert status.start_time == "2026-01-01T00:00:00Z"
