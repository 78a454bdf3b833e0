"""Rows 124 to 148: images, commands, placeholders, conditions, sizes and counts of a trial template."""

from typing import Any

from kuttab.admission import limits
from unit.admission.manifests.cases import BASE, DROP, MAIN, POD, Rows, changed
from unit.admission.manifests.workload import CONDITIONS, JOB, NAMES, SECURITY, SPEC, T

ROWS = Rows()
rej, ok, warn, inert, elsewhere = ROWS.rej, ROWS.ok, ROWS.warn, ROWS.inert, ROWS.elsewhere

for image in ("169.254.169.254/x", "registry.internal:5000/a/b_c:v1", "x@sha256:" + "a" * 64, "[::1]:5000/x"):
    ok("124", f"image {image[:20]}", {f"{MAIN}.image": image})
for image in ("http://x", "UPPER/Case", "x:", "x y", "a/../b", "x" * 1025, "-x"):
    rej("124", f"image {image[:20]}", {f"{MAIN}.image": image}, f"{MAIN}.image", "is no image reference")
warn("124", "no image", {f"{MAIN}.image": DROP}, "Kubernetes needs one")
ARGS = ["--lr=${trialParameters.rate}", "--depth=${trialParameters.depth}", "--act=${trialParameters.act}"]
NO_COMMAND = {f"{MAIN}.command": DROP, f"{MAIN}.args": ARGS}
rej(
    "125",
    "no command on one machine",
    NO_COMMAND,
    f"{MAIN}.command",
    "nothing here knows which program",
    catalogue={"limits": limits.Limits(needs_command=True)},
)
ok("125", "no command in a cluster, where the log of the pod is read", NO_COMMAND)
ok("126", "command sh alone", {f"{MAIN}.command": ["sh"], f"{MAIN}.args": ARGS})
for word in ("a 'b' \"c\"", "cat <<E\nx\nE", "exec", "true &", "two  words", ""):
    inert("127", f"argument {word!a}", {f"{MAIN}.args": [word]})
ok("128", "command without shell", {f"{MAIN}.command[0]": "/train"})
rej("129", "undeclared placeholder", {f"{MAIN}.args": ["${trialParameters.extra}"]}, f"{MAIN}.args[0]", "has no entry")
rej("129", "placeholder absent", {f"{MAIN}.command[2]": "--lr=1"}, f"{NAMES}[0].name", "does not occur in the template")
rej("129", "trialParameters null", {NAMES: None}, NAMES, "an empty list says")
rej(
    "129",
    "reference to nothing",
    {f"{NAMES}[0].reference": "lrr"},
    f"{NAMES}[0].reference",
    "'lrr' is not in spec.parameters",
)
rej("130", "duplicate name", {f"{NAMES}[1].name": "rate"}, f"{NAMES}[1].name", "twice")
rej("130", "duplicate reference", {f"{NAMES}[1].reference": "lr"}, f"{NAMES}[1].reference", "twice")
rej("131", "name with brace", {f"{NAMES}[0].name": "ra}te"}, f"{NAMES}[0].name", "braces")
rej(
    "131",
    "nested placeholder",
    {f"{MAIN}.args": ["${trialParameters.${trialParameters.rate}}"]},
    f"{MAIN}.args[0]",
    "nested",
)
rej("131", "no name", {f"{NAMES}[0].name": DROP}, f"{NAMES}[0].name", "must be given")
for path, value, at in (
    (f"{SPEC}.kind", "${trialParameters.rate}", f"{SPEC}.kind"),
    (f"{SPEC}.apiVersion", "${trialParameters.rate}", f"{SPEC}.apiVersion"),
    (f"{MAIN}.image", "${trialParameters.rate}", f"{MAIN}.image"),
    (f"{POD}.serviceAccountName", "${trialParameters.rate}", f"{POD}.serviceAccountName"),
    (f"{SECURITY}.procMount", "${trialParameters.rate}", f"{SECURITY}.procMount"),
    (f"{POD}.volumes", [{"name": "${trialParameters.rate}"}], f"{POD}.volumes[0].name"),
    (f"{POD}.nodeSelector", {"${trialParameters.rate}": "x"}, f"{POD}.nodeSelector[${{trialParameters.rate}}]"),
):
    rej("132", f"placeholder in {at.rpartition('.')[2][:20]}", {path: value, **CONDITIONS}, at, "")
rej(
    "133",
    "annotation missing",
    {
        f"{NAMES}[3]": {"name": "note", "reference": "${trialSpec.Annotations[missing]}"},
        f"{MAIN}.args": ["${trialParameters.note}"],
    },
    f"{NAMES}[3].reference",
    "no annotations entry 'missing'",
)
ok(
    "133",
    "annotation there",
    {
        f"{NAMES}[3]": {"name": "note", "reference": "${trialSpec.Annotations[a]}"},
        f"{SPEC}.metadata": {"annotations": {"a": "b"}},
        f"{MAIN}.args": ["${trialParameters.note}"],
    },
)
rej(
    "134",
    "parameter that nobody uses",
    {"spec.parameters[3]": {"name": "extra", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "2"}}},
    NAMES,
    "'extra' would reach no trial",
)
SUCCESS, FAILURE = f"{T}.successCondition", f"{T}.failureCondition"
rej("135", "condition that does not parse", {SUCCESS: 'status.conditions.#(type=="x'}, SUCCESS, "")
rej(
    "135",
    "condition that takes too many steps",
    {SUCCESS: 'spec.template.spec.containers.0.args.#(%"*a*a*a*a*a*a*b")', f"{MAIN}.args": ["a" * 4000] * 50},
    SUCCESS,
    "takes more than 200000 steps",
)
rej("135", "condition of 100 kB", {SUCCESS: "a" * 100_000}, SUCCESS, "at most 4096")
rej("135", "condition with a modifier", {FAILURE: "status|@pretty"}, FAILURE, "")
inert(
    "135",
    "condition that would make a pattern engine slow",
    {SUCCESS: 'status.conditions.#(type%"*a*a*a*a*a*a*a*a*a*b")'},
)
rej(
    "135",
    "no condition for a kind without default",
    {f"{SPEC}.apiVersion": "argoproj.io/v1alpha1", f"{SPEC}.kind": "Workflow"},
    SUCCESS,
    "must be given",
)
rej("136", "condition true at once", {SUCCESS: "spec.template"}, SUCCESS, "holds already")
rej("136", "condition true of the empty object", {SUCCESS: "@this"}, SUCCESS, "holds already")
ok(
    "137",
    "both conditions can hold",
    {SUCCESS: 'status.conditions.#(type=="Complete")', FAILURE: 'status.conditions.#(type=="Complete")'},
)
rej("138", "template of 300 KiB", {f"{MAIN}.args": ["x" * 300 * 1024]}, SPEC, "larger than 256 KiB")
rej("138", "template of 1.4 MB", {f"{MAIN}.args": ["x" * 1_400_000]}, "", "larger than 1000000 bytes")


