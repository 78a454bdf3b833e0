"""Defaults of an experiment: Katib's, exactly, and once only."""

import copy
from typing import Any

import pytest

from kuttab.admission import defaults
from kuttab.api import experiment, meta
from unit.admission.manifests.cases import BASE, DROP, changed

T = "spec.trialTemplate"
C = "spec.metricsCollectorSpec"


def defaulted(delta: dict[str, Any], template: meta.Json | None = None) -> dict[str, Any]:
    """The spec with defaults, as JSON; also proves that a second pass changes nothing."""
    subject = experiment.Experiment.load(changed(BASE, delta))
    done, _ = defaults.apply(subject, template)
    again, warnings = defaults.apply(done, template)
    assert again is done
    assert warnings == []
    return meta.dump(done)["spec"]


def test_every_default_of_the_smallest_manifest() -> None:
    """What was left out is filled in; what was given stays."""
    spec = defaulted({"spec.parallelTrialCount": DROP})
    wanted = copy.deepcopy(BASE["spec"])
    wanted["parallelTrialCount"] = 3
    wanted["resumePolicy"] = "Never"
    wanted["objective"]["metricStrategies"] = [{"name": "loss", "value": "min"}, {"name": "accuracy", "value": "min"}]
    wanted["metricsCollectorSpec"] = {"collector": {"kind": "StdOut"}}
    for parameter in wanted["parameters"]:
        parameter["feasibleSpace"]["distribution"] = "uniform"
    wanted["trialTemplate"]["successCondition"] = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
    wanted["trialTemplate"]["failureCondition"] = 'status.conditions.#(type=="Failed")#|#(status=="True")#'
    assert spec == wanted


def test_given_values_stay() -> None:
    """A default never replaces what the user wrote."""
    given = {
        "spec.resumePolicy": "FromVolume",
        "spec.objective.metricStrategies": [{"name": "accuracy", "value": "max"}],
        f"{T}.successCondition": "a",
        f"{T}.failureCondition": "b",
        "spec.parameters[0].feasibleSpace.distribution": "logUniform",
    }
    spec = defaulted(given)
    assert spec["resumePolicy"] == "FromVolume"
    assert spec["objective"]["metricStrategies"] == [
        {"name": "accuracy", "value": "max"},
        {"name": "loss", "value": "min"},
    ]
    assert (spec["trialTemplate"]["successCondition"], spec["trialTemplate"]["failureCondition"]) == ("a", "b")
    assert [p["feasibleSpace"]["distribution"] for p in spec["parameters"]] == ["logUniform", "uniform", "uniform"]


@pytest.mark.parametrize(
    ("type_", "value"), [("minimize", "min"), ("maximize", "max"), ("", "latest"), ("odd", "latest")]
)
def test_metric_strategies_follow_the_direction(type_: str, value: str) -> None:
    """A series becomes its best value in the objective's direction, or its latest without one."""
    spec = defaulted({"spec.objective.type": type_})
    assert {entry["value"] for entry in spec["objective"]["metricStrategies"]} == {value}


@pytest.mark.parametrize(("highest", "parallel"), [(None, 3), (1, 1), (2, 2), (3, 3), (100, 3), (0, 3), (-5, 3)])
def test_parallel_trials(highest: int | None, parallel: int) -> None:
    """Three at once, or as many as there may be at all when that is less."""
    spec = defaulted({"spec.parallelTrialCount": DROP, "spec.maxTrialCount": DROP if highest is None else highest})
    assert spec["parallelTrialCount"] == parallel


