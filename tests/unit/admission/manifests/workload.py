"""Rows 107 to 123: the trial template, its kind, and what its pods may not do."""

from typing import Any

from kuttab.admission import limits
from unit.admission.manifests.cases import DROP, MAIN, POD, Rows

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
elsewhere(
    "111",
    "configMap edited later",
    "the experiment controller keeps the first text for the whole run",
    "tests/flow/test_accidents.py::test_the_template_is_the_one_the_experiment_began_with",
)
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
