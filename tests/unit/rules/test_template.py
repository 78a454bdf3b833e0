"""Trial templates: what may be filled, and that values stay values."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kuttab.api import experiment
from kuttab.base import errors
from kuttab.rules import argv, template

EXAMPLES = pathlib.Path(__file__).parents[4] / "shared" / "katib-examples"


def parse(text: str) -> Any:
    """YAML as admission reads it, in short."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise errors.BadInputError(str(error)) from error


def make(tree: dict[str, Any] | None, **references: str) -> experiment.TrialTemplate:
    """A template with trial parameters name=reference."""
    parameters = [{"name": name, "reference": reference} for name, reference in references.items()]
    document: dict[str, Any] = {"trialParameters": parameters, "primaryContainerName": "main"}
    return experiment.TrialTemplate.model_validate(document | ({"trialSpec": tree} if tree else {}))


def job(container: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A Job with one container."""
    tree: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "Job"}
    if metadata:
        tree["metadata"] = metadata
    return tree | {"spec": {"template": {"spec": {"containers": [{"name": "main", **container}]}}}}


def rendered(container: dict[str, Any], **values: str) -> dict[str, Any]:
    """The container after rendering, with each value under the parameter of its own name."""
    tree = job(container)
    made = template.render(make(tree, **{name: name for name in values}), tree, values, name="t", namespace="ns")
    found: dict[str, Any] = made["spec"]["template"]["spec"]["containers"][0]
    return found


def checked(container: dict[str, Any], *names: str) -> list[str]:
    """Problems of a container's template whose parameters refer to parameters of the same names."""
    tree = job(container)
    return [str(p) for p in template.check(make(tree, **{n: n for n in names}), tree, names)]


HOSTILE = [
    '"; rm -rf /tmp/canary #',
    "$(touch canary)",
    "`touch canary`",
    "\n touch canary",
    '","hostNetwork":true,"x":"',
    "${trialParameters.other}",
    "${trialSpec.Name}",
    "$(KATIB_TRIAL_NAME)",
    "$$(KATIB_TRIAL_NAME)",
    "$",
    "$$",
    "{{7*7}}",
    "%s",
    "!!python/object:x",
    "--evil-flag",
    "@/etc/passwd",
    "=cmd|' /C calc'!A0",
    "<script>",
    "\x1b[31m",
    'it\'s "quoted"',
    "\u2028\u00e9\u4e2d",
    "",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_reach_the_program_unchanged(value: str) -> None:
    """[rows 083-088, H-08] Whatever a value looks like, a real process sees the same bytes in argv and environment."""
    program = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['V']]))"
    container = {
        "command": [sys.executable, "-c", program],
        "args": ["--x=${trialParameters.x}", "${trialParameters.x}", "a$${trialParameters.x}"],
        "env": [{"name": "V", "value": "<${trialParameters.x}>"}],
    }
    assert checked(container, "x", "other")[1:] == []  # the first problem is that "other" is not used
    made = rendered(container, x=value)
    variables = {"KATIB_TRIAL_NAME": "expanded"}
    line = [template.expand(item, variables) for item in made["command"] + made["args"]]
    environment = {"V": template.expand(made["env"][0]["value"], variables), "PYTHONUTF8": "1"}
    done = subprocess.run(line, env=environment, capture_output=True, check=True)
    assert json.loads(done.stdout) == [["--x=" + value, value, "a$" + value], f"<{value}>"]


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.sampled_from(["", "a$", "$$", "$("])
)
def test_any_text_survives_expansion(value: str, before: str) -> None:
    """Escaping and Kubernetes' expansion are inverse for every text, whatever the template has in front of it."""
    made = rendered({"args": [before + "${trialParameters.x}"]}, x=value)["args"][0]
    if before != "$(":  # an opened reference is the template author's own
        literal = "$" if before == "$$" else before
        assert template.expand(made, {"HOME": "/", value.strip("()"): "no"}) == literal + value


