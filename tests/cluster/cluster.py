"""A real Kubernetes for tests, of programs that are on this machine: control plane, and a node with real containers where we may.

``python cluster.py FOLDER`` starts one with all its state in FOLDER, writes ``ready.json``, and ends it when nobody holds a shared
lock on ``users`` any more, however its users went. :func:`using` is what tests call.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "etcd")
NODE_PROGRAMS = ("kubelet", "kube-scheduler")
NODE_TOOLS = ("containerd", "ctr", "runc", "busybox")
NODE = "localhost"
PATIENCE = 120.0
IMAGE = "local/busybox:1"
"""An image that the node has: a shell and the usual small tools."""


class MissingError(Exception):
    """There is no Kubernetes to test with; the text says what to do."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster; ``node`` says whether it runs containers, and if not, why not."""

    kubeconfig: Path
    node: bool
    no_node: str = ""


def assets() -> Path:
    """The folder of programs. Raises MissingError."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    if named:
        folders = [named]
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        folders = sorted(glob.glob(f"{cache}/kuttab-kubernetes/*/"), reverse=True)
    for folder in folders:
        if all(os.access(Path(folder, program), os.X_OK) for program in PROGRAMS):
            return Path(folder)
    looked = ", ".join(folders) or "the user's cache"
    raise MissingError(
        f"no Kubernetes in {looked}: set KUBECONFIG_TEST to a kubeconfig, or KUBEBUILDER_ASSETS to a folder with {', '.join(PROGRAMS)}"
    )


@contextlib.contextmanager
def using(name: str, *, node: bool = True) -> Iterator[Cluster]:
    """The cluster of ``KUBECONFIG_TEST``, or one that all users of the name share, started by the first. Raises MissingError."""
    given = os.environ.get("KUBECONFIG_TEST")
    if given:
        yield Cluster(
            Path(given), bool(os.environ.get("KUBECONFIG_TEST_IMAGE")), "KUBECONFIG_TEST_IMAGE names no image"
        )
        return
    programs = assets()
    folder = Path(tempfile.gettempdir()) / f"kuttab-cluster-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    pid = 0
    with (folder / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with (folder / "start").open("w") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            if not (folder / "ready.json").exists():
                pid = _launch(folder, programs, node)
        ready = json.loads((folder / "ready.json").read_text())
        yield Cluster(Path(ready["kubeconfig"]), ready["node"], ready["no_node"])
    if pid:
        time.sleep(0.5)
        if not (folder / "ready.json").exists():  # nobody else uses it: it is ending
            with contextlib.suppress(TimeoutError):
                _until(lambda: _ended(pid), "the end of the cluster", patience=30.0)


def _launch(folder: Path, programs: Path, node: bool) -> int:
    """Start the cluster as a process of its own, which outlives us while others use it; its id."""
    log = str(folder / "cluster.log")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [(os.POSIX_SPAWN_OPEN, number, log, flags, 0o600) for number in (1, 2)]
    command = [sys.executable, __file__, str(folder), str(programs), "node" if node else ""]
    pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsid=True)
    _until(lambda: (folder / "ready.json").exists() or _ended(pid), "the cluster")
    if not (folder / "ready.json").exists():
        raise RuntimeError(f"the cluster did not start: {Path(log).read_text()[-2000:]}")
    return pid


def _ended(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


class Starter:
    """Starts the parts and ends them in the opposite order."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder = folder
        self._programs = programs
        self._started: list[subprocess.Popen[bytes]] = []
        self._ports = _free_ports(6)
        self._token = secrets.token_hex(16)
        self.kubeconfig = folder / "kubeconfig"

    def control_plane(self) -> None:
        """etcd, API server, controller manager."""
        etcd, peer, api, manager, _, _ = self._ports
        self._keys()
        (self._folder / "tokens.csv").write_text(f"{self._token},admin,admin,system:masters\n")
        self._write_kubeconfig(api)
        url, beside = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peer}"
        self._start(
            "etcd", f"--data-dir={self._folder}/etcd", f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
            f"--listen-peer-urls={beside}", f"--initial-advertise-peer-urls={beside}",
            f"--initial-cluster=default={beside}", "--unsafe-no-fsync",
        )  # fmt: skip
        self._start(
            "kube-apiserver", f"--etcd-servers={url}", f"--secure-port={api}", "--insecure-port=0",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--cert-dir={self._folder}/certs",
            f"--token-auth-file={self._folder}/tokens.csv", "--authorization-mode=RBAC", "--allow-privileged=true",
            f"--service-account-key-file={self._folder}/account.pub",
            f"--service-account-signing-key-file={self._folder}/account.key",
            "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16",
            f"--kubelet-client-certificate={self._folder}/client.crt",
            f"--kubelet-client-key={self._folder}/client.key",
        )  # fmt: skip
        _until(lambda: self.ask("/readyz") == "ok", "the API server", self._check)
        self._start(
            "kube-controller-manager", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false",
            f"--service-account-private-key-file={self._folder}/account.key", "--bind-address=127.0.0.1",
            f"--secure-port={manager}", "--port=0", f"--cert-dir={self._folder}/certs-manager",
            "--kube-api-qps=500", "--kube-api-burst=1000",
        )  # fmt: skip

    def node(self) -> None:
        """containerd, kubelet, scheduler."""
        *_, kubelet, scheduler = self._ports
        for name, text in _node_files(self._folder, kubelet).items():
            path = self._folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self._start("/usr/bin/env", "containerd", "--config", f"{self._folder}/containerd.toml")
        sock = f"{self._folder}/c.sock"
        _until(lambda: _quiet(["ctr", "-a", sock, "version"]) == 0, "containerd", self._check)
        for tag, command in (("local/pause:1", ["/bin/sleep", "100000000"]), (IMAGE, ["/bin/sh"])):
            archive = _image(self._folder, tag, command)
            subprocess.run(
                ["ctr", "-a", sock, "-n", "k8s.io", "images", "import", archive], check=True, capture_output=True
            )
        self._start(
            "kubelet", f"--kubeconfig={self.kubeconfig}", f"--config={self._folder}/kubelet.yaml",
            "--container-runtime=remote", f"--container-runtime-endpoint=unix://{sock}",
            f"--root-dir={self._folder}/kubelet", f"--hostname-override={NODE}", f"--cert-dir={self._folder}/certs-kubelet",
        )  # fmt: skip
        self._start(
            "kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1",
            f"--secure-port={scheduler}", "--port=0", f"--cert-dir={self._folder}/certs-scheduler",
        )  # fmt: skip
        _until(self._node_ready, "the node", self._check)

    def ask(self, path: str) -> str:
        """The text of a path of the API server, empty when there is none."""
        import ssl

        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"https://127.0.0.1:{self._ports[2]}{path}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self._token}"})
        try:
            with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def stop(self) -> None:
        """End everything: kubelet and scheduler, then containers, then the rest."""
        split = next((index for index, made in enumerate(self._started) if "containerd" in made.args), None)
        if split is not None:
            for process in reversed(self._started[split + 1 :]):
                _end(process)
            _end_containers(f"{self._folder}/c.sock")
            del self._started[split + 1 :]
        while self._started:
            _end(self._started.pop())
        for mount in sorted((m for m in _mounts() if m.startswith(f"{self._folder}/")), reverse=True):
            _quiet(["umount", "-l", mount])

    def _start(self, program: str, *arguments: str) -> None:
        path = program if "/" in program else str(self._programs / program)
        name = arguments[0] if program.endswith("/env") else program
        with (self._folder / f"{name}.log").open("wb") as log:
            made = subprocess.Popen(
                [path, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._folder
            )
        self._started.append(made)

    def _check(self) -> None:
        for process in self._started:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args} ended with {process.returncode}")

    def _node_ready(self) -> bool:
        text = self.ask(f"/api/v1/nodes/{NODE}")
        conditions = json.loads(text)["status"].get("conditions", []) if text else []
        ready = any(found["type"] == "Ready" and found["status"] == "True" for found in conditions)
        return ready and not json.loads(text)["spec"].get("taints")

    def _keys(self) -> None:
        run: dict[str, Any] = {"cwd": self._folder, "capture_output": True}
        subprocess.run(["openssl", "genrsa", "-out", "account.key", "2048"], check=True, **run)
        subprocess.run(["openssl", "rsa", "-in", "account.key", "-pubout", "-out", "account.pub"], check=True, **run)
        subject = ["-subj", "/O=system:masters/CN=apiserver", "-keyout", "client.key", "-out", "client.crt"]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", *subject], check=True, **run
        )

    def _write_kubeconfig(self, port: int) -> None:
        cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self._token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(document))
        self.kubeconfig.chmod(0o600)


