"""What stands for an image, and the environment of a container."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kuttab.api import meta
from kuttab.base import errors
from kuttab.node import environ, images, processes, settings


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("word", ["python", "python3"])
def test_python_is_the_interpreter_that_runs_us(word, tmp_path):
    """Without a setting, both names of Python mean the running interpreter, whatever PATH says."""
    executable(tmp_path / word)
    assert images.program(images.Image(), word, {"PATH": str(tmp_path)}, tmp_path) == sys.executable


def test_python_of_the_setting_wins(tmp_path):
    """The setting's interpreter is used when there is one, else the one in the image's folder."""
    inside = executable(tmp_path / "usr/bin/python3")
    assert images.program(images.Image(root=tmp_path), "python3", {}, tmp_path) == str(inside)
    assert images.program(images.Image(root=tmp_path, python="/x/python"), "python3", {}, tmp_path) == "/x/python"


def test_other_programs_are_looked_up_in_the_image_then_in_path(tmp_path):
    """The folder of the image comes before PATH."""
    outside = executable(tmp_path / "path" / "tool")
    env = {"PATH": str(tmp_path / "path")}
    assert images.program(images.Image(root=tmp_path / "root"), "tool", env, tmp_path) == str(outside)
    inside = executable(tmp_path / "root" / "usr/local/bin" / "tool")
    assert images.program(images.Image(root=tmp_path / "root"), "tool", env, tmp_path) == str(inside)


def test_relative_program_is_below_the_working_folder(tmp_path):
    """``./run.sh`` is looked for where the container starts."""
    script = executable(tmp_path / "run.sh")
    assert images.program(images.Image(), "./run.sh", {}, tmp_path) == str(script)


@pytest.mark.parametrize(
    ("word", "words"), [("no-such-tool", "PATH=/nowhere"), ("/opt/x/y", "/opt/x/y"), ("./run", "./run")]
)
def test_missing_program_says_where_it_was_looked_for_and_what_to_do(word, words, tmp_path):
    """The message names the program, the places searched, and the images setting."""
    with pytest.raises(processes.CannotRunError) as caught:
        images.program(images.Image(), word, {"PATH": "/nowhere"}, tmp_path)
    assert words in caught.value.message
    assert "images" in caught.value.message


def test_file_without_permission_is_told_apart(tmp_path):
    """A file that exists but may not be executed is said to be so."""
    (tmp_path / "run").write_text("")
    with pytest.raises(processes.CannotRunError, match="not executable"):
        images.program(images.Image(), "./run", {}, tmp_path)


def test_paths_of_the_image_are_mapped_only_when_they_exist(tmp_path):
    """Absolute paths that exist below the image's folder are mapped, also behind ``=`` and in shell text; others stay."""
    (tmp_path / "opt/app").mkdir(parents=True)
    (tmp_path / "opt/app/train.py").write_text("")
    (tmp_path / "tmp").mkdir()
    image = images.Image(root=tmp_path)
    app = f"{tmp_path}/opt/app"
    assert images.below_root(image, "/opt/app/train.py") == f"{app}/train.py"
    assert images.below_root(image, "--file=/opt/app/train.py") == f"--file={app}/train.py"
    assert (
        images.below_root(image, "cd /opt/app/ && python '/opt/app/train.py'")
        == f"cd {app}/ && python '{app}/train.py'"
    )
    for text in (
        "/opt/app/none.py",
        "/tmp",
        "/",
        "opt/app/train.py",
        "x/opt/app/train.py",
        "http://h/opt/app/train.py",
        "1/2",
    ):
        assert images.below_root(image, text) == text
    assert images.below_root(images.Image(), "/opt/app/train.py") == "/opt/app/train.py"


@pytest.mark.parametrize(
    ("pattern", "name", "hit"),
    [
        ("docker.io/kubeflow/mnist", "docker.io/kubeflow/mnist:latest", True),
        ("docker.io/kubeflow/*", "docker.io/kubeflow/mnist:1.0", True),
        ("reg:5000/a/b", "reg:5000/a/b:v1@sha256:00", True),
        ("reg:5000/a/b:v1", "reg:5000/a/b:v2", False),
        ("*", "anything", True),
        ("mnist", "docker.io/kubeflow/mnist", False),
    ],
)
def test_pattern_matches_with_or_without_tag(pattern, name, hit):
    """A pattern may leave out tag and digest; a port of a registry is not taken for a tag."""
    image = images.Image(python="/x")
    assert (images.find({pattern: image}, name) == image) is hit


def test_first_matching_pattern_wins():
    """Order of the setting is order of precedence."""
    first, second = images.Image(python="/1"), images.Image(python="/2")
    assert images.find({"a/*": first, "*": second}, "a/b") == first
    assert images.find({"a/*": first, "*": second}, "b/b") == second