def test_substitution_is_single_pass() -> None:
    """[row 086] A value that looks like another placeholder is not replaced again, in either order."""
    container = {"args": ["${trialParameters.a} ${trialParameters.b}"]}
    made = rendered(container, a="${trialParameters.b}", b="${trialParameters.a}")
    assert template.expand(made["args"][0], {}) == "${trialParameters.b} ${trialParameters.a}"


def test_render_sets_identity_and_leaves_the_template_alone() -> None:
    """The workload carries the trial's name and namespace; the template's tree is not changed."""
    tree = job({"args": ["${trialParameters.x}"]}, labels={"team": "a"})
    before = json.dumps(tree)
    made = template.render(make(tree, x="lr"), tree, {"lr": "0.1"}, name="trial-1", namespace="team")
    assert made["metadata"] == {"labels": {"team": "a"}, "name": "trial-1", "namespace": "team"}
    assert made["spec"]["template"]["spec"]["containers"][0]["args"] == ["0.1"]
    assert json.dumps(tree) == before
    assert template.placeholders(tree) == {"x"}


def test_metadata_references() -> None:
    """Every ${trialSpec...} reference gives the trial's or the template's metadata, also when written in the template itself."""
    tree = job(
        {
            "args": [f"${{trialParameters.p{i}}}" for i in range(6)] + ["${trialSpec.Name}"],
            "env": [{"name": "L", "value": "${trialSpec.Labels[a.b/c]}"}],
        },
        labels={"a.b/c": "label"},
        annotations={"note": "$note"},
    )
    references = ["Name", "Namespace", "Kind", "APIVersion", "Annotations[note]", "Labels[a.b/c]"]
    subject = make(tree, **{f"p{i}": f"${{trialSpec.{name}}}" for i, name in enumerate(references)})
    assert template.check(subject, tree, []) == []
    container = template.render(subject, tree, {}, name="t1", namespace="ns1")["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert container["args"] == ["t1", "ns1", "Job", "batch/v1", "$$note", "label", "t1"]
    assert container["env"][0]["value"] == "label"


@pytest.mark.parametrize(
    "reference",
    ["${trialSpec.Annotations[missing]}", "${trialSpec.Nome}", "${trialParameters.x}", "x${trialSpec.Name}"],
)
def test_unknown_metadata_reference_is_refused(reference: str) -> None:
    """[row 133] A metadata reference without a value is found before any trial is made."""
    tree = job({"args": ["${trialParameters.x}"]})
    problems = template.check(make(tree, x=reference), tree, [])
    assert [p.path for p in problems] == ["spec.trialTemplate.trialParameters[0].reference"]


def test_quotes_round_a_placeholder_are_dropped() -> None:
    """Architecture-search templates quote for Katib's shell wrapper; the program gets the JSON text as it does there."""
    value = "[[27], [29, 0]] {'num_layers': 8} \"x\""
    container = {
        "command": ["python3", "RunTrial.py", '--architecture="${trialParameters.a}"', "'${trialParameters.a}'"],
        "args": ['--name="${trialParameters.a}" and "more"', '"${trialParameters.a}', 'say "hello world"'],
    }
    made = rendered(container, a=value)
    assert made["command"][2:] == [f"--architecture={value}", value]
    assert made["args"] == [f'--name="{value}" and "more"', f'"{value}', 'say "hello world"']


@pytest.mark.parametrize(
    "container",
    [
        {"command": ["sh", "-c", "train --lr=${trialParameters.x}"]},
        {"command": ["/bin/bash", "-euc", "train --lr=${trialParameters.x}"]},
        {"command": ["env", "A=1", "bash", "-o", "pipefail", "-c", "train --lr=${trialParameters.x}"]},
        {"command": ["sh", "-c"], "args": ["train --lr=${trialParameters.x}"]},
        {"args": ["-c", "train --lr=${trialParameters.x}"]},
        {"command": ["python3.11", "-c", "lr = ${trialParameters.x}"]},
        {"command": ["busybox", "sh", "-c", "train ${trialParameters.x}"]},
    ],
)
def test_program_text_takes_plain_words_only(container: dict[str, Any]) -> None:
    """[rows 083, 084] In shell or Python source a plain value is put in, anything else is refused with advice."""
    assert checked(container, "x") == []
    made = rendered(container, x="0.01")
    assert any("0.01" in item for item in made.get("command", []) + made.get("args", []))
    for value in ("a b", "$(id)", "x;y", "'", "a\nb", "*"):
        with pytest.raises(errors.InvalidError, match="environment variable"):
            rendered(container, x=value)


def test_arguments_after_program_text_are_arguments() -> None:
    """``sh -c 'train "$1"' sh VALUE`` is the safe way to hand a value to a shell, and takes any value."""
    container = {"command": ["sh", "-c", 'printf %s "$1"', "sh", "${trialParameters.x}"]}
    made = rendered(container, x="a b; $(id)")
    line = [template.expand(item, {}) for item in made["command"]]
    assert subprocess.run(line, capture_output=True, check=True).stdout == b"a b; $(id)"
    assert argv.program_texts(["python", "train.py", "-c", "x"]) == set()
    assert argv.program_texts(["sh", "train.sh", "-c", "x"]) == set()


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        (job({"image": "repo:${trialParameters.x}"}), "containers[0].image"),
        (job({"args": ["x"], "securityContext": {"runAsUser": "${trialParameters.x}"}}), "securityContext.runAsUser"),
        (job({"volumeMounts": [{"name": "a", "mountPath": "/${trialParameters.x}"}]}), "mountPath"),
        (job({"command": "train ${trialParameters.x}"}), "containers[0].command"),
        (job({"env": [{"name": "${trialParameters.x}", "value": "1"}]}), "env[0].name"),
        (job({"${trialParameters.x}": "1"}), "containers[0][${trialParameters.x}]"),
        (job({}, labels={"a": "${trialParameters.x}"}), "metadata.labels.a"),
        ({"apiVersion": "batch/v1", "kind": "${trialParameters.x}"}, "trialSpec.kind"),
        ({"apiVersion": "${trialParameters.x}", "kind": "Job"}, "trialSpec.apiVersion"),
    ],
)
def test_forbidden_places(tree: dict[str, Any], path: str) -> None:
    """[row 132] A placeholder where a value would be more than data is refused by check and by render, with its path."""
    problems = template.check(make(tree, x="x"), tree, ["x"])
    assert len(problems) == 1
    assert problems[0].path.endswith(path)
    if "[$" in path:
        return
    with pytest.raises(errors.InvalidError, match="no value may be put here"):
        template.render(make(tree, x="x"), tree, {"x": "1"}, name="t", namespace="n")


