"""Loaded by the program that a page becomes: runs its shell blocks, keeps its servers, writes its files. All in the working folder."""

from __future__ import annotations

import atexit
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import yaml

_servers: list[subprocess.Popen[str]] = []


def shell(text: str) -> None:
    """Run a block as a reader's shell would, but end at the first command that fails."""
    done = subprocess.run(["bash", "-euc", text], capture_output=True, text=True, timeout=120, check=False)
    sys.stdout.write(done.stdout)
    if done.returncode != 0:
        raise AssertionError(f"{text}ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def server(text: str) -> None:
    """Start a command that serves; go on when it has said where."""
    process = subprocess.Popen(["bash", "-euc", f"exec {text}"], stdout=subprocess.PIPE, text=True)
    _servers.append(process)
    assert process.stdout is not None
    said = process.stdout.readline()
    assert "127.0.0.1:" in said, f"{text}said {said!r}"
    threading.Thread(target=process.stdout.read, daemon=True).start()


def program(text: str, port: int) -> None:
    """Start a Python program that serves on a port; go on when it listens."""
    environment = {**os.environ, "KATIB_SUGGESTION_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-c", text], env=environment, stdout=subprocess.DEVNULL, text=True)
    _servers.append(process)
    while process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise AssertionError(f"{text}ended with {process.returncode}")


def trial(text: str) -> None:
    """Run a block as the program of an experiment's only trial, which must report something and end well."""
    container = {
        "name": "main",
        "image": "any",
        "command": ["bash", "-euc", text],
        "env": [{"name": "X", "value": "${trialParameters.x}"}],
    }
    pod = {"restartPolicy": "Never", "containers": [container]}
    document = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "block"},
        "spec": {
            "objective": {"type": "maximize", "objectiveMetricName": "accuracy", "additionalMetricNames": ["loss"]},
            "algorithm": {"algorithmName": "random"},
            "maxTrialCount": 1,
            "maxFailedTrialCount": 0,
            "parameters": [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {
                    "apiVersion": "batch/v1", "kind": "Job", "spec": {"backoffLimit": 0, "template": {"spec": pod}},
                },
            },
        },
    }  # fmt: skip
    pathlib.Path("block.yaml").write_text(yaml.safe_dump(document))
    shell("kuttab run block.yaml --data block --quiet")


def write(name: str, text: str) -> None:
    """Put a file where the commands of the page look for it."""
    pathlib.Path(name).write_text(text)


def _end() -> None:
    for process in reversed(_servers):
        process.terminate()
        if process.wait(60) not in (0, -15):  # a program without a word about SIGTERM ends by it
            sys.stderr.write(f"{process.args} ended with {process.returncode}\n")


atexit.register(_end)
