"""Field names and types of a batch/v1 Job, so that a misspelt one is refused before any trial is made.

The table states what the Kubernetes API (core/v1 and batch/v1, v1.37) has; rarely used parts end in ``any`` and are not looked into.
Types: ``str``, ``bool``, ``int``, ``nat`` (0 or more), ``quantity``, ``map`` (text to text), ``any``, the name of another row, and
``[x]`` for a list of x. A placeholder that is a whole value counts as right: what may stand where is the template's business.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from kuttab.admission import fields, paths
from kuttab.admission.report import FORBIDDEN, Report, nearest, show
from kuttab.api import meta

_TABLE = """
Job: apiVersion=str kind=str metadata=Meta spec=JobSpec status=any
Meta: name=str generateName=str namespace=str selfLink=str uid=str resourceVersion=str generation=int creationTimestamp=any
 deletionTimestamp=any deletionGracePeriodSeconds=int labels=map annotations=map ownerReferences=any finalizers=[str] managedFields=any
JobSpec: parallelism=nat completions=nat activeDeadlineSeconds=nat podFailurePolicy=any successPolicy=any backoffLimit=nat
 backoffLimitPerIndex=nat maxFailedIndexes=nat selector=any manualSelector=bool template=PodTemplate ttlSecondsAfterFinished=nat
 completionMode=str suspend=bool podReplacementPolicy=str managedBy=str scheduling=any
PodTemplate: metadata=Meta spec=PodSpec
PodSpec: volumes=[Volume] initContainers=[Container] containers=[Container] ephemeralContainers=any restartPolicy=str
 terminationGracePeriodSeconds=nat activeDeadlineSeconds=nat dnsPolicy=str nodeSelector=map serviceAccountName=str serviceAccount=str
 automountServiceAccountToken=bool nodeName=str hostNetwork=bool hostPID=bool hostIPC=bool shareProcessNamespace=bool
 securityContext=PodSecurity imagePullSecrets=[Named] hostname=str subdomain=str affinity=Affinity schedulerName=str
 tolerations=[Toleration] hostAliases=any priorityClassName=str priority=int dnsConfig=any readinessGates=any runtimeClassName=str
 enableServiceLinks=bool preemptionPolicy=str overhead=any topologySpreadConstraints=any setHostnameAsFQDN=bool os=any hostUsers=bool
 schedulingGates=any resourceClaims=any resources=Resources hostnameOverride=str workloadRef=any
 schedulingGroup=any evictionResponders=any
Affinity: nodeAffinity=any podAffinity=any podAntiAffinity=any
Toleration: key=str operator=str value=str effect=str tolerationSeconds=int
Named: name=str
PodSecurity: seLinuxOptions=any windowsOptions=any runAsUser=nat runAsGroup=nat runAsNonRoot=bool supplementalGroups=[nat]
 supplementalGroupsPolicy=str fsGroup=nat sysctls=any fsGroupChangePolicy=str seccompProfile=any appArmorProfile=any seLinuxChangePolicy=str
Container: name=str image=str command=[str] args=[str] workingDir=str ports=[Port] envFrom=[EnvFrom] env=[Env] resources=Resources
 resizePolicy=any restartPolicy=str restartPolicyRules=any volumeMounts=[Mount] volumeDevices=any livenessProbe=Probe
 readinessProbe=Probe startupProbe=Probe lifecycle=Lifecycle terminationMessagePath=str terminationMessagePolicy=str imagePullPolicy=str
 securityContext=Security stdin=bool stdinOnce=bool tty=bool
Port: name=str hostPort=nat containerPort=nat protocol=str hostIP=str
Env: name=str value=str valueFrom=EnvSource
EnvSource: fieldRef=any resourceFieldRef=any configMapKeyRef=KeyRef secretKeyRef=KeyRef fileKeyRef=any
KeyRef: name=str key=str optional=bool
EnvFrom: prefix=str configMapRef=SourceRef secretRef=SourceRef
SourceRef: name=str optional=bool
Resources: limits=quantities requests=quantities claims=any
Mount: name=str readOnly=bool recursiveReadOnly=str mountPath=str subPath=str mountPropagation=str subPathExpr=str
 bindMountOptions=any
Probe: exec=any httpGet=any tcpSocket=any grpc=any initialDelaySeconds=nat timeoutSeconds=nat periodSeconds=nat successThreshold=nat
 failureThreshold=nat terminationGracePeriodSeconds=nat
