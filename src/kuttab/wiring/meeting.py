"""Where and how the owner of a data folder is met by other commands of its user; :mod:`kuttab.wiring.control` is both ends of the talk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from kuttab.base import errors

PAGE: Final = 200
"""Objects in one answer."""
GONE: Final = "the process that owns the data folder went away"
_PATH_LIMIT: Final = 100
"""Unix socket paths are short: 104 bytes on macOS."""


def address(data: Path) -> Path:
    """Where the socket of a data folder is; a long path gets a short stand-in in the user's temporary folder."""
    wanted = data / "control.sock"
    if len(os.fsencode(wanted)) <= _PATH_LIMIT:
        return wanted
    import hashlib
    import tempfile

    digest = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"kuttab-{os.getuid()}-{digest}.sock"


def outcome(answer: dict[str, Any]) -> Any:
    """What was answered; the error that was answered is raised."""
    if "error" not in answer:
        return answer["ok"]
    kind = getattr(errors, answer["error"]["type"], errors.KuttabError)
    if kind is errors.InvalidError:
        problems = [errors.Problem(*item) for item in answer["error"]["problems"]]
        raise errors.InvalidError(problems, answer["error"]["subject"])
    raise kind(answer["error"]["message"])


def nothing_in(data: Path) -> str:
    """What to tell who looks into a data folder without a store."""
    return f"no experiments in {data}; run one with: kuttab run FILE, or give --data"
