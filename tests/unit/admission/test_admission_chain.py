"""The door of admission: documents and objects in, objects with warnings or every problem out."""

import copy
import json
import sys
import time
import timeit
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from kuttab.admission import chain, fields, job_schema, limits, report, yaml
from kuttab.api import experiment, kinds, meta
from kuttab.base import errors
from kuttab.rules import template
from unit.admission.catalogues import ShippedCatalogue
from unit.admission.manifests.cases import ACT, BASE, DROP, LR, MAIN, POD, changed

CATALOGUE = ShippedCatalogue()
DIGEST = "kuttab.org/template-digest"
T = "spec.trialTemplate"


def admit(document: Any, **more: Any) -> chain.Admitted:
    """A verdict for a user."""
    return chain.admit(document, catalogue=more.pop("catalogue", CATALOGUE), user=more.pop("user", "alice"), **more)


def problems(document: Any, **more: Any) -> dict[str, str]:
    """Path to message of a refusal."""
    with pytest.raises(errors.InvalidError) as caught:
        admit(document, **more)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_all_problems_at_once() -> None:
    """Wrong types, unknown fields and broken rules are all reported together, each at its path."""
    found = problems(
        changed(BASE, {
            "spec.maxTrialCount": "10", "spec.objectve": {}, "spec.objective": DROP, f"{LR}.min": 0.01, f"{ACT}.list": ["a", 2],
            "spec.algorithm.algorithmName": "rnadom", "spec.parallelTrialCount": 0, f"{MAIN}.imge": "x", "metadata.labels": {"a": 1},
            f"{T}.primaryContainerName": "x", "spec.metricsCollectorSpec": [],
        })
    )  # fmt: skip
    assert found == {
        "spec.objectve": "unknown field; did you mean objective?",
        "metadata.labels.a": "must be text, not the number 1; put quotes round it",
        f"{LR}.min": "must be text, not the number 0.01; put quotes round it",
        f"{ACT}.list[1]": "must be text, not the number 2; put quotes round it",
        "spec.maxTrialCount": 'must be a whole number, not the text "10"; remove the quotes',
        "spec.metricsCollectorSpec": "must be a mapping, not a list",
        "spec.parallelTrialCount": "0 is too small; it must be at least 1",
        "spec.objective": "must be given",
        "spec.algorithm.algorithmName": 'there is no algorithm "rnadom"; did you mean random?',
        f"{T}.primaryContainerName": f'"x" is none of the containers in {POD} (main)',
        f"{MAIN}.imge": "unknown field; did you mean image?",
    }


@pytest.mark.parametrize(
    ("delta", "path", "says"),
    [
        ({"spec": 5}, "spec", "must be a mapping, not the number 5"),
        ({"spec": DROP}, "spec.objective", "must be given"),
        ({"metadata": "x"}, "metadata", 'must be a mapping, not the text "x"'),
        ({"metadata": DROP}, "metadata.name", "must be given"),
        ({"spec.parameters": {"lr": 1}}, "spec.parameters", "must be a list, not a mapping"),
        ({"spec.parameters[0]": "lr"}, "spec.parameters[0]", "must be a mapping"),
        ({"spec.trialTemplate.retain": "yes"}, "spec.trialTemplate.retain", "must be true or false"),
        ({"spec.parallelTrialCount": True}, "spec.parallelTrialCount", "must be a whole number, not true"),
        ({"spec.objective.goal": [1]}, "spec.objective.goal", "must be a number, not a list"),
        ({"spec.objective.objectiveMetricName": ["a"]}, "spec.objective.objectiveMetricName", "must be text, not a list"),
        ({"spec.nasConfig": {"graphConfig": {"inputSizes": ["1"]}}}, "spec.nasConfig.graphConfig.inputSizes[0]", "whole number"),
        ({"spec.trialTemplate.trialSpec": "x"}, "spec.trialTemplate.trialSpec", "must be a mapping"),
        ({"spec.algorithm.algorithmSettings": [{"name": "a"}]}, "spec.algorithm.algorithmSettings[0].value", "must be given"),
        ({"metadata.namespace": "No"}, "metadata.namespace", "is no name of a namespace"),
        ({"metadata.labels": {"a b": "c"}}, "metadata.labels[a b]", "is no key"),
        ({"metadata.labels": {"Bad_/a": "c"}}, "metadata.labels[Bad_/a]", "is no key"),
        ({"metadata.labels": {"a": "b c"}}, "metadata.labels.a", "is no label value"),
        ({"metadata.labels": {"a": "b" * 64}}, "metadata.labels.a", "is no label value"),
        ({"metadata.annotations": {"/": "b"}}, "metadata.annotations[/]", "is no key"),
    ],
)  # fmt: skip
def test_wrong_types_and_names(delta: dict[str, Any], path: str, says: str) -> None:
    """A value of the wrong type is named with what is expected there."""
    assert says in problems(changed(BASE, delta))[path]


