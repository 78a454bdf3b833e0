"""The trials of one search so far, in columns, so that tens of thousands are cheap and one more costs next to nothing.

Trials are keyed by number (the slot they fill, which is also the order in which they were given out) and every array runs
in that order, whatever the order in which the trials arrived: the same trials make the same history in any process.

Numbers below 0 are trials from before the search (a warm start): history like all others, but they fill no slot.

Objectives are turned so that less is better. A trial counts as

* *finished* when it succeeded or was stopped early and every objective is finite;
* *infeasible* when the parameters are to blame for there being no such value: it failed, ran out of memory or time, gave a
  value that is not finite, or no value;
* *pending* while it waits or runs;
* and as nothing at all when it was killed or its machine broke: that says nothing about the parameters.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kuttab.algorithms import space as spaces
from kuttab.algorithms.parameters import Floats
from kuttab.api.history import TrialState

Rows = NDArray[np.intp]

BLAMELESS = frozenset({"Infrastructure", "Cancelled"})
"""Failure reasons that say nothing about the parameters."""

PENDING, FINISHED, INFEASIBLE, VOID = range(4)
"""What a trial counts as; see the module's docstring."""

_STATES = tuple(TrialState)
_STATE_NUMBER = {state: number for number, state in enumerate(_STATES)}


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial.

    ``parameters`` are typed and in the space's order. ``values`` are the objectives in the user's own direction, empty when
    there are none. ``reason`` classes a failure in the words of :class:`kuttab.api.history.TrialRecord`. ``curve`` holds
    intermediate values of the first objective as (step, value), also in the user's direction. ``text`` holds assignments
    that are no parameters of the space (architecture search).
    """

    number: int
    parameters: spaces.Point
    state: TrialState = TrialState.PENDING
    values: tuple[float, ...] = ()
    reason: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    text: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    @property
    def standing(self) -> int:
        """PENDING, FINISHED, INFEASIBLE or VOID."""
        if not self.state.finished:
            return PENDING
        if self.state is TrialState.KILLED or (self.state is TrialState.FAILED and self.reason in BLAMELESS):
            return VOID
        if self.state in (TrialState.SUCCEEDED, TrialState.EARLY_STOPPED):
            if self.values and all(math.isfinite(value) for value in self.values):
                return FINISHED
            if self.state is TrialState.EARLY_STOPPED and not self.values:
                return VOID
        return INFEASIBLE


class History:
    """A mutable log of trials; ``version`` grows with every change.

    ``directions`` has one entry per objective: 1 to minimise, -1 to maximise.
    """

    def __init__(self, space: spaces.Space, directions: Sequence[int] = (1,)) -> None:
        self.space = space
        self.directions = tuple(directions)
        self.version = 0
        self._size = 0
        self._numbers = np.empty(0, dtype=np.int64)
        self._codes = np.empty((0, len(space)))
        self._units = np.empty((0, len(space)))
        self._y = np.empty((0, len(self.directions)))
        self._states = np.empty(0, dtype=np.int8)
        self._standings = np.empty(0, dtype=np.int8)
        self._notes: dict[int, dict[str, Any]] = {}  # the rare things, by number
        self._keys: dict[int, int] | None = None
        self._rows: dict[str, Rows] = {}
        self._pending: set[int] = set()

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Trial]:
        return (self._trial(row) for row in range(self._size))

    def __contains__(self, number: int) -> bool:
        return self._find(number)[1]

    def __getitem__(self, number: int) -> Trial:
        row, found = self._find(number)
        if not found:
            raise KeyError(number)
        return self._trial(row)

    # Changing it.

    def put(self, trial: Trial) -> bool:
        """Add a trial or replace the one of the same number; tells whether anything changed.

        Raises ValueError when a parameter's value is none of its kind or when the number of objectives is wrong.
        """
        if trial.values and len(trial.values) != len(self.directions):
            raise ValueError(f"{len(trial.values)} objective values for {len(self.directions)} objectives")
        codes = self.space.codes(trial.parameters)
        row, found = self._find(trial.number)
        if not found:
            self._insert(row, trial.number)
            self._place(row, codes)
        elif not np.array_equal(self._codes[row], codes):
            self._forget_key(row)
            self._place(row, codes)
        elif self._trial(row) == trial:
            return False
        self._y[row] = [v * s for v, s in zip(trial.values, self.directions, strict=True)] if trial.values else math.nan
        self._states[row] = _STATE_NUMBER[trial.state]
        self._standings[row] = trial.standing
        self._note(trial)
        (self._pending.add if trial.standing == PENDING else self._pending.discard)(trial.number)
        self._touch()
        return True

    def remove(self, number: int) -> None:
        """Forget a trial; nothing happens when there is none."""
        row, found = self._find(number)
        if not found:
            return
        self._forget_key(row)
        for name in _COLUMNS:
            column = getattr(self, name)
            column[row : self._size - 1] = column[row + 1 : self._size].copy()
        self._size -= 1
        self._notes.pop(number, None)
        self._pending.discard(number)
        self._touch()

    # Reading it: arrays are views, by number; do not write into them.

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers (n,), ascending."""
        return self._numbers[: self._size]

    @property
    def next_number(self) -> int:
        """One more than the greatest number."""
        return int(self._numbers[self._size - 1]) + 1 if self._size else 0

    @property
    def before(self) -> int:
        """How many trials are from before the search: those with numbers below 0."""
        return int(np.searchsorted(self.numbers, 0))

    @property
    def codes(self) -> Floats:
        """Codes (n, d), see :mod:`kuttab.algorithms.parameters`."""
        return self._codes[: self._size]

    @property
    def X(self) -> Floats:  # noqa: N802 - as in the papers
        """Unit values (n, d)."""
        return self._units[: self._size]

    @property
    def Y(self) -> Floats:  # noqa: N802
        """Objectives (n, m), less is better; NaN where there is none (rows outside ``finished`` may hold anything)."""
        return self._y[: self._size]

    @property
    def y(self) -> Floats:
        """The first objective (n,), less is better."""
        return self._y[: self._size, 0]

    @property
    def finished(self) -> Rows:
        """Rows of the trials with usable objectives."""
        return self._standing(FINISHED)

    @property
    def infeasible(self) -> Rows:
        """Rows of the trials that failed by their parameters."""
        return self._standing(INFEASIBLE)

    @property
    def pending(self) -> Rows:
        """Rows of the trials without a result yet."""
        return self._standing(PENDING)

    @property
    def pending_numbers(self) -> set[int]:
        """Numbers of the trials without a result yet: a live set, do not change it."""
        return self._pending

    @property
    def early_stopped(self) -> Rows:
        """Rows of the trials that were stopped early, with or without a value."""
        return self._select("early_stopped", self._states[: self._size] == _STATE_NUMBER[TrialState.EARLY_STOPPED])

    def seen(self, codes: Floats) -> bool:
        """Whether any trial, pending ones included, has this point."""
        return key_of(codes) in self._key_counts()

    @property
    def distinct(self) -> int:
        """How many different points there are."""
        return len(self._key_counts())

    def best(self) -> Trial | None:
        """The finished trial with the least first objective, the earliest of equals; None when none has finished."""
        rows = self.finished
        return self._trial(int(rows[np.argmin(self.y[rows])])) if len(rows) else None

    # Inside.

    def _trial(self, row: int) -> Trial:
        number = int(self._numbers[row])
        note = self._notes.get(number, {})
        values = tuple(float(y) * s for y, s in zip(self._y[row], self.directions, strict=True))
        if all(math.isnan(value) for value in values) and "nan" not in note:
            values = ()
        return Trial(
            number,
            self.space.point(self._codes[row]),
            _STATES[self._states[row]],
            values,
            note.get("reason", ""),
            note.get("curve", ()),
            note.get("labels", {}),
            note.get("text", {}),
            note.get("name", ""),
        )

    def _note(self, trial: Trial) -> None:
        note = {
            name: value for name in ("reason", "curve", "labels", "text", "name") if (value := getattr(trial, name))
        }
        if trial.values and all(math.isnan(value) for value in trial.values):
            note["nan"] = True
        if note:
            self._notes[trial.number] = note
        else:
            self._notes.pop(trial.number, None)

    def _find(self, number: int) -> tuple[int, bool]:
        """The row of a number and whether it is there; else the row where it belongs."""
        if number < self._size and number >= 0 and self._numbers[number] == number:
            return number, True
        if not self._size or number > self._numbers[self._size - 1]:
            return self._size, False
        row = int(np.searchsorted(self._numbers[: self._size], number))
        return row, bool(self._numbers[row] == number)

    def _place(self, row: int, codes: Floats) -> None:
        """Give a row its point."""
        self._codes[row] = codes
        if len(self.space):
            self._units[row] = self.space.encode(codes[None, :])[0]
        if self._keys is not None:
            key = key_of(codes)
            self._keys[key] = self._keys.get(key, 0) + 1

    def _insert(self, row: int, number: int) -> None:
        if self._size == len(self._numbers):
            capacity = max(16, self._size + self._size // 2)
            for name in _COLUMNS:
                column = getattr(self, name)
                grown = np.empty((capacity, *column.shape[1:]), dtype=column.dtype)
                grown[: self._size] = column[: self._size]
                setattr(self, name, grown)
        if row < self._size:
            for name in _COLUMNS:
                column = getattr(self, name)
                column[row + 1 : self._size + 1] = column[row : self._size].copy()
        self._numbers[row] = number
        self._size += 1

    def _standing(self, standing: int) -> Rows:
        return self._select(str(standing), self._standings[: self._size] == standing)

    def _select(self, name: str, mask: NDArray[np.bool_]) -> Rows:
        if name not in self._rows:
            self._rows[name] = np.flatnonzero(mask)
        return self._rows[name]

    def _touch(self) -> None:
        self.version += 1
        self._rows.clear()

    def _key_counts(self) -> dict[int, int]:
        if self._keys is None:
            self._keys = {}
            for codes in self.codes:
                key = key_of(codes)
                self._keys[key] = self._keys.get(key, 0) + 1
        return self._keys

    def _forget_key(self, row: int) -> None:
        if self._keys is not None:
            key = key_of(self._codes[row])
            left = self._keys[key] - 1
            if left:
                self._keys[key] = left
            else:
                del self._keys[key]


_COLUMNS = ("_numbers", "_codes", "_units", "_y", "_states", "_standings")


def key_of(codes: Floats) -> int:
    """A 64-bit key of a point, the same in every process."""
    return int.from_bytes(hashlib.blake2b(codes.tobytes(), digest_size=8).digest(), "little")