def test_counts_and_quantities_are_typed() -> None:
    """Replica counts become numbers and resource quantities are checked; neither takes anything else."""
    tree = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "MPIJob",
        "spec": {
            "mpiReplicaSpecs": {"Worker": {"replicas": "${trialParameters.n}"}},
            "limits": {"cpu": "${trialParameters.c}"},
        },
    }
    subject = make(tree, n="n", c="c")
    assert template.check(subject, tree, ["n", "c"]) == []
    made = template.render(subject, tree, {"n": "4", "c": "500m"}, name="t", namespace="n")
    assert made["spec"] == {"mpiReplicaSpecs": {"Worker": {"replicas": 4}}, "limits": {"cpu": "500m"}}
    for values in ({"n": "-1", "c": "1"}, {"n": "1e3", "c": "1"}, {"n": "1", "c": "1; x"}, {"n": "١", "c": "1"}):
        with pytest.raises(errors.InvalidError):
            template.render(subject, tree, values, name="t", namespace="n")


@pytest.mark.parametrize(
    ("group", "value"), [("argoproj.io/v1alpha1", "{{workflow.name}}"), ("tekton.dev/v1", "$(context.x)")]
)
def test_workflow_engines_cannot_be_spoken_to(group: str, value: str) -> None:
    """[row 086] A value that a workflow engine would read as an expression is refused, as it cannot be escaped there."""
    tree = {"apiVersion": group, "kind": "W", "spec": {"params": [{"name": "a", "value": "${trialParameters.x}"}]}}
    assert template.check(make(tree, x="x"), tree, ["x"]) == []
    assert (
        template.render(make(tree, x="x"), tree, {"x": "$5"}, name="t", namespace="n")["spec"]["params"][0]["value"]
        == "$5"
    )
    with pytest.raises(errors.InvalidError, match="expression"):
        template.render(make(tree, x="x"), tree, {"x": value}, name="t", namespace="n")


