"""Whose turn it is: a quota behind which no experiment runs more trials than its ``parallelTrialCount``.

Trials that wait for resources hold no parallel slot, so there may be more of them than may run; here each is let through to the real
quota one by one. The answer is exact because it is taken and noted without a pause: what was let through counts until the cache shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kuttab.api import experiment, kinds, meta, trial
from kuttab.api.history import TrialState
from kuttab.controllers import ledgers
from kuttab.ports import quota as port
from kuttab.rules import budget
from kuttab.runtime import informer

RETRY = 60.0
"""Seconds until a trial asks again by itself; it is woken when another one ends."""


class Turns:
    """Implements the quota port in front of another one."""

    def __init__(
        self,
        quota: port.Quota,
        experiments: informer.Informer,
        accounts: ledgers.Ledgers,
        workloads: Mapping[kinds.Kind, informer.Informer],
    ) -> None:
        self._quota = quota
        self._experiments = experiments
        self._accounts = accounts
        self._workloads = workloads
        self._started: dict[str, tuple[str, str]] = {}
        self._turned_away: dict[str, dict[tuple[str, str], None]] = {}
        self.wake: Callable[[str, str], None] | None = None
        """Called with namespace and name of a trial that was turned away, when the slot that another one asked for is free again."""

    async def check(self, subject: trial.Trial, workload: meta.Resource) -> port.Decision:
        """Ask the quota when the experiment has a free slot."""
        owner = self._owner(subject)
        if owner is not None and owner.spec.suspend:
            return self._turn_away(owner, subject, "its experiment is paused")
        if owner is not None and self._running(owner, subject) >= budget.parallel(owner):
            reason = f"its experiment runs {budget.parallel(owner)} trials already (parallelTrialCount)"
            return self._turn_away(owner, subject, reason)
        if owner is not None:
            self._turned_away.get(owner.uid, {}).pop((subject.namespace, subject.name), None)
            self._started[subject.uid] = (owner.uid, subject.name)
        decision: port.Decision | None = None
        try:
            decision = await self._quota.check(subject, workload)
        finally:
            if decision is None or decision.verdict is not port.Verdict.ADMIT:
                self._give_back(subject)
        return decision

    def heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        """An experiment changed, perhaps its parallelism or its pause: those who were turned away may ask."""
        if old is not None and new is not None and old.metadata.generation != new.metadata.generation:
            self._call(new.uid)

    def _turn_away(self, owner: experiment.Experiment, subject: trial.Trial, reason: str) -> port.Decision:
        self._turned_away.setdefault(owner.uid, {})[(subject.namespace, subject.name)] = None
        return port.Decision(port.Verdict.WAIT, reason, RETRY)

    def _give_back(self, subject: trial.Trial) -> None:
        """The trial does not run now: those who were turned away meanwhile may ask."""
        taken = self._started.pop(subject.uid, None)
        if taken is not None:
            self._call(taken[0])

    def _call(self, experiment_uid: str) -> None:
        for namespace, name in self._turned_away.pop(experiment_uid, {}):
            if self.wake is not None:
                self.wake(namespace, name)

    async def release(self, uid: str) -> None:
        """See the port."""
        self._started.pop(uid, None)
        await self._quota.release(uid)

    def _owner(self, subject: trial.Trial) -> experiment.Experiment | None:
        owner = subject.metadata.controller
        if owner is None or owner.kind != experiment.Experiment.KIND:
            return None
        found = self._experiments.get(subject.namespace, owner.name)
        return found if isinstance(found, experiment.Experiment) and found.uid == owner.uid else None

    def _running(self, owner: experiment.Experiment, subject: trial.Trial) -> int:
        """Trials that run or were let through, without the one that asks."""
        account = self._accounts.of(owner)
        count = account.count(TrialState.RUNNING)
        for name in account.newest(TrialState.PENDING, account.count(TrialState.PENDING)):
            if name != subject.name and (
                self._let_through(owner.uid, name) or self._has_workload(owner.namespace, name)
            ):
                count += 1
        return count

    def _let_through(self, experiment_uid: str, name: str) -> bool:
        return (experiment_uid, name) in self._started.values()

    def _has_workload(self, namespace: str, name: str) -> bool:
        """Whether a pending trial has one, as after a crash between its creation and the trial's status."""
        return any(cache.get(namespace, name) is not None for cache in self._workloads.values())
