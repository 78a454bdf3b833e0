"""What the pods of a trial must not do or be called: Pod Security Standard "baseline", and names that the system uses itself.

Security fields are looked for everywhere in a workload, by name, because every kind hides its pods somewhere else. Source of the
rules: kubernetes.io, "Pod Security Standards", level baseline, v1.35.
"""

from __future__ import annotations

from typing import Any

from kuttab.admission import images, job_schema, paths, workloads
from kuttab.admission.limits import Limits
from kuttab.admission.report import Report, show
from kuttab.api import keys, meta

COLLECTOR_NAMES = ("metrics-logger-and-collector", "metrics-collector")
VOLUME_NAMES = ("metrics-volume", "suggestion-volume")
RESERVED_LABELS = frozenset(
    {
        keys.LABEL_EXPERIMENT, keys.LABEL_SUGGESTION, keys.LABEL_DEPLOYMENT, keys.LABEL_TRIAL, keys.LABEL_PBT_GENERATION,
        keys.LABEL_PBT_PARENT, "job-name", "controller-uid", "batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid",
    }
)  # fmt: skip
_CAPABILITIES = frozenset(
    {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
     "SETUID", "SYS_CHROOT"}
)  # fmt: skip
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    }
)  # fmt: skip
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_FREE_FORM = frozenset({"labels", "data", "matchLabels", "nodeSelector"})
_SWITCHES = {
    "hostNetwork": "the host's network", "hostPID": "the host's processes", "hostIPC": "the host's IPC",
    "privileged": "all rights on the host", "hostProcess": "a process of the host",
}  # fmt: skip
_BASELINE = "is refused by the Pod Security Standard baseline"


def check_security(tree: Any, path: str, report: Report) -> None:
    """Refuse what the standard "baseline" refuses, wherever it stands in the tree."""
    stack: list[tuple[str, Any]] = [(path, tree)]
    while stack:
        where, node = stack.pop()
        if isinstance(node, list):
            stack.extend((paths.join(where, index), node[index]) for index in range(len(node) - 1, -1, -1))
        elif isinstance(node, dict):
            for key, value in node.items():
                if value is not None and key in _CHECKS:
                    _CHECKS[key](key, value, paths.join(where, key), report)
            stack.extend(
                (paths.join(where, str(key)), value)
                for key, value in reversed(node.items())
                if isinstance(value, dict | list) and key not in _FREE_FORM and key != "annotations"
            )


def _switch(key: str, value: Any, path: str, report: Report) -> None:
    if value is not False:
        report.forbidden(path, f"{_SWITCHES[key]} {_BASELINE}")


def _host_path(_: str, value: Any, path: str, report: Report) -> None:
    if isinstance(value, dict):
        report.forbidden(path, f"a folder of the host {_BASELINE}")


def _host_port(_: str, value: Any, path: str, report: Report) -> None:
    if value != 0:
        report.forbidden(path, f"a port of the host {_BASELINE}")


def _proc_mount(_: str, value: Any, path: str, report: Report) -> None:
    if value != "Default":
        report.forbidden(path, f"{show(value)} {_BASELINE}; leave it out")


def _capabilities(_: str, value: Any, path: str, report: Report) -> None:
    added = value.get("add") if isinstance(value, dict) else None
    for index, name in enumerate(added if isinstance(added, list) else ()):
        if not isinstance(name, str) or name not in _CAPABILITIES:
            report.forbidden(f"{path}.add[{index}]", f"the capability {show(name)} {_BASELINE}")


def _sysctls(_: str, value: Any, path: str, report: Report) -> None:
    for index, entry in enumerate(value if isinstance(value, list) else ()):
        name = entry.get("name") if isinstance(entry, dict) else entry
        if not isinstance(name, str) or name not in _SYSCTLS:
            report.forbidden(f"{path}[{index}].name", f"the sysctl {show(name)} {_BASELINE}")


def _profile(_: str, value: Any, path: str, report: Report) -> None:
    if isinstance(value, dict) and value.get("type") == "Unconfined":
        report.forbidden(f"{path}.type", f"Unconfined {_BASELINE}")


def _selinux(_: str, value: Any, path: str, report: Report) -> None:
    if not isinstance(value, dict):
        return
    if value.get("type", "") not in _SELINUX_TYPES:
        report.forbidden(f"{path}.type", f"{show(value['type'])} {_BASELINE}")
    for field in ("user", "role"):
        if value.get(field):
            report.forbidden(f"{path}.{field}", f"setting it {_BASELINE}")