def test_parameter_rules() -> None:
    """[rules 28-33, rows 129-131, 134] Each broken entry of trialParameters is named with its path."""
    tree = job(
        {"args": ["${trialParameters.a}", "${trialParameters.undeclared}", "${trialParameters.${trialParameters.a}}"]}
    )
    document = {
        "trialSpec": tree,
        "trialParameters": [
            {"name": "a", "reference": "lr"},
            {"name": "a", "reference": "lr"},
            {"name": "", "reference": ""},
            {"name": "b}", "reference": "nothing"},
            {"name": "c", "reference": "momentum"},
        ],
    }
    subject = experiment.TrialTemplate.model_validate(document)
    problems = {
        (p.path.removeprefix("spec.trialTemplate."), p.message.split(";")[0])
        for p in template.check(subject, tree, ["lr", "momentum", "forgotten"])
    }
    expected = {
        ("trialParameters[1].name", "'a' is used twice"),
        ("trialParameters[1].reference", "'lr' is used twice"),
        ("trialParameters[2].name", "must be given"),
        ("trialParameters[2].reference", "must be given"),
        ("trialParameters[3].name", "must not contain braces or line breaks"),
        ("trialParameters[3].reference", "'nothing' is not in spec.parameters (forgotten, lr, momentum)"),
        ("trialParameters[4].name", "${trialParameters.c} does not occur in the template"),
        ("trialParameters", "search parameter 'forgotten' would reach no trial"),
        (
            "trialSpec.spec.template.spec.containers[0].args[1]",
            "${trialParameters.undeclared} has no entry in spec.trialTemplate.trialParameters",
        ),
        ("trialSpec.spec.template.spec.containers[0].args[2]", "has a placeholder that is nested or not closed"),
    }
    assert expected <= problems


def test_head_rules() -> None:
    """[rules 35, 36, rows 112, 113] apiVersion and kind must be there; name and namespace must not."""
    tree = {"metadata": {"name": "x", "namespace": "y"}, "spec": {}}
    paths = [p.path for p in template.check(make(tree), tree, [])]
    prefix = "spec.trialTemplate.trialSpec"
    assert paths == [
        f"{prefix}.apiVersion",
        f"{prefix}.kind",
        f"{prefix}.metadata.name",
        f"{prefix}.metadata.namespace",
    ]


def test_limits() -> None:
    """[rows 138, 139, 089] Too large, too deep and impossible texts are refused without recursion."""
    big = job({"args": ["x" * 300_000]})
    assert "larger than 256 KiB" in str(template.check(make(big), big, [])[0])
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"a": deep}
    assert "deeper than 64" in str(template.check(experiment.TrialTemplate(trial_parameters=[]), deep, [])[0])
    with pytest.raises(errors.InvalidError):
        template.render(experiment.TrialTemplate(trial_parameters=[]), deep, {}, name="t", namespace="n")
    for value in ("a\0b", "\ud800", "x" * 100_001):
        with pytest.raises(errors.InvalidError, match="value"):
            rendered({"args": ["${trialParameters.x}"]}, x=value)


def test_assignments_must_fit() -> None:
    """A missing or a superfluous assignment fails the rendering with its name instead of running a wrong program."""
    tree = job({"args": ["${trialParameters.x}"]})
    with pytest.raises(errors.InvalidError, match="'lr' has no value"):
        template.render(make(tree, x="lr"), tree, {}, name="t", namespace="n")
    with pytest.raises(errors.InvalidError, match="'more'"):
        template.render(make(tree, x="lr"), tree, {"lr": "1", "more": "2"}, name="t", namespace="n")


def test_function_jobs_need_no_placeholders() -> None:
    """A workload that reads the trial's assignments itself may leave parameters unused in the template."""
    tree = {"apiVersion": "kuttab.org/v1", "kind": "FunctionJob", "spec": {"function": "x"}}
    assert template.check(make(tree), tree, ["lr"]) == []
    assert template.render(make(tree), tree, {"lr": "1"}, name="t", namespace="n")["spec"] == {"function": "x"}


