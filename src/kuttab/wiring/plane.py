"""The control plane, put together over ports: informers, controllers, the running accounts. Knows no world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kuttab.admission import yaml
from kuttab.api import experiment, kinds, meta, suggestion, trial
from kuttab.base import clock, errors
from kuttab.controllers import experiment as experiment_controller
from kuttab.controllers import ledgers as ledgers_
from kuttab.controllers import suggestion as suggestion_controller
from kuttab.controllers import trial as trial_controller
from kuttab.controllers import turns
from kuttab.ports import objects as object_port
from kuttab.ports import observations as observation_port
from kuttab.ports import quota as quota_port
from kuttab.ports import suggestion as suggestion_port
from kuttab.runtime import controller, gate, informer, recorder

WORKLOADS = (
    kinds.JOB, kinds.TF_JOB, kinds.PYTORCH_JOB, kinds.XGBOOST_JOB, kinds.MPI_JOB, kinds.TRAIN_JOB, kinds.FUNCTION_JOB,
)  # fmt: skip
"""Kinds of workload that the trial controller watches on one machine."""


class NoQuota:
    """Every workload is admitted at once."""

    async def check(self, subject: trial.Trial, workload: meta.Resource) -> quota_port.Decision:  # noqa: ARG002
        """See the port."""
        return quota_port.Decision(quota_port.Verdict.ADMIT)

    async def release(self, uid: str) -> None:
        """See the port."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the control plane is made of; the same for every world."""

    objects: object_port.Objects
    observations: observation_port.Observations
    suggestions: suggestion_port.Suggestions
    quota: quota_port.Quota
    clock: clock.Clock
    workloads: Sequence[kinds.Kind] = WORKLOADS
    admit: experiment_controller.Admit | None = None
    dress: trial_controller.Dress | None = None
    patience: trial_controller.Patience = field(default_factory=trial_controller.Patience)