def _probe_host(_: str, value: Any, path: str, report: Report) -> None:
    if isinstance(value, dict) and value.get("host"):
        report.forbidden(f"{path}.host", f"a host other than the pod {_BASELINE}; leave it out")


def _annotations(_: str, value: Any, path: str, report: Report) -> None:
    for key, text in value.items() if isinstance(value, dict) else ():
        safe = text in ("", "runtime/default") or str(text).startswith("localhost/")
        if str(key).startswith(_APPARMOR) and not safe:
            report.forbidden(paths.join(path, str(key)), f"{show(text)} {_BASELINE}")


_CHECKS = {
    **dict.fromkeys(_SWITCHES, _switch),
    "hostPath": _host_path,
    "hostPort": _host_port,
    "procMount": _proc_mount,
    "capabilities": _capabilities,
    "sysctls": _sysctls,
    "seccompProfile": _profile,
    "appArmorProfile": _profile,
    "seLinuxOptions": _selinux,
    "httpGet": _probe_host,
    "tcpSocket": _probe_host,
    "annotations": _annotations,
}


def check_labels(labels: Any, path: str, report: Report) -> None:
    """Refuse labels by which the system finds its own objects."""
    for key in labels if isinstance(labels, dict) else ():
        if key in RESERVED_LABELS or str(key).startswith("kuttab.org/"):
            report.forbidden(paths.join(path, key), "is set by the system; choose another key")


def check_pod(spec: meta.Json, path: str, metrics_folder: str, report: Report) -> None:
    """Names of containers, volumes and mounts of one pod spec, and the images' syntax."""
    seen: set[str] = set()
    for where, container in workloads.containers(spec, path, "containers", "initContainers"):
        name = container.get("name")
        if not isinstance(name, str) or not name:
            report.required(f"{where}.name")
        elif name in COLLECTOR_NAMES:
            report.forbidden(f"{where}.name", f"{show(name)} is the name of the metrics collector; choose another")
        elif name in seen:
            report.duplicate(f"{where}.name", name)
        seen.add(str(name))
        check_image(container, where, report)
        _check_mounts(container, where, metrics_folder, report)
    volumes = spec.get("volumes")
    for index, volume in enumerate(volumes if isinstance(volumes, list) else ()):
        name = volume.get("name") if isinstance(volume, dict) else None
        if name in VOLUME_NAMES:
            report.forbidden(
                f"{path}.volumes[{index}].name", f"{show(name)} is the name of a volume of ours; choose another"
            )


def check_image(container: meta.Json, path: str, report: Report) -> None:
    """Syntax of the image; none at all is only a warning, because a machine without containers needs none."""
    image = container.get("image")
    if image is None or image == "":
        report.warn(f"{path}.image", "is not given; Kubernetes needs one")
    elif isinstance(image, str) and "${" not in image and not images.fits(image):
        report.refuse(f"{path}.image", f"{show(image)} is no image reference: write [host[:port]/]name[:tag][@digest]")


def _check_mounts(container: meta.Json, path: str, metrics_folder: str, report: Report) -> None:
    mounts = container.get("volumeMounts")
    for index, mount in enumerate(mounts if isinstance(mounts, list) else ()):
        where = mount.get("mountPath") if isinstance(mount, dict) else None
        if not metrics_folder or not isinstance(where, str):
            continue
        if f"{where.rstrip('/')}/".startswith(f"{metrics_folder.rstrip('/')}/"):
            report.refuse(
                f"{path}.volumeMounts[{index}].mountPath",
                f"{show(where)} lies in {metrics_folder}, where the metrics collector mounts its own volume; choose another folder",
            )


def check_custom_collector(container: meta.Json, path: str, report: Report, limits: Limits) -> None:
    """A collector container of the user's: the same rules as for the containers of a trial."""
    job_schema.check(container, path, report, "Container")
    name = container.get("name")
    if not name:
        report.required(f"{path}.name")
    elif name in COLLECTOR_NAMES:
        report.forbidden(f"{path}.name", f"{show(name)} is the name of our own collector; choose another")
    if not container.get("image"):
        report.required(f"{path}.image")
    else:
        check_image(container, path, report)
    mounts = container.get("volumeMounts")
    for index, mount in enumerate(mounts if isinstance(mounts, list) else ()):
        if isinstance(mount, dict) and mount.get("name") in VOLUME_NAMES:
            report.forbidden(f"{path}.volumeMounts[{index}].name", f"{show(mount['name'])} is a volume of ours")
    if limits.pod_security == "baseline":
        check_security(container, path, report)
