"""Rows 107 to 148: the trial template."""

from typing import Any

from kuttab.admission import limits
from unit.admission.manifests.cases import BASE, DROP, MAIN, POD, Rows, changed

ROWS = Rows()
rej, ok, warn, inert, elsewhere = ROWS.rej, ROWS.ok, ROWS.warn, ROWS.inert, ROWS.elsewhere

T = "spec.trialTemplate"
SPEC = f"{T}.trialSpec"
JOB = f"{SPEC}.spec"
NAMES = f"{T}.trialParameters"
SOURCE = {"configMapName": "templates", "configMapNamespace": "team", "templatePath": "job.yaml"}
CONDITIONS = {
    f"{T}.successCondition": 'status.conditions.#(type=="Complete")#|#(status=="True")#',
    f"{T}.failureCondition": 'status.conditions.#(type=="Failed")#|#(status=="True")#',
}
FROM_MAP = {SPEC: DROP, f"{T}.configMap": SOURCE}
TEXT = """
apiVersion: batch/v1
kind: Job
spec:
  template:
    spec:
      containers:
        - name: main
          image: t:1
          command: [python3, train.py, "${trialParameters.rate}", "${trialParameters.depth}", "${trialParameters.act}"]
      restartPolicy: Never
"""


def held(text: str = TEXT, key: str = "job.yaml") -> dict[str, Any]:
    """A catalogue with the ConfigMap."""
    return {"config_maps": {("team", "templates"): {key: text, "secret": "canary-of-other-data"}}}


def kind(version: str, name: str) -> dict[str, Any]:
    """The template as another kind, with conditions."""
    return {f"{SPEC}.apiVersion": version, f"{SPEC}.kind": name, **CONDITIONS}


rej("107", "no trialTemplate", {T: DROP}, T, "must be given")
rej("108", "trialSpec and configMap", {f"{T}.configMap": SOURCE}, T, "give one of the two")
rej("108", "neither", {SPEC: DROP, **CONDITIONS}, T, "needs trialSpec or configMap")
for name in SOURCE:
    rej(
        "108",
        f"configMap without {name}",
        {SPEC: DROP, f"{T}.configMap": {k: v for k, v in SOURCE.items() if k != name}},
        f"{T}.configMap.{name}",
        "must be given",
        catalogue=held(),
    )
