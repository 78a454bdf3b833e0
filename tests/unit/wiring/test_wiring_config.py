"""Configuration files: what each form means for a process of this machine, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kuttab.base import errors
from kuttab.wiring import config, settings

SHIPPED = Path(__file__).parents[4] / "shared" / "katib-examples" / "support" / "katib-config.yaml"

C1 = """
apiVersion: v1
kind: ConfigMap
metadata: {name: katib-config, namespace: kubeflow}
data:
  suggestion: |-
    {
      "hyperband": {
        "image": "<reg>/kubeflow-images-public/katib/v1beta1/suggestion-hyperband"
      },
      "bayesianoptimization": {
        "image": "<reg>/kubeflow-images-public/katib/v1beta1/suggestion-skopt"
      }
    }
"""


def read(folder: Path, document: Any, images: dict[str, Any] | None = None) -> config.Config:
    """Read a document, or text, from a file."""
    file = folder / "config.yaml"
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return config.read(file, images or {})


def katib(*suggestions: dict[str, Any], **runtime: Any) -> dict[str, Any]:
    """A KatibConfig."""
    return {
        "apiVersion": "config.kubeflow.org/v1beta1",
        "kind": "KatibConfig",
        "runtime": {"suggestions": list(suggestions), **runtime},
    }


def test_the_articles_config_map_names_images_and_the_images_setting_programs(tmp_path: Path) -> None:
    """[P5] C1: an image for which a program stands becomes that program; one without is known by its image."""
    found = read(tmp_path, C1, {"*/suggestion-skopt": {"command": ["skopt-service", "--fast"]}})
    assert found.algorithms["bayesianoptimization"].command == ("skopt-service", "--fast")
    assert found.images == {"hyperband": "<reg>/kubeflow-images-public/katib/v1beta1/suggestion-hyperband"}


def test_old_entries_with_flat_resources_and_all_three_keys(tmp_path: Path) -> None:
    """The forms before v0.10: flat resources, early stopping and collectors as JSON texts."""
    data = {
        "suggestion": '{"mine": {"image": "a", "command": ["b"], "cpuLimit": "1", "memRequest": "10Mi", "imagePullPolicy": "Always"}}',
        "early-stopping": '{"stop": {"image": "c", "command": ["d"]}}',
        "metrics-collector-sidecar": '{"StdOut": {"image": "e", "resources": {"limits": {"memory": "1Gi"}}}}',
    }
    found = read(
        tmp_path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "katib-config"}, "data": data}
    )
    assert found.algorithms["mine"].command == ("b",)
    assert found.early_stoppings["stop"].command == ("d",)


def test_todays_config_map_holds_the_object_as_text(tmp_path: Path) -> None:
    """The ConfigMap that today's controller mounts."""
    text = yaml.safe_dump(katib({"algorithmName": "mine", "command": ["a"], "args": ["-b"]}))
    found = read(
        tmp_path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"katib-config.yaml": text}}
    )
    assert found.algorithms["mine"].command == ("a", "-b")


def test_a_programs_fields_are_kept_and_the_last_entry_of_a_name_wins(tmp_path: Path) -> None:
    """Command, arguments, environment, folder, state and deadline of the last entry."""
    last = {
        "algorithmName": "mine", "command": ["a"], "args": ["b"], "env": [{"name": "C", "value": "d"}, {"name": "E"}],
        "workingDir": "sub", "volumeMountPath": "/state", "timeoutSeconds": 5, "resources": {"limits": {"cpu": "1"}},
    }  # fmt: skip
    found = read(tmp_path, katib({"algorithmName": "mine", "image": "x"}, last))
    (program,) = found.algorithms.values()
    assert (program.command, dict(program.env)) == (("a", "b"), {"C": "d", "E": ""})
    assert (program.workdir, program.volume, program.timeout, program.base) == ("sub", "/state", 5, tmp_path)
    assert found.images == {}


@pytest.mark.parametrize(
    ("entry", "path", "part"),
    [
        ({"algorithmName": "a", "comand": ["b"]}, "runtime.suggestions[0].comand", "did you mean command"),
        ({"algorithmName": "a"}, "runtime.suggestions[0].image", "no command"),
        ({"image": "a"}, "runtime.suggestions[0].algorithmName", "must be given"),
        ({"algorithmName": "a", "command": "b"}, "runtime.suggestions[0].command", "list"),
        ({"algorithmName": "a", "command": ["b"], "envFrom": [{"configMapRef": {}}]}, "runtime.suggestions[0].envFrom", "honoured"),
        ({"algorithmName": "a", "command": ["b"], "env": [{"name": "c", "valueFrom": {}}]}, "runtime.suggestions[0].env[0]", "value"),
        ({"algorithmName": "a", "command": ["b"], "ports": [{"containerPort": 6789}]}, "runtime.suggestions[0].ports[0]", "own port"),
        ({"algorithmName": "a", "command": ["b"], "timeoutSeconds": 0}, "runtime.suggestions[0].timeoutSeconds", "above 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_path(tmp_path: Path, entry: dict[str, Any], path: str, part: str) -> None:
    """No field is silently ignored: unknown, missing, mistyped and impossible ones are refused."""
    with pytest.raises(errors.InvalidError) as refused:
        read(tmp_path, katib(entry))
    assert path in [problem.path for problem in refused.value.problems]
    assert part in refused.value.message
    assert str(tmp_path) in refused.value.message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "it is empty"),
        ("a: 1\n---\nb: 1\n", "exactly one"),
        ("a: [", "config.yaml"),
        ("apiVersion: v1\nkind: Secret\n", "must be a KatibConfig"),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {other: x}\n", "neither"),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {suggestion: '{', }\n", "suggestion"),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {suggestion: '{}', sugestion: '{}'}\n", "did you mean suggestion"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, part: str) -> None:
    """Every kind of wrong file is bad input with the file's name."""
    with pytest.raises(errors.BadInputError) as refused:
        read(tmp_path, text)
    assert part in refused.value.message


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(errors.BadInputError, match=r"none\.yaml"):
        config.read(tmp_path / "none.yaml", {})


@pytest.mark.skipif(not SHIPPED.is_file(), reason="Katib's shipped files are not beside the project")
def test_katibs_shipped_configuration_changes_nothing_here() -> None:
    """Every name in it is one of ours, served in this process: no image stands in the way."""
    found = config.read(SHIPPED, {})
    assert found.algorithms == {}
    assert found.early_stoppings == {}
    assert set(found.images) >= {"random", "tpe", "medianstop"}


def test_a_data_folder_remembers_the_configuration_it_was_run_with(tmp_path: Path) -> None:
    """Later commands over the folder find it; a file of the folder's own is never replaced."""
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(katib({"algorithmName": "mine", "command": ["a"]})))
    plain = settings.Settings(data=tmp_path / "data")
    assert settings.configured(plain).algorithms == {}
    settings.remember(plain, file)
    settings.remember(plain, file)
    assert settings.configured(plain).algorithms["mine"].base == tmp_path
    own = settings.Settings(data=tmp_path / "own")
    own.data.mkdir()
    (own.data / "config.yaml").write_text(yaml.safe_dump(katib()))
    settings.remember(own, file)
    assert settings.configured(own).algorithms == {}
