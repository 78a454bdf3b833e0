"""Free ports on loopback for the replicas of distributed jobs.

A port is handed out before its program listens on it, so what is free now must stay so for a while: ports come one after the other
from below the range that systems give to outgoing connections, and none comes again before all others did.
"""

from __future__ import annotations

import errno
import os
import socket

from kuttab.base import errors

FIRST, LAST = 20000, 32000
"""Linux gives ports from 32768 to outgoing connections, macOS from 49152."""


class Ports:
    """Hands out ports. Two of these in different programs start at different places."""

    def __init__(self, start: int | None = None) -> None:
        self._next = FIRST + (os.getpid() * 997 if start is None else start) % (LAST - FIRST)

    def take(self) -> int:
        """A port on which nobody listens. UnavailableError when there is none."""
        for _ in range(LAST - FIRST):
            port = self._next
            self._next = port + 1 if port + 1 < LAST else FIRST
            if free(port):
                return port
        raise errors.UnavailableError(f"no port between {FIRST} and {LAST} is free on this machine")


def free(port: int) -> bool:
    """Whether a program could listen on the port now, on loopback and on all addresses."""
    for address in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 - only asked, never listened on
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    return False
                raise
    return True
