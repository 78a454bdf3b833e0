"""kuttab: hyper-parameter and architecture search, on one machine or on Kubernetes.

The names below are the whole public Python surface; everything else may change between releases. They are loaded when first used, so that
importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kuttab.__about__ import __version__

if TYPE_CHECKING:
    from kuttab.collector.reporting import EarlyStopped as EarlyStopped
    from kuttab.collector.reporting import report as report
    from kuttab.collector.reporting import should_stop as should_stop
    from kuttab.sdk import search as search
    from kuttab.sdk.optimizer import Optimizer as Optimizer
    from kuttab.sdk.results import Result as Result
    from kuttab.sdk.views import Progress as Progress
    from kuttab.wiring.clients import AsyncClient as AsyncClient
    from kuttab.wiring.clients import Client as Client
    from kuttab.wiring.tuning import tune as tune

_HOMES = {
    "AsyncClient": "kuttab.wiring.clients",
    "Client": "kuttab.wiring.clients",
    "EarlyStopped": "kuttab.collector.reporting",
    "Optimizer": "kuttab.sdk.optimizer",
    "Progress": "kuttab.sdk.views",
    "Result": "kuttab.sdk.results",
    "report": "kuttab.collector.reporting",
    "search": "kuttab.sdk",
    "should_stop": "kuttab.collector.reporting",
    "tune": "kuttab.wiring.tuning",
}

__all__ = [
    "AsyncClient",
    "Client",
    "EarlyStopped",
    "Optimizer",
    "Progress",
    "Result",
    "__version__",
    "report",
    "search",
    "should_stop",
    "tune",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "search":
        return importlib.import_module("kuttab.sdk.search")
    found = getattr(importlib.import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