rej(
    "109",
    "configMap of another namespace",
    {SPEC: DROP, f"{T}.configMap": {**SOURCE, "configMapNamespace": "other"}},
    f"{T}.configMap.configMapNamespace",
    "is another namespace",
    catalogue={"config_maps": {("other", "templates"): {"job.yaml": "canary-of-other-data"}}},
)
ok("109", "configMap of the own namespace", FROM_MAP, catalogue=held())
rej("110", "configMap missing", FROM_MAP, f"{T}.configMap.configMapName", "does not exist")
rej(
    "110",
    "path missing",
    FROM_MAP,
    f"{T}.configMap.templatePath",
    "has no key 'job.yaml'",
    catalogue=held(key="other.yaml"),
)
rej(
    "110",
    "unreadable template",
    FROM_MAP,
    f"{T}.configMap.templatePath",
    "(line 2)",
    catalogue=held("canary-of-other-data: {\n"),
)
rej("110", "template is a list", FROM_MAP, f"{T}.configMap.templatePath", "", catalogue=held("- a"))
rej(
    "110",
    "template with a placeholder too many",
    FROM_MAP,
    f"{T}.configMap:spec.template.spec.containers[0].command[2]",
    "has no entry",
    catalogue=held(TEXT.replace("rate", "momentum")),
)
elsewhere("111", "configMap edited later", "the digest is kept by the experiment controller: tests of controllers")
rej("112", "metadata.name", {f"{SPEC}.metadata": {"name": "x"}}, f"{SPEC}.metadata.name", "must be left out")
rej(
    "112",
    "metadata.namespace",
    {f"{SPEC}.metadata": {"namespace": "x"}},
    f"{SPEC}.metadata.namespace",
    "must be left out",
)
rej("113", "no apiVersion", {f"{SPEC}.apiVersion": DROP, **CONDITIONS}, f"{SPEC}.apiVersion", "must be given")
rej("113", "no kind", {f"{SPEC}.kind": DROP, **CONDITIONS}, f"{SPEC}.kind", "must be given")
for version, name in (
    ("v1", "Secret"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("v1", "Namespace"),
    ("v1", "Node"),
    ("v1", "Pod"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("apps/v1", "Deployment"),
    ("batch/v1", "CronJob"),
    ("v1", "ServiceAccount"),
    ("v1", "List"),
):
    rej("114", f"kind {name}", kind(version, name), f"{SPEC}.kind", "is no workload that a trial may be")
for name in ("Experiment", "Trial", "Suggestion"):
    rej("115", f"kind {name}", kind("kubeflow.org/v1beta1", name), f"{SPEC}.kind", "is no workload that a trial may be")
rej("116", "kind that nobody allowed", kind("example.org/v1", "Foo"), f"{SPEC}.kind", "an operator can allow it")
ok(
    "116",
    "kind that the operator allowed",
    kind("example.org/v1", "Foo"),
    catalogue={"limits": limits.Limits(workload_kinds={("example.org/v1", "Foo")})},
)
rej(
    "116",
    "kind that this machine cannot run",
    {},
    f"{SPEC}.kind",
    "cannot be run on this machine",
    catalogue={"unsupported_kinds": ["Job"]},
)
elsewhere("116", "kind whose CRD comes later", "needs a cluster: the condition that names the missing CRD")
rej(
    "117",
    "conatiners",
    {f"{POD}.conatiners": [], f"{POD}.containers": DROP},
    f"{POD}.conatiners",
    "unknown field; did you mean containers?",
)
rej(
    "117",
    "imagePullpolicy",
    {f"{MAIN}.imagePullpolicy": "Always"},
    f"{MAIN}.imagePullpolicy",
    "did you mean imagePullPolicy?",
)
rej(
    "117",
    "env value as number",
    {f"{MAIN}.env": [{"name": "A", "value": 1}]},
    f"{MAIN}.env[0].value",
    "must be text, not 1; put quotes round it",
)
rej("117", "argument as number", {f"{MAIN}.args": [64]}, f"{MAIN}.args[0]", "put quotes round it")
rej("117", "containers as mapping", {f"{POD}.containers": {"name": "main"}}, f"{POD}.containers", "must be a list")
rej("117", "no containers", {f"{POD}.containers": []}, f"{POD}.containers", "must be given")
rej("117", "no pod", {JOB: {}}, f"{POD}.containers", "must be given")
rej("117", "no spec", {JOB: DROP}, JOB, "must be given")
rej(
    "118",
    "primary container missing",
    {f"{T}.primaryContainerName": "train"},
    f"{T}.primaryContainerName",
    "none of the containers",
)
INIT = {f"{POD}.initContainers": [{"name": "init", "image": "i:1"}]}
rej(
    "118",
    "primary is an initContainer",
    {**INIT, f"{T}.primaryContainerName": "init"},
    f"{T}.primaryContainerName",
    "none of the containers",
)
rej(
    "118",
    "no primary container name",
    {f"{T}.primaryContainerName": DROP},
    f"{T}.primaryContainerName",
    "must be given",
)
for name in ("metrics-logger-and-collector", "metrics-collector"):
    rej(
        "119",
        f"container {name}",
        {f"{POD}.containers[1]": {"name": name, "image": "x"}},
        f"{POD}.containers[1].name",
        "metrics collector",
    )
for name in ("metrics-volume", "suggestion-volume"):
    rej(
        "119",
        f"volume {name}",
        {f"{POD}.volumes": [{"name": name, "emptyDir": {}}]},
        f"{POD}.volumes[0].name",
        "volume of ours",
    )
rej(
    "119",
    "container twice",
    {f"{POD}.containers[1]": {"name": "main", "image": "x"}},
    f"{POD}.containers[1].name",
    "is there twice",
)
rej(
    "119",
    "container without name",
    {f"{POD}.containers[1]": {"image": "x"}},
    f"{POD}.containers[1].name",
    "must be given",
)
for folder in ("/var/log/katib", "/var/log/katib/", "/var/log/katib/sub"):
    rej(
        "120",
        f"mount at {folder}",
        {f"{MAIN}.volumeMounts": [{"name": "v", "mountPath": folder}]},
        f"{MAIN}.volumeMounts[0].mountPath",
        "where the metrics collector mounts",
    )
ok(
    "120",
    "mount beside",
    {f"{MAIN}.volumeMounts": [{"name": "v", "mountPath": "/var/log/katib2"}, {"name": "v", "mountPath": "/var/log"}]},
)
ok(
    "120",
    "mount with Push",
    {
        f"{MAIN}.volumeMounts": [{"name": "v", "mountPath": "/var/log/katib"}],
        "spec.metricsCollectorSpec.collector.kind": "Push",
    },
)
SECURITY = f"{MAIN}.securityContext"
UNSAFE: list[tuple[str, Any, str]] = [
    (f"{SECURITY}.privileged", True, f"{SECURITY}.privileged"),
    (f"{SECURITY}.capabilities", {"add": ["NET_BIND_SERVICE", "SYS_ADMIN"]}, f"{SECURITY}.capabilities.add[1]"),
    (f"{SECURITY}.procMount", "Unmasked", f"{SECURITY}.procMount"),
    (f"{SECURITY}.seccompProfile", {"type": "Unconfined"}, f"{SECURITY}.seccompProfile.type"),
    (f"{SECURITY}.appArmorProfile", {"type": "Unconfined"}, f"{SECURITY}.appArmorProfile.type"),
    (f"{SECURITY}.seLinuxOptions", {"type": "spc_t"}, f"{SECURITY}.seLinuxOptions.type"),
    (f"{SECURITY}.seLinuxOptions", {"user": "root"}, f"{SECURITY}.seLinuxOptions.user"),
    (f"{SECURITY}.windowsOptions", {"hostProcess": True}, f"{SECURITY}.windowsOptions.hostProcess"),
    (f"{POD}.hostNetwork", True, f"{POD}.hostNetwork"),
    (f"{POD}.hostPID", True, f"{POD}.hostPID"),
    (f"{POD}.hostIPC", True, f"{POD}.hostIPC"),
    (f"{POD}.volumes", [{"name": "h", "hostPath": {"path": "/"}}], f"{POD}.volumes[0].hostPath"),
    (f"{MAIN}.ports", [{"containerPort": 80, "hostPort": 80}], f"{MAIN}.ports[0].hostPort"),
    (
        f"{POD}.securityContext",
        {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]},
        f"{POD}.securityContext.sysctls[0].name",
    ),
    (
        f"{MAIN}.livenessProbe",
        {"httpGet": {"host": "169.254.169.254", "port": 80}},
        f"{MAIN}.livenessProbe.httpGet.host",
    ),
    (
        f"{JOB}.template.metadata",
        {"annotations": {"container.apparmor.security.beta.kubernetes.io/main": "unconfined"}},
        f"{JOB}.template.metadata.annotations[container.apparmor.security.beta.kubernetes.io/main]",
    ),
]
for path, value, at in UNSAFE:
    rej("121", at.rpartition(".spec.")[2], {path: value}, at, "refused by the Pod Security Standard baseline")
    ok(
        "121",
        f"{at.rpartition('.spec.')[2]} where allowed",
        {path: value},
        catalogue={"limits": limits.Limits(pod_security="privileged")},
    )
ok(
    "121",
    "safe settings",
    {
        SECURITY: {
            "privileged": False,
            "capabilities": {"add": ["CHOWN"], "drop": ["ALL"]},
            "procMount": "Default",
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
            "seLinuxOptions": {"type": "container_t"},
        },
        f"{POD}.hostNetwork": False,
        f"{MAIN}.ports": [{"containerPort": 80, "hostPort": 0}],
        f"{MAIN}.env": [{"name": "hostPID", "value": "x"}],
        f"{POD}.nodeSelector": {"hostNetwork": "true"},
        f"{POD}.securityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]},
        f"{JOB}.template.metadata": {"labels": {"hostPath": "x"}, "annotations": {"privileged": "true"}},
    },
)
rej(
    "121",
    "hidden in another kind",
    {
        **kind("argoproj.io/v1alpha1", "Workflow"),
        JOB: {
            "templates": [
                {
                    "container": {
                        "command": ["${trialParameters.rate}", "${trialParameters.depth}", "${trialParameters.act}"],
                        "securityContext": {"privileged": True},
                    }
                }
            ]
        },
    },
    f"{JOB}.templates[0].container.securityContext.privileged",
    "refused by the Pod Security Standard",
)
SHARE = f"{POD}.shareProcessNamespace"
rej("122", "shareProcessNamespace false", {SHARE: False}, SHARE, "keeps the collector StdOut from seeing the program")
ok("122", "shareProcessNamespace false with Push", {SHARE: False, "spec.metricsCollectorSpec.collector.kind": "Push"})
rej(
    "123",
    "user who may not create Jobs",
    {f"{POD}.serviceAccountName": "strong"},
    SPEC,
    'user "mallory" may not create a Job in namespace team',
    user="mallory",
    catalogue={"denied": [("mallory", "Job")]},
)
ok("123", "user who may", {f"{POD}.serviceAccountName": "strong"}, catalogue={"denied": [("mallory", "Job")]})
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
elsewhere("140", "resources beyond quota", "quota is asked before a trial starts: tests of controllers and node")
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
    "146", "initContainer that never ends", "only running shows it: deadlines of node and of the trial controller"
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
