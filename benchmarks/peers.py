"""One ask-and-tell face over the searches that are compared: ours and those of other libraries.

A peer is made for a space, a seed, a budget and a number of parallel trials; it is asked for rows of codes and told values to
minimise. Everybody gets the most helpful description of a space that their own interface can express: logarithmic scales are
declared, lists of numbers and stepped doubles are integers in order, only lists without order are categorical. Each runs with its
defaults. Libraries are imported when a peer is made, so a missing one costs nothing but its own row.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from kuttab.algorithms import algorithm as algorithms
from kuttab.algorithms import history as histories
from kuttab.algorithms import parameters, registry
from kuttab.algorithms import space as spaces
from kuttab.api import history as records

Codes = np.ndarray
Answer = tuple[Any, Codes]


class Peer(Protocol):
    """What is compared."""

    def ask(self, count: int) -> list[Answer]:
        """Tokens and rows of codes; fewer than asked for only when the search has no more to say."""
        ...

    def tell(self, token: Any, value: float) -> None:
        """The value of what a token stands for."""
        ...


class Ours:
    """An algorithm of kuttab's."""

    def __init__(self, name: str, space: spaces.Space, seed: int, budget: int, parallel: int) -> None:
        kind = registry.load(name)
        problem = algorithms.Problem(space, seed=seed, settings=kind.Settings(), max_trials=budget, parallel=parallel)
        self._algorithm, self._log = kind(problem), histories.History(space)

    def ask(self, count: int) -> list[Answer]:
        first = self._log.next_number
        items = self._algorithm.propose(self._log, first, count).items
        for number, item in enumerate(items, start=first):
            self._log.put(histories.Trial(number, item.parameters))
        return [(number, self._log.space.codes(item.parameters)) for number, item in enumerate(items, start=first)]

    def tell(self, token: int, value: float) -> None:
        point = self._log[token].parameters
        self._log.put(histories.Trial(token, point, records.TrialState.SUCCEEDED, (value,)))


def listed(parameter: parameters.Parameter) -> int:
    """The number of values of a parameter that is declared to peers as a list in order; 0 for others."""
    if parameter.categorical or parameter.count is None:
        return 0
    return parameter.count if parameter.choices or parameter.type == "double" else 0


class Optuna:
    """A sampler of Optuna's."""

    def __init__(self, name: str, space: spaces.Space, seed: int, budget: int, parallel: int) -> None:
        del budget, parallel
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        of = optuna.distributions
        self._space, self._spread = space, {}
        for p in space.parameters:
            if p.categorical:
                self._spread[p.name] = of.CategoricalDistribution(list(range(len(p.choices))))
            elif listed(p):
                self._spread[p.name] = of.IntDistribution(0, listed(p) - 1)
            elif p.type == "int":
                self._spread[p.name] = of.IntDistribution(int(p.low), int(p.high), log=p.log)
            else:
                self._spread[p.name] = of.FloatDistribution(p.low, p.high, log=p.log)
        sampler = {
            "tpe": lambda: optuna.samplers.TPESampler(seed=seed),
            "gp": lambda: optuna.samplers.GPSampler(seed=seed),
            "qmc": lambda: optuna.samplers.QMCSampler(seed=seed),
        }[name]()
        self._study = optuna.create_study(sampler=sampler)

    def ask(self, count: int) -> list[Answer]:
        out = []
        for _ in range(count):
            trial = self._study.ask(self._spread)
            values = [trial.params[p.name] for p in self._space.parameters]
            out.append((trial, _codes(self._space, values)))
        return out

    def tell(self, token: Any, value: float) -> None:
        self._study.tell(token, value)


def _codes(space: spaces.Space, values: list[Any]) -> Codes:
    """Codes from what :class:`Optuna` and others sample: indices where a list was declared."""
    pairs = zip(space.parameters, values, strict=True)
    return np.array([p.at(int(v)) if listed(p) else float(v) for p, v in pairs])


