"""Status documents of pods, as Kubernetes shapes them. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kuttab.api import meta
from kuttab.node import processes

RUNNING, SUCCEEDED, FAILED, PENDING = "Running", "Succeeded", "Failed", "Pending"

NODE_LOST = "NodeLost"
LOG_TOO_LARGE = "LogTooLarge"
OOM_KILLED = "OOMKilled"
CANNOT_RUN = "ContainerCannotRun"
EARLY_STOPPED = "EarlyStopped"
DEADLINE = "DeadlineExceeded"
DELETED = "Deleted"
NAME_TAKEN = "NameTaken"

START_ERROR_CODE = 128
"""Exit code of a container that could not be started, as container runtimes report it."""
FINALIZER = "kuttab.org/process"
"""Holds a deleted pod until its processes are gone."""
ANNOTATION_ATTEMPT = "kuttab.org/attempt"
"""Number of the attempt that a pod is, from 0, over all pods of its job."""
ANNOTATION_INDEX = "kuttab.org/index"
"""Which completion or replica of its job a pod is, from 0."""
ANNOTATION_ROLE = "kuttab.org/role"
"""Which kind of replica a pod is, for jobs that have several."""


def written(pod: meta.Resource) -> bool:
    """Whether the pod is in the object store; one that runs but a moment may never come there."""
    return bool(pod.metadata.resource_version)


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What has become of a container; ``exit`` None while it runs, ``token`` empty when it never did."""

    name: str
    image: str = ""
    token: str = ""
    started: str = ""
    finished: str = ""
    exit: processes.Exit | None = None
    reason: str = ""
    message: str = ""

    def document(self, restarts: int = 0) -> meta.Json:
        """Its entry in ``containerStatuses``."""
        # imageID is required by clients; no image was fetched, so it is empty.
        entry: meta.Json = {"name": self.name, "image": self.image, "imageID": "", "restartCount": restarts}
        if self.exit is not None:
            entry["ready"] = False
            entry["state"] = {"terminated": self._terminated()}
        elif self.token:
            entry |= {"ready": True, "started": True, "state": {"running": {"startedAt": self.started}}}
        else:
            waiting = {
                "reason": self.reason or "PodInitializing",
                **({"message": self.message} if self.message else {}),
            }
            entry |= {"ready": False, "state": {"waiting": waiting}}
        if self.token:
            entry["containerID"] = self.token
        return entry

    def _terminated(self) -> meta.Json:
        assert self.exit is not None
        state: meta.Json = {
            "exitCode": self.exit.code,
            "reason": self.reason or ("Completed" if self.exit.code == 0 else "Error"),
            "startedAt": self.started,
            "finishedAt": self.finished,
        }
        if self.exit.signal:
            state["signal"] = self.exit.signal
        if self.message:
            state["message"] = self.message
        if self.token:
            state["containerID"] = self.token
        return state


def document(
    phase: str,
    containers: Sequence[ContainerState],
    inits: Sequence[ContainerState] = (),
    *,
    start_time: str,
    reason: str = "",
    message: str = "",
    restarts: int = 0,
) -> meta.Json:
    """A pod's whole status."""
    status: meta.Json = {"phase": phase, "hostIP": "127.0.0.1", "podIP": "127.0.0.1", "startTime": start_time}
    if reason:
        status["reason"] = reason
    if message:
        status["message"] = message
    status["containerStatuses"] = [state.document(restarts) for state in containers]
    if inits:
        status["initContainerStatuses"] = [state.document() for state in inits]
    return status


def phase(pod: meta.Object) -> str:
    """Phase of a pod; Pending when it has no status."""
    return str(pod.section("status").get("phase", PENDING))


def attempt(pod: meta.Object) -> int:
    """Number of the attempt that a pod is."""
    text = pod.metadata.annotation(ANNOTATION_ATTEMPT)
    return int(text) if text.isascii() and text.isdigit() else 0


def task(pod: meta.Object) -> tuple[str, int]:
    """Role and index of a pod in its job."""
    text = pod.metadata.annotation(ANNOTATION_INDEX)
    index = int(text) if text.isascii() and text.isdigit() else 0
    return pod.metadata.annotation(ANNOTATION_ROLE), index


def finished(pod: meta.Object) -> bool:
    """Whether the pod has come to its end."""
    return phase(pod) in (SUCCEEDED, FAILED)


def tokens(pod: meta.Object) -> list[str]:
    """Identities of the processes that a pod's status names."""
    status = pod.section("status")
    entries = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return [str(entry.get("containerID", "")) for entry in entries if entry.get("containerID")]


def lost(pod: meta.Resource, message: str) -> meta.Json:
    """The status of a pod whose processes were ended, or lost, by the end of the node's program."""
    old = pod.section("status")
    return {**old, "phase": FAILED, "reason": NODE_LOST, "message": message, "containerStatuses": _stopped(old)}


def _stopped(status: Mapping[str, Any]) -> list[meta.Json]:
    entries = []
    for entry in status.get("containerStatuses") or ():
        state = entry.get("state") or {}
        if "running" in state:
            # Nobody saw the exit, so there is no code to tell: Kubernetes' ContainerStatusUnknown.
            state = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", **state["running"]}}
        entries.append({**entry, "ready": False, "state": state})
    return entries


def outcome(containers: Sequence[ContainerState]) -> tuple[str, str]:
    """Phase and message of a pod whose containers have all ended."""
    for state in containers:
        if state.exit is not None and state.exit.code:
            return FAILED, describe(state)
    return SUCCEEDED, ""


def describe(state: ContainerState) -> str:
    """One sentence on how a container failed."""
    assert state.exit is not None
    how = f"was ended by signal {state.exit.signal}" if state.exit.signal else f"exited with code {state.exit.code}"
    why = f" ({state.reason})" if state.reason else ""
    return f"container {state.name!r} {how}{why}" + (f": {state.message}" if state.message else "")
