"""``kuttab serve`` driven by the unmodified package ``kubeflow-katib`` and the official ``kubernetes`` client.

The package pins an older protobuf than ours, so it lives in an environment of its own: ``make strangers``.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from docs import pages
from wire.shell import ROOT, Shell

SCRIPT = Path(__file__).parent / "strangers" / "katib_sdk.py"
PYTHON = Path(os.environ.get("VENV", ROOT / ".venv")).absolute() / "strangers" / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.exists(), reason=f"no kubeflow-katib package in {PYTHON.parent.parent}; make strangers installs it"
    ),
]


def snippets(folder: Path, db_manager: str) -> list[Path]:
    """What the guides show of the package, as files: for users, with this server's address, and for trials."""
    found = []
    for guide in ("katib-users.md", "collectors.md"):
        [text] = [
            block.text
            for block in pages.blocks(ROOT / "docs" / "guides" / guide)
            if block.rest == f"tests/wire/{Path(__file__).name}"
        ]
        found.append(folder / f"{guide}.py")
        found[-1].write_text(text.replace("127.0.0.1:6789", db_manager))
    return found


def test_the_katib_sdk_finds_everything_it_needs(tmp_path: Path) -> None:
    """All that a KatibClient offers, and the Kubernetes client beside it, works as against Katib itself."""
    shell = Shell(tmp_path / "data")
    server = shell.start("serve", "--port", "0", "--db-manager-port", "0", "--json")
    try:
        assert server.stdout is not None
        served = json.loads(server.stdout.readline())
        environment = {**os.environ, "KUBECONFIG": served["kubeconfig"], "HOME": str(tmp_path)}
        done = subprocess.run(
            [PYTHON, SCRIPT, served["dbManager"], *snippets(tmp_path, served["dbManager"])],
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        server.terminate()
        assert server.wait(30) == 0
    finally:
        shell.close()
    told = [json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("STEP ")]
    problems = {item["step"]: item["problem"] for item in told}
    wanted = {"create", "wait", "metrics", "logs_followed", "budget", "guide", "tune", "push", "delete"}
    assert set(problems) >= wanted, done.stderr
    mounts = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
    pushed = problems.pop("push")
    assert {step: problem for step, problem in problems.items() if problem} == {}
    if not mounts:
        pytest.skip(
            "all but push: report_metrics reads a file that only pods have, and no program here may have a mount of its own"
        )
    assert pushed == ""
