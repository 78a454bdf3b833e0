"""The end of a trial's source: all its rows, the fence and the final marker, taken at once and written later.

A small one can be a letter (:mod:`kuttab.ports.outbox`): then nobody waits for the log's database. Writing one twice changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kuttab.base import errors
from kuttab.ports import outbox
from kuttab.ports.observations import Row, TrialKey

if TYPE_CHECKING:
    from kuttab.observations import log

LIGHT_ROWS: Final = 64
LIGHT_BYTES: Final = 16 << 10
"""What is larger is not worth being written twice."""


@dataclass(eq=False, slots=True)
class End:
    """Checked rows of a source that has no others. As a job it writes them."""

    trial: TrialKey
    source: str
    rows: Sequence[Row]
    number: int = 0
    again: bool = False
    """Whether an earlier run may have written it: then not over what came later."""
    _body: bytes = b""

    def __call__(self, view: log.Log) -> None:
        """Write it in a transaction of the log."""
        if not (self.again and view.position(self.trial, self.source, 0).finished):
            view.write(self.trial, self.source, 0, self.rows, final=len(self.rows), fence=True)

    @property
    def light(self) -> bool:
        """Whether it is small enough for a letter."""
        return len(self.rows) <= LIGHT_ROWS and len(self._encoded()) <= LIGHT_BYTES

    def letter(self) -> outbox.Letter:
        """It as a letter."""
        return outbox.Letter(self.number, self._encoded())

    def _encoded(self) -> bytes:
        if not self._body:
            rows = [(row.metric, row.value, row.time) for row in self.rows]
            self._body = json.dumps((self.trial.uid, self.trial.name, self.trial.namespace, self.source, rows)).encode()
        return self._body


def opened(letter: outbox.Letter) -> End:
    """The end that a letter of an earlier run tells of; CorruptError."""
    try:
        uid, name, namespace, source, rows = json.loads(letter.body)
        found = [Row(*row) for row in rows]
    except (ValueError, TypeError) as problem:
        raise errors.CorruptError(
            f"the outbox holds a letter {letter.number} that no kuttab wrote ({problem})"
        ) from None
    return End(TrialKey(uid, name, namespace), source, found, letter.number, again=True)
