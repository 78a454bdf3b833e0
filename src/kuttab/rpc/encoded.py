"""The trials of an experiment as encoded messages: kept up to date by the asking side, told apart by the answering side.

The contract sends the whole history on each ask. Neither side encodes or decodes a trial again that has not changed.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from kuttab.api import experiment, history, suggestion
from kuttab.base import errors
from kuttab.ports import suggestion as port
from kuttab.rpc import convert

_TRIALS_TAG = b"\x12"
"""Field 2, length-delimited: ``trials`` in every request that has them."""


class EncodedTrials:
    """Encoded Trial messages by slot; one is made again only when its record has changed."""

    def __init__(self, objective: experiment.ObjectiveSpec) -> None:
        self.objective = objective
        self._encoded_objective = convert.objective_message(objective)
        self._order: list[tuple[int, str]] = []
        self._records: dict[str, history.TrialRecord] = {}
        self._encoded: dict[str, bytes] = {}
        self._revision = -1

    def refresh(self, trials: port.Trials) -> None:
        """Take in what has changed since the last call."""
        revision = trials.revision
        changed = trials.changed_since(self._revision) if self._revision >= 0 else None
        if changed is None:
            changed = trials.all()
            present = {record.name for record in changed}
            for name in [name for name in self._records if name not in present]:
                self._drop(name)
        for record in changed:
            self._put(record)
        self._revision = revision

    def request_bytes(self, pending: Iterable[suggestion.TrialAssignment] = ()) -> list[bytes]:
        """Field 2 of a request, as pieces to join: every trial, then assignments that have none yet."""
        waiting = (item for item in pending if item.name not in self._records)
        return [
            *(self._encoded[name] for _, name in self._order),
            *(_field(convert.assignment_message(item).SerializeToString()) for item in waiting),
        ]

    def knows(self, name: str) -> bool:
        """Whether there is a trial of that name."""
        return name in self._records

    def any_active(self) -> bool:
        """Whether any trial still waits or runs."""
        return any(not record.state.finished for record in self._records.values())

    def _put(self, record: history.TrialRecord) -> None:
        old = self._records.get(record.name)
        if old == record:
            return
        if old is not None and old.slot != record.slot:
            self._drop(record.name)
        self._records[record.name] = record
        if not convert.is_sent(record):
            self._hide(record)
            return
        if record.name not in self._encoded:
            bisect.insort(self._order, (record.slot, record.name))
        message = convert.trial_message(record, self.objective, self._encoded_objective)
        self._encoded[record.name] = _field(message.SerializeToString())

    def _drop(self, name: str) -> None:
        self._hide(self._records.pop(name))

    def _hide(self, record: history.TrialRecord) -> None:
        if self._encoded.pop(record.name, None) is not None:
            at = bisect.bisect_left(self._order, (record.slot, record.name))
            if self._order[at : at + 1] != [(record.slot, record.name)]:
                at = next(i for i, (_, name) in enumerate(self._order) if name == record.name)
            del self._order[at]


def field(number: int, raw: bytes) -> bytes:
    """A length-delimited field of a message."""
    return bytes([number << 3 | 2]) + _varint(len(raw)) + raw


def varint_field(number: int, value: int) -> bytes:
    """A field that holds a whole number from 0."""
    return bytes([number << 3]) + _varint(value)


def split(raw: bytes) -> tuple[bytes, list[bytes]]:
    """A request's bytes without field 2, and the encoded messages of field 2; BadInputError when they are no message."""
    rest: list[bytes] = []
    found: list[bytes] = []
    at, size = 0, len(raw)
    trials_tag = _TRIALS_TAG[0]
    while at < size:
        if raw[at] == trials_tag and at + 3 < size:  # the common case, without calls: lengths of one or two bytes
            low, high = raw[at + 1], raw[at + 2]
            begin, length = (at + 2, low) if low < 128 else (at + 3, low & 127 | high << 7)
            if (low < 128 or high < 128) and begin + length <= size:
                at = begin + length
                found.append(raw[begin:at])
                continue
        start = at
        tag, at = _read_varint(raw, at)
        kind = tag & 7
        if kind == 2:
            length, at = _read_varint(raw, at)
            end = at + length
        elif kind == 0:
            end = _read_varint(raw, at)[1]
        elif kind in (1, 5):
            end = at + (8 if kind == 1 else 4)
        else:
            raise errors.BadInputError("the bytes are no message")
        if end > size:
            raise errors.BadInputError("the bytes end within a field")
        if tag == trials_tag:
            found.append(raw[at:end])
        else:
            rest.append(raw[start:end])
        at = end
    return b"".join(rest), found


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw) and shift < 64:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise errors.BadInputError("the bytes end within a field")


def _field(raw: bytes) -> bytes:
    return _TRIALS_TAG + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
