"""Real database servers for tests: found on this machine, started on a free port in a folder of their own, ended afterwards."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any


class MissingError(Exception):
    """The server's programs are not installed; the text says what to install."""


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database on a PostgreSQL server."""
    with postgresql_that_restarts() as (url, _, _):
        yield url


@contextlib.contextmanager
def postgresql_that_restarts() -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """The same, with functions that stop the server (at once, as a crash does) and start it again."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    programs = os.path.dirname(found[-1]) if found else os.path.dirname(shutil.which("initdb") or "")
    if not programs:
        raise MissingError("PostgreSQL is not installed (apt-get install postgresql)")
    user = _ordinary_user("postgres")
    with _folder(user) as folder, contextlib.ExitStack() as stack:
        data, port = f"{folder}/data", free_port()
        run = _quietly(user, folder) | {"env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}}
        subprocess.run([f"{programs}/initdb", "-D", data, "-U", "kuttab", "-A", "trust", "-N"], check=True, **run)

        def start() -> None:
            server = [f"{programs}/postgres", "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-F"]
            stack.enter_context(_running(server, run, signal.SIGQUIT))
            _wait_for([f"{programs}/pg_isready", "-h", "127.0.0.1", "-p", str(port)])

        start()
        yield f"postgresql://kuttab@127.0.0.1:{port}/postgres", lambda: stack.pop_all().close(), start


@contextlib.contextmanager
def mariadb() -> Iterator[str]:
    """The URL of an empty database on a MariaDB server."""
    server = shutil.which("mariadbd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    install = shutil.which("mariadb-install-db")
    admin = shutil.which("mariadb-admin")
    client = shutil.which("mariadb")
    if not (server and install and admin and client):
        raise MissingError("MariaDB is not installed (apt-get install mariadb-server)")
    user = _ordinary_user("mysql")
    with _folder(user) as folder:
        port = free_port()
        run = _quietly(user, folder)
        base = ["--no-defaults", f"--datadir={folder}/data"]
        subprocess.run(
            [install, *base, "--auth-root-authentication-method=normal", "--skip-test-db"], check=True, **run
        )
        options = [f"--port={port}", f"--socket={folder}/s", "--bind-address=127.0.0.1", f"--pid-file={folder}/pid"]
        with _running([server, *base, *options, "--sql-mode=STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE"], run):
            reach = ["--no-defaults", "-h127.0.0.1", f"-P{port}", "-uroot"]
            _wait_for([admin, *reach, "ping"])
            subprocess.run([client, *reach, "-e", "CREATE DATABASE kuttab CHARACTER SET utf8mb4"], check=True)
            yield f"mysql://root@127.0.0.1:{port}/kuttab"


def _quietly(user: str | None, folder: str) -> dict[str, Any]:
    return {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}


def _ordinary_user(wanted: str) -> str | None:
    """Servers refuse to run as root; None means the user we are."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(wanted).pw_name
    except KeyError:
        return "nobody"


@contextlib.contextmanager
def _folder(user: str | None) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="kuttab-db-", ignore_cleanup_errors=True) as folder:
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        yield folder


@contextlib.contextmanager
def _running(command: list[str], run: dict[str, Any], end: signal.Signals = signal.SIGTERM) -> Iterator[None]:
    process = subprocess.Popen(command, **run)
    try:
        yield
    finally:
        process.send_signal(end)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(probe: list[str]) -> None:
    """Ask the server until it answers; it has no event that we could wait for."""
    deadline = time.monotonic() + 60
    while subprocess.run(probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no answer to {probe}")
        time.sleep(0.1)
