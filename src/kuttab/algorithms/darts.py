"""``darts``: differentiable architecture search, which happens inside the trial.

The algorithm only hands the trial program its settings, its operations and its depth, in Katib's text form; every trial of an
experiment gets the same three values. The program reports a genotype as text, so there is nothing to learn from results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from kuttab.algorithms import algorithm, nas
from kuttab.algorithms import history as histories
from kuttab.algorithms import settings as settings_
from kuttab.algorithms.enas import no_parameters
from kuttab.api import space as api
from kuttab.base import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(settings_.Settings):
    """Settings of darts; names and defaults are Katib's. ``extra`` holds every given one, known or not, as it was spelled."""

    PASS_ON: ClassVar[bool] = True

    num_epochs: int = settings_.integer(50, "Epochs of the search.", at_least=1)
    w_lr: float = settings_.real(0.025, "Learning rate of the weights.", at_least=0)
    w_lr_min: float = settings_.real(0.001, "Learning rate of the weights at the end.", at_least=0)
    w_momentum: float = settings_.real(0.9, "Momentum of the weights.", at_least=0)
    w_weight_decay: float = settings_.real(3e-4, "Weight decay of the weights.", at_least=0)
    w_grad_clip: float = settings_.real(5.0, "Largest gradient norm of the weights.", at_least=0)
    alpha_lr: float = settings_.real(3e-4, "Learning rate of the architecture.", at_least=0)
    alpha_weight_decay: float = settings_.real(1e-3, "Weight decay of the architecture.", at_least=0)
    batch_size: int | None = settings_.integer(128, "Batch size; None lets the program choose.", at_least=1, none=True)
    num_workers: int = settings_.integer(4, "Processes that load data.", at_least=0)
    init_channels: int = settings_.integer(16, "Channels of the first cell.", at_least=1)
    print_step: int = settings_.integer(50, "Batches between two lines of output.", at_least=1)
    num_nodes: int = settings_.integer(4, "Nodes of a cell.", at_least=1)
    stem_multiplier: int = settings_.integer(3, "Channels of the stem in units of init_channels.", at_least=1)

    @classmethod
    def parse(cls, given: Mapping[str, str], path: str = settings_.PATH) -> tuple[Self | None, list[errors.Problem]]:
        """Check the known ones and keep the spelling of all."""
        read, problems = super().parse(given, path)
        problems += [
            errors.Problem(f"{path}[{name}]", nas.UNSAFE)
            for name, value in given.items()
            if nas.unsafe(name) or nas.unsafe(value)
        ]
        return (None if problems or read is None else dataclasses.replace(read, extra=dict(given))), problems


class Darts(algorithm.Algorithm):
    """See the module."""

    name = "darts"
    summary = "Differentiable architecture search inside one trial."
    warm_start = False
    Settings: ClassVar[type[settings_.Settings]] = Settings
    batch_invariant = True
    repeats = True
    text_names = ("algorithm-settings", "search-space", "num-layers")

    @classmethod
    def check(cls, problem: algorithm.Problem) -> list[errors.Problem]:
        """A nasConfig with layers and operations; ``skip_connection`` needs no parameters."""
        return no_parameters(problem) + nas.problems(problem.nas, sizes=False, free=(nas.SKIP_CONNECTION,))

    def propose(self, history: histories.History, first: int, count: int) -> algorithm.Proposals:  # noqa: ARG002
        """The same three values for every number."""
        text = {
            "algorithm-settings": nas.quoted(self._settings()),
            "search-space": nas.quoted(self._operations()),
            "num-layers": str((self.problem.nas or api.NasConfig()).graph_config.num_layers),
        }
        return algorithm.Proposals(tuple(algorithm.Proposal((), text=text) for _ in range(count)))

    def _settings(self) -> dict[str, Any]:
        """Every setting: defaults as numbers, given ones as the text that was given (``None`` as null): programs expect it."""
        given = self.problem.settings.extra
        return {**defaults(), **{name: None if text == "None" else text for name, text in given.items()}}

    def _operations(self) -> list[str]:
        names = []
        for operation in (self.problem.nas or api.NasConfig()).operations or ():
            if operation.parameters:
                sizes = nas.values(operation.parameters[0])
                names += [f"{operation.operation_type}_{size}x{size}" for size in sizes]
            else:
                names.append(operation.operation_type)
        return names


def defaults() -> dict[str, Any]:
    """The settings that trial programs get when none are given."""
    return {f.name: f.default for f in dataclasses.fields(Settings) if f.name not in ("random_state", "extra")}
