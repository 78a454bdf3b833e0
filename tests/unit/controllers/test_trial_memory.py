"""What the trial controller remembers of workloads that are gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from kuttab.api import kinds, meta
from kuttab.controllers import trial


def job(name: str, owner: str = "Trial") -> meta.Object:
    """A Job of something."""
    references = [{"apiVersion": "v", "kind": owner, "name": name, "uid": f"uid-{name}", "controller": True}]
    metadata = {"name": name, "namespace": "default", "ownerReferences": references if owner else []}
    return kinds.load({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata})


def controller(known: Any) -> trial.TrialController:
    """A controller whose cache holds the trials that are said to be known."""
    world: Any = SimpleNamespace(trials=SimpleNamespace(get=lambda namespace, name: known(name) or None))
    return trial.TrialController(world)


def test_only_workloads_of_living_trials_are_remembered() -> None:
    """Not those of nobody, of others, or of trials that have ended; an end is forgotten with its trial."""
    logic = controller(lambda name: name != "ended")
    for gone in (job("a", ""), job("b", "Experiment"), job("ended"), job("alive")):
        logic.workload_gone(gone)
    assert list(logic._gone) == ["uid-alive"]
    logic.ended("uid-alive")
    assert not logic._gone


def test_memory_is_bounded() -> None:
    """The oldest go first."""
    logic = controller(lambda name: True)
    for number in range(trial.LAST_SEEN + 3):
        logic.workload_gone(job(f"t{number}"))
    assert len(logic._gone) == trial.LAST_SEEN
    assert next(iter(logic._gone)) == "uid-t3"


def test_a_workload_that_went_by_itself_has_not_to_be_deleted() -> None:
    """Its trial has ended; nothing reminds of it once somebody else has deleted it."""
    logic = controller(lambda name: False)
    logic._let_gone.add("uid-ended")
    logic.workload_gone(job("ended"))
    assert not logic._let_gone
