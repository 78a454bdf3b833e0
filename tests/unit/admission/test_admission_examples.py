"""Katib's published examples: each is accepted, or refused for a reason that is written down here."""

from pathlib import Path

import pytest

from kuttab.admission import chain, yaml
from kuttab.base import errors
from unit.admission import catalogues

FOLDER = Path(__file__).parents[4] / "shared" / "katib-examples"
FILES = sorted(FOLDER.glob("*/*.yaml")) if FOLDER.exists() else []
EXPERIMENTS = [path for path in FILES if path.parent.name != "support"]

REFUSED = {
    "simple-pbt.yaml": {
        "spec.maxFailedTrialCount": "3 is more than spec.maxTrialCount, which is 2",  # Katib's own rule
    },
    "pipeline-run.yaml": {
        # The template writes $(trialParameters.lr), which Katib's rule does not take for a placeholder.
        "spec.trialTemplate.trialParameters[0].name": "which must be written with braces",
    },
    "trial-configmap-source.yaml": {
        # Names parameters that the published ConfigMap does not have; Katib refuses it as well.
        "spec.trialTemplate.configMap:spec.template.spec.containers[0].command[5]": "trialParameters.momentum",
        "spec.trialTemplate.trialParameters[1].name": "does not occur in the template",
        "spec.trialTemplate.trialParameters[2].name": "does not occur in the template",
    },
}
WARNED = {"hyperband.yaml": ["num-epochs is constant"]}

pytestmark = pytest.mark.skipif(not FILES, reason="the folder of Katib's examples is not beside the checkout")


@pytest.fixture(name="catalogue")
def _catalogue() -> catalogues.ShippedCatalogue:
    """The shipped ConfigMap of templates is there."""
    found = yaml.load((FOLDER / "support" / "trial-templates-configmap.yaml").read_bytes())[0].value
    return catalogues.ShippedCatalogue(config_maps={("kubeflow", "trial-templates"): found["data"]})


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_example(path: Path, catalogue: catalogues.ShippedCatalogue) -> None:
    """A published example is accepted as it is, or refused at exactly the fields that are known to be wrong."""
    (document,) = yaml.load(path.read_bytes(), path.name)
    wanted = REFUSED.get(path.name)
    if wanted is None:
        admitted = chain.admit(document.value, catalogue=catalogue, user="alice")
        assert len(admitted.warnings) == len(WARNED.get(path.name, []))
        for says, warning in zip(WARNED.get(path.name, []), admitted.warnings, strict=True):
            assert says in warning
        return
    with pytest.raises(errors.InvalidError) as caught:
        chain.admit(document.value, catalogue=catalogue, user="alice")
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert found.keys() == wanted.keys()
    for field, says in wanted.items():
        assert says in found[field]
    assert all(document.line_of(problem.path) > (1, 1) for problem in caught.value.problems)


def test_corrected_examples_are_accepted(catalogue: catalogues.ShippedCatalogue) -> None:
    """The refused examples are accepted once the named fields are put right."""
    (pbt,) = yaml.load((FOLDER / "hp-tuning" / "simple-pbt.yaml").read_bytes())
    pbt.value["spec"]["maxFailedTrialCount"] = 2
    assert chain.admit(pbt.value, catalogue=catalogue).warnings == []
    (tekton,) = yaml.load(
        (FOLDER / "tekton" / "pipeline-run.yaml")
        .read_text()
        .replace("$(trialParameters.lr)", "${trialParameters.learningRate}")
    )
    assert chain.admit(tekton.value, catalogue=catalogue).warnings == []


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "support"], ids=lambda path: path.name)
def test_support_files_are_read(path: Path, catalogue: catalogues.ShippedCatalogue) -> None:
    """ConfigMaps and configuration beside an experiment are read, and admission lets foreign kinds pass."""
    (document,) = yaml.load(path.read_bytes(), path.name)
    admitted = chain.admit(document.value, catalogue=catalogue, user="alice")
    assert admitted.object.kind == document.value["kind"]
    assert admitted.warnings == []
