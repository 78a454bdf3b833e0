"""An Experiment written for an older Katib: converted first, then judged like any other."""

import pytest

from kuttab.admission import chain, yaml
from kuttab.api import experiment, legacy
from kuttab.base import errors
from kuttab.rules import template
from unit.admission.catalogues import ShippedCatalogue

OLD = """\
apiVersion: "kubeflow.org/v1alpha2"
kind: Experiment
metadata:
  namespace: team
  name: old
spec:
  maxTrialCount: 12
  objective:
    type: maximize
    goal: 0.99
    objectiveMetricName: Validation-accuracy
  algorithm:
    algorithmName: bayesianoptimization
  trialTemplate:
    goTemplate:
        rawTemplate: |-
          apiVersion: batch/v1
          kind: Job
          metadata:
            name: {{.Trial}}
            namespace: {{.NameSpace}}
          spec:
            template:
              spec:
                containers:
                - name: {{.Trial}}
                  image: example/train
                  command:
                  - "python"
                  - "train.py"
                  {{- with .HyperParameters}}
                  {{- range .}}
                  - "{{.Name}}={{.Value}}"
                  {{- end}}
                  {{- end}}
                restartPolicy: Never
  parameters:
    - name: --lr
      parameterType: double
      feasibleSpace: {min: "0.01", max: "0.03"}
    - name: --optimizer
      parameterType: categorical
      feasibleSpace: {list: [sgd, adam]}
"""


def test_converted_then_admitted() -> None:
    """After conversion the old manifest is accepted without a word, and its trials get the arguments that they always got."""
    document = yaml.load_one(OLD)
    subject = chain.admit(legacy.convert(document, yaml.load_one), catalogue=ShippedCatalogue()).object
    assert isinstance(subject, experiment.Experiment)
    given = subject.spec.trial_template
    assert given is not None
    assert given.trial_spec is not None
    made = template.render(given, given.trial_spec, {"--lr": "0.02", "--optimizer": "adam"}, name="t", namespace="team")
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "train.py", "--lr=0.02", "--optimizer=adam"]
    assert subject.spec.resume_policy == "Never"


def test_not_served_as_it_is() -> None:
    """Without conversion the version is refused and the right one named."""
    with pytest.raises(errors.InvalidError, match=r"v1alpha2\" is not served; write kubeflow.org/v1beta1"):
        chain.admit(yaml.load_one(OLD), catalogue=ShippedCatalogue())
