"""Rows 001 to 055: identity and metadata, counts and budget, objective."""

from kuttab.admission import limits
from kuttab.api import keys
from unit.admission.manifests.cases import DROP, LR, Rows

ROWS = Rows()
rej, ok, warn, inert, elsewhere = ROWS.rej, ROWS.ok, ROWS.warn, ROWS.inert, ROWS.elsewhere

NAME = "metadata.name"
NAMESPACE = "metadata.namespace"
RUNNING = {
    "status": {"trials": 5, "conditions": [{"type": "Running", "status": "True", "reason": "ExperimentRunning"}]}
}


def ended(type_: str, reason: str, policy: str = "LongRunning") -> dict:
    """A stored experiment that has ended after 12 trials."""
    return {
        "spec.resumePolicy": policy,
        "status": {"trials": 12, "conditions": [{"type": type_, "status": "True", "reason": reason}]},
    }


MAXED = ended("Succeeded", keys.EXPERIMENT_MAX_TRIALS_REACHED)

# Identity and metadata
rej("001", "name my_exp", {NAME: "my_exp"}, NAME, "lower-case letters")
rej("002", "name Abc", {NAME: "Abc"}, NAME, "lower-case letters")
rej("003", "name a.b", {NAME: "a.b"}, NAME, "lower-case letters")
rej("004", "name 1exp", {NAME: "1exp"}, NAME, "start with a letter")
rej("005", "name of 41 characters", {NAME: "a" * 41}, NAME, "at most 40")
rej("005", "name of 253 characters", {NAME: "a" * 253}, NAME, "at most 40")
ok("005", "name of 40 characters", {NAME: "a" * 40})
elsewhere(
    "006",
    "colliding child names",
    "names of children are functions of the uid, which a manifest has not",
    "tests/unit/admission/test_admission_table.py::test_row_006_children_of_like_named_experiments_differ",
    "tests/flow/test_accidents.py::test_a_strangers_job_fails_one_trial_and_is_left_alone",
)
ok("007", "only generateName", {NAME: DROP, "metadata.generateName": "sound-"})
rej("007", "neither name nor generateName", {NAME: DROP}, NAME, "must be given")
rej(
    "007",
    "generateName too long",
    {NAME: DROP, "metadata.generateName": "a" * 36},
    "metadata.generateName",
    "at most 35",
)
rej("007", "generateName Abc", {NAME: DROP, "metadata.generateName": "Abc-"}, "metadata.generateName", "lower-case")
rej(
    "008",
    "label of ours",
    {"metadata.labels": {"katib.kubeflow.org/experiment": "other"}},
    "metadata.labels[katib.kubeflow.org/experiment]",
    "set by the system",
)
rej(
    "008",
    "annotation of ours",
    {"metadata.annotations": {"kuttab.org/slot": "1"}},
    "metadata.annotations[kuttab.org/slot]",
    "set by the system",
)
rej(
    "008",
    "label of a subdomain of ours",
    {"metadata.labels": {"pbt.suggestion.katib.kubeflow.org/parent": "x"}},
    "metadata.labels[pbt.suggestion.katib.kubeflow.org/parent]",
    "set by the system",
)
ok(
    "009",
    "foreign owner",
    {"metadata.ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1", "controller": True}]},
)
ok(
    "010",
    "finalizers of ours and of others",
    {"metadata.finalizers": ["update-prometheus-metrics", "example.org/hold"]},
)
ok("011", "status at create", {"status": {"trials": 3, "conditions": [{"type": "Succeeded", "status": "True"}]}})
rej(
    "012",
    "300 KiB of annotations",
    {"metadata.annotations": {"a": "x" * 300 * 1024}},
    "metadata.annotations",
    "at most 262144",
)
rej(
    "013",
    "namespace without label",
    {},
    NAMESPACE,
    "lacks the label katib.kubeflow.org/metrics-collector-injection: enabled",
    namespace=limits.Namespace(labels={}),
)
rej(
    "013",
    "namespace label disabled",
    {},
    NAMESPACE,
    "lacks the label",
    namespace=limits.Namespace({keys.LABEL_INJECTION: "disabled"}),
)
rej("013", "namespace terminating", {}, NAMESPACE, "being deleted", namespace=limits.Namespace(terminating=True))
rej("014", "maxTrailCount", {"spec.maxTrailCount": 10}, "spec.maxTrailCount", "did you mean maxTrialCount?")
rej("014", "snake case", {"spec.max_trial_count": 10}, "spec.max_trial_count", "did you mean maxTrialCount?")
rej("014", "top level", {"sepc": {}}, "sepc", "did you mean spec?")
warn(
    "014",
    "not strict",
    {"spec.maxTrailCount": 10},
    "spec.maxTrailCount: unknown field; did you mean maxTrialCount? (dropped)",
    strict=False,
)
rej("015", "v1alpha3", {"apiVersion": "kubeflow.org/v1alpha3"}, "apiVersion", "write kubeflow.org/v1beta1")
rej("015", "no apiVersion", {"apiVersion": DROP}, "apiVersion", "must be given")
rej("015", "kind 5", {"kind": 5}, "kind", "must be given as text, not 5")
elsewhere(
    "016",
    "re-created while terminating",
    "uids and finalizers are the store's; rows are keyed by uid",
    "src/kuttab/testing/clients_deletion.py::test_finalizers_hold",
    "src/kuttab/testing/clients_deletion.py::test_a_name_is_free_again",
    "src/kuttab/testing/observations.py::test_s19_trials_are_told_apart_by_uid",
)
elsewhere(
    "020",
    "500 experiments in a second",
    "each one is sound; fairness is the queue's",
    "tests/unit/runtime/test_queue.py::test_a_busy_key_goes_behind_those_that_wait",
)

