"""What the containers of pods that run elsewhere wrote to standard output and error, for whoever reads metrics out of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol


class PodLogs(Protocol):
    """Reads logs over a network that may break."""

    def follow_log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool = True,
        times: bool = False,
        tail: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The log from its start, in pieces of any size; with ``follow`` until the container has ended. Leave it with ``aclose()``.

        ``times`` puts the RFC3339 time of writing and a blank before each line, ``tail`` leaves out all but so many lines at the
        end. Raises NotFoundError when pod or log are gone, BadInputError while the container has not started, UnavailableError
        when the connection broke: then what came may not be all.
        """
        ...