@pytest.mark.parametrize(
    ("version", "kind", "success", "labels"),
    [
        ("batch/v1", "Job", "Complete", None),
        ("kubeflow.org/v1", "TFJob", "Succeeded", {"training.kubeflow.org/job-role": "master"}),
        ("kubeflow.org/v1", "PyTorchJob", "Succeeded", {"training.kubeflow.org/job-role": "master"}),
        ("kubeflow.org/v1", "XGBoostJob", "Succeeded", {"training.kubeflow.org/job-role": "master"}),
        ("kubeflow.org/v1", "MPIJob", "Succeeded", {"training.kubeflow.org/job-role": "master"}),
        ("trainer.kubeflow.org/v1alpha1", "TrainJob", "Complete",
         {"jobset.sigs.k8s.io/replicatedjob-name": "node", "batch.kubernetes.io/job-completion-index": "0"}),
        ("kubeflow.org/v1", "MXJob", "", None),
        ("tekton.dev/v1beta1", "PipelineRun", "", None),
        ("argoproj.io/v1alpha1", "Workflow", "", None),
        ("example.org/v1", "Foo", "", None),
    ],
)  # fmt: skip
def test_conditions_and_labels_by_kind(version: str, kind: str, success: str, labels: dict[str, str] | None) -> None:
    """Conditions and primary pod labels follow the kind of the workload."""
    head = {"apiVersion": version, "kind": kind}
    inline = defaulted({f"{T}.trialSpec": head})["trialTemplate"]
    source = {"configMapName": "m", "configMapNamespace": "team", "templatePath": "k"}
    kept = defaulted({f"{T}.trialSpec": DROP, f"{T}.configMap": source}, head)["trialTemplate"]
    for template in (inline, kept):
        condition = f'status.conditions.#(type=="{success}")#|#(status=="True")#' if success else None
        assert template.get("successCondition") == condition
        assert template.get("failureCondition") == (condition.replace(success, "Failed") if condition else None)
        assert template.get("primaryPodLabels") == labels


def test_labels_of_the_user_stay() -> None:
    """Labels that were given are not mixed with the kind's own."""
    spec = defaulted(
        {f"{T}.trialSpec": {"apiVersion": "kubeflow.org/v1", "kind": "TFJob"}, f"{T}.primaryPodLabels": {"a": "b"}}
    )
    assert spec["trialTemplate"]["primaryPodLabels"] == {"a": "b"}


def test_template_that_cannot_be_read_has_no_defaults() -> None:
    """Without a template nothing is guessed."""
    source = {"configMapName": "m", "configMapNamespace": "team", "templatePath": "k"}
    assert "successCondition" not in defaulted({f"{T}.trialSpec": DROP, f"{T}.configMap": source})["trialTemplate"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (DROP, {"collector": {"kind": "StdOut"}}),
        ({}, {"collector": {"kind": "StdOut"}}),
        ({"collector": {}}, {"collector": {}}),
        ({"collector": {"kind": "Push"}}, {"collector": {"kind": "Push"}}),
        ({"collector": {"kind": "File"}},
         {"collector": {"kind": "File"},
          "source": {"fileSystemPath": {"path": "/var/log/katib/metrics.log", "kind": "File", "format": "TEXT"}}}),
        ({"collector": {"kind": "File"}, "source": {"fileSystemPath": {"path": "/a/b", "format": "JSON"}}},
         {"collector": {"kind": "File"}, "source": {"fileSystemPath": {"path": "/a/b", "kind": "File", "format": "JSON"}}}),
        ({"collector": {"kind": "TensorFlowEvent"}},
         {"collector": {"kind": "TensorFlowEvent"},
          "source": {"fileSystemPath": {"path": "/var/log/katib/tfevent/", "kind": "Directory"}}}),
        ({"collector": {"kind": "PrometheusMetric"}},
         {"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": {"path": "/metrics", "port": 8080}}}),
        ({"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": {"port": 9090}}},
         {"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": {"path": "/metrics", "port": 9090}}}),
        ({"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": {"path": "/m", "port": "web"}}},
         {"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": {"path": "/m", "port": "web"}}}),
        ({"collector": {"kind": "Custom"}, "source": {"filter": {}}}, {"collector": {"kind": "Custom"}, "source": {"filter": {}}}),
    ],
)  # fmt: skip
def test_collector(given: Any, wanted: dict[str, Any]) -> None:
    """Each kind of collector gets its own source, and only what was left out of it."""
    assert defaulted({C: given} if given is not DROP else {})["metricsCollectorSpec"] == wanted


def test_nothing_to_default_on_an_empty_spec() -> None:
    """Missing sections stay missing, so that the rules can ask for them."""
    done, _ = defaults.apply(experiment.Experiment())
    assert meta.dump(done)["spec"] == {
        "parallelTrialCount": 3, "resumePolicy": "Never", "metricsCollectorSpec": {"collector": {"kind": "StdOut"}},
    }  # fmt: skip


def test_parameters_without_a_space_and_nas_parameters() -> None:
    """The distribution is filled in for search parameters, and not inside nasConfig."""
    nas = {
        "operations": [
            {"operationType": "a", "parameters": [{"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1"}}]}
        ]
    }
    spec = defaulted({"spec.parameters[0].feasibleSpace": DROP, "spec.nasConfig": nas})
    assert spec["parameters"][0]["feasibleSpace"] == {"distribution": "uniform"}
    assert spec["nasConfig"] == nas