def no_node(programs: Path) -> str:
    """Why there can be no node; empty when there can."""
    if os.geteuid() != 0:
        return "running containers needs root"
    missing = [name for name in NODE_PROGRAMS if not os.access(programs / name, os.X_OK)]
    missing += [name for name in NODE_TOOLS if shutil.which(name) is None]
    missing += [] if Path("/usr/lib/cni/ptp").exists() else ["the CNI plugin ptp"]
    return f"not installed: {', '.join(missing)}" if missing else ""


def main() -> None:
    """Run a cluster until nobody uses it."""
    folder, programs = Path(sys.argv[1]), Path(sys.argv[2])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    starter = Starter(folder, programs)
    try:
        starter.control_plane()
        reason = no_node(programs) if sys.argv[3:] != [""] else "none was asked for"
        if not reason:
            starter.node()
        ready = {"kubeconfig": str(starter.kubeconfig), "node": not reason, "no_node": reason}
        (folder / "ready.new").write_text(json.dumps(ready))
        (folder / "ready.new").rename(folder / "ready.json")
        with (folder / "users").open("w") as users:
            fcntl.flock(users, fcntl.LOCK_EX)  # waits for the last user
            (folder / "ready.json").unlink()
            starter.stop()
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        starter.stop()


def _node_files(folder: Path, port: int) -> dict[str, str]:
    network = {
        "cniVersion": "0.3.1",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": f"{folder}/cni-state",
                    "ranges": [[{"subnet": "198.18.32.0/20"}]],
                },
            }
        ],
    }
    cri = '[plugins."io.containerd.grpc.v1.cri"'
    containerd = (
        f'version = 2\nroot = "{folder}/containerd"\nstate = "{folder}/containerd-state"\n'
        f'[grpc]\n  address = "{folder}/c.sock"\n'
        f'{cri}]\n  sandbox_image = "local/pause:1"\n  restrict_oom_score_adj = true\n'
        f'{cri}.cni]\n  bin_dir = "/usr/lib/cni"\n  conf_dir = "{folder}/cni"\n'
    )
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": port,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{folder}/client.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,  # else it would end the containers of every other kubelet on this machine
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "hairpinMode": "none",
    }
    return {
        "cni/10-pods.conflist": json.dumps(network),
        "containerd.toml": containerd,
        "kubelet.yaml": yaml.safe_dump(kubelet),
    }


