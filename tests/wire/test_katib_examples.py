"""Katib's published manifests, unmodified: each validates or is refused for the documented reason; those that validate run to their end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kuttab.admission import yaml
from kuttab.api import conditions, experiment, keys, kinds
from kuttab.base import errors
from kuttab.wiring import machine, manifests
from kuttab.wiring import settings as settings_
from wire import machines
from wire.shell import EXAMPLES, ROOT, Shell

FOLDER = ROOT / "../shared/katib-examples"
IMAGES = EXAMPLES / "katib" / "images.yaml"
GUIDE = ROOT / "docs/guides/katib-examples.md"
ROW = re.compile(r"\| (\S+\.yaml) \| (runs|refused) \| (.+) \|")
TABLE = {match[1]: (match[2], match[3]) for match in ROW.finditer(GUIDE.read_text())}
RUNNING = [name for name, (verdict, _) in TABLE.items() if verdict == "runs" and not name.startswith("support/")]
OTHERS = [name for name in RUNNING if name not in ("hp-tuning/random.yaml", "hp-tuning/grid.yaml")]
KUBECTL = shutil.which("kubectl")

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the published examples are not beside the checkout (../shared/katib-examples)"
)


def settings(data: Path) -> settings_.Settings:
    """A data folder with the stand-ins for the images."""
    return settings_.Settings(data=data, images=settings_.read_images(IMAGES, data))


def documents(name: str) -> manifests.Manifest:
    """A manifest; one whose template is in the shipped ConfigMap gets that beside it, as in a cluster."""
    read = [*yaml.load((FOLDER / name).read_bytes(), name)]
    if "configmap-source" in name:
        read += yaml.load((FOLDER / "support/trial-templates-configmap.yaml").read_bytes(), name)
    return manifests.Manifest(name, read)


def test_the_table_lists_every_published_file() -> None:
    """No example is without a verdict, and no verdict is about nothing."""
    there = {str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/*.yaml")}
    assert set(TABLE) == there
    assert len(RUNNING) == 18


@pytest.mark.parametrize("name", list(TABLE))
def test_each_validates_or_is_refused_for_the_documented_reason(tmp_path: Path, name: str) -> None:
    """What admission says is what the guide says."""
    verdict, reason = TABLE[name]
    problems: list[errors.Problem] = []
    warnings: list[str] = []
    try:
        warnings = manifests.check(documents(name), settings(tmp_path)).warnings
    except errors.InvalidError as problem:
        problems = list(problem.problems)
    assert verdict == ("refused" if problems else "runs")
    assert not problems or reason in " ".join(map(str, problems))
    assert all(item.line for item in problems)
    told = [warning.partition(": ")[2] for warning in warnings]
    assert all(text in reason or text.endswith("on one machine") for text in told)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "grid"])
def test_random_and_grid_run_to_their_end_by_the_command(tmp_path: Path, name: str) -> None:
    """Unmodified, with the images setting alone: twelve trials and a best one."""
    done = Shell(tmp_path / "data")("run", FOLDER / f"hp-tuning/{name}.yaml", "--images", IMAGES, "--json")
    assert done.code == 0, done.err
    status = done.json["experiment"]["status"]
    assert status["trialsSucceeded"] == 12
    best = status["currentOptimalTrial"]
    assert float(best["observation"]["metrics"][0]["min"]) < 0.45
    assert {item["name"] for item in best["parameterAssignments"]} == {"lr", "momentum"}


@pytest.mark.slow
@pytest.mark.skipif(
    KUBECTL is None, reason="no kubectl on PATH (Debian: kubernetes-client); the next test runs instead"
)
def test_all_that_can_run_run_to_their_end_through_kubectl(tmp_path: Path) -> None:
    """Every other example at once, applied to a served machine: each succeeds with its whole budget or its goal."""
    shell = Shell(tmp_path / "data")
    server = shell.start("serve", "--port", "0", "--db-manager-port", "0", "--images", IMAGES, "--json")
    try:
        assert server.stdout is not None
        environment = {
            **os.environ, "KUBECONFIG": json.loads(server.stdout.readline())["kubeconfig"], "HOME": str(tmp_path),
        }  # fmt: skip

        def kubectl(*arguments: object) -> str:
            command = [str(KUBECTL), *map(str, arguments)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        kubectl("apply", *(word for name in OTHERS for word in ("-f", FOLDER / name)))
        kubectl("wait", "--for=condition=Succeeded", "experiment", "--all", "-A", "--timeout=300s")
        ended = [kinds.load(item) for item in json.loads(kubectl("get", "experiments", "-A", "-o", "json"))["items"]]
        assert len(ended) == len(OTHERS)
        for subject in ended:
            assert isinstance(subject, experiment.Experiment)
            check_end(subject)
        server.terminate()
        assert server.wait(60) == 0
    finally:
        shell.close()


@pytest.mark.slow
@pytest.mark.skipif(KUBECTL is not None, reason="run through kubectl by the test before")
async def test_all_that_can_run_run_to_their_end(tmp_path: Path) -> None:
    """Every other example at once on one machine: each succeeds with its whole budget or its goal."""
    async with machine.running(settings(tmp_path / "data")) as world:
        subjects = []
        for name in OTHERS:
            [document] = documents(name).documents
            subjects.append(await machines.submit(world, document.value))
        for subject in await asyncio.gather(*(machines.finish(world, subject) for subject in subjects)):
            check_end(subject)


def check_end(subject: experiment.Experiment) -> None:
    """Succeeded, with the objective measured by every trial, and the budget used up unless the goal was reached."""
    status, name = subject.status, subject.name
    told = [(c.type, c.message) for c in status.conditions or ()]
    assert conditions.is_true(status.conditions, keys.SUCCEEDED), (name, told)
    best = status.current_optimal_trial
    assert best is not None, name
    assert best.best_trial_name, name
    assert not status.trials_failed, (name, told)
    assert not status.trial_metrics_unavailable, (name, told)
    assert status.trials == (subject.spec.max_trial_count or 0) or "goal" in told[-1][1].lower(), (name, told)
