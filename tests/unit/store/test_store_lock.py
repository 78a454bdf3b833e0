"""Who owns a data folder: one process, named to everybody who is refused, and nobody once it is gone."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kuttab.base import clock, errors
from kuttab.store import lock

HOLD = """
import sys
from pathlib import Path
from kuttab.base import clock
from kuttab.store import lock
lock.Lock(Path(sys.argv[1]), clock.SystemClock(), "kuttab run a.yaml").acquire()
print("held", flush=True)
sys.stdin.read()
"""


def make(folder: Path, command: str = "kuttab run x.yaml") -> lock.Lock:
    """A lock of this process."""
    return lock.Lock(folder, clock.SystemClock(), command)


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    """LockedError names process, host, time and command, and says what to do; after release the folder is free (D08)."""
    with make(tmp_path):
        with pytest.raises(errors.LockedError, match=rf"process {os.getpid()} on .*: 'kuttab run x.yaml'; wait for it"):
            make(tmp_path).acquire()
        found = lock.owner(tmp_path)
        assert found is not None
        assert (found["pid"], found["command"]) == (os.getpid(), "kuttab run x.yaml")
    assert lock.owner(tmp_path) is None
    with make(tmp_path) as again:
        assert again.acquire() is again


@pytest.mark.slow
def test_a_killed_owner_leaves_no_lock(tmp_path: Path) -> None:
    """The lock is the kernel's: kill -9 of its process frees the folder, whatever the file says."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(errors.LockedError, match=f"process {process.pid} "):
            make(tmp_path).acquire()
    finally:
        process.kill()
        process.communicate()
    assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == process.pid
    assert lock.owner(tmp_path) is None
    with make(tmp_path):
        assert (lock.owner(tmp_path) or {})["pid"] == os.getpid()


@pytest.mark.parametrize("text", [b"", b"nonsense", b"[1]", b'{"host": "x"}'])
def test_an_owner_without_a_name_is_still_an_owner(
    tmp_path: Path, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the file says informs people only: with any text in it the lock holds."""
    monkeypatch.setattr(lock, "_MOMENT", 0.0)
    with make(tmp_path):
        (tmp_path / lock.NAME).write_bytes(text)
        with pytest.raises(errors.LockedError, match="in use by another process"):
            make(tmp_path).acquire()


def test_the_command_line_prints_safely(tmp_path: Path) -> None:
    """Control characters of another user's command line do not reach the terminal."""
    with make(tmp_path, "kuttab \x1b[31m"), pytest.raises(errors.LockedError) as caught:
        make(tmp_path).acquire()
    assert "\x1b" not in caught.value.message


def test_a_folder_that_cannot_hold_a_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder, a link in place of the file, and a file system without locks each give one clear error (D09)."""
    with pytest.raises(errors.UnavailableError, match="choose another data folder"):
        make(tmp_path / "missing").acquire()
    (tmp_path / "target").touch()
    (tmp_path / lock.NAME).symlink_to(tmp_path / "target")
    with pytest.raises(errors.UnavailableError, match="choose another data folder"):
        make(tmp_path).acquire()
    (tmp_path / lock.NAME).unlink()

    def without(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.raises(errors.UnavailableError, match="file system without locks"):
        make(tmp_path).acquire()


def test_a_full_disk_does_not_refuse_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name in the file is a courtesy: when it cannot be written the folder is owned all the same."""

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        held = make(tmp_path).acquire()
    monkeypatch.setattr(lock, "_MOMENT", 0.0)
    with pytest.raises(errors.LockedError):
        make(tmp_path).acquire()
    held.release()
    held.release()
    make(tmp_path).acquire().release()
