"""Volumes as folders, rewriting of paths, and what is refused."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from kuttab.base import errors
from kuttab.node import environ, processes, support, volumes

MAPPED = volumes.Mounts([volumes.Mount("/katib", Path("/data/k")), volumes.Mount("/katib/deep", Path("/data/d"))])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--log-path=/katib/mnist.log", "--log-path=/data/k/mnist.log"),
        ("/katib", "/data/k"),
        ("/katib/", "/data/k/"),
        ("/katib/deep/x", "/data/d/x"),
        ("/katib/deeper", "/data/k/deeper"),
        ("cat /katib/a >/katib/b; ls '/katib'", "cat /data/k/a >/data/k/b; ls '/data/k'"),
        ("A:/katib/a:/katib/b", "A:/data/k/a:/data/k/b"),
        ("see /katib.", "see /data/k."),
        ("/katib2", "/katib2"),
        ("/katib.old/x", "/katib.old/x"),
        ("/katib-2", "/katib-2"),
        ("/other/katib/x", "/other/katib/x"),
        ("../katib/x", "../katib/x"),
        ("http://host/katib", "http://host/katib"),
        ("a/katib", "a/katib"),
        ("katib", "katib"),
        ("", ""),
    ],
)
def test_mount_paths_are_rewritten_at_boundaries_only(text, expected):
    """A mount path is replaced where it stands as a path of its own, the longest first; look-alikes stay."""
    assert MAPPED.rewrite(text) == expected


def test_rewritten_text_is_not_rewritten_again():
    """One pass: what a replacement brings in is left alone."""
    table = volumes.Mounts([volumes.Mount("/a", Path("/b/x")), volumes.Mount("/b", Path("/c"))])
    assert table.rewrite("/a /b") == "/b/x /c"


def test_path_with_special_characters_is_a_literal():
    """Nothing in a mount path acts as a pattern."""
    table = volumes.Mounts([volumes.Mount("/a.b(c)*", Path("/x"))])
    assert table.rewrite("/a.b(c)*/f /aXb(c)") == "/x/f /aXb(c)"


def test_resolve_finds_the_host_path():
    """A container path below a mount has a place on this machine; another has none."""
    assert MAPPED.resolve("/katib/a/b") == Path("/data/k/a/b")
    assert MAPPED.resolve("/katib/deep") == Path("/data/d")
    assert MAPPED.resolve("/katib2") is None


def test_nested_mount_is_visible_in_the_outer_one(tmp_path):
    """A program that lists the outer folder sees the inner mount."""
    table = volumes.Mounts([volumes.Mount("/a", tmp_path / "outer"), volumes.Mount("/a/b/c", tmp_path / "inner")])
    table.make()
    (tmp_path / "inner" / "file").write_text("x")
    assert (tmp_path / "outer/b/c/file").read_text() == "x"
    table.make()


def test_lazy_mount_is_made_only_when_mentioned(tmp_path):
    """A collector's folder that nobody writes to costs nothing."""
    table = volumes.Mounts([volumes.Mount("/log", tmp_path / "log", lazy=True)])
    table.rewrite("/other")
    table.make()
    assert not (tmp_path / "log").exists()
    table.rewrite("--x=/log/y")
    table.make()
    assert (tmp_path / "log").is_dir()


@pytest.mark.parametrize(
    ("path", "is_folder", "mount", "host"),
    [
        ("/katib/mnist.log", False, "/katib", "katib"),
        ("/no-such-logs/test", True, "/no-such-logs", "no-such-logs"),
        ("/no-such-logs/a/b.log", False, "/no-such-logs", "no-such-logs"),
        ("/usr/no-such/tfevent/", True, "/usr/no-such", "usr/no-such"),
        ("/usr/metrics.log", False, "/usr", "usr"),
        ("/metrics.log", False, "/metrics.log", "metrics.log"),
    ],
)
def test_collector_mount_reaches_up_to_what_exists(tmp_path, path, is_folder, mount, host):
    """The collector's folder and its parents that this machine does not have are caught; a folder of the machine is not."""
    found = volumes.collector(path, is_folder, tmp_path)
    assert found is not None
    assert (found.path, found.host) == (mount, tmp_path / host)


