"""Follow a file that another program writes: appended to, truncated, rotated, or rewritten whole.

Nothing waits here: the owner asks again on its tick, and asking costs one ``stat`` while nothing changes. The file belongs to a
trial, so it is not trusted: only a regular file is read, never through a symbolic link, never beyond a size, and never outside
``root``. What is wrong with it is told by :attr:`Tail.problem` and looked at again each time, since it may be mended.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

PIECE: Final = 1 << 16  # bytes read at once; full of metrics they take some hundredths of a second
LARGEST_FILE: Final = 4 << 30  # bytes
_MARK: Final = 256  # bytes before our place that must still be the same

_KINDS: Final = (
    (stat.S_ISLNK, "is a symbolic link, which is not followed"),
    (stat.S_ISDIR, "is a folder, not a file"),
    (stat.S_ISFIFO, "is a FIFO, not a regular file"),
    (stat.S_ISSOCK, "is a socket, not a regular file"),
    (stat.S_ISCHR, "is a device, not a regular file"),
    (stat.S_ISBLK, "is a device, not a regular file"),
)


class Restart:
    """Among the pieces: the text begins anew from here."""


RESTART: Final = Restart()


class Tail:
    """One file by its path. With ``rewritable`` the text before our place is checked whenever the file changed."""

    def __init__(
        self, path: Path, *, rewritable: bool = True, largest: int = LARGEST_FILE, root: Path | None = None
    ) -> None:
        self.path = path
        self.problem = ""
        self.seen = False
        """Whether there has ever been a file that could be read."""
        self._rewritable = rewritable
        self._largest = largest
        self._root = root
        self._file: int | None = None
        self._offset = 0
        self._mark = b""
        self._signature: tuple[int, int, int, int] | None = None

    def pieces(self, budget: int | None = None) -> Iterator[bytes | Restart]:
        """What is new, at most about ``budget`` bytes; :data:`RESTART` stands where the text begins anew."""
        found = self._look()
        if found is None:
            return
        signature = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if signature == self._signature:
            return
        if self._file is not None and self._identity() != signature[:2]:  # replaced: first the rest of the old file
            yield from self._read_on(None)
            self.close()
        if self._file is None:
            if not (self._is_regular(found.st_mode) and self._open()):
                return
            if self.seen:
                yield self._rewound()
            self.seen = True
        elif self._was_rewritten(signature):
            yield self._rewound()
        spent = yield from self._read_on(budget)
        if budget is None or spent < budget:
            self._signature = signature

    def rewind(self) -> None:
        """Read from the start again."""
        self._rewound()
        self._signature = None

    def refresh(self) -> None:
        """Look again even if the file seems unchanged: clocks of file systems are coarse."""
        self._signature = None

    @property
    def caught_up(self) -> bool:
        """Whether everything that was there at the last look has been read."""
        return self._signature is not None

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _look(self) -> os.stat_result | None:
        """What is at the path; when nothing is, the file that we still hold."""
        try:
            return os.stat(self.path, follow_symlinks=False)
        except OSError as error:
            if self._file is None:
                gone = isinstance(error, FileNotFoundError)
                self.problem = "" if gone else f"cannot be read: {error.strerror}"
                return None
            return os.fstat(self._file)

    def _is_regular(self, mode: int) -> bool:
        wrong = next((text for test, text in _KINDS if test(mode)), "")
        if wrong:
            self.problem = wrong
        return not wrong

    def _identity(self) -> tuple[int, int]:
        found = os.fstat(self._file) if self._file is not None else None
        return (found.st_dev, found.st_ino) if found else (-1, -1)

    def _open(self) -> bool:
        try:
            if self._root is not None and not self._is_inside(self._root):
                self.problem = "leads outside the trial's folder"
                return False
            file = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            self.problem = f"cannot be read: {error.strerror}"
            return False
        if not self._is_regular(os.fstat(file).st_mode):
            os.close(file)
            return False
        self._file, self._offset, self._mark, self.problem = file, 0, b"", ""
        return True

    def _is_inside(self, root: Path) -> bool:
        return Path(os.path.realpath(self.path.parent)).is_relative_to(os.path.realpath(root))

    def _was_rewritten(self, signature: tuple[int, int, int, int]) -> bool:
        if self._file is None or not self._offset:
            return False
        if signature[2] < self._offset:
            return True
        if not self._rewritable:
            return False
        return os.pread(self._file, len(self._mark), self._offset - len(self._mark)) != self._mark

    def _rewound(self) -> Restart:
        self._offset, self._mark = 0, b""
        return RESTART

    def _read_on(self, budget: int | None) -> Generator[bytes, None, int]:
        """Everything from our place on, within the budget; returns how much it was."""
        spent = 0
        while self._file is not None and (budget is None or spent < budget):
            if self._offset >= self._largest:
                self.problem = f"is larger than {self._largest} bytes; the rest is not read"
                return spent
            piece = os.pread(self._file, PIECE, self._offset)
            if not piece:
                return spent
            self._offset += len(piece)
            self._mark = (self._mark + piece)[-_MARK:]
            spent += len(piece)
            yield piece
        return spent
