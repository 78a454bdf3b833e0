"""Manifests of Katib's older versions."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import pytest
import yaml

from kuttab.api import experiment, gotemplate, kinds, legacy, meta
from kuttab.base import errors

ARTICLE = pathlib.Path(__file__).parents[3] / "examples" / "article"


def parse(text: str) -> Any:
    """YAML as admission reads it, in short."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise errors.BadInputError(str(error)) from error


def old(template: str = "", version: str = "kubeflow.org/v1alpha3", **spec: Any) -> dict[str, Any]:
    """An old Experiment with a Go template."""
    base: dict[str, Any] = {
        "parameters": [{"name": "--lr"}, {"name": "--opt"}],
        "algorithm": {"algorithmName": "random"},
    }
    if template:
        base["trialTemplate"] = {"goTemplate": {"rawTemplate": template}}
    return {
        "apiVersion": version,
        "kind": "Experiment",
        "metadata": {"name": "e", "namespace": "ns"},
        "spec": base | spec,
    }


JOB = """apiVersion: batch/v1
kind: Job
metadata:
  name: {{.Trial}}
  namespace: {{.NameSpace}}
spec:
  template:
    spec:
      containers:
      - name: {{.Trial}}
        image: x
        command: [train]
        args:
%s"""
LOOP = """        {{- with .HyperParameters}}
        {{- range .}}
        - "{{.Name}}={{.Value}}"
        {{- end}}
        {{- end}}
"""


def container(document: dict[str, Any]) -> dict[str, Any]:
    """The first container of a converted Experiment."""
    found: dict[str, Any] = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_articles_experiment() -> None:
    """The article's v1alpha2 manifest, byte for byte, becomes an Experiment whose command has the shape of the article's Trial."""
    document = parse((ARTICLE / "experiment-v1alpha2.yaml").read_text())
    assert legacy.is_old(document)
    made = legacy.convert(document, parse)
    assert made["apiVersion"] == "kubeflow.org/v1beta1"
    assert made["spec"]["parameters"] == document["spec"]["parameters"]
    assert "resumePolicy" not in made["spec"]
    template = made["spec"]["trialTemplate"]
    assert template["primaryContainerName"] == "training-container"
    assert template["trialParameters"] == [
        {"name": "lr", "reference": "--lr"},
        {"name": "num-layers", "reference": "--num-layers"},
        {"name": "optimizer", "reference": "--optimizer"},
    ]
    assert "metadata" not in template["trialSpec"]
    assert container(made) == {
        "name": "training-container",
        "image": "katib/mxnet-mnist-example",
        "command": [
            "python",
            "/mxnet/example/image-classification/train_mnist.py",
            "--batch-size=64",
            "--lr=${trialParameters.lr}",
            "--num-layers=${trialParameters.num-layers}",
            "--optimizer=${trialParameters.optimizer}",
        ],
    }
    loaded = experiment.Experiment.load(made)
    assert meta.dump(loaded) == made
    assert not legacy.is_old(made)
    assert legacy.convert(made, parse) is made


def test_the_articles_experiment_in_todays_form() -> None:
    """The rebuilt manifest reads as today's Experiment with the article's numbers."""
    subject = experiment.Experiment.load(parse((ARTICLE / "experiment.yaml").read_text()))
    assert not legacy.is_old(meta.dump(subject))
    counts = subject.spec.parallel_trial_count, subject.spec.max_trial_count, subject.spec.max_failed_trial_count
    assert counts == (3, 12, 3)
    assert [p.name for p in subject.spec.parameters or ()] == ["lr", "num-layers", "optimizer"]


@pytest.mark.parametrize("program", ["train_mnist.py", "image/mxnet/example/image-classification/train_mnist.py"])
def test_the_articles_program(program: str) -> None:
    """The stand-in prints the article's log lines for ten epochs, at both of its paths."""
    line = [
        sys.executable,
        str(ARTICLE / program),
        "--batch-size=64",
        "--lr=0.0186",
        "--num-layers=2",
        "--optimizer=adam",
    ]
    output = subprocess.run(line, capture_output=True, check=True, text=True).stdout.splitlines()
    assert sum("Validation-accuracy=0." in text for text in output) == 10
    assert sum("Train-accuracy=0." in text for text in output) == 10
    assert output[-1].split()[1:3] == ["INFO", "Epoch[9]"]


def test_trial_and_namespace_elsewhere() -> None:
    """Where a template uses the trial's name or namespace as data, the metadata reference takes its place."""
    lines = '        - "--out=/x/{{.Trial}}"\n        - {{.NameSpace}}\n        - "--of={{.Experiment}}"\n' + LOOP
    made = legacy.convert(old(JOB % lines), parse)
    assert container(made)["args"][:3] == [
        "--out=/x/${trialParameters.trialName}",
        "${trialParameters.trialNamespace}",
        "--of=e",
    ]
    assert made["spec"]["trialTemplate"]["trialParameters"][2:] == [
        {"name": "trialName", "reference": "${trialSpec.Name}"},
        {"name": "trialNamespace", "reference": "${trialSpec.Namespace}"},
    ]


