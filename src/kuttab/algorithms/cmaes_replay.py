"""The state of an evolution strategy as a function of the results so far.

Results, ordered by number, are told in groups of the population's size; what a later straggler changes is replayed. A result's raw
sample is drawn again from the state of its group, which reproduces it exactly when trials ran one generation at a time; otherwise
(stragglers, results from elsewhere) the point itself is told. So nothing but the history is ever needed. The ``cmaes``
package does the mathematics: CMA-ES for continuous spaces, CatCMA with margin where there are grids, lists or choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cmaes
import numpy as np
from numpy.typing import NDArray

from kuttab.algorithms.gp_kernel import Array, nearest
from kuttab.algorithms.gp_view import View

_MOST_RESTARTS = 9
_HUGE = 1e150  # differences of values must stay finite
_LEAST_STEP = 1e-9
"""Share of the range below which a step is lost in rounding, and the lengths of paths in such steps are not finite."""


@dataclass(frozen=True)
class Plan:
    """How the strategy runs: step size as a share of the range, restarts, first population size (0: by dimension), start."""

    sigma: float = 0.2
    restart: str = "none"
    population: int = 0
    seed: int = 0
    mean: tuple[float, ...] | None = None


class Columns:
    """Which dimensions the strategy moves, and how: continuous, on levels, or by choice. Constant ones are left out."""

    def __init__(self, view: View) -> None:
        domain = view.domain
        self.view = view
        counts = [len(levels) if levels is not None else 0 for levels in domain.levels]
        every = range(domain.size)
        self.choice = [d for d in every if domain.choices[d] > 1 or counts[d] == 2]
        self.level = [d for d in every if counts[d] > 2]
        self.continuous = [d for d in every if domain.choices[d] == 0 and counts[d] == 0]

    @property
    def gaussian(self) -> list[int]:
        """Dimensions under the normal distribution, in the strategy's order."""
        return self.continuous + self.level

    def blank(self) -> Array:
        """A row whose moved dimensions are still to be filled: constant ones have their only value, be it a number or a choice."""
        return np.where(self.view.domain.categorical, 0.0, 0.5)

    def levels(self, dimension: int) -> Array:
        """The levels of a dimension on levels."""
        found = self.view.domain.levels[dimension]
        assert found is not None
        return found

    def options(self, dimension: int) -> int:
        """The number of choices of a dimension by choice."""
        return self.view.domain.choices[dimension] or 2


class Continuous:
    """CMA-ES over continuous dimensions."""

    def __init__(self, columns: Columns, sigma: float, population: int, mean: Array, seed: int) -> None:
        size = len(columns.continuous)
        self._columns = columns
        self._strategy = cmaes.CMA(
            mean=mean,
            sigma=sigma,
            bounds=np.tile([0.0, 1.0], (size, 1)),
            seed=seed % 2**32,
            population_size=population or None,
            n_max_resampling=20,
        )
        self.population: int = self._strategy.population_size

    def draw(self, seed: int) -> tuple[Array, Any]:
        """A row and its raw sample."""
        self._strategy.reseed_rng(seed)
        raw = self._strategy.ask()
        row = self._columns.blank()
        row[self._columns.continuous] = raw
        return row, raw

    def read(self, row: Array) -> Any:
        """A row that was not drawn here, as a sample; steps of more than a few deviations are shortened."""
        return row[self._columns.continuous]

    def tell(self, group: list[tuple[Any, float]]) -> bool:
        """Take a group of results; tells whether the strategy has come to its end."""
        self._strategy.tell(group)
        return bool(self._strategy.should_stop())


