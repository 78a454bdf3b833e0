"""Settings of the one-machine world: one value, built from the command line, the environment or Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kuttab.admission import yaml
from kuttab.base import errors

DEFAULT_DATA = ".kuttab"
ENV_DATA = "KUTTAB_HOME"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a runtime of this machine needs to know.

    ``data``: folder of databases, logs and result files. ``images``: image name (or pattern) to what stands for it here, see
    ``docs/guides/images.md``. ``database``: URL of the observation log; empty means SQLite in the data folder. ``algorithms``:
    algorithm name to the command of a service that speaks the gRPC contract.
    """

    data: Path
    images: Mapping[str, Any] = field(default_factory=dict)
    database: str = ""
    algorithms: Mapping[str, Any] = field(default_factory=dict)

    @property
    def objects_db(self) -> Path:
        """The object store's file."""
        return self.data / "objects.db"

    @property
    def trials(self) -> Path:
        """One folder per trial: log and result files."""
        return self.data / "trials"


def data_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The data folder: as given, else ``KUTTAB_HOME``, else ``./.kuttab``."""
    return Path(given or os.environ.get(ENV_DATA) or DEFAULT_DATA).expanduser().absolute()


def read_images(file: Path | None, data: Path) -> dict[str, Any]:
    """The images setting: a YAML map of image name or pattern to its stand-in. Raises BadInputError with the file's name."""
    source = file or data / "images.yaml"
    if file is None and not source.is_file():
        return {}
    try:
        documents = yaml.load(source.read_bytes(), str(source))
    except OSError as problem:
        raise errors.BadInputError(f"{source}: cannot be read: {problem.strerror}") from problem
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise errors.BadInputError(f"{source}: must be one map of image name to {{root: FOLDER, python: PROGRAM, ...}}")
    found = documents[0].value.get("images", documents[0].value)
    if not isinstance(found, dict):
        raise errors.BadInputError(f"{source}: images must be a map of image name to settings")
    return dict(found)