def test_unquoted_values_in_flow_style() -> None:
    """A template that puts values unquoted, or within brackets, converts too."""
    lines = "        {{range .HyperParameters}}\n        - {{.Value}}\n        {{end}}\n"
    assert container(legacy.convert(old(JOB % lines), parse))["args"] == [
        "${trialParameters.lr}",
        "${trialParameters.opt}",
    ]
    loop = "{{range .HyperParameters}}{{.Value}},{{end}}"
    flow = (
        f"apiVersion: batch/v1\nkind: Job\nspec: {{template: {{spec: {{containers: [{{name: c, args: [{loop}]}}]}}}}}}"
    )
    made = legacy.convert(old(flow), parse)
    assert container(made) == {"name": "c", "args": ["${trialParameters.lr}", "${trialParameters.opt}"]}
    assert made["spec"]["trialTemplate"]["primaryContainerName"] == "c"


@pytest.mark.parametrize(("kind", "primary"), [("TFJob", "tensorflow"), ("PyTorchJob", "pytorch")])
def test_training_jobs(kind: str, primary: str) -> None:
    """The training container of the Kubeflow kinds is the one that their operators look at."""
    made = legacy.convert(
        old(f"apiVersion: kubeflow.org/v1beta2\nkind: {kind}\nmetadata: {{name: {{{{.Trial}}}}}}\nspec: {{}}"), parse
    )
    assert made["spec"]["trialTemplate"]["primaryContainerName"] == primary
    assert made["spec"]["trialTemplate"]["trialSpec"] == {"apiVersion": "kubeflow.org/v1", "kind": kind, "spec": {}}


def test_older_spellings_of_the_rest() -> None:
    """Early stopping, collector, resume policy and dropped fields take today's form."""
    stopping = {
        "earlyStoppingAlgorithmName": "medianstop",
        "earlyStoppingSettings": [{"name": "start_step", "value": "2"}],
    }
    document = old(
        JOB % LOOP,
        algorithm={"algorithmName": "random", "earlyStopping": stopping},
        metricsCollectorSpec={"collector": {"kind": "None"}},
        retainHistoricalData=True,
    )
    document["status"] = {"trials": 3}
    made = legacy.convert(document, parse)
    assert made["spec"]["algorithm"] == {"algorithmName": "random"}
    assert made["spec"]["earlyStopping"] == {
        "algorithmName": "medianstop",
        "algorithmSettings": stopping["earlyStoppingSettings"],
    }
    assert made["spec"]["metricsCollectorSpec"] == {"collector": {"kind": "Push"}}
    assert made["spec"]["resumePolicy"] == "LongRunning"
    assert "retainHistoricalData" not in made["spec"]
    assert "status" not in made
    cron = legacy.convert(
        old(JOB % LOOP, metricsCollectorSpec={"retain": True, "goTemplate": {"rawTemplate": "x"}}), parse
    )
    assert "metricsCollectorSpec" not in cron["spec"]


def test_template_in_a_config_map() -> None:
    """A template in a ConfigMap is looked up where the old version would have; without it the message says what is missing."""
    asked = []

    def lookup(*key: str) -> str:
        asked.append(key)
        return JOB % LOOP

    made = legacy.convert(old(), parse, lookup)
    assert asked == [("ns", "trial-template", "defaultTrialTemplate.yaml")]
    assert made["spec"]["trialTemplate"]["retain"] is True
    where = {"configMapName": "m", "configMapNamespace": "other", "templatePath": "t"}
    legacy.convert(old(trialTemplate={"goTemplate": {"templateSpec": where}}), parse, lookup)
    assert asked[1] == ("other", "m", "t")
    with pytest.raises(errors.InvalidError, match="ConfigMap 'trial-template', which is not at hand"):
        legacy.convert(old(), parse)


@pytest.mark.parametrize(
    ("template", "part"),
    [
        ("a: 1\n{{if .Trial}}x{{end}}", "line 2: {{if .Trial}} is not understood"),
        ("a: 1\nb: {{.Trial | upper}}", "line 2: {{.Trial | upper}} is not understood"),
        ("a: {{$x := .Trial}}", "line 1:"),
        ("a: {{range $i, $v := .HyperParameters}}{{end}}", "is not understood"),
        ("a: {{.Nothing}}", "line 1: there is no .Nothing here; there is .Experiment, .Trial"),
        ("{{with .Trial}}", "line 1: {{with}} is never ended"),
        ("{{end}}", "ends nothing"),
        ("a: {{.HyperParameters}}", "go through it with range"),
        ("{{range .Trial}}{{end}}", "range needs a list"),
        ("a: {{ .Trial", "not understood or not closed"),
        ("a: [1", "is not valid YAML"),
        ("text", "one Kubernetes object"),
        ("apiVersion: batch/v1\nkind: CronJob", "kind 'CronJob' cannot be converted"),
        ("apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: []}}}", "cannot be converted"),
    ],
)
def test_what_cannot_be_converted(template: str, part: str) -> None:
    """Any other Go construct is refused with its line and the field it stands in."""
    with pytest.raises(errors.InvalidError) as caught:
        legacy.convert(old(template), parse)
    assert part in str(caught.value)
    assert caught.value.problems[0].path == "spec.trialTemplate.goTemplate.rawTemplate"


