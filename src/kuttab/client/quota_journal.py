"""Which trials a quota service may believe to hold something: a small file that outlives this program.

A line is written before the service is asked for the first time and another when it has taken back what it gave, so a trial that ended
while nobody could tell the service is found at the next start. A cut last line, as after a loss of power, is passed over.
"""

from __future__ import annotations

import os
from pathlib import Path

from kuttab.base import errors


class Journal:
    """The uids asked for and not yet released."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: dict[str, None] = {}
        self._fd = -1

    def open(self) -> None:
        """Read what is there and write it anew, without what is settled. UnavailableError when the disk says no."""
        try:
            text = self._path.read_text(errors="replace") if self._path.exists() else ""
            for line in text.splitlines():
                sign, _, uid = line.partition(" ")
                if sign == "+" and uid:
                    self._open[uid] = None
                elif sign == "-":
                    self._open.pop(uid, None)
            fresh = self._path.with_suffix(".new")
            fresh.write_text("".join(f"+ {uid}\n" for uid in self._open))
            os.replace(fresh, self._path)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        except OSError as problem:
            raise errors.UnavailableError(f"{self._path} cannot be written: {problem.strerror}") from problem

    def close(self) -> None:
        """Write nothing more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def uids(self) -> list[str]:
        """Trials that may hold something, oldest first."""
        return list(self._open)

    def __contains__(self, uid: str) -> bool:
        return uid in self._open

    def asked(self, uid: str) -> None:
        """The service is about to be asked for a trial; on disk when this returns. UnavailableError when the disk says no."""
        if uid not in self._open:
            self._write(f"+ {uid}\n", sync=True)
            self._open[uid] = None

    def released(self, uid: str) -> None:
        """The service has taken it back. If this is lost, it is told again."""
        if uid in self._open:
            self._write(f"- {uid}\n", sync=False)
            del self._open[uid]

    def _write(self, line: str, *, sync: bool) -> None:
        try:
            os.write(self._fd, line.encode())
            if sync:
                os.fsync(self._fd)
        except OSError as problem:
            raise errors.UnavailableError(f"{self._path} cannot be written: {problem.strerror}") from problem
