"""``kuttab.report`` and its one-line equivalent in programs that kuttab starts."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import yaml

from wire import shell

pytestmark = pytest.mark.slow

PYTHON = "import kuttab\nfor step in range(50):\n    kuttab.report(step, loss=${trialParameters.x} + step, acc=step)\n"
SHELL = 'echo "loss=${trialParameters.x} acc=1" >> "$KUTTAB_REPORT_FILE"\necho "loss=3e9" >> "$KUTTAB_REPORT_FILE"\n'


def manifest(command: list[str], collector: dict[str, Any] | None = None) -> dict[str, Any]:
    """An Experiment of three trials over a program."""
    container = {"name": "train", "image": "local", "command": command}
    return {
        "apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": "told"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss", "additionalMetricNames": ["acc"]},
            "algorithm": {"algorithmName": "random"}, "maxTrialCount": 3, "parallelTrialCount": 2, "maxFailedTrialCount": 1,
            "parameters": [{"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}}],
            **({"metricsCollectorSpec": collector} if collector else {}),
            "trialTemplate": {
                "primaryContainerName": "train", "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"backoffLimit": 0, "template": {"spec": {
                    "restartPolicy": "Never", "containers": [container]}}}},
            },
        },
    }  # fmt: skip


def run(folder: pathlib.Path, document: dict[str, Any]) -> shell.Done:
    """``kuttab run`` it."""
    path = folder / "told.yaml"
    path.write_text(yaml.safe_dump(document))
    return shell.Shell(folder / "data")("run", path, "--json")


@pytest.mark.parametrize(
    ("command", "collector", "largest"),
    [
        ([sys.executable, "-c", PYTHON], None, 49),
        (["sh", "-c", SHELL], None, 1),
        (
            [sys.executable, "-c", PYTHON],
            {
                "collector": {"kind": "File"},
                "source": {"fileSystemPath": {"kind": "File", "path": "/var/log/katib/metrics.json", "format": "JSON"}},
            },
            49,
        ),
    ],
    ids=["python", "shell", "json-file"],
)
def test_reports_reach_the_trial(
    tmp_path: pathlib.Path, command: list[str], collector: dict[str, Any] | None, largest: float
) -> None:
    """Reports of a program, in Python or in two lines of shell, are its metrics: each once."""
    done = run(tmp_path, manifest(command, collector))
    assert done.code == 0, done.err
    assert len(done.json["trials"]) == 3
    found = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "data")], check=True, capture_output=True, text=True, timeout=60
    )
    for x, low, high, count, acc in json.loads(found.stdout):
        assert low == x
        assert high == (x + 49 if largest == 49 else 3e9)
        assert count == (50 if largest == 49 else 2)
        assert acc == largest


READ = """
import json, sys
from kuttab.wiring import collecting, settings, reading, machine
from kuttab.sdk import results
import asyncio, pathlib
async def main():
    place = settings.Settings(pathlib.Path(sys.argv[1]))
    async with machine.opened(place) as objects:
        subject = await reading.experiment_of(objects, "told", None)
        trials = await reading.trials_of(objects, subject)
    return results.Result.of(subject, trials, read=collecting.LazyRows(place))
result = asyncio.run(main())
out = []
for trial in result.trials:
    curves = trial.curves()
    losses = [value for _, value in curves["loss"]]
    out.append([trial.parameters["x"], min(losses), max(losses), len(losses), max(value for _, value in curves["acc"])])
print(json.dumps(out))
"""


def test_report_that_nobody_reads_is_refused(tmp_path: pathlib.Path) -> None:
    """Under a collector that reads something else ``report`` raises, naming it, instead of losing values."""
    collector = {"collector": {"kind": "StdOut"}, "source": {"filter": {"metricsFormat": ["([a-z]+): ([0-9.]+)"]}}}
    done = run(tmp_path, manifest([sys.executable, "-c", PYTHON], collector))
    assert done.code == 1
    logs = [path.read_text() for path in (tmp_path / "data").rglob("*.log")]
    assert any(
        "kuttab.report cannot be used in this trial: its collector reads lines by a filter" in text for text in logs
    )