class Cmaes:
    """The ``cmaes`` package: CMA-ES on spaces of doubles, CatCMA with margin on others; a batch may span generations."""

    def __init__(self, space: spaces.Space, seed: int, budget: int, parallel: int) -> None:
        del budget, parallel
        import cmaes

        self._space, self._waiting = space, []
        self._plain = all(p.count is None for p in space.parameters)
        if self._plain:
            size = len(space)
            bounds = np.tile([0.0, 1.0], (size, 1))
            self._search = cmaes.CMA(mean=np.full(size, 0.5), sigma=1 / 6, bounds=bounds, seed=seed)
            return
        self._kinds = [
            "x" if p.count is None else "c" if p.categorical or p.count == 2 else "z" for p in space.parameters
        ]
        wide = [j for j, p in enumerate(space.parameters) if self._kinds[j] == "z" and (p.count or 0) > 10_000]
        for j in wide:
            self._kinds[j] = "x"
        by = {kind: [p for p, k in zip(space.parameters, self._kinds, strict=True) if k == kind] for kind in "xzc"}
        self._search = cmaes.CatCMAwM(
            x_space=[[0.0, 1.0]] * len(by["x"]) or None,
            z_space=[np.linspace(0, 1, p.count or 1).tolist() for p in by["z"]] or None,
            c_space=[p.count or 1 for p in by["c"]] or None,
            seed=seed,
        )

    def ask(self, count: int) -> list[Answer]:
        out: list[Answer] = []
        for _ in range(count):
            found = self._search.ask()
            if self._plain:
                out.append((found, self._space.decode(found[None, :])[0]))
                continue
            place = dict.fromkeys("xzc", 0)
            units, codes = np.full(len(self._space), 0.5), np.zeros(len(self._space))
            for j, (p, kind) in enumerate(zip(self._space.parameters, self._kinds, strict=True)):
                at = place[kind]
                place[kind] += 1
                if kind == "x":
                    units[j] = found.x[at]
                elif kind == "z":
                    codes[j] = p.at(round(float(found.z[at]) * ((p.count or 1) - 1)))
                else:
                    codes[j] = p.at(int(np.argmax(found.c[at])))
            smooth = np.array([kind == "x" for kind in self._kinds])
            codes[smooth] = self._space.decode(units[None, :])[0][smooth]
            out.append((found, codes))
        return out

    def tell(self, token: Any, value: float) -> None:
        self._waiting.append((token, value))
        if len(self._waiting) == self._search.population_size:
            self._search.tell(self._waiting)
            self._waiting = []


class Hyperopt:
    """Hyperopt's TPE, asked for several ids at once."""

    def __init__(self, space: spaces.Space, seed: int, budget: int, parallel: int) -> None:
        del budget, parallel
        import hyperopt
        from hyperopt import hp

        described = {}
        for p in space.parameters:
            if p.categorical:
                described[p.name] = hp.choice(p.name, list(range(len(p.choices))))
            elif listed(p):
                described[p.name] = hp.quniform(p.name, -0.5, listed(p) - 0.5, 1)
            elif p.type == "int" and p.log:
                described[p.name] = hp.qloguniform(p.name, np.log(p.low - 0.5), np.log(p.high + 0.5), 1)
            elif p.type == "int":
                described[p.name] = hp.quniform(p.name, p.low - 0.5, p.high + 0.5, 1)
            elif p.log:
                described[p.name] = hp.loguniform(p.name, np.log(p.low), np.log(p.high))
            else:
                described[p.name] = hp.uniform(p.name, p.low, p.high)
        self._peer, self._space = hyperopt, space
        self._trials = hyperopt.Trials()
        self._domain = hyperopt.Domain(lambda _: 0.0, described)
        self._seeds = np.random.default_rng(seed)

    def ask(self, count: int) -> list[Answer]:
        ids = self._trials.new_trial_ids(count)
        self._trials.refresh()
        documents = []
        for one in ids:
            documents += self._peer.tpe.suggest([one], self._domain, self._trials, int(self._seeds.integers(2**31)))
        self._trials.insert_trial_docs(documents)
        self._trials.refresh()
        out = []
        for document in documents:
            values = [document["misc"]["vals"][p.name][0] for p in self._space.parameters]
            tops = [p.count - 1 if listed(p) and p.count else p.high for p in self._space.parameters]
            lows = [0 if listed(p) else p.low for p in self._space.parameters]
            out.append((document["tid"], _codes(self._space, np.clip(values, lows, tops).tolist())))
        return out

    def tell(self, token: Any, value: float) -> None:
        for document in self._trials._dynamic_trials:
            if document["tid"] == token:
                document["state"] = self._peer.JOB_STATE_DONE
                document["result"] = {"status": "ok", "loss": value}
        self._trials.refresh()


