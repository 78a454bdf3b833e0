"""``kuttab serve`` as a process, for tests that talk to it as strangers do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml

from wire import shell

PATIENCE = 60
_COMPLAINTS: dict[int, Path] = {}


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    said: dict[str, Any]
    http: httpx.Client

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig it wrote."""
        return Path(self.said["kubeconfig"])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Tell it to stop; its exit code and what it complained about."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return finish(self.process)

    def kubectl(self, *arguments: object, check: bool = True, text: str | None = None, **more: Any) -> str:
        """What kubectl prints; with ``check`` off also when it fails."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.kubeconfig.parent), **more}
        done = subprocess.run(
            ["kubectl", *map(str, arguments)], input=text, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"kubectl {arguments}: {done.stdout} {done.stderr}"
            return done.stdout
        return done.stdout + done.stderr


@contextlib.contextmanager
def running(data: Path, *arguments: object) -> Iterator[Server]:
    """Serve while inside, on free ports."""
    process = start(data, *arguments)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(f"kuttab serve did not start: {finish(process)}")
        said = json.loads(line)
        config = yaml.safe_load(Path(said["kubeconfig"]).read_text())
        token = config["users"][0]["user"]["token"]
        authority = config["clusters"][0]["cluster"].get("certificate-authority-data")
        assert authority is None  # plain HTTP unless a test asks for more
        with httpx.Client(base_url=said["url"], headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE) as http:
            yield Server(process, said, http)
    finally:
        if process.poll() is None:
            process.terminate()
        finish(process)


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for the end of a command of :func:`start`: its exit code and what it complained about."""
    try:
        process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode, _COMPLAINTS[process.pid].read_text()


def start(data: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """Start the command on free ports."""
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "kuttab", "serve", "--data", str(data), "--json"]
    for option in ("--port", "--db-manager-port"):
        if option not in arguments:
            command += [option, "0"]
    complaints = data.parent / f"{data.name}-{len(_COMPLAINTS)}.err"
    with complaints.open(
        "wb"
    ) as file:  # a file: nobody reads a pipe while the server runs, and a full one would stop it
        process = subprocess.Popen(
            [*command, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file,
            env=environment, cwd=shell.ROOT, start_new_session=True,
        )  # fmt: skip
    _COMPLAINTS[process.pid] = complaints
    return process
