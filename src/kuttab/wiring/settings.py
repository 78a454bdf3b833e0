"""Settings of the one-machine world: one value, built from the command line, the environment or Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_DATA = ".kuttab"
ENV_DATA = "KUTTAB_HOME"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a runtime of this machine needs to know.

    ``data``: folder of databases, logs and result files. ``images``: image name (or pattern) to what stands for it here, see
    ``docs/guides/images.md``. ``database``: URL of the observation log; empty means SQLite in the data folder.
    """

    data: Path
    images: Mapping[str, Any] = field(default_factory=dict)
    database: str = ""

    @property
    def objects_db(self) -> Path:
        """The object store's file."""
        return self.data / "objects.db"

    @property
    def observations_url(self) -> str:
        """Where metric rows go."""
        return self.database or f"sqlite:///{self.data / 'observations.db'}"

    @property
    def trials(self) -> Path:
        """One folder per trial: log and result files."""
        return self.data / "trials"


def data_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The data folder: as given, else ``KUTTAB_HOME``, else ``./.kuttab``."""
    return Path(given or os.environ.get(ENV_DATA) or DEFAULT_DATA).expanduser().absolute()
