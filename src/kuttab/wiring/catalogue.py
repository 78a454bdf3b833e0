"""What this machine can run, for admission: algorithms by name, collectors, workloads, ConfigMaps. Answers come from memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from kuttab.admission import limits
from kuttab.algorithms import registry
from kuttab.algorithms.stopping import rule
from kuttab.api import experiment, meta
from kuttab.base import errors
from kuttab.node import support
from kuttab.wiring import settings as settings_
from kuttab.wiring import suggesting, warming

ConfigMaps = Callable[[str, str], Mapping[str, str] | None]

COLLECTORS = frozenset(str(kind) for kind in experiment.CollectorKind)


class Catalogue:
    """Implements ``admission.limits.Catalogue`` for the one-machine world."""

    def __init__(
        self,
        settings: settings_.Settings,
        *,
        config_maps: Mapping[tuple[str, str], Mapping[str, str]] | ConfigMaps,
    ) -> None:
        self._settings = settings
        self._config_maps = config_maps

    @property
    def limits(self) -> limits.Limits:
        """Caps and switches: the defaults, but any trial of this machine can be stopped early, however its metrics are read."""
        return limits.Limits(stoppable_collectors=COLLECTORS)

    def algorithm_names(self) -> Collection[str]:
        """See the protocol."""
        return {*registry.names(), *self._settings.algorithms, *self._settings.only_images}

    def early_stopping_names(self) -> Collection[str]:
        """See the protocol."""
        return {*rule.names(), *self._settings.early_stoppings}

    def collector_kinds(self) -> Collection[str]:
        """See the protocol."""
        return COLLECTORS

    def check_algorithm(self, subject: experiment.Experiment) -> list[errors.Problem]:
        """See the protocol; what is a service of its own is asked when the experiment starts."""
        problems: list[errors.Problem] = []
        name = subject.spec.algorithm.algorithm_name if subject.spec.algorithm is not None else ""
        if name not in self._settings.algorithms:
            if name in registry.names():
                problems += suggesting.algorithm_problems(subject)
            elif name in self._settings.only_images:
                image = self._settings.only_images[name]
                message = (
                    f"{name} is configured with the image {image}, for which nothing stands here; give images[{image!r}].command"
                    " in the images setting, or command in the configuration"
                )
                problems.append(errors.Problem("spec.algorithm.algorithmName", message, "FieldValueNotSupported"))
        else:
            problems += warming.problems_of_service(subject)
        stopping = subject.spec.early_stopping
        if stopping is not None and stopping.algorithm_name not in self._settings.early_stoppings:
            problems += suggesting.stopping_problems(subject)
        return problems

    def workload_warnings(self, tree: meta.Json, path: str) -> list[errors.Problem]:
        """See the protocol."""
        return [errors.Problem(f"{path}.{item.path}", item.message) for item in support.ignored(tree)]

    def workload_problems(self, tree: meta.Json, path: str) -> list[errors.Problem]:
        """See the protocol."""
        return [
            errors.Problem(f"{path}.{item.path}" if item.path else path, item.message, item.reason)
            for item in support.unsupported(tree)
        ]

    def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """See the protocol."""
        if isinstance(self._config_maps, Mapping):
            return self._config_maps.get((namespace, name))
        return self._config_maps(namespace, name)

    def may_create(self, user: str, namespace: str, api_version: str, kind: str) -> bool:  # noqa: ARG002
        """The one user of this machine may create everything that runs here."""
        return True
