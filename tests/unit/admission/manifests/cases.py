"""How a row of the table of hostile manifests is written down: what differs from a sound manifest, and the expected verdict.

Verdicts: REJ refused (some problem has the path ``at`` and says ``says``) · OK accepted without a word about it · WARN accepted with a
warning that says ``says`` · INERT accepted, and a trial rendered from it holds the value byte for byte · ELSEWHERE not a matter of
admission; ``says`` tells why, ``proof`` names the tests of this repository that prove the row.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kuttab.admission import limits

REJ, OK, WARN, INERT, ELSEWHERE = "REJ", "OK", "OK!", "INERT", "ELSEWHERE"
DROP = object()
"""In a delta: take the field out."""

BASE: dict[str, Any] = {
    "apiVersion": "kubeflow.org/v1beta1",
    "kind": "Experiment",
    "metadata": {"name": "sound", "namespace": "team"},
    "spec": {
        "objective": {"type": "minimize", "goal": 0.01, "objectiveMetricName": "loss", "additionalMetricNames": ["accuracy"]},
        "algorithm": {"algorithmName": "random", "algorithmSettings": [{"name": "random_state", "value": "7"}]},
        "parallelTrialCount": 3,
        "maxTrialCount": 12,
        "maxFailedTrialCount": 3,
        "parameters": [
            {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.01", "max": "0.05"}},
            {"name": "layers", "parameterType": "int", "feasibleSpace": {"min": "2", "max": "50"}},
            {"name": "act", "parameterType": "categorical", "feasibleSpace": {"list": ["relu", "tanh"]}},
        ],
        "trialTemplate": {
            "primaryContainerName": "main",
            "trialParameters": [
                {"name": "rate", "reference": "lr"},
                {"name": "depth", "reference": "layers"},
                {"name": "act", "reference": "act"},
            ],
            "trialSpec": {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "spec": {
                    "template": {
                        "spec": {
                            "containers": [
                                {
                                    "name": "main",
                                    "image": "example.org/train:1",
                                    "command": [
                                        "python3", "train.py", "--lr=${trialParameters.rate}", "--depth=${trialParameters.depth}",
                                        "--act=${trialParameters.act}",
                                    ],
                                }
                            ],
                            "restartPolicy": "Never",
                        }
                    }
                },
            },
        },
    },
}  # fmt: skip

POD = "spec.trialTemplate.trialSpec.spec.template.spec"
MAIN = f"{POD}.containers[0]"
LR = "spec.parameters[0].feasibleSpace"
ACT = "spec.parameters[2].feasibleSpace"


@dataclass(frozen=True)
class Case:
    """One manifest of a row. Exactly one of ``delta`` (from BASE), ``document`` and ``text`` says what is sent."""

    row: str
    title: str
    expect: str
    delta: Mapping[str, Any] = field(default_factory=dict)
    at: str = ""
    says: str = ""
    document: Callable[[], Any] | None = None
    text: Callable[[], bytes | str] | None = None
    value: str = ""
    """INERT: the hostile value of the parameter ``act``."""
    old: Mapping[str, Any] | None = None
    """UPDATE: how the stored object differs from BASE, status included."""
    user: str = "alice"
    namespace: limits.Namespace = field(default_factory=limits.Namespace)
    catalogue: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = True
    proof: tuple[str, ...] = ()
    """ELSEWHERE: ``path::name`` of tests."""

    @property
    def id(self) -> str:
        """Row number and title, for the test's name."""
        return f"{self.row}-{self.title}"


def changed(base: Any, delta: Mapping[str, Any]) -> Any:
    """A copy of ``base`` with the fields at those paths set or taken out."""
    made = copy.deepcopy(base)
    for path, value in delta.items():
        *above, last = _steps(path)
        node = made
        for step in above:
            node = node.setdefault(step, {}) if isinstance(node, dict) else node[step]
        if value is DROP:
            del node[last]
        elif isinstance(node, list) and last == len(node):
            node.append(value)
        else:
            node[last] = value
    return made


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    for part in path.split("."):
        name, *indexes = part.split("[")
        steps.append(name.replace("~", "."))
        steps += [int(index.rstrip("]")) for index in indexes]
    return steps


class Rows:
    """Collects cases; the methods are the verdicts."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def rej(self, row: str, title: str, delta: Mapping[str, Any], at: str, says: str, **more: Any) -> None:
        """A refused manifest."""
        self.cases.append(Case(row, title, REJ, delta, at, says, **more))

    def ok(self, row: str, title: str, delta: Mapping[str, Any], **more: Any) -> None:
        """A sound one."""
        self.cases.append(Case(row, title, OK, delta, **more))

    def warn(self, row: str, title: str, delta: Mapping[str, Any], says: str, **more: Any) -> None:
        """A sound one with a warning."""
        self.cases.append(Case(row, title, WARN, delta, says=says, **more))

    def inert(self, row: str, title: str, delta: Mapping[str, Any], value: str = "", **more: Any) -> None:
        """A sound one whose odd value does nothing."""
        self.cases.append(Case(row, title, INERT, delta, value=value, **more))

    def hostile(self, row: str, *values: str) -> None:
        """Sound ones whose categorical parameter holds a hostile value."""
        for value in values:
            self.inert(row, f"value {value[:30]!a}", {f"{ACT}.list": ["relu", value]}, value)

    def elsewhere(self, row: str, title: str, why: str, *proof: str) -> None:
        """Not decided here."""
        self.cases.append(Case(row, title, ELSEWHERE, says=why, proof=proof))