Lifecycle: postStart=any preStop=any stopSignal=str
Security: capabilities=Capabilities privileged=bool seLinuxOptions=any windowsOptions=any runAsUser=nat runAsGroup=nat runAsNonRoot=bool
 readOnlyRootFilesystem=bool allowPrivilegeEscalation=bool procMount=str seccompProfile=any appArmorProfile=any
Capabilities: add=[str] drop=[str]
Volume: name=str hostPath=any emptyDir=EmptyDir gcePersistentDisk=any awsElasticBlockStore=any gitRepo=any secret=SecretVolume nfs=any
 iscsi=any glusterfs=any persistentVolumeClaim=Claim rbd=any flexVolume=any cinder=any cephfs=any flocker=any downwardAPI=any fc=any
 azureFile=any configMap=ConfigVolume vsphereVolume=any quobyte=any azureDisk=any photonPersistentDisk=any projected=any portworxVolume=any
 scaleIO=any storageos=any csi=any ephemeral=any image=any
EmptyDir: medium=str sizeLimit=quantity mode=nat
SecretVolume: secretName=str items=[Item] defaultMode=nat defaultUser=any optional=bool
ConfigVolume: name=str items=[Item] defaultMode=nat defaultUser=any optional=bool
Item: key=str path=str mode=nat user=any
Claim: claimName=str readOnly=bool
"""
_QUANTITY = re.compile(r"\+?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?")
_PLACEHOLDER = re.compile(r"\$\{trialParameters\.[^{}\n]+\}")
_INT64 = 2**63


@functools.cache
def rows() -> dict[str, dict[str, str]]:
    """The table: type name to field name to type."""
    lines = re.sub(r"\n ", " ", _TABLE.strip()).splitlines()
    made: dict[str, dict[str, str]] = {}
    for line in lines:
        name, _, rest = line.partition(":")
        made[name] = dict(entry.split("=", 1) for entry in rest.split())
    return made


def check(tree: meta.Json, path: str, report: Report, type_: str = "Job") -> None:
    """Every unknown field and wrong type below ``path``. Expects a tree of bounded depth."""
    _check_row(tree, rows()[type_], path, report)


def _check_row(node: meta.Json, row: dict[str, str], path: str, report: Report) -> None:
    for key, value in node.items():
        type_ = row.get(key)
        if type_ is None:
            report.refuse(paths.join(path, key), f"{fields.UNKNOWN}{nearest(key, row)}", FORBIDDEN)
        elif value is not None and type_ != "any":
            _check_value(value, type_, path, key, report)


def _check_value(value: Any, type_: str, above: str, key: str | int, report: Report) -> None:
    if type_.startswith("["):
        if not isinstance(value, list):
            report.refuse(paths.join(above, key), f"must be a list, not {_have(value)}")
            return
        path = paths.join(above, key)
        for index, item in enumerate(value):
            _check_value(item, type_[1:-1], path, index, report)
        return
    row = rows().get(type_)
    if row is not None:
        if isinstance(value, dict):
            _check_row(value, row, paths.join(above, key), report)
        else:
            report.refuse(paths.join(above, key), f"must be a mapping, not {_have(value)}")
        return
    if type_ in ("map", "quantities"):
        _check_map(value, type_, paths.join(above, key), report)
        return
    wrong = _wrong(value, type_)
    if wrong:
        report.refuse(paths.join(above, key), wrong)


def _check_map(value: Any, type_: str, path: str, report: Report) -> None:
    if not isinstance(value, dict):
        report.refuse(path, f"must be a mapping, not {_have(value)}")
        return
    for name, item in value.items():
        wrong = _wrong(item, "str" if type_ == "map" else "quantity")
        if wrong:
            report.refuse(paths.join(path, name), wrong)


def _wrong(value: Any, type_: str) -> str:
    """What is wrong with a scalar, or empty text."""
    if isinstance(value, str) and _PLACEHOLDER.fullmatch(value):
        return ""
    match type_:
        case "str":
            if isinstance(value, str):
                return ""
            return f"must be text, not {_have(value)}" + (
                "" if value is None or isinstance(value, dict | list) else "; put quotes round it"
            )
        case "bool":
            return "" if isinstance(value, bool) else f"must be true or false, not {_have(value)}"
        case "quantity":
            fits = (
                isinstance(value, str | int | float) and not isinstance(value, bool) and _QUANTITY.fullmatch(str(value))
            )
            return "" if fits else f"{_have(value)} must be a quantity of 0 or more, such as 500m or 2Gi"
        case _:
            if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _INT64:
                return f"must be a whole number, not {_have(value)}"
            return f"{value} must not be less than 0" if type_ == "nat" and value < 0 else ""


def _have(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return show(value)