def test_setting_is_read_with_every_problem(tmp_path):
    """Unknown keys, wrong types and missing folders are all reported, each with its path."""
    with pytest.raises(errors.InvalidError) as caught:
        images.read(
            {
                "a": {"rot": "x", "env": {"A": 1}},
                "b": 3,
                "c": {"root": "missing"},
                "d": {"command": "sh"},
                "e": {"python": 3},
            },
            tmp_path,
        )
    paths = {problem.path for problem in caught.value.problems}
    assert paths == {
        "images['a'].rot",
        "images['a'].env",
        "images['b']",
        "images['c'].root",
        "images['d'].command",
        "images['e'].python",
    }


def test_setting_round(tmp_path):
    """A good setting gives stand-ins with absolute folders."""
    (tmp_path / "fs").mkdir()
    read = images.read({"a/*": {"root": "fs", "command": ["lightgbm"], "env": {"A": "1"}, "workdir": "/opt"}}, tmp_path)
    assert read == {"a/*": images.Image(root=tmp_path / "fs", command=("lightgbm",), env={"A": "1"}, workdir="/opt")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"), ("x$(A)y$(B)", "x1y$(A)"), ("$$(A)", "$(A)"), ("$(NONE)", "$(NONE)"), ("$(A", "$(A"), ("$", "$"), ("a$", "a$"),
        ("$A", "$A"), ("$$", "$"), ("$$$(A)", "$1"), ("$$$$(A)", "$$(A)"), ("$()", "$()"),
        ("${A}", "${A}"), ("", ""), ("$($(A))", "$($(A))"),
    ],
)  # fmt: skip
def test_expansion_follows_kubernetes(text, expected):
    """``$(VAR)`` is replaced once, unknown names stay, and ``$$`` is a literal dollar sign."""
    assert environ.expand(text, {"A": "1", "B": "$(A)"}) == expected


def pod(**labels: str) -> meta.Resource:
    """A pod with labels."""
    metadata = meta.ObjectMeta(
        name="p", namespace="ns", uid="u-1", labels={"app": "x", **labels}, annotations={"k": "v"}
    )
    return meta.Resource(api_version="v1", kind="Pod", metadata=metadata)


def test_variables_see_those_before_them_and_config_maps():
    """``envFrom`` comes first, ``env`` in order; references to fields and ConfigMaps are resolved."""
    container = {
        "envFrom": [
            {"prefix": "P_", "configMapRef": {"name": "cm"}},
            {"configMapRef": {"name": "none", "optional": True}},
        ],
        "env": [
            {"name": "A", "value": "$(P_X)-$(B)"},
            {"name": "B", "value": "$(A)"},
            {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['k']"}}},
            {"name": "U", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "Y"}}},
            {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "none", "optional": True}}},
            {"name": "EMPTY"},
        ],
    }
    found = environ.variables(container, pod(), {"cm": {"X": "1", "Y": "two\n"}})
    assert found == {
        "P_X": "1", "P_Y": "two\n", "A": "1-$(B)", "B": "1-$(B)", "L": "x", "N": "v", "U": "u-1", "K": "two\n", "EMPTY": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    "container",
    [
        {"envFrom": [{"configMapRef": {"name": "none"}}]},
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k"}}}]},
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "none"}}}]},
    ],
)
def test_missing_config_map_waits(container):
    """A ConfigMap that is not there (yet) is an error that is worth another try, as in Kubernetes."""
    with pytest.raises(environ.MissingConfigError):
        environ.variables(container, pod(), {"cm": {}})
    assert not environ.MissingConfigError.permanent


def test_unknown_field_is_refused():
    """A field path that is not offered is an error that lists the known ones."""
    with pytest.raises(errors.BadInputError, match=r"metadata\.name"):
        environ.field(pod(), "spec.containers[0].name")
    assert environ.field(pod(), "metadata.labels['none']") == ""
    assert os.sep not in environ.field(pod(), "status.podIP")


def test_names_of_config_maps_are_collected():
    """Every ConfigMap of volumes, env and envFrom is named once, sorted."""
    spec = {
        "volumes": [{"name": "v", "configMap": {"name": "c"}}, {"name": "e", "emptyDir": {}}],
        "initContainers": [{"envFrom": [{"configMapRef": {"name": "b"}}]}],
        "containers": [
            {
                "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "k"}}},
                    {"name": "B", "value": "1"},
                ]
            }
        ],
    }
    assert environ.config_map_names(spec) == ["a", "b", "c"]


@pytest.mark.parametrize("path", ["/usr/bin:/bin", ""])
def test_a_shell_finds_a_python_at_last(path: str, tmp_path: Path) -> None:
    """The running interpreter's folder ends the PATH that programs inherit, once; what comes first in it stays first."""
    base = {"PATH": path} if path else {}
    own = str(Path(sys.executable).parent)
    inherited = settings.NodeSettings(tmp_path, environment=base).inherited()["PATH"].split(os.pathsep)
    assert inherited[-1] == own
    assert inherited[:-1] == (path.split(":") if path else list(images.SYSTEM_PATH))
    again = settings.NodeSettings(tmp_path, environment={"PATH": os.pathsep.join(inherited)}).inherited()["PATH"]
    assert again.split(os.pathsep) == inherited
