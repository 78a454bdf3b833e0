"""Small parts of admission, where a whole manifest would hide what is meant."""

import pytest

from kuttab.admission import (
    collector,
    defaults,
    job_schema,
    numbers,
    parameters,
    paths,
    patterns,
    pods,
    report,
    workloads,
)
from kuttab.api import experiment
from kuttab.api.space import FeasibleSpace, ParameterSpec


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        (("spec", "parameters", 2, "feasibleSpace", "max"), "spec.parameters[2].feasibleSpace.max"),
        (("metadata", "labels", "a.b/c"), "metadata.labels[a.b/c]"),
        (("a", "x y", "b"), "a[x y].b"),
        (("a", "b]c", "d"), "a[b]c].d"),
        (("a", "", "b"), "a[].b"),
    ],
)
def test_paths_come_back(steps: tuple[str | int, ...], path: str) -> None:
    """A path is written as people write it, and read back into its steps."""
    assert paths.join("", *steps) == path
    assert paths.steps(path) == [str(step) for step in steps]


@pytest.mark.parametrize(
    ("path", "above", "answer"),
    [
        ("a.b", "a", True), ("a[1]", "a", True), ("a", "a", True), ("ab", "a", False),
        ("a[10]", "a[1]", False), ("x", "", True), ("a", "a.b", False)],
)  # fmt: skip
def test_within(path: str, above: str, answer: bool) -> None:
    """A path lies within another by whole steps only."""
    assert paths.within(path, above) is answer


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("maxTrailCount", "; did you mean maxTrialCount?"),
        ("MAXTRIALCOUNT", "; did you mean maxTrialCount?"),
        ("zzz", ""),
        ("x" * 10_000, ""),
    ],
)
def test_nearest_name(word: str, hint: str) -> None:
    """A misspelt or miscapitalised name brings the right one to mind; nonsense brings nothing."""
    assert report.nearest(word, ["maxTrialCount", "parallelTrialCount"]) == hint


def parameter(kind: str, choices: list[str] | None = None, **bounds: str) -> ParameterSpec:
    """A parameter of that kind."""
    return ParameterSpec(name="p", parameter_type=kind, feasible_space=FeasibleSpace(choices=choices, **bounds))


@pytest.mark.parametrize(
    ("listed", "points"),
    [
        ([parameter("int", min="1", max="10")], 10),
        ([parameter("int", min="1", max="10", step="3")], 4),
        ([parameter("double", min="0", max="1", step="0.1")], 11),
        ([parameter("double", min="0.01", max="0.05", step="0.005")], 9),
        ([parameter("double", min="0", max="1", step="0.3")], 4),
        ([parameter("double", min="0", max="1")], None),
        ([parameter("double", min="1", max="1")], 1),
        ([parameter("double", min="0", max="1e300", step="1e-300")], None),
        ([parameter("categorical", ["a", "b"]), parameter("discrete", ["1", "2", "3"]), parameter("int", min="0", max="4")], 30),
        ([parameter("int", min="0", max="9007199254740991")] * 50, (2**53) ** 50),
    ],
)  # fmt: skip
def test_points_of_a_space(listed: list[ParameterSpec], points: int | None) -> None:
    """The number of points is computed, never counted, and has no upper end."""
    assert parameters.cardinality(listed) == points


def test_numbers() -> None:
    """The largest exact whole numbers are read, and zero in all its spellings is zero."""
    assert numbers.whole("-9007199254740991") == -(2**53 - 1)
    assert [numbers.real(text) for text in ("0", "-0.0", "0e5", "0.000", "+.5")] == [0, 0, 0, 0, 0.5]


@pytest.mark.parametrize(
    ("pattern", "warnings"),
    [
        (r"(\w+)=(\d+)", 0),
        (r"(?:x)(\w+)=(?P<v>\d+)", 0),
        (r"(?P<value>\d*) (?P<name>\w+)", 1),
        (r"\Q(\E(\w+)[()](\d+)", 0),
        (r"[]()](\w+)=(\d+)", 0),
        (r"(a|(b))(c)?", 1),
        (r"(a|b)(c)?", 0),
        (r"(a|b)(c?)", 1),
        (r"((\d+)\s)=(\w+)", 1),
        (r"(?i)(\w+)\((\d*)\)", 1),
        (r"(?i:(\w+))=(.*)", 1),
        (r"(^)(\d+)", 1),
        (r"[[:alpha:])](\w+)=(\d+)", 0),
        ("no groups", 0),
    ],
)
def test_doubts_about_patterns(pattern: str, warnings: int) -> None:
    """Groups are found as the engine counts them: brackets in classes, quotes and escapes are none."""
    assert len(patterns.doubts(pattern)) == warnings


