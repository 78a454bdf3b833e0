"""Settings of the one-machine world: one value, built from the command line, the environment or Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kuttab.base import errors

DEFAULT_DATA = ".kuttab"
ENV_DATA = "KUTTAB_HOME"
CONFIG = "config.yaml"
"""Name of the configuration file in a data folder."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a runtime of this machine needs to know.

    ``data``: folder of databases, logs and result files. ``images``: image name (or pattern) to what stands for it here, see
    ``docs/guides/images.md``. ``database``: URL of the observation log; empty means SQLite in the data folder. ``algorithms`` and
    ``early_stoppings``: name to the :class:`kuttab.node.services.Program` that serves it over the gRPC contract.
    ``only_images``: names that are configured with an image alone, for which nothing stands here. ``quota``: what is asked before a
    trial's workload, as text or a map; see :mod:`kuttab.wiring.quotas`.
    """

    data: Path
    images: Mapping[str, Any] = field(default_factory=dict)
    database: str = ""
    algorithms: Mapping[str, Any] = field(default_factory=dict)
    early_stoppings: Mapping[str, Any] = field(default_factory=dict)
    only_images: Mapping[str, str] = field(default_factory=dict)
    quota: str | Mapping[str, Any] = ""

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
    """The images setting: a YAML map of image name or pattern to its stand-in, whose folders are relative to the file.

    Raises BadInputError with the file's name.
    """
    source = file or data / "images.yaml"
    if file is None and not source.is_file():
        return {}
    from kuttab.admission import yaml

    try:
        documents = yaml.load(source.read_bytes(), str(source))
    except OSError as problem:
        raise errors.BadInputError(f"{source}: cannot be read: {problem.strerror}") from problem
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise errors.BadInputError(f"{source}: must be one map of image name to {{root: FOLDER, python: PROGRAM, ...}}")
    found = documents[0].value.get("images", documents[0].value)
    if not isinstance(found, dict):
        raise errors.BadInputError(f"{source}: images must be a map of image name to settings")
    return {name: _beside(entry, source.absolute().parent) for name, entry in found.items()}


def _beside(entry: Any, folder: Path) -> Any:
    if not isinstance(entry, dict) or not isinstance(entry.get("root"), str):
        return entry
    return {**entry, "root": str(folder / Path(entry["root"]).expanduser())}


def configured(settings: Settings, file: Path | None = None) -> Settings:
    """The settings with what a configuration file says, by default ``config.yaml`` in the data folder; see :mod:`kuttab.wiring.config`."""
    from kuttab.wiring import config

    source = file or settings.data / CONFIG
    if file is None and not source.is_file():
        return settings
    found = config.read(source, settings.images)
    return replace(
        settings, algorithms=found.algorithms, early_stoppings=found.early_stoppings, only_images=found.images,
        quota=settings.quota or found.quota,
    )  # fmt: skip


def remember(settings: Settings, file: Path) -> None:
    """Make a configuration file the data folder's own by a link, unless the folder has a file of its own."""
    link = settings.data / CONFIG
    if link.exists() and not link.is_symlink():
        return
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(file.resolve())
