"""One process owns a data folder.

The lock is the kernel's (flock): it ends with its process however that ends, so there is no stale lock to judge. The file's text only tells
people who the owner is. A child made by ``fork`` without ``exec`` shares the lock; programs started the usual way do not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final, Self

from kuttab.base import clock as clocks
from kuttab.base import errors

NAME: Final = "lock"
_LONGEST = 4096
_TRIES = 5
_MOMENT = 0.02


class Lock:
    """Ownership of a folder, from :meth:`acquire` to :meth:`release`."""

    def __init__(self, folder: Path, clock: clocks.Clock, command: str = "") -> None:
        """``command`` is shown to whoever is refused; by default this process's command line."""
        self.path = folder / NAME
        self._clock = clock
        self._command = command or " ".join(sys.argv) or "python"
        self._descriptor: int | None = None

    def acquire(self) -> Self:
        """Own the folder, or raise LockedError naming the owner. UnavailableError where the file system has no locks."""
        if self._descriptor is not None:
            return self
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise errors.UnavailableError(
                f"cannot open {self.path}: {error.strerror}; choose another data folder"
            ) from error
        self._lock(descriptor)
        self._descriptor = descriptor
        # Informative only, so a full disk must not refuse the owner.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(self._owner()).encode(), 0)
        return self

    def release(self) -> None:
        """Give the folder up. The file stays: removing it would let two processes lock two files of one name."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def _lock(self, descriptor: int) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    os.close(descriptor)
                    raise errors.UnavailableError(
                        f"{self.path.parent} is on a file system without locks ({error.strerror}); choose one with locks"
                    ) from error
                if _read(descriptor) or not tries_left:
                    who = _describe(descriptor)
                    os.close(descriptor)
                    raise errors.LockedError(
                        f"{self.path.parent} is in use by {who}; wait for it, end it, or choose another data folder"
                    ) from None
                time.sleep(_MOMENT)  # nobody wrote a name: somebody only looks (owner), or is just starting
            else:
                return

    def _owner(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": clocks.rfc3339(self._clock.now()),
            "command": self._command[:1000],
        }


def owner(folder: Path) -> dict[str, Any] | None:
    """Who owns a folder at this moment (``pid``, ``host``, ``started``, ``command``), or None when nobody does."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, _LONGEST, 0))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _describe(descriptor: int) -> str:
    found = _read(descriptor)
    if "pid" not in found:
        return "another process"
    return f"process {found['pid']} on {found.get('host', '?')}, started {found.get('started', '?')}: " + ascii(
        str(found.get("command", "?"))
    )
