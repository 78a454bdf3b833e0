"""The metrics collector: its kind, where it reads, and with which patterns."""

from __future__ import annotations

import re

from kuttab.admission import patterns, pods
from kuttab.admission.limits import Limits
from kuttab.admission.report import TOO_LONG, TOO_MANY, Report, show
from kuttab.api import experiment
from kuttab.api.experiment import CollectorKind
from kuttab.rules import metric_filters

PATH = "spec.metricsCollectorSpec"
MAX_FILTERS = 16
MAX_PATH = 4095
FORMATS = ("TEXT", "JSON")
_KINDS = [kind.value for kind in CollectorKind]
_SYSTEM_TREES = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr/bin", "/usr/lib", "/usr/sbin",
    "/var/run", "/var/lib/kubelet",
)  # fmt: skip
_SYSTEM_FOLDERS = ("/", "/home", "/usr", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/var", "/var/lib")
_URL_PATH = re.compile(r"/[!-~]{0,2047}")
_OWN_HOSTS = ("", "localhost", "127.0.0.1", "::1")


def check(spec: experiment.MetricsCollectorSpec | None, report: Report, known: set[str], limits: Limits) -> None:
    """All rules of ``spec.metricsCollectorSpec``, after defaults; ``known`` are the kinds that this installation has."""
    if spec is None or spec.collector is None:
        return
    kind = spec.collector.kind
    path = f"{PATH}.collector.kind"
    if not kind:
        report.required(path, f"must be one of {', '.join(_KINDS)}")
    elif kind == "None":
        report.refuse(path, "None is no longer a collector; use Push when your program reports by itself")
    elif kind not in _KINDS:
        report.unsupported(path, kind, _KINDS)
    elif kind not in known:
        report.unsupported(path, kind, sorted(known))
    source = spec.source or experiment.SourceSpec()
    _check_source(kind, source, report)
    _check_filter(kind, source, report)
    _check_custom(spec.collector, report, limits)


def metrics_folder(spec: experiment.MetricsCollectorSpec | None) -> str:
    """The folder over which a volume is mounted for the collector, empty when there is none."""
    if spec is None or spec.collector is None:
        return ""
    place = spec.source.file_system_path if spec.source is not None else None
    match spec.collector.kind:
        case CollectorKind.STDOUT:
            return "/var/log/katib"
        case CollectorKind.FILE | CollectorKind.TF_EVENT | CollectorKind.CUSTOM if place is not None and place.path:
            return _folder(place)
        case _:
            return ""


def _folder(place: experiment.FileSystemPath) -> str:
    if place.kind == "Directory":
        return place.path.rstrip("/") or "/"
    return place.path.rpartition("/")[0] or "/"


def _check_source(kind: str, source: experiment.SourceSpec, report: Report) -> None:
    place, path = source.file_system_path, f"{PATH}.source.fileSystemPath"
    match kind:
        case CollectorKind.FILE if place is not None:
            _check_place(place, path, ("File",), report)
            if place.format not in FORMATS:
                report.unsupported(f"{path}.format", place.format, FORMATS)
        case CollectorKind.TF_EVENT if place is not None:
            _check_place(place, path, ("Directory",), report)
            if place.format:
                report.forbidden(f"{path}.format", "must be left out for TensorFlowEvent")
        case CollectorKind.CUSTOM if place is not None:
            _check_place(place, path, ("File", "Directory"), report)
        case CollectorKind.PROMETHEUS if source.http_get is not None:
            _check_http(source.http_get, report)
        case _ if place is not None and kind in _KINDS:
            report.warn(path, f"is not used by the collector {kind}")
    if source.http_get is not None and kind in _KINDS and kind != CollectorKind.PROMETHEUS:
        report.warn(f"{PATH}.source.httpGet", f"is not used by the collector {kind}")


def _check_place(place: experiment.FileSystemPath, path: str, kinds: tuple[str, ...], report: Report) -> None:
    if place.kind not in kinds:
        report.unsupported(f"{path}.kind", place.kind, kinds)
    text, where = place.path, f"{path}.path"
    if not text.startswith("/"):
        report.refuse(where, f"{show(text)} must be an absolute path, such as /var/log/katib/metrics.log")
    elif len(text) > MAX_PATH:
        report.refuse(where, f"has {len(text)} characters; at most {MAX_PATH} are allowed", TOO_LONG)
    elif not text.isprintable():
        report.refuse(where, f"{show(text)} holds control characters")
    elif "//" in text or any(part in (".", "..") for part in text.split("/")):
        report.refuse(where, f"{show(text)} must be a plain path, without //, . or ..")
    elif place.kind == "File" and text.endswith("/"):
        report.refuse(where, f"{show(text)} must name a file, not a folder")
    else:
        folder = _folder(place)
        if folder in _SYSTEM_FOLDERS or any(f"{folder}/".startswith(f"{tree}/") for tree in _SYSTEM_TREES):
            report.refuse(
                where,
                f"a volume is mounted over {show(folder)}, which would hide parts of the system; choose a folder of your own, "
                "such as /var/log/katib",
            )


def _check_http(http: experiment.HttpGet, report: Report) -> None:
    path = f"{PATH}.source.httpGet"
    port = int(http.port) if isinstance(http.port, str) and re.fullmatch("[0-9]{1,6}", http.port) else http.port
    if not isinstance(port, int) or not 0 < port < 65536:
        report.refuse(f"{path}.port", f"{show(http.port)} must be a port number from 1 to 65535")
    if _URL_PATH.fullmatch(http.path) is None:
        report.refuse(f"{path}.path", f"{show(http.path)} must begin with / and hold no blanks or control characters")
    if http.host not in _OWN_HOSTS:
        report.forbidden(f"{path}.host", f"{show(http.host)} is not the trial itself; leave host out")
    if http.scheme not in ("", "HTTP", "HTTPS"):
        report.unsupported(f"{path}.scheme", http.scheme, ("HTTP", "HTTPS"))
    for index, header in enumerate((http.http_headers or [])[:100]):
        for field in ("name", "value"):
            text = header.get(field)
            if not isinstance(text, str) or not text.isprintable():
                report.refuse(f"{path}.httpHeaders[{index}].{field}", "must be text without control characters")


def _check_filter(kind: str, source: experiment.SourceSpec, report: Report) -> None:
    if source.filter is None:
        return
    path = f"{PATH}.source.filter"
    listed = source.filter.metrics_format or []
    place = source.file_system_path
    if kind == CollectorKind.FILE and place is not None and place.format == "JSON":
        report.forbidden(path, "must be left out for the format JSON, whose keys are the metrics' names")
    elif kind in _KINDS and kind not in (CollectorKind.STDOUT, CollectorKind.FILE):
        report.warn(path, f"is not used by the collector {kind}")
    if len(listed) > MAX_FILTERS:
        report.refuse(
            f"{path}.metricsFormat", f"has {len(listed)} patterns; at most {MAX_FILTERS} are allowed", TOO_MANY
        )
        return
    for index, pattern in enumerate(listed):
        where = f"{path}.metricsFormat[{index}]"
        wrong = metric_filters.check(pattern)
        if wrong:
            report.refuse(where, f"{show(pattern)} {wrong}")
        elif pattern != metric_filters.DEFAULT:
            for warning in patterns.doubts(pattern):
                report.warn(where, warning)


def _check_custom(collector: experiment.CollectorSpec, report: Report, limits: Limits) -> None:
    path = f"{PATH}.collector.customCollector"
    container = collector.custom_collector
    if collector.kind != CollectorKind.CUSTOM:
        if container is not None and collector.kind in _KINDS:
            report.warn(path, f"is not used by the collector {collector.kind}")
        return
    if not container:
        report.required(path, "must be given: the container that reads and reports the metrics")
        return
    pods.check_custom_collector(container, path, report, limits)
