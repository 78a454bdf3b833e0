"""One running account per experiment, fed by the trial cache. A trial counts for the experiment whose uid controls it."""

from __future__ import annotations

from collections.abc import Collection

from kuttab.api import experiment, keys, meta, trial
from kuttab.rules import ledger, trial_state


def keep(obj: meta.Object) -> bool:
    """Which trials the cache holds: those with something left to do. The rest live in their account only."""
    assert isinstance(obj, trial.Trial)
    return obj.deleting or not trial_state.finished(obj)


class Ledgers:
    """Accounts by experiment uid. Listens to the trial cache."""

    def __init__(self) -> None:
        self._ledgers: dict[str, ledger.Ledger] = {}
        self._namespaces: dict[str, str] = {}

    def of(self, subject: experiment.Experiment) -> ledger.Ledger:
        """The account of an experiment, empty at first."""
        direction = subject.spec.objective.type if subject.spec.objective is not None else ""
        return self._get(subject.uid, direction)

    def forget(self, uid: str) -> None:
        """The experiment is gone."""
        self._ledgers.pop(uid, None)
        self._namespaces.pop(uid, None)

    def heard(self, old: meta.Object | None, new: meta.Object | None) -> None:
        """A trial changed."""
        obj = new if new is not None else old
        assert isinstance(obj, trial.Trial)
        owner = obj.metadata.controller
        if owner is None or owner.kind != experiment.Experiment.KIND or owner.name != _experiment_of(obj):
            return
        direction = obj.spec.objective.type if obj.spec.objective is not None else ""
        account = self._get(owner.uid, direction)
        if new is None:
            account.remove(obj.name)
        else:
            self._namespaces[owner.uid] = obj.namespace
            account.put(trial_state.record(obj))

    def listed(self, seen: Collection[tuple[str, str]]) -> None:
        """All trials that there are, as (namespace, name): one that an account has and that is not among them was deleted unseen."""
        for uid, account in self._ledgers.items():
            namespace = self._namespaces.get(uid, "")
            for record in account.all():
                if (namespace, record.name) not in seen:
                    account.remove(record.name)

    def _get(self, uid: str, direction: str) -> ledger.Ledger:
        found = self._ledgers.get(uid)
        if found is None:
            found = ledger.Ledger(uid, maximize=direction == experiment.ObjectiveType.MAXIMIZE)
            self._ledgers[uid] = found
        return found


def _experiment_of(obj: trial.Trial) -> str:
    return obj.metadata.label(keys.LABEL_EXPERIMENT) or obj.metadata.label(keys.LABEL_OLD_EXPERIMENT)
