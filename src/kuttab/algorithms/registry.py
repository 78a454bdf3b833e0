"""Algorithms by name. Importing this loads no numeric library: a class is imported when it is asked for.

Third parties add theirs through the entry point group ``kuttab.algorithms``; a name of ours cannot be taken over.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from importlib import metadata
from typing import TYPE_CHECKING

from kuttab.base import errors

if TYPE_CHECKING:
    from kuttab.algorithms.algorithm import Algorithm

GROUP = "kuttab.algorithms"

_OURS = {
    "asha": ("asha:Asha", "Asynchronous successive halving: many short runs, the best go on."),
    "auto": ("auto:Auto", "Picks a method by space, budget and parallelism; the default of the Python API."),
    "bayesianoptimization": (
        "bayesianoptimization:BayesianOptimization",
        "Gaussian process with expected improvement.",
    ),
    "bohb": ("bohb:Bohb", "Asynchronous successive halving whose points come from a model."),
    "cmaes": ("cmaes:CmaEs", "CMA evolution strategy for continuous and integer parameters."),
    "darts": ("darts:Darts", "Differentiable architecture search inside one trial."),
    "de": ("de:De", "Differential evolution."),
    "enas": ("enas:Enas", "Architecture search with a learnt controller."),
    "grid": ("grid:Grid", "Every combination once, in a shuffled order."),
    "hyperband": ("hyperband:Hyperband", "Brackets of successive halving."),
    "multivariate-tpe": ("multivariate_tpe:MultivariateTpe", "Parzen estimators over all parameters at once."),
    "nsga2": ("nsga2:Nsga2", "Genetic search for several objectives."),
    "pbt": ("pbt:Pbt", "Population based training: good trials hand on their checkpoint."),
    "random": ("random:Random", "Independent draws from the declared distributions."),
    "sobol": ("sobol:Sobol", "Scrambled low-discrepancy sequence."),
    "tpe": ("tpe:Tpe", "Parzen estimators, one parameter at a time."),
}


_added: dict[str, type[Algorithm]] = {}


def add(found: type[Algorithm]) -> None:
    """Make a class selectable in this process by its ``name``. AlreadyExistsError for a name of ours."""
    if found.name in _OURS:
        raise errors.AlreadyExistsError(f"the name {found.name!r} is one of kuttab's own algorithms; choose another")
    _added[found.name] = found


@functools.cache
def _theirs() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=GROUP) if point.name not in _OURS}


def names() -> list[str]:
    """Every name that can be chosen, sorted."""
    return sorted({*_OURS, *_added, *_theirs()})


def summaries() -> list[tuple[str, str]]:
    """Name and one line about each, sorted by name; loads third parties' classes, but none of ours.

    A third party's that cannot be loaded has the reason as its line.
    """
    lines = {name: line for name, (_, line) in _OURS.items()}
    for name in {*_added, *_theirs()}:
        try:
            lines[name] = load(name).summary
        except errors.BadInputError as error:
            lines[name] = error.message
    return sorted(lines.items())


def load(name: str) -> type[Algorithm]:
    """The class of that name. Raises NotFoundError for an unknown name, with the nearest known one."""
    if name in _OURS:
        place = _OURS[name][0]
        module, _, attribute = place.partition(":")
        found: type[Algorithm] = getattr(importlib.import_module(f"kuttab.algorithms.{module}"), attribute)
        return found
    if name in _added:
        return _added[name]
    point = _theirs().get(name)
    if point is None:
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(names())
        raise errors.NotFoundError(f"unknown algorithm {name!r}; {hint}")
    return _checked(name, point)


def _checked(name: str, point: metadata.EntryPoint) -> type[Algorithm]:
    """A third party's class, or BadInputError saying what is wrong with its package."""
    from kuttab.algorithms.algorithm import Algorithm  # noqa: PLC0415 - keeps numpy out of the registry's import

    try:
        found = point.load()
    except Exception as error:
        raise errors.BadInputError(f"algorithm {name!r} ({point.value}) cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Algorithm)):
        raise errors.BadInputError(
            f"algorithm {name!r} ({point.value}) is no subclass of kuttab.algorithms.algorithm.Algorithm"
        )
    return found
