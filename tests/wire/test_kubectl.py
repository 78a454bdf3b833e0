"""kubectl, unmodified, against ``kuttab serve``."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from wire import served, shell

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed (Debian: kubernetes-client)"),
]

PROGRAM = "import sys; print(f'loss={float(sys.argv[1])}')"
WAITING = "import time; print('loss=1', flush=True); time.sleep(600)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[served.Server]:
    """One server for all tests: each works on objects of its own name."""
    with served.running(tmp_path_factory.mktemp("kubectl") / "data") as found:
        yield found


@pytest.fixture(scope="module")
def finished(server: served.Server) -> str:
    """The name of an experiment that was applied and has succeeded."""
    server.kubectl("apply", "-f", "-", text=yaml.safe_dump(shell.manifest(PROGRAM, name="done")))
    server.kubectl("wait", "--for=condition=Succeeded", "experiment/done", "--timeout=60s")
    return "done"


def test_version_and_resources(server: served.Server) -> None:
    """kubectl finds a server of a release that it knows, and every kind of Katib."""
    assert "Server Version: v1.32" in server.kubectl("version")
    assert server.kubectl("api-resources", "--api-group=kubeflow.org", "-o", "name").split() == [
        "experiments.kubeflow.org", "mpijobs.kubeflow.org", "pytorchjobs.kubeflow.org", "suggestions.kubeflow.org",
        "tfjobs.kubeflow.org", "trials.kubeflow.org", "xgboostjobs.kubeflow.org",
    ]  # fmt: skip
    assert "kubeflow.org/v1beta1" in server.kubectl("api-versions").split()


def test_apply_again_changes_nothing(server: served.Server, finished: str) -> None:
    """Applying the same manifest again writes nothing, also when the experiment has ended, and shows no difference."""
    text = yaml.safe_dump(shell.manifest(PROGRAM, name=finished))
    version = "jsonpath={.metadata.resourceVersion}"
    before = server.kubectl("get", "experiment", finished, "-o", version)
    # "configured", not "unchanged": kubectl compares lists whole, and admission put defaults into their items.
    assert server.kubectl("apply", "-f", "-", text=text).startswith(f"experiment.kubeflow.org/{finished} ")
    assert "(server dry run)" in server.kubectl("apply", "--dry-run=server", "-f", "-", text=text)
    assert server.kubectl("diff", "-f", "-", text=text) == ""
    assert server.kubectl("get", "experiment", finished, "-o", version) == before


def test_get_prints_katibs_columns(server: served.Server, finished: str) -> None:
    """Tables show the last condition; the category gets all three kinds."""
    lines = server.kubectl("get", "experiments", finished).splitlines()
    assert lines[0].split() == ["NAME", "TYPE", "STATUS", "AGE"]
    assert lines[1].split()[:3] == [finished, "Succeeded", "True"]
    assert server.kubectl("get", "suggestions", finished).split()[:6] == [
        "NAME", "TYPE", "STATUS", "REQUESTED", "ASSIGNED", "AGE",
    ]  # fmt: skip
    shown = server.kubectl("get", "katib")
    for kind in ("experiment", "suggestion", "trial"):
        assert f"{kind}.kubeflow.org/{finished}" in shown
    assert "Succeeded" in server.kubectl(
        "get", "trials", "-l", f"katib.kubeflow.org/experiment={finished}", "-o", "wide"
    )
    assert finished in server.kubectl("get", "experiments", "-A")


def test_get_in_other_forms(server: served.Server, finished: str) -> None:
    """JSON, YAML, names, JSON path, custom columns, sorting."""
    found = json.loads(server.kubectl("get", "experiment", finished, "-o", "json"))
    assert found["status"]["trialsSucceeded"] == 2
    assert yaml.safe_load(server.kubectl("get", "experiment", finished, "-o", "yaml")) == found
    best = server.kubectl("get", "experiment", finished, "-o", "jsonpath={.status.currentOptimalTrial.bestTrialName}")
    assert best == found["status"]["currentOptimalTrial"]["bestTrialName"]
    columns = "custom-columns=N:.metadata.name,LOSS:.status.observation.metrics[0].min"
    rows = server.kubectl(
        "get", "trials", "-l", f"katib.kubeflow.org/experiment={finished}", "-o", columns
    ).splitlines()
    assert len(rows) == 3
    assert all(float(row.split()[1]) for row in rows[1:])
    assert server.kubectl("get", "experiments", "-o", "name", "--sort-by=.metadata.name").startswith(
        "experiment.kubeflow.org/"
    )
    names = server.kubectl(
        "get", "trials", "-o", "name", "--chunk-size=1", "-l", f"katib.kubeflow.org/experiment={finished}"
    )
    assert len(names.split()) == 2


def test_describe_shows_events(server: served.Server, finished: str) -> None:
    """describe prints the object and what happened to it."""
    shown = server.kubectl("describe", "experiment", finished)
    assert "ExperimentCreated" in shown.partition("Events:")[2]
    assert "Type:                  Succeeded" in shown
    trial = server.kubectl("get", "trials", "-o", "name", "-l", f"katib.kubeflow.org/experiment={finished}").split()[0]
    assert "Parameter Assignments" in server.kubectl("describe", trial)
    assert "default" in server.kubectl("describe", "namespace", "default")


def test_explain(server: served.Server) -> None:
    """Every field is explained from the schema, builtin kinds as far as they are known."""
    shown = server.kubectl("explain", "experiment.spec")
    assert "maxTrialCount\t<integer>" in shown
    assert "minLength" not in shown
    assert "feasibleSpace" in server.kubectl("explain", "experiment.spec", "--recursive")
    assert "KIND:       Job" in server.kubectl("explain", "job")


def test_problems_are_all_shown(server: served.Server) -> None:
    """A manifest that is refused is refused with every problem; a typo before anything is stored."""
    bad = shell.manifest(PROGRAM, name="bad", maxTrialCount=-1, maxTrailCount=3, parallelTrialCount=0)
    shown = server.kubectl("apply", "-f", "-", text=yaml.safe_dump(bad), check=False)
    assert shown.startswith('The Experiment "bad" is invalid:')
    for part in ("spec.maxTrialCount", "spec.maxTrailCount", "spec.parallelTrialCount"):
        assert part in shown
    assert "NotFound" in server.kubectl("get", "experiment", "bad", check=False)


def test_server_side_apply_is_refused(server: served.Server) -> None:
    """Server-side apply says that it is not offered, and does nothing."""
    text = yaml.safe_dump(shell.manifest(PROGRAM, name="ssa"))
    assert "server-side apply is not offered" in server.kubectl(
        "apply", "--server-side", "-f", "-", text=text, check=False
    )
    assert "NotFound" in server.kubectl("get", "experiment", "ssa", check=False)


def test_patch_and_labels(server: served.Server, finished: str) -> None:
    """Merge and JSON patches, labels and annotations."""
    server.kubectl("label", "experiment", finished, "team=a")
    server.kubectl("annotate", "experiment", finished, "note=hello there")
    assert finished in server.kubectl("get", "experiments", "-l", "team=a", "-o", "name")
    server.kubectl("patch", "experiment", finished, "--type=merge", "-p", '{"metadata":{"labels":{"team":"b"}}}')
    body = '[{"op":"remove","path":"/metadata/labels/team"}]'
    server.kubectl("patch", "experiment", finished, "--type=json", "-p", body)
    assert server.kubectl("get", "experiments", "-l", "team", "-o", "name") == ""
    shown = server.kubectl("patch", "experiment", finished, "-p", "{}", check=False)
    assert "strategic merge patch" in shown


def test_built_in_kinds(server: served.Server, tmp_path: Path) -> None:
    """ConfigMaps, Secrets and Namespaces are created, applied with three-way merges, and deleted."""
    server.kubectl("create", "namespace", "team")
    server.kubectl("create", "configmap", "c", "--from-literal=a=1", "-n", "team")
    server.kubectl("create", "secret", "generic", "s", "--from-literal=p=q", "-n", "team")
    assert server.kubectl("get", "secret", "s", "-n", "team", "-o", "jsonpath={.data.p}") == "cQ=="
    job: dict[str, object] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "namespace": "team", "finalizers": ["example.com/a"]},
        "spec": {
            "suspend": True,
            "template": {
                "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x", "command": ["true"],
                                                                   "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]}
            },
        },
    }  # fmt: skip
    server.kubectl("apply", "-f", "-", text=yaml.safe_dump(job))
    text = (
        yaml.safe_dump(job)
        .replace("name: B", "name: C")
        .replace("- example.com/a", "[]")
        .replace("finalizers:\n  []", "finalizers: []")
    )
    assert server.kubectl("apply", "-f", "-", text=text) == "job.batch/j configured\n"
    names = server.kubectl(
        "get", "job", "j", "-n", "team", "-o", "jsonpath={.spec.template.spec.containers[0].env[*].name}"
    )
    assert names == "A C"
    assert server.kubectl("get", "job", "j", "-n", "team", "-o", "jsonpath={.metadata.finalizers}") == ""
    server.kubectl("delete", "namespace", "team", "--timeout=60s")
    assert "NotFound" in server.kubectl("get", "namespace", "team", check=False)


def test_edit(server: served.Server, finished: str, tmp_path: Path) -> None:
    """edit opens the object in an editor and stores what comes back."""
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'s/^  name: /  labels: {edited: "yes"}\\n  name: /\' "$1"\n')
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    server.kubectl("edit", "experiment", finished, EDITOR=str(editor))
    assert finished in server.kubectl("get", "experiments", "-l", "edited=yes", "-o", "name")


def test_watch_and_wait(server: served.Server) -> None:
    """A watch shows each step of an experiment as a row; wait returns when the condition is there."""
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    server.kubectl("apply", "-f", "-", text=yaml.safe_dump(shell.manifest(PROGRAM, name="watched")))
    watch = subprocess.Popen(
        ["kubectl", "get", "experiments", "--watch", "--no-headers", "--field-selector=metadata.name=watched"],
        stdout=subprocess.PIPE, env=environment, text=True,
    )  # fmt: skip
    try:
        assert watch.stdout is not None
        seen = []
        for line in watch.stdout:
            seen.append(line.split()[1])
            if seen[-1] == "Succeeded":
                break
        assert seen[-1] == "Succeeded"
    finally:
        watch.terminate()
        watch.communicate(timeout=served.PATIENCE)
    assert "condition met" in server.kubectl("wait", "--for=condition=Succeeded", "experiment/watched", "--timeout=60s")
    shown = server.kubectl("wait", "--for=condition=Failed", "experiment/watched", "--timeout=1s", check=False)
    assert "timed out" in shown


def test_logs_and_delete(server: served.Server) -> None:
    """logs follows a running trial; deleting the experiment takes trials, jobs, pods and processes along."""
    document = shell.manifest(
        WAITING,
        name="running",
        maxTrialCount=1,
        parallelTrialCount=1,
        arguments=["kubectl-marker", "${trialParameters.x}"],
    )
    server.kubectl("apply", "-f", "-", text=yaml.safe_dump(document))
    selector = "katib.kubeflow.org/experiment=running"
    server.kubectl("wait", "--for=condition=Running", "trials", "-l", selector, "--timeout=60s")
    trial = server.kubectl("get", "trials", "-l", selector, "-o", "jsonpath={.items[0].metadata.name}")
    pods = f"katib.kubeflow.org/trial={trial}"
    server.kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod", "-l", pods, "--timeout=60s")
    pod = server.kubectl("get", "pods", "-l", pods, "-o", "jsonpath={.items[0].metadata.name}")
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    follow = subprocess.Popen(["kubectl", "logs", "-f", pod], stdout=subprocess.PIPE, env=environment, text=True)
    try:
        assert follow.stdout is not None
        assert follow.stdout.readline() == "loss=1\n"
        assert server.kubectl("logs", pod, "--tail=1") == "loss=1\n"
        assert server.kubectl("logs", f"job/{trial}") == "loss=1\n"
        assert "timestamps is not offered" in server.kubectl("logs", pod, "--timestamps", check=False)
        assert "1/1" in server.kubectl("get", "pods", pod)
        server.kubectl("delete", "experiment", "running", "--timeout=60s")
        assert follow.stdout.read() == ""
    finally:
        follow.terminate()
        follow.communicate(timeout=served.PATIENCE)
    server.kubectl("wait", "--for=delete", "pod", pod, "--timeout=60s")
    assert server.kubectl("get", "trials,jobs,pods", "-l", selector, "-o", "name") == ""
    assert shell.living("kubectl-marker") == []


def test_questions_about_oneself(server: served.Server) -> None:
    """auth can-i and whoami are answered."""
    assert server.kubectl("auth", "can-i", "create", "experiments.kubeflow.org") == "yes\n"
    assert "kuttab" in server.kubectl("auth", "whoami")
    assert "*" in server.kubectl("auth", "can-i", "--list")


def test_raw_paths(server: served.Server) -> None:
    """get --raw reads any path, and an unknown one is NotFound."""
    assert json.loads(server.kubectl("get", "--raw", "/api/v1/namespaces"))["kind"] == "NamespaceList"
    assert "NotFound" in server.kubectl("get", "--raw", "/apis/nobody/v1", check=False)
    assert server.kubectl("get", "--raw", "/readyz") == "ok"


def test_delete_collections(server: served.Server) -> None:
    """Objects are deleted by label, and an owner can be deleted without its children."""
    for name in ("x", "y"):
        server.kubectl("create", "configmap", name)
        server.kubectl("label", "configmap", name, "gone=soon")
    assert len(server.kubectl("delete", "configmaps", "-l", "gone=soon", "-o", "name").split()) == 2
    server.kubectl("create", "configmap", "z")
    server.kubectl("delete", "configmap", "z", "--cascade=orphan")
    shown = server.kubectl("delete", "configmap", "z", check=False)
    assert "NotFound" in shown
    assert server.kubectl("delete", "configmap", "z", "--ignore-not-found") == ""


def test_replace(server: served.Server) -> None:
    """replace puts a whole new object; --force deletes and creates."""
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "r"}, "data": {"a": "1"}}
    server.kubectl("create", "-f", "-", text=yaml.safe_dump(one))
    assert "AlreadyExists" in server.kubectl("create", "-f", "-", text=yaml.safe_dump(one), check=False)
    server.kubectl("replace", "-f", "-", text=yaml.safe_dump({**one, "data": {"b": "2"}}))
    assert server.kubectl("get", "configmap", "r", "-o", "jsonpath={.data}") == '{"b":"2"}'
    server.kubectl("replace", "--force", "-f", "-", text=yaml.safe_dump(one))
    assert server.kubectl("get", "configmap", "r", "-o", "jsonpath={.data}") == '{"a":"1"}'