def test_nulls_mean_not_given() -> None:
    """Null is read as a field left out, as Kubernetes does."""
    document = changed(
        BASE, {"metadata.creationTimestamp": None, "spec.resumePolicy": None, "metadata.labels": None,
        f"{T}.trialParameters[0].description": None}
    )  # fmt: skip
    admitted = admit(document)
    assert admitted.warnings == []
    assert isinstance(admitted.object, experiment.Experiment)
    assert admitted.object.spec.resume_policy == "Never"


def test_values_in_messages_are_clipped_and_escaped() -> None:
    """A long or binary value cannot flood a terminal or forge a line."""
    text = problems(changed(BASE, {"spec.resumePolicy": "x\n\x1b[31m" + "y" * 1000}))["spec.resumePolicy"]
    assert len(text) < 200
    assert text.isprintable()
    assert "x\\n\\x1b[31m" in text


def test_many_problems_are_counted() -> None:
    """After a hundred problems the rest is only counted."""
    document = changed(BASE, {f"{ACT}.list": ["a"] * 500})
    with pytest.raises(errors.InvalidError) as caught:
        admit(document)
    assert len(caught.value.problems) == report.MAX_PROBLEMS + 1
    assert caught.value.problems[-1].message == "and 399 more problems"
    assert caught.value.subject == "Experiment sound"


def test_object_in_object_out() -> None:
    """A typed object gets the same verdict as its document, and the document is left as it was."""
    document = copy.deepcopy(BASE)
    from_document = admit(document)
    assert document == BASE
    assert admit(experiment.Experiment.load(BASE)) == from_document
    with_extra = experiment.Experiment.load(changed(BASE, {"spec.foo": 1}))
    assert problems(with_extra) == {"spec.foo": "unknown field"}


def test_list_in_distribution() -> None:
    """The list that an old client puts into distribution is read as the list, with a warning."""
    document = changed(BASE, {ACT: {"distribution": ["relu", "tanh"]}})
    before = copy.deepcopy(document)
    admitted = admit(document)
    assert document == before
    assert admitted.warnings == [
        f"{ACT}.distribution: holds a list of values, as an old client sends it; it is read as list"
    ]
    assert isinstance(admitted.object, experiment.Experiment)
    assert admitted.object.spec.parameters is not None
    assert admitted.object.spec.parameters[2].feasible_space.choices == ["relu", "tanh"]
    assert admitted.object.spec.parameters[2].feasible_space.distribution == "uniform"
    assert problems(changed(BASE, {f"{LR}.distribution": ["a"]})) == {f"{LR}.distribution": "must be text, not a list"}


@pytest.mark.parametrize("document", [None, [], "x", 5])
def test_no_mapping(document: Any) -> None:
    """What is no object at all is refused."""
    assert problems(document) == {"": "must be a mapping with apiVersion and kind"}


def test_keys_that_are_no_text() -> None:
    """A mapping built in Python may have other keys; JSON has not."""
    assert problems(changed(BASE, {"spec.trialTemplate.trialSpec.x": {1: 2}})) == {"": "holds a key that is no text: 1"}


