"""The user's function as a trial calls it: text of assignments in, typed parameters to the function, metrics out.

Pickled to worker processes, so it holds plain data and loads nothing heavy.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kuttab.base import errors

Function = Callable[[Any], Any]


class Parameters(dict[str, Any]):
    """The values of a trial by name, also as attributes: ``p["lr"]`` or ``p.lr``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no parameter {name!r}; there are {', '.join(self)}") from None


class Call:
    """Callable as ``function_worker`` wants it. ``readers`` says for each parameter ``int``, ``float``, or texts and their values."""

    def __init__(
        self,
        function: Function,
        readers: Mapping[str, str | tuple[Sequence[str], Sequence[Any]]],
        objective: str,
    ) -> None:
        self.function = function
        self.readers = dict(readers)
        self.objective = objective

    def __call__(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Call the function. BadInputError when what it returns is neither a number, a mapping of numbers nor None."""
        values = Parameters((name, _read(text, self.readers.get(name, "text"))) for name, text in texts.items())
        found = self.function(values)
        if found is None:
            return {}
        if isinstance(found, Mapping):
            bad = next((key for key in found if not isinstance(key, str)), None)
            if bad is not None:
                raise errors.BadInputError(f"the function returned a metric named {bad!r}; names are text")
            return dict(found)
        if isinstance(found, str | bytes | list | tuple | set):
            raise errors.BadInputError(
                f"the function returned {_shown(found)}; it must return a number, or a dict of metric to number"
            )
        return {self.objective: found}


def _read(text: str, reader: str | tuple[Sequence[str], Sequence[Any]]) -> Any:
    if reader == "int":
        return int(text)
    if reader == "float":
        return float(text)
    if isinstance(reader, str):
        return text
    texts, values = reader
    try:
        return values[texts.index(text)]
    except ValueError:
        return text


def check(function: object) -> None:
    """Refuse what cannot be called with one argument; BadInputError."""
    if not callable(function):
        raise errors.BadInputError(f"the objective must be a function of one argument, got {_shown(function)}")
    if inspect.iscoroutinefunction(function):
        raise errors.BadInputError("the objective must be a plain function, got an async one; wrap it with asyncio.run")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # built in C: it will tell itself
    try:
        signature.bind({})
    except TypeError as problem:
        name = getattr(function, "__name__", "the objective")
        raise errors.BadInputError(
            f"{name}{signature} cannot be called with one argument, the trial's parameters: {problem}"
        ) from None


def pickled(call: Call) -> bytes:
    """A call as bytes for another process; BadInputError naming what cannot go there."""
    cloudpickle = importlib.import_module("cloudpickle")
    module = sys.modules.get(getattr(call.function, "__module__", "") or "")
    foreign = module is not None and module.__name__ != "__main__" and not _importable(module.__name__)
    if foreign:
        cloudpickle.register_pickle_by_value(module)
    try:
        made: bytes = cloudpickle.dumps(call)
    except Exception as problem:  # whatever a __reduce__ of the user's objects raises
        text = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise errors.BadInputError(
            f"the objective cannot be sent to a worker process ({text}); make what it uses inside of it, or pass executor='thread'"
        ) from problem
    finally:
        if foreign:
            cloudpickle.unregister_pickle_by_value(module)
    return made


def _importable(name: str) -> bool:
    """Whether another process with this ``sys.path`` finds a module of that name."""
    top = name.partition(".")[0]
    if top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return True
    try:
        if importlib.machinery.PathFinder.find_spec(top, sys.path) is None:
            return False
        known = sys.modules[name].__spec__
    except (ImportError, ValueError, AttributeError):
        return False
    return known is None or known.origin is None or _belongs(name, known.origin)


def _belongs(name: str, origin: str) -> bool:
    """Whether a module's file lies where a plain import would look for it."""
    found = importlib.machinery.PathFinder.find_spec(name.partition(".")[0], sys.path)
    place = origin.replace("\\", "/").removesuffix(".py").removesuffix("/__init__")
    if found is None or not place.endswith(name.replace(".", "/")):
        return False
    roots = found.submodule_search_locations
    return any(origin.startswith(str(root)) for root in roots) if roots is not None else found.origin == origin


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
