"""The trial template: where it comes from, what kind of workload it may be, and what its pods may hold.

Placeholders and trial parameters are judged by :mod:`kuttab.rules.template`; this module judges everything round them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kuttab.admission import collector, job_schema, paths, pods, workloads, yaml
from kuttab.admission.limits import Catalogue, Limits
from kuttab.admission.report import TOO_LONG, UNSUPPORTED, Report, show
from kuttab.api import experiment, meta
from kuttab.api.experiment import CollectorKind
from kuttab.base import errors
from kuttab.rules import gjson, template

PATH = "spec.trialTemplate"
MAX_CONDITION = 4096
DEFAULT_NAMESPACE = "default"
_KUBERNETES_GROUPS = ("", "apps", "batch", "kubeflow.org")
_DASHED = ("-", "@")


def read(subject: experiment.Experiment, catalogue: Catalogue, report: Report) -> meta.Json | None:
    """The template as a tree, or None with the reason in the report (or none, when the template itself is missing).

    A ConfigMap of another namespace is refused without being looked up.
    """
    given = subject.spec.trial_template
    if given is None:
        return None
    if given.trial_spec is not None and given.config_map is not None:
        report.refuse(PATH, "has trialSpec and configMap; give one of the two")
        return None
    source = given.config_map
    if source is None:
        if given.trial_spec is None:
            report.required(PATH, "needs trialSpec or configMap: what a trial runs")
        return given.trial_spec
    whole = True
    for field in ("config_map_name", "config_map_namespace", "template_path"):
        if not getattr(source, field):
            report.required(f"{PATH}.configMap.{_wire(field)}")
            whole = False
    if not whole:
        return None
    namespace = subject.namespace or DEFAULT_NAMESPACE
    if source.config_map_namespace != namespace:
        report.forbidden(
            f"{PATH}.configMap.configMapNamespace",
            f"{show(source.config_map_namespace)} is another namespace; a template must be in the experiment's own, {namespace}",
        )
        return None
    try:
        held = catalogue.config_map(namespace, source.config_map_name)
        return template.source_tree(given, held, yaml.load_one)
    except errors.InvalidError as error:
        report.extend(error.problems)
        return None


def check(
    subject: experiment.Experiment, tree: meta.Json | None, report: Report, catalogue: Catalogue, user: str
) -> None:
    """All rules of ``spec.trialTemplate``, after defaults; ``tree`` is the answer of :func:`read`."""
    given = subject.spec.trial_template
    if given is None:
        report.required(PATH)
        return
    if not given.primary_container_name:
        report.required(f"{PATH}.primaryContainerName", "must be given: the container whose program is trained")
    for field in ("success_condition", "failure_condition"):
        _check_condition(getattr(given, field), f"{PATH}.{_wire(field)}", tree, report)
    if given.trial_parameters is None:
        report.required(f"{PATH}.trialParameters", "must be given; an empty list says that there are none")
    if tree is None:
        return
    path = f"{PATH}.trialSpec" if given.trial_spec is not None else f"{PATH}.configMap:"
    names = [parameter.name for parameter in subject.spec.parameters or () if parameter.name]
    report.extend(template.check(given, tree, names))
    _check_kind(subject, tree, path, report, catalogue, user)
    _check_metadata(tree, path, report)
    if catalogue.limits.pod_security == "baseline":
        pods.check_security(tree, path, report)
    if workloads.is_job(tree):
        job_schema.check(tree, path, report)
        _check_job(given, tree, path, report)
    _check_pods(subject, tree, path, report, catalogue.limits)
    _warn_about_flags(subject, tree, report)


def _wire(field: str) -> str:
    head, *rest = field.split("_")
    return head + "".join(part.title() for part in rest)


def _check_condition(expression: str, path: str, tree: meta.Json | None, report: Report) -> None:
    if not expression:
        report.required(path, "must be given; there is no default for this kind of workload")
        return
    if len(expression) > MAX_CONDITION:
        report.refuse(path, f"has {len(expression)} characters; at most {MAX_CONDITION} are allowed", TOO_LONG)
        return
    wrong = gjson.check(expression)
    if wrong:
        report.refuse(path, f"{show(expression)} {wrong}")
        return
    try:
        fresh = [{}, {**(tree or {}), "status": {}}]
        held = any(gjson.match(expression, document) is not None for document in fresh)
    except errors.BadInputError as error:
        report.refuse(path, error.message)
        return
    if held:
        report.refuse(path, f"{show(expression)} holds already for a workload that has not started; look at its status")


def _check_kind(
    subject: experiment.Experiment, tree: meta.Json, path: str, report: Report, catalogue: Catalogue, user: str
) -> None:
    version, kind = tree.get("apiVersion"), tree.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str) or not version or not kind:
        return
    allowed = catalogue.limits.workload_kinds
    if (version, kind) not in allowed:
        known = ", ".join(sorted({name for _, name in allowed}))
        ask = "" if version.rpartition("/")[0] in _KUBERNETES_GROUPS else "; an operator can allow it"
        right = sorted(a for a, b in allowed if b == kind)
        hint = f"; did you mean apiVersion {right[0]}?" if right else ""
        report.refuse(
            paths.join(path, "kind"),
            f"{show(kind)} of {show(version)} is no workload that a trial may be (allowed: {known}){hint or ask}",
            UNSUPPORTED,
        )
        return
    problems = catalogue.workload_problems(tree, path)
    report.extend(problems)
    for item in () if problems else catalogue.workload_warnings(tree, path):
        report.warn(item.path, item.message)
    namespace = subject.namespace or DEFAULT_NAMESPACE
    if not catalogue.may_create(user, namespace, version, kind):
        report.forbidden(
            path,
            f"user {show(user)} may not create a {kind} in namespace {namespace}, so no experiment may do it for them",
        )


def _check_metadata(tree: meta.Json, path: str, report: Report) -> None:
    metadata = tree.get("metadata")
    places = [(paths.join(path, "metadata"), metadata)]
    places += [
        (paths.join(where, "metadata"), pod.get("metadata")) for where, pod in workloads.pod_templates(tree, path)
    ]
    for where, found in places:
        if not isinstance(found, dict):
            continue
        pods.check_labels(found.get("labels"), paths.join(where, "labels"), report)
        for key in ("finalizers", "ownerReferences"):
            if found.get(key):
                report.forbidden(paths.join(where, key), "must be left out: the trial owns and ends its workload")


def _check_job(given: experiment.TrialTemplate, tree: meta.Json, path: str, report: Report) -> None:
    spec = tree.get("spec")
    root = paths.join(path, "spec")
    if not isinstance(spec, dict):
        report.required(root)
        return
    for key in ("selector", "manualSelector"):
        if spec.get(key):
            report.forbidden(paths.join(root, key), "must be left out: Kubernetes selects the pods of a job itself")
    pod = spec.get("template")
    pod = pod.get("spec") if isinstance(pod, dict) else None
    where = paths.join(root, "template", "spec")
    if not isinstance(pod, dict) or not pod.get("containers"):
        report.required(paths.join(where, "containers"))
        return
    policy = pod.get("restartPolicy")
    if policy is None:
        report.warn(paths.join(where, "restartPolicy"), "is not given; Kubernetes wants Never or OnFailure for a Job")
    elif policy not in ("Never", "OnFailure"):
        report.unsupported(paths.join(where, "restartPolicy"), str(policy), ("Never", "OnFailure"))
    wide = [key for key in ("completions", "parallelism") if isinstance(spec.get(key), int) and spec[key] > 1]
    if wide and not given.primary_pod_labels:
        report.warn(
            paths.join(root, wide[0]),
            "the job has several pods and all of them report metrics; set primaryPodLabels to say which one counts",
        )


def _check_pods(subject: experiment.Experiment, tree: meta.Json, path: str, report: Report, limits: Limits) -> None:
    given = subject.spec.trial_template
    assert given is not None
    spec = subject.spec.metrics_collector_spec
    kind = spec.collector.kind if spec is not None and spec.collector is not None else ""
    folder = collector.metrics_folder(spec)
    found: dict[str, tuple[str, meta.Json]] = {}
    first = ""
    for where, pod in workloads.pod_templates(tree, path):
        below, place = pod.get("spec"), paths.join(where, "spec")
        if not isinstance(below, dict):
            continue
        first = first or place
        pods.check_pod(below, place, folder, report)
        if below.get("shareProcessNamespace") is False and kind != CollectorKind.PUSH:
            report.refuse(
                paths.join(place, "shareProcessNamespace"),
                f"false keeps the collector {kind} from seeing the program; leave it out, or use the collector Push",
            )
        for at, container in workloads.containers(below, place):
            found.setdefault(str(container.get("name")), (at, container))
    name = given.primary_container_name
    if not first or not name or not found:
        return
    if name not in found:
        names = ", ".join(sorted(found))
        report.refuse(f"{PATH}.primaryContainerName", f"{show(name)} is none of the containers in {first} ({names})")
    elif limits.needs_command and not found[name][1].get("command"):
        at = found[name][0]
        report.required(f"{at}.command", "must be given: nothing here knows which program the image would start")


def _warn_about_flags(subject: experiment.Experiment, tree: meta.Json, report: Report) -> None:
    given = subject.spec.trial_template
    assert given is not None
    words = set(_arguments(tree))
    for index, parameter in enumerate(subject.spec.parameters or ()):
        dashed = next((c for c in parameter.feasible_space.choices or () if c.startswith(_DASHED)), None)
        if dashed is None:
            continue
        fillers = [p.name for p in given.trial_parameters or () if p.reference == parameter.name]
        if any(f"${{trialParameters.{name}}}" in words for name in fillers):
            report.warn(
                f"spec.parameters[{index}].feasibleSpace.list",
                f"{show(dashed)} becomes an argument of its own and may be read as an option; write --name=${{trialParameters...}}",
            )


def _arguments(tree: Any) -> Iterator[str]:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            stack.extend(node.values())
            for key in ("command", "args"):
                listed = node.get(key)
                yield from (item for item in (listed if isinstance(listed, list) else ()) if isinstance(item, str))