@pytest.mark.parametrize(
    "parameters", [[{"name": "--lr"}, {"name": "lr"}], [{"name": "--"}], [{"name": 5}], [{"name": "a}"}], ["x"]]
)
def test_bad_parameter_names(parameters: list[Any]) -> None:
    """Names that would fall together or cannot be placeholders are refused."""
    with pytest.raises(errors.InvalidError, match=r"spec\.parameters\[\d\]\.name"):
        legacy.convert(old(JOB % LOOP, parameters=parameters), parse)


def test_nas() -> None:
    """Architecture search takes its values from the algorithm; algorithms that are gone are named."""
    made = legacy.convert(
        old(JOB % LOOP, parameters=None, nasConfig={"graphConfig": {}}, algorithm={"algorithmName": "enas"}), parse
    )
    assert [p["reference"] for p in made["spec"]["trialTemplate"]["trialParameters"]] == ["architecture", "nn_config"]
    with pytest.raises(errors.InvalidError, match="nasrl"):
        legacy.convert(
            old(JOB % LOOP, parameters=None, nasConfig={"x": 1}, algorithm={"algorithmName": "nasrl"}), parse
        )


def test_go_template_whitespace() -> None:
    """Trim marks eat white space on their side only, as Go does; comments vanish."""
    text = "a  {{- /* note */ -}}  b {{ .X }}\n{{- range .L }}\n- {{.}}{{$.X}}\n{{- end }}\n"
    assert gotemplate.execute(text, {"X": "x", "L": ["1", "2"]}) == "ab x\n- 1x\n- 2x\n"
    assert gotemplate.execute("{{with .E}}no{{end}}{{with .X}}{{.}}{{end}}", {"E": "", "X": "x"}) == "x"


@pytest.mark.slow
def test_go_template_output_is_bounded() -> None:
    """Nested loops cannot make an endless output."""
    loops = "{{range $.L}}" * 8 + "x" + "{{end}}" * 8
    with pytest.raises(gotemplate.TemplateProblem, match="larger"):
        gotemplate.execute(loops, {"L": ["."] * 100})


FLAT = """
apiVersion: kubeflow.org/v1beta1
kind: Suggestion
metadata: {name: bo, namespace: kubeflow, labels: {controller-tools.k8s.io: "1.0"}}
spec: {algorithmName: bayesianoptimization, requests: 12, resumePolicy: LongRunning}
status:
  suggestionCount: 1
  suggestions:
  - name: bayesianoptimization-example-9xms9qr9
    parameterAssignments:
    - {name: lr, value: "0.013988097299564232"}
"""


def test_the_articles_suggestion_and_trial() -> None:
    """Flat algorithm names and the old label key are read as today's fields; all else stays."""
    document = parse(FLAT)
    assert legacy.is_old(document)
    made = legacy.convert(document, parse)
    assert made["spec"] == {
        "algorithm": {"algorithmName": "bayesianoptimization"},
        "requests": 12,
        "resumePolicy": "LongRunning",
    }
    assert made["status"] == document["status"]
    assert meta.dump(kinds.load(made)) == made
    trial = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Trial",
        "metadata": {"name": "t", "labels": {"experiment": "e", "a": "b"}},
        "spec": {},
    }
    converted = legacy.convert(trial, parse)
    assert converted["metadata"]["labels"] == {"katib.kubeflow.org/experiment": "e", "a": "b"}
    assert not legacy.is_old(converted)


def test_old_observations() -> None:
    """One number a metric becomes three texts."""
    status = {"observation": {"metrics": [{"name": "acc", "value": 0.5}]}}
    trial = {
        "apiVersion": "kubeflow.org/v1alpha3",
        "kind": "Trial",
        "metadata": {"name": "t"},
        "spec": {},
        "status": status,
    }
    made = legacy.convert(trial, parse)
    assert made["status"]["observation"]["metrics"] == [{"name": "acc", "latest": "0.5", "max": "0.5", "min": "0.5"}]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kind": "Job", "apiVersion": "batch/v1"},
        {"kind": "Experiment"},
        {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "spec": 5},
    ],
)
def test_everything_else_is_not_old(document: dict[str, Any]) -> None:
    """Documents of today, of other kinds and broken ones pass through untouched."""
    assert not legacy.is_old(document)
    assert legacy.convert(document, parse) is document
