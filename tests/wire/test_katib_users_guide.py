"""The move from Katib in five commands, exactly as the guide shows it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs import pages
from wire.shell import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH (Debian: kubernetes-client)"),
]


def test_the_five_commands(tmp_path: Path) -> None:
    """The server starts, kubectl applies, waits and lists twelve succeeded trials; only the ports are the test's own."""
    first, second = [
        block.text for block in pages.blocks(ROOT / "docs/guides/katib-users.md") if block.language == "sh"
    ]
    assert len((first + second).strip().splitlines()) == 5
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(tmp_path)}
    environment.pop("KUTTAB_HOME", None)
    free = first.replace("kuttab serve", "exec kuttab serve --port 0 --db-manager-port 0")
    server = subprocess.Popen(["bash", "-ec", free], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("serving http://127.0.0.1:")
        said = server.stdout.readline().strip()
        assert said == f"export KUBECONFIG={tmp_path}/.kuttab/kubeconfig"
        done = subprocess.run(
            ["bash", "-ec", second],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "experiment.kubeflow.org/bayesianoptimization-experiment condition met" in done.stdout
        assert len(re.findall(r"^bayesianoptimization-experiment-\w+ +Succeeded", done.stdout, re.MULTILINE)) == 12
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert server.returncode == 0