class ControlPlane:
    """Informers and controllers over the objects port."""

    def __init__(self, parts: Parts) -> None:
        self.ledgers = ledgers_.Ledgers()
        self.experiments = informer.Informer(parts.objects, kinds.EXPERIMENT)
        self.suggestions = informer.Informer(parts.objects, kinds.SUGGESTION)
        self.trials = informer.Informer(parts.objects, kinds.TRIAL, keep=ledgers_.keep)
        self.workloads = {kind: informer.Informer(parts.objects, kind) for kind in parts.workloads}
        self.events = recorder.Recorder(parts.objects, parts.clock)
        self.informers: dict[kinds.Kind, informer.Informer] = {
            kinds.EXPERIMENT: self.experiments, kinds.SUGGESTION: self.suggestions, kinds.TRIAL: self.trials,
            **self.workloads,
        }  # fmt: skip
        self.gate = gate.Gate(self.informers)
        gated = gate.GatedObjects(parts.objects, self.gate)
        self._experiment = self._experiments(parts, gated)
        self._suggestion = self._suggestions(parts, gated)
        self._trials_logic, self._trial = self._trials(parts, gated)
        self.controllers = [self._experiment, self._suggestion, self._trial]
        self._listen()

    def _experiments(self, parts: Parts, gated: gate.GatedObjects) -> controller.Controller:
        world = experiment_controller.World(
            objects=gated, experiments=self.experiments, suggestions=self.suggestions, ledgers=self.ledgers,
            events=self.events, clock=parts.clock, parse_yaml=parse_template, admit=parts.admit,
        )  # fmt: skip
        logic = experiment_controller.ExperimentController(world)
        return controller.Controller(
            "experiment", logic.reconcile, gate=self.gate, on_error=self._complain(self.experiments)
        )

    def _suggestions(self, parts: Parts, gated: gate.GatedObjects) -> controller.Controller:
        world = suggestion_controller.World(
            objects=gated, suggestions=self.suggestions, experiments=self.experiments, ledgers=self.ledgers,
            service=parts.suggestions, events=self.events, clock=parts.clock,
        )  # fmt: skip
        logic = suggestion_controller.SuggestionController(world)
        # Many workers: a service that lets its caller wait must not hold up other experiments.
        return controller.Controller(
            "suggestion", logic.reconcile, gate=self.gate, workers=32, on_error=self._complain(self.suggestions)
        )

    def _trials(
        self, parts: Parts, gated: gate.GatedObjects
    ) -> tuple[trial_controller.TrialController, controller.Controller]:
        gatekeeper = turns.Turns(parts.quota, self.experiments, self.ledgers, self.workloads)
        quota = parts.quota if isinstance(parts.quota, NoQuota) else gatekeeper
        world = trial_controller.World(
            objects=gated, trials=self.trials, workloads=self.workloads, observations=parts.observations,
            quota=quota, events=self.events, clock=parts.clock, patience=parts.patience, dress=parts.dress,
        )  # fmt: skip
        logic = trial_controller.TrialController(world)
        worker = controller.Controller("trial", logic.reconcile, gate=self.gate, on_error=self._complain(self.trials))
        logic.enqueue = worker.enqueue
        gatekeeper.wake = lambda namespace, name: logic.ask_again((namespace, name))
        self.experiments.listen(gatekeeper.heard)
        return logic, worker

    def ask_quota(self, namespace: str, name: str) -> None:
        """The quota has news for a trial that waits."""
        self._trials_logic.ask_again((namespace, name))

    def _complain(self, cache: informer.Informer) -> controller.OnError:
        def complain(namespace: str, name: str, problem: Exception, failures: int) -> None:
            subject = cache.get(namespace, name)
            if subject is not None and failures >= 3:
                self.events.record(subject, "ReconcileError", str(problem), warning=True)

        return complain

    def _listen(self) -> None:
        self.trials.listen(self.ledgers.heard, self.ledgers.listed)
        self.trials.listen(self._trial_heard)
        self.experiments.listen(self._experiment_heard)
        self.suggestions.listen(self._suggestion_heard)
        for cache in self.workloads.values():
            cache.listen(self._workload_heard)

    def _experiment_heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        obj = new if new is not None else old
        assert isinstance(obj, experiment.Experiment)
        if not _only_counted(old, new):
            self._experiment.enqueue(obj.namespace, obj.name)
            self._suggestion.enqueue(obj.namespace, obj.name)

    def _suggestion_heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        """A request concerns the one, an answer the other; neither needs to hear of what it wrote itself."""
        obj = new if new is not None else old
        assert isinstance(obj, suggestion.Suggestion)
        changed = old is None or new is None or new.deleting
        if changed or (old is not None and obj.metadata.generation != old.metadata.generation):
            self._suggestion.enqueue(obj.namespace, obj.name)
        if changed or (isinstance(old, suggestion.Suggestion) and obj.status != old.status):
            self._experiment.enqueue(obj.namespace, obj.name)

    def _trial_heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        obj = new if new is not None else old
        assert isinstance(obj, trial.Trial)
        if new is not None and ledgers_.keep(new):
            self._trial.enqueue(obj.namespace, obj.name)
        else:
            self._trials_logic.ended(obj.uid)
        owner = obj.metadata.controller
        if owner is None or owner.kind != experiment.Experiment.KIND:
            return
        if old is None and new is not None and ledgers_.keep(new):  # made by a pass: there is nothing but to count it
            self._experiment.enqueue_after(obj.namespace, owner.name, experiment_controller.COALESCE)
        else:
            self._experiment.enqueue(obj.namespace, owner.name)
        if new is None or not ledgers_.keep(new):
            self._trials_logic.ask_again()  # its parallel slot is free, now that its account knows
        if (new is None or not ledgers_.keep(new)) and self._asked(obj.namespace, owner.name):
            self._suggestion.enqueue(obj.namespace, owner.name)

    def _asked(self, namespace: str, name: str) -> bool:
        """Whether a Suggestion owes answers: only then do results of trials matter to it."""
        found = self.suggestions.get(namespace, name)
        return not isinstance(found, suggestion.Suggestion) or found.spec.requests > found.status.suggestion_count

    def _workload_heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        obj = new if new is not None else old
        assert obj is not None
        owner = obj.metadata.controller
        if owner is None or owner.kind != trial.Trial.KIND:
            return
        if new is None:
            self._trials_logic.workload_gone(obj)
            if self.trials.get(obj.namespace, owner.name) is None and self.trials.synced.is_set():
                return  # a finished trial has no use for it
        elif old is None and not obj.section("status") and self.trials.synced.is_set():
            return  # it has just been made by a pass, which knows
        self._trial.enqueue(obj.namespace, owner.name)


def _only_counted(old: meta.Object | None, new: meta.Object | None) -> bool:
    """Whether nothing but counters and lists of an experiment's status changed, which its own pass wrote."""
    if not (isinstance(old, experiment.Experiment) and isinstance(new, experiment.Experiment)) or new.deleting:
        return False
    was, now = old.metadata, new.metadata
    same = (was.uid, was.generation, was.finalizers, was.annotations) == (
        now.uid, now.generation, now.finalizers, now.annotations,
    )  # fmt: skip
    return same and old.status.conditions == new.status.conditions


def parse_template(text: str) -> meta.Json:
    """Read a template's text; raises BadInputError or InvalidError."""
    documents = yaml.load(text, "trial template")
    value = documents[0].value if len(documents) == 1 else None
    if not isinstance(value, dict):
        raise errors.BadInputError("the trial template must hold exactly one object")
    return value
