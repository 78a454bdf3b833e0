"""What ``SetTrialStatus`` does in a cluster: the trial gets the condition EarlyStopped, and its controller does the rest.

Katib's collectors call it after they have ended the program. It is honoured for trials of the service's own namespace that were created
with early-stopping rules; any other name is refused, so that nobody ends a trial that no rule watches.
"""

from __future__ import annotations

from typing import Any

from kuttab.api import conditions, keys, kinds, meta, trial
from kuttab.base import clock as clocks
from kuttab.base import errors
from kuttab.ports import objects as port
from kuttab.rules import trial_state

TRIES = 5


class Marker:
    """Marks trials of one namespace."""

    def __init__(self, objects: port.Objects, namespace: str, clock: clocks.Clock) -> None:
        self._objects = objects
        self._namespace = namespace
        self._clock = clock

    async def stop(self, name: str, _: Any) -> None:
        """Mark the trial; one that has ended stays as it is. NotFoundError, ForbiddenError."""
        for _attempt in range(TRIES):
            found = await self._objects.get(kinds.TRIAL, self._namespace, name)
            assert isinstance(found, trial.Trial)
            if not found.spec.early_stopping_rules:
                raise errors.ForbiddenError(f"trial {name!r} has no early-stopping rules, so none can have been met")
            if trial_state.finished(found):
                return
            try:
                await self._objects.update_status(meta.evolve(found, status=self._marked(found.status)))
            except errors.ConflictError:
                continue
            return
        raise errors.UnavailableError(f"trial {name!r} is being changed too often")

    def _marked(self, status: trial.TrialStatus) -> trial.TrialStatus:
        now = clocks.rfc3339(self._clock.now())
        items = conditions.put(
            status.conditions,
            keys.EARLY_STOPPED,
            conditions.TRUE,
            keys.TRIAL_EARLY_STOPPED,
            "Trial is early stopped",
            now,
        )
        return meta.evolve(status, conditions=items)
