"""What must hold at every store commit, whatever crashes, lags or repeats. Numbers are those of the reliability notes.

The checker hears every commit in its order, at the moment it is made, and judges it by its own simple means: it recounts where the code
keeps running accounts, and looks for the best trial by reading all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from flow import simply
from kuttab.api import conditions, experiment, keys, kinds, meta, suggestion, trial
from kuttab.ports.observations import Row, TrialKey
from kuttab.rules import completion, counting, naming, suggestion_state, trial_state
from kuttab.store import lifecycle, log
from kuttab.store.objects import Store

TERMINAL = (keys.SUCCEEDED, keys.FAILED, keys.KILLED, keys.METRICS_UNAVAILABLE)
KINDS = (kinds.EXPERIMENT, kinds.SUGGESTION, kinds.TRIAL, kinds.JOB)
Count = tuple[int, tuple[tuple[str, ...], ...], str]
"""All trials, the names in each state, the best one's name."""


class Checker:
    """Hears every commit of Experiments, Suggestions, Trials and Jobs and remembers what may never happen twice."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.counts: dict[tuple[str, str], int] = {}
        self.sizes: dict[str, list[int]] = {}
        self._experiments: dict[str, experiment.Experiment] = {}
        self._suggestions: dict[str, suggestion.Suggestion] = {}
        self._trials: dict[str, trial.Trial] = {}
        self._jobs: dict[str, meta.Object] = {}
        self._had_job: dict[str, str] = {}
        self._slots: dict[tuple[str, int], str] = {}
        self._journal: dict[tuple[str, int], suggestion.TrialAssignment] = {}
        self._parallel: dict[str, int] = {}
        self._recounts: dict[str, list[Count]] = {}
        self.rows: dict[TrialKey, list[Row]] = {}

    def attach(self, store: Store) -> None:
        """Hear the store's commits from now on."""
        for kind in KINDS:
            store.broadcaster.join(self, log.kind_key(kind))

    def end(self) -> None:
        """The store closes."""

    def offer(self, entry: log.Entry) -> None:
        """One commit."""
        obj, gone = entry.object, entry.op is log.Op.DELETED
        if entry.op is not log.Op.MODIFIED:
            place = (obj.kind, "DELETED" if gone else "ADDED")
            self.counts[place] = self.counts.get(place, 0) + 1
        self.sizes.setdefault(obj.kind, []).append(len(entry.body))
        self._must(
            lifecycle.decode(kinds.of(obj), entry.body) == obj, f"{obj.kind} {obj.name} is not what its JSON says"
        )
        if isinstance(obj, experiment.Experiment):
            self._experiment(obj, gone)
        elif isinstance(obj, suggestion.Suggestion):
            self._suggestion(obj, gone)
        elif isinstance(obj, trial.Trial):
            self._trial(obj, gone)
        else:
            self._job(obj, gone)

    def called(self, verb: str, args: Sequence[Any], options: dict[str, Any]) -> None:
        """One call of the control plane on the objects."""
        if verb in ("update", "update_status"):
            self._must(bool(args[0].metadata.resource_version), f"S24: {verb} of {args[0].name} whatever its version")
        if verb == "delete":
            kind = args[0]
            self._must(kind is not kinds.TRIAL, f"S13: the system deletes trial {args[2]}")
            self._must(bool(options.get("uid")), f"S20: {kind.kind} {args[2]} is deleted by name alone")

    def measured(self, key: TrialKey, rows: Sequence[Row]) -> None:
        """The store of rows has acknowledged a trial's rows."""
        self.rows[key] = list(rows)

    def _must(self, holds: bool, message: str) -> None:
        if not holds:
            self.broken.append(message)

    # Experiments.

    def _experiment(self, obj: experiment.Experiment, gone: bool) -> None:
        old = self._experiments.pop(obj.uid, None)
        if gone:
            return
        self._experiments[obj.uid] = obj
        ends = simply.true(obj.status.conditions, (keys.SUCCEEDED, keys.FAILED))
        self._must(len(ends) <= 1, f"S9: {len(ends)} ends on {obj.name}")
        self._once(obj.name, obj.status.conditions)
        self._times(obj.name, old and old.status, obj.status, bool(ends))
        self._must(obj.status.restarts < (obj.metadata.generation or 1), "S10: a restart without a change of spec")
        if old is not None:
            was, now = completion.completed(old), completion.completed(obj)
            restarted = obj.status.restarts - old.status.restarts
            self._must(not was or now or restarted == 1, "S9/S10: an end was taken back")
            self._must(restarted == 0 or (restarted == 1 and was and not now), "S10: restarts without an end")
            if was and now:
                self._must(old.status.conditions == obj.status.conditions, "S9: the end changed")
            self._must(obj.status.slots >= old.status.slots, "S2: slots were given back")
        for name in simply.LISTS:
            self._must(len(getattr(obj.status, name) or ()) <= counting.LIST_CAP, f"S22: {name} grows")
        self._recounted(obj)

    def _recounted(self, obj: experiment.Experiment) -> None:
        """S12, S13: counters, lists and best trial are those of all trials at one moment, and never an earlier one than before."""
        status, best = obj.status, obj.status.current_optimal_trial
        names = tuple(tuple(sorted(getattr(status, name) or ())) for name in simply.LISTS)
        counters = (
            status.trials_pending,
            status.trials_running,
            status.trials_succeeded,
            status.trials_failed,
            status.trials_killed,
            status.trials_early_stopped,
            status.trial_metrics_unavailable,
        )
        if status.trials <= counting.LIST_CAP:
            self._must(counters == tuple(map(len, names)), f"S12: {counters} for {names}")
            count = (status.trials, names, best.best_trial_name if best is not None else "")
            moments = self._recounts.setdefault(obj.uid, [(0, ((),) * len(simply.LISTS), "")])
            found = next((i for i, moment in enumerate(moments) if moment == count), None)
            self._must(found is not None, f"S12/S13: {obj.name} says {count}, its trials said {moments}")
            del moments[: found or 0]
        self._must(sum(counters) == status.trials, f"S12: {counters} of {status.trials}")
        if best is not None and best.best_trial_name:
            self._must(bool(best.observation.metrics), "S13: a best trial without observation")

    def _recount(self, owner: str) -> None:
        mine = [item for item in self._trials.values() if simply.owner(item) == owner]
        states: dict[str, list[str]] = {name: [] for name in simply.LISTS}
        for item in mine:
            states[simply.list_of(item)].append(item.name)
        count = (len(mine), tuple(tuple(sorted(names)) for names in states.values()), self._best(mine))
        moments = self._recounts.setdefault(owner, [(0, ((),) * len(simply.LISTS), "")])
        if moments[-1] != count:
            moments.append(count)

    def _best(self, trials: Iterable[trial.Trial]) -> str:
        """The trial with the best finite value among those that have an observation; the earliest slot among equals."""
        values = []
        for item in trials:
            value = simply.value(item)
            if value is not None:
                values.append((value, trial_state.slot(item), item.name))
        return min(values)[2] if values else ""

    # Suggestions.

    def _suggestion(self, obj: suggestion.Suggestion, gone: bool) -> None:
        old = self._suggestions.pop(obj.uid, None)
        if gone:
            return
        self._suggestions[obj.uid] = obj
        subject = self._experiments.get(simply.owner(obj))
        if subject is None:
            self._must(old is None or obj.deleting or simply.owner(obj) != "", f"S20: stranger {obj.name} was written")
            return
        entries = obj.status.suggestions or []
        slots = [item.slot for item in entries]
        self._must(len(slots) == len(set(slots)), "S4: a slot twice in the journal")
        for item in entries:
            self._entry(subject, item)
        if subject.spec.max_trial_count is not None:
            self._must(obj.spec.requests <= subject.spec.max_trial_count, "S1: requests above the budget")
        self._must(obj.status.suggestion_count <= obj.spec.requests, "S1: more answers than requests")
        most = suggestion_state.JOURNAL_CAP + 2 * simply.parallel(subject) + (subject.spec.ask_ahead or 0)
        self._must(len(entries) <= most, f"S22: {len(entries)} entries in the journal")
        if old is not None:
            self._must(obj.spec.requests >= old.spec.requests, "S1: requests were lowered")
            self._must(obj.status.suggestion_count >= old.status.suggestion_count, "S4: the journal shrank")
        for slot in range(obj.status.suggestion_count):
            kept = slot in slots or (subject.uid, slot) in self._slots
            self._must(kept, f"S2: the assignment of slot {slot} was dropped")

    def _entry(self, subject: experiment.Experiment, item: suggestion.TrialAssignment) -> None:
        known = self._journal.setdefault((subject.uid, item.slot), item)
        self._must(known == item, f"S4: the journal changed at slot {item.slot}")
        self._must(item.name == naming.trial_name(subject, item.slot), f"S6: {item.name} at slot {item.slot}")
        given = {value.name: value.value for value in item.parameter_assignments or ()}
        declared = {parameter.name: parameter for parameter in subject.spec.parameters or ()}
        self._must(given.keys() == declared.keys(), f"S5: {sorted(given)} assigned, {sorted(declared)} declared")
        for name in given.keys() & declared.keys():
            self._must(simply.inside(declared[name], given[name]), f"S5: {name}={given[name]}")

    # Trials.

    def _trial(self, obj: trial.Trial, gone: bool) -> None:
        old = self._trials.pop(obj.uid, None)
        owner = simply.owner(obj)
        if not gone:
            self._trials[obj.uid] = obj
        self._must(old is None or simply.owner(old) == owner, f"S20: {obj.name} was adopted")
        if not owner:
            return
        self._recount(owner)
        if gone:
            return
        self._must(len(obj.name) <= 63, "S6: a name too long")
        if old is None:
            self._new_trial(obj, owner)
        elif not simply.runs(old) and simply.runs(obj):
            self._new_run(owner)
        self._end(obj, old)

    def _end(self, obj: trial.Trial, old: trial.Trial | None) -> None:
        ends = simply.true(obj.status.conditions, TERMINAL)
        finished = trial_state.finished(obj)
        self._must(len(ends) <= 1, f"S9: trial {obj.name} ended as {ends}")
        self._once(obj.name, obj.status.conditions)
        self._times(obj.name, old and old.status, obj.status, finished)
        if old is not None and trial_state.finished(old):
            self._must(old.status == obj.status, f"S9: trial {obj.name} changed after its end")
        elif finished:
            job = self._jobs.get(obj.uid)
            over = job is None or bool(simply.job_ends(job))
            self._must(over, f"S28: trial {obj.name} ended while its job runs")
            if keys.SUCCEEDED in ends:
                self._must(
                    simply.complete(obj, self.rows.get(TrialKey(obj.uid, obj.name, obj.namespace), [])),
                    f"S16/S17: {obj.name} without its observation",
                )

    def _new_run(self, owner: str) -> None:
        running = [item for item in self._trials.values() if simply.owner(item) == owner and simply.runs(item)]
        subject = self._experiments.get(owner)
        allowed = max([simply.parallel(subject) if subject else 0, *(self._parallel[item.uid] for item in running)])
        self._must(len(running) <= allowed, f"S3: {len(running)} running trials, {allowed} allowed")

    def _new_trial(self, obj: trial.Trial, owner: str) -> None:
        slot, subject = trial_state.slot(obj), self._experiments.get(owner)
        self._must(
            (owner, slot) not in self._slots, f"S2: slot {slot} was given to {self._slots.get((owner, slot))} before"
        )
        self._slots[(owner, slot)] = obj.name
        if subject is None:
            self._must(False, f"S20: {obj.name} has an owner that nobody knows")
            return
        self._parallel[obj.uid] = parallel = simply.parallel(subject)
        entry = self._journal.get((owner, slot))
        self._must(entry is not None, f"S4: trial {obj.name} of a slot that was not journaled")
        self._must(
            entry is None or entry.parameter_assignments == obj.spec.parameter_assignments,
            f"S2: trial {obj.name} has other parameters than slot {slot} of the journal",
        )
        names = [naming.trial_name(subject, number) for number in (slot, *(f"{slot}/{i}" for i in range(1, 6)))]
        self._must(obj.name in names, f"S6: {obj.name} is no name of slot {slot}")
        self._must(obj.metadata.label(keys.LABEL_EXPERIMENT) == subject.name, f"S6: the label of {obj.name}")
        mine = [s for o, s in self._slots if o == owner]
        if subject.spec.max_trial_count is not None:
            self._must(len(mine) <= subject.spec.max_trial_count, "S1: more trials than the budget")
        active = [t for t in self._trials.values() if simply.owner(t) == owner and not trial_state.finished(t)]
        holding = [item for item in active if not trial_state.queued(item)]
        self._must(len(holding) <= parallel, f"S3: {len(holding)} trials hold a slot, {parallel} allowed")
        self._must(
            len(active) <= 2 * parallel, f"S3: {len(active)} active trials with those that wait, {parallel} allowed"
        )
        self._must(not completion.completed(subject), "S11: a trial after the end")

    # Jobs.

    def _job(self, obj: meta.Object, gone: bool) -> None:
        owner = simply.owner(obj)
        if not owner:
            return
        had = self._had_job.setdefault(owner, obj.uid)
        self._must(had == obj.uid, f"S21: a second job for trial {obj.name}")
        if gone:
            self._jobs.pop(owner, None)
            return
        subject = self._trials.get(owner)
        late = owner not in self._jobs and (subject is None or trial_state.finished(subject))
        self._must(not late, f"S28: a job for {obj.name}, which is no live trial")
        self._jobs[owner] = obj

    # What all have.

    def _once(self, name: str, items: Sequence[conditions.Condition] | None) -> None:
        types = [item.type for item in items or ()]
        self._must(len(types) == len(set(types)), f"S9: a condition type twice on {name}")

    def _times(self, name: str, old: Any, new: Any, ended: bool) -> None:
        """S9: start and completion are set once and in order."""
        if old is not None and old.start_time:
            self._must(new.start_time == old.start_time, f"S9: the start time of {name} moved")
        if ended:
            done = isinstance(new.completion_time, str) and new.completion_time >= (new.start_time or "")
            self._must(done, f"S9: {name} started {new.start_time} and ended {new.completion_time}")


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
