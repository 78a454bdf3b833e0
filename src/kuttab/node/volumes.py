"""Volumes as folders, and container paths as paths of this machine.

A process sees this machine's file system, not a container's, so a mount cannot appear at its mount path. Instead every occurrence of
a mount path (at a path boundary) in command, arguments and environment values is replaced by the folder behind it:
``--log-path=/katib/mnist.log`` becomes ``--log-path=<folder of the pod>/katib/mnist.log``. A path that a program has built in is not
rewritten; that is the boundary of this stand-in.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kuttab.base import errors
from kuttab.node import environ, processes

_BEFORE = r"(?<![\w.~/\-])"
_AFTER = r"(?![\w\-]|\.\w)"


@dataclass(frozen=True, slots=True)
class Mount:
    """A container path and what stands for it. A lazy one is created only when something mentions it."""

    path: str
    host: Path
    lazy: bool = False


class Mounts:
    """All mounts of one container; the longest path wins, each text is rewritten in one pass."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        self._mounts = sorted({m.path: m for m in mounts}.values(), key=lambda m: (-len(m.path), m.path))
        self._hosts = {mount.path: mount for mount in self._mounts}
        self._used: set[str] = set()
        paths = "|".join(re.escape(mount.path) for mount in self._mounts)
        self._pattern = re.compile(f"{_BEFORE}(?:{paths}){_AFTER}") if paths else None

    def rewrite(self, text: str) -> str:
        """The text with mount paths replaced."""
        if self._pattern is None or "/" not in text:
            return text
        return self._pattern.sub(self._host, text)

    def _host(self, match: re.Match[str]) -> str:
        self._used.add(match.group())
        return str(self._hosts[match.group()].host)

    def resolve(self, path: str) -> Path | None:
        """Where a container path lies on this machine; None when no mount covers it."""
        for mount in self._mounts:
            if path == mount.path or path.startswith(mount.path + "/"):
                self._used.add(mount.path)
                return mount.host / path[len(mount.path) :].lstrip("/")
        return None

    def make(self) -> None:
        """Create the folders that are needed, and links where one mount lies within another."""
        needed = [m for m in self._mounts if not m.lazy or m.path in self._used]
        for mount in reversed(needed):
            if not mount.host.exists():
                mount.host.mkdir(0o700, parents=True, exist_ok=True)
        for inner in needed:
            outer = next((m for m in needed if inner.path.startswith(m.path + "/")), None)
            if outer is None:
                continue
            link = outer.host / inner.path[len(outer.path) + 1 :]
            if not os.path.lexists(link):
                link.parent.mkdir(0o700, parents=True, exist_ok=True)
                link.symlink_to(inner.host)


def declared(
    container: Mapping[str, Any], folders: Mapping[str, Path], variables: Mapping[str, str], where: str = "volumeMounts"
) -> list[Mount]:
    """The container's ``volumeMounts`` over the folders of the pod's volumes; InvalidError for a path that leaves its volume."""
    mounts = []
    for number, entry in enumerate(container.get("volumeMounts") or ()):
        path = normal(entry.get("mountPath", ""))
        sub = entry.get("subPath") or environ.expand(entry.get("subPathExpr", ""), variables)
        if not inside(sub):
            problem = errors.Problem(f"{where}[{number}].subPath", f"{sub!r} must be relative and may not hold '..'")
            raise errors.InvalidError([problem])
        mounts.append(Mount(path, folders[entry["name"]] / sub))
    return mounts


def collector(path: str, is_folder: bool, base: Path) -> Mount | None:
    """The mount that catches what a program writes for the metrics collector, below the pod's folder ``base``.

    It covers the collector's folder and every parent of it that does not exist on this machine, so that a program told to
    write to ``/logs`` is followed when the collector reads ``/logs/test``.
    """
    if not path:
        return None
    target = PurePosixPath(normal(path))
    folder = target if is_folder else target.parent
    if str(folder) == "/":
        return None if is_folder else Mount(str(target), base / target.name)
    while str(folder.parent) != "/" and not os.path.lexists(folder.parent):
        folder = folder.parent
    return Mount(str(folder), base / str(folder).lstrip("/"), lazy=not is_folder)