def _image(folder: Path, tag: str, command: list[str]) -> str:
    """An archive of an image that holds busybox and its links."""
    import hashlib
    import io
    import tarfile

    layer, archive = folder / "layer.tar", folder / "image.tar"
    busybox = shutil.which("busybox")
    assert busybox is not None
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    with tarfile.open(layer, "w") as made:
        for name, mode in (("bin", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            made.addfile(entry)
        made.add(os.path.realpath(busybox), "bin/busybox")
        for applet in applets:
            if "/" not in applet and applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                made.addfile(entry)
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": command, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{}],
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [f"docker.io/{tag}"], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(archive, "w") as made:
        for file, content in ((name, config), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(file)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
        made.add(layer, "layer.tar")
    return str(archive)


def _end_containers(sock: str) -> None:
    ctr = ["ctr", "-a", sock, "-n", "k8s.io"]
    for verb in (["tasks", "kill", "-s", "9"], ["tasks", "delete", "-f"], ["containers", "delete"]):
        listed = "containers" if verb[0] == "containers" else "tasks"
        found = subprocess.run([*ctr, listed, "ls", "-q"], check=False, capture_output=True, text=True).stdout.split()
        for container in found:
            _quiet([*ctr, *verb, container])


def _mounts() -> list[str]:
    return [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]


def _end(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _quiet(command: list[str]) -> int:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def _until(
    true: Callable[[], bool], what: str, check: Callable[[], None] = lambda: None, patience: float = PATIENCE
) -> None:
    """Ask until it is so: programs of others have no event that we could wait for."""
    deadline = time.monotonic() + patience
    while not true():
        check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not get ready")
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


if __name__ == "__main__":
    main()
