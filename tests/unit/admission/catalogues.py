"""A catalogue like that of a cluster installation: the shipped names, the real kinds, ConfigMaps as given."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from kuttab.admission import limits as limits_
from kuttab.api import experiment, meta
from kuttab.base import errors


@dataclass
class ShippedCatalogue:
    """Answers from memory; ``denied`` holds (user, kind) pairs that may not create that kind."""

    limits: limits_.Limits = field(default_factory=limits_.Limits)
    config_maps: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    denied: Collection[tuple[str, str]] = ()
    unsupported_kinds: Collection[str] = ()
    looked_up: list[tuple[str, str]] = field(default_factory=list)

    def algorithm_names(self) -> Collection[str]:
        """Search algorithms of the shipped configuration."""
        return [
            "random", "tpe", "grid", "multivariate-tpe", "cmaes", "sobol", "bayesianoptimization", "hyperband", "pbt", "enas", "darts",
        ]  # fmt: skip

    def early_stopping_names(self) -> Collection[str]:
        """The shipped one."""
        return ["medianstop"]

    def collector_kinds(self) -> Collection[str]:
        """All six."""
        return ["StdOut", "File", "TensorFlowEvent", "PrometheusMetric", "Custom", "Push"]

    def check_algorithm(self, subject: experiment.Experiment) -> list[errors.Problem]:
        """No algorithm is known here."""
        return []

    def workload_warnings(self, tree: meta.Json, path: str) -> list[errors.Problem]:
        """Nothing to say."""
        return []

    def workload_problems(self, tree: meta.Json, path: str) -> list[errors.Problem]:
        """Refuses the kinds that it was told to."""
        if tree["kind"] in self.unsupported_kinds:
            return [
                errors.Problem(
                    f"{path}.kind", f"{tree['kind']} cannot be run on this machine", "FieldValueNotSupported"
                )
            ]
        return []

    def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """One of those given; notes who asked."""
        self.looked_up.append((namespace, name))
        return self.config_maps.get((namespace, name))

    def may_create(self, user: str, namespace: str, api_version: str, kind: str) -> bool:
        """Everybody may, but those denied."""
        return (user, kind) not in self.denied
