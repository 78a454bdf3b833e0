"""``enas``: architecture search by a controller that learns from the trials which decisions pay.

Each trial gets an architecture (per layer an operation and the earlier layers it takes in) and a description of the operations, in
Katib's text form. There is no sharing of weights between trials: as in Katib, each trains its network anew.

The controller (:mod:`kuttab.algorithms.enas_controller`) is a function of the history: trials with a result, in the order of
their numbers and in groups of parallelTrialCount, each followed by ``controller_train_steps`` steps of policy gradient over
samples of what is known by then. A fresh instance repeats all of it (about 0.2 s a group for 8 layers); one that lives on goes on
from what it has.

Where Katib rewards fresh samples with the mean objective of all trials, which tells nothing about the samples, this controller
credits every architecture with its own result, less a moving average, in units of the results' spread; so the objective's unit
does not matter. Architectures that failed count as the worst seen. No architecture is proposed twice while others are left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from kuttab.algorithms import algorithm, nas, permutation
from kuttab.algorithms import enas_controller as controller
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.api import space as api
from kuttab.base import errors

TRIES = 32  # draws of the controller for one trial, of which the first unseen one is taken
BATCH = 16  # results in one training step
WALKABLE = 2**200  # spaces larger than this are never walked through
LARGEST = 1e100  # rewards are cut to this, so that their squares are numbers
KEPT = 4  # states of the controller kept for going on

_TRAINING = 2**40  # stream of randomness that no trial number uses


Rows = tuple[tuple[int, ...], ...]
"""An architecture: row i holds the operation of layer i, then a bit for each layer before it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(settings_.Settings):
    """Settings of enas; names and defaults are Katib's."""

    controller_hidden_size: int = settings_.integer(64, "Units of the LSTM.", at_least=1, at_most=4096)
    controller_temperature: float | None = settings_.real(
        5.0, "Divides the logits: higher explores more; None leaves them.", above=0, none=True
    )
    controller_tanh_const: float | None = settings_.real(
        2.25, "Bounds the logits to plus and minus this by tanh; None leaves them.", above=0, none=True
    )
    controller_entropy_weight: float | None = settings_.real(
        1e-5, "Weight of the entropy, which keeps choices open; None for 0.", above=0, none=True
    )
    controller_baseline_decay: float = settings_.real(
        0.999, "Decay of the moving average that rewards are compared with.", above=0, at_most=1
    )
    controller_learning_rate: float = settings_.real(5e-5, "Step size of Adam.", above=0, at_most=1)
    controller_skip_target: float = settings_.real(0.4, "Wanted share of skip connections.", above=0, at_most=1)
    controller_skip_weight: float | None = settings_.real(
        0.8, "Weight of the penalty for missing that share; None for 0.", above=0, none=True
    )
    controller_train_steps: int = settings_.integer(
        50, "Training steps after each group of results.", at_least=1, at_most=100_000
    )
    controller_log_every_steps: int = settings_.integer(
        10, "Accepted because Katib's manifests have it; this controller writes no log.", at_least=1
    )


@dataclasses.dataclass(frozen=True)
class _Result:
    """What one trial teaches. ``reward``: more is better; None for a trial that failed by its architecture."""

    number: int
    rows: Rows
    reward: float | None


@dataclasses.dataclass
class _State:
    """The controller after some results."""

    results: tuple[_Result, ...]
    weights: controller.Weights
    adam: controller.Adam
    baseline: float = 0.0
    steps: int = 0