def test_half_surrogates_have_a_path() -> None:
    """Text that cannot be stored is refused where it stands."""
    found = problems(changed(BASE, {f"{MAIN}.args": ["ok", "\ud800"], f"{T}.trialParameters[0].description": "grün"}))
    assert found == {f"{MAIN}.args[1]": '"\\ud800" holds half of a surrogate pair, which is no text'}
    assert list(problems(changed(BASE, {"metadata.annotations": {"\ud800": "x"}}))) == ["metadata.annotations"]


def test_foreign_kinds_pass() -> None:
    """Admission judges Experiments, Suggestions and Trials; the rest is the store's business."""
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    assert meta.dump(admit(document).object) == document
    job = meta.Resource.model_validate({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": {}})
    assert admit(job).object is job
    other = {"apiVersion": "example.org/v1", "kind": "Experiment", "metadata": {"name": "a"}, "spec": {"own": 1}}
    assert meta.dump(admit(other).object) == other
    assert "metadata.name" in problems({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": 5}})
    assert "metadata" in problems({"apiVersion": "v1", "kind": "ConfigMap", "metadata": 5})


def test_delete_is_never_refused() -> None:
    """An object that would not be accepted today can still be deleted."""
    old = changed(BASE, {"spec.algorithm.algorithmName": "gone", "spec.unknown": 1})
    assert admit(old, operation="DELETE").object.name == "sound"
    stored = experiment.Experiment.load(old)
    assert admit(stored, operation="DELETE").object is stored


def test_update_needs_the_stored_object() -> None:
    """Forgetting to hand in the stored object is an error of the caller, not a verdict."""
    with pytest.raises(TypeError, match="needs the stored object"):
        admit(BASE, operation="UPDATE")


def test_status_cannot_be_written_here() -> None:
    """Status is dropped on create and kept on update."""
    claimed = changed(BASE, {"status": {"trials": 99}})
    old = admit(claimed).object
    assert "status" not in meta.dump(old)
    stored = kinds.load({**meta.dump(old), "status": {"trials": 3}})
    updated = admit(claimed, old=stored, operation="UPDATE").object
    assert meta.dump(updated)["status"] == {"trials": 3}


def test_deletion_is_not_held_up() -> None:
    """While an experiment is being deleted, its finalizers can be removed although namespace and algorithm are gone."""

    class Nothing(ShippedCatalogue):
        def algorithm_names(self) -> list[str]:
            return []

    old = kinds.load({**meta.dump(admit(BASE).object), "metadata": {**BASE["metadata"], "finalizers": ["a/b"]}})
    gone = meta.evolve(
        old, metadata=meta.evolve(old.metadata, finalizers=None, deletion_timestamp="2026-01-01T00:00:00Z")
    )
    namespace = limits.Namespace(labels={}, terminating=True)
    assert admit(gone, old=old, operation="UPDATE", catalogue=Nothing(), namespace=namespace).warnings == []


def test_labels_of_the_system_stay_through_an_update() -> None:
    """What the system has written is not held against the user who sends the object back."""
    system = changed(
        BASE,
        {
            "metadata.annotations": {DIGEST: "abc"},
            "metadata.labels": {"katib.kubeflow.org/x": "y"},
        },
    )
    old = admit(system, user=limits.SYSTEM_USER).object
    assert admit(old, old=old, operation="UPDATE").object == old
    other = changed(meta.dump(old), {"metadata.annotations": {DIGEST: "def"}})
    assert list(problems(other, old=old, operation="UPDATE")) == ["metadata.annotations[kuttab.org/template-digest]"]


def test_applying_the_same_manifest_again() -> None:
    """A manifest whose template is in a ConfigMap can be applied again, also when the ConfigMap has gone meanwhile."""
    text = yaml.load_one('{"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": {}}}}')
    text["spec"]["template"]["spec"] = changed(BASE, {})["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"][
        "spec"
    ]
    source = {"configMapName": "m", "configMapNamespace": "team", "templatePath": "k"}
    document = changed(BASE, {f"{T}.trialSpec": DROP, f"{T}.configMap": source})
    catalogue = ShippedCatalogue(config_maps={("team", "m"): {"k": json.dumps(text)}})
    old = admit(document, catalogue=catalogue).object
    assert admit(document, old=old, operation="UPDATE").object == old
    moved = changed(document, {f"{T}.configMap.templatePath": "other"})
    assert f"{T}.configMap.templatePath" in problems(moved, old=old, operation="UPDATE")


def test_unknown_fields_of_a_workload_when_not_strict() -> None:
    """A field that a newer Kubernetes may know is kept with a warning when the user asks for that."""
    admitted = admit(changed(BASE, {f"{POD}.shinyNewField": 1}), strict=False)
    assert admitted.warnings == [f"{POD}.shinyNewField: unknown field"]
    assert isinstance(admitted.object, experiment.Experiment)
    template_ = admitted.object.spec.trial_template
    assert template_ is not None
    assert template_.trial_spec is not None
    assert template_.trial_spec["spec"]["template"]["spec"]["shinyNewField"] == 1


def test_algorithm_has_its_say_on_counts() -> None:
    """A change of counts is shown to the algorithm, whose problems are refusals like any other."""

    class Picky(ShippedCatalogue):
        def check_algorithm(self, subject: experiment.Experiment) -> list[errors.Problem]:
            parallel = subject.spec.parallel_trial_count or 0
            return [errors.Problem("spec.parallelTrialCount", "must be even")] if parallel % 2 else []

    old = admit(changed(BASE, {"spec.parallelTrialCount": 2}), catalogue=Picky()).object
    assert admit(changed(BASE, {"spec.parallelTrialCount": 4}), old=old, operation="UPDATE", catalogue=Picky())
    assert problems(BASE, old=old, operation="UPDATE", catalogue=Picky()) == {"spec.parallelTrialCount": "must be even"}


@pytest.mark.parametrize(
    ("nas", "path", "says"),
    [
        ({"graphConfig": {"numLayers": 0}}, "spec.nasConfig.graphConfig.numLayers", "between 1 and"),
        ({"graphConfig": {"inputSizes": [0]}}, "spec.nasConfig.graphConfig.inputSizes[0]", "more than 0"),
        ({"operations": [{}]}, "spec.nasConfig.operations[0].operationType", "must be given"),
        ({"operations": [{"operationType": "a"}] * 2}, "spec.nasConfig.operations[1].operationType", "is there twice"),
        ({"operations": [{"operationType": f"o{i}"} for i in range(1001)]}, "spec.nasConfig.operations", "more than 1000"),
        ({"operations": [{"operationType": "a", "parameters": [{"name": "b", "parameterType": "categorical"}]}]},
         "spec.nasConfig.operations[0].parameters[0].feasibleSpace.list", "at least one value"),
    ],
)  # fmt: skip
def test_architecture_search(nas: dict[str, Any], path: str, says: str) -> None:
    """The space of an architecture search obeys the same rules as any other."""
    assert says in problems(changed(BASE, {"spec.parameters": DROP, "spec.nasConfig": nas}))[path]


def test_a_typical_experiment_is_fast() -> None:
    """A verdict costs less than two milliseconds of processor time (0.5 ms on the machine it was written on)."""
    if sys.gettrace() is not None:
        pytest.skip("a tracer is running, which makes every line slower")
    best = min(timeit.repeat(lambda: admit(BASE), timer=time.process_time, number=40, repeat=5)) / 40
    assert best < 0.002


# Whole-room invariants

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["", "1e999", "${trialParameters.rate}", "\ud800", "../..", "status", "0", "-1", "lr", "(a)(b)", "Job"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.just("\ud800"), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(node: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a document."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [above] * bool(above) + [place for key, value in items for place in places(value, (*above, key))]


FULL = changed(BASE, {
    "spec.earlyStopping": {"algorithmName": "medianstop"}, "spec.resumePolicy": "Never",
    "spec.metricsCollectorSpec": {"collector": {"kind": "File"}, "source": {
        "fileSystemPath": {"path": "/logs/m", "kind": "File", "format": "TEXT"}, "filter": {"metricsFormat": [r"(\w+)=(\d+)"]},
        "httpGet": {"port": 1, "path": "/", "httpHeaders": [{"name": "a", "value": "b"}]}}},
    f"{MAIN}.env": [{"name": "A", "value": "b"}], f"{MAIN}.securityContext": {"capabilities": {"add": ["CHOWN"]}, "privileged": False},
    f"{MAIN}.resources": {"limits": {"cpu": "1"}}, f"{MAIN}.volumeMounts": [{"name": "v", "mountPath": "/v"}],
    f"{POD}.volumes": [{"name": "v", "emptyDir": {}}], f"{POD}.securityContext": {"sysctls": [{"name": "x"}],
        "seLinuxOptions": {"type": ""}},
    f"{T}.primaryPodLabels": {"a": "b"}, f"{T}.trialSpec.metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}},
    "spec.objective.metricStrategies": [{"name": "loss", "value": "latest"}],
})  # fmt: skip
PLACES = places(FULL)


@pytest.mark.slow
@hypothesis.given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
@hypothesis.settings(max_examples=300, deadline=None, derandomize=True)
def test_any_document_gets_a_verdict(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Whatever stands where, the answer is an object that is accepted again unchanged, or a refusal with paths; never a crash."""
    document = copy.deepcopy(FULL)
    for place, value in changes:
        node: Any = document
        for step in place[:-1]:
            node = (
                node[step]
                if (isinstance(node, dict) and step in node)
                or (isinstance(node, list) and isinstance(step, int) and step < len(node))
                else None
            )
        if isinstance(node, dict) or (isinstance(node, list) and isinstance(place[-1], int) and place[-1] < len(node)):
            node[place[-1]] = value
    try:
        admitted = admit(document)
    except errors.InvalidError as error:
        refused, text = error.problems, str(error)
    else:
        refused, text = [], ""
        assert admit(admitted.object).object == admitted.object
        meta.dump_bytes(admitted.object)
    assert bool(refused) == bool(text)
    assert text.isprintable()
    assert len(text) < 250_000


SMALL = st.integers(-5, 5).map(str)


@hypothesis.given(
    SMALL,
    SMALL,
    SMALL | st.just(""),
    st.sampled_from(["int", "double"]),
    st.sampled_from(["uniform", "logUniform", "normal", "logNormal"]),
)
@hypothesis.settings(max_examples=200, deadline=None, derandomize=True)
def test_admitted_spaces_render(low: str, high: str, step: str, kind: str, distribution: str) -> None:
    """Every assignment of an admitted space renders to a job whose fields and types are right."""
    space = {"min": low, "max": high, "distribution": distribution, **({"step": step} if step else {})}
    document = changed(BASE, {LR: space, "spec.parameters[0].parameterType": kind})
    try:
        subject = admit(document).object
    except errors.InvalidError:
        return
    assert isinstance(subject, experiment.Experiment)
    given = subject.spec.trial_template
    assert given is not None
    assert given.trial_spec is not None
    for value in (low, high):
        made = template.render(
            given, given.trial_spec, {"lr": value, "layers": "2", "act": "relu"}, name="t-1", namespace="team"
        )
        found = report.Report()
        job_schema.check(made, "", found)
        assert found.problems == []


@hypothesis.given(
    st.binary(max_size=60) | st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,? \n\t<01.", max_size=40).map(str.encode)
)
@hypothesis.settings(max_examples=500, deadline=None, derandomize=True)
def test_any_text_is_read_or_refused(text: bytes) -> None:
    """Reading never ends in anything but documents or a refusal."""
    try:
        documents = yaml.load(text)
    except errors.InvalidError as error:
        (refused,) = error.problems
        assert refused.message
        return
    assert all(isinstance(document.value, dict) for document in documents)


def test_decoding_keeps_what_can_be_read() -> None:
    """A field of a wrong type is named and left out, so that the rest can be judged too."""
    obj, found = fields.decode(
        {"apiVersion": "v1", "kind": "x", "spec": {"maxTrialCount": "1", "parallelTrialCount": 2}}, kinds.EXPERIMENT
    )
    assert isinstance(obj, experiment.Experiment)
    assert (obj.spec.max_trial_count, obj.spec.parallel_trial_count) == (None, 2)
    assert [problem.path for problem in found] == ["spec.maxTrialCount"]
    assert fields.decode({"kind": "x"}, kinds.JOB)[0] is None
