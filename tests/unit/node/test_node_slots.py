"""The quota of this machine's own resources."""

from __future__ import annotations

import types

from kuttab.api import kinds
from kuttab.node import slots
from kuttab.ports.quota import Verdict
from kuttab.rules import resources
from kuttab.testing import builders


def job(cpus):
    """A Job that asks for cores."""
    document = builders.job_document()
    document["metadata"] = {"name": "t", "namespace": "default"}
    document["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpus}}
    return kinds.load(document)


def trial(uid):
    """As much of a trial as a quota looks at."""
    return types.SimpleNamespace(uid=uid)


async def test_slots_admit_what_fits_and_take_back_what_is_released():
    """Asking twice takes once, a release may be repeated, and what does not fit says what it waits for."""
    quota = slots.Slots(resources.Amount(cpus=3))
    assert (await quota.check(trial("a"), job(2))).verdict is Verdict.ADMIT
    assert (await quota.check(trial("a"), job(2))).verdict is Verdict.ADMIT
    waits = await quota.check(trial("b"), job(2))
    assert (waits.verdict, waits.reason) == (Verdict.WAIT, "it waits for 2 CPUs of 1 that are free")
    assert (await quota.check(trial("c"), job(1))).verdict is Verdict.ADMIT
    for _ in range(2):
        await quota.release("a")
    assert (await quota.check(trial("b"), job(2))).verdict is Verdict.ADMIT
    assert (await quota.check(trial("d"), job(1))).verdict is Verdict.WAIT


async def test_what_never_fits_is_rejected_with_the_numbers():
    """A workload larger than everything would wait for ever."""
    decision = await slots.Slots(resources.Amount(cpus=2)).check(trial("a"), job(4))
    assert (decision.verdict, decision.reason) == (
        Verdict.REJECT, "it asks for more than the quota has in all: 4 CPUs of 2",
    )  # fmt: skip


async def test_workloads_of_an_earlier_life_hold_what_they_ask_for():
    """What runs already is counted before anything is admitted, even beyond the capacity."""
    quota = slots.Slots(resources.Amount(cpus=2))
    quota.hold("old", job(3))
    quota.hold("old", job(3))
    assert (await quota.check(trial("new"), job(1))).verdict is Verdict.WAIT
    await quota.release("old")
    assert (await quota.check(trial("new"), job(2))).verdict is Verdict.ADMIT


def test_the_machine_is_seen():
    """There is at least a core, and memory, and no negative number of devices."""
    seen = slots.seen()
    assert seen.cpus >= 1
    assert seen.memory > 2**20
    assert seen.gpus >= 0
