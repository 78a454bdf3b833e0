"""``kuttab serve`` driven by the unmodified package ``kubeflow-katib`` and the official ``kubernetes`` client.

The package pins an older protobuf than ours, so it lives in an environment of its own: ``make strangers``.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wire.shell import ROOT, Shell

SCRIPT = Path(__file__).parent / "strangers" / "katib_sdk.py"
PYTHON = Path(os.environ.get("VENV", ROOT / ".venv")).absolute() / "strangers" / "bin" / "python"
STEPS = (
    "create", "create_again", "wait", "get", "conditions", "optimal", "trials", "metrics", "logs", "logs_followed", "budget", "tune", "push",
    "official_client", "delete",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("katib-sdk"),
    pytest.mark.skipif(
        not PYTHON.exists(), reason=f"no kubeflow-katib package in {PYTHON.parent.parent}; make strangers installs it"
    ),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The problem of each step, empty when it went well."""
    folder = tmp_path_factory.mktemp("sdk")
    shell = Shell(folder / "data")
    server = shell.start("serve", "--port", "0", "--db-manager-port", "0", "--json")
    try:
        assert server.stdout is not None
        served = json.loads(server.stdout.readline())
        environment = {**os.environ, "KUBECONFIG": served["kubeconfig"], "HOME": str(folder)}
        done = subprocess.run(
            [PYTHON, SCRIPT, served["dbManager"]],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        told = [json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("STEP ")]
        yield {item["step"]: item["problem"] for item in told} | ({} if told else {"": done.stderr})
        server.terminate()
        assert server.wait(30) == 0
    finally:
        shell.close()


@pytest.mark.parametrize("step", STEPS)
def test_the_katib_sdk(outcomes: dict[str, str], step: str) -> None:
    """Each thing that a KatibClient (or the Kubernetes client beside it) offers works as against Katib itself."""
    if step == "push" and subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip(
            "report_metrics reads a file that only pods have, and this machine lets no program have a mount of its own"
        )
    assert step in outcomes, outcomes
    assert outcomes[step] == ""
