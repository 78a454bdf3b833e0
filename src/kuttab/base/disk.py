"""What is in a file, on the disk."""

from __future__ import annotations

import fcntl
import os
from typing import Any

_fcntl: Any = fcntl  # parts of it exist on some systems only


def sync(path: str | os.PathLike[str]) -> None:
    """Return when everything written to the file, by whomever, survives a power loss. OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS, where fsync leaves it in the disk's own memory
            _fcntl.fcntl(descriptor, _fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
