"""What must hold at every store commit, whatever crashes, lags or repeats. Numbers are those of the reliability notes."""

from __future__ import annotations

from typing import Any

from kuttab.api import conditions, experiment, history, keys, kinds, meta, suggestion, trial
from kuttab.client.embedded import EmbeddedClient
from kuttab.rules import completion, trial_state

TERMINAL = (keys.SUCCEEDED, keys.FAILED, keys.KILLED, keys.METRICS_UNAVAILABLE)


class Checker:
    """Follows Experiments, Suggestions and Trials event by event and remembers what may never happen twice."""

    def __init__(self, client: EmbeddedClient) -> None:
        self._client = client
        self.broken: list[str] = []
        self.counts: dict[tuple[str, str], int] = {}
        self._experiments: dict[str, experiment.Experiment] = {}
        self._slots: dict[tuple[str, int], str] = {}
        self._journal: dict[tuple[str, int], Any] = {}
        self._trials: dict[str, trial.Trial] = {}
        self._jobs: dict[str, str] = {}
        self._restarts: dict[str, int] = {}

    async def watch(self) -> None:
        """Check every event of the three kinds until cancelled."""
        import asyncio

        async with asyncio.TaskGroup() as group:
            for kind in (kinds.EXPERIMENT, kinds.SUGGESTION, kinds.TRIAL, kinds.JOB):
                group.create_task(self._follow(kind))

    async def _follow(self, kind: kinds.Kind) -> None:
        async for event in self._client.watch(kind):
            obj = event.object
            if event.type in ("ADDED", "DELETED"):
                self.counts[(kind.kind, event.type)] = self.counts.get((kind.kind, event.type), 0) + 1
            if event.type == "BOOKMARK" or event.type == "DELETED":
                continue
            if isinstance(obj, experiment.Experiment):
                self._experiment(obj)
            elif isinstance(obj, suggestion.Suggestion):
                self._suggestion(obj)
            elif isinstance(obj, trial.Trial):
                self._trial(obj)

    def job_started(self, trial_uid: str, job_uid: str) -> None:
        """S21: one job per trial."""
        self._must(trial_uid not in self._jobs, f"S21: a second job for trial {trial_uid}")
        self._jobs[trial_uid] = job_uid

    def _must(self, holds: bool, message: str) -> None:
        if not holds:
            self.broken.append(message)

    def _experiment(self, obj: experiment.Experiment) -> None:
        old = self._experiments.get(obj.uid)
        self._experiments[obj.uid] = obj
        items = obj.status.conditions or []
        ends = [c for c in items if c.type in (keys.SUCCEEDED, keys.FAILED) and c.status == conditions.TRUE]
        self._must(len(ends) <= 1, f"S9: {len(ends)} ends on {obj.name}")
        self._must(len({c.type for c in items}) == len(items), "S9: a condition type twice")
        if old is not None:
            was, now = completion.completed(old), completion.completed(obj)
            self._must(
                not was or now or obj.status.restarts == old.status.restarts + 1, "S9/S10: an end was taken back"
            )
            self._must(obj.status.restarts - old.status.restarts in (0, 1), "S10: restarts jumped")
            if old.status.start_time:
                self._must(obj.status.start_time == old.status.start_time, "S9: the start time moved")
            self._must(obj.status.slots >= old.status.slots, "S2: slots were given back")
        best = obj.status.current_optimal_trial
        if best is not None and best.best_trial_name:
            self._must(bool(best.observation.metrics), "S13: a best trial without observation")

    def _suggestion(self, obj: suggestion.Suggestion) -> None:
        subject = next((e for e in self._experiments.values() if e.name == obj.name), None)
        if subject is not None and subject.spec.max_trial_count is not None:
            self._must(obj.spec.requests <= subject.spec.max_trial_count, "S1: requests above the budget")
        self._must(obj.status.suggestion_count <= obj.spec.requests, "S1: more answers than requests")
        for item in obj.status.suggestions or ():
            known = self._journal.setdefault((obj.uid, item.slot), item)
            self._must(known == item, f"S4: the journal changed at slot {item.slot}")
            for value in item.parameter_assignments or ():
                self._must(value.name == "x" and 0 <= float(value.value) <= 1, f"S5: {value.name}={value.value}")
        slots = [item.slot for item in obj.status.suggestions or ()]
        self._must(len(slots) == len(set(slots)), "S4: a slot twice in the journal")

    def _trial(self, obj: trial.Trial) -> None:
        old = self._trials.get(obj.uid)
        self._trials[obj.uid] = obj
        owner = obj.metadata.controller
        self._must(
            owner is not None and bool(obj.metadata.label(keys.LABEL_EXPERIMENT)), "S6: a trial without owner or label"
        )
        self._must(len(obj.name) <= 63, "S6: a name too long")
        if old is None and owner is not None:
            self._new_trial(obj, owner.uid)
        elif owner is not None and not _runs(old) and _runs(obj):
            self._new_run(owner.uid)
        items = obj.status.conditions or []
        ends = [c.type for c in items if c.type in TERMINAL and c.status == conditions.TRUE]
        self._must(len(ends) <= 1, f"S9: trial {obj.name} ended as {ends}")
        if keys.SUCCEEDED in ends:
            self._must(obj.status.observation is not None, "S17: succeeded without its observation")
        if old is not None and trial_state.finished(old):
            self._must(
                trial_state.state(old.status.conditions) is trial_state.state(obj.status.conditions),
                f"S9: trial {obj.name} changed its end",
            )

    def _new_run(self, owner: str) -> None:
        subject = self._experiments.get(owner)
        running = [
            t
            for t in self._trials.values()
            if t.metadata.controller and t.metadata.controller.uid == owner and _runs(t)
        ]
        allowed = (subject.spec.parallel_trial_count or 3) if subject is not None else len(running)
        self._must(len(running) <= allowed, f"S3: {len(running)} running trials, {allowed} allowed")

    def _new_trial(self, obj: trial.Trial, owner: str) -> None:
        slot = trial_state.slot(obj)
        self._must(
            (owner, slot) not in self._slots, f"S2: slot {slot} was given to {self._slots.get((owner, slot))} before"
        )
        self._slots[(owner, slot)] = obj.name
        subject = self._experiments.get(owner)
        if subject is None:
            return
        mine = [s for o, s in self._slots if o == owner]
        if subject.spec.max_trial_count is not None:
            self._must(len(mine) <= subject.spec.max_trial_count, "S1: more trials than the budget")
        active = [
            t
            for t in self._trials.values()
            if t.metadata.controller is not None and t.metadata.controller.uid == owner and not trial_state.finished(t)
        ]
        parallel = subject.spec.parallel_trial_count or 3
        holding = [t for t in active if not trial_state.queued(t)]
        self._must(len(holding) <= parallel, f"S3: {len(holding)} trials hold a slot, {parallel} allowed")
        self._must(
            len(active) <= 2 * parallel, f"S3: {len(active)} active trials with those that wait, {parallel} allowed"
        )
        self._must(not completion.completed(subject), "S11: a trial after the end")


def _runs(obj: trial.Trial | None) -> bool:
    return obj is not None and trial_state.state(obj.status.conditions) is history.TrialState.RUNNING


def facts(item: meta.Object) -> dict[str, Any]:
    """An object without what may differ between two runs: versions, times, uids."""
    document = meta.dump(item)
    for key in ("resourceVersion", "uid", "creationTimestamp", "generation", "ownerReferences"):
        document["metadata"].pop(key, None)
    status = document.get("status", {})
    for key in ("startTime", "completionTime"):
        status.pop(key, None)
    for condition in status.get("conditions", ()):
        condition.pop("lastUpdateTime", None)
        condition.pop("lastTransitionTime", None)
    return document