# Counts and budget
COUNT, PARALLEL, FAILED = "spec.maxTrialCount", "spec.parallelTrialCount", "spec.maxFailedTrialCount"
rej("021", "maxTrialCount 0", {COUNT: 0}, COUNT, "at least 1")
rej("022", "maxTrialCount -1", {COUNT: -1}, COUNT, "at least 1")
rej("023", "maxTrialCount 2147483647", {COUNT: 2147483647}, COUNT, "more than the 100000 allowed")
rej("024", "maxTrialCount text", {COUNT: "10"}, COUNT, 'must be a whole number, not the text "10"; remove the quotes')
rej("025", "maxTrialCount 1.5", {COUNT: 1.5}, COUNT, "must be a whole number, not the number 1.5")
rej("026", "maxTrialCount 1e30", {COUNT: 1e30}, COUNT, "must be a whole number")
rej("027", "parallelTrialCount 0", {PARALLEL: 0}, PARALLEL, "at least 1")
rej("027", "parallelTrialCount -3", {PARALLEL: -3}, PARALLEL, "at least 1")
rej("028", "parallel > max", {PARALLEL: 13}, PARALLEL, "13 is more than spec.maxTrialCount, which is 12")
rej("029", "parallel 100000", {PARALLEL: 100_000, COUNT: DROP}, PARALLEL, "more than the 1000 allowed")
rej("030", "maxFailed -1", {FAILED: -1}, FAILED, "at least 0")
rej("031", "maxFailed > max", {FAILED: 13}, FAILED, "13 is more than spec.maxTrialCount, which is 12")
warn(
    "032",
    "no counts and no goal",
    {COUNT: DROP, PARALLEL: DROP, FAILED: DROP, "spec.objective.goal": DROP},
    "nothing bounds",
)
ok("032", "no counts but a goal", {COUNT: DROP, PARALLEL: DROP, FAILED: DROP})
warn(
    "032",
    "default parallel above max",
    {COUNT: 2, PARALLEL: DROP, FAILED: DROP},
    "spec.parallelTrialCount: defaults to 2",
)
ok("033", "maxFailed 0", {FAILED: 0})
warn(
    "034",
    "grid of 6 points, max 12",
    {
        "spec.algorithm": {"algorithmName": "grid"},
        LR: {"min": "0.1", "max": "0.3", "step": "0.1"},
        "spec.parameters[1].feasibleSpace": {"min": "2", "max": "2"},
    },
    "12 trials are more than the 6 points",
)
rej("035", "UPDATE max below trials", {COUNT: 4, PARALLEL: 2}, COUNT, "more than the 5 trials", old=RUNNING)
rej("035", "UPDATE max to trials", {COUNT: 5}, COUNT, "more than the 5 trials", old=RUNNING)
ok("036", "UPDATE parallel up", {PARALLEL: 6}, old=RUNNING)
ok("036", "UPDATE parallel down", {PARALLEL: 1}, old=RUNNING)
ok("036", "UPDATE parallel when all trials exist", {PARALLEL: 1}, old={"status": {"trials": 12}})
ok("036", "UPDATE max up", {COUNT: 20}, old=RUNNING)
ok("036", "UPDATE suspend", {"spec.suspend": True}, old=RUNNING)
ok("036", "UPDATE stop", {"spec.stop": True}, old=RUNNING)
rej("036", "UPDATE parallel over max", {PARALLEL: 13}, PARALLEL, "more than spec.maxTrialCount", old=RUNNING)
for path, value in (
    (f"{LR}.max", "0.06"),
    ("spec.objective.type", "maximize"),
    ("spec.algorithm.algorithmName", "tpe"),
    ("spec.trialTemplate.retain", True),
    ("spec.trialTemplate.trialSpec.spec.backoffLimit", 3),
    ("spec.resumePolicy", "FromVolume"),
):
    rej("037", f"UPDATE {path}", {path: value}, path, "cannot be changed; only parallelTrialCount", old=RUNNING)