class Mixed:
    """CatCMA with margin over continuous, stepped and categorical dimensions together."""

    def __init__(self, columns: Columns, sigma: float, population: int, mean: Array, seed: int) -> None:
        self._columns = columns
        self._levels = [columns.levels(d) for d in columns.level]
        size = len(columns.gaussian)
        # What is moved to the middle of its level may lie far away in steps that cannot reach the next one.
        sigma = max(sigma, *(float(np.diff(levels).max()) / 4 for levels in self._levels), 0.0)
        self._strategy = cmaes.CatCMAwM(
            x_space=[[0.0, 1.0]] * len(columns.continuous) or None,
            z_space=[list(levels) for levels in self._levels] or None,
            c_space=[columns.options(d) for d in columns.choice] or None,
            population_size=population or None,
            mean=mean if size else None,
            sigma=sigma if size else None,
            cov=np.eye(size) if size else None,
            seed=seed % 2**32,
        )
        self.population: int = self._strategy.population_size

    def draw(self, seed: int) -> tuple[Array, Any]:
        """A row and its raw sample."""
        self._strategy.reseed_rng(seed)
        raw = self._strategy.ask()
        columns = self._columns
        row = columns.blank()
        if columns.continuous:
            row[columns.continuous] = raw.x
        if columns.level:
            row[columns.level] = raw.z
        for place, d in enumerate(columns.choice):
            chosen = int(np.argmax(raw.c[place]))
            levels = columns.view.domain.levels[d]
            row[d] = chosen if levels is None else levels[chosen]
        return row, raw

    def read(self, row: Array) -> Any:
        """A row that was not drawn here, as a sample."""
        columns = self._columns
        x, z = row[columns.continuous], row[columns.level]
        width = max((columns.options(d) for d in columns.choice), default=0)
        c = np.zeros((len(columns.choice), width), dtype=bool)
        for place, d in enumerate(columns.choice):
            levels = columns.view.domain.levels[d]
            c[place, int(row[d]) if levels is None else int(nearest(levels, row[d : d + 1])[0])] = True
        return cmaes.CatCMAwM.Solution(
            x if len(x) else None, z if len(z) else None, c if len(c) else None, np.concatenate([x, z])
        )

    def tell(self, group: list[tuple[Any, float]]) -> bool:
        """Take a group of results; tells whether the strategy has come to its end.

        Ranks are told in place of values: the strategy needs no more, and its bound penalty breaks on equal or huge values.
        """
        ranks = np.argsort(np.argsort([value for _, value in group], kind="stable"), kind="stable")
        self._strategy.tell([(raw, float(rank)) for (raw, _), rank in zip(group, ranks, strict=True)])
        return bool(self._strategy.should_stop())


class Replay:
    """A strategy fed from results; asking never changes what it is."""

    def __init__(self, view: View, plan: Plan) -> None:
        self._columns, self._plan = Columns(view), plan
        self._reset()

    def _reset(self) -> None:
        self._keys: list[bytes] = []
        self._worst = 0.0
        self._restarts = 0
        self._spent = {"large": 0, "small": 0}
        self._regime = "large"
        self._strategy = self._start(0)
        self._base = self._strategy.population

    def _start(self, population: int) -> Continuous | Mixed:
        columns, plan = self._columns, self._plan
        generator = np.random.default_rng((plan.seed, 21, self._restarts))
        mean = np.full(len(columns.gaussian), 0.5)
        if self._restarts:
            mean = generator.uniform(0.1, 0.9, len(mean))
        elif plan.mean is not None:
            mean = np.array(plan.mean)[columns.gaussian]
        kind = Mixed if columns.level or columns.choice else Continuous
        return kind(columns, max(plan.sigma, _LEAST_STEP), population or plan.population, mean, plan.seed)

    def feed(self, numbers: NDArray[np.int64], codes: Array, y: Array) -> None:
        """Bring the state to these results, ordered by number; NaN is a failure and counts as worse than any value."""
        keys = [codes[i].tobytes() + y[i].tobytes() for i in range(len(y))]
        if keys[: len(self._keys)] != self._keys:
            self._reset()
        while len(keys) - len(self._keys) >= self._strategy.population:
            first = len(self._keys)
            group = slice(first, first + self._strategy.population)
            self._tell(numbers[group], codes[group], y[group])
            self._keys += keys[group]

    def _tell(self, numbers: NDArray[np.int64], codes: Array, y: Array) -> None:
        finite = y[~np.isnan(y)]
        if len(finite):
            self._worst = max(self._worst, float(finite.max())) if self._keys else float(finite.max())
        values = np.clip(np.where(np.isnan(y), self._worst, y), -_HUGE, _HUGE)
        rows = self._columns.view.rows(codes)
        group = []
        for number, code, row, value in zip(numbers.tolist(), codes, rows, values.tolist(), strict=True):
            drawn, raw = self._strategy.draw(self._draw_seed(int(number), 0))
            same = np.array_equal(self._columns.view.codes(drawn[None, :])[0], code)
            group.append((raw if same else self._strategy.read(row), value))
        self._spent[self._regime] += len(group)
        if self._strategy.tell(group) and self._plan.restart != "none":
            self._restart()

    def _restart(self) -> None:
        """IPOP doubles the population at each restart; BIPOP gives small populations as many trials as large ones."""
        self._restarts = min(self._restarts + 1, _MOST_RESTARTS)
        self._regime = "large"
        population = self._base * 2**self._restarts
        if self._plan.restart == "bipop" and self._spent["small"] < self._spent["large"]:
            self._regime = "small"
            share = np.random.default_rng((self._plan.seed, 22, self._restarts)).random() ** 2
            population = int(self._base * (0.5 * population / self._base) ** share)
        self._strategy = self._start(max(population, 4))

    def draw(self, number: int, attempt: int) -> Array:
        """The row that the present distribution gives to a number; further attempts give others."""
        return self._strategy.draw(self._draw_seed(number, attempt))[0]

    def _draw_seed(self, number: int, attempt: int) -> int:
        return int(np.random.SeedSequence((self._plan.seed, 23, number % 2**63, attempt)).generate_state(1)[0])