def test_folder_of_the_collector() -> None:
    """The folder over which a volume is mounted follows the kind of collector."""

    def folder(collects: str, **place: str) -> str:
        source = experiment.SourceSpec(file_system_path=experiment.FileSystemPath(**place)) if place else None
        return collector.metrics_folder(
            experiment.MetricsCollectorSpec(collector=experiment.CollectorSpec(kind=collects), source=source)
        )

    assert folder("StdOut") == "/var/log/katib"
    assert folder("File", path="/a/b/m.log", kind="File") == "/a/b"
    assert folder("File", path="/m.log", kind="File") == "/"
    assert folder("TensorFlowEvent", path="/a/b/", kind="Directory") == "/a/b"
    assert folder("Custom") == ""
    assert folder("Push") == ""
    assert collector.metrics_folder(None) == ""
    assert collector.metrics_folder(experiment.MetricsCollectorSpec()) == ""


def test_pods_of_replicated_kinds() -> None:
    """Every replica's pod is found, whatever else stands there."""
    tree = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "spec": {"pytorchReplicaSpecs": {"Master": {"template": {"spec": {}}}, "Worker": {"replicas": 1}, "Odd": 5}},
    }
    assert [path for path, _ in workloads.pod_templates(tree, "t")] == ["t.spec.pytorchReplicaSpecs.Master.template"]
    assert list(workloads.pod_templates({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": 5}}, "t")) == []
    assert list(workloads.pod_templates({"apiVersion": "batch/v1", "kind": "Job"}, "t")) == []
    assert list(workloads.pod_templates({"apiVersion": 5, "kind": "Job", "spec": {}}, "t")) == []
    assert list(workloads.containers({"containers": [5, {"name": "a"}]}, "p")) == [("p.containers[1]", {"name": "a"})]


def test_names_in_every_replica_are_judged() -> None:
    """A reserved name is refused in any replica, also where the metrics are not read."""
    spec = {
        "containers": [{"name": "metrics-collector", "image": "a", "volumeMounts": [{"mountPath": "/m"}, 5]}],
        "volumes": [5],
    }
    found = report.Report()
    pods.check_pod(spec, "p", "/m", found)
    assert [problem.path for problem in found.problems] == [
        "p.containers[0].name",
        "p.containers[0].volumeMounts[0].mountPath",
    ]


def test_every_type_of_the_job_table_is_known() -> None:
    """No row of the table of fields names a type that does not exist."""
    known = {"str", "bool", "int", "nat", "quantity", "quantities", "map", "any", *job_schema.rows()}
    used = {type_.strip("[]") for row in job_schema.rows().values() for type_ in row.values()}
    assert used <= known


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("metadata", {"labels": {"a": 1}}, "must be text, not 1; put quotes round it"),
        ("metadata", {"labels": 5}, "must be a mapping, not 5"),
        ("spec", {"template": {"spec": {"containers": [{"resources": {"limits": 5}}]}}}, "must be a mapping, not 5"),
        ("spec", {"suspend": "true"}, 'must be true or false, not "true"'),
        ("spec", {"backoffLimit": True}, "must be a whole number, not true"),
        ("spec", {"backoffLimit": 2**63}, "must be a whole number"),
        ("spec", {"completionMode": {}}, "must be text, not a mapping"),
        ("spec", {"template": {"spec": {"containers": [{"command": [None]}]}}}, "must be text, not null"),
        ("spec", {"backoffLimit": "${trialParameters.x}", "parallelism": None}, ""),
        ("spec", {"template": {"spec": {"priority": -5}}}, ""),
    ],
)  # fmt: skip
def test_types_of_job_fields(field: str, value: object, says: str) -> None:
    """A Job field of a wrong type is named with what is expected; a placeholder may stand for a value."""
    found = report.Report()
    job_schema.check({field: value}, "", found)
    assert [problem.message for problem in found.problems if says in problem.message] == [
        p.message for p in found.problems
    ]
    assert bool(found.problems) == bool(says)


def test_default_file_is_in_the_default_folder() -> None:
    """The default path of the File collector is one that the rules accept."""
    assert collector.metrics_folder(
        experiment.MetricsCollectorSpec(
            collector=experiment.CollectorSpec(kind="File"),
            source=experiment.SourceSpec(file_system_path=experiment.FileSystemPath(path=defaults.METRICS_FILE, kind="File")),
        )
    ) == "/var/log/katib"  # fmt: skip