def make_volumes(
    volumes: Sequence[Mapping[str, Any]],
    base: Path,
    claims: Path,
    config_maps: environ.ConfigMaps,
    binary: Mapping[str, Any],
) -> dict[str, Path]:
    """Create the folder of every volume: volume name to folder.

    ``emptyDir`` and ``configMap`` live below ``base``, the pod's own; ``persistentVolumeClaim`` below ``claims``, shared and kept.
    ``binary`` holds the ConfigMaps' ``binaryData``. MissingConfigError, InvalidError.
    """
    folders = {}
    for volume in volumes:
        name = volume["name"]
        if volume.get("persistentVolumeClaim") is not None:
            folder = claims / volume["persistentVolumeClaim"]["claimName"]
            folder.mkdir(0o700, parents=True, exist_ok=True)
        else:
            folder = base / name
            folder.mkdir(0o700, parents=True, exist_ok=True)
            if volume.get("configMap") is not None:
                _fill(folder, volume["configMap"], config_maps, binary)
        folders[name] = folder
    return folders


def _fill(folder: Path, source: Mapping[str, Any], config_maps: environ.ConfigMaps, binary: Mapping[str, Any]) -> None:
    name = source.get("name", "")
    if name not in config_maps:
        if source.get("optional"):
            return
        raise environ.MissingConfigError(f"ConfigMap {name!r} does not exist")
    content = {key: text.encode() for key, text in config_maps[name].items()}
    content |= {key: base64.b64decode(text) for key, text in (binary.get(name) or {}).items()}
    items = source.get("items") or [{"key": key, "path": key} for key in sorted(content)]
    mode = source.get("defaultMode", 0o644)
    for item in items:
        key, path = item["key"], item["path"]
        if key not in content:
            if source.get("optional"):
                continue
            raise environ.MissingConfigError(f"ConfigMap {name!r} has no key {key!r}")
        if not path or not inside(path):
            problem = errors.Problem("configMap.items", f"path {path!r} must be relative and may not hold '..'")
            raise errors.InvalidError([problem], name)
        target = folder / path
        target.parent.mkdir(0o700, parents=True, exist_ok=True)
        if target.exists():
            target.unlink()
        target.write_bytes(content[key])
        target.chmod(item.get("mode", mode) | 0o400)


def checkpoints(base: Path, experiment: str, trial: str, parent: str) -> Path:
    """The folder in which a member of a population keeps its state, made from its parent's on first use.

    The copy appears whole or not at all, so a crash in the middle leaves nothing half done.
    """
    folder = base / experiment / trial
    if folder.exists():
        return folder
    folder.parent.mkdir(0o700, parents=True, exist_ok=True)
    source = base / experiment / parent if parent else None
    if source is None or not source.is_dir():
        folder.mkdir(0o700, exist_ok=True)
        return folder
    draft = folder.with_name(f".{trial}.copying")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(source, draft, symlinks=True)
        draft.rename(folder)
    except (OSError, shutil.Error) as error:
        raise errors.UnavailableError(f"cannot copy the checkpoint of {parent} for {trial}: {error}") from error
    return folder


def workdir(wanted: str, mounts: Mounts, root: Path | None, started_in: Path, own: Path) -> Path:
    """The folder a container starts in.

    A mount or a folder of the image comes first, then this machine; a relative one is below the folder in which the runtime was
    started; none is the container's own. CannotRunError when it does not exist.
    """
    if not wanted:
        return own
    if not wanted.startswith("/"):
        path: Path | None = started_in / wanted
    else:
        path = mounts.resolve(normal(wanted))
        if path is not None:
            mounts.make()
            path.mkdir(0o700, parents=True, exist_ok=True)
        elif root is not None and (root / wanted.lstrip("/")).is_dir():
            path = root / wanted.lstrip("/")
        else:
            path = Path(wanted)
    assert path is not None
    if not path.is_dir():
        raise processes.CannotRunError(
            f"workingDir {wanted!r} is not a folder on this machine; create it or set images[...].root to a folder that holds it"
        )
    return path


def normal(path: str) -> str:
    """An absolute container path without trailing or doubled slashes."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def inside(path: str) -> bool:
    """Whether a relative path stays within its folder."""
    return not path.startswith("/") and ".." not in path.split("/") and "\0" not in path


def size(path: Path) -> int:
    """Size of a file in bytes; 0 when it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