def test_collector_without_a_path_needs_no_mount(tmp_path):
    """No path, or the root itself, gives no mount."""
    assert volumes.collector("", False, tmp_path) is None
    assert volumes.collector("/", True, tmp_path) is None


def test_volumes_become_folders(tmp_path):
    """emptyDir and configMap are folders of the pod, a claim is a folder that is shared and kept."""
    binary = {"cm": {"b.bin": base64.b64encode(b"\x00\xff").decode()}}
    folders = volumes.make_volumes(
        [
            {"name": "scratch", "emptyDir": {}},
            {"name": "conf", "configMap": {"name": "cm", "defaultMode": 0o600}},
            {
                "name": "some",
                "configMap": {"name": "cm", "items": [{"key": "a.txt", "path": "sub/x.txt", "mode": 0o640}]},
            },
            {"name": "none", "configMap": {"name": "missing", "optional": True}},
            {"name": "kept", "persistentVolumeClaim": {"claimName": "shared"}},
        ],
        tmp_path / "pod",
        tmp_path / "claims",
        {"cm": {"a.txt": "hällo\n"}},
        binary,
    )
    assert folders["scratch"].is_dir()
    assert (folders["conf"] / "a.txt").read_text() == "hällo\n"
    assert (folders["conf"] / "a.txt").stat().st_mode & 0o777 == 0o600
    assert (folders["conf"] / "b.bin").read_bytes() == b"\x00\xff"
    assert [p.name for p in folders["some"].rglob("*")] == ["sub", "x.txt"]
    assert list(folders["none"].iterdir()) == []
    assert folders["kept"] == tmp_path / "claims" / "shared"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ({"name": "missing"}, environ.MissingConfigError),
        ({"name": "cm", "items": [{"key": "none", "path": "x"}]}, environ.MissingConfigError),
        ({"name": "cm", "items": [{"key": "a", "path": "../x"}]}, errors.InvalidError),
        ({"name": "cm", "items": [{"key": "a", "path": "/x"}]}, errors.InvalidError),
    ],
)
def test_config_map_that_is_missing_or_leaves_its_folder(tmp_path, source, error):
    """A missing ConfigMap waits; a path out of the volume is refused and nothing is written outside."""
    with pytest.raises(error):
        volumes.make_volumes(
            [{"name": "v", "configMap": source}], tmp_path / "p", tmp_path / "c", {"cm": {"a": "1"}}, {}
        )
    assert not (tmp_path / "x").exists()


def test_volume_mounts_with_sub_paths(tmp_path):
    """subPath and subPathExpr choose a part of a volume and may not leave it."""
    container = {
        "volumeMounts": [
            {"name": "v", "mountPath": "/a/", "subPath": "x/y"},
            {"name": "v", "mountPath": "/b", "subPathExpr": "$(WHO)"},
            {"name": "v", "mountPath": "/c"},
        ]
    }
    found = volumes.declared(container, {"v": tmp_path}, {"WHO": "me"})
    assert [(m.path, m.host) for m in found] == [("/a", tmp_path / "x/y"), ("/b", tmp_path / "me"), ("/c", tmp_path)]
    with pytest.raises(errors.InvalidError, match=r"volumeMounts\[1\]\.subPath"):
        volumes.declared(container, {"v": tmp_path}, {"WHO": "../me"})


def test_checkpoint_is_copied_from_the_parent_once(tmp_path):
    """A member starts from its parent's folder as it was; without parent, or with one that left nothing, from an empty one."""
    first = volumes.checkpoints(tmp_path, "exp", "t-1", "")
    (first / "training.ckpt").write_text("1")
    second = volumes.checkpoints(tmp_path, "exp", "t-2", "t-1")
    assert (second / "training.ckpt").read_text() == "1"
    (second / "training.ckpt").write_text("2")
    assert (volumes.checkpoints(tmp_path, "exp", "t-2", "t-1") / "training.ckpt").read_text() == "2"
    assert list(volumes.checkpoints(tmp_path, "exp", "t-3", "never").iterdir()) == []