class Nevergrad:
    """Nevergrad's NGOpt, which is told the budget."""

    def __init__(self, space: spaces.Space, seed: int, budget: int, parallel: int) -> None:
        import nevergrad

        described = {}
        for p in space.parameters:
            if p.categorical:
                described[p.name] = nevergrad.p.Choice(list(range(len(p.choices))))
            elif listed(p):
                described[p.name] = nevergrad.p.Scalar(lower=0, upper=max(listed(p) - 1, 1)).set_integer_casting()
            elif p.type == "int":
                make = nevergrad.p.Log if p.log else nevergrad.p.Scalar
                described[p.name] = make(lower=p.low, upper=p.high).set_integer_casting()
            else:
                described[p.name] = (nevergrad.p.Log if p.log else nevergrad.p.Scalar)(lower=p.low, upper=p.high)
        self._space = space
        instrument = nevergrad.p.Dict(**described)
        instrument.random_state.seed(seed)
        self._search = nevergrad.optimizers.NGOpt(instrument, budget=budget, num_workers=parallel)

    def ask(self, count: int) -> list[Answer]:
        found = [self._search.ask() for _ in range(count)]
        return [(one, _codes(self._space, [one.value[p.name] for p in self._space.parameters])) for one in found]

    def tell(self, token: Any, value: float) -> None:
        self._search.tell(token, value)


def _unused(config: Any, seed: int = 0) -> float:
    """SMAC wants a target function even when it is only asked and told."""
    raise AssertionError((config, seed))


class Smac:
    """SMAC3's facade for hyper-parameters (forest, log EI); pending trials are told to nobody, as its ask and tell has it."""

    def __init__(self, space: spaces.Space, seed: int, budget: int, parallel: int) -> None:
        del parallel
        import ConfigSpace
        import smac

        self._space, self._peer = space, smac
        described = ConfigSpace.ConfigurationSpace(seed=seed)
        for p in space.parameters:
            if p.categorical:
                described.add(ConfigSpace.CategoricalHyperparameter(p.name, list(range(len(p.choices)))))
            elif listed(p) == 1:
                described.add(ConfigSpace.Constant(p.name, 0))
            elif listed(p):
                described.add(ConfigSpace.UniformIntegerHyperparameter(p.name, 0, listed(p) - 1))
            elif p.type == "int":
                described.add(ConfigSpace.UniformIntegerHyperparameter(p.name, int(p.low), int(p.high), log=p.log))
            else:
                described.add(ConfigSpace.UniformFloatHyperparameter(p.name, p.low, p.high, log=p.log))
        self._folder = tempfile.TemporaryDirectory()
        scenario = smac.Scenario(
            described, deterministic=True, n_trials=budget + 8, seed=seed, output_directory=self._folder.name
        )
        self._search = smac.HyperparameterOptimizationFacade(scenario, _unused, overwrite=True, logging_level=50)

    def ask(self, count: int) -> list[Answer]:
        found = [self._search.ask() for _ in range(count)]
        return [(one, _codes(self._space, [one.config[p.name] for p in self._space.parameters])) for one in found]

    def tell(self, token: Any, value: float) -> None:
        self._search.tell(token, self._peer.runhistory.dataclasses.TrialValue(cost=value))