class Enas(algorithm.Algorithm):
    """See the module."""

    name = "enas"
    summary = "Architecture search with a learnt controller."
    warm_start = False
    Settings: ClassVar[type[settings_.Settings]] = Settings
    batch_invariant = True
    repeats = True  # as points of the (empty) space, they are all alike
    text_names = ("architecture", "nn_config")

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """A nasConfig with sizes, layers and operations, and no other parameters."""
        return no_parameters(problem) + nas.problems(problem.nas, sizes=True)

    def __init__(self, problem: algorithm.Problem) -> None:
        super().__init__(problem)
        self._config = problem.nas or api.NasConfig()
        self._choices = nas.expand(self._config)
        self._layers = self._config.graph_config.num_layers or 1
        given = problem.settings
        self._shape = controller.Shape(
            self._layers,
            len(self._choices),
            given.controller_hidden_size,
            given.controller_temperature,
            given.controller_tanh_const,
            given.controller_skip_target,
        )
        self._states: list[_State] = []

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:
        """Samples of the trained controller, unseen ones first; O(results) when it goes on from what it has."""
        taken, results = self._read(history)
        state = self._train(results)
        items: list[algorithm.Proposal] = []
        for number in range(first, first + count):
            rows = self._draw(state.weights, number, taken)
            if rows is None:
                return algorithm.Proposals(tuple(items), exhausted=True)
            taken.add(rows)
            items.append(algorithm.Proposal((), text=self._text(rows)))
        return algorithm.Proposals(tuple(items))

    # Architectures as text.

    def _text(self, rows: Rows) -> dict[str, str]:
        graph = self._config.graph_config
        config = {
            "num_layers": self._layers,
            "input_sizes": graph.input_sizes,
            "output_sizes": graph.output_sizes,
            "embedding": {str(row[0]): self._choices[row[0]].describe() for row in rows},
        }
        return {"architecture": nas.quoted([list(row) for row in rows]), "nn_config": nas.quoted(config)}

    def _parse(self, text: str) -> Rows | None:
        """The rows of an ``architecture`` text; None when it is none of this search."""
        try:
            rows: Any = nas.unquoted(text)
        except ValueError:
            return None
        if not isinstance(rows, list) or len(rows) != self._layers:
            return None
        for i, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != i + 1 or not all(type(entry) is int for entry in row):
                return None
            if not 0 <= row[0] < len(self._choices) or any(bit not in (0, 1) for bit in row[1:]):
                return None
        return tuple(tuple(row) for row in rows)

    def _read(self, history: histories.History) -> tuple[set[Rows], list[_Result]]:
        """The architectures that are taken, and what the ended ones gave."""
        taken = set()
        results = []
        for trial in history:
            rows = self._parse(trial.text.get("architecture", ""))
            if rows is None or trial.standing == histories.VOID:
                continue
            taken.add(rows)
            if trial.standing == histories.FINISHED:
                results.append(_Result(trial.number, rows, -trial.values[0] * self.problem.directions[0]))
            elif trial.standing == histories.INFEASIBLE:
                results.append(_Result(trial.number, rows, None))
        return taken, results

    # Drawing.

    def _draw(self, weights: controller.Weights, number: int, taken: set[Rows]) -> Rows | None:
        generator = self.random(number)
        drawn = controller.sample(self._shape, weights, generator, TRIES)
        for b in range(TRIES):
            rows = tuple(
                (int(drawn.operations[b, i]), *drawn.bits[b, i, :i].astype(int).tolist()) for i in range(self._layers)
            )
            if rows not in taken:
                return rows
        return next((rows for rows in self._all(generator) if rows not in taken), None)

    def _all(self, generator: np.random.Generator) -> Iterator[Rows]:
        """Every architecture, each as likely to come first; only asked for when the controller has settled on seen ones."""
        total = len(self._choices) ** self._layers * 2 ** (self._layers * (self._layers - 1) // 2)
        seed = int(generator.integers(2**63))
        if total > WALKABLE:  # so many are unseen that any draw will do
            source = np.random.Generator(np.random.PCG64(seed))
            indices = (int.from_bytes(source.bytes(total.bit_length() // 8 + 8), "little") % total for _ in range(64))
        else:
            order = permutation.Permutation(total, seed)
            indices = (order[place] for place in range(total))
        for index in indices:
            yield self._decode(index)

    def _decode(self, index: int) -> Rows:
        """Architecture number ``index`` of all."""
        rows = []
        for i in range(self._layers):
            index, operation = divmod(index, len(self._choices))
            index, bits = divmod(index, 2**i)
            rows.append((operation, *(bits >> k & 1 for k in range(i))))
        return tuple(rows)

    # Learning.

    def _train(self, results: list[_Result]) -> _State:
        """The controller after these results; from the longest state that is a beginning of them."""
        if not any(result.reward is not None for result in results):
            results = []
        known = [s for s in self._states if s.results == tuple(results[: len(s.results)])]
        state = max(known, key=lambda s: len(s.results), default=None) or self._fresh()
        size = max(1, self.problem.parallel)
        if len(state.results) < len(results) and len(state.results) % size:  # only whole groups are gone on from
            whole = [s for s in known if len(s.results) % size == 0]
            state = max(whole, key=lambda s: len(s.results), default=None) or self._fresh()
        while len(state.results) < len(results):
            state = self._step(state, tuple(results[: len(state.results) + size]))
            self._states = [*self._states[-KEPT + 1 :], state]
        return state

    def _fresh(self) -> _State:
        weights = controller.initial(self._shape, self.random(_TRAINING))
        return _State((), weights, controller.Adam(self.problem.settings.controller_learning_rate))

    def _step(self, state: _State, results: tuple[_Result, ...]) -> _State:
        """One group of results later."""
        given = self.problem.settings
        operations, bits = self._arrays(results)
        seen = [result.reward for result in results if result.reward is not None]
        worst = min(seen, default=0.0)
        given_rewards = [worst if result.reward is None else result.reward for result in results]
        rewards = np.clip(given_rewards, -LARGEST, LARGEST)
        unit = float(rewards.std()) or 1.0
        adam, weights, baseline, steps = state.adam.copy(), state.weights, state.baseline, state.steps
        generator = self.random(_TRAINING + len(results), 1)
        decay = given.controller_baseline_decay
        for _ in range(given.controller_train_steps):
            rows = np.sort(generator.permutation(len(results))[:BATCH])
            steps += 1
            baseline = decay * baseline + (1 - decay) * float(rewards[rows].mean())
            average = baseline / (1 - decay**steps) if decay < 1 else 0.0
            costs = controller.Costs(
                (rewards[rows] - average) / unit,
                given.controller_entropy_weight or 0.0,
                (given.controller_skip_weight or 0.0) if self._layers > 1 else 0.0,
            )
            trace = controller.score(self._shape, weights, operations[rows], bits[rows])
            weights = adam.step(weights, controller.gradient(self._shape, weights, trace, costs))
        return _State(results, weights, adam, baseline, steps)

    def _arrays(self, results: tuple[_Result, ...]) -> tuple[controller.Ints, controller.Floats]:
        operations = np.array([[row[0] for row in result.rows] for result in results], dtype=np.int64)
        bits = np.zeros((len(results), self._layers, self._layers))
        for b, result in enumerate(results):
            for i, row in enumerate(result.rows):
                bits[b, i, :i] = row[1:]
        return operations, bits


def no_parameters(problem: algorithm.Problem) -> list[errors.Problem]:
    """The problem that parameters are for an architecture search, which makes its own assignments."""
    if not len(problem.space):
        return []
    message = "an architecture search takes its space from nasConfig; leave parameters out"
    return [errors.Problem("spec.parameters", message, "FieldValueForbidden")]
