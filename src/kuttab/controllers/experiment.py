"""The experiment controller: the bridge between an algorithm's suggestions and trials.

Observes: Experiments, their Suggestions, their Trials. Sets: Experiment.status, Suggestion.spec.requests, Trials. It never looks
at workloads or metrics: those are the trial controller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kuttab.api import conditions, experiment, keys, kinds, meta, suggestion, trial
from kuttab.api.history import TrialState
from kuttab.base import clock, errors, log
from kuttab.controllers import ledgers
from kuttab.ports import events as event_port
from kuttab.ports import objects as port
from kuttab.rules import budget, completion, experiment_state, ledger, naming, template
from kuttab.runtime import informer

logger = log.get(__name__)

COALESCE = 0.2
"""Seconds between two status writes that only count: a condition is always written at once."""

ATTEMPTS = 5
"""Names tried for a trial whose own name a stranger took."""


Admit = Callable[[experiment.Experiment, str], experiment.Experiment]
"""``admit(experiment, text of its ConfigMap template)``: the experiment with its defaults; InvalidError. For a world in which nothing
stands before the store."""


@dataclass(frozen=True, slots=True)
class World:
    """What the controller reads and acts through."""

    objects: port.Objects
    experiments: informer.Informer
    suggestions: informer.Informer
    ledgers: ledgers.Ledgers
    events: event_port.Events
    clock: clock.Clock
    parse_yaml: Callable[[str], meta.Json]
    admit: Admit | None = None


class ExperimentController:
    """Passes over experiments."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._written: dict[str, float] = {}
        self._counted: dict[str, int] = {}
        self._forms: dict[str, tuple[experiment.TrialTemplate, Mapping[str, str] | None, template.Form]] = {}

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One pass; see :mod:`kuttab.runtime.controller` for its outcomes."""
        world = self._world
        subject = world.experiments.get(namespace, name)
        if subject is None:
            return None
        assert isinstance(subject, experiment.Experiment)
        if subject.deleting:
            await self._finalize(subject)
            return None
        if keys.FINALIZER_EXPERIMENT not in (subject.metadata.finalizers or ()):
            if not completion.completed(subject):  # one that was refused gets no finalizer
                await self._prepare(subject)
            return None
        account = world.ledgers.of(subject)
        status = experiment_state.created(subject.status, self._now())
        if completion.completed(subject):
            status = await self._after_end(subject, status, account)
        else:
            status = await self._step(subject, status, account)
        return await self._write(subject, status, account)

    async def _step(
        self, subject: experiment.Experiment, status: experiment.ExperimentStatus, account: ledger.Ledger
    ) -> experiment.ExperimentStatus:
        """An open experiment: end it, or ask for assignments and make trials."""
        current = self._suggestion(subject)
        end = completion.judge(subject, current, account)
        if end is None:
            plan = budget.plan(subject, current, account)
            await self._ask(subject, current, plan)
            problem = await self._create(subject, plan)
            if problem is not None:
                end = completion.End(keys.FAILED, keys.EXPERIMENT_FAILED, f"A trial cannot be made: {problem}")
        if end is not None:
            return experiment_state.ended(status, end, self._now())
        status = experiment_state.suspended(status, bool(subject.spec.suspend), self._now())
        if not subject.spec.suspend:
            status = experiment_state.running(status, account, self._now())
        return await self._check_template(subject, status)

    async def _after_end(
        self, subject: experiment.Experiment, status: experiment.ExperimentStatus, account: ledger.Ledger
    ) -> experiment.ExperimentStatus:
        """A completed experiment: start it again if its budget was raised, else stop what still runs."""
        self._forms.pop(subject.uid, None)
        if completion.restarts(subject, account):
            return experiment_state.restarted(status, self._now())
        for state in (TrialState.PENDING, TrialState.RUNNING):
            for name in account.newest(state, account.count(state)):
                await self._stop(subject, name)
        return status

    def _suggestion(self, subject: experiment.Experiment) -> suggestion.Suggestion | None:
        found = self._world.suggestions.get(subject.namespace, subject.name)
        if found is None or found.deleting:
            return None
        assert isinstance(found, suggestion.Suggestion)
        if not naming.owned_by(found, subject):
            raise errors.ForbiddenError(
                f"a Suggestion named {subject.name} exists and belongs to something else; delete it to let this experiment run"
            )
        return found

    async def _ask(
        self, subject: experiment.Experiment, current: suggestion.Suggestion | None, plan: budget.Plan
    ) -> None:
        """Make the Suggestion, or raise the number of assignments wanted from it."""
        if current is None:
            await self._make_suggestion(subject, plan.requests)
        elif plan.requests > current.spec.requests and not current.status.exhausted:
            wanted = meta.evolve(current.spec, requests=plan.requests)
            await self._world.objects.update(meta.evolve(current, spec=wanted))

    async def _make_suggestion(self, subject: experiment.Experiment, requests: int) -> None:
        spec = meta.evolve(
            suggestion.SuggestionSpec(),
            algorithm=subject.spec.algorithm,
            early_stopping=subject.spec.early_stopping,
            requests=requests,
            resume_policy=subject.spec.resume_policy,
        )
        metadata = meta.evolve(
            meta.ObjectMeta(name=subject.name, namespace=subject.namespace),
            labels=subject.metadata.labels,
            annotations=_public(subject.metadata.annotations),
            owner_references=[naming.owner(subject)],
        )
        fresh = suggestion.Suggestion(
            api_version=suggestion.Suggestion.API_VERSION, kind=suggestion.Suggestion.KIND, metadata=metadata, spec=spec
        )
        try:
            await self._world.objects.create(fresh)
        except errors.AlreadyExistsError:
            # Ours from a pass whose reply was lost, or a stranger's: the next pass sees which.
            logger.info("suggestion_exists", experiment=subject.name)

    async def _create(self, subject: experiment.Experiment, plan: budget.Plan) -> errors.InvalidError | None:
        """Make the trials of the plan, in slot order; returns what makes them impossible for good."""
        if not plan.create:
            return None
        try:
            spec = subject.spec.trial_template or experiment.TrialTemplate()
            form = self._form(subject, spec)
            fresh = [self._trial(subject, form, assignment) for assignment in plan.create]
        except errors.InvalidError as problem:
            return problem
        for item in fresh:
            await self._create_trial(subject, item)
        return None

    def _form(self, subject: experiment.Experiment, spec: experiment.TrialTemplate) -> template.Form:
        """The template, looked at anew when it is another: its text from a ConfigMap is parsed then."""
        text = self._snapshot(subject)
        known = self._forms.get(subject.uid)
        if known is None or known[0] is not spec or known[1] != text:
            tree = template.source_tree(spec, text, self._world.parse_yaml)
            known = self._forms[subject.uid] = spec, text, template.Form(spec, tree)
        return known[2]

    def _trial(
        self, subject: experiment.Experiment, form: template.Form, assignment: suggestion.TrialAssignment
    ) -> trial.Trial:
        spec = form.template
        values = {item.name: item.value for item in assignment.parameter_assignments or ()}
        run_spec = form.fill(values, name=assignment.name, namespace=subject.namespace)
        both = spec.success_condition and spec.failure_condition
        body = meta.evolve(
            trial.TrialSpec(),
            objective=subject.spec.objective,
            parameter_assignments=assignment.parameter_assignments,
            early_stopping_rules=assignment.early_stopping_rules,
            run_spec=run_spec,
            retain_run=spec.retain or None,
            metrics_collector=subject.spec.metrics_collector_spec,
            primary_pod_labels=spec.primary_pod_labels,
            primary_container_name=spec.primary_container_name,
            success_condition=spec.success_condition if both else None,
            failure_condition=spec.failure_condition if both else None,
        )
        metadata = meta.ObjectMeta(
            name=assignment.name,
            namespace=subject.namespace,
            labels=naming.trial_labels(subject, assignment.labels),
            annotations={keys.ANNOTATION_SLOT: str(assignment.slot)},
            finalizers=[keys.FINALIZER_TRIAL],
            owner_references=[naming.owner(subject)],
        )
        return trial.Trial(api_version=trial.Trial.API_VERSION, kind=trial.Trial.KIND, metadata=metadata, spec=body)

    async def _create_trial(self, subject: experiment.Experiment, fresh: trial.Trial) -> None:
        """Create a trial unless its slot has one; a stranger of that name makes us take another."""
        slot = fresh.metadata.annotation(keys.ANNOTATION_SLOT)
        for attempt in range(ATTEMPTS):
            try:
                await self._world.objects.create(fresh)
            except errors.AlreadyExistsError:
                found = await self._world.objects.get(kinds.TRIAL, fresh.namespace, fresh.name)
                if naming.owned_by(found, subject) and found.metadata.annotation(keys.ANNOTATION_SLOT) == slot:
                    return
                self._world.events.record(
                    subject, "TrialNameTaken", f"{fresh.name} exists and is not of this experiment", warning=True
                )
                fresh = _renamed(fresh, naming.trial_name(subject, f"{slot}/{attempt + 1}"))
            else:
                return
        raise errors.ForbiddenError(f"every name for a trial of {subject.name} is taken by strangers")

    async def _stop(self, subject: experiment.Experiment, name: str) -> None:
        """Tell a trial to end, as its experiment has."""
        try:
            found = await self._world.objects.get(kinds.TRIAL, subject.namespace, name)
        except errors.NotFoundError:
            return
        assert isinstance(found, trial.Trial)
        if not found.spec.stop and naming.owned_by(found, subject):
            wanted = meta.evolve(found.spec, stop="ExperimentCompleted")
            await self._world.objects.update(meta.evolve(found, spec=wanted))

    async def _prepare(self, subject: experiment.Experiment) -> None:
        """Put our finalizer, and a snapshot of a template that lives in a ConfigMap."""
        metadata = meta.evolve(
            subject.metadata, finalizers=[*(subject.metadata.finalizers or ()), keys.FINALIZER_EXPERIMENT]
        )
        source = subject.spec.trial_template.config_map if subject.spec.trial_template is not None else None
        text = ""
        if source is not None and not subject.metadata.annotation(keys.ANNOTATION_TEMPLATE):
            text = await self._template_text(subject, source)
            annotations = {**(subject.metadata.annotations or {}), keys.ANNOTATION_TEMPLATE: text}
            metadata = meta.evolve(metadata, annotations=annotations)
        if self._world.admit is not None:
            try:
                subject = self._world.admit(subject, text)
            except errors.InvalidError as problem:
                await self._refuse(subject, problem)
                return
        await self._world.objects.update(meta.evolve(subject, metadata=metadata))

    async def _refuse(self, subject: experiment.Experiment, problem: errors.InvalidError) -> None:
        """An experiment that admission would not have let in: it fails at once, with every reason."""
        end = completion.End(keys.FAILED, keys.EXPERIMENT_FAILED, problem.message[:2000])
        status = experiment_state.ended(experiment_state.created(subject.status, self._now()), end, self._now())
        stored = await self._world.objects.update_status(meta.evolve(subject, status=status))
        self._tell(subject, stored)

    async def _template_text(self, subject: experiment.Experiment, source: experiment.ConfigMapSource) -> str:
        where = source.config_map_namespace or subject.namespace
        found = await self._world.objects.get(kinds.CONFIG_MAP, where, source.config_map_name)
        text = found.section("data").get(source.template_path)
        if not isinstance(text, str):
            raise errors.NotFoundError(f"ConfigMap {where}/{source.config_map_name} has no key {source.template_path}")
        return text

    def _snapshot(self, subject: experiment.Experiment) -> dict[str, str] | None:
        source = subject.spec.trial_template.config_map if subject.spec.trial_template is not None else None
        if source is None:
            return None
        return {source.template_path: subject.metadata.annotation(keys.ANNOTATION_TEMPLATE)}

    async def _check_template(
        self, subject: experiment.Experiment, status: experiment.ExperimentStatus
    ) -> experiment.ExperimentStatus:
        source = subject.spec.trial_template.config_map if subject.spec.trial_template is not None else None
        if source is None:
            return status
        try:
            changed = await self._template_text(subject, source) != subject.metadata.annotation(
                keys.ANNOTATION_TEMPLATE
            )
        except errors.NotFoundError:
            changed = True
        return experiment_state.template_changed(status, changed, self._now())

    async def _finalize(self, subject: experiment.Experiment) -> None:
        """Let a deleted experiment go; its children go by their owner references."""
        self._world.ledgers.forget(subject.uid)
        self._written.pop(subject.uid, None)
        self._counted.pop(subject.uid, None)
        self._forms.pop(subject.uid, None)
        left = [item for item in subject.metadata.finalizers or () if item != keys.FINALIZER_EXPERIMENT]
        if len(left) != len(subject.metadata.finalizers or ()):
            metadata = meta.evolve(subject.metadata, finalizers=left)
            await self._world.objects.update(meta.evolve(subject, metadata=metadata))

    async def _write(
        self, subject: experiment.Experiment, status: experiment.ExperimentStatus, account: ledger.Ledger
    ) -> float | None:
        """The one status write of a pass, with its events after it; counting alone waits a moment for more to count."""
        now = self._world.clock.monotonic()
        wait = self._written.get(subject.uid, 0.0) + COALESCE - now
        if wait > 0 and status.conditions == subject.status.conditions:
            return wait if self._counted.get(subject.uid) != account.revision else None
        status = experiment_state.counted(status, account, budget.consumed(subject, account))
        revision = account.revision
        if status == subject.status:
            self._counted[subject.uid] = revision
            return None
        stored = await self._world.objects.update_status(meta.evolve(subject, status=status))
        self._written[subject.uid] = now
        self._counted[subject.uid] = revision
        self._tell(subject, stored)
        return None

    def _tell(self, old: experiment.Experiment, new: meta.Object) -> None:
        assert isinstance(new, experiment.Experiment)
        before = {(item.type, item.status) for item in old.status.conditions or ()}
        for item in new.status.conditions or ():
            if (item.type, item.status) not in before and item.status == conditions.TRUE:
                self._world.events.record(new, item.reason, item.message, warning=item.type == keys.FAILED)

    def _now(self) -> str:
        return clock.rfc3339(self._world.clock.now())


def _renamed(fresh: trial.Trial, name: str) -> trial.Trial:
    run_spec = dict(fresh.spec.run_spec or {})
    run_spec["metadata"] = {**run_spec.get("metadata", {}), "name": name}
    return meta.evolve(
        fresh,
        metadata=meta.evolve(fresh.metadata, name=name),
        spec=meta.evolve(fresh.spec, run_spec=run_spec),
    )


def _public(annotations: dict[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (annotations or {}).items() if key != keys.ANNOTATION_TEMPLATE}
