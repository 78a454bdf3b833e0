"""What a workload asks for in all: CPUs, memory and GPUs of all replicas that run at once, by Kubernetes' rules.

A container asks for its ``requests``, and for its ``limits`` where it has none; a pod for the sum of its containers or the largest init
container, whichever is more. A workload that names no CPU at all counts one per replica, so that it cannot slip past a quota.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,2})|([numkMGTPE]|[KMGTPE]i)?)")
_SCALE = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Amount:
    """CPUs (cores), memory (bytes), GPUs (devices)."""

    cpus: float = 0.0
    memory: float = 0.0
    gpus: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cpus + other.cpus, self.memory + other.memory, self.gpus + other.gpus)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.cpus - other.cpus, self.memory - other.memory, self.gpus - other.gpus)

    def __mul__(self, times: int) -> Amount:
        return Amount(self.cpus * times, self.memory * times, self.gpus * times)

    def most(self, other: Amount) -> Amount:
        """The larger of each."""
        return Amount(max(self.cpus, other.cpus), max(self.memory, other.memory), max(self.gpus, other.gpus))

    def lacking(self, available: Amount) -> list[str]:
        """What of this is more than available, as words; empty when it fits."""
        rows: tuple[tuple[str, float, float, Callable[[float], str]], ...] = (
            ("CPUs", self.cpus, available.cpus, _number),
            ("memory", self.memory, available.memory, _bytes),
            ("GPUs", self.gpus, available.gpus, _number),
        )
        # Sums of tenths are not exact: a millionth of a core is no core.
        return [f"{show(need)} {name} of {show(max(have, 0))}" for name, need, have, show in rows if need > have + 1e-6]


def quantity(value: Any) -> float | None:
    """A Kubernetes quantity (``500m``, ``2Gi``, ``0.5``, 3, ``1e3``) as a number; None when it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) and value >= 0 else None
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) and value.isascii() else None
    if found is None:
        return None
    return float(found[1]) * (10.0 ** int(found[2]) if found[2] else _SCALE[found[3] or ""])


def replicas(workload: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """Number and pod spec of each kind of replica that runs at once; an unknown kind is one replica that asks for nothing."""
    spec = _map(workload.get("spec"))
    sections = [_map(value) for key, value in spec.items() if key.endswith("ReplicaSpecs")]
    if sections:
        found = [_map(replica) for section in sections for replica in section.values()]
        return [(_count(one.get("replicas")), _map(_map(one.get("template")).get("spec"))) for one in found]
    if workload.get("kind") == "TrainJob":
        trainer = _map(spec.get("trainer"))
        container = {"resources": _map(trainer.get("resourcesPerNode"))}
        return [(_count(trainer.get("numNodes")), {"containers": [container]})]
    count = _count(spec.get("parallelism"))
    if spec.get("completions") is not None:
        count = min(count, _count(spec.get("completions")))
    return [(count, _map(_map(spec.get("template")).get("spec")))]


def of(workload: Mapping[str, Any]) -> Amount:
    """What all replicas of a workload ask for together."""
    total, number = Amount(), 0
    for count, pod in replicas(workload):
        total += _pod(pod) * count
        number += count
    return total if total.cpus else total + Amount(cpus=float(number))


def _pod(spec: Mapping[str, Any]) -> Amount:
    main, first = Amount(), Amount()
    for container in _list(spec.get("containers")):
        main += _container(container)
    for container in _list(spec.get("initContainers")):
        first = first.most(_container(container))
    return main.most(first)


def _container(container: Mapping[str, Any]) -> Amount:
    section = _map(container.get("resources"))
    asked = {**_map(section.get("limits")), **_map(section.get("requests"))}

    def number(key: str) -> float:
        return quantity(asked.get(key, 0)) or 0.0

    gpus = sum((number(key) for key in asked if str(key).endswith("/gpu")), 0.0)
    return Amount(number("cpu"), number("memory"), gpus)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 1


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Iterator[Mapping[str, Any]]:
    return (entry for entry in value if isinstance(entry, Mapping)) if isinstance(value, list) else iter(())


def _number(value: float) -> str:
    return f"{value:.6g}"


def _bytes(value: float) -> str:
    for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if value >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.0f}"