class Ax:
    """Ax's client, with the generation strategy that it chooses."""

    def __init__(self, space: spaces.Space, seed: int, budget: int, parallel: int) -> None:
        del budget, parallel
        logging.disable(logging.WARNING)
        from ax.api import client, configs

        self._space = space
        self._client = client.Client(random_seed=seed)
        described: list[Any] = []
        for p in space.parameters:
            scale = "log" if p.log else "linear"
            if p.categorical:
                values = [str(i) for i in range(len(p.choices))]
                described.append(configs.ChoiceParameterConfig(p.name, values, "str", is_ordered=len(values) == 2))
            elif listed(p):
                described.append(configs.ChoiceParameterConfig(p.name, list(range(listed(p))), "int", is_ordered=True))
            elif p.type == "int":
                described.append(configs.RangeParameterConfig(p.name, (int(p.low), int(p.high)), "int", scaling=scale))
            else:
                described.append(configs.RangeParameterConfig(p.name, (p.low, p.high), "float", scaling=scale))
        self._client.configure_experiment(parameters=described)
        self._client.configure_optimization(objective="-loss")

    def ask(self, count: int) -> list[Answer]:
        found = self._client.get_next_trials(max_trials=count)
        rows = [(one, [values[p.name] for p in self._space.parameters]) for one, values in found.items()]
        return [(one, _codes(self._space, values)) for one, values in rows]

    def tell(self, token: Any, value: float) -> None:
        self._client.complete_trial(token, raw_data={"loss": value})


class Hebo:
    """HEBO."""

    def __init__(self, space: spaces.Space, seed: int, budget: int, parallel: int) -> None:
        del budget, parallel
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        np.random.seed(seed)  # it draws from the global generators
        torch.manual_seed(seed)
        described = []
        for p in space.parameters:
            if p.categorical:
                described.append({"name": p.name, "type": "cat", "categories": list(range(len(p.choices)))})
            elif listed(p):
                described.append({"name": p.name, "type": "int", "lb": 0, "ub": listed(p) - 1})
            else:
                kind = ("pow_int" if p.log else "int") if p.type == "int" else ("pow" if p.log else "num")
                described.append({"name": p.name, "type": kind, "lb": p.low, "ub": p.high, "base": 10})
        self._space = space
        self._search = HEBO(DesignSpace().parse(described), scramble_seed=seed)
        self._waiting: list[tuple[Any, float]] = []

    def ask(self, count: int) -> list[Answer]:
        import pandas

        if self._waiting:
            rows = pandas.concat([row for row, _ in self._waiting])
            self._search.observe(rows, np.array([[value] for _, value in self._waiting]))
            self._waiting = []
        found = self._search.suggest(n_suggestions=count)
        out = []
        for i in range(len(found)):
            row = found.iloc[[i]]
            out.append((row, _codes(self._space, [row[p.name].iloc[0] for p in self._space.parameters])))
        return out

    def tell(self, token: Any, value: float) -> None:
        self._waiting.append((token, value))


Maker = Callable[[spaces.Space, int, int, int], Peer]


def _ours(name: str) -> Maker:
    return lambda *args: Ours(name, *args)


def _optuna(name: str) -> Maker:
    return lambda *args: Optuna(name, *args)


OURS = ("auto", "bayesianoptimization", "multivariate-tpe", "tpe", "cmaes", "de")
"""Our algorithms in the comparison, under their own names; ``random`` is the yardstick."""

PEERS: dict[str, tuple[str, Maker]] = {
    "random": ("kuttab", _ours("random")),
    **{name: ("kuttab", _ours(name)) for name in OURS},
    "optuna-tpe": ("optuna", _optuna("tpe")),
    "optuna-gp": ("optuna", _optuna("gp")),
    "cmaes-package": ("cmaes", Cmaes),
    "hyperopt": ("hyperopt", Hyperopt),
    "nevergrad": ("nevergrad", Nevergrad),
    "smac3": ("smac", Smac),
    "ax": ("ax-platform", Ax),
    "hebo": ("HEBO", Hebo),
}
"""Distribution and maker by name."""


def version(name: str) -> str:
    """The version of a peer's distribution; empty when it is not installed."""
    distribution = PEERS[name][0]
    if distribution == "kuttab":
        from kuttab import __about__

        return __about__.__version__
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def make(name: str, space: spaces.Space, seed: int, budget: int, parallel: int) -> Peer:
    """A peer; raises ImportError when it is not installed."""
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(None if os.environ.get("LOUD") else open(os.devnull, "w")):
        return PEERS[name][1](space, seed, budget, parallel)
