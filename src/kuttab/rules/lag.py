"""What a proposal may see in a reproducible run: results by trial number, never by the order in which they came.

Proposal i is made from the results of trials 0 .. i - parallel, all of them finished, and knows the parameters of those between; so the
sequence of parameters is a function of the seed and of what the trials measure. The price: a free slot waits while the oldest running
trial is slower than those after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from kuttab.api.history import TrialRecord
from kuttab.rules import ledger as ledgers


def seen(slot: int, parallel: int) -> int:
    """How many trials, from number 0, a proposal sees the results of."""
    return max(0, slot - parallel + 1)


def ready(account: ledgers.Ledger, slot: int, parallel: int) -> bool:
    """Whether the results for a proposal are there.

    The newest of them decides: the proposals before this one had to wait for the others. A trial that was deleted is not waited for.
    """
    last = seen(slot, parallel) - 1
    record = account.at_slot(last) if last >= 0 else None
    return record is None or record.state.finished


class Lagged:
    """The trials that a proposal sees, as ``ports.suggestion.Trials``; its revision is their number."""

    def __init__(self, account: ledgers.Ledger, slot: int, parallel: int) -> None:
        self._account = account
        self.revision = seen(slot, parallel)

    def changed_since(self, revision: int) -> Sequence[TrialRecord] | None:
        """Those that a proposal of an earlier revision did not see."""
        return self._between(revision) if revision <= self.revision else None

    def all(self) -> Sequence[TrialRecord]:
        """All of them, by slot."""
        return self._between(0)

    def _between(self, first: int) -> list[TrialRecord]:
        found = (self._account.at_slot(slot) for slot in range(first, self.revision))
        return [record for record in found if record is not None]
