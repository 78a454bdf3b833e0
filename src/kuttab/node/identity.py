"""Who a process is, so that none is ever signalled by its number alone.

A process number is reused; the pair of boot and start time is not, and a marker in the environment says which pod a process
belongs to even when it has left its process group or lost its parent. Linux is read from ``/proc`` directly (one small read a
process); elsewhere ``psutil`` does it. A process that clears or overwrites its own environment *and* daemonises itself can hide:
local processes are not isolated from each other, and nothing here claims so.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psutil

from kuttab.base import errors, ids

ENV_POD = "KUTTAB_POD_UID"
"""Environment variable that holds the uid of the pod a process belongs to."""
ENV_NODE = "KUTTAB_NODE"
"""Environment variable that holds the name of the node (one per data folder) that started a process."""

_LINUX = sys.platform.startswith("linux")
_SCHEME = "process://"


@dataclass(frozen=True, slots=True)
class Identity:
    """A process for ever: number, start time (ticks since boot on Linux, seconds elsewhere) and boot."""

    pid: int
    started: str
    boot: str

    @property
    def token(self) -> str:
        """One word for a pod's ``containerID``."""
        return f"{_SCHEME}{self.boot}/{self.started}/{self.pid}"

    @classmethod
    def parse(cls, token: str) -> Identity | None:
        """Read a token; None for anything else."""
        parts = token.removeprefix(_SCHEME).split("/")
        if not token.startswith(_SCHEME) or len(parts) != 3 or not (parts[2].isascii() and parts[2].isdigit()):
            return None
        return cls(int(parts[2]), parts[1], parts[0])


@dataclass(frozen=True, slots=True)
class Stat:
    """What the kernel says about a process; ``zombie`` means that it has ended and waits for its parent."""

    parent: int
    group: int
    session: int
    started: str
    zombie: bool


def node_name(data_dir: str | os.PathLike[str]) -> str:
    """The name of the node that owns a data folder: the same for every spelling of its path."""
    return ids.digest_name("node", os.path.realpath(data_dir), length=16)


@functools.cache
def boot_id() -> str:
    """What distinguishes this boot of the machine from every other."""
    if _LINUX:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    return f"boot-{psutil.boot_time():.0f}"


def of(pid: int) -> Identity:
    """The identity of a living or not yet reaped process; NotFoundError."""
    found = stat(pid)
    if found is None:
        raise errors.NotFoundError(f"process {pid} does not exist")
    return Identity(pid, found.started, boot_id())


def stat(pid: int) -> Stat | None:
    """State of a process, None when there is none."""
    return _stat_linux(pid) if _LINUX else _stat_portable(pid)


def alive(who: Identity, pod: str = "") -> bool:
    """Whether exactly that process still runs: same number, start and boot, and no other pod's marker in its environment."""
    if who.boot != boot_id():
        return False
    found = stat(who.pid)
    if found is None or found.zombie or found.started != who.started:
        return False
    marker = environment(who.pid).get(ENV_POD, "")
    return not (pod and marker and marker != pod)


def environment(pid: int) -> dict[str, str]:
    """Our markers in the environment that a process was started with; empty when it cannot be read."""
    if not _LINUX:
        try:
            variables = psutil.Process(pid).environ()
        except (psutil.Error, OSError):
            return {}
        return {key: variables[key] for key in (ENV_POD, ENV_NODE) if key in variables}
    try:
        raw = _read(f"/proc/{pid}/environ")
    except OSError:
        return {}
    if ENV_NODE.encode() not in raw:
        return {}
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0"))
    wanted = {ENV_POD.encode(): ENV_POD, ENV_NODE.encode(): ENV_NODE}
    return {wanted[key]: value.decode("utf-8", "replace") for key, _, value in pairs if key in wanted}


def bare(pid: int) -> bool:
    """Whether a process shows no environment at all (Linux only)."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return not file.read(1)
    except OSError:
        return False


def marked(node: str, pids: Iterable[int] | None = None) -> dict[int, str]:
    """Process number to pod uid, for every living process that carries the node's marker.

    Never this process, its parents, nor processes of other users whose environment cannot be read.
    """
    sparing = _lineage()
    found = {}
    for pid in psutil.pids() if pids is None else pids:
        if pid in sparing:
            continue
        variables = environment(pid)
        if variables.get(ENV_NODE) == node and ENV_POD in variables:
            found[pid] = variables[ENV_POD]
    return found


def descendants(pid: int) -> Iterator[int]:
    """Children of a process and theirs, as far as the tree still hangs together."""
    pending = [pid]
    seen = {pid}
    while pending:
        for child in children(pending.pop()):
            if child not in seen:
                seen.add(child)
                pending.append(child)
                yield child


def children(pid: int) -> list[int]:
    """Direct children of a process, those of all its threads; empty when it is gone."""
    if not _LINUX:
        try:
            return [child.pid for child in psutil.Process(pid).children()]
        except psutil.Error:
            return []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [child for thread in threads for child in thread_children(pid, int(thread))]


def thread_children(pid: int, thread: int) -> list[int]:
    """Children of one thread (Linux only); orphans that a subreaper adopts hang below its main thread."""
    try:
        return [int(word) for word in _read(f"/proc/{pid}/task/{thread}/children").split()]
    except OSError:
        return []


def resident_bytes(pid: int) -> int:
    """Resident memory of a process with shared pages counted whole; 0 when it is gone."""
    if not _LINUX:
        try:
            return int(psutil.Process(pid).memory_info().rss)
        except psutil.Error:
            return 0
    try:
        return int(_read(f"/proc/{pid}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def proportional_bytes(pid: int) -> int:
    """Resident memory with shared pages divided among those who share them, where the system tells; dearer to ask."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return resident_bytes(pid)
    return resident_bytes(pid)


def _read(path: str) -> bytes:
    """A small file of /proc, without the detours of file objects: this is done several times a trial."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        raw = part = os.read(file, 1 << 16)
        while part:
            part = os.read(file, 1 << 16)
            raw += part
        return raw
    finally:
        os.close(file)


def _stat_linux(pid: int) -> Stat | None:
    try:
        raw = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The name of the program stands in brackets and may hold anything, brackets and blanks included.
    fields = raw[raw.rindex(b")") + 2 :].split()
    return Stat(int(fields[1]), int(fields[2]), int(fields[3]), fields[19].decode(), fields[0] in (b"Z", b"X"))


def _stat_portable(pid: int) -> Stat | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            zombie = process.status() == psutil.STATUS_ZOMBIE
            return Stat(process.ppid(), os.getpgid(pid), os.getsid(pid), f"{process.create_time():.3f}", zombie)
    except (psutil.Error, OSError):
        return None


def _lineage() -> set[int]:
    pid = os.getpid()
    line = {0, 1, pid}
    while pid > 1:
        found = stat(pid)
        if found is None or found.parent in line:
            break
        pid = found.parent
        line.add(pid)
    return line