def test_interrupted_copy_of_a_checkpoint_is_not_used(tmp_path):
    """What a crash in the middle of a copy left behind is thrown away and copied again."""
    (volumes.checkpoints(tmp_path, "exp", "t-1", "") / "a").write_text("whole")
    (tmp_path / "exp" / ".t-2.copying").mkdir()
    (tmp_path / "exp" / ".t-2.copying" / "a").write_text("ha")
    assert (volumes.checkpoints(tmp_path, "exp", "t-2", "t-1") / "a").read_text() == "whole"


def test_workdir_prefers_mount_then_image_then_machine(tmp_path):
    """A working folder is found in this order, a relative one below where the runtime was started."""
    table = volumes.Mounts([volumes.Mount("/mounted", tmp_path / "w")])
    (tmp_path / "root/opt").mkdir(parents=True)
    (tmp_path / "here/sub").mkdir(parents=True)
    find = lambda wanted: volumes.workdir(wanted, table, tmp_path / "root", tmp_path / "here", tmp_path / "own")  # noqa: E731
    assert find("") == tmp_path / "own"
    assert find("/mounted/a") == tmp_path / "w/a"
    assert find("/opt") == tmp_path / "root/opt"
    assert find("/usr") == Path("/usr")
    assert find("sub") == tmp_path / "here/sub"
    with pytest.raises(processes.CannotRunError, match="workingDir '/no-such-dir'"):
        find("/no-such-dir")


def job(container: dict | None = None, pod: dict | None = None, **spec: object) -> dict:
    """A Job with one container."""
    one = {"name": "main", "image": "x", "command": ["true"], **(container or {})}
    template = {"spec": {"containers": [one], "restartPolicy": "Never", **(pod or {})}}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template, **spec}}


POD = "spec.template.spec"
MAIN = f"{POD}.containers[0]"