def deep() -> Any:
    """A template nested 10,000 levels deep."""
    node: Any = "x"
    for _ in range(10_000):
        node = {"a": node}
    return changed(BASE, {f"{JOB}.deep": node})


rej("139", "10,000 levels from a client", {}, "", "nested deeper than 64", document=deep)
rej(
    "139",
    "10,000 levels in a file",
    {},
    "",
    "nested deeper than 64",
    text=lambda: "spec: " + "[" * 10_000 + "]" * 10_000,
)
elsewhere(
    "140",
    "resources beyond quota",
    "quota is asked before a trial starts",
    "tests/flow/test_life.py::test_quota_waits_are_visible_and_rejections_fail_one_trial",
)
ok(
    "140",
    "resources",
    {
        f"{MAIN}.resources": {
            "limits": {"nvidia.com/gpu": 1, "memory": "1Gi", "cpu": 0.5},
            "requests": {"cpu": "${trialParameters.rate}"},
        }
    },
)
ok("141", "ttlSecondsAfterFinished 0", {f"{JOB}.ttlSecondsAfterFinished": 0})
for field in ("activeDeadlineSeconds", "parallelism", "completions", "backoffLimit"):
    rej("142", f"{field} -1", {f"{JOB}.{field}": -1}, f"{JOB}.{field}", "-1 must not be less than 0")
rej(
    "142",
    "cpu -1",
    {f"{MAIN}.resources": {"limits": {"cpu": "-1"}}},
    f"{MAIN}.resources.limits.cpu",
    "must be a quantity of 0 or more",
)
rej("142", "backoffLimit as text", {f"{JOB}.backoffLimit": "3"}, f"{JOB}.backoffLimit", "must be a whole number")
ok("143", "suspend", {f"{JOB}.suspend": True})
warn(
    "144",
    "retain with 10,000 trials",
    {f"{T}.retain": True, "spec.maxTrialCount": 10_000},
    "keeps the workload of every trial",
)
ok("144", "retain with 12 trials", {f"{T}.retain": True})
warn("145", "completions 5", {f"{JOB}.completions": 5}, "set primaryPodLabels to say which one counts")
ok(
    "145",
    "completions 5 with labels",
    {f"{JOB}.completions": 5, f"{T}.primaryPodLabels": {"batch.kubernetes.io/job-completion-index": "0"}},
)
rej(
    "146",
    "restartPolicy Always",
    {f"{POD}.restartPolicy": "Always"},
    f"{POD}.restartPolicy",
    "not one of Never, OnFailure",
)
warn("146", "no restartPolicy", {f"{POD}.restartPolicy": DROP}, "Kubernetes wants Never or OnFailure")
elsewhere(
    "146",
    "initContainer that never ends",
    "only running shows it: the Job's activeDeadlineSeconds ends it",
    "tests/unit/node/test_node_jobs.py::test_deadline_ends_the_process_group",
)
rej(
    "147",
    "finalizers",
    {f"{SPEC}.metadata": {"finalizers": ["a/b"]}},
    f"{SPEC}.metadata.finalizers",
    "must be left out",
)
rej(
    "147",
    "ownerReferences",
    {f"{SPEC}.metadata": {"ownerReferences": [{"uid": "1"}]}},
    f"{SPEC}.metadata.ownerReferences",
    "must be left out",
)
rej(
    "147",
    "finalizers of the pod",
    {f"{JOB}.template.metadata": {"finalizers": ["a/b"]}},
    f"{JOB}.template.metadata.finalizers",
    "must be left out",
)
rej("147", "metadata as list", {f"{SPEC}.metadata": []}, f"{SPEC}.metadata", "must be a mapping, not a list")
rej(
    "148",
    "selector",
    {f"{JOB}.selector": {"matchLabels": {"a": "b"}}, f"{JOB}.manualSelector": True},
    f"{JOB}.selector",
    "must be left out",
)
for label in (
    "job-name",
    "batch.kubernetes.io/job-name",
    "controller-uid",
    "katib.kubeflow.org/experiment",
    "katib.kubeflow.org/trial",
    "kuttab.org/x",
):
    shown = label if "/" not in label else f"[{label}]"
    rej(
        "148",
        f"label {label}",
        {f"{JOB}.template.metadata": {"labels": {label: "x"}}},
        f"{JOB}.template.metadata.labels{'.' if '/' not in label else ''}{shown}",
        "set by the system",
    )