CONFIG = experiment.TrialTemplate.model_validate(
    {
        "configMap": {"configMapName": "m", "configMapNamespace": "ns", "templatePath": "t.yaml"},
        "trialParameters": [{"name": "x", "reference": "lr"}],
    }
)


@pytest.mark.parametrize(
    "line",
    [
        "args: [--lr=${trialParameters.x}]",
        "args: ['--lr=${trialParameters.x}']",
        'args:\n    - "--lr=${trialParameters.x}"',
        "args:\n    - --lr=${trialParameters.x}",
    ],
)
def test_config_map_templates(line: str) -> None:
    """A template in a ConfigMap may have its placeholders quoted or not, in block and in flow style."""
    text = f"apiVersion: batch/v1\nkind: Job\nspec:\n  x:\n  - {line}\n    name: main\n"
    tree = template.source_tree(CONFIG, {"t.yaml": text}, parse)
    assert template.check(CONFIG, tree, ["lr"]) == []
    made = template.render(CONFIG, tree, {"lr": "0: {a}"}, name="t", namespace="n")
    assert made["spec"]["x"][0]["args"] == ["--lr=0: {a}"]


def test_config_map_values_stay_text() -> None:
    """An unquoted placeholder gives text, also for a value that YAML would read as a number or a truth value."""
    text = "apiVersion: v1\nkind: X\nspec: {env: [{name: A, value: ${trialParameters.x}}]}"
    tree = template.source_tree(CONFIG, {"t.yaml": text}, parse)
    for value in ("0.01", "yes", "null", "1e3"):
        made = template.render(CONFIG, tree, {"lr": value}, name="t", namespace="n")
        assert made["spec"]["env"][0]["value"] == value


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (None, "ConfigMap ns/m does not exist"),
        ({"other": "SECRET"}, "has no key 't.yaml'"),
        ({"t.yaml": "a: [SECRET"}, "can be read as YAML"),
        ({"t.yaml": "SECRET"}, "one Kubernetes object"),
    ],
)
def test_config_map_problems_never_show_data(data: dict[str, str] | None, part: str) -> None:
    """[row 110] What is wrong with the ConfigMap is said without what it holds."""
    with pytest.raises(errors.InvalidError, match=part) as caught:
        template.source_tree(CONFIG, data, parse)
    assert "SECRET" not in str(caught.value)
    assert caught.value.problems[0].path.startswith("spec.trialTemplate.configMap.")


def manifests() -> list[pathlib.Path]:
    """The published example manifests, where they are at hand."""
    return sorted(path for path in EXAMPLES.rglob("*.yaml") if path.parent.name != "support")


@pytest.mark.skipif(not EXAMPLES.exists(), reason="Katib's example manifests are not beside this checkout")
def test_published_examples() -> None:
    """Every published template passes and renders, except the two that Katib itself refuses, which are refused with the reason."""
    refused = {}
    config = (
        yaml.safe_load((EXAMPLES / "support" / "trial-templates-configmap.yaml").read_text())["data"]
        if EXAMPLES.exists()
        else {}
    )
    for path in manifests():
        document = yaml.safe_load(path.read_text())
        subject = experiment.Experiment.load(document)
        assert subject.spec.trial_template is not None
        tree = template.source_tree(subject.spec.trial_template, config, parse)
        names = [p.name for p in subject.spec.parameters or ()]
        problems = template.check(subject.spec.trial_template, tree, names)
        if problems:
            refused[path.name] = " ".join(map(str, problems))
            continue
        references = [p.reference for p in subject.spec.trial_template.trial_parameters or ()]
        made = template.render(
            subject.spec.trial_template, tree, dict.fromkeys(references, "7"), name="t", namespace="n"
        )
        assert template.placeholders(made) == set()
    assert set(refused) == {"pipeline-run.yaml", "trial-configmap-source.yaml"}
    assert "$(trialParameters.lr), which must be written with braces" in refused["pipeline-run.yaml"]
    assert "numberLayers" in refused["trial-configmap-source.yaml"]