rej("037", "UPDATE drops a parameter", {"spec.parameters": []}, "spec.parameters", "cannot be changed", old=RUNNING)
for title, old in (
    ("Failed", ended("Failed", keys.EXPERIMENT_FAILED)),
    ("goal reached", ended("Succeeded", keys.EXPERIMENT_GOAL_REACHED)),
    ("policy Never", ended("Succeeded", keys.EXPERIMENT_MAX_TRIALS_REACHED, "Never")),
):
    policy = old["spec.resumePolicy"]
    rej(
        "038",
        f"UPDATE max after {title}",
        {COUNT: 20, "spec.resumePolicy": policy},
        "spec",
        "cannot be restarted",
        old=old,
    )
ok("038", "UPDATE max after max, LongRunning", {COUNT: 20, "spec.resumePolicy": "LongRunning"}, old=MAXED)
ok("038", "UPDATE without max after max", {COUNT: DROP, "spec.resumePolicy": "LongRunning"}, old=MAXED)
rej(
    "038", "UPDATE parallel after max", {PARALLEL: 1, "spec.resumePolicy": "LongRunning"}, COUNT, "12 trials", old=MAXED
)
rej(
    "038",
    "UPDATE takes stop back",
    {"spec.stop": False, "spec.resumePolicy": "LongRunning"},
    "spec.stop",
    "cannot be taken back",
    old={**MAXED, "spec.stop": True},
)
elsewhere(
    "039",
    "stale resourceVersion",
    "409 is the store's answer",
    "src/kuttab/testing/clients_writes.py::test_update_needs_the_version_it_decided_on",
)
ok(
    "040",
    "UPDATE removes a finalizer",
    {"spec.resumePolicy": "LongRunning"},
    old={**MAXED, "metadata.finalizers": ["a/b"]},
)
ok(
    "040",
    "UPDATE removes a finalizer in a namespace without label",
    {"spec.resumePolicy": "LongRunning"},
    old={**MAXED, "metadata.finalizers": ["a/b"]},
    namespace=limits.Namespace(labels={}),
)

# Objective
METRIC, GOAL, MORE = "spec.objective.objectiveMetricName", "spec.objective.goal", "spec.objective.additionalMetricNames"
STRATEGIES = "spec.objective.metricStrategies"
rej("041", "no objective", {"spec.objective": DROP}, "spec.objective", "must be given")
rej("042", "type max", {"spec.objective.type": "max"}, "spec.objective.type", '"max" is not one of minimize, maximize')
rej("042", "no type", {"spec.objective.type": DROP}, "spec.objective.type", "must be minimize or maximize")
rej("043", "empty metric name", {METRIC: ""}, METRIC, "must be given")
for word in (".nan", ".inf"):
    rej(
        "044",
        f"goal {word} in YAML",
        {},
        "",
        f"{word} has no JSON form",
        text=lambda word=word: f"spec:\n  objective:\n    goal: {word}\n",
    )
rej("044", "goal NaN from a client", {GOAL: float("nan")}, GOAL, "finite")
rej("044", "goal Infinity from a client", {GOAL: float("inf")}, GOAL, "finite")
rej("045", "goal as text", {GOAL: "0.9"}, GOAL, 'must be a number, not the text "0.9"; remove the quotes')
warn("046", "goal 1e308 with minimize", {GOAL: 1e308}, "is reached by any value")
warn("046", "goal -1e308 with maximize", {GOAL: -1e308, "spec.objective.type": "maximize"}, "is reached by any value")
rej("047", "objective among the additional", {MORE: ["accuracy", "loss"]}, f"{MORE}[1]", "is the objective itself")
rej("048", "duplicate additional", {MORE: ["a", "a"]}, f"{MORE}[1]", "is there twice")
rej("048", "empty additional", {MORE: ["a", ""]}, f"{MORE}[1]", "must not be empty")
inert("049", "metric name with ;", {METRIC: "a;b"})
for name in ("a\nb", "a\0b", "a\u202eb"):
    rej("050", f"metric name {name!a}", {METRIC: name}, METRIC, "control or invisible characters")
rej("050", "metric name with blank around", {METRIC: " loss"}, METRIC, "begins or ends with a blank")
rej("051", "metric name of 10,000 characters", {METRIC: "x" * 10_000}, METRIC, "at most 128")
inert("052", "metric name like a flag", {METRIC: "-s-db=evil:1"})
rej(
    "053",
    "strategy of unknown metric",
    {STRATEGIES: [{"name": "lost", "value": "min"}]},
    f"{STRATEGIES}[0].name",
    "did you mean loss?",
)
rej(
    "053",
    "strategy twice",
    {STRATEGIES: [{"name": "loss", "value": "min"}] * 2},
    f"{STRATEGIES}[1].name",
    "is there twice",
)
rej(
    "053",
    "strategy avg",
    {STRATEGIES: [{"name": "loss", "value": "avg"}]},
    f"{STRATEGIES}[0].value",
    "not one of min, max, latest",
)
rej("053", "strategy without value", {STRATEGIES: [{"name": "loss"}]}, f"{STRATEGIES}[0].value", "must be given")
rej("054", "10,000 additional metrics", {MORE: [f"m{i}" for i in range(10_000)]}, MORE, "at most 64")
inert("055", "metric name .*", {METRIC: ".*"})
inert("055", "metric name a(b", {METRIC: "a(b"})