@pytest.mark.parametrize(
    ("workload", "path"),
    [
        (job(pod={"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), f"{POD}.volumes[0].hostPath"),
        (job(pod={"volumes": [{"name": "v", "secret": {}}]}), f"{POD}.volumes[0].secret"),
        (job(pod={"volumes": [{"name": "../v", "emptyDir": {}}]}), f"{POD}.volumes[0].name"),
        (job(pod={"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "../x"}}]}),
         f"{POD}.volumes[0].persistentVolumeClaim.claimName"),
        (job(pod={"restartPolicy": "Always"}), f"{POD}.restartPolicy"),
        (job(pod={"containers": []}), f"{POD}.containers"),
        (job(pod={"containers": {"a": 1}}), f"{POD}.containers"),
        (job(pod={"containers": [3]}), f"{POD}.containers"),
        (job(pod={"contianers": []}), f"{POD}.contianers"),
        (job(pod={"hostAliases": []}), f"{POD}.hostAliases"),
        (job({"lifecycle": {}}), f"{MAIN}.lifecycle"),
        (job({"livenessProbe": {}}), f"{MAIN}.livenessProbe"),
        (job({"comand": []}), f"{MAIN}.comand"),
        (job({"command": "true"}), f"{MAIN}.command"),
        (job({"args": [1]}), f"{MAIN}.args"),
        (job({"name": "a/b"}), f"{MAIN}.name"),
        (job({"env": [{"name": "A", "value": 1}]}), f"{MAIN}.env[0].value"),
        (job({"env": [{"name": "A=B", "value": "1"}]}), f"{MAIN}.env[0].name"),
        (job({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {}}}]}), f"{MAIN}.env[0].valueFrom.secretKeyRef"),
        (job({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}), f"{MAIN}.env[0].valueFrom.fieldRef.fieldPath"),
        (job({"envFrom": [{"secretRef": {"name": "s"}}]}), f"{MAIN}.envFrom[0].secretRef"),
        (job({"resources": {"limits": {"memory": "1 GB"}}}), f"{MAIN}.resources.limits.memory"),
        (job({"volumeMounts": [{"name": "none", "mountPath": "/x"}]}), f"{MAIN}.volumeMounts[0].name"),
        (job({"volumeMounts": [{"name": "v", "mountPath": "/"}]}, {"volumes": [{"name": "v", "emptyDir": {}}]}),
         f"{MAIN}.volumeMounts[0].mountPath"),
        (job({"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "../y"}]}, {"volumes": [{"name": "v", "emptyDir": {}}]}),
         f"{MAIN}.volumeMounts[0].subPath"),
        (job(pod={"initContainers": [{"name": "main", "command": ["true"]}]}), f"{MAIN}.name"),
        (job(pod={"initContainers": [{"name": "i", "restartPolicy": "Always"}]}), f"{POD}.initContainers[0].restartPolicy"),
        (job(backoffLimitPerIndex=1), "spec.backoffLimitPerIndex"),
        (job(backoffLimit="6"), "spec.backoffLimit"),
        (job(backoffLimit=-1), "spec.backoffLimit"),
        (job(completionMode="Indexed"), "spec.completions"),
        (job(managedBy="kueue.x-k8s.io/multikueue"), "spec.managedBy"),
        (job(podFailurePolicy={"rules": [{"action": "FailIndex"}]}), "spec.podFailurePolicy.rules[0].action"),
        ({"apiVersion": "batch/v1", "kind": "Job"}, "spec"),
        ({"apiVersion": "batch/v1", "kind": "Job", "spec": {}}, "spec.template"),
        ({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": {}}, "kind"),
        ({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "spec": {}}, "kind"),
        ({"apiVersion": "v1", "kind": "Pod", "spec": {}}, "kind"),
        ({}, "kind"),
        ({"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "spec": {"podSpecOverrides": []}}, "spec.podSpecOverrides"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_with_its_path(workload, path):
    """Every field that cannot be honoured, has a wrong type or is unknown is reported at its own path with what to do."""
    problems = support.unsupported(workload)
    assert path in [problem.path for problem in problems]
    assert all(problem.message for problem in problems)


def test_foreign_kind_is_refused_with_the_reason():
    """The message says who runs that kind and what can be used instead."""
    [problem] = support.unsupported({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": {}})
    assert "Argo" in problem.message
    assert "PyTorchJob" in problem.message


def test_good_jobs_pass_and_what_has_no_effect_is_told():
    """A Job with everything that is honoured passes; fields without effect come back as warnings."""
    workload = job(
        {
            "resources": {"limits": {"memory": "1Gi", "cpu": "0.5", "nvidia.com/gpu": 1}},
            "imagePullPolicy": "Always",
            "ports": [],
        },
        {"nodeSelector": {"a": "b"}, "volumes": [{"name": "v", "emptyDir": {}}]},
        backoffLimit=0,
        completions=3,
        completionMode="Indexed",
    )
    assert support.unsupported(workload) == []
    assert [problem.path for problem in support.ignored(workload)] == [
        f"{POD}.nodeSelector",
        f"{MAIN}.ports",
        f"{MAIN}.resources.limits[cpu]",
        f"{MAIN}.resources.limits[nvidia.com/gpu]",
    ]


EXAMPLES = Path(__file__).resolve().parents[3] / "../shared/katib-examples"


@pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="the published examples are not beside the checkout (../shared/katib-examples)"
)
def test_published_examples_pass_or_are_refused_for_their_kind():
    """Every published example can run here but those of workflow engines."""
    import yaml

    refused = {}
    for path in sorted(EXAMPLES.glob("*/*.yaml")):
        spec = (yaml.safe_load(path.read_text()).get("spec") or {}).get("trialTemplate", {}).get("trialSpec")
        if spec and (problems := support.unsupported(spec)):
            refused[path.name] = [problem.path for problem in problems]
    assert refused == {"argo-workflow.yaml": ["kind"], "pipeline-run.yaml": ["kind"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1Gi", 2**30), ("500M", 500_000_000), ("128974848", 128974848), (64, 64), ("0.5Gi", 2**29), ("129e6", 129_000_000),
     ("", None), ("Gi", None), ("-1", None), ("1 Gi", None), ("１", None), ("1_0", None),
     ("nan", None), ("inf", None), (True, None), (None, None)],
)  # fmt: skip
def test_quantity_of_memory(text, expected):
    """Quantities are read as Kubernetes writes them; anything else is none."""
    assert support.quantity(text) == expected
